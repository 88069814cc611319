//! What completes a cart.

use crate::fitted_models::FittedModels;
use crate::pipeline::fallback::{AnswerBuilder, DEADLINE_FALLBACK, ResponseOptions};
use crate::pipeline::filter::EligibleItems;
use crate::pipeline::live_state::LiveState;
use crate::pipeline::request::CartRequest;
use crate::pipeline::rerank::answer_with_rules;
use crate::pipeline::response::{Answer, CandidateSource, Reason};
use crate::pipeline::rules::fields::RuleContext;
use crate::tasks::cross_sell::Cart;
use crate::tasks::order_history::PurchaseHistory;
use aisle_retrieval::bitmap::Bitmap;
use std::collections::BTreeMap;

/// Most reasons of one item.
const REASONS: usize = 2;

/// What completes a cart: complements of the whole cart, then best sellers among the eligible
/// items. Never an item of the cart, never one of its categories unless asked, and then never a
/// substitute of its items.
pub fn cross_sell(models: &FittedModels, live: &LiveState, request: &CartRequest) -> Answer {
    let mut except = request.cart.clone();
    if request.exclude_purchased {
        except.extend(request.user.map_or(&[][..], |user| models.purchased(user)));
    }
    let anchor = request.cart.last().copied();
    let asked = RuleContext {
        call: "cross-sell",
        context: &request.context,
        user: request.user,
        anchor,
    };
    let mut eligible = EligibleItems::new(models, live, &request.filter, except);
    if request.same_category {
        substitutes(models, &request.cart)
            .into_iter()
            .for_each(|other| eligible.allowed.remove(other));
    } else {
        let (indexes, catalog) = (&models.indexes, &models.catalog);
        let remove = |&item: &u32| indexes.remove_category_of(item, catalog, &mut eligible.allowed);
        request.cart.iter().for_each(remove);
    }
    let rules = eligible.apply_rules(models, live, &asked);
    let mut lines = request.cart.clone();
    lines.sort_unstable();
    lines.dedup();
    let history = match request.user.filter(|_| !request.popular_only) {
        Some(user) => models
            .order_history
            .purchase_history(user, &lines, request.now),
        None => PurchaseHistory::default(),
    };
    let cart = Cart {
        items: &lines,
        user: request.user,
        past: &history,
        only_new: request.exclude_purchased,
    };
    let options = ResponseOptions::new(&request.context, request.k);
    answer_with_rules(
        models,
        &eligible,
        (&rules, options),
        &|eligible, options| {
            let mut builder =
                AnswerBuilder::new(models, eligible, options, CandidateSource::CrossSell);
            if request.popular_only {
                return builder.fill_with_popular(DEADLINE_FALLBACK);
            }
            let found = match lines.is_empty() {
                true => Vec::new(),
                false => {
                    let supported = request
                        .only_with_evidence
                        .then(|| with_evidence(models, &lines, &history, &eligible.allowed));
                    let within = eligible.within(supported.as_ref().unwrap_or(&eligible.allowed));
                    models
                        .cross_sell_parts()
                        .recommend_for_cart(cart, options.k, within)
                }
            };
            builder.add(&found, |_, scored| {
                reasons(models, &lines, &history, scored.item)
            });
            let mut answer = builder.fill_with_popular(match lines.is_empty() {
                true => "the cart holds no known item",
                false => "too few items are known to go with this cart",
            });
            if options.reasons {
                let items: Vec<u32> = answer.items.iter().map(|ranked| ranked.item).collect();
                let scores = models.substitute_parts().substitute_scores(&lines, &items);
                answer
                    .items
                    .iter_mut()
                    .zip(scores)
                    .for_each(|(ranked, score)| ranked.substitute = score);
            }
            answer
        },
    )
}

/// Why an item goes with a cart: the shopper bought it before, and it is bought together with items
/// of the cart.
fn reasons(
    models: &FittedModels,
    cart: &[u32],
    history: &PurchaseHistory,
    item: u32,
) -> Vec<Reason> {
    let before = history.of(item).map(|bought| Reason::BoughtBefore {
        orders: bought.orders,
        days: (history.now - bought.last).max(0.0) as u32,
    });
    let together = models
        .complements()
        .evidence(cart, item)
        .into_iter()
        .map(Reason::BoughtTogether);
    before.into_iter().chain(together).take(REASONS).collect()
}

/// Items of a set that were bought together with an item of the cart more often than by chance, or
/// that the shopper bought before. O(neighbours of the cart + items of the history).
fn with_evidence(
    models: &FittedModels,
    cart: &[u32],
    history: &PurchaseHistory,
    allowed: &Bitmap,
) -> Bitmap {
    let mut supported = Bitmap::filled(allowed.len(), false);
    for &item in cart {
        let together = models
            .complements()
            .lifts(item)
            .filter(|&(_, lift)| lift > 1.0);
        together.for_each(|(other, _)| supported.insert(other));
    }
    history
        .items
        .iter()
        .for_each(|bought| supported.insert(bought.item));
    supported.intersect(allowed);
    supported
}

/// Items that serve the same need as one of a cart: the same category path, and not bought together
/// with it more often than by chance. O(cart · neighbours + items of the categories).
fn substitutes(models: &FittedModels, cart: &[u32]) -> Vec<u32> {
    let mut by_path: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for &item in cart {
        if let Some(path) = models.catalog.category.get(item) {
            by_path.entry(path).or_default().push(item);
        }
    }
    let mut substitutes = Vec::new();
    for (path, of_path) in by_path {
        // For each other item, with how many of the cart's items of this path it is bought more
        // often than by chance.
        let mut together: BTreeMap<u32, usize> = BTreeMap::new();
        for &item in &of_path {
            for (other, lift) in models.complements().lifts(item) {
                if lift > 1.0 {
                    *together.entry(other).or_default() += 1;
                }
            }
        }
        let is_substitute = |other: &u32| {
            together
                .get(other)
                .is_none_or(|&count| count < of_path.len())
        };
        substitutes.extend(
            models
                .indexes
                .in_category(path)
                .iter()
                .copied()
                .filter(is_substitute),
        );
    }
    substitutes
}

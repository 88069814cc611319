//! The better version of an item.

use crate::fitted_models::FittedModels;
use crate::pipeline::calls::above_privacy_floor;
use crate::pipeline::fallback::ResponseOptions;
use crate::pipeline::filter::EligibleItems;
use crate::pipeline::live_state::LiveState;
use crate::pipeline::request::ItemRequest;
use crate::pipeline::rerank::answer_with_rules;
use crate::pipeline::response::{
    Answer, AttributeDelta, CandidateSource, RankedItem, Reason, UpsellStep,
};
use crate::pipeline::rules::fields::RuleContext;
use crate::tasks::upsell::Anchor;
use aisle_data::category_levels;
use aisle_retrieval::top_k::{Scored, TopK};

/// Most attributes in which two items are said to differ.
const ATTRIBUTE_DELTAS: usize = 5;

/// The better version of an item: of its category (the deepest level with candidates), in its
/// currency, at a price in the band. Nothing else comes back, so the answer may be empty.
pub fn upsell(models: &FittedModels, live: &LiveState, request: &ItemRequest) -> Answer {
    let none = || Answer::empty(CandidateSource::Upsell);
    let (min, max) = request.band.unwrap_or_else(|| models.upsell.band());
    let Some(path) = models.catalog.category.get(request.item) else {
        return none();
    };
    let anchor = Some(request.item);
    let asked = RuleContext {
        call: "upsell",
        context: &request.context,
        user: request.user,
        anchor,
    };
    let mut eligible = EligibleItems::new(models, live, &request.filter, vec![request.item]);
    let rules = eligible.apply_rules(models, live, &asked);
    let price = |item: u32| live.catalog.price(&models.catalog, item);
    let anchor_price = price(request.item);
    if anchor_price.is_nan() {
        return none();
    }
    let currency = &models.catalog.currency;
    let is_candidate = |&item: &u32| {
        (anchor_price * min..=anchor_price * max).contains(&price(item))
            && currency.code(item) == currency.code(request.item)
            && eligible.all().contains(item)
    };
    let candidates = category_levels(path).rev().find_map(|level| {
        let of_level = models.indexes.in_category(level).iter().copied();
        let candidates: Vec<u32> = of_level.filter(is_candidate).collect();
        (!candidates.is_empty()).then_some(candidates)
    });
    let Some(candidates) = candidates else {
        return none();
    };
    eligible.keep(candidates.iter().copied());
    let history = request.user.map(|user| {
        models
            .order_history
            .purchase_history(user, &[], request.now)
    });
    let history = history.filter(|history| history.orders > 0);
    let from = Anchor {
        item: request.item,
        shopper: request.user.zip(history.as_ref()),
    };
    let probabilities = models
        .upsell_parts()
        .step_probabilities(&from, &candidates, &price);
    // The response tells prices from the step, so it is always a reason.
    let options = ResponseOptions {
        reasons: true,
        ..ResponseOptions::new(&request.context, request.k)
    };
    answer_with_rules(
        models,
        &eligible,
        (&rules, options),
        &|eligible, options| {
            let mut top = TopK::new(options.k);
            for (&item, &probability) in candidates.iter().zip(&probabilities) {
                if eligible.allowed.contains(item) {
                    top.offer(item, probability);
                }
            }
            let ranked = |Scored { item, score }| {
                let step = UpsellStep {
                    item: request.item,
                    shoppers: above_privacy_floor(models.upsell.shoppers(request.item, item)),
                    price_delta: price(item) - anchor_price,
                    price_ratio: price(item) / anchor_price,
                };
                let reasons = vec![Reason::SteppedUp(step)];
                RankedItem {
                    item,
                    score,
                    source: CandidateSource::Upsell,
                    reasons,
                    substitute: 0.0,
                }
            };
            Answer {
                items: top.into_sorted().into_iter().map(ranked).collect(),
                eligible: candidates.len(),
                ..Answer::empty(CandidateSource::Upsell)
            }
        },
    )
}

/// Attributes in which two items differ: numbers of their titles, brand, and the catalogue's
/// attributes, five at most.
pub fn attribute_deltas(models: &FittedModels, from: u32, to: u32) -> Vec<AttributeDelta> {
    let quantities = models
        .indexes
        .quantities
        .steps(from, to)
        .into_iter()
        .map(|step| AttributeDelta {
            name: step.unit.to_lowercase(),
            from: step.from.to_string(),
            to: step.to.to_string(),
        });
    let attributes = models
        .catalog
        .attributes
        .iter()
        .map(|(name, labels)| (name.as_str(), labels));
    let labels = std::iter::once(("brand", &models.catalog.brand)).chain(attributes);
    let differing = labels.filter(|(_, labels)| labels.code(from) != labels.code(to));
    let labels = differing.filter_map(|(name, labels)| {
        let (from, to) = (labels.get(from)?, labels.get(to)?);
        Some(AttributeDelta {
            name: name.to_string(),
            from: from.to_string(),
            to: to.to_string(),
        })
    });
    quantities.chain(labels).take(ATTRIBUTE_DELTAS).collect()
}

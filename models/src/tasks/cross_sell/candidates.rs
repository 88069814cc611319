//! Where the candidates for a cart come from.
//!
//! There are four sources: what the pairs of the cart's items say, what order vectors say (of rare
//! items too), what the shopper bought before, and best sellers. Candidates of the personal model
//! found nothing better beside these on validation weeks, so its score is a feature alone.

use crate::algorithms::recommend::History;
use crate::tasks::complements::CartEvidence;
use crate::tasks::cross_sell::features::{Candidate, Features, Logarithms};
use crate::tasks::cross_sell::{Cart, CrossSellParts, RequestKind};
use crate::tasks::group_purchases::GroupPurchases;
use aisle_retrieval::index::{Eligible, search_top_k};
use aisle_retrieval::top_k;

/// Candidates from each source, or as many as are asked for if these are more. Three times as many
/// found nothing better on validation weeks.
const CANDIDATES: usize = 20;

/// The candidates for a cart, with what the caller computed from the features of each.
pub(super) struct Candidates<T> {
    /// Item rows, ascending.
    pub items: Vec<u32>,
    /// One value for each of `items`.
    pub values: Vec<T>,
}

impl CrossSellParts<'_> {
    /// The candidates for a cart, and what `read` makes of the features of each. At least
    /// max(`k`, [`CANDIDATES`]) come from each source that has so many.
    pub(super) fn candidates<T>(
        &self,
        cart: Cart,
        k: usize,
        eligible: Eligible,
        read: impl Fn(&Features) -> T,
    ) -> Candidates<T> {
        let past = cart.past;
        let kind = RequestKind::of(&cart);
        let mut allowed = eligible.allowed.clone();
        allowed.intersect(self.touched);
        let eligible = Eligible::without(&allowed, eligible.except);
        let k = CANDIDATES.max(k);
        let mut items: Vec<u32> = Vec::with_capacity(past.items.len() + 5 * k);
        if kind == RequestKind::KnownShopper {
            let bought = past.items.iter().map(|purchased| purchased.item);
            items.extend(bought.filter(|&item| eligible.contains(item)));
        }
        let vector_query = self.model.vectors.query(cart.items);
        let completing = search_top_k(|buffer| vector_query.complete(k, eligible, buffer));
        items.extend(completing.iter().map(|scored| scored.item));
        items.extend(self.popular.ranked(eligible).take(k));
        let evidence = self.add_complements(&mut items, &cart, k, eligible);
        let vector_scores = vector_query.scores(&items);
        let personal_scores = self.personal_scores(&cart, kind, &items);
        let cart_size = cart.items.len().max(1) as f32;
        let candidate = |(at, &item): (usize, &u32)| Candidate {
            item,
            evidence: evidence[at],
            vector_score: vector_scores[at],
            personal_score: personal_scores[at].unwrap_or(0.0),
            cart_size,
            purchased: past.of(item),
        };
        let candidates: Vec<Candidate> = items.iter().enumerate().map(candidate).collect();
        let by_group = GroupPurchases::of(past, &self.indexes.groups);
        let ln_orders = past.ln_orders();
        let mut logarithms = Logarithms::of(&candidates, past);
        let value = |candidate: &Candidate| {
            let groups = by_group.get(&self.indexes.groups, candidate.item);
            let model = self.model;
            read(&model.features(candidate, groups, &mut logarithms, ln_orders))
        };
        let values = candidates.iter().map(value).collect();
        Candidates { items, values }
    }

    /// Adds to `items` the `k` best by each kind of evidence of the cart's pairs, sorts them by row
    /// and drops duplicates. Returns the evidence for each of `items`.
    fn add_complements(
        &self,
        items: &mut Vec<u32>,
        cart: &Cart,
        k: usize,
        eligible: Eligible,
    ) -> Vec<CartEvidence> {
        let kinds_of_evidence: [fn(&CartEvidence) -> f32; 3] = [
            |evidence| evidence.together,
            |evidence| evidence.confidence,
            |evidence| evidence.ridge,
        ];
        let complements = &self.model.complements;
        complements.with_cart_evidence(cart.items, |with_evidence, evidence| {
            let complements: Vec<u32> = with_evidence
                .iter()
                .copied()
                .filter(|&item| eligible.contains(item))
                .collect();
            let all: Vec<CartEvidence> = complements.iter().map(|&item| evidence(item)).collect();
            let mut scores = Vec::with_capacity(all.len());
            let (mut keys, mut best) = (Vec::new(), Vec::new());
            for kind_of_evidence in kinds_of_evidence {
                scores.clear();
                scores.extend(all.iter().map(kind_of_evidence));
                top_k::best(&complements, &scores, k, &mut keys, &mut best);
                items.extend(best.iter().map(|scored| scored.item));
            }
            items.sort_unstable();
            items.dedup();
            items.iter().map(|&item| evidence(item)).collect()
        })
    }

    /// The scores of the personal model for the shopper, in standard deviations; for an unknown
    /// shopper with the cart as the history.
    fn personal_scores(&self, cart: &Cart, kind: RequestKind, items: &[u32]) -> Vec<Option<f32>> {
        if kind == RequestKind::UnknownShopper {
            let ones = vec![1.0; cart.items.len()];
            let history = History {
                items: cart.items,
                values: &ones,
                user: None,
            };
            return self.personal.standardized_scores(history, items);
        }
        let stored = cart.user.map(|user| self.histories.history(user));
        let history = History {
            user: cart.user,
            ..stored.unwrap_or_default()
        };
        self.personal.standardized_scores(history, items)
    }
}

//! The features of a candidate for a cart.

use crate::catalog::item_groups::GROUP_KINDS;
use crate::tasks::complements::CartEvidence;
use crate::tasks::cross_sell::CrossSellModel;
use crate::tasks::cross_sell::item_statistics::ItemFeatures;
use crate::tasks::group_purchases::GroupFeatures;
use crate::tasks::order_history::{
    PurchaseHistory, PurchasedItem, REPURCHASE_FEATURES, REPURCHASE_LOGS,
};
use aisle_math::kernels::{dot, ln, simd};

/// Features that every candidate has.
pub(super) const COMMON_FEATURES: usize = 27;
/// Further features of a candidate that the shopper bought before.
const REPEAT_FEATURES: usize = 18;
/// Numbers of a candidate: the common features of an item that is new to the shopper, those of an
/// item that is not, and the further ones of the latter. The parts that do not apply are 0.
pub(super) const FEATURES: usize = COMMON_FEATURES + COMMON_FEATURES + REPEAT_FEATURES;
/// The place of the evidence of pairs among the common features.
pub(super) const CO_PURCHASE_FEATURE: usize = 0;

/// Common features that are logarithms of what is known of this candidate for this cart alone.
const COMMON_LOGS: usize = 2;
/// The same of a candidate that the shopper bought before, beside [`REPURCHASE_LOGS`].
const CART_LOGS: usize = 4;

/// The features of a candidate.
pub(super) struct Features {
    common: [f32; COMMON_FEATURES],
    /// `None` if the candidate is new to the shopper.
    repeat: Option<[f32; REPEAT_FEATURES]>,
}

impl Features {
    /// The utility of the candidate in the logit: the weighted sum of its features.
    pub(super) fn utility(&self, weights: &[f32]) -> f32 {
        let (if_new, if_repeat) = weights.split_at(COMMON_FEATURES);
        match &self.repeat {
            None => dot(&self.common, if_new),
            Some(repeat) => {
                let (common, further) = if_repeat.split_at(COMMON_FEATURES);
                dot(&self.common, common) + dot(repeat, further)
            }
        }
    }

    /// The features as [`FEATURES`] numbers.
    pub(super) fn row(&self) -> [f32; FEATURES] {
        let mut row = [0f32; FEATURES];
        let (if_new, if_repeat) = row.split_at_mut(COMMON_FEATURES);
        match &self.repeat {
            None => if_new.copy_from_slice(&self.common),
            Some(repeat) => {
                let (common, further) = if_repeat.split_at_mut(COMMON_FEATURES);
                common.copy_from_slice(&self.common);
                further.copy_from_slice(repeat);
            }
        }
        row
    }
}

/// A candidate for a cart, with what its features are computed from.
pub(super) struct Candidate<'a> {
    pub item: u32,
    /// The evidence of the cart's pairs for the item.
    pub evidence: CartEvidence,
    /// How well the item completes the cart by order vectors, in standard deviations.
    pub vector_score: f32,
    /// The score of the personal model, in standard deviations.
    pub personal_score: f32,
    /// How many items the cart holds, 1 or more.
    pub cart_size: f32,
    /// What the shopper bought of the item before; `None` if it is new to them.
    pub purchased: Option<&'a PurchasedItem>,
}

impl Candidate<'_> {
    /// Appends the numbers whose logarithms are features.
    fn push_log_inputs(&self, past: &PurchaseHistory, inputs: &mut Vec<f32>) {
        inputs.extend([
            0.05 + self.evidence.together / self.cart_size,
            0.01 + self.evidence.confidence / self.cart_size,
        ]);
        let Some(purchased) = self.purchased else {
            return;
        };
        inputs.extend(purchased.repurchase_inputs(past.now));
        let similarity_per_order = purchased.cart_similarity / (purchased.orders as f32).max(1.0);
        inputs.extend([
            0.05 + purchased.cart_similarity,
            0.02 + purchased.recent_cart_similarity,
            0.02 + similarity_per_order,
            1.0 + purchased.cart_items_shared,
        ]);
    }
}

/// The logarithms that the features of a cart's candidates need, computed all at once and read one
/// candidate after the other.
pub(super) struct Logarithms {
    values: Vec<f32>,
    /// How many were read.
    read: usize,
}

impl Logarithms {
    pub(super) fn of(candidates: &[Candidate], past: &PurchaseHistory) -> Self {
        let most = COMMON_LOGS + REPURCHASE_LOGS + CART_LOGS;
        let mut values: Vec<f32> = Vec::with_capacity(candidates.len() * most);
        for candidate in candidates {
            candidate.push_log_inputs(past, &mut values);
        }
        ln(simd(), &mut values);
        Self { values, read: 0 }
    }

    /// The next `N` of them.
    fn next<const N: usize>(&mut self) -> [f32; N] {
        let next = self.values[self.read..].first_chunk().copied();
        self.read += N;
        next.unwrap_or([0.0; N])
    }
}

/// What the shopper bought of the groups of a candidate, by kind of group.
pub(super) type CandidateGroups<'a> = [&'a GroupFeatures; GROUP_KINDS];

impl CrossSellModel {
    /// The features of the next candidate. `logarithms` are those of all candidates in the same
    /// order.
    pub(super) fn features(
        &self,
        candidate: &Candidate,
        groups: CandidateGroups,
        logarithms: &mut Logarithms,
        ln_orders: f32,
    ) -> Features {
        let common = self.common_features(candidate, groups, logarithms.next());
        let repeat = candidate.purchased.map(|purchased| {
            let logs = (logarithms.next(), logarithms.next());
            self.repeat_features(candidate, purchased, logs, ln_orders)
        });
        Features { common, repeat }
    }

    fn common_features(
        &self,
        candidate: &Candidate,
        [path, category, brand, path_and_brand]: CandidateGroups,
        [ln_together, ln_confidence]: [f32; COMMON_LOGS],
    ) -> [f32; COMMON_FEATURES] {
        let &Candidate {
            evidence,
            vector_score,
            personal_score,
            cart_size,
            ..
        } = candidate;
        let ItemFeatures {
            ln_orders,
            ln_recent_orders,
            returning,
            ln_gap,
            ln_sales,
        } = self.item_features(candidate.item);
        [
            ln_together,
            (evidence.confidence / cart_size).sqrt(),
            ln_confidence,
            vector_score,
            vector_score.max(0.0).sqrt(),
            evidence.ridge,
            evidence.ridge.max(0.0).sqrt(),
            personal_score,
            personal_score.max(0.0).sqrt(),
            ln_orders,
            ln_recent_orders,
            returning,
            ln_gap,
            path.ln_lines,
            path.ln_decayed_lines,
            path.ln_days_since,
            path.ln_share,
            category.ln_lines,
            category.ln_decayed_lines,
            category.ln_days_since,
            category.ln_share,
            brand.ln_lines,
            path_and_brand.ln_lines,
            path_and_brand.ln_decayed_lines,
            path_and_brand.ln_days_since,
            ln_sales,
            path.ln_lines_plus_half - category.ln_lines,
        ]
    }

    fn repeat_features(
        &self,
        candidate: &Candidate,
        purchased: &PurchasedItem,
        (logs, cart_logs): ([f32; REPURCHASE_LOGS], [f32; CART_LOGS]),
        ln_orders: f32,
    ) -> [f32; REPEAT_FEATURES] {
        let [
            ln_similarity,
            ln_recent_similarity,
            ln_similarity_per_order,
            ln_shared,
        ] = cart_logs;
        let is_repeated = purchased.orders > 1;
        let ln_gap = if is_repeated {
            logs[REPURCHASE_LOGS - 1]
        } else {
            self.item_features(candidate.item).ln_gap
        };
        let shared_per_order = purchased.cart_items_shared / (purchased.orders as f32).max(1.0);
        let mut features = [0f32; REPEAT_FEATURES];
        let (repurchase, with_cart) = features.split_at_mut(REPURCHASE_FEATURES);
        repurchase.copy_from_slice(&PurchasedItem::repurchase_features(logs, ln_orders, ln_gap));
        with_cart.copy_from_slice(&[
            ln_similarity,
            ln_recent_similarity,
            ln_shared,
            shared_per_order.min(3.0),
            candidate.cart_size.ln(),
            ln_orders,
            if is_repeated { 1.0 } else { 0.0 },
            ln_similarity_per_order,
        ]);
        features
    }
}

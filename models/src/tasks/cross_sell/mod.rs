//! Cross-sell: the missing line of a cart, from all that is known of the cart, its shopper and the
//! items.
//!
//! In: a `Cart` and the fitted models of [`CrossSellParts`]. Out: the items that are most
//! probably the next line, with their probabilities. The steps, one file each:
//!
//! 1. `candidates.rs`: where candidates come from. A new source is a few lines there.
//! 2. `features.rs`: some forty numbers for each candidate. A new feature is a number there; it
//!    changes the length of the stored weights.
//! 3. `learn.rs`: the weight of each feature, by conditional logit
//!    ([`Choices`](aisle_math::logit::Choices)) on the last weeks of the log, with models fitted to
//!    what came before: for each line of an order, given the others.
//!
//! `item_statistics.rs` counts what features say of an item whoever the cart belongs to. There are
//! three sets of weights, one for each `RequestKind`.

mod candidates;
mod features;
mod item_statistics;
mod learn;

use crate::algorithms::popular::PopularModel;
use crate::algorithms::recommend::{Progress, Recommend, Training};
use crate::catalog::CatalogIndexes;
use crate::error::Result;
use crate::tasks::complements::{Complements, ComplementsModel};
use crate::tasks::order_history::PurchaseHistory;
use crate::tasks::order_vectors::{OrderVectors, by_order};
use crate::tasks::shopper_histories::ShopperHistories;
use crate::weights::{Tensor, Weights};
use aisle_math::array::Array;
use aisle_math::logit::softmax;
use aisle_retrieval::bitmap::Bitmap;
use aisle_retrieval::index::Eligible;
use aisle_retrieval::top_k::{self, Scored};
use candidates::Candidates;
use features::{CO_PURCHASE_FEATURE, COMMON_FEATURES, FEATURES};
pub(crate) use item_statistics::ItemFeatures;
use item_statistics::ItemStatistics;
pub(crate) use learn::{LaterOrders, learn};

/// What is asked for a cart; each kind has weights of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestKind {
    /// Any item, for a shopper with orders.
    KnownShopper,
    /// Only items that are new to the shopper, for a shopper with orders.
    OnlyNewItems,
    /// Any item, for a shopper without orders or an unknown one.
    UnknownShopper,
}

impl RequestKind {
    /// All kinds, in the order of their weights.
    const ALL: [Self; 3] = [Self::KnownShopper, Self::OnlyNewItems, Self::UnknownShopper];

    fn of(cart: &Cart) -> Self {
        match cart.past.orders {
            0 => Self::UnknownShopper,
            _ if cart.only_new => Self::OnlyNewItems,
            _ => Self::KnownShopper,
        }
    }
}

/// A cart and its shopper.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cart<'a> {
    /// Item rows, ascending.
    pub items: &'a [u32],
    /// The row of the shopper, if known.
    pub user: Option<u32>,
    /// The shopper's orders, compared with this cart; empty for an unknown shopper.
    pub past: &'a PurchaseHistory,
    /// Whether only items that are new to the shopper are asked for.
    pub only_new: bool,
}

/// The fitted model: the evidence, and the weights of its features.
pub struct CrossSellModel {
    /// The pairs of items that are bought together.
    pub complements: ComplementsModel,
    vectors: OrderVectors,
    statistics: ItemStatistics,
    /// For each item the features that do not depend on the cart, see [`CrossSellModel::describe`].
    item_features: Vec<ItemFeatures>,
    /// [`FEATURES`] weights for each [`RequestKind`].
    weights: Array<f32>,
    /// How many choices the weights were learned from; 0 = they were not learned.
    pub learned_from: usize,
}

impl CrossSellModel {
    /// Fits everything but the weights. Until these are learned, the evidence of pairs decides
    /// alone.
    pub(crate) fn fit(
        settings: &Complements,
        complements: ComplementsModel,
        training: &Training,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let matrix = training
            .orders
            .matrix(training.catalog.len(), settings.max_order_items);
        let vectors = OrderVectors::fit(&by_order(training, &matrix), settings.factors, progress)?;
        let mut weights = vec![0f32; RequestKind::ALL.len() * FEATURES];
        for weights in weights.chunks_mut(FEATURES) {
            weights[CO_PURCHASE_FEATURE] = 1.0;
            weights[COMMON_FEATURES + CO_PURCHASE_FEATURE] = 1.0;
        }
        Ok(Self {
            complements,
            vectors,
            statistics: ItemStatistics::of(training.orders, training.catalog.len()),
            item_features: Vec::new(),
            weights: weights.into(),
            learned_from: 0,
        })
    }

    /// Reads a model from the arrays of a version.
    pub(crate) fn load(
        settings: &Complements,
        items: usize,
        weights: &mut Weights,
    ) -> Result<Self> {
        let all_weights = RequestKind::ALL.len() * FEATURES;
        Ok(Self {
            complements: ComplementsModel::load(settings, items, weights)?,
            vectors: OrderVectors::load(items, weights)?,
            statistics: ItemStatistics::load(items, weights)?,
            item_features: Vec::new(),
            weights: weights.reals("cross_sell.weights", all_weights)?,
            learned_from: 0,
        })
    }

    /// The arrays that a version stores.
    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = self.complements.tensors();
        tensors.extend(self.vectors.tensors());
        tensors.extend(self.statistics.tensors());
        tensors.push(Tensor::f32(
            "cross_sell.weights",
            &[self.weights.len()],
            &self.weights,
        ));
        tensors
    }

    /// Computes the features of each item that do not depend on the cart: once for a model and not
    /// once for each candidate.
    pub(crate) fn describe(&mut self, popular: &PopularModel) {
        self.item_features = self.statistics.features(&self.complements, popular);
    }

    /// The features of an item that do not depend on the cart.
    pub(crate) fn item_features(&self, item: u32) -> ItemFeatures {
        self.item_features[item as usize]
    }

    fn weights(&self, kind: RequestKind) -> &[f32] {
        &self.weights[kind as usize * FEATURES..][..FEATURES]
    }

    /// The same model with the weights that [`learn()`] returned; unchanged if it returned none.
    pub(crate) fn with_weights(self, learned: Option<(Vec<f32>, usize)>) -> Self {
        match learned {
            Some((weights, learned_from)) => Self {
                weights: weights.into(),
                learned_from,
                ..self
            },
            None => self,
        }
    }
}

/// The fitted models that cross-selling reads.
#[derive(Clone, Copy)]
pub struct CrossSellParts<'a> {
    /// The model of cross-selling itself.
    pub model: &'a CrossSellModel,
    /// The personal model.
    pub personal: &'a dyn Recommend,
    /// The best sellers.
    pub popular: &'a PopularModel,
    /// The history of each shopper.
    pub histories: &'a ShopperHistories,
    /// The groups of items.
    pub indexes: &'a CatalogIndexes,
    /// Items that have an event in the log. No other item is a candidate: the weights were learned
    /// from such items alone.
    pub touched: &'a Bitmap,
}

impl CrossSellParts<'_> {
    /// The `k` eligible items that best complete a cart, best first, each with the probability that
    /// it is the next line if one of the candidates is.
    pub(crate) fn recommend_for_cart(
        &self,
        cart: Cart,
        k: usize,
        eligible: Eligible,
    ) -> Vec<Scored> {
        let weights = self.model.weights(RequestKind::of(&cart));
        let Candidates {
            items,
            values: mut probabilities,
        } = self.candidates(cart, k, eligible, |features| features.utility(weights));
        softmax(&mut probabilities, false);
        let (mut keys, mut best) = (Vec::new(), Vec::new());
        top_k::best(&items, &probabilities, k, &mut keys, &mut best);
        best
    }
}

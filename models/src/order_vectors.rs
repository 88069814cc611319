//! Complements by vectors: what goes with rare items too, by what goes with items like them.
//!
//! The factors of the item × item co-order matrix, found as the item side of least squares on orders × items ([`crate::Als`]): a cart is folded in
//! by the solve of the training and becomes a query, and what completes it is a nearest-neighbour search among the items' vectors.

use crate::als::{Als, AlsModel};
use crate::index::{Eligible, Found};
use crate::recommend::{Fit, History, Training, Watch};
use crate::vectors::Vectors;
use crate::weights::{Array, Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::Interactions;

/// Vectors of items, and what a cart needs to become one.
pub(crate) struct OrderVectors {
    als: AlsModel,
    /// α₀ of the fit, which depends on how dense the orders are.
    alpha: Array<f32>,
}

fn settings(factors: usize, alpha: f32) -> Als {
    Als { factors, alpha, ..Als::default() }
}

impl OrderVectors {
    /// Of `depth` dimensions; `training` has orders as rows.
    pub fn fit(training: &Training, depth: usize, watch: &dyn Watch) -> Result<Self> {
        let als = settings(depth, 0.0).resolved(training.interactions);
        let fitted = match als.fit(training, watch) {
            Err(ModelError::NothingToLearn { .. }) => None,
            fitted => Some(fitted?),
        };
        let items = training.interactions.items();
        let factors = fitted.map_or_else(|| vec![0.0; items * depth].into(), AlsModel::into_item_factors);
        Ok(Self { alpha: vec![als.alpha].into(), als: AlsModel::of_items(als, factors) })
    }

    pub fn load(items: usize, weights: &mut Weights) -> Result<Self> {
        let alpha = weights.reals("complements.alpha", 1)?;
        let (factors, depth) = weights.matrix("complements.item_factors", items, None)?;
        let als = AlsModel::of_items(settings(depth, alpha[0]), factors).fitted_to(weights.learned(items));
        Ok(Self { als, alpha })
    }

    pub fn tensors(&self) -> Vec<Tensor<'_>> {
        let vectors = self.als.item_vectors();
        vec![
            Tensor::f32("complements.item_factors", &[vectors.len(), vectors.depth()], vectors.values()),
            Tensor::f32("complements.alpha", &[1], &self.alpha),
        ]
    }

    /// What they say of a cart.
    pub fn of(&self, cart: &[u32]) -> OfCart<'_> {
        let ones = vec![1.0; cart.len()];
        OfCart { vectors: self.als.item_vectors(), query: self.als.fold_in(History { items: cart, values: &ones, user: None }) }
    }
}

/// A cart among order vectors.
pub(crate) struct OfCart<'a> {
    vectors: &'a Vectors,
    query: Option<Vec<f32>>,
}

impl OfCart<'_> {
    /// What completes it best.
    pub fn complete(&self, k: usize, eligible: Eligible, found: &mut Found) {
        self.vectors.recommend(self.query.as_deref(), k, eligible, found);
    }

    /// How well items complete it, in deviations over all items.
    pub fn scores(&self, items: &[u32]) -> Vec<f32> {
        self.vectors.standing(self.query.as_deref(), items).into_iter().map(|score| score.unwrap_or(0.0)).collect()
    }
}

/// Orders as the rows of a fit.
pub(crate) fn by_order<'a>(training: &Training<'a>, matrix: &'a Interactions) -> Training<'a> {
    Training { interactions: matrix, users: &[], ..*training }
}

//! Vectors of items learned on orders: what completes a cart of rare items too, by what completes
//! carts of items like them.
//!
//! The item side of a weighted least-squares factorization of orders × items ([`crate::Als`]). A
//! cart is folded in by the solve of the training and becomes a query, and what completes it is a
//! nearest-neighbour search among the items' vectors.

use crate::algorithms::als::{Als, AlsModel};
use crate::algorithms::recommend::{Fit, History, Progress, Training};
use crate::algorithms::vectors::Vectors;
use crate::error::{ModelError, Result};
use crate::weights::{Tensor, Weights};
use aisle_data::Interactions;
use aisle_math::array::Array;
use aisle_retrieval::index::{Eligible, SearchBuffer};

/// The vectors of items, and what a cart needs to be folded in.
pub(crate) struct OrderVectors {
    als: AlsModel,
    /// α₀ of the fit, one number; it depends on how dense the orders are.
    alpha: Array<f32>,
}

/// The hyperparameters of the factorization.
fn hyperparameters(factors: usize, alpha: f32) -> Als {
    Als {
        factors,
        alpha,
        ..Als::default()
    }
}

impl OrderVectors {
    /// Fits vectors of `depth` dimensions to a `training` that has orders as rows, see
    /// [`by_order`]. Where there is nothing to learn, all vectors are zero.
    pub fn fit(training: &Training, depth: usize, progress: &dyn Progress) -> Result<Self> {
        let als = hyperparameters(depth, 0.0).resolved(training.interactions);
        let fitted = match als.fit(training, progress) {
            Err(ModelError::NothingToLearn { .. }) => None,
            fitted => Some(fitted?),
        };
        let items = training.interactions.items();
        let factors = fitted.map_or_else(
            || vec![0.0; items * depth].into(),
            AlsModel::into_item_factors,
        );
        Ok(Self {
            alpha: vec![als.alpha].into(),
            als: AlsModel::of_items(als, factors),
        })
    }

    /// Reads the vectors from the arrays of a version.
    pub fn load(items: usize, weights: &mut Weights) -> Result<Self> {
        let alpha = weights.reals("complements.alpha", 1)?;
        let (factors, depth) = weights.matrix("complements.item_factors", items, None)?;
        let als = AlsModel::of_items(hyperparameters(depth, alpha[0]), factors)
            .fitted_to(weights.learned(items));
        Ok(Self { als, alpha })
    }

    /// The arrays that a version stores.
    pub fn tensors(&self) -> Vec<Tensor<'_>> {
        let vectors = self.als.item_vectors();
        vec![
            Tensor::f32(
                "complements.item_factors",
                &[vectors.len(), vectors.depth()],
                vectors.values(),
            ),
            Tensor::f32("complements.alpha", &[1], &self.alpha),
        ]
    }

    /// Folds a cart in: a search for what completes it.
    pub fn query(&self, cart: &[u32]) -> CartQuery<'_> {
        let ones = vec![1.0; cart.len()];
        CartQuery {
            vectors: self.als.item_vectors(),
            query: self.als.fold_in(History {
                items: cart,
                values: &ones,
                user: None,
            }),
        }
    }
}

/// A cart as a query among the vectors of items.
pub(crate) struct CartQuery<'a> {
    vectors: &'a Vectors,
    /// `None` if no item of the cart has a vector.
    query: Option<Vec<f32>>,
}

impl CartQuery<'_> {
    /// Finds the `k` eligible items that complete the cart best.
    pub fn complete(&self, k: usize, eligible: Eligible, found: &mut SearchBuffer) {
        self.vectors
            .recommend(self.query.as_deref(), k, eligible, found);
    }

    /// How well each item completes the cart, in standard deviations over all items; 0 for an item
    /// without a vector.
    pub fn scores(&self, items: &[u32]) -> Vec<f32> {
        self.vectors
            .standardized_scores(self.query.as_deref(), items)
            .into_iter()
            .map(|score| score.unwrap_or(0.0))
            .collect()
    }
}

/// The same training data with orders as rows in place of users.
pub(crate) fn by_order<'a>(training: &Training<'a>, matrix: &'a Interactions) -> Training<'a> {
    Training {
        interactions: matrix,
        users: &[],
        ..*training
    }
}

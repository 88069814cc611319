//! The fitted model of alternating least squares.

use crate::algorithms::als::hyperparameters::Als;
use crate::algorithms::als::row_solver::{RowSolver, gram_diagonal};
use crate::algorithms::recommend::{ColdItems, History};
use crate::algorithms::vectors::{VectorModel, Vectors};
use crate::error::Result;
use crate::weights::{Tensor, Weights};
use aisle_math::array::Array;

/// One vector for each user and each item: a score is their inner product.
pub struct AlsModel {
    als: Als,
    /// `users × factors`, row-major.
    user_factors: Array<f32>,
    /// Vectors of the items, on principal axes.
    vectors: Vectors,
    /// The [`gram_diagonal`] of the item vectors that were learned from events.
    gram_diagonal: Vec<f32>,
    /// Items whose vectors were predicted from their content, ascending.
    cold: Array<u32>,
}

impl AlsModel {
    pub(super) fn new(
        als: Als,
        user_factors: Array<f32>,
        item_factors: Array<f32>,
        cold: Array<u32>,
    ) -> Self {
        let diagonal = match cold.is_empty() {
            true => gram_diagonal(&item_factors, als.factors, als.alpha),
            false => {
                let mut learned = item_factors.to_vec();
                cold.iter().for_each(|&item| {
                    learned[item as usize * als.factors..][..als.factors].fill(0.0)
                });
                gram_diagonal(&learned, als.factors, als.alpha)
            }
        };
        let vectors = Vectors::new(item_factors, als.factors).with_cold_items(&cold);
        Self {
            als,
            user_factors,
            vectors,
            gram_diagonal: diagonal,
            cold,
        }
    }

    /// Takes the arrays of a version.
    pub(crate) fn load(
        als: Als,
        users: usize,
        items: usize,
        weights: &mut Weights,
    ) -> Result<Self> {
        als.validate()?;
        let (user_factors, _) = weights.matrix("als.user_factors", users, Some(als.factors))?;
        let (item_factors, _) = weights.matrix("als.item_factors", items, Some(als.factors))?;
        let cold = weights.some_rows("als.cold", items)?;
        Ok(Self::new(als, user_factors, item_factors, cold).fitted_to(weights.learned(items)))
    }

    /// Returns the vector of any history, by the solve that the fit makes for a user; for a user of
    /// the fit whose history is unchanged, the stored vector. `None` for an empty history.
    pub fn fold_in(&self, history: History) -> Option<Vec<f32>> {
        if history.items.is_empty() {
            return None;
        }
        if let Some(stored) = history.user.and_then(|user| self.user_factor(user)) {
            return Some(stored.to_vec());
        }
        let mut vector = vec![0f32; self.als.factors];
        self.solver().solve(history, &mut vector).then_some(vector)
    }

    fn solver(&self) -> RowSolver<'_> {
        RowSolver::new(
            &self.als,
            self.vectors.values(),
            self.vectors.fitted_items(),
            &self.gram_diagonal,
        )
        .with_scaling(self.als.scaling)
    }

    /// Makes a model of item vectors that stores no users.
    pub(crate) fn of_items(als: Als, item_factors: Array<f32>) -> Self {
        Self::new(als, Vec::new().into(), item_factors, Array::default())
    }

    /// Returns the same model as one that was fitted to the first `fitted` items only.
    pub(crate) fn fitted_to(self, fitted: usize) -> Self {
        Self {
            vectors: self.vectors.fitted_to(fitted),
            ..self
        }
    }

    /// Returns the searchable vectors of the items.
    pub(crate) fn item_vectors(&self) -> &Vectors {
        &self.vectors
    }

    /// Returns the vectors of the items, `items × factors`, row-major.
    pub(crate) fn into_item_factors(self) -> Array<f32> {
        self.vectors.values().to_vec().into()
    }

    /// Returns the stored vector of a user; `None` for a user whom the model does not know.
    pub fn user_factor(&self, user: u32) -> Option<&[f32]> {
        self.user_factors
            .chunks_exact(self.als.factors)
            .nth(user as usize)
    }

    /// Returns the vector of an item.
    pub fn item_factor(&self, item: u32) -> &[f32] {
        self.vectors.item(item)
    }
}

impl VectorModel for AlsModel {
    fn algorithm(&self) -> &'static str {
        "als"
    }

    fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    fn vectors_mut(&mut self) -> &mut Vectors {
        &mut self.vectors
    }

    fn query(&self, history: History) -> Option<Vec<f32>> {
        self.fold_in(history)
    }

    /// A score is linear in the confidences of the history, so the contributions are exact.
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        self.solver().explain(history, items)
    }

    fn knows_cold_item(&self, item: u32) -> bool {
        self.cold.binary_search(&item).is_ok()
    }

    fn add_cold_items(&mut self, cold_items: &dyn ColdItems) {
        let values = cold_items.with_vectors(self.vectors.values(), self.als.factors);
        self.vectors = self
            .vectors
            .with_values(values)
            .with_cold_items(cold_items.items());
        self.cold = cold_items.items().to_vec().into();
    }

    fn scale_cold_scores(&mut self, scale: f32) {
        self.vectors = self.vectors.with_scaled_cold_items(&self.cold, scale);
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let factors = self.als.factors;
        let mut tensors = vec![
            Tensor::f32(
                "als.user_factors",
                &[self.user_factors.len() / factors, factors],
                &self.user_factors,
            ),
            Tensor::f32(
                "als.item_factors",
                &[self.vectors.len(), factors],
                self.vectors.values(),
            ),
        ];
        tensors.extend((!self.cold.is_empty()).then(|| Tensor::u32("als.cold", &self.cold)));
        tensors
    }
}

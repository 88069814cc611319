//! Truncated SVD of the degree-normalised matrix: an ideal low-pass filter on the graph of users
//! and items.
//!
//! X̃ = D_u^-½ X D_i^-½ and V its leading right singular vectors; a history x scores
//! x D_i^-½ V Vᵀ D_i^½, the filter of Shen et al., "How Powerful is Graph Convolution for
//! Recommendation?" (CIKM 2021), section 4. V comes from block power iteration (Halko, Martinsson
//! and Tropp, SIAM Review 2011, algorithm 4.4). The vector of a new shopper is a weighted sum of
//! item vectors: no solve.

use crate::algorithms::random::normal_matrix;
use crate::algorithms::recommend::{
    ColdItems, Fit, History, Progress, Training, check_range, largest_contribution,
};
use crate::algorithms::scaling::Scaling;
use crate::algorithms::vectors::{VectorModel, Vectors};
use crate::error::{ModelError, Result};
use crate::weights::{Tensor, Weights};
use aisle_data::Interactions;
use aisle_math::array::Array;
use aisle_math::dense;
use aisle_math::kernels::{LANES, add_rows, dot, simd};
use aisle_math::sparse::{Csr, product};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Columns beside those kept, with which the kept ones converge faster.
const OVERSAMPLE: usize = 16;
/// Singular values below this share of the largest, which is 1, are rounding errors: their vectors
/// are left out.
const LEAST_SINGULAR_VALUE: f32 = 1e-3;

/// Hyperparameters of the low-pass filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LowPass {
    /// Number of singular vectors kept, 1 to 4096; never more than half of the users or items, see
    /// [`LowPass::resolved`].
    pub factors: usize,
    /// Number of power iterations, 1 to 50. Three are enough: more change the fourth digit of NDCG.
    pub iterations: usize,
    /// Exponent of the item degrees in a score, 0 to 1: 0.5 is the filter of the paper, less
    /// favours rare items.
    pub popularity: f32,
    /// How summed event weights become confidence.
    pub scaling: Scaling,
    /// Seed of the random vectors that the power iteration starts from.
    pub seed: u64,
}

impl Default for LowPass {
    fn default() -> Self {
        Self {
            factors: 512,
            iterations: 3,
            popularity: 0.5,
            scaling: Scaling::Log,
            seed: 42,
        }
    }
}

impl LowPass {
    /// Checks the ranges of the hyperparameters.
    fn validate(&self) -> Result<()> {
        check_range("factors", self.factors, 1..=4096)?;
        check_range("iterations", self.iterations, 1..=50)?;
        check_range("popularity", self.popularity, 0.0..=1.0)
    }

    /// Returns a copy with no more factors than half of the users and half of the items with users:
    /// a filter that keeps every frequency would answer with the history itself.
    pub fn resolved(&self, interactions: &Interactions) -> Self {
        let most = (interactions.users().min(interactions.items_with_users()) / 2).max(1);
        Self {
            factors: self.factors.min(most),
            ..self.clone()
        }
    }

    /// Returns the bytes that a fit takes beside the data.
    pub fn memory(&self, users: usize, items: usize) -> u64 {
        let width = self.subspace_width();
        4 * (width * (users + 2 * items) + 8 * width * width) as u64
    }

    /// Returns the number of columns that the power iteration works on.
    fn subspace_width(&self) -> usize {
        (self.factors + OVERSAMPLE).next_multiple_of(LANES)
    }

    /// Returns the leading right singular vectors of X̃, `items × factors`, row-major; zeros for
    /// those of vanishing singular values. X̃ is given by user and by item. `None` if a number is
    /// not finite.
    fn singular_vectors(
        &self,
        by_user: &Csr,
        by_item: &Csr,
        progress: &dyn Progress,
    ) -> Option<Vec<f32>> {
        let width = self.subspace_width();
        let mut basis = normal_matrix((by_item.rows(), width), 1.0, self.seed);
        for iteration in 1..=self.iterations {
            let image = product(by_user, &basis, width);
            // Freed before the next one is made: only one of the two fits beside the image.
            drop(std::mem::take(&mut basis));
            basis = product(by_item, &image, width);
            drop(image);
            if !dense::orthonormalise(&mut basis, width) {
                return None;
            }
            progress.step("low-pass", iteration, self.iterations + 1);
        }
        // Rayleigh-Ritz: the singular vectors within the subspace of the basis.
        let projected = dense::gram(&product(by_user, &basis, width), width);
        let (squares, rotation) = dense::eigen(&projected, width)?;
        let mut kept = vec![0f32; width * self.factors];
        for (row, target) in rotation.chunks(width).zip(kept.chunks_mut(self.factors)) {
            for ((target, &value), &square) in target.iter_mut().zip(row).zip(&squares) {
                if square > LEAST_SINGULAR_VALUE * LEAST_SINGULAR_VALUE {
                    *target = value;
                }
            }
        }
        Some(dense::multiply(&basis, &kept, width))
    }
}

/// Returns one direction of X̃: the confidences of `matrix`, each divided by the roots of the
/// degrees of its row and its column.
fn normalised(matrix: &Csr, scaling: Scaling, row_degrees: &[f32], column_degrees: &[f32]) -> Csr {
    let mut normal = matrix.clone();
    for (row, row_degree) in row_degrees.iter().enumerate() {
        for at in matrix.offsets[row]..matrix.offsets[row + 1] {
            let degrees = row_degree * column_degrees[matrix.indices[at] as usize];
            normal.values[at] = scaling.of(matrix.values[at]) / degrees.sqrt();
        }
    }
    normal
}

/// Returns a power of a degree; 0 for the degree 0 of an item without users.
fn degree_power(degree: f32, exponent: f32) -> f32 {
    if degree > 0.0 {
        degree.powf(exponent)
    } else {
        0.0
    }
}

impl Fit for LowPass {
    type Model = LowPassModel;

    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<LowPassModel> {
        self.validate()?;
        let data = training.require_interactions("low-pass")?;
        let resolved = self.resolved(data);
        let (factors, scaling) = (resolved.factors, resolved.scaling);
        let users = scaling.degrees(&data.by_user);
        let items = scaling.degrees(&data.by_item);
        let by_user = normalised(&data.by_user, scaling, &users, &items);
        let by_item = normalised(&data.by_item, scaling, &items, &users);
        let diverged = || ModelError::Diverged {
            model: "low-pass",
            iteration: 0,
            advice: "lower factors, or look for extreme event weights".into(),
        };
        let mut vectors = resolved
            .singular_vectors(&by_user, &by_item, progress)
            .ok_or_else(diverged)?;
        vectors
            .par_chunks_mut(factors)
            .zip(&items)
            .for_each(|(vector, &degree)| {
                let scale = degree_power(degree, resolved.popularity);
                vector.iter_mut().for_each(|value| *value *= scale);
            });
        if vectors.iter().any(|value| !value.is_finite()) {
            return Err(diverged());
        }
        let history_weights: Vec<f32> = items
            .iter()
            .map(|&degree| degree_power(degree, -0.5 - resolved.popularity))
            .collect();
        let steps = resolved.iterations + 1;
        progress.step("low-pass", steps, steps);
        Ok(LowPassModel {
            scaling,
            vectors: Vectors::new(vectors.into(), factors),
            history_weights: history_weights.into(),
            cold: Array::default(),
        })
    }
}

/// One vector for each item: a shopper's vector is a weighted sum of those of the history.
pub struct LowPassModel {
    scaling: Scaling,
    /// Vectors of the items: D_i^popularity V.
    vectors: Vectors,
    /// What the vector of each item is multiplied by in a history: D_i^(-½ - popularity).
    history_weights: Array<f32>,
    /// Items whose vectors were predicted from their content, ascending.
    cold: Array<u32>,
}

impl LowPassModel {
    /// Takes the arrays of a version.
    pub(crate) fn load(low_pass: &LowPass, items: usize, weights: &mut Weights) -> Result<Self> {
        low_pass.validate()?;
        let (vectors, _) =
            weights.matrix("low_pass.item_vectors", items, Some(low_pass.factors))?;
        let history_weights = weights.reals("low_pass.weights", items)?;
        let cold = weights.some_rows("low_pass.cold", items)?;
        let vectors = Vectors::new(vectors, low_pass.factors)
            .with_cold_items(&cold)
            .fitted_to(weights.learned(items));
        Ok(Self {
            scaling: low_pass.scaling,
            vectors,
            history_weights,
            cold,
        })
    }

    /// Returns the vector of a history, Σ c_i D_i^-½ V_i. O(n · d).
    fn fold_in(&self, history: History) -> Option<Vec<f32>> {
        if history.items.is_empty() {
            return None;
        }
        let weights: Vec<f32> = self.sources(history).map(|(_, weight)| weight).collect();
        let mut vector = vec![0f32; self.vectors.depth()];
        add_rows(
            simd(),
            self.vectors.values(),
            history.items,
            &weights,
            &mut vector,
        );
        Some(vector)
    }

    /// Returns the items of a history with the weights of their vectors.
    fn sources<'a>(&'a self, history: History<'a>) -> impl Iterator<Item = (u32, f32)> + 'a {
        let weight = |(&item, &value): (&u32, &f32)| {
            (
                item,
                self.scaling.of(value) * self.history_weights[item as usize],
            )
        };
        history.items.iter().zip(history.values).map(weight)
    }
}

impl VectorModel for LowPassModel {
    fn algorithm(&self) -> &'static str {
        "low-pass"
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

    /// A score is a sum over the history, so the contributions are exact.
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        let explain = |&item: &u32| {
            let target = self.vectors.item(item);
            let contributions = self
                .sources(history)
                .map(|(source, weight)| (source, weight * dot(self.vectors.item(source), target)));
            largest_contribution(contributions, item)
        };
        items.iter().map(explain).collect()
    }

    fn knows_cold_item(&self, item: u32) -> bool {
        self.cold.binary_search(&item).is_ok()
    }

    /// Predicts the weights of cold items in a history too, by their logarithms: the weights are
    /// powers of degrees, and only logarithms of degrees are linear in features.
    fn add_cold_items(&mut self, cold_items: &dyn ColdItems) {
        let depth = self.vectors.depth();
        self.vectors = self
            .vectors
            .with_values(cold_items.with_vectors(self.vectors.values(), depth))
            .with_cold_items(cold_items.items());
        let logarithms: Vec<f32> = self
            .history_weights
            .iter()
            .map(|weight| weight.max(f32::MIN_POSITIVE).ln())
            .collect();
        let mut weights = self.history_weights.to_vec();
        for (&item, logarithm) in cold_items
            .items()
            .iter()
            .zip(cold_items.vectors(&logarithms, 1))
        {
            weights[item as usize] = logarithm.min(0.0).exp();
        }
        self.history_weights = weights.into();
        self.cold = cold_items.items().to_vec().into();
    }

    fn scale_cold_scores(&mut self, scale: f32) {
        self.vectors = self.vectors.with_scaled_cold_items(&self.cold, scale);
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = vec![
            Tensor::f32(
                "low_pass.item_vectors",
                &[self.vectors.len(), self.vectors.depth()],
                self.vectors.values(),
            ),
            Tensor::f32(
                "low_pass.weights",
                &[self.history_weights.len()],
                &self.history_weights,
            ),
        ];
        tensors.extend((!self.cold.is_empty()).then(|| Tensor::u32("low_pass.cold", &self.cold)));
        tensors
    }
}

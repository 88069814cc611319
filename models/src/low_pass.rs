//! Truncated SVD of the degree-normalised matrix: an ideal low-pass filter on the graph of users and items.
//!
//! X̃ = D_u^-½ X D_i^-½ and V its leading right singular vectors; a history x scores x D_i^-½ V Vᵀ D_i^½, the filter of Shen et
//! al., "How Powerful is Graph Convolution for Recommendation?" (CIKM 2021), section 4. V comes from block power iteration
//! (Halko, Martinsson and Tropp, SIAM Review 2011, algorithm 4.4). A new shopper is a weighted sum of item vectors: no solve.

use crate::als::Scaling;
use crate::content::Newcomers;
use crate::dense;
use crate::kernels::{LANES, add_rows, dot, product, simd};
use crate::near::Near;
use crate::recommend::{Fit, History, Training, Watch, hyperparameter, strongest};
use crate::vectors::{ByVectors, Vectors, random};
use crate::weights::{Array, Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::{Csr, Interactions};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LowPass {
    /// Singular vectors kept, 1 to 4096; never more than half of the users or items, see [`LowPass::resolved`].
    pub factors: usize,
    /// Power iterations, 1 to 50. Three are enough: more change the fourth digit of NDCG.
    pub iterations: usize,
    /// Exponent of the item degrees in the answer, 0 to 1: 0.5 is the filter of the paper, less favours rare items.
    pub popularity: f32,
    /// Confidence from summed event weights.
    pub scaling: Scaling,
    /// Of the random start.
    pub seed: u64,
}

impl Default for LowPass {
    fn default() -> Self {
        Self { factors: 512, iterations: 3, popularity: 0.5, scaling: Scaling::Log, seed: 42 }
    }
}

/// Columns beside those kept, which make the kept ones converge.
const OVERSAMPLE: usize = 16;
/// Singular values below this, of a largest of 1, are rounding: their vectors are left out.
const VANISHED: f32 = 1e-3;

impl LowPass {
    pub(crate) fn validate(&self) -> Result<()> {
        hyperparameter("factors", self.factors, 1..=4096)?;
        hyperparameter("iterations", self.iterations, 1..=50)?;
        hyperparameter("popularity", self.popularity, 0.0..=1.0)
    }

    /// With the number of factors that this matrix can have: a filter that keeps every frequency answers with the history.
    pub fn resolved(&self, interactions: &Interactions) -> Self {
        let most = (interactions.users().min(interactions.items_with_users()) / 2).max(1);
        Self { factors: self.factors.min(most), ..self.clone() }
    }

    /// Bytes that a fit takes beside the data.
    pub fn memory(&self, users: usize, items: usize) -> u64 {
        let width = (self.factors + OVERSAMPLE).next_multiple_of(LANES);
        4 * (width * (users + 2 * items) + 8 * width * width) as u64
    }
}

/// One direction of X̃: values c / √(d_u d_i) on the places of a matrix.
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

/// Σ of confidences of each row.
pub(crate) fn degrees(matrix: &Csr, scaling: Scaling) -> Vec<f32> {
    (0..matrix.rows()).map(|row| matrix.row(row).1.iter().map(|&value| scaling.of(value)).sum()).collect()
}

impl Fit for LowPass {
    type Model = LowPassModel;

    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<LowPassModel> {
        self.validate()?;
        let data = training.interactions;
        if data.nnz() == 0 {
            return Err(ModelError::NothingToLearn { model: "low-pass", why: "no user has a positive interaction".into() });
        }
        let this = self.resolved(data);
        let (users, items) = (degrees(&data.by_user, this.scaling), degrees(&data.by_item, this.scaling));
        let by_user = normalised(&data.by_user, this.scaling, &users, &items);
        let by_item = normalised(&data.by_item, this.scaling, &items, &users);
        let width = (this.factors + OVERSAMPLE).next_multiple_of(LANES);
        let mut basis = random((items.len(), width), 1.0, this.seed);
        let lost = || ModelError::Diverged {
            model: "low-pass",
            iteration: 0,
            advice: "lower factors, or look for extreme event weights".into(),
        };
        for iteration in 1..=this.iterations {
            let seen = product(&by_user, &basis, width);
            drop(std::mem::take(&mut basis));
            basis = product(&by_item, &seen, width);
            drop(seen);
            if !dense::orthonormalise(&mut basis, width) {
                return Err(lost());
            }
            watch.step("low-pass", iteration, this.iterations + 1);
        }
        // Rayleigh-Ritz: the singular vectors inside the subspace.
        let inside = dense::gram(&product(&by_user, &basis, width), width);
        let (squares, rotation) = dense::eigen(&inside, width).ok_or_else(lost)?;
        let mut kept = vec![0f32; width * this.factors];
        for (row, target) in rotation.chunks(width).zip(kept.chunks_mut(this.factors)) {
            target.iter_mut().zip(row).zip(&squares).for_each(|((target, &value), &square)| {
                *target = if square > VANISHED * VANISHED { value } else { 0.0 };
            });
        }
        let mut vectors = dense::multiply(&basis, &kept, width);
        drop(basis);
        vectors.par_chunks_mut(this.factors).zip(&items).for_each(|(vector, &degree)| {
            let scale = if degree > 0.0 { degree.powf(this.popularity) } else { 0.0 };
            vector.iter_mut().for_each(|value| *value *= scale);
        });
        if vectors.iter().any(|value| !value.is_finite()) {
            return Err(lost());
        }
        let weights: Vec<f32> =
            items.iter().map(|&degree| if degree > 0.0 { degree.powf(-0.5 - this.popularity) } else { 0.0 }).collect();
        watch.step("low-pass", this.iterations + 1, this.iterations + 1);
        let vectors = Vectors::new(vectors.into(), this.factors);
        Ok(LowPassModel { scaling: this.scaling, vectors, weights: weights.into(), cold: Array::default() })
    }
}

/// Fitted vectors.
pub struct LowPassModel {
    scaling: Scaling,
    /// D_i^popularity V.
    vectors: Vectors,
    /// What each item's vector is multiplied by in a history: D_i^(-½ - popularity).
    weights: Array<f32>,
    /// Items whose vectors come from their content, ascending.
    cold: Array<u32>,
}

impl LowPassModel {
    pub(crate) fn load(low_pass: &LowPass, items: usize, weights: &mut Weights) -> Result<Self> {
        low_pass.validate()?;
        let (vectors, _) = weights.matrix("low_pass.item_vectors", items, Some(low_pass.factors))?;
        let scales = weights.reals("low_pass.weights", items)?;
        let cold = weights.some_rows("low_pass.cold", items)?;
        let vectors = Vectors::new(vectors, low_pass.factors).inferred(&cold).fitted_to(weights.learned(items));
        Ok(Self {
            scaling: low_pass.scaling,
            vectors: vectors.with_near(Near::load(Self::NEAR, items, weights)?),
            weights: scales,
            cold,
        })
    }

    /// The vector of a history: Σ c_i D_i^-½ V_i. O(n · d).
    fn fold_in(&self, history: History) -> Option<Vec<f32>> {
        if history.items.is_empty() {
            return None;
        }
        let weights: Vec<f32> = self.parts(history).map(|(_, weight)| weight).collect();
        let mut vector = vec![0f32; self.vectors.depth()];
        add_rows(simd(), self.vectors.values(), history.items, &weights, &mut vector);
        Some(vector)
    }

    fn parts<'a>(&'a self, history: History<'a>) -> impl Iterator<Item = (u32, f32)> + 'a {
        let weight = |(&item, &value): (&u32, &f32)| (item, self.scaling.of(value) * self.weights[item as usize]);
        history.items.iter().zip(history.values).map(weight)
    }
}

impl ByVectors for LowPassModel {
    const NEAR: [&'static str; 2] = ["low_pass.near_of", "low_pass.near"];

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

    /// A score is a sum over the history, so its parts are exact.
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        let explain = |&item: &u32| {
            let target = self.vectors.item(item);
            strongest(self.parts(history).map(|(source, weight)| (source, weight * dot(self.vectors.item(source), target))), item)
        };
        items.iter().map(explain).collect()
    }

    fn knows(&self, item: u32) -> bool {
        self.cold.binary_search(&item).is_ok()
    }

    /// In a history a new item counts as its vector says that it will sell: exponents of degrees are linear in their logarithms.
    fn introduce(&mut self, newcomers: &Newcomers) {
        let depth = self.vectors.depth();
        self.vectors = self.vectors.replaced(newcomers.placed(self.vectors.values(), depth)).inferred(newcomers.items());
        let logarithms: Vec<f32> = self.weights.iter().map(|weight| weight.max(f32::MIN_POSITIVE).ln()).collect();
        let mut weights = self.weights.to_vec();
        for (&item, logarithm) in newcomers.items().iter().zip(newcomers.vectors(&logarithms, 1)) {
            weights[item as usize] = logarithm.min(0.0).exp();
        }
        self.weights = weights.into();
        self.cold = newcomers.items().to_vec().into();
    }

    fn soften(&mut self, scale: f32) {
        self.vectors = self.vectors.scaled(&self.cold, scale);
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = vec![
            Tensor::f32("low_pass.item_vectors", &[self.vectors.len(), self.vectors.depth()], self.vectors.values()),
            Tensor::f32("low_pass.weights", &[self.weights.len()], &self.weights),
        ];
        tensors.extend((!self.cold.is_empty()).then(|| Tensor::u32("low_pass.cold", &self.cold)));
        tensors
    }
}

//! Implicit alternating least squares with an exact solve.
//!
//! Minimises, after Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS on Item Recommendation
//! Benchmarks" (RecSys 2022), equations 3 and 6:
//! Σ_observed c_ui (1 − x_u·y_i)² + α₀ Σ_all (x_u·y_i)² + λ Σ_u (|I_u| + α₀ |I|)^ν ‖x_u‖² + the same for items.
//! One row costs n·d² + d³/3 multiply-adds; rows are independent, so the result does not depend on threads.

use crate::index::{Eligible, Exact, Found, Index};
use crate::kernels::{LANES, Simd, dot, gram, simd, solve, substitute};
use crate::recommend::{Fit, History, Recommend, Training, Watch, strongest};
use crate::split_mix::SplitMix;
use crate::top_k::Scored;
use crate::weights::{Array, Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::{Csr, Interactions};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// How the summed weight of a user's events on an item becomes confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// c = log₂(1 + v): one purchase is 1, three are 2, a view of 0.1 is 0.14.
    #[default]
    Log,
    /// c = v.
    Linear,
    /// c = 1.
    Binary,
}

impl Scaling {
    /// The confidence of a summed weight.
    pub(crate) fn of(self, value: f32) -> f32 {
        match self {
            Scaling::Log => (1.0 + value).log2(),
            Scaling::Linear => value,
            Scaling::Binary => 1.0,
        }
    }
}

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Als {
    /// Dimension d of the vectors, 1 to 1024.
    pub factors: usize,
    /// λ ≥ 0.
    pub regularization: f32,
    /// α₀: the weight of every cell, observed or not. 0 = automatic, see [`Als::resolved`].
    pub alpha: f32,
    /// ν from 0 to 1: how much stronger frequent rows are regularised.
    pub nu: f32,
    /// Confidence from summed event weights.
    pub scaling: Scaling,
    /// Passes over both sides.
    pub iterations: usize,
    /// Of the random start.
    pub seed: u64,
}

impl Default for Als {
    fn default() -> Self {
        Self { factors: 64, regularization: 0.006, alpha: 0.0, nu: 1.0, scaling: Scaling::Log, iterations: 10, seed: 42 }
    }
}

impl Als {
    fn validate(&self) -> Result<()> {
        let wrong = |name: &str, found: String, expected: &str| {
            Err(ModelError::Hyperparameter { name: name.into(), found, expected: expected.into() })
        };
        if !(1..=1024).contains(&self.factors) {
            return wrong("factors", self.factors.to_string(), "1 to 1024");
        }
        if !(self.regularization.is_finite() && self.regularization >= 0.0) {
            return wrong("regularization", self.regularization.to_string(), "a number of 0 or more");
        }
        if !(self.alpha.is_finite() && self.alpha >= 0.0) {
            return wrong("alpha", self.alpha.to_string(), "a number above 0, or 0 for automatic");
        }
        if !(0.0..=1.0).contains(&self.nu) {
            return wrong("nu", self.nu.to_string(), "0 to 1");
        }
        if !(1..=1000).contains(&self.iterations) {
            return wrong("iterations", self.iterations.to_string(), "1 to 1000");
        }
        Ok(())
    }

    /// With the automatic α₀ replaced by 20 × the share of observed cells: the unobserved cells of a row then weigh some 20 times
    /// what its observed ones do. On validation parts of gowalla, Complete Journey and Online Retail the best of a
    /// random search lay between 13 and 30 times, while the best α₀ itself differed by a factor of 20.
    pub fn resolved(&self, interactions: &Interactions) -> Self {
        let cells = interactions.users() as f64 * interactions.items_with_users() as f64;
        let share = interactions.nnz() as f64 / cells.max(1.0);
        let alpha = if self.alpha > 0.0 { self.alpha } else { (20.0 * share).clamp(1e-4, 1.0) as f32 };
        Self { alpha, ..self.clone() }
    }

    /// Bytes that a fit takes beside the data: factors with their padding, and scratch per thread.
    pub fn memory(&self, users: usize, items: usize, threads: usize) -> u64 {
        let width = self.factors.next_multiple_of(LANES);
        (4 * width * (2 * users + 3 * items) + threads * 8 * width * width) as u64
    }

    fn penalty(&self, entries: usize, others: usize) -> f32 {
        self.regularization * (entries as f32 + self.alpha * others as f32).powf(self.nu)
    }
}

/// One side's factors, rows padded to whole lanes.
struct Side {
    rows: usize,
    width: usize,
    values: Vec<f32>,
}

impl Side {
    fn zero(rows: usize, width: usize) -> Self {
        Self { rows, width, values: vec![0.0; rows * width] }
    }

    /// Normal numbers with deviation 0.1 / √d, one generator a row, so that rows do not depend on each other.
    fn random(rows: usize, width: usize, factors: usize, seed: u64) -> Self {
        let mut side = Self::zero(rows, width);
        let deviation = 0.1 / (factors as f32).sqrt();
        side.values.par_chunks_mut(width).enumerate().for_each(|(row, values)| {
            let mut state = SplitMix(seed ^ (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            values[..factors].iter_mut().for_each(|value| *value = deviation * state.normal());
        });
        side
    }

    /// α₀ YᵀY, lower triangle. Partial sums over fixed blocks of rows, added in order.
    fn gram(&self, alpha: f32, simd: Simd) -> Vec<f32> {
        const BLOCK: usize = 2048;
        let size = self.width * self.width;
        let parts: Vec<Vec<f32>> = self
            .values
            .par_chunks(BLOCK * self.width)
            .map(|rows| {
                let mut part = vec![0f32; size];
                gram(simd, rows, rows, self.width, &mut part);
                part
            })
            .collect();
        let mut total = vec![0f32; size];
        for part in parts {
            total.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
        total.iter_mut().for_each(|value| *value *= alpha);
        total
    }

    /// Row-major without padding.
    fn packed(&self, factors: usize) -> Vec<f32> {
        self.values.chunks(self.width).flat_map(|row| row[..factors].iter().copied()).collect()
    }
}

/// Scratch of one solve.
#[derive(Default)]
struct Scratch {
    matrix: Vec<f32>,
    left: Vec<f32>,
    right: Vec<f32>,
    column: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a solve needs to know of the other side.
#[derive(Clone, Copy)]
struct Against<'a> {
    factors: &'a [f32],
    width: usize,
    /// α₀ YᵀY.
    gram: &'a [f32],
    rows: usize,
    als: &'a Als,
    simd: Simd,
}

impl Against<'_> {
    /// Solves one row: (α₀ YᵀY + Σ c y yᵀ + λ′ I) x = Σ c y. An empty history gives zero.
    /// Returns false if the system is not positive definite.
    fn solve(&self, history: History, out: &mut [f32]) -> bool {
        const BLOCK: usize = 96;
        let width = self.width;
        out.fill(0.0);
        if history.items.is_empty() {
            return true;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.matrix.clear();
            scratch.matrix.extend_from_slice(self.gram);
            scratch.column.resize(width, 0.0);
            for (items, values) in history.items.chunks(BLOCK).zip(history.values.chunks(BLOCK)) {
                scratch.left.clear();
                scratch.right.clear();
                for (&item, &value) in items.iter().zip(values) {
                    let confidence = self.als.scaling.of(value);
                    let row = &self.factors[item as usize * width..][..width];
                    scratch.right.extend_from_slice(row);
                    scratch.left.extend(row.iter().map(|&y| confidence * y));
                }
                for row in scratch.left.chunks(width) {
                    out.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value);
                }
                gram(self.simd, &scratch.left, &scratch.right, width, &mut scratch.matrix);
            }
            let penalty = self.als.penalty(history.items.len(), self.rows);
            // The padding has no equation of its own: a one on its diagonal keeps it at zero.
            for d in 0..width {
                scratch.matrix[d * width + d] += if d < self.als.factors { penalty.max(1e-9) } else { 1.0 };
            }
            solve(self.simd, width, &mut scratch.matrix, out, &mut scratch.column)
        })
    }
}

fn half_step(side: &mut Side, other: &Side, matrix: &Csr, als: &Als) -> bool {
    let simd = simd();
    let gram = other.gram(als.alpha, simd);
    let against = Against { factors: &other.values, width: other.width, gram: &gram, rows: other.rows, als, simd };
    side.values
        .par_chunks_mut(side.width)
        .enumerate()
        .with_min_len(16)
        .map(|(row, out)| {
            let (items, values) = matrix.row(row);
            against.solve(History { items, values, user: None }, out) && out.iter().all(|value| value.is_finite())
        })
        .reduce(|| true, |a, b| a && b)
}

impl Fit for Als {
    type Model = AlsModel;

    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<AlsModel> {
        self.validate()?;
        self.resolved(training.interactions).fit_resolved(training, watch)
    }
}

impl Als {
    fn fit_resolved(&self, training: &Training, watch: &dyn Watch) -> Result<AlsModel> {
        let data = training.interactions;
        if data.nnz() == 0 {
            return Err(ModelError::NothingToLearn { model: "als", why: "no user has a positive interaction".into() });
        }
        let width = self.factors.next_multiple_of(LANES);
        let mut users = Side::random(data.users(), width, self.factors, self.seed);
        let mut items = Side::zero(data.items(), width);
        let diverged = |iteration| ModelError::Diverged { model: "als", iteration, regularization: self.regularization };
        for iteration in 1..=self.iterations {
            // Items first: the last half-step of an iteration is the users', so a stored user vector is the fold-in.
            let finite = half_step(&mut items, &users, &data.by_item, self) && half_step(&mut users, &items, &data.by_user, self);
            if !finite {
                return Err(diverged(iteration));
            }
            watch.step("als", iteration, self.iterations);
        }
        let (user_factors, item_factors) = (users.packed(self.factors), items.packed(self.factors));
        Ok(AlsModel::new(self.clone(), user_factors.into(), item_factors.into()))
    }
}

/// Fitted vectors.
pub struct AlsModel {
    als: Als,
    /// `users × factors`, row-major.
    user_factors: Array<f32>,
    /// `items × factors`, row-major.
    item_factors: Array<f32>,
    index: Exact,
    cosine: Exact,
    padded: Side,
    gram: Vec<f32>,
}

impl AlsModel {
    fn new(als: Als, user_factors: Array<f32>, item_factors: Array<f32>) -> Self {
        let (factors, width) = (als.factors, als.factors.next_multiple_of(LANES));
        let mut padded = Side::zero(item_factors.len() / factors, width);
        padded
            .values
            .chunks_mut(width)
            .zip(item_factors.chunks(factors))
            .for_each(|(row, vector)| row[..factors].copy_from_slice(vector));
        let gram = padded.gram(als.alpha, simd());
        let index = Exact::new(&item_factors, factors);
        let cosine = Exact::cosine(&item_factors, factors);
        Self { als, user_factors, item_factors, index, cosine, padded, gram }
    }

    /// From the arrays of a version.
    pub(crate) fn load(als: Als, users: usize, items: usize, weights: &mut Weights) -> Result<Self> {
        als.validate()?;
        let (user_factors, _) = weights.matrix("als.user_factors", users, Some(als.factors))?;
        let (item_factors, _) = weights.matrix("als.item_factors", items, Some(als.factors))?;
        Ok(Self::new(als, user_factors, item_factors))
    }

    /// The vector of a history, known or not: the solve of the training, without training. O(n·d² + d³/3).
    /// That of an unchanged trained user is the one stored.
    pub fn fold_in(&self, history: History) -> Vec<f32> {
        if let Some(stored) = history.user.and_then(|user| self.user_factor(user)) {
            return stored.to_vec();
        }
        let mut out = vec![0f32; self.padded.width];
        if !self.against().solve(history, &mut out) {
            out.fill(0.0);
        }
        out.truncate(self.als.factors);
        out
    }

    fn against(&self) -> Against<'_> {
        Against {
            factors: &self.padded.values,
            width: self.padded.width,
            gram: &self.gram,
            rows: self.padded.rows,
            als: &self.als,
            simd: simd(),
        }
    }

    /// The stored vector of a user.
    pub fn user_factor(&self, user: u32) -> Option<&[f32]> {
        self.user_factors.chunks_exact(self.als.factors).nth(user as usize)
    }

    /// The vector of an item.
    pub fn item_factor(&self, item: u32) -> &[f32] {
        &self.item_factors[item as usize * self.als.factors..][..self.als.factors]
    }
}

impl Recommend for AlsModel {
    /// A score is linear in the history: x·y_j = Σ_i c_i y_iᵀ A⁻¹ y_j, after Hu, Koren and Volinsky, "Collaborative Filtering
    /// for Implicit Feedback Datasets" (ICDM 2008), section 5. O(n·d² + d³/3 + items · (d² + n·d)).
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        let mut vector = vec![0f32; self.padded.width];
        if history.items.is_empty() || !self.against().solve(history, &mut vector) {
            return vec![None; items.len()];
        }
        let width = self.padded.width;
        SCRATCH.with_borrow(|scratch| {
            let explain = |&item: &u32| {
                let mut weights = self.padded.values[item as usize * width..][..width].to_vec();
                substitute(simd(), width, &scratch.matrix, &mut weights);
                let part = |(&source, &value): (&u32, &f32)| {
                    let own = &self.padded.values[source as usize * width..][..width];
                    (source, self.als.scaling.of(value) * dot(own, &weights))
                };
                strongest(history.items.iter().zip(history.values).map(part), item)
            };
            items.iter().map(explain).collect()
        })
    }

    fn algorithm(&self) -> &'static str {
        "als"
    }

    fn recommend(&self, history: History, k: usize, eligible: Eligible, found: &mut Found) {
        if history.items.is_empty() {
            found.items.clear();
            return;
        }
        self.index.search(&self.fold_in(history), k, eligible, found);
    }

    fn recommend_batch(&self, histories: &[History], k: usize, eligible: &[Eligible]) -> Vec<Vec<Scored>> {
        let vectors: Vec<Vec<f32>> = histories.par_iter().map(|&history| self.fold_in(history)).collect();
        let queries: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        let mut results = self.index.search_batch(&queries, k, eligible);
        for (result, history) in results.iter_mut().zip(histories) {
            if history.items.is_empty() {
                result.clear();
            }
        }
        results
    }

    fn similar_items(&self, item: u32, k: usize, eligible: Eligible, found: &mut Found) {
        let vector = self.cosine.vector(item);
        if vector.iter().all(|&value| value == 0.0) {
            found.items.clear();
            return;
        }
        self.cosine.search(&vector, k, eligible, found);
    }

    fn similarity(&self, a: u32, b: u32) -> f32 {
        let (a, b) = (self.item_factor(a), self.item_factor(b));
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
    }

    fn score(&self, history: History, items: &[u32]) -> Vec<Option<f32>> {
        let query = self.fold_in(history);
        let known = !history.items.is_empty();
        items.iter().map(|&item| known.then(|| self.index.score(&query, item)).filter(|score| score.is_finite())).collect()
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let factors = self.als.factors;
        vec![
            Tensor::f32("als.user_factors", &[self.user_factors.len() / factors, factors], &self.user_factors),
            Tensor::f32("als.item_factors", &[self.item_factors.len() / factors, factors], &self.item_factors),
        ]
    }
}

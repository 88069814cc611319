//! Implicit alternating least squares with an exact solve.
//!
//! Minimises, after Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS on Item Recommendation
//! Benchmarks" (RecSys 2022), equations 3 and 6:
//! Σ_observed c_ui (1 − x_u·y_i)² + α₀ Σ_all (x_u·y_i)² + λ Σ_u (|I_u| + α₀ |I|)^ν ‖x_u‖² + the same for items.
//!
//! A row of n entries solves (D + YᵀCY) x = YᵀC1 with Y its n other-side vectors, C their confidences and D = α₀ YᵀY over all
//! rows + λ′I. Each half-step first turns the other side to its principal axes, where that Gram matrix, and so D, is diagonal for
//! every λ′ at once. Then x = D⁻¹Yᵀz with (C⁻¹ + Y D⁻¹ Yᵀ) z = 1 (the push-through identity): a system of n equations instead
//! of d. Rows shorter than d, nearly all in a shop, are solved that way, n²·d/2 + n³/6 multiply-adds; the others
//! directly, n·d²/2 + d³/6. Rows are independent, so the result does not depend on threads.

use crate::content::Newcomers;
use crate::dense;
use crate::kernels::{LANES, Simd, add_rows, copy_rows, dots, gather, gram, largest, simd, solve, substitute_all};
use crate::near::Near;
use crate::recommend::{Fit, History, Training, Watch, hyperparameter, strongest};
use crate::vectors::{ByVectors, Vectors, random};
use crate::weights::{Array, Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::{Csr, Interactions, NONE};
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
    /// The confidence of a summed weight. Events that have all but faded away count 10⁻⁶: nothing, but a number to divide by.
    pub(crate) fn of(self, value: f32) -> f32 {
        match self {
            Scaling::Log => (1.0 + value).log2().max(1e-6),
            Scaling::Linear => value.max(1e-6),
            Scaling::Binary => 1.0,
        }
    }

    /// A matrix of summed weights as one of confidences.
    pub(crate) fn applied(self, matrix: &Csr) -> Csr {
        let mut confidences = matrix.clone();
        confidences.values.iter_mut().for_each(|value| *value = self.of(*value));
        confidences
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
        hyperparameter("factors", self.factors, 1..=1024)?;
        hyperparameter("regularization", self.regularization, 0.0..=f32::MAX)?;
        hyperparameter("alpha", self.alpha, 0.0..=f32::MAX)?;
        hyperparameter("nu", self.nu, 0.0..=1.0)?;
        hyperparameter("iterations", self.iterations, 1..=1000)
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

    /// Bytes that a fit takes beside the data: factors, the turned copy of one side, and scratch per thread.
    pub fn memory(&self, users: usize, items: usize, threads: usize) -> u64 {
        let width = self.factors.next_multiple_of(LANES);
        (4 * self.factors * (users + 2 * items + users.max(items)) + threads * 8 * width * width) as u64
    }

    /// Multiply-adds that one row of `entries` costs an iteration.
    pub fn work(&self, entries: usize) -> f64 {
        let (n, d) = (entries as f64, self.factors as f64);
        if n <= d { n * n * d / 2.0 + n * n * n / 6.0 + 2.0 * n * d } else { n * d * d / 2.0 + d * d * d / 6.0 }
    }

    fn penalty(&self, entries: usize, others: usize) -> f32 {
        self.regularization * (entries as f32 + self.alpha * others as f32).powf(self.nu)
    }
}

/// One side's factors, row-major.
struct Side {
    depth: usize,
    values: Vec<f32>,
}

impl Side {
    fn zero(rows: usize, depth: usize) -> Self {
        Self { depth, values: vec![0.0; rows * depth] }
    }

    /// Normal numbers with deviation 0.1 / √d.
    fn random(rows: usize, depth: usize, seed: u64) -> Self {
        Self { depth, values: random((rows, depth), 0.1 / (depth as f32).sqrt(), seed) }
    }

    /// Turns the rows to their principal axes, where YᵀY is diagonal. Inner products of rows stay. Returns false if the
    /// numbers are not finite.
    fn turn(&mut self) -> bool {
        let Some((_, axes)) = dense::eigen(&dense::gram(&self.values, self.depth), self.depth) else { return false };
        self.values = dense::multiply(&self.values, &axes, self.depth);
        true
    }
}

/// α₀ times the diagonal of YᵀY: all there is of it on principal axes. Summed in double precision, in order.
fn spectrum(values: &[f32], depth: usize, alpha: f32) -> Vec<f32> {
    let mut sums = vec![0f64; depth];
    for row in values.chunks(depth) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) * f64::from(value));
    }
    sums.into_iter().map(|sum| alpha * sum as f32).collect()
}

/// A millionth of the largest part of a spectrum: a system with less on its diagonal would be rounding.
fn least(spectrum: &[f32]) -> f32 {
    spectrum.iter().fold(1e-12, |least, &value| least.max(1e-6 * value))
}

/// Scratch of one solve.
#[derive(Default)]
struct Scratch {
    matrix: Vec<f32>,
    columns: Vec<f32>,
    z: Vec<f32>,
    base: Vec<f32>,
    weights: Vec<f32>,
    /// Of the history.
    confidences: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a solve needs to know of the other side.
#[derive(Clone, Copy)]
struct Against<'a> {
    /// On principal axes, row-major.
    factors: &'a [f32],
    /// How many rows of them count for the penalty.
    others: usize,
    /// Of the factors, times α₀.
    spectrum: &'a [f32],
    /// What a diagonal holds at least, see [`least`].
    least: f32,
    /// How the values of histories become confidences.
    scaling: Scaling,
    als: &'a Als,
    simd: Simd,
}

impl Against<'_> {
    fn depth(&self) -> usize {
        self.als.factors
    }

    /// Whether a history is solved by its own length.
    fn dual(&self, history: History) -> bool {
        history.items.len() <= self.depth()
    }

    /// Solves one row. An empty history gives zero. Returns false if the system is not positive definite.
    fn solve(&self, history: History, scratch: &mut Scratch, out: &mut [f32]) -> bool {
        if history.items.is_empty() {
            out.fill(0.0);
            return true;
        }
        let penalty = self.als.penalty(history.items.len(), self.others);
        scratch.confidences.clear();
        scratch.confidences.extend(history.values.iter().map(|&value| self.scaling.of(value)));
        scratch.base.clear();
        scratch.base.extend(self.spectrum.iter().map(|&value| (value + penalty).max(self.least)));
        if self.dual(history) { self.solve_dual(history, scratch, out) } else { self.solve_primal(history, scratch, out) }
    }

    fn solve_dual(&self, history: History, scratch: &mut Scratch, out: &mut [f32]) -> bool {
        let (count, depth) = (history.items.len(), self.depth());
        let size = count.next_multiple_of(LANES);
        let Scratch { matrix, columns, z, base: scales, confidences, .. } = scratch;
        scales.iter_mut().for_each(|value| *value = 1.0 / value.sqrt());
        columns.resize(depth * size, 0.0);
        gather(self.simd, self.factors, history.items, scales, columns);
        matrix.clear();
        matrix.resize(size * size, 0.0);
        gram(self.simd, columns, columns, size, matrix);
        z.clear();
        z.resize(size, 0.0);
        z[..count].fill(1.0);
        for at in 0..size {
            matrix[at * size + at] += confidences.get(at).map_or(1.0, |confidence| 1.0 / confidence);
        }
        if !solve(self.simd, size, matrix, z) {
            return false;
        }
        dots(self.simd, columns, z, out);
        out.iter_mut().zip(scales).for_each(|(value, scale)| *value *= *scale);
        true
    }

    fn solve_primal(&self, history: History, scratch: &mut Scratch, out: &mut [f32]) -> bool {
        const BLOCK: usize = 96;
        let depth = self.depth();
        let width = depth.next_multiple_of(LANES);
        let Scratch { matrix, columns: rows, z, base, weights, confidences } = scratch;
        matrix.clear();
        matrix.resize(width * width, 0.0);
        z.clear();
        z.resize(width, 0.0);
        for (items, confidences) in history.items.chunks(BLOCK).zip(confidences.chunks(BLOCK)) {
            add_rows(self.simd, self.factors, items, confidences, &mut z[..depth]);
            weights.clear();
            weights.extend(confidences.iter().map(|confidence| confidence.sqrt()));
            rows.resize(items.len() * width, 0.0);
            copy_rows(self.simd, self.factors, items, weights, (rows, depth));
            gram(self.simd, rows, rows, width, matrix);
        }
        for d in 0..width {
            matrix[d * width + d] += base.get(d).copied().unwrap_or(1.0);
        }
        let solved = solve(self.simd, width, matrix, z);
        out.copy_from_slice(&z[..depth]);
        solved
    }

    /// For each of some items the entry of a history, which was just solved, that adds most to its score: c_i y_iᵀ A⁻¹ y_j, after Hu, Koren
    /// and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (ICDM 2008), section 5.
    fn strongest(&self, history: History, scratch: &mut Scratch, items: &[u32]) -> Vec<Option<u32>> {
        let (count, depth) = (history.items.len(), self.depth());
        let row = |item: u32| &self.factors[item as usize * depth..][..depth];
        let Scratch { matrix, columns, base: scales, confidences, z: table, .. } = scratch;
        // A column an item, and columns of nothing to the next whole lane.
        let width = items.len().next_multiple_of(LANES);
        table.clear();
        if self.dual(history) {
            // C (Y A⁻¹ y_j) = K⁻¹ Y D⁻¹ y_j with K the system of the dual.
            let size = count.next_multiple_of(LANES);
            table.resize(size * width, 0.0);
            let dimensions: Vec<u32> = (0..depth as u32).collect();
            let (mut scaled, mut parts) = (vec![0f32; depth], vec![0f32; size]);
            for (at, &item) in items.iter().enumerate() {
                scaled.iter_mut().zip(row(item)).zip(scales.iter()).for_each(|((scaled, value), scale)| *scaled = value * scale);
                parts.fill(0.0);
                add_rows(self.simd, columns, &dimensions, &scaled, &mut parts);
                table.iter_mut().skip(at).step_by(width).zip(&parts).for_each(|(cell, part)| *cell = *part);
            }
            substitute_all(self.simd, size, matrix, (table, width));
            let parts = |at: usize| table.iter().skip(at).step_by(width).copied();
            return (0..).zip(items).map(|(at, &item)| strongest(history.items.iter().copied().zip(parts(at)), item)).collect();
        }
        let size = depth.next_multiple_of(LANES);
        table.resize(size * width, 0.0);
        for (at, &item) in items.iter().enumerate() {
            table.iter_mut().skip(at).step_by(width).zip(row(item)).for_each(|(cell, &value)| *cell = value);
        }
        substitute_all(self.simd, size, matrix, (table, width));
        let (mut own, mut best) = (items.to_vec(), vec![NONE; width]);
        own.resize(width, NONE);
        largest(self.simd, self.factors, (history.items, confidences), &table[..depth * width], (&own, &mut best));
        best.into_iter().take(items.len()).map(|source| (source != NONE).then_some(source)).collect()
    }
}

/// Turns `other` to its principal axes and solves every row of `side` against it.
fn half_step(side: &mut Side, other: &mut Side, matrix: &Csr, als: &Als) -> bool {
    if !other.turn() {
        return false;
    }
    let spectrum = spectrum(&other.values, other.depth, als.alpha);
    // The matrix of a fit holds confidences already.
    let against = Against {
        factors: &other.values,
        others: other.values.len() / other.depth,
        spectrum: &spectrum,
        least: least(&spectrum),
        scaling: Scaling::Linear,
        als,
        simd: simd(),
    };
    side.values
        .par_chunks_mut(side.depth)
        .enumerate()
        .with_min_len(16)
        .map(|(row, out)| {
            let (items, values) = matrix.row(row);
            let history = History { items, values, user: None };
            SCRATCH.with_borrow_mut(|scratch| against.solve(history, scratch, out)) && out.iter().all(|value| value.is_finite())
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
        let [by_user, by_item] = [&data.by_user, &data.by_item].map(|matrix| self.scaling.applied(matrix));
        let mut users = Side::random(data.users(), self.factors, self.seed);
        let mut items = Side::zero(data.items(), self.factors);
        for iteration in 1..=self.iterations {
            // Items first: the last half-step of an iteration is the users', so a stored user vector is the fold-in.
            let finite = half_step(&mut items, &mut users, &by_item, self) && half_step(&mut users, &mut items, &by_user, self);
            if !finite {
                let advice = format!("raise regularization (now {}) or lower the event weights", self.regularization);
                return Err(ModelError::Diverged { model: "als", iteration, advice });
            }
            watch.step("als", iteration, self.iterations);
        }
        Ok(AlsModel::new(self.clone(), users.values.into(), items.values.into(), Array::default()))
    }
}

/// Fitted vectors.
pub struct AlsModel {
    als: Als,
    /// `users × factors`, row-major.
    user_factors: Array<f32>,
    /// Of the items, on principal axes.
    vectors: Vectors,
    /// Of the vectors that were learned from shoppers.
    spectrum: Vec<f32>,
    /// Items whose vectors come from their content, ascending.
    cold: Array<u32>,
}

impl AlsModel {
    fn new(als: Als, user_factors: Array<f32>, item_factors: Array<f32>, cold: Array<u32>) -> Self {
        let spectrum = match cold.is_empty() {
            true => spectrum(&item_factors, als.factors, als.alpha),
            false => {
                let mut learned = item_factors.to_vec();
                cold.iter().for_each(|&item| learned[item as usize * als.factors..][..als.factors].fill(0.0));
                spectrum(&learned, als.factors, als.alpha)
            }
        };
        let vectors = Vectors::new(item_factors, als.factors).inferred(&cold);
        Self { als, user_factors, vectors, spectrum, cold }
    }

    /// From the arrays of a version.
    pub(crate) fn load(als: Als, users: usize, items: usize, weights: &mut Weights) -> Result<Self> {
        als.validate()?;
        let (user_factors, _) = weights.matrix("als.user_factors", users, Some(als.factors))?;
        let (item_factors, _) = weights.matrix("als.item_factors", items, Some(als.factors))?;
        let cold = weights.some_rows("als.cold", items)?;
        let near = Near::load(Self::NEAR, items, weights)?;
        let model = Self::new(als, user_factors, item_factors, cold).fitted_to(weights.learned(items));
        Ok(Self { vectors: model.vectors.with_near(near), ..model })
    }

    /// The vector of a history, known or not: the solve of the training, without training. That of an unchanged trained
    /// user is the one stored. `None` for an empty history.
    pub fn fold_in(&self, history: History) -> Option<Vec<f32>> {
        if history.items.is_empty() {
            return None;
        }
        if let Some(stored) = history.user.and_then(|user| self.user_factor(user)) {
            return Some(stored.to_vec());
        }
        let mut out = vec![0f32; self.als.factors];
        SCRATCH.with_borrow_mut(|scratch| self.against().solve(history, scratch, &mut out)).then_some(out)
    }

    fn against(&self) -> Against<'_> {
        Against {
            factors: self.vectors.values(),
            others: self.vectors.fitted(),
            spectrum: &self.spectrum,
            least: least(&self.spectrum),
            scaling: self.als.scaling,
            als: &self.als,
            simd: simd(),
        }
    }

    /// A model that knows no users.
    pub(crate) fn of_items(als: Als, item_factors: Array<f32>) -> Self {
        Self::new(als, Vec::new().into(), item_factors, Array::default())
    }

    /// Fitted to so many items.
    pub(crate) fn fitted_to(self, fitted: usize) -> Self {
        Self { vectors: self.vectors.fitted_to(fitted), ..self }
    }

    /// The vectors of the items.
    pub(crate) fn item_vectors(&self) -> &Vectors {
        &self.vectors
    }

    /// The vectors of the items alone.
    pub(crate) fn into_item_factors(self) -> Array<f32> {
        self.vectors.values().to_vec().into()
    }

    /// The stored vector of a user.
    pub fn user_factor(&self, user: u32) -> Option<&[f32]> {
        self.user_factors.chunks_exact(self.als.factors).nth(user as usize)
    }

    /// The vector of an item.
    pub fn item_factor(&self, item: u32) -> &[f32] {
        self.vectors.item(item)
    }
}

impl ByVectors for AlsModel {
    const NEAR: [&'static str; 2] = ["als.near_of", "als.near"];

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

    /// A score is linear in the confidences of the history, so its parts are exact. O(solve + items · n · (n + d)).
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        let mut vector = vec![0f32; self.als.factors];
        let against = self.against();
        SCRATCH.with_borrow_mut(|scratch| {
            if history.items.is_empty() || items.is_empty() || !against.solve(history, scratch, &mut vector) {
                return vec![None; items.len()];
            }
            against.strongest(history, scratch, items)
        })
    }

    fn knows(&self, item: u32) -> bool {
        self.cold.binary_search(&item).is_ok()
    }

    fn introduce(&mut self, newcomers: &Newcomers) {
        let placed = newcomers.placed(self.vectors.values(), self.als.factors);
        self.vectors = self.vectors.replaced(placed).inferred(newcomers.items());
        self.cold = newcomers.items().to_vec().into();
    }

    fn soften(&mut self, scale: f32) {
        self.vectors = self.vectors.scaled(&self.cold, scale);
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let factors = self.als.factors;
        let mut tensors = vec![
            Tensor::f32("als.user_factors", &[self.user_factors.len() / factors, factors], &self.user_factors),
            Tensor::f32("als.item_factors", &[self.vectors.len(), factors], self.vectors.values()),
        ];
        tensors.extend((!self.cold.is_empty()).then(|| Tensor::u32("als.cold", &self.cold)));
        tensors
    }
}

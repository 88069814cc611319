//! Sparse item → item rows, and the one pass over co-occurrences that fills them.

use crate::Result;
use crate::index::{Eligible, Found};
use crate::top_k::{Scored, TopK};
use crate::weights::{Array, Tensor, Weights};
use aisle_data::Csr;
use rayon::prelude::*;
use std::cell::RefCell;

/// For each item its best neighbours, by descending score.
#[derive(Default)]
pub struct Neighbours {
    /// `items + 1` positions.
    pub offsets: Array<u64>,
    /// Neighbour rows.
    pub items: Array<u32>,
    /// Their scores.
    pub scores: Array<f32>,
}

/// The names of the three arrays in a version.
pub(crate) type Names = [&'static str; 3];

impl Neighbours {
    /// From one list an item.
    pub fn from_rows(rows: Vec<Vec<Scored>>) -> Self {
        let mut offsets = vec![0u64];
        let (mut items, mut scores) = (Vec::new(), Vec::new());
        for row in rows {
            items.extend(row.iter().map(|scored| scored.item));
            scores.extend(row.iter().map(|scored| scored.score));
            offsets.push(items.len() as u64);
        }
        Self { offsets: offsets.into(), items: items.into(), scores: scores.into() }
    }

    /// The same with the weights into each item scaled, and the rows in descending order again.
    pub(crate) fn scaled(&self, scale: impl Fn(u32) -> f32 + Sync) -> Self {
        let rows = (0..self.offsets.len().saturating_sub(1) as u32).into_par_iter().map(|item| {
            let scaled = |to: Scored| Scored { item: to.item, score: to.score * scale(to.item) };
            let mut row: Vec<Scored> = self.row(item).map(scaled).collect();
            row.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
            row
        });
        Self::from_rows(rows.collect())
    }

    /// The same without the rows of some items (ascending) and the weights into them.
    pub(crate) fn without(&self, items: &[u32]) -> Self {
        let gone = |item: u32| items.binary_search(&item).is_ok();
        let rows = (0..self.offsets.len().saturating_sub(1) as u32).into_par_iter().map(|item| match gone(item) {
            true => Vec::new(),
            false => self.row(item).filter(|to| !gone(to.item)).collect(),
        });
        Self::from_rows(rows.collect())
    }

    pub(crate) fn load(names: Names, items: usize, weights: &mut Weights) -> Result<Self> {
        let (offsets, entries) = weights.offsets(names[0], items)?;
        let neighbours = weights.rows(names[1], entries, items)?;
        let scores = weights.reals(names[2], entries)?;
        Ok(Self { offsets, items: neighbours, scores })
    }

    pub(crate) fn tensors(&self, names: Names) -> Vec<Tensor<'_>> {
        vec![
            Tensor::u64(names[0], &self.offsets),
            Tensor::u32(names[1], &self.items),
            Tensor::f32(names[2], &[self.scores.len()], &self.scores),
        ]
    }

    /// Where an item's neighbours lie in the arrays.
    pub fn range(&self, item: u32) -> std::ops::Range<usize> {
        let at = |row: usize| self.offsets.get(row).map_or(self.items.len(), |&position| position as usize);
        at(item as usize)..at(item as usize + 1)
    }

    /// Where a neighbour of an item lies in the arrays.
    pub(crate) fn place(&self, item: u32, neighbour: u32) -> Option<usize> {
        const TOGETHER: usize = 16;
        let range = self.range(item);
        let row = &self.items[range.clone()];
        // So many are compared at once.
        let mut some = row.chunks(TOGETHER);
        let chunk = some.position(|some| some.iter().fold(false, |any, &other| any | (other == neighbour)))?;
        let within = row[chunk * TOGETHER..].iter().position(|&other| other == neighbour)?;
        Some(range.start + chunk * TOGETHER + within)
    }

    /// The neighbours of an item.
    pub fn row(&self, item: u32) -> impl Iterator<Item = Scored> + '_ {
        self.range(item).map(|at| Scored { item: self.items[at], score: self.scores[at] })
    }

    /// Adds up `weight × score` over the neighbours of several items, and keeps the best `k` eligible. O(entries touched).
    pub fn accumulate(&self, sources: impl Iterator<Item = (u32, f32)>, k: usize, eligible: Eligible, found: &mut Found) {
        self.with_sums(sources, |sums| {
            let mut top = TopK::new(k);
            for &item in &sums.touched {
                if eligible.contains(item) {
                    top.offer(item, sums.values[item as usize]);
                }
            }
            top.drain_into(&mut found.items);
        });
    }

    /// Adds up `weight × score` over the neighbours of several items, and hands the sums to `read`.
    pub(crate) fn with_sums<T>(&self, sources: impl Iterator<Item = (u32, f32)>, read: impl FnOnce(&Sums) -> T) -> T {
        SUMS.with_borrow_mut(|sums| {
            sums.begin(self.offsets.len().saturating_sub(1));
            for (source, weight) in sources {
                let range = self.range(source);
                for (&item, &score) in self.items[range.clone()].iter().zip(&self.scores[range]) {
                    sums.add(item, weight * score);
                }
            }
            read(sums)
        })
    }

    /// From columns: for each item its sources with their weights. Each row of the result is in descending order.
    pub fn from_columns(columns: Vec<Vec<Scored>>) -> Self {
        let mut rows: Vec<Vec<Scored>> = vec![Vec::new(); columns.len()];
        for (item, column) in columns.into_iter().enumerate() {
            column
                .into_iter()
                .for_each(|source| rows[source.item as usize].push(Scored { item: item as u32, score: source.score }));
        }
        rows.par_iter_mut().for_each(|row| row.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item))));
        Self::from_rows(rows)
    }
}

/// A dense accumulator that remembers which places it touched.
#[derive(Default)]
pub(crate) struct Sums {
    pub values: Vec<f32>,
    pub counts: Vec<u32>,
    pub touched: Vec<u32>,
}

thread_local! {
    static SUMS: RefCell<Sums> = RefCell::default();
}

impl Sums {
    pub fn begin(&mut self, len: usize) {
        for item in self.touched.drain(..) {
            self.values[item as usize] = 0.0;
            self.counts[item as usize] = 0;
        }
        self.values.resize(len, 0.0);
        self.counts.resize(len, 0);
    }

    /// The sum of an item; `None` where nothing was added.
    pub fn get(&self, item: u32) -> Option<f32> {
        (self.counts[item as usize] > 0).then(|| self.values[item as usize])
    }

    /// The standard deviation over the first so many places, those without a sum counted as 0.
    pub fn deviation(&self, places: usize) -> f32 {
        let count = places.max(1) as f64;
        let (mut first, mut second) = (0f64, 0f64);
        for &item in self.touched.iter().filter(|&&item| (item as usize) < places) {
            let value = f64::from(self.values[item as usize]);
            first += value / count;
            second += value * value / count;
        }
        (second - first * first).max(0.0).sqrt() as f32
    }

    #[inline]
    pub fn add(&mut self, item: u32, value: f32) {
        let at = item as usize;
        if self.counts[at] == 0 {
            self.touched.push(item);
        }
        self.counts[at] += 1;
        self.values[at] += value;
    }
}

/// What is known of one pair of items (i, j) when it is scored.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Rows that hold both.
    pub both: u32,
    /// Σ over those rows of value(i) · value(j).
    pub product: f32,
    /// Rows that hold i, and j.
    pub each: (u32, u32),
    /// All rows.
    pub all: u32,
}

impl Pair {
    /// Dunning's log-likelihood ratio of the 2 × 2 table (Computational Linguistics 19, 1993); 0 if they meet no more
    /// often than by chance.
    pub fn llr(&self) -> f32 {
        let both = f64::from(self.both);
        let (only_i, only_j) = (f64::from(self.each.0) - both, f64::from(self.each.1) - both);
        let neither = f64::from(self.all) - both - only_i - only_j;
        if both * neither <= only_i * only_j {
            return 0.0;
        }
        let entropy = |parts: &[f64]| {
            let total: f64 = parts.iter().sum();
            parts.iter().filter(|&&part| part > 0.0).map(|part| part * (part / total).ln()).sum::<f64>()
        };
        let rows = entropy(&[both + only_i, only_j + neither]);
        let columns = entropy(&[both + only_j, only_i + neither]);
        let cells = entropy(&[both, only_i, only_j, neither]);
        (2.0 * (cells - rows - columns)).max(0.0) as f32
    }

    /// How many times more often they meet than by chance: n_ij · N / (n_i · n_j).
    pub fn lift(&self) -> f32 {
        let chance = f64::from(self.each.0) * f64::from(self.each.1);
        if chance > 0.0 { (f64::from(self.both) * f64::from(self.all) / chance) as f32 } else { 0.0 }
    }

    /// n_ij / (n_i + n_j − n_ij).
    pub fn jaccard(&self) -> f32 {
        self.both as f32 / (self.each.0 + self.each.1 - self.both).max(1) as f32
    }

    /// The share of rows with i that hold j: p(j | i).
    pub fn confidence(&self) -> f32 {
        self.both as f32 / self.each.0.max(1) as f32
    }
}

/// For each item, scores every item that shares a row with it and keeps the best `k`. Rows are items here, so the work is
/// Σ over rows of (entries of the row)²; parallel by item, the same bits at any number of threads.
pub fn from_co_occurrence(by_row: &Csr, by_item: &Csr, k: usize, score: impl Fn(u32, u32, Pair) -> f32 + Sync) -> Neighbours {
    let items = by_item.rows();
    let rows = (0..items as u32)
        .into_par_iter()
        .map_init(Sums::default, |sums, item| {
            sums.begin(items);
            let (holders, values) = by_item.row(item as usize);
            for (&row, &value) in holders.iter().zip(values) {
                let (others, other_values) = by_row.row(row as usize);
                for (&other, &other_value) in others.iter().zip(other_values) {
                    sums.add(other, value * other_value);
                }
            }
            let mut top = TopK::new(k);
            for &other in sums.touched.iter().filter(|&&other| other != item) {
                let pair = Pair {
                    both: sums.counts[other as usize],
                    product: sums.values[other as usize],
                    each: (holders.len() as u32, by_item.columns(other as usize).len() as u32),
                    all: by_row.rows() as u32,
                };
                let score = score(item, other, pair);
                if score > 0.0 {
                    top.offer(other, score);
                }
            }
            top.into_sorted()
        })
        .collect();
    Neighbours::from_rows(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likelihood_ratio_is_dunnings() {
        // Values of Mahout's LogLikelihoodTest, a public test suite: k11, k12, k21, k22 → ratio.
        let published = [
            ((1u32, 0u32, 0u32, 1u32), 2.772_589),
            ((10, 0, 0, 10), 27.725_89),
            ((5, 1995, 0, 100_000), 39.330_52),
            ((1000, 1995, 1000, 100_000), 4730.737),
            ((1000, 1000, 1000, 100_000), 5734.343),
            ((1000, 1000, 1000, 99_000), 5714.932),
        ];
        for (cells, expected) in published {
            let (both, only_i, only_j, neither) = cells;
            let pair = Pair { both, product: 0.0, each: (both + only_i, both + only_j), all: both + only_i + only_j + neither };
            assert!((pair.llr() / expected - 1.0).abs() < 1e-6, "{cells:?}: {}", pair.llr());
        }
    }

    #[test]
    fn chance_meetings_score_nothing() {
        let pair = Pair { both: 1, product: 1.0, each: (10, 10), all: 100 };
        assert_eq!(pair.llr(), 0.0);
        assert!((pair.lift() - 1.0).abs() < 1e-6);
    }
}

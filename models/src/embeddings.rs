//! Rows of numbers learned by gradient descent, and the sums of them that stand for items, users and histories.
//!
//! Tables stay in main memory whatever device computes the loss: a step touches a few thousand rows of perhaps millions, so only those
//! travel, and a GPU's memory bounds the batch, not the catalogue.

use crate::kernels::product;
use crate::vectors::random;
use crate::{ModelError, Result};
use aisle_data::{Csr, Labels, NONE, cut};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Rows with the running sum of their squared gradients.
pub(crate) struct Table {
    pub width: usize,
    /// Row-major.
    pub values: Vec<f32>,
    /// Σ g² of each value so far.
    pub squares: Vec<f32>,
}

impl Table {
    /// See [`random`].
    pub fn random((rows, width): (usize, usize), deviation: f32, seed: u64) -> Self {
        let values = random((rows, width), deviation, seed);
        Self { width, squares: vec![0.0; values.len()], values }
    }

    /// One row.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.width..][..self.width]
    }

    /// The weighted sum of rows that each row of `bags` names.
    pub fn sums(&self, bags: &Csr) -> Vec<f32> {
        product(bags, &self.values, self.width)
    }

    /// One step of Adagrad (Duchi, Hazan and Singer, JMLR 2011) down the gradient of the sums of `bags`, with `decay` × the value added
    /// to each gradient. Rows that no bag names stay. The order of summation is that of the bags, at any number of threads.
    pub fn learn(&mut self, bags: &Csr, gradient: &[f32], rate: f32, decay: f32) {
        let mut entries: Vec<(u32, u32, f32)> = Vec::with_capacity(bags.nnz());
        for bag in 0..bags.rows() {
            let (rows, weights) = bags.row(bag);
            entries.extend(rows.iter().zip(weights).map(|(&row, &weight)| (row, bag as u32, weight)));
        }
        entries.par_sort_unstable_by_key(|&(row, bag, _)| (row, bag));
        let mut touched = Vec::new();
        let mut transposed = Csr { offsets: vec![0], ..Csr::default() };
        for group in entries.chunk_by(|a, b| a.0 == b.0) {
            touched.push(group[0].0);
            transposed.indices.extend(group.iter().map(|entry| entry.1));
            transposed.values.extend(group.iter().map(|entry| entry.2));
            transposed.offsets.push(transposed.indices.len());
        }
        let slopes = product(&transposed, gradient, self.width);
        for (&row, slopes) in touched.iter().zip(slopes.chunks(self.width)) {
            let range = row as usize * self.width..(row as usize + 1) * self.width;
            descend(&mut self.values[range.clone()], &mut self.squares[range], slopes, (rate, decay));
        }
    }

    /// The same where every row has its gradient.
    pub fn learn_all(&mut self, slopes: &[f32], rate: f32) {
        descend(&mut self.values, &mut self.squares, slopes, (rate, 0.0));
    }
}

fn descend(values: &mut [f32], squares: &mut [f32], slopes: &[f32], (rate, decay): (f32, f32)) {
    for ((value, square), slope) in values.iter_mut().zip(squares).zip(slopes) {
        let slope = slope + decay * *value;
        *square += slope * slope;
        *value -= rate * slope / (square.sqrt() + 1e-10);
    }
}

/// One thing known of items or users.
pub(crate) enum Attribute<'a> {
    /// A path, every level of it a value of its own, so that siblings share what their parent taught.
    Path(&'a Labels),
    /// A text.
    Text(&'a Labels),
    /// Ten buckets of equal size.
    Amount(&'a [f32]),
}

impl Attribute<'_> {
    /// Adds the values of one row, as texts.
    fn values(&self, buckets: &[f32], row: u32, out: &mut Vec<String>) {
        match self {
            Attribute::Path(labels) => {
                if let Some(path) = labels.get(row) {
                    let levels = path.matches(" > ").count() + 1;
                    out.extend((1..=levels).map(|level| cut(path, level).to_string()));
                }
            }
            Attribute::Text(labels) if labels.code(row) != NONE => out.extend(labels.get(row).map(str::to_string)),
            Attribute::Text(_) => {}
            Attribute::Amount(amounts) => {
                let amount = amounts[row as usize];
                if amount.is_finite() {
                    out.push(buckets.partition_point(|&border| border < amount).to_string());
                }
            }
        }
    }
}

/// The table rows of each item (or user): its own, then one for each value of its attributes.
pub(crate) struct Bags {
    /// One row an item; values are 1.
    pub bags: Csr,
    /// Rows of the table.
    pub rows: usize,
}

impl Bags {
    /// `own`: whether each of `count` has a row of its own.
    pub fn new(count: usize, own: bool, attributes: &[Attribute]) -> Self {
        let buckets: Vec<Vec<f32>> = attributes.iter().map(borders).collect();
        let mut numbers: BTreeMap<(usize, String), u32> = BTreeMap::new();
        let mut rows = if own { count } else { 0 };
        let mut bags = Csr { offsets: vec![0], ..Csr::default() };
        let mut texts = Vec::new();
        for row in 0..count as u32 {
            if own {
                bags.indices.push(row);
            }
            for (number, (attribute, buckets)) in attributes.iter().zip(&buckets).enumerate() {
                attribute.values(buckets, row, &mut texts);
                for text in texts.drain(..) {
                    bags.indices.push(*numbers.entry((number, text)).or_insert_with(|| {
                        rows += 1;
                        rows as u32 - 1
                    }));
                }
            }
            bags.offsets.push(bags.indices.len());
        }
        bags.values = vec![1.0; bags.indices.len()];
        Self { bags, rows }
    }
}

/// The inner borders of ten buckets with as many different amounts each.
fn borders(attribute: &Attribute) -> Vec<f32> {
    let Attribute::Amount(amounts) = attribute else { return Vec::new() };
    let mut known: Vec<f32> = amounts.iter().copied().filter(|amount| amount.is_finite()).collect();
    known.sort_unstable_by(f32::total_cmp);
    let mut borders: Vec<f32> = (1..10).filter_map(|tenth| known.get(known.len() * tenth / 10).copied()).collect();
    borders.dedup();
    borders
}

/// Picks attributes by name.
///
/// # Errors
/// Names the setting, the name and those there are.
pub(crate) fn pick<'a>(setting: &str, names: &[String], known: Vec<(&str, Attribute<'a>)>) -> Result<Vec<Attribute<'a>>> {
    let listed = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let mut known: BTreeMap<&str, Attribute> = known.into_iter().collect();
    let take = |name: &String| {
        known.remove(name.as_str()).ok_or_else(|| ModelError::Hyperparameter {
            name: setting.into(),
            found: format!("'{name}'"),
            expected: if listed.is_empty() {
                "none: nothing is known of them".into()
            } else {
                format!("some of: {listed}, each at most once")
            },
        })
    };
    names.iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_moves_the_rows_of_the_bags_and_no_others() {
        let mut table = Table::random((4, 2), 1.0, 7);
        let before = table.values.clone();
        // Two bags: rows 0 and 2, and row 2 twice as strong.
        let bags = Csr { offsets: vec![0, 2, 3], indices: vec![0, 2, 2], values: vec![1.0, 1.0, 2.0] };
        let sums = table.sums(&bags);
        assert_eq!(sums[0], before[0] + before[4]);
        table.learn(&bags, &[1.0, -1.0, 0.5, 0.0], 0.1, 0.0);
        assert_eq!(table.values[2..4], before[2..4]);
        assert_eq!(table.values[6..8], before[6..8]);
        // The first step of Adagrad is the rate, whatever the gradient: row 2 has 1 + 2 × 0.5 and −1.
        for (at, sign) in [(0, 1.0), (1, -1.0), (4, 1.0), (5, -1.0)] {
            assert!((before[at] - table.values[at] - 0.1 * sign).abs() < 1e-6, "{at}");
        }
        assert_eq!(table.squares[4..6], [4.0, 1.0]);
    }

    #[test]
    fn every_level_of_a_path_and_each_bucket_is_a_row() {
        let mut paths = Labels::default();
        [Some("a > b"), Some("a > c"), None].into_iter().for_each(|path| paths.push(path));
        let prices = [1.0, 100.0, f32::NAN];
        let made = Bags::new(3, true, &[Attribute::Path(&paths), Attribute::Amount(&prices)]);
        let rows = |item: usize| made.bags.columns(item);
        assert_eq!((rows(0).len(), rows(1).len(), rows(2)), (4, 4, &[2u32][..]));
        assert_eq!(rows(0)[1], rows(1)[1], "the shared parent");
        assert!(rows(0)[2] != rows(1)[2] && rows(0)[3] != rows(1)[3]);
        assert_eq!(made.rows, 3 + 3 + 2);
    }
}

//! Sums over few of many items, in memory that a thread reuses.

use aisle_math::sparse::Csr;
use std::cell::RefCell;

/// One sum for each item, and the list of the items that have one.
#[derive(Default)]
pub(crate) struct SparseSums {
    /// The sum of each item; 0 where nothing was added.
    pub values: Vec<f32>,
    /// How many numbers were added for each item.
    pub counts: Vec<u32>,
    /// The items for which something was added, in the order of their first number.
    pub touched: Vec<u32>,
}

thread_local! {
    static SUMS: RefCell<SparseSums> = RefCell::default();
}

/// Calls `use_sums` with the sums of this thread, which hold whatever was left in them.
pub(super) fn with_thread_sums<T>(use_sums: impl FnOnce(&mut SparseSums) -> T) -> T {
    SUMS.with_borrow_mut(use_sums)
}

impl SparseSums {
    /// Clears all sums, and makes room for `items` items. O(items touched before).
    pub fn reset(&mut self, items: usize) {
        for item in self.touched.drain(..) {
            self.values[item as usize] = 0.0;
            self.counts[item as usize] = 0;
        }
        self.values.resize(items, 0.0);
        self.counts.resize(items, 0);
    }

    /// Adds `value` to the sum of an item.
    #[inline]
    pub fn add(&mut self, item: u32, value: f32) {
        let at = item as usize;
        if self.counts[at] == 0 {
            self.touched.push(item);
        }
        self.counts[at] += 1;
        self.values[at] += value;
    }

    /// Sums up, for every item j that shares rows with `item`, Σ over those rows of
    /// value(item) · value(j), and counts the rows. `item` itself is among them.
    /// O(entries of the rows that hold `item`).
    pub fn co_occurrences(&mut self, by_row: &Csr, by_item: &Csr, item: u32) {
        self.reset(by_item.rows());
        let (rows, values) = by_item.row(item as usize);
        for (&row, &value) in rows.iter().zip(values) {
            let (others, other_values) = by_row.row(row as usize);
            for (&other, &other_value) in others.iter().zip(other_values) {
                self.add(other, value * other_value);
            }
        }
    }

    /// Returns the sum of an item; `None` where nothing was added.
    pub fn get(&self, item: u32) -> Option<f32> {
        (self.counts[item as usize] > 0).then(|| self.values[item as usize])
    }

    /// Returns the standard deviation of the sums of the first `items` items, those for which
    /// nothing was added counted as 0.
    pub fn deviation(&self, items: usize) -> f32 {
        let count = items.max(1) as f64;
        let (mut mean, mut mean_square) = (0f64, 0f64);
        for &item in self.touched.iter().filter(|&&item| (item as usize) < items) {
            let value = f64::from(self.values[item as usize]);
            mean += value / count;
            mean_square += value * value / count;
        }
        (mean_square - mean * mean).max(0.0).sqrt() as f32
    }
}

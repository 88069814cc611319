//! One optional text a row, such as the brand of each item.

use crate::id_map::{IdMap, NONE};

/// A text per row, each distinct text stored once.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    values: IdMap,
    rows: Vec<u32>,
}

impl Labels {
    /// `len` rows without a text.
    pub fn empty(len: usize) -> Self {
        Self {
            values: IdMap::new(),
            rows: vec![NONE; len],
        }
    }

    /// The text of a row.
    #[inline]
    pub fn get(&self, row: u32) -> Option<&str> {
        match self.rows.get(row as usize) {
            Some(&label) if label != NONE => Some(self.values.id(label)),
            _ => None,
        }
    }

    /// The number of a row's text: rows with equal texts have equal numbers. [`NONE`] without one.
    #[inline]
    pub fn code(&self, row: u32) -> u32 {
        self.rows.get(row as usize).copied().unwrap_or(NONE)
    }

    /// The distinct texts.
    pub fn values(&self) -> &IdMap {
        &self.values
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether no row has a text.
    pub fn has_no_text(&self) -> bool {
        self.values.is_empty()
    }

    /// Appends a row.
    pub fn push(&mut self, text: Option<&str>) {
        let label = text.map_or(NONE, |text| self.values.intern(text));
        self.rows.push(label);
    }

    /// Reorders the rows: row `new` of the result is row `old_rows[new]` of `self`, and has no text
    /// where `old_rows[new]` is [`NONE`].
    pub(crate) fn reordered(&self, old_rows: &[u32]) -> Labels {
        let mut reordered = Labels::default();
        for &old_row in old_rows {
            reordered.push(self.get(old_row));
        }
        reordered
    }
}

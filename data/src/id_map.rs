//! Translation between external ids (strings) and dense `u32` rows.
//!
//! The texts of all ids lie in one string and are found through a hash table of rows: an id takes
//! about 20 bytes beside its text. [`IdMap::sorted`] makes rows depend on the set of ids alone, not
//! on the order in which files and rows were read.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// The value that stands for "none" wherever a `u32` row or label is stored.
pub const NONE: u32 = u32::MAX;

/// A bijection between external ids and rows `0..len`.
#[derive(Clone, Default)]
pub struct IdMap {
    /// The ids one after another, in row order.
    text: String,
    /// For each row the byte of `text` where its id ends.
    ends: Vec<usize>,
    /// Rows by the hash of their id.
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The row that `intern` returned last. It is tried first, because in most logs the events of a
    /// shopper and of an order stand together.
    last_row: u32,
}

impl IdMap {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of ids.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no id.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The id of a row; the empty string for a row that is not of this map.
    pub fn id(&self, row: u32) -> &str {
        let row = row as usize;
        let Some(&end) = self.ends.get(row) else {
            return "";
        };
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.text[start..end]
    }

    /// The row of an id. O(1).
    pub fn get(&self, id: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        self.table.find(hash, |&row| self.id(row) == id).copied()
    }

    /// The row of an id, which is added if it is new. O(1) amortised.
    pub fn intern(&mut self, id: &str) -> u32 {
        if (self.last_row as usize) < self.ends.len() && self.id(self.last_row) == id {
            return self.last_row;
        }
        self.last_row = self.find_or_add(id);
        self.last_row
    }

    fn find_or_add(&mut self, id: &str) -> u32 {
        let hash = self.hasher.hash_one(id);
        if let Some(&row) = self.table.find(hash, |&row| self.id(row) == id) {
            return row;
        }
        let row = self.ends.len() as u32;
        self.text.push_str(id);
        self.ends.push(self.text.len());
        let Self {
            text,
            ends,
            table,
            hasher,
            ..
        } = self;
        let id_of = |row: u32| {
            let row = row as usize;
            &text[if row == 0 { 0 } else { ends[row - 1] }..ends[row]]
        };
        table.insert_unique(hash, row, |&other| hasher.hash_one(id_of(other)));
        row
    }

    /// All ids in row order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len() as u32).map(|row| self.id(row))
    }

    /// For each row the rank of its id when ids are ordered by length and then by bytes, which
    /// orders whole numbers without leading zeros by value. O(n log n).
    pub fn ranks_by_length(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..self.len() as u32).collect();
        rows.sort_unstable_by_key(|&row| (self.id(row).len(), self.id(row)));
        let mut ranks = vec![0u32; self.len()];
        for (rank, &row) in (0..).zip(&rows) {
            ranks[row as usize] = rank;
        }
        ranks
    }

    /// The same ids in ascending byte order, and for each old row its new one. O(n log n).
    pub fn sorted(&self) -> (IdMap, Vec<u32>) {
        let mut old_rows: Vec<u32> = (0..self.len() as u32).collect();
        old_rows.sort_unstable_by(|&a, &b| self.id(a).cmp(self.id(b)));
        let mut sorted = IdMap::new();
        let mut new_rows = vec![0u32; self.len()];
        for old_row in old_rows {
            new_rows[old_row as usize] = sorted.intern(self.id(old_row));
        }
        (sorted, new_rows)
    }
}

impl std::fmt::Debug for IdMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdMap({} ids)", self.len())
    }
}

impl<'a> FromIterator<&'a str> for IdMap {
    fn from_iter<I: IntoIterator<Item = &'a str>>(ids: I) -> Self {
        let mut map = IdMap::new();
        for id in ids {
            map.intern(id);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_and_ids_are_a_bijection(ids in prop::collection::vec(".{0,6}", 0..200)) {
            let map: IdMap = ids.iter().map(String::as_str).collect();
            for id in &ids {
                let row = map.get(id).unwrap();
                prop_assert_eq!(map.id(row), id.as_str());
            }
            let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
            prop_assert_eq!(map.len(), distinct.len());
            let (sorted, new_rows) = map.sorted();
            prop_assert!(sorted.iter().zip(&distinct).all(|(a, b)| a == b.as_str()));
            for row in 0..map.len() as u32 {
                prop_assert_eq!(sorted.id(new_rows[row as usize]), map.id(row));
            }
        }
    }

    #[test]
    fn an_unknown_id_has_no_row() {
        let map: IdMap = ["a", "b"].into_iter().collect();
        assert_eq!(map.get("c"), None);
        assert_eq!(map.id(7), "");
    }
}

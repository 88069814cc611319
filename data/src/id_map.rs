//! External ids (strings) to dense `u32` rows and back: the only place where the two meet.
//!
//! Ids lie in one arena, found through a hash table of rows: about 20 bytes an id beside its text.
//! A finished map is sorted by id, so rows depend on the set of ids and not on the order of files.

use crate::column::Texts;
use crate::source::Source;
use crate::{DataError, Result};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// A bijection between external ids and rows `0..len`.
#[derive(Clone, Default)]
pub struct IdMap {
    text: String,
    ends: Vec<usize>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The row asked for last: events of a shopper and of an order stand together in most logs.
    last: u32,
}

impl IdMap {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the ids of a table's column, in row order.
    ///
    /// # Errors
    /// As [`crate::Dataset::read`]; a null or repeated id is [`DataError::Unreadable`].
    pub fn read(path: &str, column: &str) -> Result<IdMap> {
        let table = Source::find(path)?.open()?;
        let mut map = IdMap::new();
        let mut buffer = String::new();
        for file in table.files() {
            file.scan(&[column], |batch, first_row| {
                let texts = Texts::of(file, batch, column)?;
                for row in 0..batch.num_rows() {
                    let before = map.len();
                    let new = texts.at(row, &mut buffer).map(|id| map.intern(id)).is_some_and(|at| at as usize == before);
                    if !new {
                        let detail = format!("row {}: a null or repeated {column}", first_row + row as u64);
                        return Err(DataError::Unreadable { path: path.into(), detail });
                    }
                }
                Ok(())
            })?;
        }
        Ok(map)
    }

    /// The number of ids.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no id.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The id of a row. Rows come from this map; one that does not gives the empty string.
    pub fn id(&self, row: u32) -> &str {
        let row = row as usize;
        let Some(&end) = self.ends.get(row) else { return "" };
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
        if (self.last as usize) < self.ends.len() && self.id(self.last) == id {
            return self.last;
        }
        self.last = self.find_or_add(id);
        self.last
    }

    fn find_or_add(&mut self, id: &str) -> u32 {
        let hash = self.hasher.hash_one(id);
        if let Some(&row) = self.table.find(hash, |&row| self.id(row) == id) {
            return row;
        }
        let row = self.ends.len() as u32;
        self.text.push_str(id);
        self.ends.push(self.text.len());
        let Self { text, ends, table, hasher, .. } = self;
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

    /// For each row its place among the ids by length and then bytes: as numbers, where ids are whole numbers without leading zeros, so that
    /// orders numbered as they came stay in the order of time. O(n log n).
    pub fn numbered(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by_key(|&row| (self.id(row).len(), self.id(row)));
        let mut place = vec![0u32; self.len()];
        order.iter().zip(0..).for_each(|(&row, at)| place[row as usize] = at);
        place
    }

    /// The same ids in ascending byte order, and for each old row its new one. O(n log n).
    pub fn sorted(&self) -> (IdMap, Vec<u32>) {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| self.id(a).cmp(self.id(b)));
        let mut sorted = IdMap::new();
        let mut new_row = vec![0u32; self.len()];
        for old in order {
            new_row[old as usize] = sorted.intern(self.id(old));
        }
        (sorted, new_row)
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
            let (sorted, new_row) = map.sorted();
            prop_assert!(sorted.iter().zip(&distinct).all(|(a, b)| a == b.as_str()));
            for row in 0..map.len() as u32 {
                prop_assert_eq!(sorted.id(new_row[row as usize]), map.id(row));
            }
        }
    }

    #[test]
    fn an_id_never_seen_has_no_row() {
        let map: IdMap = ["a", "b"].into_iter().collect();
        assert_eq!(map.get("c"), None);
        assert_eq!(map.id(7), "");
    }
}

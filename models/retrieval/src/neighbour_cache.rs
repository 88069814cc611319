//! The nearest neighbours of items, kept once they were found.
//!
//! A search by cosine cannot stop early as one by product can, so it looks at all items. The
//! neighbours of an item do not change while a version is loaded, so they are found once and kept.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Neighbours that are kept of an item.
pub const NEIGHBOURS: usize = 64;
/// Items whose neighbours are kept, at about 400 bytes each. Those of further items are found again
/// each time.
const CAPACITY: usize = 160_000;
/// The cache is divided into so many tables, so that adding to one seldom delays readers.
const TABLES: usize = 16;

/// The [`NEIGHBOURS`] nearest items of some items, best first. Threads share it.
#[derive(Default)]
pub struct NeighbourCache {
    tables: [RwLock<HashMap<u32, Arc<[u32]>>>; TABLES],
}

impl NeighbourCache {
    /// Returns the neighbours of an item, which `find` finds the first time. Returns `None` if the
    /// cache is full and does not hold them.
    pub fn get_or_find(&self, item: u32, find: impl FnOnce() -> Arc<[u32]>) -> Option<Arc<[u32]>> {
        let table = &self.tables[item as usize % TABLES];
        let (cached, is_full) = {
            let table = table.read().unwrap_or_else(PoisonError::into_inner);
            (table.get(&item).cloned(), table.len() >= CAPACITY / TABLES)
        };
        if cached.is_some() || is_full {
            return cached;
        }
        // Not while the lock is held: a search takes long.
        let neighbours = find();
        table
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(item, neighbours.clone());
        Some(neighbours)
    }

    /// The number of items whose neighbours are cached.
    pub fn len(&self) -> usize {
        self.tables
            .iter()
            .map(|table| table.read().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_found_once() {
        let cache = NeighbourCache::default();
        let first = cache.get_or_find(5, || Arc::new([1, 2])).unwrap();
        let second = cache.get_or_find(5, || unreachable!("they are cached"));
        assert_eq!(second.unwrap(), first);
        assert_eq!(cache.len(), 1);
    }
}

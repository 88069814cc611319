//! The nearest neighbours of items. Lengths do not help to find them as they do for a product, so a search looks at all items: the neighbours of
//! what sells are found when a version is made and are a part of it, those of others are remembered once somebody asked for them.

use crate::Result;
use crate::top_k::Scored;
use crate::weights::{Array, Tensor, Weights};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// How many neighbours of an item are kept.
pub(crate) const NEAR: usize = 64;
/// Items whose neighbours are remembered, at 400 bytes each with their place; those of more are found again each time.
const REMEMBERED: usize = 160_000;
/// They lie in so many tables: who adds one keeps others from few.
const TABLES: usize = 16;

/// The [`NEAR`] nearest of some items, best first.
#[derive(Default)]
pub(crate) struct Near {
    stored: Arc<Stored>,
    asked: [RwLock<HashMap<u32, Arc<[u32]>>>; TABLES],
}

/// Found when the version was made.
#[derive(Default)]
struct Stored {
    /// Whose, ascending.
    of: Array<u32>,
    /// [`NEAR`] for each.
    near: Array<u32>,
}

impl Near {
    /// Of some items, ascending, each with what was found near it. Where there are fewer, or some are not alike at all, a new item could come
    /// between them: nothing is stored.
    pub fn of(items: &[u32], found: &[Vec<Scored>]) -> Self {
        let mut stored = (Vec::new(), Vec::new());
        for (&item, found) in items.iter().zip(found) {
            if found.len() == NEAR && found.iter().all(|near| near.score > 0.0) {
                stored.0.push(item);
                stored.1.extend(found.iter().map(|near| near.item));
            }
        }
        Self { stored: Arc::new(Stored { of: stored.0.into(), near: stored.1.into() }), ..Self::default() }
    }

    /// From two arrays of a version, which has `items` items; nothing is stored if it lacks them.
    pub fn load([of, near]: [&str; 2], items: usize, weights: &mut Weights) -> Result<Self> {
        let of = weights.some_rows(of, items)?;
        if of.is_empty() {
            return Ok(Self::default());
        }
        let name = near;
        let near = weights.rows(name, of.len() * NEAR, items)?;
        let repeats = |near: &[u32]| {
            let mut sorted = near.to_vec();
            sorted.sort_unstable();
            sorted.windows(2).any(|pair| pair[0] == pair[1])
        };
        if let Some(at) = near.chunks(NEAR).position(repeats) {
            return Err(weights.damaged(name, format!("an item twice near row {}", of[at]), format!("{NEAR} different items")));
        }
        Ok(Self { stored: Arc::new(Stored { of, near }), ..Self::default() })
    }

    /// The arrays to store, under two names; none if there is nothing.
    pub fn tensors(&self, [of, near]: [&'static str; 2]) -> Vec<Tensor<'_>> {
        match self.stored.of.is_empty() {
            true => Vec::new(),
            false => vec![Tensor::u32(of, &self.stored.of), Tensor::u32(near, &self.stored.near)],
        }
    }

    /// The stored ones alone.
    pub fn stored(&self) -> Self {
        Self { stored: self.stored.clone(), ..Self::default() }
    }

    /// Hands the nearest of an item to `read`, as `find` finds them the first time; `None` if there is no room to remember them.
    pub fn with<T>(&self, item: u32, find: impl FnOnce() -> Arc<[u32]>, read: impl FnOnce(&[u32]) -> T) -> Option<T> {
        if let Ok(at) = self.stored.of.binary_search(&item) {
            return Some(read(&self.stored.near[at * NEAR..][..NEAR]));
        }
        let table = &self.asked[item as usize % TABLES];
        let (known, full) = {
            let asked = table.read().unwrap_or_else(PoisonError::into_inner);
            (asked.get(&item).cloned(), asked.len() >= REMEMBERED / TABLES)
        };
        let near = match known {
            None if full => return None,
            None => {
                let found = find();
                table.write().unwrap_or_else(PoisonError::into_inner).insert(item, found.clone());
                found
            }
            Some(known) => known,
        };
        Some(read(&near))
    }

    /// How many are remembered.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.asked.iter().map(|table| table.read().unwrap().len()).sum()
    }

    /// How many are stored.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.stored.of.len()
    }
}

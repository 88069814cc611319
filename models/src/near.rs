//! The nearest neighbours of items. Lengths do not help to find them as they do for a product, so a search looks at all items: the neighbours of
//! what sells are found when a version is made and are a part of it, those of others are remembered once somebody asked for them.

use crate::Result;
use crate::top_k::Scored;
use crate::weights::{Array, Tensor, Weights};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// How many neighbours of an item are kept.
pub(crate) const NEAR: usize = 64;
/// Bytes of remembered neighbours; more are found again each time.
const REMEMBERED: usize = 64 << 20;

/// The [`NEAR`] nearest of some items, best first.
#[derive(Default)]
pub(crate) struct Near {
    stored: Arc<Stored>,
    asked: OnceLock<Vec<OnceLock<Box<[u32]>>>>,
    remembered: AtomicUsize,
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
        let near = if of.is_empty() { Array::default() } else { weights.rows(near, of.len() * NEAR, items)? };
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

    /// The nearest of an item among `items`, as `find` finds them the first time; `None` if there is no room to remember them.
    pub fn get(&self, item: u32, items: usize, find: impl FnOnce() -> Box<[u32]>) -> Option<&[u32]> {
        if let Ok(at) = self.stored.of.binary_search(&item) {
            return self.stored.near.get(at * NEAR..(at + 1) * NEAR);
        }
        let near = self.asked.get_or_init(|| (0..items).map(|_| OnceLock::new()).collect()).get(item as usize)?;
        if near.get().is_none() && self.remembered.fetch_add(1, Ordering::Relaxed) * NEAR * size_of::<u32>() >= REMEMBERED {
            self.remembered.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(near.get_or_init(find))
    }

    /// How many are remembered.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.remembered.load(Ordering::Relaxed)
    }

    /// How many are stored.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.stored.of.len()
    }
}

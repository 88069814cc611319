//! What every index takes and returns: a query and the eligible items, and the best of them.

use crate::bitmap::Bitmap;
use crate::scratch::Scratch;
use crate::top_k::Scored;
use std::cell::RefCell;

/// The items that a search may return: those of a bitmap, less a short list.
#[derive(Clone, Copy, Debug)]
pub struct Eligible<'a> {
    /// One bit for each item.
    pub allowed: &'a Bitmap,
    /// Items that may not be returned although their bit is set, ascending.
    pub except: &'a [u32],
}

impl<'a> Eligible<'a> {
    /// Makes all items of a bitmap eligible.
    pub fn new(allowed: &'a Bitmap) -> Self {
        Self {
            allowed,
            except: &[],
        }
    }

    /// Makes the items of a bitmap eligible but for those of `except`, which must ascend.
    pub fn without(allowed: &'a Bitmap, except: &'a [u32]) -> Self {
        debug_assert!(except.is_sorted());
        Self { allowed, except }
    }

    /// Whether an item may be returned. O(log except).
    #[inline]
    pub fn contains(&self, item: u32) -> bool {
        self.allowed.contains(item) && self.except.binary_search(&item).is_err()
    }

    /// Returns the items that may be returned, ascending.
    pub fn iter(self) -> impl Iterator<Item = u32> + use<'a> {
        let except = self.except;
        self.allowed
            .iter()
            .filter(move |item| except.binary_search(item).is_err())
    }

    /// Appends the items that may be returned, ascending. Faster than [`Eligible::iter`].
    pub fn list(self, out: &mut Vec<u32>) {
        let mut except = self.except.iter().copied().peekable();
        self.allowed.list(|item| {
            while except.next_if(|&other| other < item).is_some() {}
            if except.peek() != Some(&item) {
                out.push(item);
            }
        });
    }

    /// How many items may be returned. O(items / 64).
    pub fn count(&self) -> usize {
        let is_first = |at: usize| at == 0 || self.except[at - 1] != self.except[at];
        let excluded = self
            .except
            .iter()
            .enumerate()
            .filter(|&(at, &item)| is_first(at) && self.allowed.contains(item))
            .count();
        self.allowed.count() - excluded
    }
}

/// Finds the items whose vectors have the largest inner product with a query.
///
/// A search returns min(k, eligible) items, the best first, ties by ascending row, with finite
/// scores, and nothing outside `eligible`. An index that approximates may miss some of the best;
/// the manifest of the version says how many.
pub trait Index: Send + Sync {
    /// The number of items in the index.
    fn len(&self) -> usize;
    /// Whether the index has no items.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Writes the `k` best items for one query, which has the dimension of the index, to
    /// `buffer.items`.
    fn search(&self, query: &[f32], k: usize, eligible: Eligible, buffer: &mut SearchBuffer);
    /// Searches for many queries at once, each with its eligible items, on all threads of the pool.
    /// Returns the same bits as one search after the other.
    fn search_batch(&self, queries: &[&[f32]], k: usize, eligible: &[Eligible])
    -> Vec<Vec<Scored>>;
}

/// The results of a search and the memory that it works in. A search allocates nothing if its
/// buffer has been used before.
#[derive(Clone, Debug, Default)]
pub struct SearchBuffer {
    /// The results, best first.
    pub items: Vec<Scored>,
    pub(crate) scratch: Scratch,
}

thread_local! {
    /// The buffer of [`search_top_k`]: a thread allocates it once.
    static BUFFER: RefCell<SearchBuffer> = RefCell::default();
}

/// Runs a search with a buffer of this thread. Returns what it found.
pub fn search_top_k(search: impl FnOnce(&mut SearchBuffer)) -> Vec<Scored> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.items.clear();
        search(buffer);
        buffer.items.clone()
    })
}

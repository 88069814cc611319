//! What an index is asked and what it answers.

use crate::bitmap::Bitmap;
use crate::exact::Scratch;
use crate::top_k::Scored;
use std::cell::RefCell;

/// The items that an answer may hold: those of a bitmap, less a short list.
#[derive(Clone, Copy, Debug)]
pub struct Eligible<'a> {
    /// One bit an item.
    pub allowed: &'a Bitmap,
    /// Items left out beside it, ascending.
    pub except: &'a [u32],
}

impl<'a> Eligible<'a> {
    /// All items of a bitmap.
    pub fn new(allowed: &'a Bitmap) -> Self {
        Self { allowed, except: &[] }
    }

    /// Without these items, which must ascend.
    pub fn without(allowed: &'a Bitmap, except: &'a [u32]) -> Self {
        debug_assert!(except.is_sorted());
        Self { allowed, except }
    }

    /// Whether an item may be returned.
    #[inline]
    pub fn contains(&self, item: u32) -> bool {
        self.allowed.contains(item) && self.except.binary_search(&item).is_err()
    }

    /// The items that may be returned, ascending.
    pub fn iter(self) -> impl Iterator<Item = u32> + use<'a> {
        let except = self.except;
        self.allowed.iter().filter(move |item| except.binary_search(item).is_err())
    }

    /// Appends the items that may be returned, ascending. Faster than [`Eligible::iter`].
    pub(crate) fn list(self, out: &mut Vec<u32>) {
        let mut except = self.except.iter().copied().peekable();
        self.allowed.list(|item| {
            while except.next_if(|&other| other < item).is_some() {}
            if except.peek() != Some(&item) {
                out.push(item);
            }
        });
    }

    /// How many items may be returned.
    pub fn count(&self) -> usize {
        let first = |at: usize| at == 0 || self.except[at - 1] != self.except[at];
        let excepted = self.except.iter().enumerate().filter(|&(at, &item)| first(at) && self.allowed.contains(item)).count();
        self.allowed.count() - excepted
    }
}

/// Finds the items whose vectors have the largest inner product with a query.
///
/// Contract: exactly min(k, eligible) results, best first, ties by ascending row, every score finite;
/// nothing outside `eligible`. An index that approximates says so in its manifest.
pub trait Index: Send + Sync {
    /// Items in the index.
    fn len(&self) -> usize;
    /// Whether it is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The `k` best for one query of the index's dimension.
    fn search(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found);
    /// Many queries at once, on all threads of the pool; the same bits as one by one.
    fn search_batch(&self, queries: &[&[f32]], k: usize, eligible: &[Eligible]) -> Vec<Vec<Scored>>;
}

/// Results and the scratch memory that finding them takes; reuse it and a search allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Best first.
    pub items: Vec<Scored>,
    pub(crate) scratch: Scratch,
}

thread_local! {
    /// A search allocates nothing once its thread has made one.
    static FOUND: RefCell<Found> = RefCell::default();
}

/// What a search finds.
pub(crate) fn found(search: impl FnOnce(&mut Found)) -> Vec<Scored> {
    FOUND.with_borrow_mut(|found| {
        found.items.clear();
        search(found);
        found.items.clone()
    })
}

//! A block of queries: what every processor is given, and how much it may keep.

/// Queries of a block, at most.
pub(super) const BLOCK: usize = 1024;
/// Sections of a tile. Their largest scores give the first limit, so this is also the most items
/// that a query can need.
pub(super) const SECTIONS: usize = 1024;
/// Positions that can be kept for a query. A query that has more is answered on the cores.
pub(super) const MAX_CANDIDATES: usize = 2048;

/// Queries whose candidates a processor finds. A *position* is the place of a vector among all
/// vectors, the longest first.
pub(super) struct QueryBlock<'a> {
    pub queries: &'a [&'a [f32]],
    /// How many positions must reach the limit of each query, 1 to [`SECTIONS`].
    pub needed: &'a [u32],
    /// How far below its limit a score may be and its position is kept.
    pub slack: &'a [f32],
    /// One bit for each position, the lowest first: whether it may be returned.
    pub allowed: &'a [u32],
    /// Whether no position from this one on can reach what is kept at these limits.
    pub is_done: &'a (dyn Fn(usize, &[f32]) -> bool + Sync),
}

/// For each query the positions that can be among its best; `None` for one that has too many.
pub(super) type Candidates = Vec<Option<Vec<u32>>>;

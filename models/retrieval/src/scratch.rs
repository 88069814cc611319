//! The memory that a search works in.

use crate::candidates::Candidates;
use crate::encoding::EncodedQuery;
use crate::int8::Survivors;
use crate::top_k::Scored;

/// What a search needs besides its results. Only searches read it; it is kept so that the next
/// search allocates nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    pub query: EncodedQuery,
    pub candidates: Candidates,
    pub survivors: Box<Survivors>,
    /// Rows to score, their scores, and numbers that order them.
    pub rows: Vec<u32>,
    pub scores: Vec<f32>,
    pub keys: Vec<u64>,
    /// The query, scaled to length 1.
    pub direction: Vec<f32>,
    /// The inverted lists to look at, best first.
    pub lists: Vec<Scored>,
}

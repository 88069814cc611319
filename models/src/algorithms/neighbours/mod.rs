//! Sparse item-to-item weights, and the pass over co-occurrences that finds them.
//!
//! In: a sparse matrix of users (or orders) × items, or lists of scored items. Out: [`Neighbours`],
//! the best neighbours of each item with their scores.
//!
//! What may be changed here: sums are added up in the order of the matrix, so that every number is
//! the same to the bit at any number of threads; keep that order.

mod co_occurrence;
mod rows;
mod sums;

pub use co_occurrence::{Pair, from_co_occurrence};
pub use rows::Neighbours;
pub(crate) use rows::{Names, sort_descending};
pub(crate) use sums::SparseSums;

//! The top k of many vectors for a query: exact, in inverted lists, or on a GPU.
//!
//! In come the vectors of items, a query, `k`, and the eligible items. Out go the best items with
//! their scores. This crate knows vectors and sets of items; it knows no shopper and no file.
//!
//! From the bottom up: [`bitmap`] and [`top_k`]; codes of 8 bits (`int8`, `rotation`, `encoding`);
//! what every search takes and returns ([`index`], with the memory in `scratch`); the structure of
//! [`inverted_lists`]; the [`exact`] search; and on top of it how lists are learned and measured
//! (`inverted_lists_fit`) and batches [`on_device`]. What may be changed is how items are found, as
//! long as every search returns what the plain scan in f32 returns, ties included; only inverted
//! lists may miss some of it, by a share that is measured.

pub mod bitmap;
mod candidates;
pub mod device;
mod encoding;
mod error;
pub mod exact;
pub mod index;
mod int8;
pub mod inverted_lists;
mod inverted_lists_fit;
mod length;
pub mod neighbour_cache;
pub mod on_device;
mod rotation;
mod scratch;
pub mod top_k;

pub use error::{Result, RetrievalError};

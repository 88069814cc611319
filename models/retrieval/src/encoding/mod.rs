//! Vectors in codes of 8 bits a dimension, and how far products of codes are from those of vectors.
//!
//! In come f32 vectors, out go codes that [`crate::int8`] multiplies. With codes q̂ and x̂, |q·x −
//! q̂·x̂| ≤ |q − q̂| |x| + |q̂| |x − x̂| (Cauchy-Schwarz), and both errors are known exactly. Items
//! and queries are coded in the same basis, in which the first dimensions weigh most.

mod items;
mod quantize;
mod query;

pub(crate) use items::{EncodedItems, Vectors};
pub(crate) use query::EncodedQuery;

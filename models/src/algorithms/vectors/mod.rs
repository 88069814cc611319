//! Item vectors, and what every model made of them does: rank by inner product, compare by cosine.
//!
//! In: the vectors of all items, and a query vector for a history, which is all that a model has to
//! compute ([`VectorModel`]). Out: the whole of [`Recommend`](crate::Recommend), answered by an
//! exact search, by inverted lists, or on a device ([`Vectors`]).
//!
//! What may be changed here: any search must give the answers of the exact one, to the bit, except
//! for the inverted lists, whose recall a version records.

mod item_vectors;
mod model;
mod stored_lists;

pub(crate) use item_vectors::Vectors;
pub(crate) use model::VectorModel;
pub(crate) use stored_lists::load_lists;

//! The recommendation algorithms, and what they share.
//!
//! In: [`Training`](recommend::Training) data and the hyperparameters of an algorithm, or the
//! arrays of a version. Out: a model that implements [`Recommend`](recommend::Recommend).
//!
//! What may be changed here: a new algorithm is one file or folder, with hyperparameters that
//! implement [`Fit`](recommend::Fit), and one more variant of [`Personal`](personal::Personal).
//! A model of item vectors implements `VectorModel` and gets its search from there; a model of
//! item-to-item weights fits [`Neighbours`](neighbours::Neighbours) and returns an
//! [`ItemItemModel`](item_item::ItemItemModel).

pub mod als;
pub mod cold_start;
mod digest;
pub mod ease;
pub(crate) mod held_out;
pub mod item_item;
pub mod item_knn;
pub mod linear_filter;
pub mod local_ridge;
pub mod low_pass;
pub mod neighbours;
pub mod personal;
pub mod popular;
mod random;
pub mod recommend;
pub mod scaling;
pub mod two_tower;
pub(crate) mod vectors;

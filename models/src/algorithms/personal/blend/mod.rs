//! A weighted sum of the standardized scores of other models.
//!
//! score(j) = Σ_m w_m s_m(j) / σ_m, with σ_m the standard deviation of the scores of model m over
//! all items for this shopper, so that models of different scales count the same at equal weights.
//! Each member contributes its best candidates, and all members score the union of them.
//!
//! In: hyperparameters of several algorithms, and their weights or none. Out: [`BlendModel`].
//! Weights that are not given are learned on a held-out part of the data (`learn.rs`).
//!
//! What may be changed here: how weights are searched. A member is any algorithm but a blend.

mod coordinate_ascent;
mod hyperparameters;
mod learn;
mod model;

pub use hyperparameters::Blend;
pub use model::BlendModel;

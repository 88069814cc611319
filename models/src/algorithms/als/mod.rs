//! Implicit alternating least squares (iALS) with an exact solve.
//!
//! In: the users × items matrix of [`Training`](crate::Training) and [`Als`] hyperparameters, or
//! the arrays of a version. Out: [`AlsModel`], one vector for each user and each item.
//!
//! Minimises, after Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS on Item
//! Recommendation Benchmarks" (RecSys 2022), equations 3 and 6:
//!
//! Σ_observed c_ui (1 − x_u·y_i)² + α₀ Σ_all (x_u·y_i)² + λ Σ_u (|I_u| + α₀ |I|)^ν ‖x_u‖²,
//! and the last term once more for the items.
//!
//! What may be changed here: a solver must stay deterministic at any number of threads, and
//! `fold_in` of an unchanged user must return the vector that the fit stored, to the bit.

mod fit;
mod hyperparameters;
mod model;
mod row_solver;

pub use crate::algorithms::scaling::Scaling;
pub use hyperparameters::Als;
pub use model::AlsModel;

//! Integration tests of fitted models, from algorithms to the registry.
//!
//! They are one program, because linking the libraries that models need is what takes longest.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod algorithms;
mod als;
mod closed_forms;
mod cold_items;
mod common;
mod context;
mod contract;
mod controls;
mod cross_sell;
mod damaged_files;
mod hyperparameters;
mod live_state;
mod log_without_users;
mod new_items;
mod registry;
mod retrieval;
mod rules;
mod segments;
mod two_tower;
mod version;

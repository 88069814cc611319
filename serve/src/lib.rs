#![doc = include_str!("../README.md")]
//!
//! # The way of a request
//!
//! 1. `transport`: `connection` reads it from its connection, `admission` gives it a deadline and a
//!    slot, or refuses it.
//! 2. `services`: `recommendation` decodes it when it is its turn.
//! 3. [`versions`]: the router chooses one version for the whole answer, with prices, stock and
//!    rules as they are at that time.
//! 4. `services::calls`: `convert` turns the message into a request of `aisle-models`, which
//!    answers it, and turns the answer into bytes, most of which were encoded when the version was
//!    loaded.
//! 5. `transport`: `write_coalescing` sends the response together with others that are ready.
//!
//! Beside requests, [`versions`] follows the registry and swaps versions, which threads of low
//! priority load. [`server`] starts all of it. Imports point down this list: `server`, `services`,
//! `transport` and [`versions`], then `telemetry` and `error`.

pub mod config;
mod error;
pub mod server;
mod services;
pub mod shutdown;
pub mod telemetry;
mod transport;
pub mod versions;

pub use config::Config;
pub use error::ServeError;
pub use server::Server;

//! Answers product recommendation requests over gRPC.
//!
//! The way of a request: `door` has its connection, `admission` its deadline and a place for it, [`recommendation`] hands it to a
//! scoring thread, `live` gives it one version, `ask` turns the message into a question, the version answers (`aisle-models`),
//! `reply` turns the answer into a message. Beside it one task follows the registry and swaps versions.

mod admission;
mod ask;
pub mod config;
mod door;
mod error;
mod live;
mod model_service;
pub mod recommendation;
mod reply;
pub mod server;
pub mod shutdown;
pub mod split;
pub mod status;
pub mod telemetry;

pub use config::Config;
pub use error::ServeError;
pub use live::{Chosen, Live, State};
pub use server::Running;

//! Answers product recommendation requests over gRPC.
//!
//! The way of a request: `door` has its connection, `admission` its deadline and a place for it, [`recommendation`] reads it, `live` gives
//! it one version, `ask` turns the message into a question, the version answers (`aisle-models`), `reply` turns the answer into bytes, most
//! of which `cards` made before. Beside it one task follows the registry and swaps
//! versions, which `background` threads load.

mod admission;
mod ask;
mod background;
mod cards;
pub mod config;
mod door;
mod error;
mod gather;
mod live;
pub mod memory;
mod model_service;
pub mod recommendation;
mod reply;
mod rule_service;
pub mod server;
pub mod shutdown;
pub mod split;
pub mod status;
pub mod telemetry;

pub use config::Config;
pub use error::ServeError;
pub use live::{Chosen, Live, State};
pub use server::Running;

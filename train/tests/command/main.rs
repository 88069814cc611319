//! The command line by the real binary, in temporary folders, on the bundled sample and generated
//! shops.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod checkpoints;
mod common;
mod evaluate;
mod inspect;
mod segments;
mod sessions;
mod tune;
mod versions;

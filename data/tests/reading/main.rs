//! Real Parquet files, good and bad: every type that a log may have, and every fault that must lead
//! to an error or to a row set aside, and never to a crash.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod catalogue;
mod columns;
mod common;
mod context;
mod damaged_files;
mod order_of_rows;
mod sample;
mod set_aside;
mod splits;
mod users;

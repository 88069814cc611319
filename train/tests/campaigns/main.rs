//! Campaigns by the real binary, on a small shop of which every row is known.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod audience;
mod carts;
mod catalog_changes;
mod command;
mod lists;
mod shop;

//! The inner loops that everything else waits for, compiled for the widest vectors the processor
//! has.
//!
//! In come slices of numbers and a [`Simd`], out go numbers; nothing is allocated. Each kernel is
//! written once as portable Rust over [`LANES`] numbers side by side, which the compiler turns into
//! vector code, and is compiled three times: for the baseline, for AVX2 with fused multiply-add,
//! and for AVX-512. Every sum is added in the same order whatever the instructions, so AVX2 and
//! AVX-512 give the same bits, and one query gives the same bits as a batch.
//!
//! `avx512.rs` holds what a compiler does not find by itself. A function belongs there only where
//! it beats the portable body compiled for AVX2 by more than a tenth, which `benches/kernels.rs`
//! measures. `tests.rs` asserts that both give the same bits.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod count;
mod dot;
mod largest;
mod log;
mod outer;
mod row_pairs;
mod rows;
mod simd;
mod solve;
#[cfg(test)]
mod tests;

pub use count::{count_ones, threshold_reached_by};
pub use dot::{dot, dot_rows, dots};
pub use largest::largest;
pub use log::ln;
pub use outer::gram;
pub use rows::{add_rows, copy_rows, gather};
pub use simd::{LANES, Simd, simd};
pub use solve::{solve, substitute_all};

//! Numbers and nothing else: SIMD kernels, dense and sparse matrices, the conditional logit, and
//! the random generator.
//!
//! In come slices of numbers and their shapes, out go numbers. All matrices are row-major. The same
//! input gives the same bits at any number of threads. Nothing here knows what an item or a shopper
//! is, and no function reads a clock, a file or the environment, except for the question which
//! vector instructions the processor has. What may be changed here is how a number is computed, as
//! long as the kernels keep giving the same bits at AVX2 and AVX-512.

pub mod array;
pub mod dense;
pub mod kernels;
pub mod logit;
pub mod random;
pub mod sparse;

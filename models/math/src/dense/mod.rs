//! Dense linear algebra of the fits, on faer.
//!
//! In come row-major matrices and their width, out go row-major matrices. Everything here gives the
//! same bits at any number of threads: rows are cut into blocks of a fixed size, each block is
//! computed on one thread, and the results are added in order.

mod cholesky;
mod eigen;
mod products;
mod registers;

pub use cholesky::{cholesky, inverse_columns, orthonormalise};
pub use eigen::eigen;
pub use products::{BLOCK, gram, multiply, multiply_transposed};

#[cfg(test)]
mod tests;

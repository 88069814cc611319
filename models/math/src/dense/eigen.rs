//! Eigenvalues and eigenvectors.

use super::registers::ClearRegisters;
use faer::linalg::evd;
use faer::{Par, diag::DiagMut, dyn_stack};

/// Returns the eigenvalues of a symmetric `size × size` matrix, descending, and its eigenvectors as
/// the columns of a row-major matrix in the same order. Both are computed in double precision.
/// Returns `None` if the iteration does not converge, as with numbers that are not finite.
/// O(size³).
pub fn eigen(symmetric: &[f32], size: usize) -> Option<(Vec<f32>, Vec<f32>)> {
    let _registers = ClearRegisters;
    let matrix = faer::Mat::<f64>::from_fn(size, size, |row, column| {
        f64::from(symmetric[row * size + column])
    });
    let mut vectors = faer::Mat::<f64>::zeros(size, size);
    let mut values = vec![0f64; size];
    let scratch = evd::self_adjoint_evd_scratch::<f64>(
        size,
        evd::ComputeEigenvectors::Yes,
        Par::Seq,
        Default::default(),
    );
    let mut memory = dyn_stack::MemBuffer::new(scratch);
    evd::self_adjoint_evd(
        matrix.as_ref(),
        DiagMut::from_slice_mut(&mut values),
        Some(vectors.as_mut()),
        Par::Seq,
        dyn_stack::MemStack::new(&mut memory),
        Default::default(),
    )
    .ok()?;
    // faer sorts them ascending.
    values.reverse();
    let vectors = (0..size * size)
        .map(|at| vectors[(at / size, size - 1 - at % size)] as f32)
        .collect();
    Some((
        values.into_iter().map(|value| value as f32).collect(),
        vectors,
    ))
}

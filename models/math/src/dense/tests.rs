use super::*;
use crate::random::SplitMix;

fn numbers(count: usize) -> Vec<f32> {
    let mut random = SplitMix(7);
    (0..count).map(|_| random.normal()).collect()
}

/// A symmetric positive definite matrix.
fn positive_definite(size: usize) -> Vec<f32> {
    let mut matrix = gram(&numbers(900 * size), size);
    (0..size).for_each(|at| matrix[at * size + at] += 50.0);
    matrix
}

#[test]
fn orthonormalised_columns_are_orthonormal() {
    let (rows, width) = (5000, 24);
    let mut matrix = numbers(rows * width);
    assert!(orthonormalise(&mut matrix, width));
    for (at, &value) in gram(&matrix, width).iter().enumerate() {
        let expected = if at / width == at % width { 1.0 } else { 0.0 };
        assert!((value - expected).abs() < 1e-4, "{at}: {value}");
    }
}

#[test]
fn orthonormalised_columns_keep_their_span() {
    let (rows, width) = (5000, 24);
    let before = numbers(rows * width);
    let mut after = before.clone();
    assert!(orthonormalise(&mut after, width));
    // Projected on the new columns, the old ones are what they were.
    let transposed: Vec<f32> = (0..width * rows)
        .map(|at| after[at % rows * width + at / rows])
        .collect();
    let projected = multiply(&after, &multiply(&transposed, &before, rows), width);
    let mut pairs = before.iter().zip(&projected);
    assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-2));
}

#[test]
fn a_factored_matrix_is_inverted() {
    let size = 700;
    let matrix = positive_definite(size);
    let mut factor = matrix.clone();
    assert!(cholesky(&mut factor, size));
    for from in [0, 670] {
        let inverse = inverse_columns(&factor, size, from..from + 30);
        let product = multiply(&matrix, &inverse, size);
        for (at, &value) in product.iter().enumerate() {
            let expected = if at / 30 == from + at % 30 { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 1e-3, "{at}: {value}");
        }
    }
}

#[test]
fn a_matrix_that_is_not_positive_definite_has_no_factor() {
    let size = 700;
    let mut matrix = positive_definite(size);
    matrix[5 * size + 5] = -1.0;
    assert!(!cholesky(&mut matrix, size));
}

#[test]
fn eigenvectors_diagonalise_and_eigenvalues_descend() {
    let size = 40;
    let symmetric = gram(&numbers(100 * size), size);
    let (values, vectors) = eigen(&symmetric, size).unwrap();
    assert!(values.is_sorted_by(|a, b| a >= b));
    let product = multiply(&symmetric, &vectors, size);
    for at in 0..size * size {
        let expected = vectors[at] * values[at % size];
        assert!((product[at] - expected).abs() < 1e-3 * values[0], "{at}");
    }
}

//! Sparse matrices, stored by row.
//!
//! In come (row, column, value) triples, out go rows with ascending columns.

use crate::kernels::{add_rows, simd};
use crate::random::mix;
use rayon::prelude::*;

/// Compressed sparse rows: row `r` holds the columns `indices[offsets[r]..offsets[r + 1]]`,
/// ascending, and the values at the same positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Csr {
    /// Where each row begins in `indices` and `values`, and where the last one ends: `rows + 1`
    /// positions.
    pub offsets: Vec<usize>,
    /// Column of each entry.
    pub indices: Vec<u32>,
    /// Value of each entry.
    pub values: Vec<f32>,
}

impl Csr {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The number of entries.
    pub fn nnz(&self) -> usize {
        self.indices.len()
    }

    /// Returns the columns of a row, ascending, and their values.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.indices[range.clone()], &self.values[range])
    }

    /// Returns the columns of a row, ascending.
    pub fn columns(&self, row: usize) -> &[u32] {
        &self.indices[self.offsets[row]..self.offsets[row + 1]]
    }

    /// Makes a matrix of (row, column, value) triples in any order. Values at the same place are
    /// added up in a fixed order. O(n log n).
    pub fn from_triples(rows: usize, mut triples: Vec<(u32, u32, f32)>) -> Self {
        triples.par_sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        let mut csr = Csr {
            offsets: Vec::with_capacity(rows + 1),
            ..Csr::default()
        };
        csr.offsets.push(0);
        let mut last_cell = None;
        for (row, column, value) in triples {
            while csr.offsets.len() <= row as usize {
                csr.offsets.push(csr.indices.len());
            }
            if last_cell == Some((row, column))
                && let Some(sum) = csr.values.last_mut()
            {
                *sum += value;
            } else {
                csr.indices.push(column);
                csr.values.push(value);
                last_cell = Some((row, column));
            }
        }
        csr.offsets.resize(rows + 1, csr.indices.len());
        csr
    }

    /// Returns the matrix without the entries whose value is not above zero.
    pub fn positive(&self) -> Csr {
        let mut kept = Csr {
            offsets: vec![0],
            ..Csr::default()
        };
        for row in 0..self.rows() {
            let (columns, values) = self.row(row);
            for (&column, &value) in columns.iter().zip(values) {
                if value > 0.0 {
                    kept.indices.push(column);
                    kept.values.push(value);
                }
            }
            kept.offsets.push(kept.indices.len());
        }
        kept
    }

    /// Returns the matrix with at most `max_entries` entries a row: of longer rows so many, drawn
    /// evenly by a hash of row and column. This bounds work that is quadratic in the length of a
    /// row, which robots and resellers would make endless.
    pub fn capped(&self, max_entries: usize) -> Csr {
        if (0..self.rows()).all(|row| self.columns(row).len() <= max_entries) {
            return self.clone();
        }
        let mut capped = Csr {
            offsets: vec![0],
            ..Csr::default()
        };
        for row in 0..self.rows() {
            let range = self.offsets[row]..self.offsets[row + 1];
            let mut positions: Vec<usize> = range.collect();
            if positions.len() > max_entries {
                positions.sort_unstable_by_key(|&position| {
                    mix((row as u64) << 32 ^ u64::from(self.indices[position]))
                });
                positions.truncate(max_entries);
                positions.sort_unstable();
            }
            capped
                .indices
                .extend(positions.iter().map(|&position| self.indices[position]));
            capped
                .values
                .extend(positions.iter().map(|&position| self.values[position]));
            capped.offsets.push(capped.indices.len());
        }
        capped
    }

    /// Returns the transposed matrix; `columns` is the number of columns of this one. O(entries).
    pub fn transposed(&self, columns: usize) -> Csr {
        let mut offsets = vec![0usize; columns + 1];
        self.indices
            .iter()
            .for_each(|&column| offsets[column as usize + 1] += 1);
        for column in 0..columns {
            offsets[column + 1] += offsets[column];
        }
        let mut next = offsets.clone();
        let mut indices = vec![0u32; self.nnz()];
        let mut values = vec![0f32; self.nnz()];
        for row in 0..self.rows() {
            let (row_columns, row_values) = self.row(row);
            for (&column, &value) in row_columns.iter().zip(row_values) {
                let position = &mut next[column as usize];
                indices[*position] = row as u32;
                values[*position] = value;
                *position += 1;
            }
        }
        Csr {
            offsets,
            indices,
            values,
        }
    }
}

/// Returns the product of a sparse matrix and the dense `right`, which is row-major with rows of
/// `width` numbers: `rows × width`. O(entries · width).
pub fn product(matrix: &Csr, right: &[f32], width: usize) -> Vec<f32> {
    let simd = simd();
    let mut out = vec![0f32; matrix.rows() * width];
    out.par_chunks_mut(width)
        .enumerate()
        .with_min_len(64)
        .for_each(|(row, out)| {
            let (columns, values) = matrix.row(row);
            add_rows(simd, right, columns, values, out);
        });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Csr {
        let triples = vec![(2, 1, 4.0), (0, 3, 1.0), (0, 0, -2.0), (0, 3, 0.5)];
        Csr::from_triples(3, triples)
    }

    #[test]
    fn values_at_the_same_place_are_added_up() {
        assert_eq!(matrix().row(0), (&[0, 3][..], &[-2.0, 1.5][..]));
        assert_eq!((matrix().rows(), matrix().nnz()), (3, 3));
    }

    #[test]
    fn a_matrix_transposed_twice_is_itself() {
        let transposed = matrix().transposed(4);
        assert_eq!(transposed.row(1), (&[2][..], &[4.0][..]));
        assert_eq!(transposed.transposed(3), matrix());
    }

    #[test]
    fn only_values_above_zero_stay() {
        assert_eq!(matrix().positive().columns(0), [3]);
    }

    #[test]
    fn a_capped_row_keeps_some_of_its_entries_in_order() {
        let row = |columns: u32| (0..columns).map(|column| (0, column, 1.0)).collect();
        let capped = Csr::from_triples(1, row(50)).capped(10);
        assert_eq!(capped.nnz(), 10);
        assert!(capped.columns(0).is_sorted());
        let short = Csr::from_triples(1, row(10));
        assert_eq!(short.capped(10), short);
    }

    #[test]
    fn a_product_adds_the_rows_of_the_right_side() {
        let right = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let expected = [8.5, 8.0, 0.0, 0.0, 12.0, 16.0];
        assert_eq!(product(&matrix(), &right, 2), expected);
    }
}

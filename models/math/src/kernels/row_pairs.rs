//! What outer products are computed of.

/// Two row-major matrices of the same number of rows, whose rows are multiplied pair by pair.
#[derive(Clone, Copy)]
pub(super) struct RowPairs<'a> {
    /// From the first column that is multiplied.
    pub left: &'a [f32],
    /// From the first column that is multiplied.
    pub right: &'a [f32],
    /// The distance from one row to the next, in both matrices.
    pub stride: usize,
    /// The number of rows.
    pub count: usize,
}

//! Numbers in memory or in a mapped file, read in the same way.

use bytemuck::Pod;
use memmap2::Mmap;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Numbers that are either owned or a part of a mapped file. Both read as a slice.
pub enum Array<T: Pod> {
    /// Numbers that this process computed.
    Owned(Vec<T>),
    /// Numbers of a version on disk.
    Mapped {
        /// The mapped file.
        map: Arc<Mmap>,
        /// Which bytes of the file hold the numbers. They must lie as `T` demands and make up a
        /// whole number of them; else the array reads as empty.
        range: Range<usize>,
    },
}

impl<T: Pod> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Array::Owned(values) => values,
            Array::Mapped { map, range } => {
                bytemuck::try_cast_slice(&map[range.clone()]).unwrap_or(&[])
            }
        }
    }
}

impl<T: Pod> From<Vec<T>> for Array<T> {
    fn from(values: Vec<T>) -> Self {
        Array::Owned(values)
    }
}

impl<T: Pod> Default for Array<T> {
    fn default() -> Self {
        Array::Owned(Vec::new())
    }
}

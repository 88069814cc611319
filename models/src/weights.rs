//! The named arrays of a version: written from memory after a fit, mapped from
//! `weights.safetensors` when served.
//!
//! In: the [`Tensor`]s of the models ([`write()`]). Out: [`Weights`], from which each model takes
//! its arrays by name. Every array is checked when it is taken: its type, its shape, and the range
//! of its values.

use crate::error::{ModelError, Result};
use aisle_math::array::Array;
use bytemuck::Pod;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest header of a weights file, in bytes.
const MAX_HEADER: u64 = 1 << 20;
/// Bytes before the header, which hold its length.
const LENGTH_BYTES: usize = 8;
/// Most arrays in a weights file.
const MAX_TENSORS: usize = 256;

/// An array to be written, with its name and shape.
pub struct Tensor<'a> {
    name: &'static str,
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: &'a [u8],
}

impl<'a> Tensor<'a> {
    /// An array of real numbers of one dimension or two, row-major.
    pub fn f32(name: &'static str, shape: &[usize], values: &'a [f32]) -> Self {
        Self {
            name,
            shape: shape.to_vec(),
            dtype: Dtype::F32,
            bytes: bytemuck::cast_slice(values),
        }
    }

    /// The name of the array.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A list of row numbers or counts.
    pub fn u32(name: &'static str, values: &'a [u32]) -> Self {
        Self {
            name,
            shape: vec![values.len()],
            dtype: Dtype::U32,
            bytes: bytemuck::cast_slice(values),
        }
    }

    /// A list of positions.
    pub fn u64(name: &'static str, values: &'a [u64]) -> Self {
        Self {
            name,
            shape: vec![values.len()],
            dtype: Dtype::U64,
            bytes: bytemuck::cast_slice(values),
        }
    }
}

/// Writes arrays to a safetensors file. The same arrays give the same bytes.
///
/// # Errors
/// [`ModelError::Table`] if the file cannot be written.
pub fn write(path: &Path, tensors: Vec<Tensor>) -> Result<()> {
    let cannot_write = |error: safetensors::SafeTensorError| ModelError::Table {
        path: path.to_path_buf(),
        detail: error.to_string(),
    };
    let mut views = BTreeMap::new();
    for tensor in tensors {
        views.insert(
            tensor.name,
            TensorView::new(tensor.dtype, tensor.shape, tensor.bytes).map_err(cannot_write)?,
        );
    }
    safetensors::serialize_to_file(views, None, path).map_err(cannot_write)
}

/// A copy of `len` values, filled up with one value.
fn padded<T: Pod>(values: &[T], len: usize, with: T) -> Array<T> {
    let mut longer = Vec::with_capacity(len);
    longer.extend_from_slice(values);
    longer.resize(len, with);
    longer.into()
}

/// The type, shape and bytes of an array in a weights file.
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// The place of its bytes in the file.
    range: Range<usize>,
}

/// The arrays of a weights file, by name. Each is taken once, and an array that nobody takes is an
/// error.
pub struct Weights {
    path: PathBuf,
    map: Arc<Mmap>,
    entries: BTreeMap<String, Entry>,
    /// Items when the file was written, and items now: see [`Weights::grow`]. Both 0 = no growth.
    items: (usize, usize),
}

impl Weights {
    /// Reads every array of `from` items as if it had `to` items: with zeros, and empty rows, for
    /// those that were added since the file was written.
    pub fn grow(self, from: usize, to: usize) -> Self {
        Self {
            items: (from, to),
            ..self
        }
    }

    /// How many of `items` items were there when the file was written: the fitted ones. The rest
    /// were added since.
    pub fn learned(&self, items: usize) -> usize {
        let (from, to) = self.items;
        if to == items { from } else { items }
    }

    /// Whether an array of `found` rows, of which `rows` are expected, lacks those of added items.
    fn lacks_added_items(&self, found: Option<usize>, rows: usize) -> bool {
        let (from, to) = self.items;
        from < to && rows == to && found == Some(from)
    }

    /// Maps a file and checks its header: its size, and the names, ranks and ranges of its arrays.
    ///
    /// # Errors
    /// [`ModelError::Io`] if the file cannot be read, and [`ModelError::Damaged`] for anything that
    /// this crate would not have written.
    pub fn open(path: &Path) -> Result<Self> {
        let damaged = |what: &str, found: String, expected: &str| ModelError::Damaged {
            path: path.to_path_buf(),
            what: what.into(),
            found,
            expected: expected.into(),
        };
        let file = File::open(path).map_err(ModelError::io("cannot open", path))?;
        let bytes = file
            .metadata()
            .map_err(ModelError::io("cannot read", path))?
            .len();
        if bytes < LENGTH_BYTES as u64 {
            return Err(damaged(
                "weights",
                format!("{bytes} bytes"),
                "a safetensors file",
            ));
        }
        // SAFETY: versions are immutable by contract: the registry writes them once, under another
        // name, and never again. Who truncates a served file by hand gets SIGBUS, as with every
        // mapped database.
        let map = unsafe { Mmap::map(&file) }.map_err(ModelError::io("cannot map", path))?;
        let mut length = [0u8; LENGTH_BYTES];
        length.copy_from_slice(&map[..LENGTH_BYTES]);
        let header = u64::from_le_bytes(length);
        if header > MAX_HEADER {
            return Err(damaged(
                "weights header",
                format!("{header} bytes"),
                &format!("at most {MAX_HEADER}"),
            ));
        }
        let parsed = SafeTensors::deserialize(&map)
            .map_err(|error| damaged("weights", error.to_string(), "a sound safetensors file"))?;
        let mut entries = BTreeMap::new();
        let base = map.as_ptr() as usize;
        for (name, view) in parsed.tensors() {
            let start = view.data().as_ptr() as usize - base;
            if view.shape().len() > 2 {
                return Err(damaged(
                    &name,
                    format!("rank {}", view.shape().len()),
                    "rank 1 or 2",
                ));
            }
            let entry = Entry {
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                range: start..start + view.data().len(),
            };
            if entries.insert(name.clone(), entry).is_some() {
                return Err(damaged(
                    "weights",
                    format!("two arrays named {name}"),
                    "one",
                ));
            }
        }
        // The parser keeps one of two arrays with the same name: the header shows both.
        let declared = std::str::from_utf8(&map[LENGTH_BYTES..LENGTH_BYTES + header as usize])
            .map_or(0, |text| text.matches("\"dtype\"").count());
        if entries.len() > MAX_TENSORS || declared != entries.len() {
            return Err(damaged(
                "weights",
                format!("{declared} arrays"),
                &format!("at most {MAX_TENSORS} with different names"),
            ));
        }
        Ok(Self {
            path: path.to_path_buf(),
            map: Arc::new(map),
            entries,
            items: (0, 0),
        })
    }

    /// An error that names this file, the damaged part, what was found and what was expected.
    pub fn damaged(&self, what: &str, found: String, expected: String) -> ModelError {
        ModelError::Damaged {
            path: self.path.clone(),
            what: what.into(),
            found,
            expected,
        }
    }

    /// Whether the file has an array of that name that was not taken yet.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The first dimension of an array that was not taken yet.
    fn first_dimension(&self, name: &str) -> Option<usize> {
        self.entries.get(name)?.shape.first().copied()
    }

    /// Takes an array of a type, with its shape.
    fn take<T: Pod>(&mut self, name: &str, dtype: Dtype) -> Result<(Array<T>, Vec<usize>)> {
        let Some(entry) = self.entries.remove(name) else {
            let known = self.entries.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(self.damaged(
                name,
                format!("no such array (there are: {known})"),
                "an array of that name".into(),
            ));
        };
        if entry.dtype != dtype {
            return Err(self.damaged(name, format!("{:?}", entry.dtype), format!("{dtype:?}")));
        }
        if bytemuck::try_cast_slice::<u8, T>(&self.map[entry.range.clone()]).is_err() {
            return Err(self.damaged(
                name,
                "misaligned data".into(),
                "data aligned to their type".into(),
            ));
        }
        Ok((
            Array::Mapped {
                map: self.map.clone(),
                range: entry.range,
            },
            entry.shape,
        ))
    }

    /// Takes a matrix of real numbers, all finite, with so many rows and columns; `None` = any
    /// number of columns. Returns its values, row-major, and the number of columns.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] names the array, what was found and what was expected.
    pub fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: Option<usize>,
    ) -> Result<(Array<f32>, usize)> {
        let (mut values, mut shape) = self.take::<f32>(name, Dtype::F32)?;
        let width = shape.get(1).copied().unwrap_or(1);
        if self.lacks_added_items(shape.first().copied(), rows) {
            values = padded(&values, rows * width, 0.0);
            shape[0] = rows;
        }
        if shape.first() != Some(&rows) || columns.is_some_and(|columns| columns != width) {
            let expected = format!(
                "[{rows}, {}]",
                columns.map_or("any".into(), |columns| columns.to_string())
            );
            return Err(self.damaged(name, format!("shape {shape:?}"), expected));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(self.damaged(
                name,
                format!("{} at position {at}", values[at]),
                "finite numbers".into(),
            ));
        }
        Ok((values, width))
    }

    /// Takes a matrix of real numbers, all finite, with any number of rows.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn some_matrix(&mut self, name: &str, columns: usize) -> Result<(Array<f32>, usize)> {
        let rows = self.first_dimension(name).unwrap_or(0);
        self.matrix(name, rows, Some(columns))
    }

    /// Takes a list of `len` real numbers, all finite.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn reals(&mut self, name: &str, len: usize) -> Result<Array<f32>> {
        Ok(self.matrix(name, len, Some(1))?.0)
    }

    /// Takes a list of `len` row numbers or counts, all below `below`.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn rows(&mut self, name: &str, len: usize, below: usize) -> Result<Array<u32>> {
        let (mut values, mut shape) = self.take::<u32>(name, Dtype::U32)?;
        if self.lacks_added_items(shape.first().copied(), len) {
            (values, shape) = (padded(&values, len, 0), vec![len]);
        }
        if shape != [len] {
            return Err(self.damaged(name, format!("shape {shape:?}"), format!("[{len}]")));
        }
        if let Some(&value) = values.iter().find(|&&value| value as usize >= below) {
            return Err(self.damaged(name, format!("row {value}"), format!("rows below {below}")));
        }
        Ok(values)
    }

    /// Takes a list of any number of row numbers, strictly ascending and all below `below`; empty
    /// if the file has no such array.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn some_rows(&mut self, name: &str, below: usize) -> Result<Array<u32>> {
        let Some(len) = self.first_dimension(name) else {
            return Ok(Array::default());
        };
        let rows = self.rows(name, len, below)?;
        if !rows.is_sorted_by(|a, b| a < b) {
            return Err(self.damaged(name, "rows out of order".into(), "ascending rows".into()));
        }
        Ok(rows)
    }

    /// Takes the positions at which each of `rows` rows begins and the last one ends: `rows + 1`
    /// positions, ascending from 0. Returns them and the last position, the number of entries.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn offsets(&mut self, name: &str, rows: usize) -> Result<(Array<u64>, usize)> {
        let (mut values, mut shape) = self.take::<u64>(name, Dtype::U64)?;
        let found_rows = shape.first().map(|len| len.saturating_sub(1));
        if self.lacks_added_items(found_rows, rows) {
            let last = values.last().copied().unwrap_or(0);
            (values, shape) = (padded(&values, rows + 1, last), vec![rows + 1]);
        }
        if shape != [rows + 1] || values.first() != Some(&0) || !values.is_sorted() {
            return Err(self.damaged(
                name,
                format!("shape {shape:?}"),
                format!("{} ascending positions from 0", rows + 1),
            ));
        }
        let last = values.last().copied().unwrap_or(0) as usize;
        Ok((values, last))
    }

    /// Takes the positions of any number of rows, as [`Weights::offsets`].
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn some_offsets(&mut self, name: &str) -> Result<(Array<u64>, usize)> {
        let rows = self
            .first_dimension(name)
            .map_or(0, |len| len.saturating_sub(1));
        self.offsets(name, rows)
    }

    /// Takes a list of `len` whole numbers.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn numbers(&mut self, name: &str, len: usize) -> Result<Array<u64>> {
        let (values, shape) = self.take::<u64>(name, Dtype::U64)?;
        if shape != [len] {
            return Err(self.damaged(name, format!("shape {shape:?}"), format!("[{len}]")));
        }
        Ok(values)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] if an array was not taken.
    pub fn finish(self) -> Result<()> {
        match self.entries.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.damaged(
                "weights",
                format!("an unknown array '{name}'"),
                "none but those of the algorithm".into(),
            )),
        }
    }
}

//! Named arrays: in memory after a fit, mapped from `weights.safetensors` when served.

use crate::{ModelError, Result};
use bytemuck::Pod;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

/// Longest header of a weights file that is looked at.
const MAX_HEADER: u64 = 1 << 20;
/// Most arrays in a weights file.
const MAX_TENSORS: usize = 256;

/// Numbers that are either owned or a part of a mapped file; both read as a slice.
pub enum Array<T: Pod> {
    /// Made in this process.
    Owned(Vec<T>),
    /// Part of a version on disk.
    Mapped {
        /// The mapped file.
        map: Arc<Mmap>,
        /// Bytes of it.
        range: std::ops::Range<usize>,
    },
}

impl<T: Pod> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Array::Owned(values) => values,
            // Checked for alignment and size when the array was made.
            Array::Mapped { map, range } => bytemuck::try_cast_slice(&map[range.clone()]).unwrap_or(&[]),
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

/// An array to be written: name, shape, bytes.
pub struct Tensor<'a> {
    name: &'static str,
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: &'a [u8],
}

impl<'a> Tensor<'a> {
    /// Real numbers, one dimension or two.
    pub fn f32(name: &'static str, shape: &[usize], values: &'a [f32]) -> Self {
        Self { name, shape: shape.to_vec(), dtype: Dtype::F32, bytes: bytemuck::cast_slice(values) }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Row numbers and counts.
    pub fn u32(name: &'static str, values: &'a [u32]) -> Self {
        Self { name, shape: vec![values.len()], dtype: Dtype::U32, bytes: bytemuck::cast_slice(values) }
    }

    /// Positions.
    pub fn u64(name: &'static str, values: &'a [u64]) -> Self {
        Self { name, shape: vec![values.len()], dtype: Dtype::U64, bytes: bytemuck::cast_slice(values) }
    }
}

/// Writes the arrays to a safetensors file. The same arrays give the same bytes.
pub fn write(path: &Path, tensors: Vec<Tensor>) -> Result<()> {
    let damaged = |error: safetensors::SafeTensorError| ModelError::Table { path: path.to_path_buf(), detail: error.to_string() };
    let mut views = BTreeMap::new();
    for tensor in tensors {
        views.insert(tensor.name, TensorView::new(tensor.dtype, tensor.shape, tensor.bytes).map_err(damaged)?);
    }
    safetensors::serialize_to_file(views, None, path).map_err(damaged)
}

/// A longer copy.
fn padded<T: Pod>(values: &[T], len: usize, with: T) -> Array<T> {
    let mut longer = Vec::with_capacity(len);
    longer.extend_from_slice(values);
    longer.resize(len, with);
    longer.into()
}

/// The arrays of a weights file, by name; each is taken once, and what is left over is an error.
pub struct Weights {
    path: std::path::PathBuf,
    map: Arc<Mmap>,
    entries: BTreeMap<String, (Dtype, Vec<usize>, std::ops::Range<usize>)>,
    /// Items in the file, and with those that came since.
    items: (usize, usize),
}

impl Weights {
    /// Tables of `from` items are read as if they had `to`: zeros, and empty rows, for those that came since.
    pub fn grow(self, from: usize, to: usize) -> Self {
        Self { items: (from, to), ..self }
    }

    /// Of so many items, those that were there when the file was written.
    pub fn learned(&self, items: usize) -> usize {
        if self.items.1 == items { self.items.0 } else { items }
    }

    /// Whether a table of so many rows lacks those of the items that came since.
    fn lacks(&self, found: Option<&usize>, rows: usize) -> bool {
        let (from, to) = self.items;
        from < to && rows == to && found == Some(&from)
    }

    /// Maps the file and checks its header: size, names, ranks, ranges.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] for anything that this crate would not have written.
    pub fn open(path: &Path) -> Result<Self> {
        let damaged = |what: &str, found: String, expected: &str| ModelError::Damaged {
            path: path.to_path_buf(),
            what: what.into(),
            found,
            expected: expected.into(),
        };
        let file = File::open(path).map_err(ModelError::io("cannot open", path))?;
        let bytes = file.metadata().map_err(ModelError::io("cannot read", path))?.len();
        if bytes < 8 {
            return Err(damaged("weights", format!("{bytes} bytes"), "a safetensors file"));
        }
        // SAFETY: versions are immutable by contract: the registry writes them once, under another name, and never
        // again. Who truncates a served file by hand gets SIGBUS, as with every mapped database.
        let map = unsafe { Mmap::map(&file) }.map_err(ModelError::io("cannot map", path))?;
        let mut length = [0u8; 8];
        length.copy_from_slice(&map[..8]);
        let header = u64::from_le_bytes(length);
        if header > MAX_HEADER {
            return Err(damaged("weights header", format!("{header} bytes"), "at most 1 MiB"));
        }
        let parsed =
            SafeTensors::deserialize(&map).map_err(|error| damaged("weights", error.to_string(), "a sound safetensors file"))?;
        let mut entries = BTreeMap::new();
        let base = map.as_ptr() as usize;
        for (name, view) in parsed.tensors() {
            let start = view.data().as_ptr() as usize - base;
            if view.shape().len() > 2 {
                return Err(damaged(&name, format!("rank {}", view.shape().len()), "rank 1 or 2"));
            }
            let entry = (view.dtype(), view.shape().to_vec(), start..start + view.data().len());
            if entries.insert(name.clone(), entry).is_some() {
                return Err(damaged("weights", format!("two arrays named {name}"), "one"));
            }
        }
        let declared = std::str::from_utf8(&map[8..8 + header as usize]).map_or(0, |text| text.matches("\"dtype\"").count());
        if entries.len() > MAX_TENSORS || declared != entries.len() {
            return Err(damaged("weights", format!("{declared} arrays"), "at most 64 with different names"));
        }
        Ok(Self { path: path.to_path_buf(), map: Arc::new(map), entries, items: (0, 0) })
    }

    /// An error about this file.
    pub fn damaged(&self, what: &str, found: String, expected: String) -> ModelError {
        ModelError::Damaged { path: self.path.clone(), what: what.into(), found, expected }
    }

    /// Whether an array of that name is left.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    fn take<T: Pod>(&mut self, name: &str, dtype: Dtype) -> Result<(Array<T>, Vec<usize>)> {
        let Some((found, shape, range)) = self.entries.remove(name) else {
            let known = self.entries.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(self.damaged(name, format!("no such array (there are: {known})"), "an array of that name".into()));
        };
        if found != dtype {
            return Err(self.damaged(name, format!("{found:?}"), format!("{dtype:?}")));
        }
        if bytemuck::try_cast_slice::<u8, T>(&self.map[range.clone()]).is_err() {
            return Err(self.damaged(name, "misaligned data".into(), "data aligned to their type".into()));
        }
        Ok((Array::Mapped { map: self.map.clone(), range }, shape))
    }

    /// Takes a real matrix of the given shape; every number must be finite.
    pub fn matrix(&mut self, name: &str, rows: usize, columns: Option<usize>) -> Result<(Array<f32>, usize)> {
        let (mut values, mut shape) = self.take::<f32>(name, Dtype::F32)?;
        let width = shape.get(1).copied().unwrap_or(1);
        if self.lacks(shape.first(), rows) {
            values = padded(&values, rows * width, 0.0);
            shape[0] = rows;
        }
        if shape.first() != Some(&rows) || columns.is_some_and(|columns| columns != width) {
            let expected = format!("[{rows}, {}]", columns.map_or("any".into(), |columns| columns.to_string()));
            return Err(self.damaged(name, format!("shape {shape:?}"), expected));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(self.damaged(name, format!("{} at position {at}", values[at]), "finite numbers".into()));
        }
        Ok((values, width))
    }

    /// Takes a real matrix of any number of rows.
    pub fn some_matrix(&mut self, name: &str, columns: usize) -> Result<(Array<f32>, usize)> {
        let rows = self.entries.get(name).and_then(|(_, shape, _)| shape.first()).copied().unwrap_or(0);
        self.matrix(name, rows, Some(columns))
    }

    /// Takes a list of real numbers, all finite.
    pub fn reals(&mut self, name: &str, len: usize) -> Result<Array<f32>> {
        Ok(self.matrix(name, len, Some(1))?.0)
    }

    /// Takes row numbers, all below `below`.
    pub fn rows(&mut self, name: &str, len: usize, below: usize) -> Result<Array<u32>> {
        let (mut values, mut shape) = self.take::<u32>(name, Dtype::U32)?;
        if self.lacks(shape.first(), len) {
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

    /// Takes row numbers of any count, strictly ascending and all below `below`; none if there is no such array.
    pub fn some_rows(&mut self, name: &str, below: usize) -> Result<Array<u32>> {
        let Some(len) = self.entries.get(name).and_then(|(_, shape, _)| shape.first().copied()) else {
            return Ok(Array::default());
        };
        let rows = self.rows(name, len, below)?;
        if !rows.is_sorted_by(|a, b| a < b) {
            return Err(self.damaged(name, "rows out of order".into(), "ascending rows".into()));
        }
        Ok(rows)
    }

    /// Takes the positions of a table of `rows` rows: `rows + 1`, ascending from 0. Returns them and the last.
    pub fn offsets(&mut self, name: &str, rows: usize) -> Result<(Array<u64>, usize)> {
        let (mut values, mut shape) = self.take::<u64>(name, Dtype::U64)?;
        if self.lacks(shape.first().map(|len| len.saturating_sub(1)).as_ref(), rows) {
            let last = values.last().copied().unwrap_or(0);
            (values, shape) = (padded(&values, rows + 1, last), vec![rows + 1]);
        }
        if shape != [rows + 1] || values.first() != Some(&0) || !values.is_sorted() {
            return Err(self.damaged(name, format!("shape {shape:?}"), format!("{} ascending positions from 0", rows + 1)));
        }
        let last = values.last().copied().unwrap_or(0) as usize;
        Ok((values, last))
    }

    /// The same for a table of any number of rows.
    pub fn some_offsets(&mut self, name: &str) -> Result<(Array<u64>, usize)> {
        let rows = self.entries.get(name).and_then(|(_, shape, _)| shape.first()).map_or(0, |&len| len.saturating_sub(1));
        self.offsets(name, rows)
    }

    /// Takes whole numbers.
    pub fn numbers(&mut self, name: &str, len: usize) -> Result<Array<u64>> {
        let (values, shape) = self.take::<u64>(name, Dtype::U64)?;
        if shape != [len] {
            return Err(self.damaged(name, format!("shape {shape:?}"), format!("[{len}]")));
        }
        Ok(values)
    }

    /// Ends the reading: no array may be left.
    pub fn finish(self) -> Result<()> {
        match self.entries.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(self.damaged("weights", format!("an unknown array '{name}'"), "none but those of the algorithm".into()))
            }
        }
    }
}

//! The files that a dataset was read from, with their digests.

use crate::error::{DataError, Result};
use crate::source::Source;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// One input file, as the manifest of a version records it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Input {
    /// `events`, `items` or `users`.
    pub table: String,
    /// File name without its folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 digest of the content, hexadecimal.
    pub blake3: String,
}

/// Size and digest of every file of the tables, ordered by table, name and digest.
///
/// # Errors
/// [`DataError::Io`] if a file cannot be read.
pub(crate) fn digest_files(tables: &[(&str, &Source)]) -> Result<Vec<Input>> {
    let files: Vec<(&str, &Path)> = tables
        .iter()
        .flat_map(|(table, source)| source.files().iter().map(|path| (*table, path.as_path())))
        .collect();
    let mut inputs = files
        .into_par_iter()
        .map(|(table, path)| digest_file(table, path))
        .collect::<Result<Vec<_>>>()?;
    inputs.sort_by(|a, b| (&a.table, &a.name, &a.blake3).cmp(&(&b.table, &b.name, &b.blake3)));
    Ok(inputs)
}

fn digest_file(table: &str, path: &Path) -> Result<Input> {
    let (bytes, blake3) = digest(path).map_err(|source| DataError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let name = path.file_name().unwrap_or_default();
    Ok(Input {
        table: table.into(),
        name: name.to_string_lossy().into_owned(),
        bytes,
        blake3,
    })
}

/// The number of bytes of a file and their BLAKE3 digest.
fn digest(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0u8; 1 << 20];
    let mut total = 0u64;
    loop {
        let bytes = file.read(&mut buffer)?;
        if bytes == 0 {
            return Ok((total, hasher.finalize().to_hex().to_string()));
        }
        total += bytes as u64;
        hasher.update(&buffer[..bytes]);
    }
}

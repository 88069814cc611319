//! `manifest.json`: what a version is, where it came from, and how to know that it is whole.

use crate::error::{ModelError, Result};
use crate::fitted_models::hyperparameters::Hyperparameters;
use crate::fitted_models::{Counts, FittedModels};
use crate::segments::SegmentList;
use crate::tasks::context_popularity::Dimension;
use aisle_data::{DataConfig, Dataset, Input, format_day};
use aisle_retrieval::inverted_lists::Retrieval;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The name of the file in a version's folder.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Longest manifest that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// Hexadecimal digits of a manifest's digest in the name of its version.
const DIGEST_DIGITS: usize = 12;

/// The format that this build writes, and the only one it reads.
pub const FORMAT: u32 = 6;

/// The data that the models of a version were fitted to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The files that were read, with their digests.
    pub inputs: Vec<Input>,
    /// Rows of the events files.
    pub rows: u64,
    /// Events that the models were fitted to.
    pub events: u64,
    /// UTC day of the first event, `2017-11-12`; `None` in a log without times.
    pub first_day: Option<String>,
    /// UTC day of the last event.
    pub last_day: Option<String>,
    /// The config with which the files were read.
    pub config: DataConfig,
}

/// One file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name in the version's folder.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// BLAKE3 digest, hexadecimal.
    pub blake3: String,
}

/// A request with the answer that the version gave when it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoldenRequest {
    /// The call: personal, similar, cross-sell, upsell, session or buy-again.
    pub task: String,
    /// The user id of a personal or buy-again request, the item ids of the others.
    pub ids: Vec<String>,
    /// Item ids with scores, best first.
    pub expect: Vec<(String, f32)>,
}

/// The manifest. It holds no time and no path: the same data, config and seed give the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The [`FORMAT`] that it was written in.
    pub format: u32,
    /// The model's name in the registry.
    pub model: String,
    /// The algorithm of the personal model.
    pub algorithm: String,
    /// Hyperparameters, seed included.
    pub hyperparameters: Hyperparameters,
    /// The data that the models were fitted to.
    pub lineage: Lineage,
    /// Numbers of users, items, interactions and the like.
    pub counts: Counts,
    /// Dimensions and values of the context model, whose arrays are in the weights.
    pub context: Vec<Dimension>,
    /// Metrics measured on a held-out part, by name; empty if nothing was measured.
    pub metrics: BTreeMap<String, f64>,
    /// The segments of shoppers.
    #[serde(default)]
    pub segments: SegmentList,
    /// How the inverted lists of the personal model were measured; `None` where search is exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<Retrieval>,
    /// Bytes of memory that a server needs to hold the version, estimated.
    pub memory_bytes: u64,
    /// Program and version that wrote it.
    pub created_by: String,
    /// Every other file of the version.
    pub files: Vec<FileEntry>,
    /// Requests that are asked again at each load.
    pub golden: Vec<GoldenRequest>,
}

impl Lineage {
    /// Describes the data and config that models were fitted to.
    pub fn of(data: &Dataset, config: &DataConfig, models: &FittedModels) -> Self {
        Self {
            inputs: data.inputs.clone(),
            rows: data.report.rows,
            events: models.counts.events,
            first_day: models.span.map(|(first, _)| format_day(first)),
            last_day: models.span.map(|(_, last)| format_day(last)),
            config: config.clone(),
        }
    }
}

impl Manifest {
    /// Describes models that are not written yet: files and golden requests are empty.
    pub fn of(models: &FittedModels, lineage: Lineage) -> Self {
        Self {
            format: FORMAT,
            model: String::new(),
            algorithm: models.hyperparameters.personal.algorithm().into(),
            hyperparameters: models.hyperparameters.clone(),
            lineage,
            counts: models.counts.clone(),
            context: models.context.dimensions().to_vec(),
            metrics: BTreeMap::new(),
            segments: models.segments.list().clone(),
            retrieval: models.retrieval.clone(),
            memory_bytes: 0,
            created_by: format!("aisle {}", env!("CARGO_PKG_VERSION")),
            files: Vec::new(),
            golden: Vec::new(),
        }
    }

    /// Reads the manifest of a version and checks its digest against the version's name.
    ///
    /// # Errors
    /// [`ModelError::Damaged`], [`ModelError::TooNew`], [`ModelError::TooOld`].
    pub fn read(folder: &Path, version: &str) -> Result<Self> {
        let damaged = |found: String, expected: String| ModelError::Damaged {
            path: folder.to_path_buf(),
            what: MANIFEST.into(),
            found,
            expected,
        };
        let bytes = read_bytes(folder)?;
        let digest = digest_of(&bytes);
        if !version.ends_with(&digest) {
            let expected = format!("the end of the version's name, {version}");
            return Err(damaged(format!("digest {digest}"), expected));
        }
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let json =
            |error: serde_json::Error| damaged(error.to_string(), "a manifest of Aisle".into());
        let Format { format: found } = serde_json::from_slice(&bytes).map_err(json)?;
        let (path, supported) = (folder.to_path_buf(), FORMAT);
        match found {
            found if found > FORMAT => Err(ModelError::TooNew {
                path,
                found,
                supported,
            }),
            found if found < FORMAT => Err(ModelError::TooOld {
                path,
                found,
                supported,
            }),
            _ => serde_json::from_slice(&bytes).map_err(json),
        }
    }

    /// The digest of a folder's manifest, which in turn holds the digests of the files beside it:
    /// 12 hexadecimal digits.
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::Damaged`].
    pub(crate) fn digest(folder: &Path) -> Result<String> {
        Ok(digest_of(&read_bytes(folder)?))
    }
}

fn digest_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..DIGEST_DIGITS].to_string()
}

fn read_bytes(folder: &Path) -> Result<Vec<u8>> {
    let path = folder.join(MANIFEST);
    let metadata =
        std::fs::symlink_metadata(&path).map_err(ModelError::io("cannot read", &path))?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(ModelError::Damaged {
            path: path.clone(),
            what: MANIFEST.into(),
            found: format!("{} bytes", metadata.len()),
            expected: format!("a plain file of at most {MAX_BYTES} bytes"),
        });
    }
    std::fs::read(&path).map_err(ModelError::io("cannot read", &path))
}

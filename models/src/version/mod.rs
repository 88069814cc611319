//! One immutable exported version: written once, verified at every load.
//!
//! In: [`FittedModels`] to write, or the files of a version to open. Out: a folder with four files,
//! or a [`Version`] whose digests, shapes, numbers and golden answers were checked. What may be
//! changed here: the files and their format, whose number is [`FORMAT`](manifest::FORMAT).

mod golden;
pub mod manifest;
pub mod registry;
mod tables;

use crate::algorithms::recommend::Progress;
use crate::error::{ModelError, Result};
use crate::fitted_models::hyperparameters::Hyperparameters;
use crate::fitted_models::{FittedModels, Stored};
use crate::pipeline::live_catalog::ItemChanges;
use crate::weights;
use aisle_data::{Catalog, DataConfig, Dataset, IdMap};
use manifest::{FileEntry, Lineage, MANIFEST, Manifest};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
pub use tables::write_table;
use tables::{write_items, write_users};

const WEIGHTS: &str = "weights.safetensors";
const ITEMS: &str = "items.parquet";
const USERS: &str = "users.parquet";

/// A version in memory.
pub struct Version {
    /// Its name in the registry; empty before it is published.
    pub name: String,
    /// What it is and where it came from.
    pub manifest: Manifest,
    /// What answers are made from.
    pub models: FittedModels,
}

impl Version {
    /// Fits every model of a version.
    ///
    /// # Errors
    /// What the fits return.
    pub fn fit(
        data: &Dataset,
        config: &DataConfig,
        hyperparameters: Hyperparameters,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let models = FittedModels::fit(data, config, hyperparameters, progress)?;
        let manifest = Manifest::of(&models, Lineage::of(data, config, &models));
        Ok(Self {
            name: String::new(),
            manifest,
            models,
        })
    }

    /// Writes the files of a version into an empty folder and syncs them.
    ///
    /// # Errors
    /// [`ModelError::Io`] and [`ModelError::Table`].
    pub fn write(&mut self, folder: &Path) -> Result<()> {
        let models = &self.models;
        write_items(&folder.join(ITEMS), &models.items, &models.catalog)?;
        write_users(&folder.join(USERS), &models.users, &models.user_attributes)?;
        weights::write(&folder.join(WEIGHTS), models.tensors())?;
        self.manifest.files = [ITEMS, USERS, WEIGHTS]
            .iter()
            .map(|name| file_entry(folder, name))
            .collect::<Result<_>>()?;
        let bytes = |name: &str| {
            self.manifest
                .files
                .iter()
                .find(|file| file.name == name)
                .map_or(0, |file| file.bytes)
        };
        // Tables unpack to several times their size, vectors have codes beside them, items have
        // sets, encoded responses and cached neighbours.
        self.manifest.memory_bytes =
            3 * bytes(WEIGHTS) + 8 * (bytes(ITEMS) + bytes(USERS)) + (16 << 20);
        self.manifest.golden = golden::record(models);
        let path = folder.join(MANIFEST);
        let text =
            serde_json::to_string_pretty(&self.manifest).map_err(|error| ModelError::Table {
                path: path.clone(),
                detail: error.to_string(),
            })?;
        std::fs::write(&path, text + "\n").map_err(ModelError::io("cannot write", &path))?;
        for name in [ITEMS, USERS, WEIGHTS, MANIFEST] {
            let path = folder.join(name);
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(ModelError::io("cannot sync", &path))?;
        }
        Ok(())
    }

    /// Opens a version: digests, shapes, ranges, finiteness and ids are checked; the golden
    /// requests are not replayed yet.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] names the part, what was found and what was expected.
    pub fn open(folder: &Path, name: &str) -> Result<Self> {
        Self::open_with(folder, name, &ItemChanges::default(), &[])
    }

    /// Opens a version with rows for the items that came since and that it does not know. They are
    /// not recommended before [`FittedModels::add_new_items`]. Items and catalogue are shared with
    /// a version of `shared` that has the same: reading and indexing them is more than half of a
    /// load.
    ///
    /// # Errors
    /// As [`Version::open`].
    pub fn open_with(
        folder: &Path,
        name: &str,
        changes: &ItemChanges,
        shared: &[&Version],
    ) -> Result<Self> {
        let manifest = Manifest::read(folder, name)?;
        check_files(folder, &manifest)?;
        let path_of = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let is_same = |other: &&&Version| {
            !other.models.has_new_items() && other.manifest.files.first() == manifest.files.first()
        };
        let (mut items, mut catalog) = match shared.iter().find(is_same) {
            Some(other) => (other.models.items.clone(), other.models.catalog.clone()),
            None => {
                let (items, catalog) = Catalog::read(&path_of(ITEMS))?;
                (Arc::new(items), Arc::new(catalog))
            }
        };
        let users = Arc::new(IdMap::read(&path_of(USERS), "user_id")?);
        let counts = &manifest.counts;
        for (what, found, expected) in [
            ("items", items.len(), counts.items),
            ("users", users.len(), counts.users),
        ] {
            if found != expected {
                return Err(damaged(
                    folder,
                    what,
                    format!("{found} distinct ids"),
                    expected.to_string(),
                ));
            }
        }
        for (id, item) in &changes.new {
            if items.get(id).is_none() {
                Arc::make_mut(&mut items).intern(id);
                let price = changes.items.get(id).and_then(|change| change.price);
                Arc::make_mut(&mut catalog).push(item, price);
            }
        }
        let stored = Stored {
            weights: &folder.join(WEIGHTS),
            hyperparameters: &manifest.hyperparameters,
            counts,
            retrieval: manifest.retrieval.as_ref(),
            context: &manifest.context,
            segments: &manifest.segments,
            users,
            items,
            catalog,
        };
        let shared: Vec<&FittedModels> = shared.iter().map(|other| &other.models).collect();
        let models = FittedModels::load(stored, &shared)?;
        Ok(Self {
            name: name.into(),
            manifest,
            models,
        })
    }

    /// Opens a version, replays its golden requests, and then gives items that came since a place:
    /// O(features · dimension) more.
    ///
    /// # Errors
    /// As [`Version::open`], and [`ModelError::GoldenMismatch`].
    pub fn verify(
        folder: &Path,
        name: &str,
        changes: &ItemChanges,
        shared: &[&Version],
    ) -> Result<Self> {
        let mut version = Self::open_with(folder, name, changes, shared)?;
        // Before new items become eligible: the golden answers were recorded without them.
        version.replay()?;
        version.models.add_new_items()?;
        Ok(version)
    }

    /// Asks the golden requests again.
    ///
    /// # Errors
    /// [`ModelError::GoldenMismatch`] with the first answer that differs.
    pub fn replay(&self) -> Result<()> {
        golden::replay(&self.models, &self.manifest.golden, &self.name)
    }
}

fn damaged(folder: &Path, what: &str, found: String, expected: String) -> ModelError {
    ModelError::Damaged {
        path: folder.to_path_buf(),
        what: what.into(),
        found,
        expected,
    }
}

/// Checks names, sizes and digests of the files that a manifest lists.
fn check_files(folder: &Path, manifest: &Manifest) -> Result<()> {
    let names: Vec<&str> = manifest
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    if names != [ITEMS, USERS, WEIGHTS] {
        return Err(damaged(
            folder,
            "file list",
            names.join(", "),
            [ITEMS, USERS, WEIGHTS].join(", "),
        ));
    }
    for expected in &manifest.files {
        let path = folder.join(&expected.name);
        let metadata =
            std::fs::symlink_metadata(&path).map_err(ModelError::io("cannot read", &path))?;
        if !metadata.is_file() {
            let found = "a link or a special file".into();
            return Err(damaged(
                folder,
                &expected.name,
                found,
                "a plain file".into(),
            ));
        }
        if metadata.len() != expected.bytes {
            let (found, expected_bytes) = (metadata.len(), expected.bytes);
            let expected_bytes = format!("{expected_bytes} bytes");
            return Err(damaged(
                folder,
                &expected.name,
                format!("{found} bytes"),
                expected_bytes,
            ));
        }
        let found = file_entry(folder, &expected.name)?;
        if found.blake3 != expected.blake3 {
            let found = format!("BLAKE3 {}", found.blake3);
            return Err(damaged(
                folder,
                &expected.name,
                found,
                expected.blake3.clone(),
            ));
        }
    }
    Ok(())
}

fn file_entry(folder: &Path, name: &str) -> Result<FileEntry> {
    let path = folder.join(name);
    let mut hasher = blake3::Hasher::new();
    let file = File::open(&path).map_err(ModelError::io("cannot open", &path))?;
    hasher
        .update_reader(file)
        .map_err(ModelError::io("cannot read", &path))?;
    Ok(FileEntry {
        name: name.into(),
        bytes: hasher.count(),
        blake3: hasher.finalize().to_hex().to_string(),
    })
}

//! All versions of all models in one folder, and what points at them.
//!
//! | file | holds |
//! |---|---|
//! | `ROOT/MODEL/VERSION/` | a version; never changed |
//! | `ROOT/MODEL/aliases.json` | which version each alias points at, and pointed at before |
//! | `ROOT/MODEL/items.json` | prices, stock and new items that changed since versions were made |
//! | `ROOT/MODEL/rules.json` | the rules, and those before them |
//!
//! A version is written to a hidden folder beside its place, synced, and renamed: it is whole or
//! absent. The three small files are replaced in the same way, under a lock, so that of two writers
//! each sees the other's work. Readers take no lock.

mod aliases;
mod files;
mod item_changes;
mod publish;
mod rules;

use crate::error::{ModelError, Result};
use crate::pipeline::live_catalog::ItemChanges;
use crate::version::Version;
use crate::version::manifest::Manifest;
pub use aliases::{Alias, Aliases};
pub use files::FileStamp;
use files::{check_name, folder_names};
use std::path::{Path, PathBuf};

/// A folder of models.
#[derive(Clone, Debug)]
pub struct Registry {
    root: PathBuf,
}

/// A version in a listing.
#[derive(Debug)]
pub struct ListedVersion {
    /// Its name.
    pub version: String,
    /// Its manifest, or why it cannot be read.
    pub manifest: Result<Manifest>,
}

impl Registry {
    /// The registry in a folder, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn model_folder(&self, model: &str) -> Result<PathBuf> {
        check_name("model", model)?;
        Ok(self.root.join(model))
    }

    /// Where error messages say that something was looked for.
    fn place(&self, model: &str) -> String {
        format!("model '{model}' of {}", self.root.display())
    }

    /// The folder of a version, whether it exists or not.
    ///
    /// # Errors
    /// [`ModelError::BadName`] for a name that could leave the registry.
    pub fn version_folder(&self, model: &str, version: &str) -> Result<PathBuf> {
        check_name("version", version)?;
        Ok(self.model_folder(model)?.join(version))
    }

    /// The folder in which fits of a model keep their checkpoints.
    ///
    /// # Errors
    /// [`ModelError::BadName`] for a name that could leave the registry.
    pub fn checkpoints(&self, model: &str) -> Result<PathBuf> {
        Ok(self.model_folder(model)?.join(".checkpoints"))
    }

    /// Names of the models that have a folder, ascending.
    ///
    /// # Errors
    /// [`ModelError::Io`] if the folder cannot be listed.
    pub fn models(&self) -> Result<Vec<String>> {
        folder_names(&self.root)
    }

    /// Names of a model's versions, oldest first.
    ///
    /// # Errors
    /// [`ModelError::BadName`], or [`ModelError::Io`] if the folder cannot be listed.
    pub fn version_names(&self, model: &str) -> Result<Vec<String>> {
        folder_names(&self.model_folder(model)?)
    }

    /// A model's versions with their manifests, oldest first. Digests of the other files are not
    /// checked here: see [`Registry::verify`].
    ///
    /// # Errors
    /// As [`Registry::version_names`].
    pub fn versions(&self, model: &str) -> Result<Vec<ListedVersion>> {
        let folder = self.model_folder(model)?;
        let read = |version: String| {
            let manifest = Manifest::read(&folder.join(&version), &version);
            ListedVersion { version, manifest }
        };
        Ok(self.version_names(model)?.into_iter().map(read).collect())
    }

    fn known_version(&self, model: &str, version: &str) -> Result<PathBuf> {
        let folder = self.version_folder(model, version)?;
        if folder.is_dir() {
            return Ok(folder);
        }
        let known = self.version_names(model)?;
        let (name, place) = (version.into(), self.place(model));
        Err(ModelError::NotFound {
            what: "version",
            name,
            place,
            known,
        })
    }

    /// The manifest of a version, its digest checked against the version's name.
    ///
    /// # Errors
    /// [`ModelError::NotFound`], [`ModelError::Damaged`], [`ModelError::TooNew`],
    /// [`ModelError::TooOld`].
    pub fn manifest(&self, model: &str, version: &str) -> Result<Manifest> {
        Manifest::read(&self.known_version(model, version)?, version)
    }

    /// Loads a version and checks its digests, shapes and numbers, without replaying its golden
    /// requests: see [`Version::replay`].
    ///
    /// # Errors
    /// As [`Registry::manifest`].
    pub fn load(&self, model: &str, version: &str) -> Result<Version> {
        Version::open(&self.known_version(model, version)?, version)
    }

    /// Loads a version and replays its golden requests.
    ///
    /// # Errors
    /// As [`Registry::load`], and [`ModelError::GoldenMismatch`].
    pub fn verify(&self, model: &str, version: &str) -> Result<Version> {
        self.verify_with(model, version, &ItemChanges::default(), &[])
    }

    /// Loads a version, replays its golden requests, and gives items that came since and that it
    /// does not know a place. Its catalogue is shared with a version of `shared` that has the same.
    ///
    /// # Errors
    /// As [`Registry::verify`].
    pub fn verify_with(
        &self,
        model: &str,
        version: &str,
        changes: &ItemChanges,
        shared: &[&Version],
    ) -> Result<Version> {
        Version::verify(
            &self.known_version(model, version)?,
            version,
            changes,
            shared,
        )
    }
}

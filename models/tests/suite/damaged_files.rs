//! Every damage to the files of a version is refused before it is served.

use crate::common::algorithms::als;
use crate::common::empty_registry;
use crate::common::home_and_tools::fit_shop;
use aisle_models::{ModelError, Personal, Registry};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const FILES: [&str; 4] = [
    "manifest.json",
    "items.parquet",
    "users.parquet",
    "weights.safetensors",
];

/// A version in a registry of its own.
struct PublishedVersion {
    registry: Registry,
    name: String,
    /// Its folder.
    path: PathBuf,
    _registry_folder: TempDir,
}

impl PublishedVersion {
    fn new() -> Self {
        let (registry_folder, registry) = empty_registry();
        let mut version = fit_shop(Personal::Als(als()));
        let name = registry.publish("shop", &mut version).unwrap();
        Self {
            path: registry.version_folder("shop", &name).unwrap(),
            registry,
            name,
            _registry_folder: registry_folder,
        }
    }

    fn refusal(&self) -> Option<ModelError> {
        self.registry.verify("shop", &self.name).err()
    }

    /// Damages one file after the other, each while all others are whole. `damage` gets the path of
    /// the file and its bytes.
    fn damage_each_file(&self, damage: impl Fn(&str, &Path, &[u8])) {
        for file in FILES {
            let path = self.path.join(file);
            let whole = std::fs::read(&path).unwrap();
            damage(file, &path, &whole);
            std::fs::write(&path, &whole).unwrap();
        }
        let refusal = self.refusal();
        assert!(refusal.is_none(), "restored, but refused: {refusal:?}");
    }
}

#[test]
fn a_file_that_is_cut_is_refused() {
    let version = PublishedVersion::new();
    version.damage_each_file(|file, path, whole| {
        for cut in (0..whole.len()).step_by(whole.len() / 40 + 1) {
            std::fs::write(path, &whole[..cut]).unwrap();
            assert!(version.refusal().is_some(), "{file} cut at {cut}");
        }
    });
}

#[test]
fn a_file_with_a_flipped_bit_is_refused_as_damaged() {
    let version = PublishedVersion::new();
    version.damage_each_file(|file, path, whole| {
        for flip in 0..150usize {
            let mut bytes = whole.to_vec();
            let at = flip * 7919 % bytes.len();
            bytes[at] ^= 1 << (flip % 8);
            std::fs::write(path, &bytes).unwrap();
            let refusal = version.refusal();
            let is_damaged = matches!(refusal, Some(ModelError::Damaged { .. }));
            assert!(is_damaged, "{file} flipped at {at}: {refusal:?}");
        }
    });
}

#[test]
fn a_missing_file_is_refused() {
    let version = PublishedVersion::new();
    version.damage_each_file(|file, path, _| {
        std::fs::remove_file(path).unwrap();
        assert!(version.refusal().is_some(), "{file}");
    });
}

#[cfg(unix)]
#[test]
fn a_link_in_place_of_a_file_is_refused() {
    let version = PublishedVersion::new();
    version.damage_each_file(|file, path, _| {
        std::fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", path).unwrap();
        assert!(version.refusal().is_some(), "{file}");
        std::fs::remove_file(path).unwrap();
    });
}

/// The whole file is there, and only the kind of its entry is wrong.
#[cfg(unix)]
#[test]
fn a_link_to_the_whole_file_is_refused() {
    let version = PublishedVersion::new();
    version.damage_each_file(|file, path, _| {
        let elsewhere = version.path.with_extension("moved");
        std::fs::rename(path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, path).unwrap();
        assert!(version.refusal().is_some(), "{file}");
        std::fs::remove_file(path).unwrap();
    });
}

/// A golden request is answered from the models, whatever the manifest says was answered.
#[test]
fn a_version_that_answers_a_golden_request_differently_is_refused() {
    let mut version = fit_shop(Personal::Als(als()));
    let (_folder, registry) = empty_registry();
    registry.publish("shop", &mut version).unwrap();
    version.manifest.golden[0].expect.swap(0, 9);
    let refusal = version.replay().err();
    let is_mismatch = matches!(refusal, Some(ModelError::GoldenMismatch { .. }));
    assert!(is_mismatch, "{refusal:?}");
}

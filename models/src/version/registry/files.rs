//! What the registry does with files: names, locks, small JSON files and how a change of them is
//! noticed.

use crate::error::{ModelError, Result};
use aisle_data::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The file that writers of a folder lock.
pub(super) const LOCK: &str = ".lock";
/// Longest name of a model, version or alias, in bytes.
const LONGEST_NAME: usize = 64;
/// Bytes at the beginning of a file that its stamp holds: the counter of its changes is among them.
const HEAD_BYTES: u64 = 128;

/// What a file looked like: two stamps of a file are equal if it was not changed in between.
///
/// The time of modification alone does not tell, because the clock of a file system may stand still
/// for some milliseconds while the file is written twice. The head of each small file of a registry
/// holds a counter that every change increases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileStamp {
    modified: Option<SystemTime>,
    bytes: u64,
    head: Vec<u8>,
}

impl FileStamp {
    /// The stamp of a file; the default for one that does not exist.
    ///
    /// # Errors
    /// [`ModelError::Io`] if it exists and cannot be read.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(ModelError::io("cannot open", path)(error)),
        };
        let metadata = file
            .metadata()
            .map_err(ModelError::io("cannot read", path))?;
        let mut head = Vec::new();
        file.take(HEAD_BYTES)
            .read_to_end(&mut head)
            .map_err(ModelError::io("cannot read", path))?;
        Ok(Self {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            head,
        })
    }
}

/// Refuses names that could leave the registry or confuse a reader.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_short = (1..=LONGEST_NAME).contains(&name.len());
    if is_short && !name.starts_with('.') && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(ModelError::BadName {
        what,
        name: name.escape_default().take(80).collect(),
    })
}

/// Milliseconds since 1970.
pub(super) fn now_millis() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_millis() as i64)
}

/// Names of the folders in a folder that are not hidden, ascending; none if it does not exist.
pub(super) fn folder_names(folder: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ModelError::io("cannot list", folder)(error)),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    Ok(names)
}

/// Reads a small JSON file; one that does not exist is the default.
pub(super) fn read_or_default<T: Default + DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(ModelError::io("cannot read", path)(error)),
    };
    serde_json::from_slice(&text).map_err(|error| ModelError::Damaged {
        path: path.to_path_buf(),
        what: what.into(),
        found: error.to_string(),
        expected: format!(
            "the {what} that Aisle wrote; restore the file, or remove it and set them again"
        ),
    })
}

/// Replaces a small JSON file atomically; the caller holds the lock of its folder.
pub(super) fn replace(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| ModelError::Table {
        path: path.into(),
        detail: error.to_string(),
    })?;
    write_atomically(path, |temporary| {
        std::fs::write(temporary, text + "\n").map_err(ModelError::io("cannot write", temporary))
    })
}

/// An exclusive lock, held until the file is dropped.
pub(super) fn lock(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let file = options
        .open(path)
        .map_err(ModelError::io("cannot open", path))?;
    file.lock().map_err(ModelError::io("cannot lock", path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::live_catalog::ItemChanges;
    use crate::pipeline::rules::RuleSet;

    /// Writes twice with the same time of modification, as a coarse clock would have it.
    fn stamps<T: Serialize>(before: &T, after: &T) -> [FileStamp; 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.json");
        [before, after].map(|value| {
            replace(&path, value).unwrap();
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_modified(UNIX_EPOCH).unwrap();
            FileStamp::of(&path).unwrap()
        })
    }

    #[test]
    fn a_second_change_of_items_in_the_same_tick_is_noticed() {
        let changes = |epoch| ItemChanges {
            epoch,
            ..ItemChanges::default()
        };
        let [before, after] = stamps(&changes(1), &changes(2));
        assert_ne!(before, after);
        assert_eq!(before.bytes, after.bytes, "nothing but the counter differs");
    }

    #[test]
    fn a_second_change_of_rules_in_the_same_tick_is_noticed() {
        let book = |revision| super::super::rules::RuleBook {
            rules: RuleSet {
                revision,
                ..RuleSet::default()
            },
            previous: Vec::new(),
        };
        let [before, after] = stamps(&book(1), &book(2));
        assert_ne!(before, after);
    }

    #[test]
    fn a_file_that_does_not_exist_has_the_default_stamp() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            FileStamp::of(&folder.path().join("none")).unwrap(),
            FileStamp::default()
        );
    }

    #[test]
    fn names_that_could_leave_the_registry_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            ".hidden",
            "a b",
            "é",
            &"x".repeat(65),
        ] {
            assert!(check_name("model", name).is_err(), "{name}");
        }
        assert!(check_name("model", "shop-1.2_b").is_ok());
    }
}

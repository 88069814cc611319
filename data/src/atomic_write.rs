//! Replaces a file so that every reader, also after a crash, sees the old content or the new one
//! and nothing between.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A step of [`write_atomically`] that failed. The old content of the file is untouched.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}: {source}", path.display())]
pub struct AtomicWriteError {
    /// What was being done, for example "cannot rename".
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// A whole, synced file under a temporary name beside its target. If it is dropped before it is
/// published, it is removed.
#[derive(Debug)]
pub struct StagedFile {
    temporary: PathBuf,
    target: PathBuf,
    is_published: bool,
}

impl StagedFile {
    /// Fills a temporary file beside `target` by `write`, which gets its path, and syncs it.
    ///
    /// # Errors
    /// What `write` returns, or an [`AtomicWriteError`].
    pub fn write<E: From<AtomicWriteError>>(
        target: &Path,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut name = OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".partial-{}", std::process::id()));
        let staged = Self {
            temporary: target.with_file_name(name),
            target: target.to_path_buf(),
            is_published: false,
        };
        write(&staged.temporary)?;
        let sync = File::open(&staged.temporary).and_then(|file| file.sync_all());
        sync.map_err(failed("cannot sync", &staged.temporary))?;
        Ok(staged)
    }

    /// The path of the file before it is published.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Renames the file to its target, over what was there, syncs the folder, and returns the
    /// target.
    ///
    /// # Errors
    /// An [`AtomicWriteError`] if the file cannot be renamed or the folder cannot be synced.
    pub fn publish(mut self) -> Result<PathBuf, AtomicWriteError> {
        std::fs::rename(&self.temporary, &self.target)
            .map_err(failed("cannot replace", &self.target))?;
        self.is_published = true;
        sync_folder(self.target.parent().unwrap_or(Path::new("")))?;
        Ok(self.target.clone())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.is_published {
            // What went wrong before is told; a file that cannot be removed adds nothing to it.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a file by `write`, which gets a temporary path, and puts it in the place of `path`. If a
/// step fails, `path` stays as it was.
///
/// # Errors
/// What `write` returns, or an [`AtomicWriteError`].
pub fn write_atomically<E: From<AtomicWriteError>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    StagedFile::write(path, write)?.publish()?;
    Ok(())
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AtomicWriteError {
    let path = path.to_path_buf();
    move |source| AtomicWriteError {
        doing,
        path,
        source,
    }
}

/// Makes renames and removals in a folder survive a crash. An empty path is the current folder. A
/// file system that cannot sync folders is left as it is.
///
/// # Errors
/// An [`AtomicWriteError`] if the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<(), AtomicWriteError> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced.map_err(failed("cannot sync", folder)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, text: &str) -> Result<(), AtomicWriteError> {
        write_atomically(path, |temporary| {
            std::fs::write(temporary, text).unwrap();
            Ok(())
        })
    }

    #[test]
    fn the_new_content_takes_the_place_of_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        put(&path, "old").unwrap();
        put(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file stays"
        );
    }

    #[test]
    fn a_failed_write_leaves_the_old_content_and_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        put(&path, "old").unwrap();
        let failed = write_atomically(&path, |temporary| {
            std::fs::write(temporary, "half").unwrap();
            let source = io::Error::other("disk full");
            Err(AtomicWriteError {
                doing: "cannot write",
                path: temporary.into(),
                source,
            })
        });
        assert!(failed.unwrap_err().to_string().contains("disk full"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_in_the_place_of_the_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), "x").unwrap();
        assert!(
            put(&path, "new")
                .unwrap_err()
                .to_string()
                .contains("cannot replace")
        );
    }

    #[test]
    fn a_staged_file_that_is_not_published_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.json");
        let staged: Result<_, AtomicWriteError> = StagedFile::write(&target, |temporary| {
            std::fs::write(temporary, "whole").unwrap();
            Ok(())
        });
        let staged = staged.unwrap();
        assert_eq!(std::fs::read_to_string(staged.path()).unwrap(), "whole");
        assert!(!target.exists());
        drop(staged);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

//! Publishing: a version is written beside its place and renamed, so that it is whole or absent.

use crate::error::{ModelError, Result};
use crate::version::Version;
use crate::version::manifest::Manifest;
use crate::version::registry::Registry;
use crate::version::registry::files::{LOCK, lock, now_millis};
use aisle_data::{format_compact, sync_folder};
use std::fs::File;
use std::path::Path;

/// How the name of an unfinished version begins.
const TEMPORARY: &str = ".writing-";
/// Seconds that a writer may take between making its folder and locking it.
const GRACE_SECONDS: u64 = 2;

impl Registry {
    /// Writes a fitted version and returns its name: the time and the digest of its manifest. What
    /// writers that died have left behind is removed first.
    ///
    /// # Errors
    /// [`ModelError::Io`]; nothing of the version is then visible.
    pub fn publish(&self, model: &str, version: &mut Version) -> Result<String> {
        let folder = self.model_folder(model)?;
        std::fs::create_dir_all(&folder).map_err(ModelError::io("cannot create", &folder))?;
        remove_abandoned(&folder)?;
        version.manifest.model = model.into();
        let now = now_millis();
        let temporary = folder.join(format!("{TEMPORARY}{}-{now}", std::process::id()));
        std::fs::create_dir(&temporary).map_err(ModelError::io("cannot create", &temporary))?;
        // This process holds the lock while it lives; whoever finds it free may remove the folder.
        let guard = lock(&temporary.join(LOCK))?;
        let published = write_and_rename(version, &temporary, &folder, now);
        drop(guard);
        match published {
            Ok(name) => {
                version.name.clone_from(&name);
                Ok(name)
            }
            Err(error) => {
                // A full disk must not stay full because of us; the first error is the one to tell.
                let _ = std::fs::remove_dir_all(&temporary);
                Err(error)
            }
        }
    }
}

fn write_and_rename(
    version: &mut Version,
    temporary: &Path,
    folder: &Path,
    now: i64,
) -> Result<String> {
    version.write(temporary)?;
    let name = format!("{}-{}", format_compact(now), Manifest::digest(temporary)?);
    std::fs::remove_file(temporary.join(LOCK))
        .map_err(ModelError::io("cannot remove", temporary))?;
    sync_folder(temporary)?;
    let target = folder.join(&name);
    std::fs::rename(temporary, &target).map_err(ModelError::io("cannot publish to", &target))?;
    sync_folder(folder)?;
    Ok(name)
}

/// Removes the unfinished folders of writers that no longer live.
fn remove_abandoned(folder: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(ModelError::io("cannot list", folder))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let is_unfinished = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        let modified = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok();
        let age = modified.and_then(|time| time.elapsed().ok());
        let is_past_grace = age.is_some_and(|age| age.as_secs() >= GRACE_SECONDS);
        if !is_unfinished || !is_past_grace {
            continue;
        }
        let is_abandoned = match File::open(path.join(LOCK)) {
            Ok(file) => file.try_lock().is_ok(),
            Err(_) => true,
        };
        if is_abandoned {
            std::fs::remove_dir_all(&path).map_err(ModelError::io("cannot remove", &path))?;
        }
    }
    Ok(())
}

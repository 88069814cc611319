//! Loads versions: admits them by the memory that is free, verifies and warms them, and gives them
//! the items that came after they were fitted.
//!
//! Nothing here holds the lock of the state while a version is read.

use crate::error::ServeError;
use crate::versions::item_cache::ItemCache;
use crate::versions::served_version::{Overlay, ServedVersion};
use crate::versions::state::Versions;
use aisle_data::{NewItem, memory_available};
use aisle_models::{ItemChanges, Version};
use metrics::{counter, gauge};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How long a refusal stands before the follower tries again: a disk may come back.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// How long a version serves at least before it is loaded anew with new items, so that items that
/// trickle in are added together.
const NEW_ITEMS_INTERVAL: Duration = Duration::from_secs(5);

/// The new items that a version was not fitted with.
fn unfitted_items<'a>(
    version: &'a Version,
    changes: &'a ItemChanges,
) -> impl Iterator<Item = (&'a String, &'a NewItem)> {
    let new = changes.new.iter();
    new.filter(|(id, _)| !version.models.is_fitted(id))
}

impl Versions {
    /// Whether a version is in memory, so that [`Versions::load`] returns at once.
    pub fn is_loaded(&self, name: &str) -> bool {
        self.in_memory(&self.state(), name).is_some()
    }

    /// Returns a version, which is loaded now if it is not in memory. Blocking; call it on the
    /// loading pool if the version is not loaded. A refusal of before does not count.
    ///
    /// # Errors
    /// Why the version is refused.
    pub fn load(&self, name: &str) -> Result<Arc<ServedVersion>, ServeError> {
        let model = self.model()?;
        // A name that does not exist is its caller's mistake, and no version to refuse.
        self.registry.manifest(&model, name)?;
        let in_memory = self.in_memory(&self.state(), name);
        match in_memory {
            Some(version) => Ok(version),
            None => self.load_for_service(&model, name),
        }
    }

    /// Loads a version for the next change of the routes, or remembers why it is refused.
    pub(super) fn load_for_service(
        &self,
        model: &str,
        name: &str,
    ) -> Result<Arc<ServedVersion>, ServeError> {
        let verified = self.verify(model, name);
        match &verified {
            Ok(version) => {
                self.keep(version);
                let milliseconds = version.load_began().elapsed().as_millis() as u64;
                let golden = version.version().manifest.golden.len();
                info!(version = name, milliseconds, golden, "verified and warmed");
                counter!("aisle_version_loads_total", "result" => "ready").increment(1);
            }
            Err(error) => self.state().refuse(name, error),
        }
        verified
    }

    /// Keeps a loaded version for the next change of the routes, with prices, stock and rules as
    /// they are now.
    fn keep(&self, version: &Arc<ServedVersion>) {
        let mut state = self.state();
        version.apply_overlay(&state.overlay);
        state.refused.remove(version.name());
        state.loaded.push(version.clone());
    }

    /// Reads and verifies a version with the new items; without them if that fails.
    pub(super) fn verify(&self, model: &str, name: &str) -> Result<Arc<ServedVersion>, ServeError> {
        let overlay = self.state().overlay.clone();
        let has_new_items = !overlay.item_changes.new.is_empty();
        match self.verify_with(model, name, &overlay.item_changes, &overlay) {
            Err(error) if has_new_items => {
                let version = self.verify_with(model, name, &ItemChanges::default(), &overlay)?;
                self.note_new_items_failed(name, &error);
                Ok(version)
            }
            verified => verified,
        }
    }

    /// Reads and verifies a version with the new items of `changes`, and warms it. Its golden
    /// requests are replayed, which is a part of warming it.
    fn verify_with(
        &self,
        model: &str,
        name: &str,
        changes: &ItemChanges,
        overlay: &Overlay,
    ) -> Result<Arc<ServedVersion>, ServeError> {
        let load_began = Instant::now();
        let needed = self.registry.manifest(model, name)?.memory_bytes;
        check_memory(name, needed)?;
        let routes = self.router.routes();
        let in_service = || routes.by_version.values();
        let shared: Vec<&Version> = in_service().map(|served| served.version()).collect();
        let version = self.registry.verify_with(model, name, changes, &shared)?;
        version.models.warm();
        let same_catalog = |served: &&Arc<ServedVersion>| {
            Arc::ptr_eq(&served.models().catalog, &version.models.catalog)
        };
        let item_cache = match in_service().find(same_catalog) {
            Some(served) => served.item_cache().clone(),
            None => Arc::new(ItemCache::new(&version.models)),
        };
        let new_items = unfitted_items(&version, changes)
            .map(|(id, item)| (id.clone(), item.clone()))
            .collect();
        let served = ServedVersion::new(version, item_cache, new_items, overlay, load_began);
        Ok(Arc::new(served))
    }

    /// Loads a version anew with the new items that came since it was loaded, if there are any.
    pub(super) fn add_new_items(&self, model: &str, version: &ServedVersion) {
        let name = version.name();
        let (overlay, failed_at) = {
            let state = self.state();
            let failed_at = state.new_items_failed.get(name).copied();
            (state.overlay.clone(), failed_at)
        };
        let changes = &overlay.item_changes;
        if failed_at.is_some_and(|at| at.elapsed() < RETRY_INTERVAL)
            || version.load_ended().elapsed() < NEW_ITEMS_INTERVAL
            || unfitted_items(version.version(), changes).eq(version.new_items())
        {
            return;
        }
        match self.verify_with(model, name, changes, &overlay) {
            Ok(version) => {
                self.keep(&version);
                self.state().new_items_failed.remove(name);
                let items = version.new_items().len();
                let milliseconds = version.load_began().elapsed().as_millis() as u64;
                info!(version = name, items, milliseconds, "new items were added");
                gauge!("aisle_new_items", "version" => name.to_string()).set(items as f64);
            }
            Err(error) => self.note_new_items_failed(name, &error),
        }
    }

    fn note_new_items_failed(&self, version: &str, error: &ServeError) {
        warn!(version, %error, "new items cannot be added yet; the version serves without them");
        let mut state = self.state();
        state
            .new_items_failed
            .insert(version.into(), Instant::now());
    }
}

/// Refuses a version that needs more memory than the system can give without swapping.
fn check_memory(version: &str, needed: u64) -> Result<(), ServeError> {
    match memory_available() {
        Some(free) if needed > free => Err(ServeError::NoMemory {
            version: version.into(),
            needed: needed >> 20,
            free: free >> 20,
        }),
        _ => Ok(()),
    }
}

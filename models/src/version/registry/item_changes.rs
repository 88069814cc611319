//! Prices, stock and new items that changed since the versions were made.

use crate::error::Result;
use crate::pipeline::live_catalog::{ItemChanges, ItemUpdates};
use crate::version::registry::Registry;
use crate::version::registry::files::{FileStamp, LOCK, lock, read_or_default, replace};

const ITEMS: &str = "items.json";

impl Registry {
    /// The changes in force; none for a model that has none yet.
    ///
    /// # Errors
    /// [`crate::ModelError::Io`], [`crate::ModelError::Damaged`].
    pub fn item_changes(&self, model: &str) -> Result<ItemChanges> {
        read_or_default(&self.model_folder(model)?.join(ITEMS), "changes of items")
    }

    /// What the file of changes looks like now: it differs after every change.
    ///
    /// # Errors
    /// [`crate::ModelError::Io`].
    pub fn item_changes_stamp(&self, model: &str) -> Result<FileStamp> {
        FileStamp::of(&self.model_folder(model)?.join(ITEMS))
    }

    /// Adds an update to the changes in force. All servers of the registry see it at their next
    /// look.
    ///
    /// # Errors
    /// [`crate::ModelError::Io`]; nothing has then changed.
    pub fn change_items(&self, model: &str, updates: ItemUpdates) -> Result<ItemChanges> {
        let folder = self.model_folder(model)?;
        let _guard = lock(&folder.join(LOCK))?;
        let mut changes = self.item_changes(model)?;
        changes.add(updates);
        replace(&folder.join(ITEMS), &changes)?;
        Ok(changes)
    }
}

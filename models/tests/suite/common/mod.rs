//! What the integration tests share: small data sets, hyperparameters that fit fast, and versions
//! that answer as a server would.

pub mod algorithms;
pub mod branded_shop;
pub mod category_shop;
pub mod home_and_tools;
pub mod logs;
pub mod served;

use aisle_data::{Catalog, Dataset, EventLog, Labels, ReadReport};
use aisle_models::{Registry, Version};
use tempfile::TempDir;

/// A data set of a log, a catalogue and columns of a users file, as if it had been read from files
/// without a fault.
pub fn dataset(log: EventLog, catalog: Catalog, user_attributes: Vec<(String, Labels)>) -> Dataset {
    Dataset {
        log,
        catalog,
        user_attributes,
        report: ReadReport::default(),
        items_report: None,
        inputs: Vec::new(),
    }
}

/// An empty registry in a folder that is removed when the [`TempDir`] is dropped.
pub fn empty_registry() -> (TempDir, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    (folder, registry)
}

/// Publishes a version as `shop` and loads it again with all checks: what a server would serve.
pub fn written_and_loaded(version: &mut Version) -> Version {
    let (_folder, registry) = empty_registry();
    let name = registry.publish("shop", version).unwrap();
    registry.verify("shop", &name).unwrap()
}

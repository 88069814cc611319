//! A version in memory, with the prices, stock and rules that are laid over it.

use crate::versions::item_cache::ItemCache;
use aisle_data::NewItem;
use aisle_models::{FittedModels, ItemChanges, LiveState, RuleSet, Version};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tracing::warn;

/// A version that requests can be answered by.
pub struct ServedVersion {
    /// The verified version.
    version: Version,
    /// The encoded fields of its items.
    item_cache: Arc<ItemCache>,
    /// Prices, stock and rules; replaced as a whole.
    live: ArcSwap<LiveState>,
    /// The items that it knows only by their content, because they came after it was fitted.
    new_items: BTreeMap<String, NewItem>,
    /// When its load began: changes of items up to then are in it.
    load_began: Instant,
    /// When its load ended.
    load_ended: Instant,
}

/// The changes of items and the rules in force, which apply to every version.
#[derive(Clone, Default)]
pub(super) struct Overlay {
    pub item_changes: Arc<ItemChanges>,
    pub rules: Arc<RuleSet>,
}

impl ServedVersion {
    /// Takes over a version that was verified and warmed, and lays an overlay over it. `new_items`
    /// are those it was loaded with.
    pub(super) fn new(
        version: Version,
        item_cache: Arc<ItemCache>,
        new_items: BTreeMap<String, NewItem>,
        overlay: &Overlay,
        load_began: Instant,
    ) -> Self {
        let live = LiveState::new(&version.models, &overlay.item_changes, &overlay.rules);
        let served = Self {
            version,
            item_cache,
            live: ArcSwap::from_pointee(live),
            new_items,
            load_began,
            load_ended: Instant::now(),
        };
        served.warn_of_unknown_fields(&overlay.rules);
        served
    }

    /// The name of the version in the registry.
    pub fn name(&self) -> &str {
        &self.version.name
    }

    /// The version as it was loaded.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The models that answers are made from.
    pub fn models(&self) -> &FittedModels {
        &self.version.models
    }

    /// The encoded fields of its items.
    pub fn item_cache(&self) -> &Arc<ItemCache> {
        &self.item_cache
    }

    /// Prices, stock and rules as they are now. A request loads them once and uses the same
    /// throughout.
    pub fn live(&self) -> Arc<LiveState> {
        self.live.load_full()
    }

    /// The items that it knows only by their content.
    pub(super) fn new_items(&self) -> &BTreeMap<String, NewItem> {
        &self.new_items
    }

    pub(super) fn load_began(&self) -> Instant {
        self.load_began
    }

    pub(super) fn load_ended(&self) -> Instant {
        self.load_ended
    }

    /// Lays an overlay over the version, if it is not there yet. Callers hold the lock of the
    /// follower's state, so that an older overlay never replaces a newer one.
    /// O(items + changes + conditions · items).
    pub(super) fn apply_overlay(&self, overlay: &Overlay) {
        let live = self.live.load();
        let models = self.models();
        let has_item_changes = live.catalog.epoch == overlay.item_changes.epoch;
        let has_rules = Arc::ptr_eq(live.rules.set(), &overlay.rules);
        let next = match (has_item_changes, has_rules) {
            (true, true) => return,
            (false, true) => live.with_item_changes(models, &overlay.item_changes),
            (true, false) => live.with_rules(models, &overlay.rules),
            (false, false) => LiveState::new(models, &overlay.item_changes, &overlay.rules),
        };
        self.live.store(Arc::new(next));
        if !has_rules {
            self.warn_of_unknown_fields(&overlay.rules);
        }
    }

    fn warn_of_unknown_fields(&self, rules: &RuleSet) {
        let models = self.models();
        let items = aisle_models::item_fields(models);
        let requests = aisle_models::request_fields(models);
        if let Err(error) = rules.check(&items, &requests) {
            let version = self.name();
            warn!(%error, version, "fields that this version does not know count as absent");
        }
    }
}

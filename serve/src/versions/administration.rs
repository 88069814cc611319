//! The changes that clients ask for: which versions serve, the items of the shop, and the rules.
//!
//! All of it blocks on the registry's files. Writing a file and applying it here are one step under
//! the lock for items and rules; for aliases the file itself decides, which is read under the lock.

use crate::error::ServeError;
use crate::versions::state::{VersionState, Versions};
use aisle_models::{Aliases, ItemChanges, ItemUpdates, Rule, RuleSet};
use std::sync::Arc;

/// The most items that came after the versions in service were fitted. Beyond that a new version is
/// due.
const MAX_NEW_ITEMS: usize = 10_000;

/// What [`Versions::change_items`] changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedItems {
    /// Ids of the update that no version in service knows and that are not new items either.
    pub unknown: Vec<String>,
    /// For how many items a change is in force.
    pub in_force: usize,
}

impl Versions {
    /// Lets requests name a version, which takes the place of the one before. Short if the version
    /// is loaded.
    ///
    /// # Errors
    /// Why the version is refused.
    pub fn load_version(&self, name: &str) -> Result<(), ServeError> {
        let _loaded = self.load(name)?;
        self.state().requested = Some(name.into());
        self.apply_aliases()
    }

    /// Points an alias at a version and serves it before returning. Short if the version is loaded.
    ///
    /// # Errors
    /// Why the version is refused; the alias then stays. [`ServeError::NotServed`] if the alias
    /// moved and this server cannot follow it.
    pub fn set_alias(&self, alias: &str, version: &str) -> Result<Aliases, ServeError> {
        let verified = self.load(version)?;
        let model = self.model()?;
        let aliases = self.registry.point(&model, alias, verified.version())?;
        self.serve_alias(alias, aliases)
    }

    /// Points an alias back and serves that version before returning. Short if what
    /// [`Versions::earlier_version`] names is loaded.
    ///
    /// # Errors
    /// [`aisle_models::ModelError::NoEarlierVersion`], or why the earlier version is refused; the
    /// alias then stays. [`ServeError::NotServed`] if the alias moved and this server cannot follow
    /// it.
    pub fn rollback(&self, alias: &str) -> Result<Aliases, ServeError> {
        let verified = self.load(&self.earlier_version(alias)?)?;
        let model = self.model()?;
        let aliases = self
            .registry
            .point_back(&model, alias, verified.version())?;
        self.serve_alias(alias, aliases)
    }

    /// The version that an alias pointed at before.
    ///
    /// # Errors
    /// [`aisle_models::ModelError::NoEarlierVersion`].
    pub fn earlier_version(&self, alias: &str) -> Result<String, ServeError> {
        Ok(self.registry.earlier(&self.model()?, alias)?)
    }

    /// Serves the version that an alias was just pointed at.
    fn serve_alias(&self, alias: &str, aliases: Aliases) -> Result<Aliases, ServeError> {
        let target = aliases.aliases.get(alias);
        let version = target.map_or_else(String::new, |target| target.version.clone());
        let served = self.load(&version).and_then(|_| self.apply_aliases());
        match served {
            Ok(()) => Ok(aliases),
            Err(error) => Err(ServeError::NotServed {
                alias: alias.into(),
                version,
                why: error.to_string(),
            }),
        }
    }

    /// The state of a version on this server.
    pub fn version_state(&self, version: &str) -> VersionState {
        if self.router.routes().by_version.contains_key(version) {
            return VersionState::Ready;
        }
        match self.state().refused.get(version) {
            Some(refused) => VersionState::Failed(refused.reason.clone()),
            None => VersionState::Discovered,
        }
    }

    /// The rules in force: those of the config, then those of the registry.
    pub fn rules(&self) -> Arc<RuleSet> {
        self.state().overlay.rules.clone()
    }

    /// Replaces the registry's rules. On this server they are in force before this returns.
    /// `expected_revision` is the revision that they were made from; 0 means any.
    ///
    /// # Errors
    /// What is wrong with a rule for the version in service, [`ServeError::NotReady`] without one,
    /// or if the registry cannot be written; nothing has then changed.
    pub fn set_rules(
        &self,
        rules: Vec<Rule>,
        expected_revision: u64,
    ) -> Result<Arc<RuleSet>, ServeError> {
        self.check_rules(&rules)?;
        self.change_rules(|versions, model| {
            let registry = &versions.registry;
            Ok(registry.set_rules(model, rules, expected_revision)?)
        })
    }

    /// Brings back the registry's rules before the last change. On this server they are in force
    /// before this returns.
    ///
    /// # Errors
    /// [`aisle_models::ModelError::NoEarlierRules`], or if the registry cannot be written; nothing
    /// has then changed.
    pub fn rollback_rules(&self) -> Result<Arc<RuleSet>, ServeError> {
        self.change_rules(|versions, model| Ok(versions.registry.rollback_rules(model)?))
    }

    /// Checks rules against the items and shoppers that the version in service knows.
    fn check_rules(&self, rules: &[Rule]) -> Result<(), ServeError> {
        let routes = self.router.routes();
        let serving = routes.by_alias.get(self.router.alias());
        let Some(version) = serving.or_else(|| routes.by_version.values().next()) else {
            let why = "rules are checked against the catalogue of a version, and none is in \
                       service";
            return Err(ServeError::NotReady {
                why: why.into(),
                alias: self.router.alias().into(),
            });
        };
        let set = RuleSet {
            revision: 0,
            rules: rules.to_vec(),
        };
        let items = aisle_models::item_fields(version.models());
        let requests = aisle_models::request_fields(version.models());
        Ok(set.check(&items, &requests)?)
    }

    /// Changes the registry's rules and applies them here, as one step under the lock: of two
    /// changes the later one stays in force.
    fn change_rules(
        &self,
        change: impl FnOnce(&Self, &str) -> Result<RuleSet, ServeError>,
    ) -> Result<Arc<RuleSet>, ServeError> {
        let model = self.model()?;
        let mut state = self.state();
        let set = change(self, &model)?;
        let rules = Arc::new(self.config_rules.with(&set));
        state.overlay.rules = rules.clone();
        self.apply_overlay(&state);
        Ok(rules)
    }

    /// Changes prices and stock for every version, and adds new items. Prices and stock are in
    /// force here before this returns; new items are added by the follower.
    ///
    /// # Errors
    /// [`ServeError::TooManyNewItems`], or if the registry cannot be written; nothing has then
    /// changed.
    pub fn change_items(&self, updates: ItemUpdates) -> Result<ChangedItems, ServeError> {
        let model = self.model()?;
        let ids: Vec<String> = updates.items.keys().cloned().collect();
        let mut state = self.state();
        let updates = self.without_fitted_items(updates, &state.overlay.item_changes)?;
        let changes = self.registry.change_items(&model, updates)?;
        let routes = self.router.routes();
        let is_known = |id: &String| {
            let mut versions = routes.by_version.values();
            versions.any(|version| version.models().items.get(id).is_some())
        };
        let unknown = ids
            .into_iter()
            .filter(|id| !is_known(id) && !changes.new.contains_key(id))
            .collect();
        let in_force = changes.items.len();
        state.overlay.item_changes = Arc::new(changes);
        self.apply_overlay(&state);
        Ok(ChangedItems { unknown, in_force })
    }

    /// Leaves out new items that every version in service was fitted with, and checks that there
    /// are not too many others beside those in force.
    fn without_fitted_items(
        &self,
        mut updates: ItemUpdates,
        in_force: &ItemChanges,
    ) -> Result<ItemUpdates, ServeError> {
        let routes = self.router.routes();
        let is_fitted = |id: &String| {
            let mut versions = routes.by_version.values();
            !routes.by_version.is_empty() && versions.all(|version| version.models().is_fitted(id))
        };
        updates.new.retain(|id, _| !is_fitted(id));
        let fitted: Vec<String> = in_force
            .new
            .keys()
            .filter(|id| is_fitted(id))
            .cloned()
            .collect();
        let unfitted = in_force.new.len() - fitted.len();
        // Items that every version knows by now are kept for a rollback to an older version, as
        // long as there is room.
        if in_force.new.len() + updates.new.len() > MAX_NEW_ITEMS {
            updates.learned = fitted;
        }
        let is_added = |id: &&String| !in_force.new.contains_key(*id);
        let found = unfitted + updates.new.keys().filter(is_added).count();
        if found > MAX_NEW_ITEMS && found > unfitted {
            return Err(ServeError::TooManyNewItems {
                found,
                most: MAX_NEW_ITEMS,
            });
        }
        Ok(updates)
    }

    /// The ISO 4217 code of the currency that an item is priced in: the one that it came with, or
    /// that of a version in service; `None` if neither is known.
    pub fn currency_of(&self, id: &str) -> Option<String> {
        let new_item_currency = {
            let state = self.state();
            let item = state.overlay.item_changes.new.get(id);
            item.and_then(|item| item.currency.clone())
        };
        if new_item_currency.is_some() {
            return new_item_currency;
        }
        let routes = self.router.routes();
        routes.by_version.values().rev().find_map(|version| {
            let models = version.models();
            let item = models.items.get(id)?;
            models.catalog.currency.get(item).map(str::to_string)
        })
    }
}

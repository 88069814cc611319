//! The versions of one model on this server: the routes that requests see, and the one state, under
//! one lock, that follows the registry.
//!
//! Nothing holds the lock while it loads a version, so no change that a client asks for waits for a
//! load. Who reads a file of the registry and acts on it holds the lock throughout, or checks under
//! the lock that the file is still the same: so a slow reader never undoes the work of a quick one.

use crate::error::ServeError;
use crate::versions::routes::Router;
use crate::versions::served_version::{Overlay, ServedVersion};
use crate::versions::traffic::TrafficSplit;
use aisle_models::{FileStamp, Registry, RuleSet};
use metrics::counter;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use tracing::warn;

/// The versions of one model: those in service, and what the registry says of them.
pub struct Versions {
    pub(super) registry: Registry,
    pub(super) router: Router,
    /// The rules of the server's config, which come before those of the registry.
    pub(super) config_rules: RuleSet,
    /// The model's name, once it is known.
    model: OnceLock<String>,
    state: Mutex<FollowerState>,
}

/// Which versions to serve.
pub struct VersionsConfig {
    /// The registry that holds them.
    pub registry: Registry,
    /// The model's name; `None` means the only model of the registry.
    pub model: Option<String>,
    /// The alias that the server follows.
    pub alias: String,
    /// The shares of traffic of aliases.
    pub split: TrafficSplit,
    /// Rules that always apply.
    pub rules: RuleSet,
}

/// The state of a version on this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// It is in the registry and not in service here.
    Discovered,
    /// It is in service.
    Ready,
    /// It was refused, with the reason.
    Failed(String),
}

/// What the follower knows of the registry, and the versions in memory that requests do not see.
#[derive(Default)]
pub(super) struct FollowerState {
    /// The names of all versions at the last look; `None` before the first.
    pub known_versions: Option<BTreeSet<String>>,
    /// The versions that were refused, by name.
    pub refused: BTreeMap<String, RefusedVersion>,
    /// The version that each alias points at in the registry.
    pub alias_targets: BTreeMap<String, String>,
    /// The version that a client loaded by name, which stays in service without an alias.
    pub requested: Option<String>,
    /// Versions that are loaded and not in service yet.
    pub loaded: Vec<Arc<ServedVersion>>,
    /// Versions that left service; requests that started before may still use them.
    pub retired: Vec<Arc<ServedVersion>>,
    /// The changes of items and the rules in force.
    pub overlay: Overlay,
    /// The stamp of the item changes that were read last.
    pub item_changes_stamp: FileStamp,
    /// The stamp of the rules that were read last.
    pub rules_stamp: FileStamp,
    /// Versions that could not be loaded with new items, and when that was tried last.
    pub new_items_failed: BTreeMap<String, Instant>,
    /// The last error of each part of the registry, so that it is logged once.
    errors: BTreeMap<RegistryPart, String>,
}

/// Why a version was refused.
#[derive(Clone, Debug)]
pub(super) struct RefusedVersion {
    pub reason: String,
    pub at: Instant,
}

/// A part of the registry that can fail by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RegistryPart {
    ItemChangesAndRules,
    Versions,
    Aliases,
}

/// Locks a mutex. A panic of another holder leaves a state that the next look at the registry
/// brings up to date, so it does not matter here.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Versions {
    /// Returns a server's versions before the registry was read: nothing is in service yet.
    pub fn new(config: VersionsConfig) -> Self {
        let model = OnceLock::new();
        if let Some(name) = config.model {
            let _ = model.set(name);
        }
        let overlay = Overlay {
            rules: Arc::new(config.rules.clone()),
            ..Overlay::default()
        };
        Self {
            registry: config.registry,
            router: Router::new(config.alias, config.split),
            config_rules: config.rules,
            model,
            state: Mutex::new(FollowerState {
                overlay,
                ..FollowerState::default()
            }),
        }
    }

    /// Leads requests to versions.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn state(&self) -> MutexGuard<'_, FollowerState> {
        lock(&self.state)
    }

    /// The model's name. Blocking, because it may read the registry.
    ///
    /// # Errors
    /// [`ServeError::NotReady`] while the registry holds no model, or several and the config names
    /// none of them.
    pub fn model(&self) -> Result<String, ServeError> {
        if let Some(model) = self.model.get() {
            return Ok(model.clone());
        }
        let mut models = self.registry.models()?;
        let why = match models.len() {
            1 => return Ok(self.model.get_or_init(|| models.remove(0)).clone()),
            0 => {
                let root = self.registry.root().display();
                format!("the registry {root} holds no model")
            }
            _ => format!(
                "the registry holds {}: choose one with --model",
                models.join(", ")
            ),
        };
        Err(ServeError::NotReady {
            why,
            alias: self.router.alias().into(),
        })
    }

    /// Returns the name of the model served, if a client's name for it is right or empty. Blocking,
    /// because it may read the registry.
    ///
    /// # Errors
    /// [`ServeError::UnknownModel`], and those of [`Versions::model`].
    pub fn resolve_model(&self, requested: &str) -> Result<String, ServeError> {
        let served = self.model()?;
        check_model(requested, &served)?;
        Ok(served)
    }

    /// Checks a client's name for the model without reading the registry.
    ///
    /// # Errors
    /// [`ServeError::UnknownModel`], and [`ServeError::NotReady`] while no model is known.
    pub fn check_model(&self, requested: &str) -> Result<(), ServeError> {
        if requested.is_empty() {
            return Ok(());
        }
        match self.model.get() {
            Some(served) => check_model(requested, served),
            None => Err(self.router.not_ready_error()),
        }
    }

    /// The version of a name in memory, in service or not: of several the one that was loaded last.
    pub(super) fn in_memory(
        &self,
        state: &FollowerState,
        name: &str,
    ) -> Option<Arc<ServedVersion>> {
        let serving = self.router.routes().by_version.get(name).cloned();
        let loaded = state.loaded.iter();
        let loaded = loaded.filter(|version| version.name() == name).cloned();
        serving
            .into_iter()
            .chain(loaded)
            .max_by_key(|version| version.load_began())
    }
}

fn check_model(requested: &str, served: &str) -> Result<(), ServeError> {
    if requested.is_empty() || requested == served {
        return Ok(());
    }
    Err(ServeError::UnknownModel {
        requested: requested.into(),
        served: served.into(),
    })
}

impl FollowerState {
    /// Logs an error of a part of the registry once, and forgets it when the part works again.
    pub fn note_outcome(&mut self, part: RegistryPart, outcome: &Result<(), ServeError>) {
        let Err(error) = outcome else {
            self.errors.remove(&part);
            return;
        };
        let error = error.to_string();
        if self.errors.get(&part) != Some(&error) {
            warn!(%error, ?part, "the registry cannot be followed; what is in service stays");
            counter!("aisle_registry_errors_total").increment(1);
            self.errors.insert(part, error);
        }
    }

    /// Remembers that a version was refused, and logs it if the reason is new.
    pub fn refuse(&mut self, version: &str, error: &ServeError) {
        let reason = error.to_string();
        let known = self.refused.get(version);
        if known.is_none_or(|refused| refused.reason != reason) {
            warn!(
                version,
                reason, "version refused; what served before keeps serving"
            );
            counter!("aisle_version_loads_total", "result" => "refused").increment(1);
        }
        let at = Instant::now();
        self.refused
            .insert(version.into(), RefusedVersion { reason, at });
    }
}

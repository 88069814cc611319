//! Follows the registry: reads what others changed, and puts in service what the aliases point at.

use crate::error::ServeError;
use crate::versions::loader::RETRY_INTERVAL;
use crate::versions::loading_pool::LoadingPool;
use crate::versions::routes::Routes;
use crate::versions::served_version::ServedVersion;
use crate::versions::state::{FollowerState, RegistryPart, Versions};
use metrics::{counter, gauge};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tracing::info;

/// How long a loaded version that nothing points at is kept: a client may be about to point an
/// alias at it.
const KEEP_LOADED: Duration = Duration::from_secs(10);

/// Reads item changes and rules of others at every interval. It has no end and does not wait for
/// loads.
pub async fn follow_changes(versions: Arc<Versions>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let versions = versions.clone();
        log_panic(spawn_blocking(move || versions.read_changes_and_rules()).await);
    }
}

/// Loads and serves what the aliases point at, at every interval, and tells `ready` whether the
/// alias that the server follows leads to a version. It has no end.
pub async fn follow_aliases(
    versions: Arc<Versions>,
    pool: Arc<LoadingPool>,
    interval: Duration,
    ready: watch::Sender<bool>,
) {
    let freeing = Arc::new(Semaphore::new(1));
    loop {
        tokio::time::sleep(interval).await;
        log_panic(apply_aliases(&versions).await);
        let loading = versions.clone();
        log_panic(pool.run(move || loading.load_missing()).await);
        log_panic(apply_aliases(&versions).await);
        ready.send_if_modified(|ready| {
            let before = std::mem::replace(ready, versions.router.is_ready());
            before != *ready
        });
        // Nobody waits for memory to be freed, so the next round does not either.
        if versions.has_retired()
            && let Ok(turn) = freeing.clone().try_acquire_owned()
        {
            let (versions, pool) = (versions.clone(), pool.clone());
            tokio::spawn(async move {
                log_panic(pool.run(move || versions.free_retired()).await);
                drop(turn);
            });
        }
    }
}

async fn apply_aliases(versions: &Arc<Versions>) -> Result<(), tokio::task::JoinError> {
    let versions = versions.clone();
    // Why it failed is logged and kept in the state.
    spawn_blocking(move || drop(versions.apply_aliases())).await
}

/// Logs a panic of one round, which must not end the following.
fn log_panic<E: Display>(outcome: Result<(), E>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "looking at the registry failed");
    }
}

impl Versions {
    /// Brings the versions in service in line with the registry. Blocking: it loads versions. What
    /// fails is logged once, and changes nothing in service.
    pub fn refresh(&self) {
        self.read_changes_and_rules();
        self.load_missing();
        let _ = self.apply_aliases();
    }

    /// Reads item changes and rules if others changed them. Blocking, but short.
    fn read_changes_and_rules(&self) {
        let outcome = self
            .model()
            .and_then(|model| self.read_item_changes(&model).and(self.read_rules(&model)));
        self.state()
            .note_outcome(RegistryPart::ItemChangesAndRules, &outcome);
    }

    fn read_item_changes(&self, model: &str) -> Result<(), ServeError> {
        let stamp = self.registry.item_changes_stamp(model)?;
        if self.state().item_changes_stamp == stamp {
            return Ok(());
        }
        // The file is read before the lock is taken, for which a client's change may wait.
        let changes = Arc::new(self.registry.item_changes(model)?);
        let mut state = self.state();
        if self.registry.item_changes_stamp(model)? != stamp {
            return Ok(());
        }
        state.item_changes_stamp = stamp;
        // They may be this server's own.
        if state.overlay.item_changes.epoch != changes.epoch {
            state.overlay.item_changes = changes;
            self.apply_overlay(&state);
        }
        Ok(())
    }

    fn read_rules(&self, model: &str) -> Result<(), ServeError> {
        let stamp = self.registry.rules_stamp(model)?;
        if self.state().rules_stamp == stamp {
            return Ok(());
        }
        let rules = Arc::new(self.config_rules.with(&self.registry.rules(model)?));
        let mut state = self.state();
        if self.registry.rules_stamp(model)? != stamp {
            return Ok(());
        }
        state.rules_stamp = stamp;
        if state.overlay.rules != rules {
            let (revision, count) = (rules.revision, rules.rules.len());
            info!(revision, rules = count, "new rules");
            state.overlay.rules = rules;
            self.apply_overlay(&state);
        }
        Ok(())
    }

    /// Lays the item changes and rules in force over every version in service.
    pub(super) fn apply_overlay(&self, state: &FollowerState) {
        for version in self.router.routes().by_version.values() {
            version.apply_overlay(&state.overlay);
        }
    }

    /// Loads what the registry asks for and is not in memory, adds new items to what is, and
    /// verifies what was published. Blocking for as long as loads take.
    fn load_missing(&self) {
        let outcome = self.try_load_missing();
        self.state().note_outcome(RegistryPart::Versions, &outcome);
    }

    fn try_load_missing(&self) -> Result<(), ServeError> {
        let model = self.model()?;
        let mut names = self.needed_versions(&model)?;
        for name in &names {
            if !self.should_load(name) {
                continue;
            }
            // Its alias may have moved on during a load.
            if self.needed_versions(&model)?.contains(name) {
                // The state remembers why one is refused, and its alias stays where it was.
                let _ = self.load_for_service(&model, name);
            }
        }
        names.extend(self.router.routes().by_version.keys().cloned());
        for name in &names {
            let version = self.in_memory(&self.state(), name);
            if let Some(version) = version {
                self.add_new_items(&model, &version);
            }
        }
        self.verify_published_versions(&model)
    }

    /// The versions that aliases point at in the registry, and the one that a client loaded.
    fn needed_versions(&self, model: &str) -> Result<BTreeSet<String>, ServeError> {
        let aliases = self.registry.aliases(model)?.aliases;
        let mut names: BTreeSet<String> =
            aliases.into_values().map(|alias| alias.version).collect();
        names.extend(self.state().requested.clone());
        Ok(names)
    }

    /// Whether a version is not in memory and was not refused just now.
    fn should_load(&self, name: &str) -> bool {
        let state = self.state();
        let refused = state.refused.get(name);
        let recently = refused.is_some_and(|refused| refused.at.elapsed() < RETRY_INTERVAL);
        !recently && self.in_memory(&state, name).is_none()
    }

    /// Verifies each version that appeared since the last look once, so that a broken publication
    /// is known before an alias points at it. Those of the first look are verified when they are
    /// loaded.
    fn verify_published_versions(&self, model: &str) -> Result<(), ServeError> {
        let names: BTreeSet<String> = self.registry.version_names(model)?.into_iter().collect();
        let before = self.state().known_versions.replace(names.clone());
        let Some(before) = before else { return Ok(()) };
        for name in names.difference(&before) {
            if !self.is_loaded(name)
                && let Err(error) = self.verify(model, name)
            {
                self.state().refuse(name, &error);
            }
        }
        let mut state = self.state();
        state.refused.retain(|name, _| names.contains(name));
        Ok(())
    }

    /// Puts in service what the aliases point at, as far as it is loaded. Blocking, but short.
    ///
    /// # Errors
    /// If the aliases cannot be read, or there are none any more; what is in service then stays.
    pub(super) fn apply_aliases(&self) -> Result<(), ServeError> {
        let mut state = self.state();
        let outcome = self.try_apply_aliases(&mut state);
        state.note_outcome(RegistryPart::Aliases, &outcome);
        if let Err(error) = &outcome
            && !self.router.is_ready()
        {
            let not_ready = match error {
                ServeError::NotReady { why, .. } => why.clone(),
                other => other.to_string(),
            };
            let routes = self.router.routes();
            self.router.replace(Arc::new(Routes {
                by_alias: routes.by_alias.clone(),
                by_version: routes.by_version.clone(),
                not_ready,
            }));
        }
        outcome
    }

    /// The aliases are read under the lock, so that the last change of them is the one served.
    fn try_apply_aliases(&self, state: &mut FollowerState) -> Result<(), ServeError> {
        let aliases = self.registry.aliases(&self.model()?)?.aliases;
        state.alias_targets = aliases
            .into_iter()
            .map(|(alias, target)| (alias, target.version))
            .collect();
        let before = self.router.routes();
        let routes = Arc::new(self.next_routes(state, &before));
        if routes.by_alias.is_empty() && !before.by_alias.is_empty() {
            // Losing the alias file must not empty the server.
            return Err(ServeError::NotReady {
                why: "no alias is left in the registry".into(),
                alias: self.router.alias().into(),
            });
        }
        for version in routes.by_version.values() {
            version.apply_overlay(&state.overlay);
        }
        report_swaps(&before, &routes);
        let old = self.router.replace(routes.clone());
        retire(state, &old, &routes);
        Ok(())
    }

    /// The routes that the aliases ask for. A version that is not loaded, or is refused, leaves its
    /// alias where it was.
    fn next_routes(&self, state: &FollowerState, before: &Routes) -> Routes {
        let mut routes = Routes::default();
        // Each version once, whatever points at it.
        let mut find = |name: &str| {
            let known = routes.by_version.get(name).cloned();
            let version = known.or_else(|| self.in_memory(state, name))?;
            routes.by_version.insert(name.into(), version.clone());
            Some(version)
        };
        for (alias, target) in &state.alias_targets {
            let current = before.by_alias.get(alias).map(|version| version.name());
            if let Some(version) = find(target).or_else(|| find(current?)) {
                routes.by_alias.insert(alias.clone(), version);
            }
        }
        if let Some(requested) = &state.requested {
            find(requested);
        }
        if !routes.by_alias.contains_key(self.router.alias()) {
            routes.not_ready = self.reason_not_ready(state);
        }
        routes
    }

    fn reason_not_ready(&self, state: &FollowerState) -> String {
        let alias = self.router.alias();
        let Some(version) = state.alias_targets.get(alias) else {
            return format!("no alias '{alias}' points at a version");
        };
        match state.refused.get(version) {
            Some(refused) => refused.reason.clone(),
            None => format!("version {version} is being loaded"),
        }
    }

    fn has_retired(&self) -> bool {
        !self.state().retired.is_empty()
    }

    /// Frees versions whose last request is answered. Freeing one takes milliseconds, so it is done
    /// here and not by the request that ends last.
    fn free_retired(&self) {
        let unused: Vec<_> = {
            let mut state = self.state();
            let mut retired = std::mem::take(&mut state.retired);
            retired.sort_unstable_by_key(Arc::as_ptr);
            retired.dedup_by(|a, b| Arc::ptr_eq(a, b));
            let (unused, used) = retired
                .into_iter()
                .partition(|version| Arc::strong_count(version) == 1);
            state.retired = used;
            unused
        };
        drop(unused);
    }
}

/// Logs and counts which aliases lead to other versions than before.
fn report_swaps(before: &Routes, routes: &Routes) {
    let serving = |alias: &str, version: &str| {
        let (alias, version) = (alias.to_string(), version.to_string());
        gauge!("aisle_version_serving", "alias" => alias, "version" => version)
    };
    for (alias, version) in &routes.by_alias {
        let version = version.name();
        let old = before.by_alias.get(alias).map(|version| version.name());
        if old == Some(version) {
            continue;
        }
        let from = old.unwrap_or("none");
        info!(alias, version, from, "now serving");
        counter!("aisle_version_swaps_total", "alias" => alias.clone()).increment(1);
        if let Some(old) = old {
            serving(alias, old).set(0.0);
        }
        serving(alias, version).set(1.0);
    }
}

/// Retires what left service, and loaded versions that nothing waits for.
fn retire(state: &mut FollowerState, old: &Routes, routes: &Routes) {
    let current = |version: &Arc<ServedVersion>| routes.by_version.get(version.name());
    let is_serving = |version: &Arc<ServedVersion>| {
        current(version).is_some_and(|serving| Arc::ptr_eq(serving, version))
    };
    let mut needed: BTreeSet<&String> = state.alias_targets.values().collect();
    needed.extend(&state.requested);
    let is_waited_for = |version: &Arc<ServedVersion>| {
        let is_newer =
            current(version).is_none_or(|serving| serving.load_began() < version.load_began());
        let is_needed = needed.iter().any(|name| *name == version.name());
        is_newer && (is_needed || version.load_ended().elapsed() < KEEP_LOADED)
    };
    let (loaded, unused): (Vec<_>, Vec<_>) = std::mem::take(&mut state.loaded)
        .into_iter()
        .partition(is_waited_for);
    state.loaded = loaded;
    let left = old.by_version.values().cloned().chain(unused);
    state
        .retired
        .extend(left.filter(|version| !is_serving(version)));
}

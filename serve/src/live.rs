//! The versions in service, and how they change: verified and warmed beside the old ones, swapped by one pointer,
//! the old ones dropped off the serving threads once their last request is answered.

use crate::cards::Cards;
use crate::error::ServeError;
use crate::split::Split;
use aisle_data::{NewItem, memory_available};
use aisle_models::{Aliases, Bundle, ItemChanges, ItemNews, Registry, Rule, RuleSet, apart};
use arc_swap::ArcSwap;
use metrics::{counter, gauge};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tracing::{info, warn};

/// A refused version is looked at again after so long: a disk may come back.
const RETRY: Duration = Duration::from_secs(30);
/// Items that came since a version was made, at most: beyond that a new version is due.
const NEW_ITEMS: usize = 10_000;
/// A loaded version that nothing points at yet is kept so long.
const KEPT: Duration = Duration::from_secs(10);
/// A version that was just loaded takes in new items after so long: what trickles in comes together.
const GATHERING: Duration = Duration::from_secs(5);

/// What requests see: one consistent set of versions.
#[derive(Default)]
struct Routes {
    by_alias: BTreeMap<String, Arc<Version>>,
    by_version: BTreeMap<String, Arc<Version>>,
}

/// A version in service.
pub struct Version {
    /// What answers.
    pub bundle: Bundle,
    /// What answers say of its items.
    pub cards: Arc<Cards>,
    /// The items that came since it was made.
    arrivals: BTreeMap<String, NewItem>,
    /// When its loading began, which is when these were looked up, and ended.
    began: Instant,
    loaded: Instant,
}

impl Version {
    fn name(&self) -> &str {
        &self.bundle.version
    }
}

/// A version chosen for one request. The whole answer is made by it.
#[derive(Clone)]
pub struct Chosen {
    /// The version.
    pub version: Arc<Version>,
    /// The alias that led to it; empty for a pinned version.
    pub alias: String,
}

/// Why a version is refused.
#[derive(Clone, Debug)]
struct Refused {
    reason: String,
    at: Instant,
}

#[derive(Default)]
struct Ledger {
    /// The model's name, once known.
    model: Option<String>,
    /// Versions that were seen before.
    seen: Option<BTreeSet<String>>,
    /// Refused versions.
    refused: BTreeMap<String, Refused>,
    /// What the alias file says.
    wanted: BTreeMap<String, String>,
    /// The version that a client asked to load.
    pinned: Option<String>,
    /// Versions that are loaded and not in service yet.
    coming: Vec<Arc<Version>>,
    /// Versions out of service whose last request may still run.
    retired: Vec<Arc<Version>>,
    /// Changes of prices and stock, and when their file was written.
    changes: Arc<ItemChanges>,
    changed_at: Option<SystemTime>,
    /// Versions that could not be loaded with the items that came since, and when that was tried.
    turned_away: BTreeMap<String, Instant>,
    /// The rules in force, those of the config and of the registry together, and when the registry's were written.
    rules: Arc<RuleSet>,
    ruled_at: Option<SystemTime>,
    /// The last trouble with each part of the registry, so that it is logged once.
    trouble: BTreeMap<&'static str, String>,
}

/// The versions of one model in service.
pub struct Live {
    registry: Registry,
    configured: Option<String>,
    alias: String,
    split: Split,
    /// The rules of the config.
    base: RuleSet,
    routes: ArcSwap<Routes>,
    ledger: Mutex<Ledger>,
    /// One change of the routes at a time: a slow look at the registry must not undo a quick one.
    turn: Mutex<()>,
    /// The same for changes of prices and stock.
    shelving: Mutex<()>,
    /// Whether memory was freed that the allocator may keep.
    untidy: AtomicBool,
}

/// A version as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// In the registry.
    Discovered,
    /// Answering.
    Ready,
    /// Refused, with the reason.
    Failed(String),
}

/// The items that came since a version was made.
fn arrivals<'a>(bundle: &'a Bundle, changes: &'a ItemChanges) -> impl Iterator<Item = (&'a String, &'a NewItem)> {
    changes.new.iter().filter(|(id, _)| !bundle.is_learned(id))
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held leaves a ledger that the next refresh rebuilds.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// For one model of a registry; without a name, for its only model.
    pub fn new(registry: Registry, model: Option<String>, alias: String, split: Split) -> Self {
        Self {
            base: RuleSet::default(),
            registry,
            configured: model,
            alias,
            split,
            routes: ArcSwap::default(),
            ledger: Mutex::default(),
            turn: Mutex::default(),
            shelving: Mutex::default(),
            untidy: AtomicBool::default(),
        }
    }

    /// With rules that always hold.
    #[must_use]
    pub fn with_rules(self, base: RuleSet) -> Self {
        held(&self.ledger).rules = Arc::new(base.clone());
        Self { base, ..self }
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The model's name.
    ///
    /// # Errors
    /// [`ServeError::NotReady`] while the registry holds no model or several without a name to choose by.
    pub fn model(&self) -> Result<String, ServeError> {
        if let Some(model) = self.configured.clone().or_else(|| held(&self.ledger).model.clone()) {
            return Ok(model);
        }
        let models = self.registry.models()?;
        match models.as_slice() {
            [model] => {
                held(&self.ledger).model = Some(model.clone());
                Ok(model.clone())
            }
            [] => Err(ServeError::NotReady {
                why: format!("the registry {} holds no model", self.registry.root().display()),
                alias: self.alias.clone(),
            }),
            several => Err(ServeError::NotReady {
                why: format!("the registry holds {}: choose one with --model", several.join(", ")),
                alias: self.alias.clone(),
            }),
        }
    }

    /// Checks the model that a request names.
    pub fn check_model(&self, asked: &str) -> Result<String, ServeError> {
        let served = self.model()?;
        if asked.is_empty() || asked == served {
            return Ok(served);
        }
        Err(ServeError::UnknownModel { asked: asked.into(), served })
    }

    /// Whether the alias that the server follows has a version that answers.
    pub fn is_ready(&self) -> bool {
        self.routes.load().by_alias.contains_key(&self.alias)
    }

    /// The version for a request by alias, by version, or by the split of its user. Wait-free.
    ///
    /// # Errors
    /// [`ServeError::UnknownAlias`], [`ServeError::NotLoaded`], [`ServeError::NotReady`].
    pub fn choose(&self, alias: Option<&str>, version: Option<&str>, user: &str) -> Result<Chosen, ServeError> {
        let routes = self.routes.load();
        if let Some(version) = version {
            return match routes.by_version.get(version) {
                Some(version) => Ok(Chosen { version: version.clone(), alias: String::new() }),
                None => Err(ServeError::NotLoaded { version: version.into(), loaded: routes.by_version.keys().cloned().collect() }),
            };
        }
        let wanted = alias.unwrap_or_else(|| self.split.alias(user));
        let found = routes.by_alias.get(wanted).map(|bundle| (wanted, bundle));
        // A canary that is not there must not cost a request: its users see the alias that the server follows.
        let found = found.or_else(|| {
            alias.is_none().then(|| routes.by_alias.get(&self.alias).map(|bundle| (self.alias.as_str(), bundle))).flatten()
        });
        match found {
            Some((alias, version)) => Ok(Chosen { version: version.clone(), alias: alias.into() }),
            None if alias.is_some() => {
                Err(ServeError::UnknownAlias { alias: wanted.into(), known: routes.by_alias.keys().cloned().collect() })
            }
            None => {
                drop(routes);
                self.model()?;
                let ledger = held(&self.ledger);
                let why = match ledger.wanted.get(&self.alias) {
                    None => format!("no alias '{}' points at a version", self.alias),
                    Some(version) => match ledger.refused.get(version) {
                        Some(refused) => refused.reason.clone(),
                        None => format!("version {version} is being loaded"),
                    },
                };
                Err(ServeError::NotReady { why, alias: self.alias.clone() })
            }
        }
    }

    /// Brings the versions in service in line with the registry. Blocking: call it off the serving threads.
    /// What fails is logged once, kept for [`Live::state`], and changes nothing in service.
    pub fn refresh(&self) {
        self.look();
        self.prepare();
        self.apply();
    }

    /// Looks for prices, stock and rules that others changed. Short.
    pub fn look(&self) {
        let looked = self.model().and_then(|model| self.look_at_changes(&model).and(self.look_at_rules(&model)));
        self.tell("changes and rules", looked);
    }

    /// Loads what the registry asks for and is not here yet, for [`Live::apply`]. No change that a client asks for waits for it: it may take
    /// as long as there is little of a core for it.
    pub fn prepare(&self) {
        self.tell("versions", self.try_prepare());
    }

    /// Puts in service what aliases point at, as far as it is loaded. Short.
    pub fn apply(&self) {
        self.tell("aliases", self.try_apply());
    }

    /// Frees versions whose last request is answered. Takes milliseconds each: who holds the last reference frees the memory, here it is us
    /// and not a request.
    pub fn sweep(&self) {
        let mut retired = std::mem::take(&mut held(&self.ledger).retired);
        retired.sort_unstable_by_key(Arc::as_ptr);
        retired.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let (gone, stay): (Vec<_>, Vec<_>) = retired.into_iter().partition(|version| Arc::strong_count(version) == 1);
        held(&self.ledger).retired.extend(stay);
        if !gone.is_empty() {
            drop(gone);
            self.untidy.store(true, Ordering::Relaxed);
        }
    }

    /// Whether memory was freed since this was last asked.
    pub fn freed(&self) -> bool {
        self.untidy.swap(false, Ordering::Relaxed)
    }

    /// Whether versions wait for [`Live::sweep`].
    pub fn has_retired(&self) -> bool {
        !held(&self.ledger).retired.is_empty()
    }

    /// Logs trouble with a part of the registry once.
    fn tell(&self, part: &'static str, outcome: Result<(), ServeError>) {
        let mut ledger = held(&self.ledger);
        let Err(error) = outcome else { return drop(ledger.trouble.remove(part)) };
        let trouble = error.to_string();
        if ledger.trouble.get(part) != Some(&trouble) {
            warn!(error = %trouble, part, "the registry cannot be followed; what is in service stays");
            counter!("aisle_registry_errors_total").increment(1);
            ledger.trouble.insert(part, trouble);
        }
    }

    /// What the aliases point at now.
    fn aliases(&self, model: &str) -> Result<Aliases, ServeError> {
        let aliases = self.registry.aliases(model)?;
        held(&self.ledger).wanted = aliases.aliases.iter().map(|(alias, target)| (alias.clone(), target.version.clone())).collect();
        Ok(aliases)
    }

    fn try_prepare(&self) -> Result<(), ServeError> {
        let model = self.model()?;
        let aliases = self.aliases(&model)?;
        let mut wanted: BTreeSet<String> = aliases.aliases.into_values().map(|target| target.version).collect();
        wanted.extend(held(&self.ledger).pinned.clone());
        // What is missing first: an alias waits for it.
        let (here, missing): (Vec<_>, Vec<_>) = wanted.iter().partition(|name| self.loaded(name).is_some());
        for name in missing {
            // One that just left service was missing too: its alias moved on before.
            let aliases = self.aliases(&model)?.aliases;
            let pinned = held(&self.ledger).pinned.clone();
            if aliases.values().map(|target| &target.version).chain(&pinned).any(|wanted| wanted == name) {
                // Why one is refused stands in the ledger, and the alias stays where it was.
                let _ = self.admit(&model, name);
            }
        }
        let serving = self.routes.load_full();
        let others = serving.by_version.keys().filter(|name| !wanted.contains(*name));
        for version in here.into_iter().chain(others).filter_map(|name| self.loaded(name)) {
            self.take_in(&model, &version);
        }
        self.look_at_new_versions(&model)
    }

    /// A version in memory, in service or not: of several the one that knows the latest items.
    fn loaded(&self, name: &str) -> Option<Arc<Version>> {
        let serving = self.routes.load().by_version.get(name).cloned();
        let ledger = held(&self.ledger);
        let coming = ledger.coming.iter().filter(|version| version.name() == name).cloned();
        serving.into_iter().chain(coming).max_by_key(|version| version.began)
    }

    /// Keeps a loaded version for the next change of the routes, with prices, stock and rules as they are now.
    fn keep(&self, version: &Arc<Version>) {
        self.shelve([version].into_iter());
        held(&self.ledger).coming.push(version.clone());
    }

    fn try_apply(&self) -> Result<(), ServeError> {
        let _turn = held(&self.turn);
        let aliases = self.aliases(&self.model()?)?;
        let before = self.routes.load_full();
        let pinned = held(&self.ledger).pinned.clone();
        // Each version once, whoever points at it. One that is not loaded, or refused, leaves the alias where it was.
        let mut by_version: BTreeMap<String, Arc<Version>> = BTreeMap::new();
        let mut take = |name: &str| {
            let version = by_version.get(name).cloned().or_else(|| self.loaded(name))?;
            by_version.insert(name.to_string(), version.clone());
            Some(version)
        };
        let mut by_alias = BTreeMap::new();
        for (alias, target) in &aliases.aliases {
            let stays = before.by_alias.get(alias).map(|version| version.name());
            if let Some(version) = take(&target.version).or_else(|| take(stays?)) {
                by_alias.insert(alias.clone(), version);
            }
        }
        // Losing the alias file must not empty the server.
        if by_alias.is_empty() && !before.by_alias.is_empty() {
            return Err(ServeError::NotReady { why: "no alias is left in the registry".into(), alias: self.alias.clone() });
        }
        pinned.as_deref().map(&mut take);
        self.shelve(by_version.values());
        for (alias, version) in &by_alias {
            let old = before.by_alias.get(alias).map(|version| version.name());
            if old != Some(version.name()) {
                info!(alias, version = version.name(), from = old.unwrap_or("none"), "now serving");
                counter!("aisle_version_swaps_total", "alias" => alias.clone()).increment(1);
                if let Some(old) = old {
                    gauge!("aisle_version_serving", "alias" => alias.clone(), "version" => old.to_string()).set(0.0);
                }
                gauge!("aisle_version_serving", "alias" => alias.clone(), "version" => version.name().to_string()).set(1.0);
            }
        }
        let routes = Arc::new(Routes { by_alias, by_version });
        let old = self.routes.swap(routes.clone());
        // Changes that came in between.
        self.shelve(routes.by_version.values());

        let mut ledger = held(&self.ledger);
        let serves = |version: &Arc<Version>| routes.by_version.get(version.name()).is_some_and(|now| Arc::ptr_eq(now, version));
        let waited_for = |version: &Arc<Version>| {
            let missing = routes.by_version.get(version.name()).is_none_or(|now| now.began < version.began);
            let mut wanted = aliases.aliases.values().map(|target| &target.version).chain(&pinned);
            let wanted = wanted.any(|name| name == version.name());
            missing && (wanted || version.loaded.elapsed() < KEPT)
        };
        let (coming, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut ledger.coming).into_iter().partition(waited_for);
        ledger.coming = coming;
        let left = old.by_version.values().cloned();
        ledger.retired.extend(left.chain(gone).filter(|version| !serves(version)));
        Ok(())
    }

    /// Reads changes of prices and stock if there are new ones.
    fn look_at_changes(&self, model: &str) -> Result<(), ServeError> {
        let at = self.registry.items_changed_at(model)?;
        if held(&self.ledger).changed_at == at {
            return Ok(());
        }
        // Read before the lock that the next change here waits for.
        let changes = Arc::new(self.registry.item_changes(model)?);
        let _shelving = held(&self.shelving);
        if self.registry.items_changed_at(model)? == at {
            let mut ledger = held(&self.ledger);
            ledger.changed_at = at;
            // They may be our own.
            if ledger.changes.epoch != changes.epoch {
                ledger.changes = changes;
                drop(ledger);
                self.shelve(self.routes.load().by_version.values());
            }
        }
        Ok(())
    }

    /// Reads the rules if there are new ones.
    fn look_at_rules(&self, model: &str) -> Result<(), ServeError> {
        let at = self.registry.rules_changed_at(model)?;
        if held(&self.ledger).ruled_at == at {
            return Ok(());
        }
        let rules = Arc::new(self.base.with(&self.registry.rules(model)?));
        let _shelving = held(&self.shelving);
        if self.registry.rules_changed_at(model)? == at {
            let mut ledger = held(&self.ledger);
            ledger.ruled_at = at;
            if ledger.rules != rules {
                info!(revision = rules.revision, rules = rules.rules.len(), "new rules");
                ledger.rules = rules;
                drop(ledger);
                self.shelve(self.routes.load().by_version.values());
            }
        }
        Ok(())
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<RuleSet> {
        held(&self.ledger).rules.clone()
    }

    /// Changes the registry's rules: `rules` with the revision they were made from (0 = any), or back to those before. Here they are in force
    /// before this returns. Blocking.
    ///
    /// # Errors
    /// What is wrong with a rule, as the versions in service see it; nothing has then changed.
    pub fn change_rules(&self, rules: Option<Vec<Rule>>, expected: u64) -> Result<Arc<RuleSet>, ServeError> {
        let model = self.model()?;
        let _shelving = held(&self.shelving);
        let set = match rules {
            None => self.registry.rollback_rules(&model)?,
            Some(rules) => {
                let routes = self.routes.load();
                let serving = routes.by_alias.get(&self.alias).or_else(|| routes.by_version.values().next());
                let Some(version) = serving else {
                    let why = "rules are checked against the catalogue of a version, and none is in service".into();
                    return Err(ServeError::NotReady { why, alias: self.alias.clone() });
                };
                let set = RuleSet { revision: 0, rules };
                set.check(&version.bundle.item_schema(), &version.bundle.asker_schema())?;
                self.registry.set_rules(&model, set.rules, expected)?
            }
        };
        let rules = Arc::new(self.base.with(&set));
        held(&self.ledger).rules = rules.clone();
        self.shelve(self.routes.load().by_version.values());
        Ok(rules)
    }

    /// Gives versions the changes of prices and stock, and the rules, that they do not have yet.
    fn shelve<'a>(&self, versions: impl Iterator<Item = &'a Arc<Version>>) {
        let (changes, rules) = {
            let ledger = held(&self.ledger);
            (ledger.changes.clone(), ledger.rules.clone())
        };
        for version in versions {
            if version.bundle.shelf().epoch != changes.epoch {
                version.bundle.shelve(&changes);
            }
            if !Arc::ptr_eq(&version.bundle.rules(), &rules) {
                if let Err(error) = rules.check(&version.bundle.item_schema(), &version.bundle.asker_schema()) {
                    warn!(%error, version = version.name(), "what this version does not know counts as absent");
                }
                version.bundle.rule(&rules);
            }
        }
    }

    /// Changes prices and stock for every version, here before this returns; new items come with the next look at the registry. Returns ids that
    /// no version in service knows and that are not new, and how many items have a change that stands. Blocking.
    ///
    /// # Errors
    /// [`ServeError::TooManyNewItems`], or if the registry cannot be written; nothing has then changed.
    pub fn change_items(&self, mut news: ItemNews) -> Result<(Vec<String>, usize), ServeError> {
        let model = self.model()?;
        let ids: Vec<String> = news.items.keys().cloned().collect();
        let _shelving = held(&self.shelving);
        let standing = held(&self.ledger).changes.clone();
        let routes = self.routes.load_full();
        let all_learned =
            |id: &String| !routes.by_version.is_empty() && routes.by_version.values().all(|version| version.bundle.is_learned(id));
        news.new.retain(|id, _| !all_learned(id));
        let learned: Vec<String> = standing.new.keys().filter(|id| all_learned(id)).cloned().collect();
        let known = standing.new.len() - learned.len();
        // What all have learned is kept for a way back to an older version, as long as there is room.
        if standing.new.len() + news.new.len() > NEW_ITEMS {
            news.learned = learned;
        }
        let found = known + news.new.keys().filter(|id| !standing.new.contains_key(*id)).count();
        if found > NEW_ITEMS && found > known {
            return Err(ServeError::TooManyNewItems { found, most: NEW_ITEMS });
        }
        let changes = self.registry.change_items(&model, news)?;
        let changed = changes.items.len();
        let served = |id: &String| routes.by_version.values().any(|version| version.bundle.items.get(id).is_some());
        let unknown = ids.into_iter().filter(|id| !served(id) && !changes.new.contains_key(id)).collect();
        held(&self.ledger).changes = Arc::new(changes);
        // Those in service now, whatever was swapped in meanwhile.
        self.shelve(self.routes.load().by_version.values());
        Ok((unknown, changed))
    }

    /// The currency that versions in service have for an item, or that it came with, if it has one.
    pub fn currency(&self, id: &str) -> Option<String> {
        let came = held(&self.ledger).changes.new.get(id).and_then(|item| item.currency.clone());
        if came.is_some() {
            return came;
        }
        let routes = self.routes.load();
        routes.by_version.values().rev().find_map(|version| {
            let item = version.bundle.items.get(id)?;
            version.bundle.catalog.currency.get(item).map(str::to_string)
        })
    }

    /// Versions that appeared since the last look are verified once, so that a broken publication is known before an alias
    /// points at it. Those that were there at the start are verified when they are loaded.
    fn look_at_new_versions(&self, model: &str) -> Result<(), ServeError> {
        let names: BTreeSet<String> = self.registry.version_names(model)?.into_iter().collect();
        let before = held(&self.ledger).seen.replace(names.clone());
        let Some(before) = before else { return Ok(()) };
        for version in names.difference(&before) {
            if self.loaded(version).is_none()
                && let Err(error) = self.load(model, version)
            {
                self.refuse(version, &error);
            }
        }
        held(&self.ledger).refused.retain(|version, _| names.contains(version));
        Ok(())
    }

    /// Loads a version if memory allows, verifies it, and replays its golden requests, which also warms it.
    fn admit(&self, model: &str, version: &str) -> Result<Arc<Version>, ServeError> {
        if let Some(refused) = held(&self.ledger).refused.get(version).filter(|refused| refused.at.elapsed() < RETRY) {
            return Err(ServeError::Internal(refused.reason.clone()));
        }
        let admitted = self.load(model, version);
        match &admitted {
            Ok(admitted) => {
                self.keep(admitted);
                held(&self.ledger).refused.remove(version);
                let milliseconds = admitted.began.elapsed().as_millis() as u64;
                info!(version, milliseconds, golden = admitted.bundle.manifest.golden.len(), "verified and warmed");
                counter!("aisle_version_loads_total", "result" => "ready").increment(1);
            }
            Err(error) => self.refuse(version, error),
        }
        admitted
    }

    /// With the items that came since; without them if that fails.
    fn load(&self, model: &str, version: &str) -> Result<Arc<Version>, ServeError> {
        let changes = held(&self.ledger).changes.clone();
        match self.load_with(model, version, &changes) {
            Err(error) if !changes.new.is_empty() => {
                let loaded = self.load_with(model, version, &ItemChanges::default())?;
                self.turn_away(version, &error);
                Ok(loaded)
            }
            loaded => loaded,
        }
    }

    fn load_with(&self, model: &str, version: &str, changes: &ItemChanges) -> Result<Arc<Version>, ServeError> {
        let began = Instant::now();
        let needed = self.registry.manifest(model, version)?.memory_bytes;
        if let Some(free) = memory_available().filter(|&free| needed > free) {
            return Err(ServeError::NoMemory { version: version.into(), needed: needed >> 20, free: free >> 20 });
        }
        let routes = self.routes.load_full();
        let beside: Vec<&Bundle> = routes.by_version.values().map(|version| &version.bundle).collect();
        let bundle = apart(|| {
            let bundle = self.registry.verify_with(model, version, changes, &beside)?;
            bundle.warm();
            Ok::<_, ServeError>(bundle)
        });
        self.untidy.store(true, Ordering::Relaxed);
        let bundle = bundle?;
        let same = |other: &&Arc<Version>| Arc::ptr_eq(&other.bundle.catalog, &bundle.catalog);
        let cards = match routes.by_version.values().find(same) {
            Some(other) => other.cards.clone(),
            // Not apart: the next version would go on with the pages that they leave half filled, and they stay.
            None => Arc::new(Cards::of(&bundle)),
        };
        let arrivals = arrivals(&bundle, changes).map(|(id, item)| (id.clone(), item.clone())).collect();
        Ok(Arc::new(Version { bundle, cards, arrivals, began, loaded: Instant::now() }))
    }

    /// Loads a version anew with the items that came since it was loaded, if there are any.
    fn take_in(&self, model: &str, version: &Version) {
        let name = version.name();
        let changes = held(&self.ledger).changes.clone();
        let early = held(&self.ledger).turned_away.get(name).is_some_and(|at| at.elapsed() < RETRY);
        if early || version.loaded.elapsed() < GATHERING || arrivals(&version.bundle, &changes).eq(&version.arrivals) {
            return;
        }
        match self.load_with(model, name, &changes) {
            Ok(new) => {
                self.keep(&new);
                let milliseconds = new.began.elapsed().as_millis() as u64;
                info!(version = name, items = new.arrivals.len(), milliseconds, "new items have a place");
                gauge!("aisle_new_items", "version" => name.to_string()).set(new.arrivals.len() as f64);
                held(&self.ledger).turned_away.remove(name);
            }
            Err(error) => self.turn_away(name, &error),
        }
    }

    fn turn_away(&self, version: &str, error: &ServeError) {
        warn!(version, %error, "new items cannot be taken in yet; the version serves without them");
        held(&self.ledger).turned_away.insert(version.into(), Instant::now());
    }

    fn refuse(&self, version: &str, error: &ServeError) {
        let reason = error.to_string();
        let mut ledger = held(&self.ledger);
        let news = ledger.refused.get(version).is_none_or(|refused| refused.reason != reason);
        ledger.refused.insert(version.into(), Refused { reason: reason.clone(), at: Instant::now() });
        if news {
            warn!(version, reason, "version refused; what served before keeps serving");
            counter!("aisle_version_loads_total", "result" => "refused").increment(1);
        }
    }

    /// A version in memory, loaded now if it is not there yet. Blocking, and it takes no lock while it loads.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn bring(&self, version: &str) -> Result<Arc<Version>, ServeError> {
        let model = self.model()?;
        // A name that means nothing is its caller's mistake, no version to refuse.
        self.registry.manifest(&model, version)?;
        if let Some(loaded) = self.loaded(version) {
            return Ok(loaded);
        }
        held(&self.ledger).refused.remove(version);
        self.admit(&model, version)
    }

    /// Lets requests name a version; it takes the place of the one before. Blocking, and short after [`Live::bring`].
    ///
    /// # Errors
    /// Why it is refused.
    pub fn pin(&self, version: &str) -> Result<(), ServeError> {
        let _loaded = self.bring(version)?;
        held(&self.ledger).pinned = Some(version.into());
        self.apply();
        Ok(())
    }

    /// Points an alias and serves it before returning. Blocking, and short after [`Live::bring`].
    ///
    /// # Errors
    /// Why the version is refused; nothing has then moved. [`ServeError::NotServed`] if it moved and cannot be served here.
    pub fn set_alias(&self, alias: &str, version: &str) -> Result<Aliases, ServeError> {
        let verified = self.bring(version)?;
        let aliases = self.registry.point(&self.model()?, alias, &verified.bundle)?;
        self.follow(alias, aliases)
    }

    /// Points an alias back and serves it before returning. Blocking, and short after [`Live::bring`] of what [`Live::earlier`] names.
    ///
    /// # Errors
    /// [`aisle_models::ModelError::NoEarlierVersion`], or why the earlier version is refused; nothing has then moved.
    /// [`ServeError::NotServed`] if it moved and cannot be served here.
    pub fn rollback(&self, alias: &str) -> Result<Aliases, ServeError> {
        let verified = self.bring(&self.earlier(alias)?)?;
        let aliases = self.registry.point_back(&self.model()?, alias, &verified.bundle)?;
        self.follow(alias, aliases)
    }

    /// The version that an alias pointed at before.
    ///
    /// # Errors
    /// [`aisle_models::ModelError::NoEarlierVersion`].
    pub fn earlier(&self, alias: &str) -> Result<String, ServeError> {
        Ok(self.registry.earlier(&self.model()?, alias)?)
    }

    /// Serves what an alias was just pointed at.
    fn follow(&self, alias: &str, aliases: Aliases) -> Result<Aliases, ServeError> {
        let version = aliases.aliases.get(alias).map(|entry| entry.version.clone()).unwrap_or_default();
        let served = self.bring(&version).map_err(|error| error.to_string()).and_then(|_loaded| {
            self.apply();
            held(&self.ledger).trouble.get("aliases").cloned().map_or(Ok(()), Err)
        });
        served.map(|()| aliases).map_err(|why| ServeError::NotServed { alias: alias.into(), version, why })
    }

    /// The state of a version here.
    pub fn state(&self, version: &str) -> State {
        if self.routes.load().by_version.contains_key(version) {
            return State::Ready;
        }
        match held(&self.ledger).refused.get(version) {
            Some(refused) => State::Failed(refused.reason.clone()),
            None => State::Discovered,
        }
    }

    /// Aliases in service with their versions.
    pub fn serving(&self) -> Vec<(String, String)> {
        self.routes.load().by_alias.iter().map(|(alias, bundle)| (alias.clone(), bundle.name().to_string())).collect()
    }
}

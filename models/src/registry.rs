//! All versions of all models in one folder, and the aliases that point at them.
//!
//! `ROOT/MODEL/VERSION/` holds a version, `ROOT/MODEL/aliases.json` what the aliases point at,
//! `ROOT/MODEL/items.json` what changed in the shop since, `ROOT/MODEL/rules.json` the rules with those before them. A version is written to a
//! hidden sibling, synced, and renamed: it is whole or absent. The alias file is replaced in the same way, under a lock,
//! so that of two writers each sees the other's work. Readers take no lock.

use crate::bundle::Bundle;
use crate::manifest::Manifest;
use crate::rules::{Rule, RuleSet};
use crate::shelf::{ItemChanges, ItemNews};
use crate::{ModelError, Result};
use aisle_data::{moment_of, stamp_of};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const ALIASES: &str = "aliases.json";
const CHANGES: &str = "items.json";
const RULES: &str = "rules.json";
const LOCK: &str = ".lock";
const TEMPORARY: &str = ".writing-";
/// Entries of an alias's history that are kept.
const HISTORY: usize = 100;

/// A folder of models.
#[derive(Clone, Debug)]
pub struct Registry {
    root: PathBuf,
}

/// The rules of a model, and what they were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RuleBook {
    rules: RuleSet,
    /// The latest last.
    previous: Vec<RuleSet>,
}

/// Rule sets that are kept.
const RULES_KEPT: usize = 20;

/// The aliases of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aliases {
    /// Counts every change.
    pub epoch: u64,
    /// Alias name → what it points at.
    pub aliases: BTreeMap<String, Alias>,
}

/// One alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// The version it points at.
    pub version: String,
    /// When it was last moved, RFC 3339.
    pub since: String,
    /// Versions it pointed at before, the latest last: where a rollback goes.
    pub previous: Vec<String>,
}

/// A version in a listing.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub version: String,
    /// Its manifest, or why it cannot be read.
    pub manifest: Result<Manifest>,
}

fn check_name(what: &'static str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(plain) {
        return Ok(());
    }
    Err(ModelError::BadName { what, name: name.escape_default().take(80).collect() })
}

fn now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64)
}

fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(ModelError::io("cannot sync", path))
}

/// Names of the plain entries of a folder, ascending; an absent folder has none.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ModelError::io("cannot list", folder)(error)),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    Ok(names)
}

impl Registry {
    /// The registry at a folder, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn model_folder(&self, model: &str) -> Result<PathBuf> {
        check_name("model", model)?;
        Ok(self.root.join(model))
    }

    /// The folder of a version, whether it exists or not.
    ///
    /// # Errors
    /// [`ModelError::BadName`] for a name that could leave the registry.
    pub fn version_folder(&self, model: &str, version: &str) -> Result<PathBuf> {
        check_name("version", version)?;
        Ok(self.model_folder(model)?.join(version))
    }

    /// Where fits of a model keep their checkpoints.
    ///
    /// # Errors
    /// [`ModelError::BadName`] for a name that could leave the registry.
    pub fn checkpoints(&self, model: &str) -> Result<PathBuf> {
        Ok(self.model_folder(model)?.join(".checkpoints"))
    }

    /// Models with at least a folder, by name.
    pub fn models(&self) -> Result<Vec<String>> {
        names(&self.root)
    }

    /// Names of a model's versions, oldest first.
    pub fn version_names(&self, model: &str) -> Result<Vec<String>> {
        names(&self.model_folder(model)?)
    }

    /// A model's versions with their manifests, oldest first. Digests of the files are not checked here: see [`Registry::verify`].
    pub fn versions(&self, model: &str) -> Result<Vec<Listed>> {
        let folder = self.model_folder(model)?;
        let read = |version: String| Listed { manifest: Bundle::read_manifest(&folder.join(&version), &version), version };
        Ok(self.version_names(model)?.into_iter().map(read).collect())
    }

    fn known_version(&self, model: &str, version: &str) -> Result<PathBuf> {
        let folder = self.version_folder(model, version)?;
        if folder.is_dir() {
            return Ok(folder);
        }
        let known = self.version_names(model)?;
        let place = format!("model '{model}' of {}", self.root.display());
        Err(ModelError::NotFound { what: "version", name: version.into(), place, known })
    }

    /// The manifest of a version, its digest checked against the version's name.
    ///
    /// # Errors
    /// [`ModelError::NotFound`], [`ModelError::Damaged`], [`ModelError::TooNew`].
    pub fn manifest(&self, model: &str, version: &str) -> Result<Manifest> {
        Bundle::read_manifest(&self.known_version(model, version)?, version)
    }

    /// Loads a version and checks its digests, shapes and numbers; [`Bundle::replay`] is the caller's next step.
    ///
    /// # Errors
    /// [`ModelError::NotFound`], [`ModelError::Damaged`], [`ModelError::TooNew`].
    pub fn load(&self, model: &str, version: &str) -> Result<Bundle> {
        Bundle::open(&self.known_version(model, version)?, version)
    }

    /// Loads a version and replays its golden requests.
    ///
    /// # Errors
    /// As [`Registry::load`], and [`ModelError::GoldenMismatch`].
    pub fn verify(&self, model: &str, version: &str) -> Result<Bundle> {
        self.verify_with(model, version, &ItemChanges::default(), &[])
    }

    /// The same, and then with the items that came since and that the version does not know: O(features · dimension) more. Versions in memory
    /// that may share what is known of the items are `beside`.
    ///
    /// # Errors
    /// As [`Registry::verify`].
    pub fn verify_with(&self, model: &str, version: &str, changes: &ItemChanges, beside: &[&Bundle]) -> Result<Bundle> {
        let mut bundle = Bundle::open_with(&self.known_version(model, version)?, version, changes, beside)?;
        // While they cannot be bought: a golden answer knows nothing of them.
        bundle.replay()?;
        bundle.welcome()?;
        Ok(bundle)
    }

    /// Writes a fitted bundle as a new version and returns its name: the time and the digest of its manifest.
    /// What writers that died have left behind is removed first.
    ///
    /// # Errors
    /// [`ModelError::Io`]; nothing of the version is then visible.
    pub fn publish(&self, model: &str, bundle: &mut Bundle) -> Result<String> {
        let folder = self.model_folder(model)?;
        std::fs::create_dir_all(&folder).map_err(ModelError::io("cannot create", &folder))?;
        self.sweep(&folder)?;
        bundle.manifest.model = model.into();
        let now = now_millis();
        let temporary = folder.join(format!("{TEMPORARY}{}-{now}", std::process::id()));
        std::fs::create_dir(&temporary).map_err(ModelError::io("cannot create", &temporary))?;
        // While this process lives it holds the lock; who finds it free may sweep the folder away.
        let guard = lock(&temporary.join(LOCK))?;
        let written = bundle.write(&temporary).and_then(|()| Bundle::digest(&temporary)).and_then(|digest| {
            let version = format!("{}-{digest}", stamp_of(now));
            std::fs::remove_file(temporary.join(LOCK)).map_err(ModelError::io("cannot remove", &temporary))?;
            sync_folder(&temporary)?;
            let target = folder.join(&version);
            std::fs::rename(&temporary, &target).map_err(ModelError::io("cannot publish to", &target))?;
            sync_folder(&folder)?;
            Ok(version)
        });
        drop(guard);
        match written {
            Ok(version) => {
                bundle.version = version.clone();
                Ok(version)
            }
            Err(error) => {
                // A full disk must not stay full because of us; the error that matters is the first.
                let _ = std::fs::remove_dir_all(&temporary);
                Err(error)
            }
        }
    }

    /// Removes the unfinished work of writers that no longer live.
    fn sweep(&self, folder: &Path) -> Result<()> {
        let entries = std::fs::read_dir(folder).map_err(ModelError::io("cannot list", folder))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let unfinished = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
            let age = entry.metadata().and_then(|about| about.modified()).ok().and_then(|time| time.elapsed().ok());
            // Between making the folder and locking it a writer needs a moment.
            let settled = age.is_some_and(|age| age.as_secs() >= 2);
            if !unfinished || !settled {
                continue;
            }
            let abandoned = match File::open(path.join(LOCK)) {
                Ok(file) => file.try_lock().is_ok(),
                Err(_) => true,
            };
            if abandoned {
                std::fs::remove_dir_all(&path).map_err(ModelError::io("cannot remove", &path))?;
            }
        }
        Ok(())
    }

    /// The aliases of a model; none for a model that has none yet.
    pub fn aliases(&self, model: &str) -> Result<Aliases> {
        read_or_default(&self.model_folder(model)?.join(ALIASES), "aliases")
    }

    /// Changes of prices and stock that stand; none for a model that has none yet.
    pub fn item_changes(&self, model: &str) -> Result<ItemChanges> {
        read_or_default(&self.model_folder(model)?.join(CHANGES), "changes of items")
    }

    /// The rules of a model; none before the first are set.
    ///
    /// # Errors
    /// [`ModelError::Io`] and [`ModelError::Damaged`].
    pub fn rules(&self, model: &str) -> Result<RuleSet> {
        Ok(self.rule_book(model)?.rules)
    }

    fn rule_book(&self, model: &str) -> Result<RuleBook> {
        read_or_default(&self.model_folder(model)?.join(RULES), "rules")
    }

    /// When the rules were last written; `None` before the first.
    pub fn rules_changed_at(&self, model: &str) -> Result<Option<SystemTime>> {
        let path = self.model_folder(model)?.join(RULES);
        Ok(std::fs::metadata(path).and_then(|about| about.modified()).ok())
    }

    /// Replaces the rules, which must have been checked. All servers of the registry see them at their next look.
    ///
    /// # Errors
    /// [`ModelError::RulesChanged`] if `expected` is not 0 and not the revision that stands; [`ModelError::Io`]. Nothing has then changed.
    pub fn set_rules(&self, model: &str, rules: Vec<Rule>, expected: u64) -> Result<RuleSet> {
        self.change_rules(model, |book| {
            if expected != 0 && expected != book.rules.revision {
                return Err(ModelError::RulesChanged { found: book.rules.revision, expected });
            }
            let new = RuleSet { revision: book.rules.revision + 1, rules };
            book.previous.push(std::mem::replace(&mut book.rules, new));
            Ok(())
        })
    }

    /// Brings back the rules before the last change, under a new revision.
    ///
    /// # Errors
    /// [`ModelError::NoEarlierRules`] if there are none before; [`ModelError::Io`]. Nothing has then changed.
    pub fn rollback_rules(&self, model: &str) -> Result<RuleSet> {
        self.change_rules(model, |book| {
            let Some(before) = book.previous.pop() else {
                return Err(ModelError::NoEarlierRules { model: model.into() });
            };
            book.rules = RuleSet { revision: book.rules.revision + 1, rules: before.rules };
            Ok(())
        })
    }

    fn change_rules(&self, model: &str, change: impl FnOnce(&mut RuleBook) -> Result<()>) -> Result<RuleSet> {
        let folder = self.model_folder(model)?;
        let guard = lock(&folder.join(LOCK))?;
        let mut book = self.rule_book(model)?;
        change(&mut book)?;
        let surplus = book.previous.len().saturating_sub(RULES_KEPT);
        book.previous.drain(..surplus);
        replace(&folder, RULES, &book)?;
        drop(guard);
        Ok(book.rules)
    }

    /// When the changes of prices and stock were last written; `None` before the first.
    pub fn items_changed_at(&self, model: &str) -> Result<Option<SystemTime>> {
        let path = self.model_folder(model)?.join(CHANGES);
        Ok(std::fs::metadata(path).and_then(|about| about.modified()).ok())
    }

    /// Adds changes of prices and stock, and new items, to those that stand. All servers of the registry see them at their next look.
    ///
    /// # Errors
    /// [`ModelError::Io`]; nothing has then changed.
    pub fn change_items(&self, model: &str, news: ItemNews) -> Result<ItemChanges> {
        let folder = self.model_folder(model)?;
        let guard = lock(&folder.join(LOCK))?;
        let mut changes = self.item_changes(model)?;
        changes.add(news);
        replace(&folder, CHANGES, &changes)?;
        drop(guard);
        Ok(changes)
    }

    /// The version that an alias points at.
    ///
    /// # Errors
    /// [`ModelError::NotFound`] lists the aliases there are.
    pub fn resolve(&self, model: &str, alias: &str) -> Result<String> {
        let aliases = self.aliases(model)?;
        match aliases.aliases.get(alias) {
            Some(found) => Ok(found.version.clone()),
            None => Err(ModelError::NotFound {
                what: "alias",
                name: alias.into(),
                place: format!("model '{model}' of {}", self.root.display()),
                known: aliases.aliases.keys().cloned().collect(),
            }),
        }
    }

    /// Points an alias at a version that verifies. The former version goes to the alias's history.
    ///
    /// # Errors
    /// What [`Registry::verify`] returns; the alias then stays.
    pub fn set_alias(&self, model: &str, alias: &str, version: &str) -> Result<Aliases> {
        check_name("alias", alias)?;
        self.point(model, alias, &self.verify(model, version)?)
    }

    /// Points an alias at a version that was just verified.
    ///
    /// # Errors
    /// [`ModelError::BadName`], [`ModelError::Io`]; the alias then stays.
    pub fn point(&self, model: &str, alias: &str, verified: &Bundle) -> Result<Aliases> {
        check_name("alias", alias)?;
        let version = verified.version.as_str();
        self.change(model, |aliases| {
            let before = aliases.aliases.remove(alias);
            let mut previous = before.as_ref().map(|alias| alias.previous.clone()).unwrap_or_default();
            if let Some(before) = before.filter(|before| before.version != version) {
                previous.push(before.version);
            }
            let excess = previous.len().saturating_sub(HISTORY);
            previous.drain(..excess);
            let entry = Alias { version: version.into(), since: moment_of(now_millis()), previous };
            aliases.aliases.insert(alias.into(), entry);
            Ok(())
        })
    }

    /// The version that an alias pointed at before.
    ///
    /// # Errors
    /// [`ModelError::NotFound`], [`ModelError::NoEarlierVersion`].
    pub fn earlier(&self, model: &str, alias: &str) -> Result<String> {
        self.resolve(model, alias)?;
        let mut aliases = self.aliases(model)?;
        step_back(model, &mut aliases, alias)
    }

    /// Points an alias back at the version before. Returns the aliases after it.
    ///
    /// # Errors
    /// [`ModelError::NoEarlierVersion`], or what verifying the earlier version returns; the alias then stays.
    pub fn rollback(&self, model: &str, alias: &str) -> Result<Aliases> {
        self.point_back(model, alias, &self.verify(model, &self.earlier(model, alias)?)?)
    }

    /// The same, to [`Registry::earlier`], which was just verified.
    ///
    /// # Errors
    /// As [`Registry::rollback`].
    pub fn point_back(&self, model: &str, alias: &str, verified: &Bundle) -> Result<Aliases> {
        self.change(model, |aliases| {
            let version = step_back(model, aliases, alias)?;
            // Another one only if the alias moved meanwhile.
            if version != verified.version { self.verify(model, &version).map(drop) } else { Ok(()) }
        })
    }

    /// Changes the alias file under its lock, atomically.
    fn change(&self, model: &str, edit: impl FnOnce(&mut Aliases) -> Result<()>) -> Result<Aliases> {
        let folder = self.model_folder(model)?;
        let guard = lock(&folder.join(LOCK))?;
        let mut aliases = self.aliases(model)?;
        edit(&mut aliases)?;
        aliases.epoch += 1;
        replace(&folder, ALIASES, &aliases)?;
        drop(guard);
        Ok(aliases)
    }
}

/// Points an alias back at the version before, whose name it returns.
fn step_back(model: &str, aliases: &mut Aliases, alias: &str) -> Result<String> {
    let none = || ModelError::NoEarlierVersion { alias: alias.into(), model: model.into() };
    let entry = aliases.aliases.get_mut(alias).ok_or_else(none)?;
    entry.version = entry.previous.pop().ok_or_else(none)?;
    entry.since = moment_of(now_millis());
    Ok(entry.version.clone())
}

/// Reads a small file; one that is not there is the default.
fn read_or_default<T: Default + DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(ModelError::io("cannot read", path)(error)),
    };
    serde_json::from_slice(&text).map_err(|error| ModelError::Damaged {
        path: path.to_path_buf(),
        what: what.into(),
        found: error.to_string(),
        expected: format!("the {what} that Aisle wrote; restore the file, or remove it and set them again"),
    })
}

/// Replaces a small file atomically; the caller holds the lock.
fn replace(folder: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let path = folder.join(name);
    let temporary = folder.join(format!(".{name}-{}", std::process::id()));
    let text =
        serde_json::to_string_pretty(value).map_err(|error| ModelError::Table { path: path.clone(), detail: error.to_string() })?;
    std::fs::write(&temporary, text + "\n").map_err(ModelError::io("cannot write", &temporary))?;
    File::open(&temporary).and_then(|file| file.sync_all()).map_err(ModelError::io("cannot sync", &temporary))?;
    std::fs::rename(&temporary, &path).map_err(ModelError::io("cannot replace", &path))?;
    sync_folder(folder)
}

/// An exclusive lock, held until the file is dropped.
fn lock(path: &Path) -> Result<File> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(ModelError::io("cannot open", path))?;
    file.lock().map_err(ModelError::io("cannot lock", path))?;
    Ok(file)
}

//! Aliases: names that point at a version, moved atomically and able to go back.

use crate::error::{ModelError, Result};
use crate::version::Version;
use crate::version::registry::Registry;
use crate::version::registry::files::{
    LOCK, check_name, lock, now_millis, read_or_default, replace,
};
use aisle_data::format_rfc3339;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const ALIASES: &str = "aliases.json";
/// Earlier versions of an alias that are kept.
const HISTORY: usize = 100;

/// The aliases of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aliases {
    /// Counts every change.
    pub epoch: u64,
    /// What each alias points at, by its name.
    pub aliases: BTreeMap<String, Alias>,
}

/// One alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// The version that it points at.
    pub version: String,
    /// When it was last moved, RFC 3339.
    pub since: String,
    /// Versions that it pointed at before, the latest last: where a rollback goes.
    pub previous: Vec<String>,
}

impl Registry {
    /// The aliases of a model; none for a model that has none yet.
    ///
    /// # Errors
    /// [`ModelError::Io`] and [`ModelError::Damaged`].
    pub fn aliases(&self, model: &str) -> Result<Aliases> {
        read_or_default(&self.model_folder(model)?.join(ALIASES), "aliases")
    }

    /// The version that an alias points at.
    ///
    /// # Errors
    /// [`ModelError::NotFound`] lists the aliases that exist.
    pub fn resolve(&self, model: &str, alias: &str) -> Result<String> {
        let Aliases { aliases, .. } = self.aliases(model)?;
        match aliases.get(alias) {
            Some(found) => Ok(found.version.clone()),
            None => {
                let known = aliases.keys().cloned().collect();
                let (name, place) = (alias.into(), self.place(model));
                Err(ModelError::NotFound {
                    what: "alias",
                    name,
                    place,
                    known,
                })
            }
        }
    }

    /// Points an alias at a version that verifies. The version before goes to the alias's history.
    ///
    /// # Errors
    /// What [`Registry::verify`] returns; the alias is then not moved.
    pub fn set_alias(&self, model: &str, alias: &str, version: &str) -> Result<Aliases> {
        check_name("alias", alias)?;
        self.point(model, alias, &self.verify(model, version)?)
    }

    /// Points an alias at a version that was just verified.
    ///
    /// # Errors
    /// [`ModelError::BadName`], [`ModelError::Io`]; the alias is then not moved.
    pub fn point(&self, model: &str, alias: &str, verified: &Version) -> Result<Aliases> {
        check_name("alias", alias)?;
        let version = verified.name.as_str();
        self.change_aliases(model, |aliases| {
            let before = aliases.aliases.remove(alias);
            let mut previous = match &before {
                Some(before) => before.previous.clone(),
                None => Vec::new(),
            };
            if let Some(before) = before.filter(|before| before.version != version) {
                previous.push(before.version);
            }
            let excess = previous.len().saturating_sub(HISTORY);
            previous.drain(..excess);
            let since = format_rfc3339(now_millis());
            aliases.aliases.insert(
                alias.into(),
                Alias {
                    version: version.into(),
                    since,
                    previous,
                },
            );
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
        point_back(model, &mut aliases, alias)
    }

    /// Points an alias back at the version before, which must verify. Returns the aliases after it.
    ///
    /// # Errors
    /// [`ModelError::NoEarlierVersion`], or what verifying the earlier version returns; the alias
    /// is then not moved.
    pub fn rollback(&self, model: &str, alias: &str) -> Result<Aliases> {
        self.point_back(
            model,
            alias,
            &self.verify(model, &self.earlier(model, alias)?)?,
        )
    }

    /// Points an alias back at [`Registry::earlier`], which was just verified.
    ///
    /// # Errors
    /// As [`Registry::rollback`].
    pub fn point_back(&self, model: &str, alias: &str, verified: &Version) -> Result<Aliases> {
        self.change_aliases(model, |aliases| {
            let version = point_back(model, aliases, alias)?;
            // It is another version only if the alias was moved in between.
            if version == verified.name {
                return Ok(());
            }
            self.verify(model, &version).map(drop)
        })
    }

    /// Changes the alias file under its lock, atomically.
    fn change_aliases(
        &self,
        model: &str,
        edit: impl FnOnce(&mut Aliases) -> Result<()>,
    ) -> Result<Aliases> {
        let folder = self.model_folder(model)?;
        let _guard = lock(&folder.join(LOCK))?;
        let mut aliases = self.aliases(model)?;
        edit(&mut aliases)?;
        aliases.epoch += 1;
        replace(&folder.join(ALIASES), &aliases)?;
        Ok(aliases)
    }
}

/// Points an alias back at the version before, whose name it returns.
fn point_back(model: &str, aliases: &mut Aliases, alias: &str) -> Result<String> {
    let none = || ModelError::NoEarlierVersion {
        alias: alias.into(),
        model: model.into(),
    };
    let entry = aliases.aliases.get_mut(alias).ok_or_else(none)?;
    entry.version = entry.previous.pop().ok_or_else(none)?;
    entry.since = format_rfc3339(now_millis());
    Ok(entry.version.clone())
}

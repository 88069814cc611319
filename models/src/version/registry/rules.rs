//! The rules of a model, with those before them.

use crate::error::{ModelError, Result};
use crate::pipeline::rules::{Rule, RuleSet};
use crate::version::registry::Registry;
use crate::version::registry::files::{FileStamp, LOCK, lock, read_or_default, replace};
use serde::{Deserialize, Serialize};

const RULES: &str = "rules.json";
/// Earlier rule sets that are kept.
const HISTORY: usize = 20;

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RuleBook {
    /// The rules in force.
    pub rules: RuleSet,
    /// Those before them, the latest last.
    pub previous: Vec<RuleSet>,
}

impl Registry {
    /// The rules in force; none before the first are set.
    ///
    /// # Errors
    /// [`ModelError::Io`] and [`ModelError::Damaged`].
    pub fn rules(&self, model: &str) -> Result<RuleSet> {
        Ok(self.rule_book(model)?.rules)
    }

    fn rule_book(&self, model: &str) -> Result<RuleBook> {
        read_or_default(&self.model_folder(model)?.join(RULES), "rules")
    }

    /// What the file of rules looks like now: it differs after every change.
    ///
    /// # Errors
    /// [`ModelError::Io`].
    pub fn rules_stamp(&self, model: &str) -> Result<FileStamp> {
        FileStamp::of(&self.model_folder(model)?.join(RULES))
    }

    /// Replaces the rules, which the caller has checked. All servers of the registry see them at
    /// their next look. `expected` is the revision that they were made from, 0 = any.
    ///
    /// # Errors
    /// [`ModelError::RulesChanged`] if another revision than the expected one is in force;
    /// [`ModelError::Io`]. Nothing has then changed.
    pub fn set_rules(&self, model: &str, rules: Vec<Rule>, expected: u64) -> Result<RuleSet> {
        self.change_rules(model, |book| {
            let found = book.rules.revision;
            if expected != 0 && expected != found {
                return Err(ModelError::RulesChanged { found, expected });
            }
            let new = RuleSet {
                revision: found + 1,
                rules,
            };
            book.previous.push(std::mem::replace(&mut book.rules, new));
            Ok(())
        })
    }

    /// Brings back the rules before the last change, as a new revision.
    ///
    /// # Errors
    /// [`ModelError::NoEarlierRules`] if there are none before; [`ModelError::Io`]. Nothing has
    /// then changed.
    pub fn rollback_rules(&self, model: &str) -> Result<RuleSet> {
        self.change_rules(model, |book| {
            let Some(before) = book.previous.pop() else {
                return Err(ModelError::NoEarlierRules {
                    model: model.into(),
                });
            };
            book.rules = RuleSet {
                revision: book.rules.revision + 1,
                rules: before.rules,
            };
            Ok(())
        })
    }

    fn change_rules(
        &self,
        model: &str,
        change: impl FnOnce(&mut RuleBook) -> Result<()>,
    ) -> Result<RuleSet> {
        let folder = self.model_folder(model)?;
        let _guard = lock(&folder.join(LOCK))?;
        let mut book = self.rule_book(model)?;
        change(&mut book)?;
        let excess = book.previous.len().saturating_sub(HISTORY);
        book.previous.drain(..excess);
        replace(&folder.join(RULES), &book)?;
        Ok(book.rules)
    }
}

//! What is laid over fitted models while they serve: prices and stock as they are now, and the
//! rules in force.
//!
//! A [`LiveState`] does not change: a new price or rule makes a new one. Whoever serves swaps it
//! behind a pointer.

use crate::condition::{Condition, ConditionError};
use crate::fitted_models::FittedModels;
use crate::pipeline::live_catalog::{ItemChanges, LiveCatalog};
use crate::pipeline::rules::RuleSet;
use crate::pipeline::rules::compiled::CompiledRules;
use crate::pipeline::rules::fields::{item_fields, items_matching};
use aisle_retrieval::bitmap::Bitmap;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Conditions of requests whose items are kept.
const CACHED_CONDITIONS: usize = 256;

/// Prices, stock and rules for one set of fitted models.
#[derive(Default)]
pub struct LiveState {
    /// Prices and stock.
    pub catalog: Arc<LiveCatalog>,
    /// The rules in force.
    pub rules: Arc<CompiledRules>,
    /// The items of conditions that requests sent recently, by their text.
    conditions: RwLock<BTreeMap<String, Arc<Bitmap>>>,
}

impl LiveState {
    /// Applies changes of items and compiles rules. O(items + changes + conditions · items).
    pub fn new(models: &FittedModels, changes: &ItemChanges, rules: &Arc<RuleSet>) -> Self {
        let catalog = LiveCatalog::apply_item_changes(&models.catalog, &models.items, changes);
        let rules = CompiledRules::of(models, &catalog, rules);
        Self {
            catalog: Arc::new(catalog),
            rules: Arc::new(rules),
            conditions: RwLock::default(),
        }
    }

    /// The same rules with other changes of items. Rules are compiled again only if a condition
    /// looks at prices or stock.
    pub fn with_item_changes(&self, models: &FittedModels, changes: &ItemChanges) -> Self {
        if self.rules.reads_live_values {
            return Self::new(models, changes, self.rules.set());
        }
        let catalog = LiveCatalog::apply_item_changes(&models.catalog, &models.items, changes);
        Self {
            catalog: Arc::new(catalog),
            rules: self.rules.clone(),
            conditions: RwLock::default(),
        }
    }

    /// The same prices and stock under other rules. O(conditions · items).
    pub fn with_rules(&self, models: &FittedModels, rules: &Arc<RuleSet>) -> Self {
        let rules = Arc::new(CompiledRules::of(models, &self.catalog, rules));
        Self {
            catalog: self.catalog.clone(),
            rules,
            conditions: RwLock::default(),
        }
    }

    /// Prices and stock as the catalogue of the models has them, and no rules.
    pub fn unchanged(models: &FittedModels) -> Self {
        Self::new(models, &ItemChanges::default(), &Arc::default())
    }

    /// The items that match a condition on `item.…`. O(items · tests of the condition), or O(1) for
    /// one that was asked for recently.
    ///
    /// # Errors
    /// [`ConditionError`] says where the condition is wrong.
    pub fn items_matching(
        &self,
        models: &FittedModels,
        text: &str,
    ) -> Result<Arc<Bitmap>, ConditionError> {
        let cached = self
            .conditions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(text)
            .cloned();
        if let Some(items) = cached {
            return Ok(items);
        }
        let condition = Condition::parse(text, &item_fields(models))?;
        let items = Arc::new(items_matching(models, &self.catalog, &condition));
        let mut conditions = self
            .conditions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if conditions.len() >= CACHED_CONDITIONS {
            conditions.clear();
        }
        conditions.insert(text.to_string(), items.clone());
        Ok(items)
    }
}

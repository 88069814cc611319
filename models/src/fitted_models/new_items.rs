//! Items that came since the models were fitted: they get a place by their content, without a new
//! fit.

use crate::algorithms::cold_start::ColdStart;
use crate::error::Result;
use crate::fitted_models::FittedModels;
use std::sync::Arc;

impl FittedModels {
    /// Whether an item was there when the models were fitted.
    pub fn is_fitted(&self, id: &str) -> bool {
        self.items
            .get(id)
            .is_some_and(|item| (item as usize) < self.counts.items)
    }

    /// Whether there are rows for items that came since.
    pub fn has_new_items(&self) -> bool {
        self.items.len() > self.counts.items
    }

    /// Gives the items that came since a place by what is known of them, as a fit does with items
    /// without events, and lets them be bought. A model that cannot place them leaves them to
    /// filters and best sellers. O(features of all items · dimension).
    ///
    /// # Errors
    /// [`crate::ModelError::Hyperparameter`] of `content`.
    pub fn add_new_items(&mut self) -> Result<()> {
        let first = self.counts.items;
        if !self.has_new_items() {
            return Ok(());
        }
        let rows = self.items.len();
        Arc::make_mut(&mut self.catalog).available[first..].fill(true);
        let content = self.hyperparameters.content.clone();
        content.validate()?;
        let placed: Vec<bool> = (0..rows as u32)
            .map(|item| self.personal.knows_cold_item(item))
            .collect();
        let users = &self.item_users;
        let is_new = |item: u32| item as usize >= first || placed[item as usize];
        let users_of = |item: u32| users[item as usize] as usize;
        if let Some(cold_start) = ColdStart::of(&content, &self.catalog, &users_of, &is_new) {
            // A log without shoppers stores no histories: the scale of the fit stands.
            let histories = self.histories.not_empty();
            cold_start.enter(
                &histories,
                (rows, self.counts.cold_scale),
                self.personal.as_mut(),
            );
        }
        self.derive_recommendable();
        self.upsell
            .set_usual_ratios_from(first, &self.indexes.groups);
        Ok(())
    }
}

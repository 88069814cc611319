//! The training pairs, one for each item that a user chose, and what describes their items and
//! users.

use crate::algorithms::recommend::Training;
use crate::algorithms::two_tower::features::{Feature, FeatureBags, select_features};
use crate::algorithms::two_tower::hyperparameters::TwoTower;
use crate::error::{ModelError, Result};
use aisle_data::{Catalog, Interactions};
use std::ops::Range;

/// All pairs of a user and an item that the user chose. A pair has the number of its entry in the
/// users × items matrix, so that the pairs of a user follow each other by ascending item.
pub(super) struct TrainingPairs<'a> {
    interactions: &'a Interactions,
    /// Confidence of each pair.
    pub confidences: Vec<f32>,
    /// User row of each pair.
    pub users: Vec<u32>,
    /// Items that somebody chose, ascending.
    pub items_with_users: Vec<u32>,
    /// The rows of the item table that describe each item.
    pub item_bags: FeatureBags,
    /// The rows of the user table that describe each user.
    pub user_bags: FeatureBags,
}

impl<'a> TrainingPairs<'a> {
    /// Reads the pairs and the features that `tower` names.
    ///
    /// # Errors
    /// - [`ModelError::NothingToLearn`] if there are no pairs, or nothing that describes users;
    /// - [`ModelError::Hyperparameter`] for a feature that the data do not have.
    pub fn new(tower: &TwoTower, training: &Training<'a>) -> Result<Self> {
        let interactions = training.require_interactions("two-tower")?;
        let known = catalog_features(training.catalog);
        let features = select_features("item_features", &tower.item_features, known)?;
        let item_bags = FeatureBags::with_own_rows(interactions.items(), &features);
        let user_bags = user_bags(tower, training)?;
        let by_user = &interactions.by_user;
        let confidence = |&value: &f32| tower.scaling.of(value);
        let repeated = |user: usize| std::iter::repeat_n(user as u32, by_user.columns(user).len());
        let has_users = |item: &u32| !interactions.by_item.columns(*item as usize).is_empty();
        Ok(Self {
            interactions,
            confidences: by_user.values.iter().map(confidence).collect(),
            users: (0..interactions.users()).flat_map(repeated).collect(),
            items_with_users: (0..interactions.items() as u32).filter(has_users).collect(),
            item_bags,
            user_bags,
        })
    }

    /// Returns the users × items matrix, by user and by item.
    pub fn interactions(&self) -> &Interactions {
        self.interactions
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Returns the item of a pair.
    pub fn item(&self, pair: usize) -> u32 {
        self.interactions.by_user.indices[pair]
    }

    /// Returns the item of every pair, in the order of the pairs.
    pub fn items(&self) -> &[u32] {
        &self.interactions.by_user.indices
    }

    /// Returns all pairs of the user of a pair.
    pub fn pairs_of_same_user(&self, pair: usize) -> Range<usize> {
        let offsets = &self.interactions.by_user.offsets;
        let user = self.users[pair] as usize;
        offsets[user]..offsets[user + 1]
    }

    /// Returns the items of the user of a pair, ascending.
    pub fn items_of_same_user(&self, pair: usize) -> &[u32] {
        let user = self.users[pair] as usize;
        self.interactions.by_user.columns(user)
    }

    /// Returns the share of the pairs that are about an item.
    pub fn item_share(&self, item: u32) -> f32 {
        self.interactions.by_item.columns(item as usize).len() as f32 / self.len() as f32
    }
}

/// Returns the features that a catalogue has, with the names that settings call them by.
fn catalog_features(catalog: &Catalog) -> Vec<(&str, Feature<'_>)> {
    let mut known = Vec::new();
    let paths = [("category", &catalog.category), ("brand", &catalog.brand)];
    for (name, labels) in paths
        .into_iter()
        .filter(|(_, labels)| !labels.has_no_text())
    {
        known.push((name, Feature::Path(labels)));
    }
    if catalog.price.iter().any(|price| price.is_finite()) {
        known.push(("price", Feature::Number(&catalog.price)));
    }
    for (name, labels) in &catalog.attributes {
        known.push((name.as_str(), Feature::Text(labels)));
    }
    known
}

/// Returns the rows of the user table that describe each user. An order appears only once, so where
/// orders take the place of users nothing describes them but their items.
fn user_bags(tower: &TwoTower, training: &Training) -> Result<FeatureBags> {
    let users = training.interactions.users();
    if training.interactions.rows_are_orders {
        if tower.history == 0 {
            return Err(ModelError::NothingToLearn {
                model: "two-tower",
                why: "no event names a user, and history is 0".into(),
            });
        }
        return Ok(FeatureBags::of_features(users, &[]));
    }
    let known = training
        .users
        .iter()
        .map(|(name, labels)| (name.as_str(), Feature::Text(labels)))
        .collect();
    let features = select_features("user_features", &tower.user_features, known)?;
    Ok(match tower.users {
        true => FeatureBags::with_own_rows(users, &features),
        false => FeatureBags::of_features(users, &features),
    })
}

//! What every algorithm is: hyperparameters that are fitted to data, and a model that recommends.
//!
//! An algorithm implements [`Fit`] for its hyperparameters and [`Recommend`] for its fitted model.
//! [`Training`] is what a fit reads, [`Progress`] what it reports to, [`History`] what a model is
//! asked with, and [`ColdItems`] how a fitted model learns about items that have no events.

use crate::algorithms::neighbours::Neighbours;
use crate::error::{ModelError, Result};
use crate::weights::Tensor;
use aisle_data::{Catalog, EventLog, Interactions, Labels, Orders};
use aisle_retrieval::device::Device;
use aisle_retrieval::index::{Eligible, SearchBuffer};
use aisle_retrieval::inverted_lists::Retrieval;
use aisle_retrieval::top_k::Scored;
use rayon::prelude::*;
use std::path::Path;

/// The data that models are fitted to. All parts describe the same shop: items have the same row
/// numbers in `log`, `interactions`, `orders` and `catalog`, and users in `log` and `users`.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// The events, in the order of the files.
    pub log: &'a EventLog,
    /// The users × items matrix of summed event weights. In a log that names no users its rows are
    /// orders.
    pub interactions: &'a Interactions,
    /// The orders, each with the items that were bought together.
    pub orders: &'a Orders,
    /// Category, brand, title, price and further attributes of each item.
    pub catalog: &'a Catalog,
    /// Attributes of the users by name, each with one label for every user of `log.users`.
    pub users: &'a [(String, Labels)],
}

impl<'a> Training<'a> {
    /// Returns the interactions, which `model` cannot be fitted without.
    ///
    /// # Errors
    /// [`ModelError::NothingToLearn`] if there are none.
    pub(crate) fn require_interactions(&self, model: &'static str) -> Result<&'a Interactions> {
        if self.interactions.nnz() == 0 {
            return Err(ModelError::NothingToLearn {
                model,
                why: "no user has a positive interaction".into(),
            });
        }
        Ok(self.interactions)
    }
}

/// The caller of a fit, as the fit sees it: hears how far the fit has come, and decides where it
/// computes and where it keeps checkpoints. Implement [`Progress::step`] alone, or pass `&()`, for
/// a silent fit on the processor cores without checkpoints.
pub trait Progress: Sync {
    /// Is called each time a part of the work is done: `done` of `total` steps of `stage` are
    /// finished. Fits call it from several threads, so `done` may go down between two calls.
    fn step(&self, stage: &str, done: usize, total: usize);

    /// Is called with a line of text for a person who follows the fit, such as the loss and the
    /// metric of an epoch.
    fn message(&self, _line: &str) {}

    /// Returns the processor for the models that can compute on another one than the cores.
    fn device(&self) -> Device {
        Device::Cpu
    }

    /// Returns the folder for the checkpoints of long fits; `None` writes none. A later fit of the
    /// same data and hyperparameters continues from the checkpoint that it finds there.
    fn checkpoints(&self) -> Option<&Path> {
        None
    }
}

impl Progress for () {
    fn step(&self, _: &str, _: usize, _: usize) {}
}

/// Hyperparameters of an algorithm, which fit a model to data.
///
/// Fits are reproducible: the same data and hyperparameters give the same bits at any number of
/// threads.
pub trait Fit {
    /// The fitted model.
    type Model;

    /// Fits a model to `training` and reports to `progress`.
    ///
    /// # Errors
    /// - [`ModelError::Hyperparameter`] if a hyperparameter is out of range;
    /// - [`ModelError::NothingToLearn`] if the data lack what the algorithm needs;
    /// - [`ModelError::Diverged`] if a number stops being finite;
    /// - [`ModelError::Device`] if the device of `progress` cannot be used.
    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<Self::Model>;
}

/// Checks that the hyperparameter `name` lies in its range.
///
/// # Errors
/// [`ModelError::Hyperparameter`] with the value and the range.
pub(crate) fn check_range<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let unlimited = range.end().to_string() == f32::MAX.to_string();
    let expected = if unlimited {
        format!("a number of {} or more", range.start())
    } else {
        format!("{} to {}", range.start(), range.end())
    };
    Err(ModelError::Hyperparameter {
        name: name.into(),
        found: value.to_string(),
        expected,
    })
}

/// The items that a shopper interacted with, which a model answers from. `items` and `values` have
/// the same length; an empty history is one of a shopper of whom nothing is known.
///
/// A history need not be one of the fit: a model answers any list of known items, for example of a
/// session or a cart.
#[derive(Clone, Copy, Debug, Default)]
pub struct History<'a> {
    /// Item rows, ascending.
    pub items: &'a [u32],
    /// The summed event weight of each item, above zero. Models turn it into confidence themselves.
    pub values: &'a [f32],
    /// The row of a user of the fit whose history is still the same as then, so that a model may
    /// use what it stored of the user; `None` for every other history.
    pub user: Option<u32>,
}

/// Returns the item with the largest positive contribution to the score of `item`, the lowest row
/// of equals; `item` itself does not count. `None` if no contribution is positive.
pub(crate) fn largest_contribution(
    contributions: impl Iterator<Item = (u32, f32)>,
    item: u32,
) -> Option<u32> {
    let mut best = (u32::MAX, 0f32);
    for (source, part) in contributions {
        if part >= best.1 && (part > best.1 || source < best.0) && source != item {
            best = (source, part);
        }
    }
    (best.1 > 0.0).then_some(best.0)
}

/// Items without events (cold items), together with a prediction, from their content, of what a
/// model would have learned about them. A model asks for whichever representation it uses: vectors
/// or item-to-item weights. What it learned about other items is an input and never changes.
pub trait ColdItems {
    /// Returns the rows of the cold items, ascending.
    fn items(&self) -> &[u32];

    /// Predicts the vectors of the cold items from the vectors of the items with events. `values`
    /// holds `depth` numbers for each item of the catalogue, row-major; the result holds `depth`
    /// numbers for each item of [`ColdItems::items`].
    fn vectors(&self, values: &[f32], depth: usize) -> Vec<f32>;

    /// Returns a copy of `values` with the predicted vectors in the rows of the cold items.
    fn with_vectors(&self, values: &[f32], depth: usize) -> Vec<f32> {
        let mut table = values.to_vec();
        for (row, &item) in self.vectors(values, depth).chunks(depth).zip(self.items()) {
            table[item as usize * depth..][..depth].copy_from_slice(row);
        }
        table
    }

    /// Returns a copy of item-to-item weights with predicted weights from the cold items to other
    /// items, and from other items to the cold ones.
    fn rows(&self, neighbours: &Neighbours) -> Neighbours;
}

/// A fitted model of what shoppers like.
///
/// Answers are reproducible: the same model, history and eligible items give the same items with
/// the same scores to the bit, alone or in a batch, at any number of threads. Lists are sorted by
/// descending score, and equal scores by ascending item row. Scores of different models have
/// different scales; [`Recommend::standardized_scores`] makes them comparable.
///
/// A model has no opinion on an item that it learned nothing about. Such an item is missing in
/// lists, and its score is `None`.
pub trait Recommend: Send + Sync {
    /// Returns the name of the algorithm, as on the command line.
    fn algorithm(&self) -> &'static str;

    /// Finds the `k` eligible items with the highest scores for a history, and leaves them in
    /// `buffer.items`, best first. There are fewer if the model has an opinion on fewer.
    fn recommend(&self, history: History, k: usize, eligible: Eligible, buffer: &mut SearchBuffer);

    /// Answers each history as [`Recommend::recommend`] does, on all threads. `eligible` holds one
    /// entry for each history.
    fn recommend_batch(
        &self,
        histories: &[History],
        k: usize,
        eligible: &[Eligible],
    ) -> Vec<Vec<Scored>> {
        histories
            .par_iter()
            .zip(eligible)
            .map_init(SearchBuffer::default, |buffer, (&history, &eligible)| {
                self.recommend(history, k, eligible, buffer);
                buffer.items.clone()
            })
            .collect()
    }

    /// Finds the `k` eligible items most similar to `item`, and leaves them in `buffer.items`, best
    /// first. Scores of models with vectors are cosines, from −1 to 1.
    fn similar_items(&self, item: u32, k: usize, eligible: Eligible, buffer: &mut SearchBuffer);

    /// Returns whether the model knows which items are similar. If not, it finds no similar items,
    /// and every similarity is 0.
    fn has_similarity(&self) -> bool {
        true
    }

    /// Returns the similarity of two items, on the scale of [`Recommend::similar_items`]; 0 if the
    /// model knows of none.
    fn similarity(&self, a: u32, b: u32) -> f32;

    /// Returns the similarity of `a` to each of `items`.
    fn similarities(&self, a: u32, items: &[u32]) -> Vec<f32> {
        items.iter().map(|&item| self.similarity(a, item)).collect()
    }

    /// Returns, for each of `items`, the item of the history that contributes most to its score:
    /// the item to name in "because you bought …". `None` if no contribution is positive.
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        let explain = |&item: &u32| {
            let contributions = history
                .items
                .iter()
                .zip(history.values)
                .map(|(&source, &value)| (source, value * self.similarity(source, item)));
            largest_contribution(contributions, item)
        };
        items.iter().map(explain).collect()
    }

    /// Returns the score of each of `items` for a history, the same bits as in
    /// [`Recommend::recommend`]; `None` where the model has no opinion.
    fn score(&self, history: History, items: &[u32]) -> Vec<Option<f32>>;

    /// Returns the standard deviation of the scores that this history gives to all items, those
    /// without an opinion counted as 0. Division by it makes scores of different models comparable.
    fn score_deviation(&self, history: History) -> f32;

    /// Returns the score of each of `items` divided by [`Recommend::score_deviation`]; `None` where
    /// the model has no opinion, and everywhere if the deviation is 0.
    fn standardized_scores(&self, history: History, items: &[u32]) -> Vec<Option<f32>> {
        let deviation = self.score_deviation(history);
        self.score(history, items)
            .into_iter()
            .map(|score| {
                score
                    .filter(|_| deviation > 0.0)
                    .map(|score| score / deviation)
            })
            .collect()
    }

    /// Returns whether the model can recommend an item without events because of its content.
    fn knows_cold_item(&self, _item: u32) -> bool {
        false
    }

    /// Adds predictions for cold items to the model, in place of those that it had; what it learned
    /// from events stays as it is. A model that cannot use them leaves them out.
    fn add_cold_items(&mut self, _cold_items: &dyn ColdItems) {}

    /// Multiplies the scores of all cold items by `scale`, so that they take no more than their
    /// share of the answers.
    fn scale_cold_scores(&mut self, _scale: f32) {}

    /// Ranks batches on `device` from now on, with the same answers. Returns false, and changes
    /// nothing, for a model without vectors.
    ///
    /// # Errors
    /// [`ModelError::Device`] if the device cannot be opened or lacks memory.
    fn use_device(&mut self, _device: Device) -> Result<bool> {
        Ok(false)
    }

    /// Divides the items into inverted lists, of which a search then reads a few, if there are
    /// enough items and if that is faster for histories like these. Returns what was measured;
    /// `None` if the model did not try.
    fn build_inverted_lists(&mut self, _histories: &[History]) -> Option<Retrieval> {
        None
    }

    /// Computes ahead what the first answer would otherwise have to wait for.
    fn warm(&self) {}

    /// Returns the number of inverted lists, and how many of them a search reads at least; `None`
    /// if a search reads all items.
    fn inverted_lists(&self) -> Option<(usize, usize)> {
        None
    }

    /// Returns the vector of a history: shoppers of similar taste have vectors with a large cosine.
    /// `None` from a model without vectors, or if nothing is known of the shopper.
    fn vector(&self, _history: History) -> Option<Vec<f32>> {
        None
    }

    /// Returns the arrays that a version stores of this model.
    fn tensors(&self) -> Vec<Tensor<'_>>;
}

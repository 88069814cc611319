//! What every algorithm is: hyperparameters that fit to data, and a model that recommends.

use crate::content::Newcomers;
use crate::device::Device;
use crate::index::{Eligible, Found};
use crate::lists::Retrieval;
use crate::top_k::Scored;
use crate::weights::Tensor;
use crate::{ModelError, Result};
use aisle_data::{Catalog, EventLog, Interactions, Labels, Orders};
use rayon::prelude::*;
use std::path::Path;

/// What models learn from.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// The events themselves.
    pub log: &'a EventLog,
    /// Who likes what.
    pub interactions: &'a Interactions,
    /// What was bought together.
    pub orders: &'a Orders,
    /// What is known of the items.
    pub catalog: &'a Catalog,
    /// What is known of the users, aligned with `log.users`.
    pub users: &'a [(String, Labels)],
}

/// Who runs a fit: hears how far it has come, and says where to compute and where to keep what must survive an interruption.
pub trait Watch: Sync {
    /// `done` of `total` steps of `stage` are finished.
    fn step(&self, stage: &str, done: usize, total: usize);

    /// A line for who follows the fit: loss and metric of an epoch.
    fn say(&self, _line: &str) {}

    /// The processor for models that can use another than this machine's cores.
    fn device(&self) -> Device {
        Device::Cpu
    }

    /// A folder for checkpoints of long fits; a later fit of the same data and hyperparameters goes on from there.
    fn checkpoints(&self) -> Option<&Path> {
        None
    }
}

impl Watch for () {
    fn step(&self, _: &str, _: usize, _: usize) {}
}

/// Hyperparameters that fit to data.
pub trait Fit {
    /// What comes of it.
    type Model;
    /// Fits. The same data and hyperparameters give the same bits at any number of threads.
    ///
    /// # Errors
    /// [`crate::ModelError`] for hyperparameters out of range, data without what the model needs, or divergence.
    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<Self::Model>;
}

/// Checks one hyperparameter against its range.
pub(crate) fn hyperparameter<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let unlimited = range.end().to_string() == f32::MAX.to_string();
    let expected =
        if unlimited { format!("a number of {} or more", range.start()) } else { format!("{} to {}", range.start(), range.end()) };
    Err(ModelError::Hyperparameter { name: name.into(), found: value.to_string(), expected })
}

/// What a shopper did, as item rows (ascending) with their confidence.
#[derive(Clone, Copy, Debug, Default)]
pub struct History<'a> {
    /// Item rows, ascending.
    pub items: &'a [u32],
    /// Confidence of each, above zero.
    pub values: &'a [f32],
    /// The trained user whose history this is, unchanged: a model may then use what it stored.
    pub user: Option<u32>,
}

/// The source with the largest positive part of an item's score, the item itself left out.
pub(crate) fn strongest(parts: impl Iterator<Item = (u32, f32)>, item: u32) -> Option<u32> {
    let mut best = (u32::MAX, 0f32);
    for (source, part) in parts {
        if part >= best.1 && (part > best.1 || source < best.0) && source != item {
            best = (source, part);
        }
    }
    (best.1 > 0.0).then_some(best.0)
}

/// A fitted model of taste.
pub trait Recommend: Send + Sync {
    /// The algorithm's name on the command line.
    fn algorithm(&self) -> &'static str;

    /// The best `k` eligible items for a history, best first, into `found`. A model that has no opinion on an item
    /// leaves it out: there may be fewer than `k`.
    fn recommend(&self, history: History, k: usize, eligible: Eligible, found: &mut Found);

    /// The same for many, on all threads.
    fn recommend_batch(&self, histories: &[History], k: usize, eligible: &[Eligible]) -> Vec<Vec<Scored>> {
        histories
            .par_iter()
            .zip(eligible)
            .map_init(Found::default, |found, (&history, &eligible)| {
                self.recommend(history, k, eligible, found);
                found.items.clone()
            })
            .collect()
    }

    /// The eligible items most like one item, best first; scores from −1 to 1 where the measure is a cosine.
    fn similar_items(&self, item: u32, k: usize, eligible: Eligible, found: &mut Found);

    /// How alike two items are, on the scale of [`Recommend::similar_items`]; 0 = nothing known.
    fn similarity(&self, a: u32, b: u32) -> f32;

    /// The same for many items.
    fn similarities(&self, a: u32, items: &[u32]) -> Vec<f32> {
        items.iter().map(|&item| self.similarity(a, item)).collect()
    }

    /// For each recommended item the item of the history that speaks for it most; `None` if none does.
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        let explain = |&item: &u32| {
            let parts =
                history.items.iter().zip(history.values).map(|(&source, &value)| (source, value * self.similarity(source, item)));
            strongest(parts, item)
        };
        items.iter().map(explain).collect()
    }

    /// Scores given items for a history; `None` where the model has no opinion.
    fn score(&self, history: History, items: &[u32]) -> Vec<Option<f32>>;

    /// The standard deviation of this history's scores over all items (0 where the model has no opinion): the unit in which
    /// models of different scales are compared.
    fn deviation(&self, history: History) -> f32;

    /// Scores of given items in that unit.
    fn standing(&self, history: History, items: &[u32]) -> Vec<Option<f32>> {
        let unit = self.deviation(history);
        self.score(history, items).into_iter().map(|score| score.filter(|_| unit > 0.0).map(|score| score / unit)).collect()
    }

    /// Whether an item that nobody has touched yet can be recommended all the same, for what is known of it.
    fn knows(&self, _item: u32) -> bool {
        false
    }

    /// Gives items that nobody has touched yet a place by their content; what was learned stays as it is. A model without a way to do so
    /// leaves them out.
    fn introduce(&mut self, _newcomers: &Newcomers) {}

    /// Scales the scores of these items.
    fn soften(&mut self, _scale: f32) {}

    /// Batches are ranked on this device from now on, with the same answers. False for a model that has no vectors: it stays where it is.
    ///
    /// # Errors
    /// [`crate::ModelError::Device`].
    fn rank_on(&mut self, _device: Device) -> Result<bool> {
        Ok(false)
    }

    /// Looks at some lists of the items from now on, if there are many, if an exact search would have to look at all, and if that pays for
    /// histories like these. What was measured, if anything was.
    fn partition(&mut self, _histories: &[History]) -> Option<Retrieval> {
        None
    }

    /// Finds the neighbours of the first of some items, as many as some seconds allow; they become a part of the model.
    fn store_neighbours(&mut self, _items: &[u32]) {}

    /// Makes what a first answer would otherwise wait for.
    fn warm(&self) {}

    /// The lists that it has, and how many of them a search looks at at least; `None` where it looks at all items.
    fn lists(&self) -> Option<(usize, usize)> {
        None
    }

    /// The vector of a history, in a model that has vectors: shoppers of like taste have a large cosine.
    fn vector(&self, _history: History) -> Option<Vec<f32>> {
        None
    }

    /// The arrays to export.
    fn tensors(&self) -> Vec<Tensor<'_>>;
}

//! A part of the training data that is held out to choose a setting by: the weights of a blend, the
//! number of epochs of two towers.
//!
//! The log is split in two. Models are fitted on the earlier part, the past, and recommend to
//! shoppers of the past; the items that these shoppers then chose for the first time, in the later
//! part, are the relevant ones of NDCG.

use crate::algorithms::digest::short_digest;
use crate::algorithms::recommend::{History, Recommend, Training};
use crate::error::{ModelError, Result};
use crate::metrics;
use aisle_data::{DataError, EventLog, EventRole, Interactions, NONE, Orders, Split};
use aisle_retrieval::bitmap::Bitmap;
use aisle_retrieval::index::Eligible;

/// Length of the lists that NDCG is computed on.
pub(crate) const CUTOFF: usize = 20;
/// Most shoppers that are recommended to.
const MOST_SHOPPERS: usize = 10_000;

/// The past, and what shoppers chose after it.
pub(crate) struct HeldOut {
    log: EventLog,
    interactions: Interactions,
    orders: Orders,
    /// Items that somebody interacted with in the past.
    candidates: Bitmap,
    /// User rows of the shoppers to recommend to, ascending: evenly drawn from those who have a
    /// past and chose something new after it.
    users: Vec<u32>,
    /// The new items of each of these shoppers, ascending.
    relevant: Vec<Vec<u32>>,
}

impl HeldOut {
    /// Splits the log of `training` by `split`, written as [`Split`] is. `None` if nothing can be
    /// measured: the log names no users or is too short to split, or nobody chose anything new in
    /// its later part.
    ///
    /// # Errors
    /// [`ModelError`] for a split that is not understood.
    pub fn new(training: &Training, split: &str) -> Result<Option<Self>> {
        let split: Split = split.parse()?;
        if training.interactions.rows_are_orders {
            return Ok(None);
        }
        let (log, later) = match split.apply(training.log) {
            // There are too few days, users or orders to hold anything out, or none at all.
            Err(DataError::Empty { .. } | DataError::NotServed { .. }) => return Ok(None),
            parts => parts.map_err(ModelError::from)?,
        };
        let interactions = Interactions::of(&log);
        if interactions.rows_are_orders {
            return Ok(None);
        }
        let mut new_items = new_items(&interactions, &later);
        let has_both = |&user: &u32| {
            !new_items[user as usize].is_empty()
                && !interactions.by_user.columns(user as usize).is_empty()
        };
        let users: Vec<u32> = (0..interactions.users() as u32).filter(has_both).collect();
        let step = users.len().div_ceil(MOST_SHOPPERS).max(1);
        let users: Vec<u32> = users.into_iter().step_by(step).collect();
        if users.is_empty() {
            return Ok(None);
        }
        let relevant = users
            .iter()
            .map(|&user| {
                let mut items = std::mem::take(&mut new_items[user as usize]);
                items.sort_unstable();
                items.dedup();
                items
            })
            .collect();
        let candidates = Bitmap::of(interactions.items(), |item| {
            !interactions.by_item.columns(item as usize).is_empty()
        });
        let orders = Orders::of(&log);
        Ok(Some(Self {
            log,
            interactions,
            orders,
            candidates,
            users,
            relevant,
        }))
    }

    /// Returns the past as training data; catalogue and user attributes are those of `whole`.
    pub fn training<'a>(&'a self, whole: &Training<'a>) -> Training<'a> {
        Training {
            log: &self.log,
            interactions: &self.interactions,
            orders: &self.orders,
            ..*whole
        }
    }

    /// Returns a digest of the shoppers and their relevant items, 16 hexadecimal digits.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytemuck::cast_slice(&self.users));
        self.relevant.iter().for_each(|items| {
            hasher.update(&(items.len() as u64).to_le_bytes());
            hasher.update(bytemuck::cast_slice(items));
        });
        short_digest(&hasher)
    }

    /// Returns the past of each shopper to recommend to.
    pub fn histories(&self) -> Vec<History<'_>> {
        let history = |&user: &u32| {
            let (items, values) = self.interactions.by_user.row(user as usize);
            History {
                items,
                values,
                user: Some(user),
            }
        };
        self.users.iter().map(history).collect()
    }

    /// Returns what may be recommended for each history: all items of the past that are not in it.
    pub fn eligible<'a>(&'a self, histories: &[History<'a>]) -> Vec<Eligible<'a>> {
        histories
            .iter()
            .map(|history| Eligible::without(&self.candidates, history.items))
            .collect()
    }

    /// Returns NDCG@[`CUTOFF`] of a list for the shopper with this place in
    /// [`HeldOut::histories`].
    pub fn ndcg(&self, shopper: usize, items: &[u32]) -> f64 {
        metrics::score(items, &self.relevant[shopper], CUTOFF)[metrics::NDCG]
    }

    /// Returns the mean NDCG@[`CUTOFF`] of a model over all shoppers.
    pub fn mean_ndcg(&self, model: &dyn Recommend) -> f64 {
        let histories = self.histories();
        let answers = model.recommend_batch(&histories, CUTOFF, &self.eligible(&histories));
        let ndcgs = answers.iter().enumerate().map(|(shopper, answer)| {
            let items: Vec<u32> = answer.iter().map(|scored| scored.item).collect();
            self.ndcg(shopper, &items)
        });
        ndcgs.sum::<f64>() / self.users.len() as f64
    }
}

/// Returns for each user the items that they chose in the later part but not before, in the order
/// of events. What they chose is what they bought, or in a log without purchases any event.
fn new_items(past: &Interactions, later: &EventLog) -> Vec<Vec<u32>> {
    let has_purchases = later.has_purchases();
    let mut new_items: Vec<Vec<u32>> = vec![Vec::new(); past.users()];
    for event in 0..later.len() {
        if has_purchases && later.type_of(event).role != EventRole::Purchase {
            continue;
        }
        let (user, item) = (later.user_of(event), later.item[event]);
        let is_new = |user: u32| {
            past.by_user
                .columns(user as usize)
                .binary_search(&item)
                .is_err()
        };
        if user != NONE && is_new(user) {
            new_items[user as usize].push(item);
        }
    }
    new_items
}

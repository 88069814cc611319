//! A part of the training data held out to choose something by: weights of a blend, epochs of two towers.

use crate::bitmap::Bitmap;
use crate::index::Eligible;
use crate::metrics;
use crate::recommend::{History, Recommend, Training};
use crate::{ModelError, Result};
use aisle_data::{DataError, EventLog, EventRole, Interactions, NONE, Orders, Split};

/// Cut-off of the NDCG that is chosen by.
pub(crate) const CUT: usize = 20;
/// Shoppers asked, at most.
const SHOPPERS: usize = 10_000;

/// The past to fit on, and what shoppers chose after it.
pub(crate) struct HeldOut {
    log: EventLog,
    pub interactions: Interactions,
    orders: Orders,
    /// Items with users in the past.
    candidates: Bitmap,
    /// User rows, evenly spread over the shoppers who have a past and something new after it.
    asked: Vec<u32>,
    /// New items of each asked shopper, ascending.
    wanted: Vec<Vec<u32>>,
}

impl HeldOut {
    /// Cuts by a split as [`Split`] is written. `None` if nothing can be asked: no user is named, or the later part holds nothing new
    /// of a known shopper.
    ///
    /// # Errors
    /// A split that is not understood.
    pub fn new(training: &Training, split: &str) -> Result<Option<Self>> {
        let split: Split = split.parse()?;
        if training.interactions.rows_are_orders {
            return Ok(None);
        }
        let (log, later) = match split.apply(training.log) {
            // Too few days, users or orders to cut anything off, or none of them.
            Err(DataError::Empty { .. } | DataError::NotServed { .. }) => return Ok(None),
            parts => parts.map_err(ModelError::from)?,
        };
        let interactions = Interactions::of(&log);
        if interactions.rows_are_orders {
            return Ok(None);
        }
        let bought = later.has_purchases();
        let mut wanted: Vec<Vec<u32>> = vec![Vec::new(); interactions.users()];
        for event in (0..later.len()).filter(|&event| !bought || later.type_of(event).role == EventRole::Purchase) {
            let user = later.user_of(event);
            if user != NONE && interactions.by_user.columns(user as usize).binary_search(&later.item[event]).is_err() {
                wanted[user as usize].push(later.item[event]);
            }
        }
        let askable = |&user: &u32| !wanted[user as usize].is_empty() && !interactions.by_user.columns(user as usize).is_empty();
        let asked: Vec<u32> = (0..interactions.users() as u32).filter(askable).collect();
        let step = asked.len().div_ceil(SHOPPERS).max(1);
        let asked: Vec<u32> = asked.into_iter().step_by(step).collect();
        if asked.is_empty() {
            return Ok(None);
        }
        let mut asked_wanted = Vec::with_capacity(asked.len());
        for &user in &asked {
            let mut items = std::mem::take(&mut wanted[user as usize]);
            items.sort_unstable();
            items.dedup();
            asked_wanted.push(items);
        }
        let candidates = Bitmap::of(interactions.items(), |item| !interactions.by_item.columns(item as usize).is_empty());
        let orders = Orders::of(&log);
        Ok(Some(Self { log, interactions, orders, candidates, asked, wanted: asked_wanted }))
    }

    /// The past, to fit on.
    pub fn training<'a>(&'a self, whole: &Training<'a>) -> Training<'a> {
        Training { log: &self.log, interactions: &self.interactions, orders: &self.orders, ..*whole }
    }

    /// Of who is asked and what for: 16 hexadecimal digits.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytemuck::cast_slice(&self.asked));
        self.wanted.iter().for_each(|items| {
            hasher.update(&(items.len() as u64).to_le_bytes());
            hasher.update(bytemuck::cast_slice(items));
        });
        hasher.finalize().to_hex()[..16].to_string()
    }

    /// What the asked shoppers did before.
    pub fn histories(&self) -> Vec<History<'_>> {
        let history = |&user: &u32| {
            let (items, values) = self.interactions.by_user.row(user as usize);
            History { items, values, user: Some(user) }
        };
        self.asked.iter().map(history).collect()
    }

    /// What may be answered to each: anything sold before, except what they have.
    pub fn eligible<'a>(&'a self, histories: &[History<'a>]) -> Vec<Eligible<'a>> {
        histories.iter().map(|history| Eligible::without(&self.candidates, history.items)).collect()
    }

    /// NDCG@[`CUT`] of an answer to the shopper of this number.
    pub fn ndcg(&self, number: usize, items: &[u32]) -> f64 {
        metrics::score(items, &self.wanted[number], CUT)[metrics::NDCG]
    }

    /// Mean NDCG@[`CUT`] of a model.
    pub fn mean_ndcg(&self, model: &dyn Recommend) -> f64 {
        let histories = self.histories();
        let answers = model.recommend_batch(&histories, CUT, &self.eligible(&histories));
        let each = answers.iter().enumerate().map(|(number, answer)| {
            let items: Vec<u32> = answer.iter().map(|scored| scored.item).collect();
            self.ndcg(number, &items)
        });
        each.sum::<f64>() / self.asked.len() as f64
    }
}

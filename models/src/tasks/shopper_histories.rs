//! What each shopper did, as rows of items: the history that personal models read, and the items
//! that were bought.

use crate::algorithms::recommend::History;
use crate::error::Result;
use crate::weights::{Tensor, Weights};
use aisle_data::{EventLog, EventRole, Interactions, NONE};
use aisle_math::array::Array;
use aisle_math::sparse::Csr;
use std::ops::Range;

/// Rows of items, one row for each user.
#[derive(Default)]
struct UserRows {
    /// `users + 1` positions into `items`.
    offsets: Array<u64>,
    /// Item rows, ascending within a user.
    items: Array<u32>,
}

impl UserRows {
    /// The positions of a user's items; empty for a row that there is not.
    fn range(&self, user: u32) -> Range<usize> {
        let position = |row: usize| {
            self.offsets
                .get(row)
                .map_or(self.items.len(), |&position| position as usize)
        };
        position(user as usize)..position(user as usize + 1)
    }
}

/// The histories and purchases of all shoppers.
#[derive(Default)]
pub struct ShopperHistories {
    history: UserRows,
    /// The confidence of each item of `history`, above 0.
    values: Array<f32>,
    purchased: UserRows,
}

impl ShopperHistories {
    /// The histories of a log. A log that names no users has none to store: the rows of its
    /// interactions are orders. O(events log events).
    pub(crate) fn of(log: &EventLog, interactions: &Interactions) -> Self {
        let users = log.users.len();
        let by_user = match interactions.rows_are_orders {
            false => interactions.by_user.clone(),
            true => Csr {
                offsets: vec![0; users + 1],
                ..Csr::default()
            },
        };
        let mut purchases: Vec<(u32, u32)> = (0..log.len())
            .filter(|&event| {
                log.type_of(event).role == EventRole::Purchase && log.user_of(event) != NONE
            })
            .map(|event| (log.user_of(event), log.item[event]))
            .collect();
        purchases.sort_unstable();
        purchases.dedup();
        let mut offsets = vec![0u64; users + 1];
        purchases
            .iter()
            .for_each(|&(user, _)| offsets[user as usize + 1] += 1);
        (0..users).for_each(|user| offsets[user + 1] += offsets[user]);
        let purchased: Vec<u32> = purchases.into_iter().map(|(_, item)| item).collect();
        Self {
            history: UserRows {
                offsets: by_user
                    .offsets
                    .iter()
                    .map(|&at| at as u64)
                    .collect::<Vec<_>>()
                    .into(),
                items: by_user.indices.into(),
            },
            values: by_user.values.into(),
            purchased: UserRows {
                offsets: offsets.into(),
                items: purchased.into(),
            },
        }
    }

    /// Reads the histories of `users` shoppers over `items` items from the arrays of a version.
    pub(crate) fn load(users: usize, items: usize, weights: &mut Weights) -> Result<Self> {
        let (offsets, entries) = weights.offsets("history.offsets", users)?;
        let history = UserRows {
            offsets,
            items: weights.rows("history.items", entries, items)?,
        };
        let values = weights.reals("history.values", entries)?;
        let (offsets, entries) = weights.offsets("bought.offsets", users)?;
        let purchased = UserRows {
            offsets,
            items: weights.rows("bought.items", entries, items)?,
        };
        Ok(Self {
            history,
            values,
            purchased,
        })
    }

    /// The arrays that a version stores.
    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![
            Tensor::u64("history.offsets", &self.history.offsets),
            Tensor::u32("history.items", &self.history.items),
            Tensor::f32("history.values", &[self.values.len()], &self.values),
            Tensor::u64("bought.offsets", &self.purchased.offsets),
            Tensor::u32("bought.items", &self.purchased.items),
        ]
    }

    /// How many shoppers have a row, also those who did nothing.
    pub fn len(&self) -> usize {
        self.history.offsets.len().saturating_sub(1)
    }

    /// Whether no shopper has a row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A shopper's history as personal models read it; empty for a shopper who is not known.
    pub fn history(&self, user: u32) -> History<'_> {
        let range = self.history.range(user);
        History {
            items: &self.history.items[range.clone()],
            values: &self.values[range],
            user: Some(user),
        }
    }

    /// The histories of all shoppers that have one, by ascending user.
    pub(crate) fn not_empty(&self) -> Vec<History<'_>> {
        (0..self.len() as u32)
            .map(|user| self.history(user))
            .filter(|history| !history.items.is_empty())
            .collect()
    }

    /// The items that a shopper bought, ascending by row.
    pub fn purchased(&self, user: u32) -> &[u32] {
        &self.purchased.items[self.purchased.range(user)]
    }
}

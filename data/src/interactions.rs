//! The sparse user × item matrix, stored by row both ways.

use crate::event_log::EventLog;
use crate::id_map::NONE;
use crate::time::millis_to_days;
use aisle_math::sparse::Csr;
use rayon::prelude::*;

/// How much confidence the events give that a user likes an item. Every stored value is above 0.
#[derive(Clone, Debug, Default)]
pub struct Interactions {
    /// A row for each user; its columns are items.
    pub by_user: Csr,
    /// The transposed matrix: a row for each item; its columns are users.
    pub by_item: Csr,
    /// Whether the rows are orders or sessions instead of users, because the log names no users.
    pub rows_are_orders: bool,
}

impl Interactions {
    /// Sums weight · 2^(−age / half-life) over the events of each user and item, where the age of
    /// an event counts from the last event of the log. Sums of 0 or less (returned items) are left
    /// out. Anonymous events are skipped, unless the log has no users at all: then each order or
    /// session is a row. O(n log n).
    pub fn of(log: &EventLog) -> Self {
        let latest = log.span().map_or(0, |(_, last)| last);
        let rows_are_orders = log.user.iter().all(|&user| user == NONE);
        let rows = if rows_are_orders {
            let last_order = log.order.iter().filter(|&&order| order != NONE).max();
            last_order.map_or(0, |&order| order as usize + 1)
        } else {
            log.users.len()
        };
        let triples: Vec<(u32, u32, f32)> = (0..log.len())
            .into_par_iter()
            .filter_map(|event| {
                let row = if rows_are_orders {
                    log.order_of(event)
                } else {
                    log.user_of(event)
                };
                let event_type = log.type_of(event);
                let decay = match event_type.half_life_days {
                    Some(half_life) if !log.time.is_empty() => {
                        let age = millis_to_days(latest - log.time_of(event));
                        (-age / f64::from(half_life)).exp2() as f32
                    }
                    _ => 1.0,
                };
                (row != NONE).then(|| (row, log.item[event], event_type.weight * decay))
            })
            .collect();
        Self::from_csr(
            Csr::from_triples(rows, triples).positive(),
            log.items.len(),
            rows_are_orders,
        )
    }

    /// Sums the values of (user, item, value) triples; sums of 0 or less are left out.
    pub fn from_triples(users: usize, items: usize, triples: Vec<(u32, u32, f32)>) -> Self {
        Self::from_csr(Csr::from_triples(users, triples).positive(), items, false)
    }

    fn from_csr(by_user: Csr, items: usize, rows_are_orders: bool) -> Self {
        let by_item = by_user.transposed(items);
        Self {
            by_user,
            by_item,
            rows_are_orders,
        }
    }

    /// The number of users (of orders or sessions, if [`Interactions::rows_are_orders`]).
    pub fn users(&self) -> usize {
        self.by_user.rows()
    }

    /// The number of items.
    pub fn items(&self) -> usize {
        self.by_item.rows()
    }

    /// The number of items with at least one user.
    pub fn items_with_users(&self) -> usize {
        self.by_item
            .offsets
            .windows(2)
            .filter(|pair| pair[1] > pair[0])
            .count()
    }

    /// The number of stored values.
    pub fn nnz(&self) -> usize {
        self.by_user.nnz()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_directions_hold_the_same_sums(
            cells in prop::collection::vec((0u32..7, 0u32..9, -2i32..4), 0..80)
        ) {
            let triples = cells.iter().map(|&(u, i, v)| (u, i, v as f32)).collect();
            let matrix = Interactions::from_triples(7, 9, triples);
            let mut dense = [[0i32; 9]; 7];
            cells.iter().for_each(|&(u, i, v)| dense[u as usize][i as usize] += v);
            for (user, row) in dense.iter().enumerate() {
                let (items, values) = matrix.by_user.row(user);
                let expected: Vec<(u32, f32)> = (0u32..)
                    .zip(row)
                    .filter(|(_, sum)| **sum > 0)
                    .map(|(item, &sum)| (item, sum as f32))
                    .collect();
                let values = values.iter().copied();
                let found: Vec<(u32, f32)> = items.iter().copied().zip(values).collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(matrix.by_item.transposed(7), matrix.by_user.clone());
            let capped = matrix.by_user.capped(2);
            for (user, sums) in dense.iter().enumerate() {
                let all = matrix.by_user.columns(user);
                let (kept, values) = capped.row(user);
                prop_assert_eq!(kept.len(), all.len().min(2));
                prop_assert!(kept.is_sorted() && kept.iter().all(|item| all.contains(item)));
                for (&item, &value) in kept.iter().zip(values) {
                    prop_assert_eq!(sums[item as usize] as f32, value);
                }
            }
        }
    }
}

//! What each shopper ordered and when: what they come back for, how soon, and what they buy beside it.

use crate::Result;
use crate::weights::{Array, Tensor, Weights};
use aisle_data::{NONE, Orders};
use std::cell::RefCell;

/// Orders kept of one shopper, the latest.
const KEPT: usize = 200;
/// In a log without times an order stands for so many days.
const ORDER_DAYS: f32 = 7.0;
/// After so many days a purchase counts 1/e, one number for each memory from short to long.
const MEMORIES: [f32; 3] = [14.0, 45.0, 150.0];

/// A moment in days since 1970.
pub fn day(millis: i64) -> f32 {
    (millis as f64 / 86_400_000.0) as f32
}

/// Shoppers' orders, each shopper's in order of time.
#[derive(Default)]
pub struct Habits {
    /// `users + 1` positions into `days`.
    shoppers: Array<u64>,
    /// Day of each order.
    days: Array<f32>,
    /// `orders + 1` positions into `items`.
    orders: Array<u64>,
    /// Item rows, ascending within an order.
    items: Array<u32>,
    /// The last day of the log; 0 in a log without times.
    end: f32,
}

/// What a shopper did with one item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Habit {
    /// Item row.
    pub item: u32,
    /// Orders that hold it.
    pub orders: u32,
    /// Day of the first of them.
    pub first: f32,
    /// Day of the last.
    pub last: f32,
    /// The orders, faded by age: short, middle and long memory.
    pub(crate) faded: [f32; 3],
    /// Σ over its orders of their cosine with the cart.
    pub(crate) alike: f32,
    /// The same, faded over the middle memory.
    pub(crate) alike_lately: f32,
    /// Σ over its orders of the cart's items in them, at most three each.
    pub(crate) beside: f32,
}

/// Days since a day, as far as they matter.
pub(crate) fn since(now: f32, then: f32) -> f32 {
    (now - then).clamp(0.5, 400.0)
}

/// Numbers of a habit that logarithms are taken of.
pub(crate) const LOGS: usize = 7;
/// Features that every task has of a habit.
pub(crate) const RHYTHM: usize = 10;

impl Habit {
    /// Seen from a moment: orders, one more, the three memories, days since the last, days between two (1 of what was bought once).
    pub(crate) fn numbers(&self, now: f32) -> [f32; LOGS] {
        let times = self.orders as f32;
        let [short, middle, long] = self.faded.map(|faded| 1.0 + 3.0 * faded);
        [times, 1.0 + times, short, middle, long, since(now, self.last), self.gap().unwrap_or(1.0)]
    }

    /// How often, how lately, and how near the usual interval, whose logarithm is `gap`: from the logarithms of [`Habit::numbers`] and of the
    /// shopper's orders.
    pub(crate) fn rhythm([times, often, short, middle, long, elapsed, _]: [f32; LOGS], ln_orders: f32, gap: f32) -> [f32; RHYTHM] {
        let due = elapsed - gap;
        [1.0, often, times - ln_orders, short, middle, long, due, due * due, elapsed, gap]
    }

    /// Mean days between purchases; `None` of what was bought once.
    pub fn gap(&self) -> Option<f32> {
        (self.orders > 1).then(|| ((self.last - self.first) / (self.orders - 1) as f32).max(0.5))
    }
}

/// A shopper's habits as a cart sees them.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// How many orders there are.
    pub orders: usize,
    /// By ascending item.
    pub habits: Vec<Habit>,
    /// The moment that they are seen from.
    pub now: f32,
}

impl Past {
    /// ln of the orders, of one at least.
    pub(crate) fn ln_orders(&self) -> f32 {
        (self.orders.max(1) as f32).ln()
    }

    /// What is known of one item.
    pub fn of(&self, item: u32) -> Option<&Habit> {
        self.habits.binary_search_by_key(&item, |habit| habit.item).ok().map(|at| &self.habits[at])
    }
}

thread_local! {
    /// Place of each item in the list under way, NONE between requests.
    static PLACES: RefCell<Vec<u32>> = RefCell::default();
}

impl Habits {
    /// The last orders of each of `users` shoppers.
    pub fn of(orders: &Orders, users: usize) -> Self {
        let timed = orders.time.iter().any(|&time| time != 0);
        let mut named: Vec<(u32, i64, u32)> = (0..orders.len() as u32)
            .filter(|&order| orders.user[order as usize] != NONE)
            .map(|order| (orders.user[order as usize], orders.time[order as usize], order))
            .collect();
        named.sort_unstable();
        let mut shoppers = vec![0u64; users + 1];
        let (mut days, mut ends, mut items) = (Vec::new(), vec![0u64], Vec::new());
        for own in named.chunk_by(|a, b| a.0 == b.0) {
            for (number, &(user, time, order)) in own.iter().enumerate().skip(own.len().saturating_sub(KEPT)) {
                days.push(if timed { day(time) } else { number as f32 * ORDER_DAYS });
                items.extend_from_slice(orders.order(order as usize));
                ends.push(items.len() as u64);
                shoppers[user as usize + 1] += 1;
            }
        }
        (0..users).for_each(|user| shoppers[user + 1] += shoppers[user]);
        let end = if timed { orders.time.iter().copied().max().map_or(0.0, day) } else { 0.0 };
        Self { shoppers: shoppers.into(), days: days.into(), orders: ends.into(), items: items.into(), end }
    }

    pub(crate) fn load(users: usize, items: usize, weights: &mut Weights) -> Result<Self> {
        let (shoppers, orders) = weights.offsets("habits.shoppers", users)?;
        let days = weights.reals("habits.days", orders)?;
        let (orders, lines) = weights.offsets("habits.orders", orders)?;
        let items = weights.rows("habits.items", lines, items)?;
        let end = weights.reals("habits.end", 1)?[0];
        Ok(Self { shoppers, days, orders, items, end })
    }

    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![
            Tensor::u64("habits.shoppers", &self.shoppers),
            Tensor::f32("habits.days", &[self.days.len()], &self.days),
            Tensor::u64("habits.orders", &self.orders),
            Tensor::u32("habits.items", &self.items),
            Tensor::f32("habits.end", &[1], std::slice::from_ref(&self.end)),
        ]
    }

    /// The day of a shopper's last order; `None` without one.
    pub fn last(&self, user: u32) -> Option<f32> {
        let (&from, &until) = (self.shoppers.get(user as usize)?, self.shoppers.get(user as usize + 1)?);
        (from < until).then(|| self.days[until as usize - 1])
    }

    /// The last day of the log.
    pub fn end(&self) -> f32 {
        self.end
    }

    /// A shopper's habits, and how they bear on a cart (item rows, ascending), seen from a moment in days since 1970; `None` = the log's
    /// end. In a log without times the moment is always the shopper's next order. O(lines of the shopper).
    pub fn past(&self, user: u32, cart: &[u32], now: Option<f32>) -> Past {
        let (Some(&from), Some(&until)) = (self.shoppers.get(user as usize), self.shoppers.get(user as usize + 1)) else {
            return Past::default();
        };
        let own = from as usize..until as usize;
        let now = match (self.end > 0.0, own.is_empty()) {
            (true, _) => now.unwrap_or(self.end),
            (false, false) => self.days[own.end - 1] + ORDER_DAYS,
            (false, true) => 0.0,
        };
        PLACES.with_borrow_mut(|places| {
            let mut habits: Vec<Habit> = Vec::new();
            for order in own.clone() {
                let items = &self.items[self.orders[order] as usize..self.orders[order + 1] as usize];
                let shared = match items.len() > 4 * cart.len() {
                    true => cart.iter().filter(|item| items.binary_search(item).is_ok()).count(),
                    false => items.iter().filter(|item| cart.binary_search(item).is_ok()).count(),
                };
                let age = (now - self.days[order]).max(0.0);
                let faded = MEMORIES.map(|memory| (-age / memory).exp());
                let alike = shared as f32 / ((items.len() * cart.len()).max(1) as f32).sqrt();
                for &item in items {
                    if places.len() <= item as usize {
                        places.resize(item as usize + 1, NONE);
                    }
                    let place = &mut places[item as usize];
                    if *place == NONE {
                        *place = habits.len() as u32;
                        let (first, last) = (self.days[order], self.days[order]);
                        habits.push(Habit {
                            item,
                            orders: 0,
                            first,
                            last,
                            faded: [0.0; 3],
                            alike: 0.0,
                            alike_lately: 0.0,
                            beside: 0.0,
                        });
                    }
                    let habit = &mut habits[*place as usize];
                    habit.orders += 1;
                    habit.last = self.days[order];
                    habit.faded.iter_mut().zip(faded).for_each(|(sum, part)| *sum += part);
                    habit.alike += alike;
                    habit.alike_lately += alike * faded[1];
                    habit.beside += shared.min(3) as f32;
                }
            }
            habits.iter().for_each(|habit| places[habit.item as usize] = NONE);
            habits.sort_unstable_by_key(|habit| habit.item);
            Past { orders: own.len(), habits, now }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::GroupedBy;

    const DAY: i64 = 86_400_000;

    fn orders(timed: bool) -> Orders {
        let time = if timed { vec![10 * DAY, 30 * DAY, 20 * DAY, 31 * DAY] } else { vec![0; 4] };
        Orders {
            offsets: vec![0, 2, 4, 5, 6],
            items: vec![1, 2, 1, 3, 1, 2],
            user: vec![0, 0, 0, NONE],
            time,
            grouped_by: GroupedBy::Order,
        }
    }

    #[test]
    fn a_shopper_is_remembered_in_order_of_time() {
        let past = Habits::of(&orders(true), 2).past(0, &[3], Some(40.0));
        let habit = past.of(1).unwrap();
        assert_eq!((past.orders, habit.orders, habit.first, habit.last, habit.gap()), (3, 3, 10.0, 30.0, Some(10.0)));
        assert!((habit.alike - 1.0 / 2f32.sqrt()).abs() < 1e-6 && habit.beside == 1.0);
        assert!((habit.faded[2] - [10f32, 20.0, 30.0].map(|age| (-age / 150.0).exp()).iter().sum::<f32>()).abs() < 1e-6);
        assert_eq!(past.of(2).unwrap().gap(), None);
        assert!(past.of(9).is_none());
    }

    #[test]
    fn without_times_the_order_of_orders_is_the_time() {
        let habits = Habits::of(&orders(false), 2);
        let past = habits.past(0, &[], None);
        assert_eq!(past.now - past.of(1).unwrap().last, ORDER_DAYS);
        assert!(habits.past(1, &[], None).habits.is_empty() && habits.past(7, &[], None).habits.is_empty());
    }
}

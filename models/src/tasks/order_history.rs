//! What each shopper ordered and when: what they come back for, how soon, and what they buy with
//! it.

use crate::error::Result;
use crate::weights::{Tensor, Weights};
use aisle_data::{NONE, Orders, millis_to_days};
use aisle_math::array::Array;
use std::cell::RefCell;
use std::ops::Range;

/// Orders kept of one shopper, the latest ones.
const MAX_ORDERS: usize = 200;
/// In a log without times, this many days lie between an order and the next.
const DAYS_PER_ORDER: f32 = 7.0;
/// The time scales of decayed counts in days, short, middle and long: after so many days an order
/// counts 1/e.
const DECAY_DAYS: [f32; 3] = [14.0, 45.0, 150.0];
/// The place of the middle time scale in [`DECAY_DAYS`].
const MIDDLE: usize = 1;
/// No order adds more than this many items of a cart to [`PurchasedItem::cart_items_shared`].
const MAX_SHARED: usize = 3;

/// A time in milliseconds since 1970, as days since 1970.
pub fn days_since_epoch(millis: i64) -> f32 {
    millis_to_days(millis) as f32
}

/// The days from `then` to `now`, within ½ to 400: further differences say nothing more.
pub(crate) fn days_since(now: f32, then: f32) -> f32 {
    (now - then).clamp(0.5, 400.0)
}

/// The orders of each shopper, in the order of time.
#[derive(Default)]
pub struct OrderHistory {
    /// `users + 1` positions into `days`.
    shoppers: Array<u64>,
    /// The day of each order, in days since 1970.
    days: Array<f32>,
    /// `orders + 1` positions into `items`.
    orders: Array<u64>,
    /// Item rows, ascending within an order.
    items: Array<u32>,
    /// The last day of the log, in days since 1970; 0 in a log without times.
    end: f32,
}

/// What a shopper bought of one item, and how its orders resemble a cart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PurchasedItem {
    /// Item row.
    pub item: u32,
    /// How many of the shopper's orders hold the item.
    pub orders: u32,
    /// The day of the first of these orders, in days since 1970.
    pub first: f32,
    /// The day of the last of them.
    pub last: f32,
    /// These orders, decayed by age over each of [`DECAY_DAYS`].
    pub(crate) decayed_orders: [f32; 3],
    /// Σ over these orders of their cosine with the cart.
    pub(crate) cart_similarity: f32,
    /// The same, each order decayed over the middle time scale.
    pub(crate) recent_cart_similarity: f32,
    /// Σ over these orders of the cart's items in them, at most [`MAX_SHARED`] of each order.
    pub(crate) cart_items_shared: f32,
}

/// How many numbers [`PurchasedItem::repurchase_inputs`] returns.
pub(crate) const REPURCHASE_LOGS: usize = 7;
/// How many features [`PurchasedItem::repurchase_features`] returns.
pub(crate) const REPURCHASE_FEATURES: usize = 10;

impl PurchasedItem {
    /// An item that no order holds yet, first seen on a day.
    fn new(item: u32, day: f32) -> Self {
        Self {
            item,
            orders: 0,
            first: day,
            last: day,
            decayed_orders: [0.0; 3],
            cart_similarity: 0.0,
            recent_cart_similarity: 0.0,
            cart_items_shared: 0.0,
        }
    }

    /// The numbers whose logarithms [`PurchasedItem::repurchase_features`] reads, as of a day:
    /// orders, one order more, the decayed orders of each time scale, days since the last order,
    /// and mean days between orders (1 for an item bought once).
    pub(crate) fn repurchase_inputs(&self, now: f32) -> [f32; REPURCHASE_LOGS] {
        let orders = self.orders as f32;
        let [short, middle, long] = self.decayed_orders.map(|decayed| 1.0 + 3.0 * decayed);
        [
            orders,
            1.0 + orders,
            short,
            middle,
            long,
            days_since(now, self.last),
            self.gap().unwrap_or(1.0),
        ]
    }

    /// Features of how often and how lately an item was bought, and of how much of the usual days
    /// between purchases has passed. In: the logarithms of [`PurchasedItem::repurchase_inputs`], of
    /// the shopper's orders, and of the usual days between purchases.
    pub(crate) fn repurchase_features(
        [orders, orders_plus_one, short, middle, long, elapsed, _]: [f32; REPURCHASE_LOGS],
        ln_orders: f32,
        ln_gap: f32,
    ) -> [f32; REPURCHASE_FEATURES] {
        // Above 0: overdue.
        let overdue = elapsed - ln_gap;
        [
            1.0,
            orders_plus_one,
            orders - ln_orders,
            short,
            middle,
            long,
            overdue,
            overdue * overdue,
            elapsed,
            ln_gap,
        ]
    }

    /// Mean days between purchases, at least ½; `None` for an item that was bought once.
    pub fn gap(&self) -> Option<f32> {
        (self.orders > 1).then(|| ((self.last - self.first) / (self.orders - 1) as f32).max(0.5))
    }
}

/// What a shopper bought up to a day, item by item.
#[derive(Clone, Debug, Default)]
pub struct PurchaseHistory {
    /// How many orders the shopper has.
    pub orders: usize,
    /// The items of these orders, ascending by row.
    pub items: Vec<PurchasedItem>,
    /// The day as of which ages are counted, in days since 1970.
    pub now: f32,
}

impl PurchaseHistory {
    /// ln of the number of orders, 0 without any.
    pub(crate) fn ln_orders(&self) -> f32 {
        (self.orders.max(1) as f32).ln()
    }

    /// What the shopper bought of an item; `None` if nothing. O(log items).
    pub fn of(&self, item: u32) -> Option<&PurchasedItem> {
        self.items
            .binary_search_by_key(&item, |purchased| purchased.item)
            .ok()
            .map(|at| &self.items[at])
    }
}

thread_local! {
    /// The place of each item in the history that is being made; [`NONE`] between calls. Kept for
    /// each thread, because there are many items and few of them are in a history.
    static PLACES: RefCell<Vec<u32>> = RefCell::default();
}

impl OrderHistory {
    /// The last 200 orders of each of `users` shoppers; anonymous orders are left out.
    /// O(orders · log orders + lines).
    pub fn of(orders: &Orders, users: usize) -> Self {
        let has_times = orders.time.iter().any(|&time| time != 0);
        let mut by_shopper: Vec<(u32, i64, u32)> = (0..orders.len())
            .filter(|&order| orders.user[order] != NONE)
            .map(|order| (orders.user[order], orders.time[order], order as u32))
            .collect();
        by_shopper.sort_unstable();
        let mut shoppers = vec![0u64; users + 1];
        let (mut days, mut offsets, mut items) = (Vec::new(), vec![0u64], Vec::new());
        for of_shopper in by_shopper.chunk_by(|a, b| a.0 == b.0) {
            let first_kept = of_shopper.len().saturating_sub(MAX_ORDERS);
            for (number, &(user, time, order)) in of_shopper.iter().enumerate().skip(first_kept) {
                days.push(if has_times {
                    days_since_epoch(time)
                } else {
                    number as f32 * DAYS_PER_ORDER
                });
                items.extend_from_slice(orders.order(order as usize));
                offsets.push(items.len() as u64);
                shoppers[user as usize + 1] += 1;
            }
        }
        (0..users).for_each(|user| shoppers[user + 1] += shoppers[user]);
        let end = if has_times {
            orders
                .time
                .iter()
                .copied()
                .max()
                .map_or(0.0, days_since_epoch)
        } else {
            0.0
        };
        Self {
            shoppers: shoppers.into(),
            days: days.into(),
            orders: offsets.into(),
            items: items.into(),
            end,
        }
    }

    /// Reads the orders from the arrays of a version.
    pub(crate) fn load(users: usize, items: usize, weights: &mut Weights) -> Result<Self> {
        let (shoppers, orders) = weights.offsets("order_history.shoppers", users)?;
        let days = weights.reals("order_history.days", orders)?;
        let (orders, lines) = weights.offsets("order_history.orders", orders)?;
        let items = weights.rows("order_history.items", lines, items)?;
        let end = weights.reals("order_history.end", 1)?[0];
        Ok(Self {
            shoppers,
            days,
            orders,
            items,
            end,
        })
    }

    /// The arrays that a version stores.
    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![
            Tensor::u64("order_history.shoppers", &self.shoppers),
            Tensor::f32("order_history.days", &[self.days.len()], &self.days),
            Tensor::u64("order_history.orders", &self.orders),
            Tensor::u32("order_history.items", &self.items),
            Tensor::f32("order_history.end", &[1], std::slice::from_ref(&self.end)),
        ]
    }

    /// The orders of a shopper; `None` of a row that there is not.
    fn orders_of(&self, user: u32) -> Option<Range<usize>> {
        let user = user as usize;
        let (&first, &end) = (self.shoppers.get(user)?, self.shoppers.get(user + 1)?);
        Some(first as usize..end as usize)
    }

    /// The day of a shopper's last order, in days since 1970; `None` without an order.
    pub fn last_order_day(&self, user: u32) -> Option<f32> {
        let own = self.orders_of(user)?;
        (!own.is_empty()).then(|| self.days[own.end - 1])
    }

    /// The last day of the log, in days since 1970; 0 in a log without times.
    pub fn log_end_day(&self) -> f32 {
        self.end
    }

    /// What a shopper bought, and how their orders resemble a cart (item rows, ascending), as of a
    /// day in days since 1970; `None` = the end of the log. In a log without times the day is
    /// always that of the shopper's next order. Empty for a shopper who is not known. O(lines of
    /// the shopper).
    pub fn purchase_history(&self, user: u32, cart: &[u32], now: Option<f32>) -> PurchaseHistory {
        let Some(own) = self.orders_of(user) else {
            return PurchaseHistory::default();
        };
        let now = match (self.end > 0.0, own.is_empty()) {
            (true, _) => now.unwrap_or(self.end),
            (false, false) => self.days[own.end - 1] + DAYS_PER_ORDER,
            (false, true) => 0.0,
        };
        let orders = own.len();
        let mut items = PLACES.with_borrow_mut(|places| self.add_up(own, cart, now, places));
        items.sort_unstable_by_key(|purchased| purchased.item);
        PurchaseHistory { orders, items, now }
    }

    /// Adds up a shopper's orders item by item. `places` is all [`NONE`] before and after.
    fn add_up(
        &self,
        orders: Range<usize>,
        cart: &[u32],
        now: f32,
        places: &mut Vec<u32>,
    ) -> Vec<PurchasedItem> {
        let mut purchased_items: Vec<PurchasedItem> = Vec::new();
        for order in orders {
            let items = &self.items[self.orders[order] as usize..self.orders[order + 1] as usize];
            let shared = shared_items(items, cart);
            let order_day = self.days[order];
            let age = (now - order_day).max(0.0);
            let decays = DECAY_DAYS.map(|days| (-age / days).exp());
            let cosine = shared as f32 / ((items.len() * cart.len()).max(1) as f32).sqrt();
            for &item in items {
                if places.len() <= item as usize {
                    places.resize(item as usize + 1, NONE);
                }
                let place = &mut places[item as usize];
                if *place == NONE {
                    *place = purchased_items.len() as u32;
                    purchased_items.push(PurchasedItem::new(item, order_day));
                }
                let purchased = &mut purchased_items[*place as usize];
                purchased.orders += 1;
                purchased.last = order_day;
                for (sum, decay) in purchased.decayed_orders.iter_mut().zip(decays) {
                    *sum += decay;
                }
                purchased.cart_similarity += cosine;
                purchased.recent_cart_similarity += cosine * decays[MIDDLE];
                purchased.cart_items_shared += shared.min(MAX_SHARED) as f32;
            }
        }
        for purchased in &purchased_items {
            places[purchased.item as usize] = NONE;
        }
        purchased_items
    }
}

/// How many items two ascending lists share. The shorter list, by a factor, is searched in the
/// longer.
fn shared_items(order: &[u32], cart: &[u32]) -> usize {
    let (few, many) = if order.len() > 4 * cart.len() {
        (cart, order)
    } else {
        (order, cart)
    };
    let is_shared = |item: &&u32| many.binary_search(item).is_ok();
    few.iter().filter(is_shared).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::{DAY_MILLIS as DAY, GroupedBy};

    fn orders(timed: bool) -> Orders {
        let time = if timed {
            vec![10 * DAY, 30 * DAY, 20 * DAY, 31 * DAY]
        } else {
            vec![0; 4]
        };
        Orders {
            offsets: vec![0, 2, 4, 5, 6],
            items: vec![1, 2, 1, 3, 1, 2],
            user: vec![0, 0, 0, NONE],
            time,
            grouped_by: GroupedBy::Order,
        }
    }

    #[test]
    fn orders_are_counted_in_the_order_of_time() {
        let past = OrderHistory::of(&orders(true), 2).purchase_history(0, &[3], Some(40.0));
        let item = past.of(1).unwrap();
        let found = (past.orders, item.orders, item.first, item.last, item.gap());
        assert_eq!(found, (3, 3, 10.0, 30.0, Some(10.0)));
        let decayed = [10f32, 20.0, 30.0].map(|age| (-age / 150.0).exp());
        assert!((item.decayed_orders[2] - decayed.iter().sum::<f32>()).abs() < 1e-6);
    }

    #[test]
    fn orders_that_share_items_with_the_cart_resemble_it() {
        let past = OrderHistory::of(&orders(true), 2).purchase_history(0, &[3], Some(40.0));
        let item = past.of(1).unwrap();
        assert!((item.cart_similarity - 1.0 / 2f32.sqrt()).abs() < 1e-6);
        assert_eq!(item.cart_items_shared, 1.0);
    }

    #[test]
    fn an_item_bought_once_has_no_gap() {
        let past = OrderHistory::of(&orders(true), 2).purchase_history(0, &[3], Some(40.0));
        assert_eq!(past.of(2).unwrap().gap(), None);
        assert!(past.of(9).is_none());
    }

    #[test]
    fn without_times_the_order_of_orders_is_the_time() {
        let past = OrderHistory::of(&orders(false), 2).purchase_history(0, &[], None);
        assert_eq!(past.now - past.of(1).unwrap().last, DAYS_PER_ORDER);
    }

    #[test]
    fn a_shopper_without_orders_has_an_empty_history() {
        let history = OrderHistory::of(&orders(false), 2);
        assert!(history.purchase_history(1, &[], None).items.is_empty());
        assert!(history.purchase_history(7, &[], None).items.is_empty());
    }
}

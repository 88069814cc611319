//! Held-out orders as questions: some lines of an order, and the one that is missing.

use super::super::TrainTestSplit;
use super::{CrossSellOptions, HeldOutLines, TargetKind};
use aisle_data::{Catalog, EventLog, NONE, Orders};
use aisle_math::random::mix;
use aisle_models::{Bitmap, days_since_epoch};
use std::collections::BTreeMap;

/// Fewest distinct known items of an order that is asked about.
const MIN_LINES: usize = 3;
/// Orders without a shopper are numbered as shoppers from here on.
const ANONYMOUS: u32 = 1 << 31;

/// An order without one of its lines.
pub(super) struct Question {
    /// The other lines, ascending.
    pub cart: Vec<u32>,
    /// The missing line.
    pub target: [u32; 1],
    /// Row of the shopper in the training part, if known there.
    pub user: Option<u32>,
    /// When the order was made, in days since 1970; `None` without times.
    pub now: Option<f32>,
    /// The shopper's row in the test part: questions of one shopper belong together.
    pub shopper: u32,
}

impl Question {
    /// Whether the shopper ordered the missing item before.
    pub(super) fn is_repeat(&self, purchases: &PurchaseCounts) -> bool {
        purchases.contains(self.user, self.target[0])
    }
}

/// The items that shoppers ordered in the training part.
pub(super) struct PurchaseCounts {
    /// For each shopper the items by ascending row, with the number of orders that hold them.
    by_user: BTreeMap<u32, Vec<(u32, u32)>>,
}

impl PurchaseCounts {
    pub(super) fn of(orders: &Orders) -> Self {
        let mut counts: BTreeMap<u32, BTreeMap<u32, u32>> = BTreeMap::new();
        for order in (0..orders.len()).filter(|&order| orders.user[order] != NONE) {
            let items = counts.entry(orders.user[order]).or_default();
            for &item in orders.order(order) {
                *items.entry(item).or_default() += 1;
            }
        }
        let by_user = counts
            .into_iter()
            .map(|(user, items)| (user, items.into_iter().collect()))
            .collect();
        Self { by_user }
    }

    /// A shopper's items by ascending row with the number of orders; empty for one who is not
    /// known.
    pub(super) fn of_user(&self, user: Option<u32>) -> &[(u32, u32)] {
        let items = user.and_then(|user| self.by_user.get(&user));
        items.map_or(&[], Vec::as_slice)
    }

    fn contains(&self, user: Option<u32>, item: u32) -> bool {
        let items = self.of_user(user);
        items.binary_search_by_key(&item, |own| own.0).is_ok()
    }
}

/// Items that can be answered: ordered in the training part, and available.
pub(super) struct Candidates {
    /// All of them.
    pub all: Bitmap,
    /// The category number of every item; [`NONE`] = unknown.
    category: Vec<u32>,
    /// The candidates of each category.
    in_category: BTreeMap<u32, Vec<u32>>,
}

impl Candidates {
    pub(super) fn of(item_orders: &[u32], catalog: &Catalog, category_levels: usize) -> Self {
        let all = Bitmap::of(item_orders.len(), |item| {
            item_orders[item as usize] > 0 && catalog.available[item as usize]
        });
        let category = catalog.category_codes(category_levels);
        let mut in_category: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for item in all.iter() {
            let items = in_category.entry(category[item as usize]).or_default();
            items.push(item);
        }
        Self {
            all,
            category,
            in_category,
        }
    }

    /// The candidates that complete a cart: those of categories that it does not hold, without
    /// `excluded`.
    pub(super) fn outside(&self, cart: &[u32], excluded: &[(u32, u32)]) -> Bitmap {
        let mut allowed = self.all.clone();
        for &item in cart {
            allowed.remove(item);
            let code = self.category[item as usize];
            let same = self.in_category.get(&code).filter(|_| code != NONE);
            for &other in same.into_iter().flatten() {
                allowed.remove(other);
            }
        }
        for &(item, _) in excluded {
            allowed.remove(item);
        }
        allowed
    }

    /// Whether some items hold one of an item's category.
    fn share_category(&self, item: u32, others: &[u32]) -> bool {
        let code = self.category[item as usize];
        code != NONE
            && others
                .iter()
                .any(|&other| self.category[other as usize] == code)
    }
}

/// The questions of the test part, by order and line.
pub(super) fn of(
    parts: &TrainTestSplit,
    log: &EventLog,
    candidates: &Candidates,
    purchases: &PurchaseCounts,
    options: CrossSellOptions,
) -> Vec<Question> {
    let test = &parts.test;
    let orders = Orders::of(test);
    let mut questions: Vec<Question> = Vec::new();
    for order in 0..orders.len() {
        let items = orders.order(order).iter();
        let known = items.filter_map(|&item| log.items.get(test.items.id(item)));
        let mut lines: Vec<u32> = known
            .filter(|&item| candidates.all.contains(item))
            .collect();
        lines.sort_unstable();
        if lines.len() < MIN_LINES {
            continue;
        }
        let (user, shopper) = match orders.user[order] {
            NONE => (None, ANONYMOUS | order as u32),
            user => (log.users.get(test.users.id(user)), user),
        };
        let drawn = mix(order as u64) as usize % lines.len();
        for at in 0..lines.len() {
            if options.lines == HeldOutLines::One && at != drawn {
                continue;
            }
            let mut cart = lines.clone();
            let target = cart.remove(at);
            let question = Question {
                target: [target],
                user,
                now: (!test.time.is_empty()).then(|| days_since_epoch(orders.time[order])),
                shopper,
                cart,
            };
            let is_asked = !candidates.share_category(target, &question.cart)
                && counts(&question, purchases, options.targets);
            if is_asked {
                questions.push(question);
            }
        }
    }
    questions
}

/// Whether a question is of the kind that counts.
fn counts(question: &Question, purchases: &PurchaseCounts, targets: TargetKind) -> bool {
    match targets {
        TargetKind::All => true,
        TargetKind::Repeats => question.is_repeat(purchases),
        TargetKind::New => {
            !question.is_repeat(purchases) && !purchases.of_user(question.user).is_empty()
        }
    }
}

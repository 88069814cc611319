//! What a shopper bought of each group of items, as features of the tasks.

use crate::catalog::item_groups::{GROUP_KINDS, ItemGroups};
use crate::tasks::order_history::{PurchaseHistory, days_since};
use aisle_data::NONE;
use aisle_math::kernels::{ln, simd};
use std::cell::RefCell;

/// What a shopper bought of one group, as features. A line is an order that holds an item of the
/// group, counted for each such item.
#[derive(Clone, Copy)]
pub(crate) struct GroupFeatures {
    /// ln(1 + lines).
    pub ln_lines: f32,
    /// ln(½ + lines).
    pub ln_lines_plus_half: f32,
    /// ln(lines per order + 0.01).
    pub ln_share: f32,
    /// ln(1 + lines that decay over the middle one of the order history's time scales).
    pub ln_decayed_lines: f32,
    /// ln of the days since the last line, see [`days_since`].
    pub ln_days_since: f32,
}

impl GroupFeatures {
    /// How many features there are.
    const COUNT: usize = 5;

    /// From the logarithms of [`GroupTotals::inputs`].
    fn new([lines, lines_plus_half, share, decayed, days]: [f32; Self::COUNT]) -> Self {
        Self {
            ln_lines: lines,
            ln_lines_plus_half: lines_plus_half,
            ln_share: share,
            ln_decayed_lines: decayed,
            ln_days_since: days,
        }
    }
}

/// What a shopper bought of one group.
#[derive(Clone, Copy)]
struct GroupTotals {
    /// The kind of the group, its place in the arrays of [`ItemGroups`].
    kind: usize,
    /// The number of the group among those of its kind.
    group: u32,
    lines: f32,
    decayed_lines: f32,
    /// The day of the last line, in days since 1970.
    last_day: f32,
}

impl GroupTotals {
    fn empty(kind: usize, group: u32) -> Self {
        Self {
            kind,
            group,
            lines: 0.0,
            decayed_lines: 0.0,
            last_day: f32::MIN,
        }
    }

    /// The numbers whose logarithms are the features, in the order of [`GroupFeatures::new`].
    fn inputs(&self, past: &PurchaseHistory) -> [f32; GroupFeatures::COUNT] {
        let share = self.lines / past.orders.max(1) as f32;
        [
            1.0 + self.lines,
            0.5 + self.lines,
            share + 0.01,
            1.0 + self.decayed_lines,
            days_since(past.now, self.last_day),
        ]
    }
}

thread_local! {
    /// For each kind the place of each group in the `features` of the [`GroupPurchases`] in use;
    /// all 0 while none is. Kept for each thread, because there are many groups and few of them are
    /// bought.
    static PLACES: RefCell<[Vec<u32>; GROUP_KINDS]> = RefCell::default();
}

/// A shopper's purchases by group.
pub(crate) struct GroupPurchases {
    /// For each kind the place of each group in `features`; 0 = the shopper bought nothing of it.
    places: [Vec<u32>; GROUP_KINDS],
    /// The groups in the order of `features`; the first stands for all groups not bought.
    totals: Vec<GroupTotals>,
    features: Vec<GroupFeatures>,
}

impl GroupPurchases {
    /// Adds up what a shopper bought of each group. O(items of the history).
    pub fn of(past: &PurchaseHistory, groups: &ItemGroups) -> Self {
        // Taken and not borrowed: dropping `self` returns them.
        let mut places = PLACES.take();
        let mut totals = vec![GroupTotals::empty(0, NONE)];
        for (kind, places) in places.iter_mut().enumerate() {
            places.resize(places.len().max(groups.counts[kind]), 0);
            for purchased in &past.items {
                let group = groups.of_item[purchased.item as usize][kind];
                let Some(place) = places.get_mut(group as usize) else {
                    continue;
                };
                if *place == 0 {
                    *place = totals.len() as u32;
                    totals.push(GroupTotals::empty(kind, group));
                }
                let total = &mut totals[*place as usize];
                total.lines += purchased.orders as f32;
                total.decayed_lines += purchased.decayed_orders[1];
                total.last_day = total.last_day.max(purchased.last);
            }
        }
        let mut logs: Vec<[f32; GroupFeatures::COUNT]> =
            totals.iter().map(|total| total.inputs(past)).collect();
        ln(simd(), logs.as_flattened_mut());
        Self {
            places,
            totals,
            features: logs.into_iter().map(GroupFeatures::new).collect(),
        }
    }

    /// What the shopper bought of each of an item's groups, by kind of group.
    pub fn get(&self, groups: &ItemGroups, item: u32) -> [&GroupFeatures; GROUP_KINDS] {
        if self.totals.len() == 1 {
            return [&self.features[0]; GROUP_KINDS];
        }
        let of_item = groups.of_item[item as usize];
        std::array::from_fn(|kind| {
            let place = self.places[kind].get(of_item[kind] as usize).copied();
            &self.features[place.unwrap_or(0) as usize]
        })
    }
}

impl Drop for GroupPurchases {
    fn drop(&mut self) {
        for total in self.totals.iter().skip(1) {
            self.places[total.kind][total.group as usize] = 0;
        }
        PLACES.set(std::mem::take(&mut self.places));
    }
}

//! Groups of items, and what a shopper bought of each.

use crate::cross_sell::since;
use crate::habits::Past;
use aisle_data::{Catalog, NONE};
use std::cell::RefCell;

/// The groups that an item belongs to, as numbers: equal numbers, the same group.
#[derive(Default)]
pub(crate) struct Groups {
    /// Whole category path.
    path: Vec<u32>,
    /// Category as cross-selling sees it.
    category: Vec<u32>,
    /// Brand.
    brand: Vec<u32>,
    /// Whole path and brand.
    line: Vec<u32>,
    /// One more than the largest of each.
    counts: [usize; 4],
}

impl Groups {
    pub fn of(catalog: &Catalog, levels: usize) -> Self {
        let path = catalog.category_codes(0);
        let brand: Vec<u32> = (0..catalog.len() as u32).map(|item| catalog.brand.code(item)).collect();
        let mut both: Vec<(u32, u32)> = path.iter().copied().zip(brand.iter().copied()).collect();
        let mut distinct = both.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let line = both.drain(..).map(|pair| distinct.binary_search(&pair).map_or(NONE, |at| at as u32)).collect();
        let mut groups = Self { path, category: catalog.category_codes(levels), brand, line, counts: [0; 4] };
        groups.counts =
            groups.all().map(|codes| codes.iter().filter(|&&code| code != NONE).max().map_or(0, |&code| code as usize + 1));
        groups
    }

    /// The number of an item's whole path.
    pub fn path_of(&self, item: u32) -> u32 {
        self.path[item as usize]
    }

    /// The number of an item's category as cross-selling sees it.
    pub fn category_of(&self, item: u32) -> u32 {
        self.category[item as usize]
    }

    fn all(&self) -> [&[u32]; 4] {
        [&self.path, &self.category, &self.brand, &self.line]
    }
}

/// What a shopper bought of a group, as features.
#[derive(Clone, Copy)]
pub(crate) struct OfGroup {
    /// ln(1 + lines of orders).
    pub lines: f32,
    /// ln(½ + lines).
    pub half: f32,
    /// ln(lines an order + 0.01).
    pub share: f32,
    /// ln(1 + lines faded over the middle memory).
    pub faded: f32,
    /// ln of the days since the last.
    pub since: f32,
}

/// The same as it adds up.
#[derive(Clone, Copy)]
struct Sum {
    code: u32,
    lines: f32,
    faded: f32,
    /// Day of the last.
    last: f32,
}

impl Sum {
    fn nothing(code: u32) -> Self {
        Self { code, lines: 0.0, faded: 0.0, last: f32::MIN }
    }

    /// Logarithms are taken once a group and not once a candidate.
    fn told(&self, past: &Past) -> OfGroup {
        OfGroup {
            lines: self.lines.ln_1p(),
            half: (self.lines + 0.5).ln(),
            share: (self.lines / past.orders.max(1) as f32 + 0.01).ln(),
            faded: self.faded.ln_1p(),
            since: since(past.now, self.last).ln(),
        }
    }
}

thread_local! {
    /// For each kind of group the place of each group in a list under way, NONE between requests.
    static PLACES: RefCell<[Vec<u32>; 4]> = RefCell::default();
}

/// A shopper's purchases by group, in the order of [`Groups::all`].
pub(crate) struct ByGroup {
    places: [Vec<u32>; 4],
    bought: [Vec<(u32, OfGroup)>; 4],
    nothing: OfGroup,
}

impl ByGroup {
    /// O(habits).
    pub fn of(past: &Past, groups: &Groups) -> Self {
        // Taken and not borrowed: they are given back when this is dropped.
        let mut places = PLACES.take();
        let mut sums: Vec<Sum> = Vec::new();
        let bought = std::array::from_fn(|which| {
            let (places, codes) = (&mut places[which], groups.all()[which]);
            places.resize(places.len().max(groups.counts[which]), NONE);
            sums.clear();
            for habit in &past.habits {
                let code = codes[habit.item as usize];
                let Some(place) = places.get_mut(code as usize) else { continue };
                if *place == NONE {
                    *place = sums.len() as u32;
                    sums.push(Sum::nothing(code));
                }
                let sum = &mut sums[*place as usize];
                sum.lines += habit.orders as f32;
                sum.faded += habit.faded[1];
                sum.last = sum.last.max(habit.last);
            }
            sums.iter().map(|sum| (sum.code, sum.told(past))).collect()
        });
        Self { places, bought, nothing: Sum::nothing(NONE).told(past) }
    }

    /// What was bought of an item's group of one kind.
    pub fn get(&self, groups: &Groups, which: usize, item: u32) -> &OfGroup {
        let code = groups.all()[which][item as usize];
        let place = self.places[which].get(code as usize).copied().unwrap_or(NONE);
        self.bought[which].get(place as usize).map_or(&self.nothing, |(_, told)| told)
    }
}

impl Drop for ByGroup {
    fn drop(&mut self) {
        for (places, bought) in self.places.iter_mut().zip(&self.bought) {
            bought.iter().for_each(|&(code, _)| places[code as usize] = NONE);
        }
        PLACES.set(std::mem::take(&mut self.places));
    }
}

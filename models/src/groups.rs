//! Groups of items, and what a shopper bought of each.

use crate::habits::{Past, since};
use crate::kernels::{ln, simd};
use aisle_data::{Catalog, NONE};
use std::cell::RefCell;

/// Whole category path, category as cross-selling sees it, brand, and whole path and brand.
const KINDS: usize = 4;

/// The groups that an item belongs to, as numbers: equal numbers, the same group; NONE = no group.
#[derive(Default)]
pub(crate) struct Groups {
    of_item: Vec<[u32; KINDS]>,
    /// One more than the largest of each kind.
    counts: [usize; KINDS],
}

impl Groups {
    pub fn of(catalog: &Catalog, levels: usize) -> Self {
        let (path, category) = (catalog.category_codes(0), catalog.category_codes(levels));
        let brand: Vec<u32> = (0..catalog.len() as u32).map(|item| catalog.brand.code(item)).collect();
        let mut distinct: Vec<(u32, u32)> = path.iter().copied().zip(brand.iter().copied()).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let line = |item: usize| distinct.binary_search(&(path[item], brand[item])).map_or(NONE, |at| at as u32);
        let of_item: Vec<_> = (0..catalog.len()).map(|item| [path[item], category[item], brand[item], line(item)]).collect();
        let most = |kind: usize| of_item.iter().map(|codes| codes[kind]).filter(|&code| code != NONE).max();
        let counts = std::array::from_fn(|kind| most(kind).map_or(0, |code| code as usize + 1));
        Self { of_item, counts }
    }

    /// The number of an item's whole path.
    pub fn path_of(&self, item: u32) -> u32 {
        self.of_item[item as usize][0]
    }

    /// The number of an item's category as cross-selling sees it.
    pub fn category_of(&self, item: u32) -> u32 {
        self.of_item[item as usize][1]
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

impl OfGroup {
    fn new([lines, half, share, faded, since]: [f32; 5]) -> Self {
        Self { lines, half, share, faded, since }
    }
}

/// The same as it adds up.
#[derive(Clone, Copy)]
struct Sum {
    /// Which group.
    kind: usize,
    code: u32,
    lines: f32,
    faded: f32,
    /// Day of the last.
    last: f32,
}

impl Sum {
    fn nothing(kind: usize, code: u32) -> Self {
        Self { kind, code, lines: 0.0, faded: 0.0, last: f32::MIN }
    }

    /// What logarithms are taken of.
    fn numbers(&self, past: &Past) -> [f32; 5] {
        let share = self.lines / past.orders.max(1) as f32;
        [1.0 + self.lines, 0.5 + self.lines, share + 0.01, 1.0 + self.faded, since(past.now, self.last)]
    }
}

thread_local! {
    /// For each kind the place of each group in a list under way; 0 between requests.
    static PLACES: RefCell<[Vec<u32>; KINDS]> = RefCell::default();
}

/// A shopper's purchases by group.
pub(crate) struct ByGroup {
    /// Of each group in `bought`; 0 = nothing was.
    places: [Vec<u32>; KINDS],
    /// The groups in their order.
    sums: Vec<Sum>,
    bought: Vec<OfGroup>,
}

impl ByGroup {
    /// O(habits).
    pub fn of(past: &Past, groups: &Groups) -> Self {
        // Taken and not borrowed: they are given back when this is dropped.
        let mut places = PLACES.take();
        let mut sums = vec![Sum::nothing(0, NONE)];
        for (kind, places) in places.iter_mut().enumerate() {
            places.resize(places.len().max(groups.counts[kind]), 0);
            for habit in &past.habits {
                let code = groups.of_item[habit.item as usize][kind];
                let Some(place) = places.get_mut(code as usize) else { continue };
                if *place == 0 {
                    *place = sums.len() as u32;
                    sums.push(Sum::nothing(kind, code));
                }
                let sum = &mut sums[*place as usize];
                sum.lines += habit.orders as f32;
                sum.faded += habit.faded[1];
                sum.last = sum.last.max(habit.last);
            }
        }
        let mut numbers: Vec<[f32; 5]> = sums.iter().map(|sum| sum.numbers(past)).collect();
        ln(simd(), numbers.as_flattened_mut());
        Self { places, sums, bought: numbers.into_iter().map(OfGroup::new).collect() }
    }

    /// What was bought of each of an item's groups.
    pub fn get(&self, groups: &Groups, item: u32) -> [&OfGroup; KINDS] {
        if self.sums.len() == 1 {
            return [&self.bought[0]; KINDS];
        }
        let codes = groups.of_item[item as usize];
        std::array::from_fn(|kind| &self.bought[self.places[kind].get(codes[kind] as usize).copied().unwrap_or(0) as usize])
    }
}

impl Drop for ByGroup {
    fn drop(&mut self) {
        self.sums.iter().skip(1).for_each(|sum| self.places[sum.kind][sum.code as usize] = 0);
        PLACES.set(std::mem::take(&mut self.places));
    }
}

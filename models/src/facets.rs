//! What filters ask of items, as sets made once a version: a request combines them 64 items at a time.

use crate::bitmap::Bitmap;
use aisle_data::{Catalog, NONE};
use std::collections::BTreeMap;

/// Prices are cut into so many steps with a set each.
const STEPS: usize = 64;
/// A category with fewer items than one in so many is a list and not a set: below, items cost less one by one than all words of a set do.
const FEW: usize = 256;

/// The items of a category path and below it.
struct Category {
    /// Ascending.
    items: Vec<u32>,
    /// The same as a set, if they are many.
    set: Option<Bitmap>,
}

/// Items by category, price and currency.
#[derive(Default)]
pub(crate) struct Facets {
    items: usize,
    categories: BTreeMap<String, Category>,
    /// Items of known price, the cheapest first, and their prices.
    by_price: Vec<u32>,
    prices: Vec<f32>,
    /// For each step, the items before it in `by_price`.
    cheaper: Vec<Bitmap>,
    /// By the code of the currency.
    currencies: Vec<Bitmap>,
}

impl Facets {
    /// Of a catalogue. O(items · log items).
    pub fn of(catalog: &Catalog) -> Self {
        let items = catalog.len();
        let mut lists: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for item in 0..items as u32 {
            let Some(path) = catalog.category.get(item) else { continue };
            for level in 1..=path.matches(" > ").count() + 1 {
                lists.entry(aisle_data::cut(path, level)).or_default().push(item);
            }
        }
        let set = |list: &[u32]| {
            let mut set = Bitmap::filled(items, false);
            list.iter().for_each(|&item| set.insert(item));
            set
        };
        let categories = lists
            .into_iter()
            .map(|(path, list)| {
                let many = list.len() >= items / FEW;
                (path.to_string(), Category { set: many.then(|| set(&list)), items: list })
            })
            .collect();

        let mut by_price: Vec<u32> = (0..items as u32).filter(|&item| !catalog.price[item as usize].is_nan()).collect();
        by_price.sort_unstable_by(|&a, &b| catalog.price[a as usize].total_cmp(&catalog.price[b as usize]).then(a.cmp(&b)));
        let prices = by_price.iter().map(|&item| catalog.price[item as usize]).collect();
        let cheaper = (0..=STEPS).map(|step| set(&by_price[..by_price.len() * step / STEPS])).collect();

        let mut currencies = vec![Bitmap::filled(items, false); catalog.currency.values().len()];
        for item in 0..items as u32 {
            let code = catalog.currency.code(item);
            if code != NONE {
                currencies[code as usize].insert(item);
            }
        }
        Self { items, categories, by_price, prices, cheaper, currencies }
    }

    /// Items of a category path and below it, ascending; `None` for an unknown path.
    pub fn category(&self, path: &str) -> Option<&[u32]> {
        self.categories.get(path).map(|category| category.items.as_slice())
    }

    /// Keeps what is in one of some categories.
    pub fn keep_categories(&self, paths: &[String], allowed: &mut Bitmap) {
        let mut inside = Bitmap::filled(self.items, false);
        for category in paths.iter().filter_map(|path| self.categories.get(path)) {
            match &category.set {
                Some(set) => inside.union(set),
                None => category.items.iter().for_each(|&item| inside.insert(item)),
            }
        }
        allowed.intersect(&inside);
    }

    /// Takes a category away.
    pub fn drop_category(&self, path: &str, allowed: &mut Bitmap) {
        match self.categories.get(path) {
            Some(Category { set: Some(set), .. }) => allowed.subtract(set),
            Some(category) => category.items.iter().for_each(|&item| allowed.remove(item)),
            None => {}
        }
    }

    /// Keeps what costs from `min` to `max`, both included; an item of unknown price goes.
    pub fn keep_prices(&self, min: f32, max: f32, allowed: &mut Bitmap) {
        let first = self.prices.partition_point(|&price| price < min);
        let end = self.prices.partition_point(|&price| price <= max).max(first);
        // The steps that hold them, by their sets, less what hangs over at both ends, item by item.
        let place = |step: usize| self.by_price.len() * step / STEPS;
        let low = (0..STEPS).rev().find(|&step| place(step) <= first).unwrap_or(0);
        let high = (0..=STEPS).find(|&step| place(step) >= end).unwrap_or(STEPS);
        allowed.intersect(&self.cheaper[high]);
        allowed.subtract(&self.cheaper[low]);
        let over = self.by_price[place(low)..first].iter().chain(&self.by_price[end..place(high)]);
        over.for_each(|&item| allowed.remove(item));
    }

    /// Keeps what is priced in a currency.
    pub fn keep_currency(&self, catalog: &Catalog, currency: &str, allowed: &mut Bitmap) {
        match catalog.currency.values().get(currency).and_then(|code| self.currencies.get(code as usize)) {
            Some(set) => allowed.intersect(set),
            None => *allowed = Bitmap::filled(self.items, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::{Labels, SplitMix};

    #[test]
    fn sets_say_what_the_catalogue_says() {
        for items in [1, 40, 5000] {
            let mut random = SplitMix(items as u64);
            let mut catalog = Catalog { category: Labels::default(), currency: Labels::default(), ..Catalog::unknown(items) };
            for price in &mut catalog.price {
                let (a, b, known) = (random.draw() % 3, random.draw() % 40, !random.draw().is_multiple_of(10));
                catalog.category.push(known.then(|| format!("{a} > {b}")).as_deref());
                catalog.currency.push(known.then_some(if a == 0 { "EUR" } else { "GBP" }));
                *price = if known { (random.draw() % 50) as f32 } else { f32::NAN };
            }
            let facets = Facets::of(&catalog);
            let all = Bitmap::filled(items, true);
            let same = |change: &dyn Fn(&mut Bitmap), holds: &dyn Fn(u32) -> bool, what: &str| {
                let mut allowed = all.clone();
                allowed.remove(3);
                change(&mut allowed);
                assert_eq!(allowed, Bitmap::of(items, |item| item != 3 && holds(item)), "{what}, {items} items");
            };
            let under = |item: u32, path: &str| {
                catalog.category.get(item).is_some_and(|own| own == path || own.starts_with(&format!("{path} > ")))
            };
            for path in ["0", "1", "2 > 7", "nowhere"] {
                same(&|set| facets.drop_category(path, set), &|item| !under(item, path), path);
                let two = [path.to_string(), "1 > 3".to_string()];
                same(&|set| facets.keep_categories(&two, set), &|item| under(item, path) || under(item, "1 > 3"), path);
            }
            for (min, max) in
                [(0.0, 50.0), (10.0, 40.5), (7.0, 7.0), (8.5, 8.6), (f32::NEG_INFINITY, 3.0), (30.0, f32::INFINITY), (9.0, 2.0)]
            {
                let inside = |item: u32| (min..=max).contains(&catalog.price[item as usize]);
                same(&|set| facets.keep_prices(min, max, set), &inside, &format!("{min} to {max}"));
            }
            for currency in ["EUR", "USD"] {
                same(
                    &|set| facets.keep_currency(&catalog, currency, set),
                    &|item| catalog.currency.get(item) == Some(currency),
                    currency,
                );
            }
        }
    }
}

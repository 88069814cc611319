//! The items of each category, price range and currency, as sets made once for a catalogue: a
//! filter combines them 64 items at a time.

use aisle_data::{Catalog, NONE, category_levels};
use aisle_retrieval::bitmap::Bitmap;
use std::collections::BTreeMap;

/// Priced items are cut into this many steps of as many items each, with a set for each step.
const PRICE_STEPS: usize = 64;
/// A category with fewer than one in this many items has no bitmap: handling its few items one by
/// one is cheaper than combining whole bitmaps.
const MIN_SET_SHARE: usize = 256;

/// The items of a category path and of the paths below it.
struct Category {
    /// Item rows, ascending.
    items: Vec<u32>,
    /// The same items as a set; `None` if they are few.
    set: Option<Bitmap>,
}

/// The items of a catalogue by category, price and currency.
#[derive(Default)]
pub(crate) struct Facets {
    /// How many items the catalogue has.
    items: usize,
    /// By category path.
    categories: BTreeMap<String, Category>,
    /// Items of known price, the cheapest first.
    by_price: Vec<u32>,
    /// The price of each item of `by_price`.
    prices: Vec<f32>,
    /// For each of the [`PRICE_STEPS`] + 1 ends of steps the items before it in `by_price`.
    before_step: Vec<Bitmap>,
    /// By the code of the currency in the catalogue.
    currencies: Vec<Bitmap>,
}

impl Facets {
    /// The facets of a catalogue. O(items · log items).
    pub fn of(catalog: &Catalog) -> Self {
        let items = catalog.len();
        let mut by_path: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for item in 0..items as u32 {
            let Some(path) = catalog.category.get(item) else {
                continue;
            };
            for level in category_levels(path) {
                by_path.entry(level).or_default().push(item);
            }
        }
        let set = |list: &[u32]| {
            let mut set = Bitmap::filled(items, false);
            list.iter().for_each(|&item| set.insert(item));
            set
        };
        let categories = by_path
            .into_iter()
            .map(|(path, list)| {
                let is_large = list.len() >= items / MIN_SET_SHARE;
                let category = Category {
                    set: is_large.then(|| set(&list)),
                    items: list,
                };
                (path.to_string(), category)
            })
            .collect();

        let mut by_price: Vec<u32> = (0..items as u32)
            .filter(|&item| !catalog.price[item as usize].is_nan())
            .collect();
        by_price.sort_unstable_by(|&a, &b| {
            catalog.price[a as usize]
                .total_cmp(&catalog.price[b as usize])
                .then(a.cmp(&b))
        });
        let prices = by_price
            .iter()
            .map(|&item| catalog.price[item as usize])
            .collect();
        let before_step = (0..=PRICE_STEPS)
            .map(|step| set(&by_price[..by_price.len() * step / PRICE_STEPS]))
            .collect();

        let mut currencies = vec![Bitmap::filled(items, false); catalog.currency.values().len()];
        for item in 0..items as u32 {
            let code = catalog.currency.code(item);
            if code != NONE {
                currencies[code as usize].insert(item);
            }
        }
        Self {
            items,
            categories,
            by_price,
            prices,
            before_step,
            currencies,
        }
    }

    /// The items of a category path and of those below it, ascending; `None` for an unknown path.
    pub fn category(&self, path: &str) -> Option<&[u32]> {
        self.categories
            .get(path)
            .map(|category| category.items.as_slice())
    }

    /// Removes items that are in none of some categories from a set.
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

    /// Removes the items of a category from a set.
    pub fn drop_category(&self, path: &str, allowed: &mut Bitmap) {
        match self.categories.get(path) {
            Some(Category { set: Some(set), .. }) => allowed.subtract(set),
            Some(category) => category.items.iter().for_each(|&item| allowed.remove(item)),
            None => {}
        }
    }

    /// Removes items that cost less than `min` or more than `max`, or whose price is not known,
    /// from a set. O(log items + items / 64).
    pub fn keep_prices(&self, min: f32, max: f32, allowed: &mut Bitmap) {
        let first = self.prices.partition_point(|&price| price < min);
        let end = self
            .prices
            .partition_point(|&price| price <= max)
            .max(first);
        // Keep the whole price steps that cover the range, then remove the single items below `min`
        // or above `max`.
        let place = |step: usize| self.by_price.len() * step / PRICE_STEPS;
        let low = (0..PRICE_STEPS)
            .rev()
            .find(|&step| place(step) <= first)
            .unwrap_or(0);
        let high = (0..=PRICE_STEPS)
            .find(|&step| place(step) >= end)
            .unwrap_or(PRICE_STEPS);
        allowed.intersect(&self.before_step[high]);
        allowed.subtract(&self.before_step[low]);
        let below_min = &self.by_price[place(low)..first];
        let above_max = &self.by_price[end..place(high)];
        for &item in below_min.iter().chain(above_max) {
            allowed.remove(item);
        }
    }

    /// Removes items that are not priced in a currency from a set.
    pub fn keep_currency(&self, catalog: &Catalog, currency: &str, allowed: &mut Bitmap) {
        let code = catalog.currency.values().get(currency);
        match code.and_then(|code| self.currencies.get(code as usize)) {
            Some(set) => allowed.intersect(set),
            None => *allowed = Bitmap::filled(self.items, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::Labels;
    use aisle_math::random::SplitMix;

    /// A catalogue with random categories, currencies and prices, a tenth of them unknown.
    fn random_catalog(items: usize) -> Catalog {
        let mut random = SplitMix(items as u64);
        let mut catalog = Catalog {
            category: Labels::default(),
            currency: Labels::default(),
            ..Catalog::unknown(items)
        };
        for price in &mut catalog.price {
            let top = random.draw() % 3;
            let leaf = random.draw() % 40;
            let is_known = !random.draw().is_multiple_of(10);
            let path = format!("{top} > {leaf}");
            let currency = if top == 0 { "EUR" } else { "GBP" };
            catalog.category.push(is_known.then_some(path.as_str()));
            catalog.currency.push(is_known.then_some(currency));
            *price = if is_known {
                (random.draw() % 50) as f32
            } else {
                f32::NAN
            };
        }
        catalog
    }

    /// Asserts that `filter` keeps the items for which `holds`, in catalogues of several sizes.
    fn assert_keeps(
        filter: impl Fn(&Facets, &Catalog, &mut Bitmap),
        holds: impl Fn(&Catalog, u32) -> bool,
    ) {
        for items in [1, 40, 5000] {
            let catalog = random_catalog(items);
            let mut allowed = Bitmap::filled(items, true);
            allowed.remove(3);
            filter(&Facets::of(&catalog), &catalog, &mut allowed);
            let expected = Bitmap::of(items, |item| item != 3 && holds(&catalog, item));
            assert_eq!(allowed, expected, "{items} items");
        }
    }

    fn is_under(catalog: &Catalog, item: u32, path: &str) -> bool {
        let own = catalog.category.get(item);
        own.is_some_and(|own| own == path || own.starts_with(&format!("{path} > ")))
    }

    const PATHS: [&str; 4] = ["0", "1", "2 > 7", "nowhere"];

    #[test]
    fn a_dropped_category_takes_its_subcategories_along() {
        for path in PATHS {
            assert_keeps(
                |facets, _, allowed| facets.drop_category(path, allowed),
                |catalog, item| !is_under(catalog, item, path),
            );
        }
    }

    #[test]
    fn an_item_of_any_of_the_categories_is_kept() {
        for path in PATHS {
            let paths = [path.to_string(), "1 > 3".to_string()];
            assert_keeps(
                |facets, _, allowed| facets.keep_categories(&paths, allowed),
                |catalog, item| is_under(catalog, item, path) || is_under(catalog, item, "1 > 3"),
            );
        }
    }

    #[test]
    fn a_price_range_includes_both_ends() {
        for (min, max) in [
            (0.0, 50.0),
            (10.0, 40.5),
            (7.0, 7.0),
            (8.5, 8.6),
            (f32::NEG_INFINITY, 3.0),
            (30.0, f32::INFINITY),
            (9.0, 2.0),
        ] {
            assert_keeps(
                |facets, _, allowed| facets.keep_prices(min, max, allowed),
                |catalog, item| (min..=max).contains(&catalog.price[item as usize]),
            );
        }
    }

    #[test]
    fn only_items_of_the_currency_are_kept() {
        for currency in ["EUR", "USD"] {
            assert_keeps(
                |facets, catalog, allowed| facets.keep_currency(catalog, currency, allowed),
                |catalog, item| catalog.currency.get(item) == Some(currency),
            );
        }
    }
}

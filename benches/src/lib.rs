//! What measurements ask for: shoppers of a version, and items as often as they were sold.

use aisle_models::FittedModels;

/// Draws shoppers, items and carts of fitted models, the same each time. Items and carts come as
/// often as they were bought, because shoppers look at what sells.
pub struct Workload<'a> {
    models: &'a FittedModels,
    departments: Vec<String>,
    high_price: Option<HighPrice>,
    /// The items of all histories, one after another.
    sold: Vec<u32>,
}

/// The price above which the most expensive tenth of the items lies.
#[derive(Clone, Copy, Debug)]
pub struct HighPrice {
    /// The price, in the currency of `item`.
    pub price: f32,
    /// An item that costs it.
    pub item: u32,
}

/// Steps through `count` rows in no recognisable order.
fn scattered(at: usize, count: usize) -> usize {
    ((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % count.max(1) as u64) as usize
}

impl<'a> Workload<'a> {
    /// Prepares to draw. O(catalogue + histories).
    pub fn new(models: &'a FittedModels) -> Self {
        let categories = &models.catalog.category;
        let paths = (0..models.items.len() as u32).filter_map(|item| categories.get(item));
        let department = |path: &str| aisle_data::category_prefix(path, 1).to_string();
        let mut departments: Vec<String> = paths.map(department).collect();
        departments.sort_unstable();
        departments.dedup();

        let priced = (0..)
            .zip(&models.catalog.price)
            .filter(|(_, price)| price.is_finite());
        let mut prices: Vec<HighPrice> = priced
            .map(|(item, &price)| HighPrice { price, item })
            .collect();
        prices.sort_unstable_by(|a, b| a.price.total_cmp(&b.price));

        let users = 0..models.users.len() as u32;
        Self {
            models,
            departments,
            high_price: prices.get(prices.len() * 9 / 10).copied(),
            sold: users
                .flat_map(|user| models.history(user).items)
                .copied()
                .collect(),
        }
    }

    /// The row of a shopper.
    pub fn user(&self, at: usize) -> u32 {
        scattered(at, self.models.users.len()) as u32
    }

    /// The row of an item that was sold.
    pub fn item(&self, at: usize) -> u32 {
        self.sold[scattered(at, self.sold.len())]
    }

    /// Up to three items of one shopper's history.
    pub fn cart(&self, at: usize) -> Vec<u32> {
        self.models
            .history(self.user(at))
            .items
            .iter()
            .take(3)
            .copied()
            .collect()
    }

    /// A top category that a filter excludes.
    pub fn department(&self, at: usize) -> Option<&str> {
        self.departments
            .get(at % self.departments.len().max(1))
            .map(String::as_str)
    }

    /// The price that a filter does not let items exceed; `None` in a catalogue without prices.
    pub fn high_price(&self) -> Option<HighPrice> {
        self.high_price
    }
}

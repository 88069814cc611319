//! What measurements ask: shoppers of a version, and items as they were sold.

use aisle_models::Bundle;

/// Draws from a version, the same each time. What sells is looked at: items and carts come as often as they were bought.
pub struct Draw<'a> {
    bundle: &'a Bundle,
    departments: Vec<String>,
    /// Price and row of the cheapest of the dearest tenth.
    dear: Option<(f32, u32)>,
    /// An item for each shopper who had it.
    sold: Vec<u32>,
}

/// Steps through rows without an order.
fn spread(at: usize, rows: usize) -> usize {
    ((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % rows.max(1) as u64) as usize
}

impl<'a> Draw<'a> {
    /// From a version. O(catalogue + histories).
    pub fn new(bundle: &'a Bundle) -> Self {
        let paths = (0..bundle.items.len() as u32).filter_map(|item| bundle.catalog.category.get(item));
        let mut departments: Vec<String> = paths.map(|path| aisle_data::cut(path, 1).to_string()).collect();
        departments.sort_unstable();
        departments.dedup();
        let priced = (0..).zip(&bundle.catalog.price).filter(|(_, price)| price.is_finite());
        let mut prices: Vec<(f32, u32)> = priced.map(|(item, &price)| (price, item)).collect();
        prices.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let sold = (0..bundle.users.len() as u32).flat_map(|user| bundle.history(user).0).copied().collect();
        Self { bundle, departments, dear: prices.get(prices.len() * 9 / 10).copied(), sold }
    }

    /// A shopper.
    pub fn user(&self, at: usize) -> u32 {
        spread(at, self.bundle.users.len()) as u32
    }

    /// An item that was sold.
    pub fn item(&self, at: usize) -> u32 {
        self.sold[spread(at, self.sold.len())]
    }

    /// Three items that a shopper had.
    pub fn cart(&self, at: usize) -> Vec<u32> {
        self.bundle.history(self.user(at)).0.iter().take(3).copied().collect()
    }

    /// A department to leave out.
    pub fn department(&self, at: usize) -> Option<&str> {
        self.departments.get(at % self.departments.len().max(1)).map(String::as_str)
    }

    /// The price above which the dearest tenth lies, and an item that costs it.
    pub fn dear(&self) -> Option<(f32, u32)> {
        self.dear
    }
}

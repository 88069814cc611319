//! What changed in the shop since a version was made: prices, and what can be bought. Requests see it at once; models do not.

use crate::bitmap::Bitmap;
use aisle_data::{Catalog, IdMap, NewItem};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is new about an item; what is absent stands as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemChange {
    /// Whether it can be bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<bool>,
    /// Its price, in the currency that the catalogue has for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<f32>,
}

/// All changes that stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemChanges {
    /// Counts the calls that changed something.
    pub epoch: u64,
    /// By item id.
    pub items: BTreeMap<String, ItemChange>,
    /// Items that came since, by id: versions that do not know them give them a place by what is known of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub new: BTreeMap<String, NewItem>,
}

/// What one call says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemNews {
    /// New prices and stock, by item id.
    pub items: BTreeMap<String, ItemChange>,
    /// New items, by id.
    pub new: BTreeMap<String, NewItem>,
    /// Currencies of prices, by item id.
    pub currencies: BTreeMap<String, String>,
    /// Items that are new no more.
    pub learned: Vec<String>,
}

impl ItemChanges {
    /// Adds changes; a later one of the same item stands.
    pub fn add(&mut self, news: ItemNews) {
        self.epoch += 1;
        news.learned.iter().for_each(|id| drop(self.new.remove(id)));
        for (id, mut item) in news.new {
            // A card without a price says nothing against the currency that stands.
            item.currency = item.currency.or_else(|| self.new.get(&id).and_then(|known| known.currency.clone()));
            self.new.insert(id, item);
        }
        for (id, currency) in news.currencies {
            if let Some(item) = self.new.get_mut(&id) {
                item.currency = Some(currency);
            }
        }
        for (id, new) in news.items {
            let change = self.items.entry(id).or_default();
            change.available = new.available.or(change.available);
            change.price = new.price.or(change.price);
        }
    }
}

/// The changes as one version sees them.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    /// Which changes these are.
    pub epoch: u64,
    available: Bitmap,
    prices: BTreeMap<u32, f32>,
}

impl Shelf {
    /// A version's own catalogue with some changes. Items that the version does not know are left out. O(items + changes).
    pub(crate) fn of(catalog: &Catalog, items: &IdMap, changes: &ItemChanges) -> Self {
        let mut shelf = Self {
            epoch: changes.epoch,
            available: Bitmap::of(items.len(), |item| catalog.available[item as usize]),
            prices: BTreeMap::new(),
        };
        for (id, change) in &changes.items {
            let Some(item) = items.get(id) else { continue };
            match change.available {
                Some(true) => shelf.available.insert(item),
                Some(false) => shelf.available.remove(item),
                None => {}
            }
            if let Some(price) = change.price {
                shelf.prices.insert(item, price);
            }
        }
        shelf
    }

    /// Items that can be bought now.
    pub fn available(&self) -> &Bitmap {
        &self.available
    }

    /// The price of an item, if it changed.
    pub fn new_price(&self, item: u32) -> Option<f32> {
        self.prices.get(&item).copied()
    }

    /// Items whose price changed.
    pub(crate) fn new_prices(&self) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.prices.iter().map(|(&item, &price)| (item, price))
    }

    /// The price of an item; NaN = unknown.
    pub(crate) fn price(&self, catalog: &Catalog, item: u32) -> f32 {
        self.new_price(item).unwrap_or(catalog.price[item as usize])
    }
}

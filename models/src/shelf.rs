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
}

impl ItemChanges {
    /// The items that came and that are not among `known`, each with its price.
    pub(crate) fn unknown_to<'a>(&'a self, known: &'a IdMap) -> impl Iterator<Item = (&'a str, &'a NewItem, Option<f32>)> {
        let price = |id: &String| self.items.get(id).and_then(|change| change.price);
        self.new.iter().filter(|(id, _)| known.get(id).is_none()).map(move |(id, item)| (id.as_str(), item, price(id)))
    }

    /// Adds changes; a later one of the same item stands.
    pub fn add(&mut self, news: ItemNews) {
        self.epoch += 1;
        self.new.extend(news.new);
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

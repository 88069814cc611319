//! Prices and stock as they are now: what changed in the shop since a version was made. Requests
//! see it at once; models do not.

use aisle_data::{Catalog, IdMap, NewItem};
use aisle_retrieval::bitmap::Bitmap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What changed about an item; what is absent is as it was.
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

/// All changes that are in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemChanges {
    /// Counts the updates that were made.
    pub epoch: u64,
    /// Changes of price and stock, by item id.
    pub items: BTreeMap<String, ItemChange>,
    /// Items that came since, by id: a version that does not know them gives them a place by their
    /// content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub new: BTreeMap<String, NewItem>,
}

/// What one update says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemUpdates {
    /// New prices and stock, by item id.
    pub items: BTreeMap<String, ItemChange>,
    /// New items, by id.
    pub new: BTreeMap<String, NewItem>,
    /// Currencies of prices, by item id.
    pub currencies: BTreeMap<String, String>,
    /// Ids of items that every version has learned, so that they are not new any more.
    pub learned: Vec<String>,
}

impl ItemChanges {
    /// Adds an update; of two changes of one item the later counts.
    pub fn add(&mut self, updates: ItemUpdates) {
        self.epoch += 1;
        updates
            .learned
            .iter()
            .for_each(|id| drop(self.new.remove(id)));
        for (id, mut item) in updates.new {
            // New details without a price say nothing against the currency that is known.
            item.currency = item
                .currency
                .or_else(|| self.new.get(&id).and_then(|known| known.currency.clone()));
            self.new.insert(id, item);
        }
        for (id, currency) in updates.currencies {
            if let Some(item) = self.new.get_mut(&id) {
                item.currency = Some(currency);
            }
        }
        for (id, new) in updates.items {
            let change = self.items.entry(id).or_default();
            change.available = new.available.or(change.available);
            change.price = new.price.or(change.price);
        }
    }
}

/// The catalogue of a version with changes applied.
#[derive(Clone, Debug, Default)]
pub struct LiveCatalog {
    /// The [`ItemChanges::epoch`] of the changes.
    pub epoch: u64,
    available: Bitmap,
    prices: BTreeMap<u32, f32>,
}

impl LiveCatalog {
    /// Applies changes to a version's own catalogue. Items that the version does not know are left
    /// out. O(items + changes).
    pub fn apply_item_changes(catalog: &Catalog, items: &IdMap, changes: &ItemChanges) -> Self {
        let mut live = Self {
            epoch: changes.epoch,
            available: Bitmap::of(items.len(), |item| catalog.available[item as usize]),
            prices: BTreeMap::new(),
        };
        for (id, change) in &changes.items {
            let Some(item) = items.get(id) else { continue };
            match change.available {
                Some(true) => live.available.insert(item),
                Some(false) => live.available.remove(item),
                None => {}
            }
            if let Some(price) = change.price {
                live.prices.insert(item, price);
            }
        }
        live
    }

    /// Items that can be bought now.
    pub fn available(&self) -> &Bitmap {
        &self.available
    }

    /// The price of an item, if it changed.
    pub fn changed_price(&self, item: u32) -> Option<f32> {
        self.prices.get(&item).copied()
    }

    /// Items whose price changed, with their prices, by ascending row.
    pub(crate) fn changed_prices(&self) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.prices.iter().map(|(&item, &price)| (item, price))
    }

    /// The price of an item now; NaN = unknown.
    pub fn price(&self, catalog: &Catalog, item: u32) -> f32 {
        self.changed_price(item)
            .unwrap_or(catalog.price[item as usize])
    }
}

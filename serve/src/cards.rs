//! What every answer says of an item, encoded once a version: its id, title, category and price.

use aisle_models::Bundle;
use aisle_proto::{Money, RecommendedItem};
use prost::Message;

/// Items in one part, which is encoded by one thread.
const PART: usize = 4096;

/// One encoded `RecommendedItem` an item, without what depends on the request. About 100 bytes each.
pub struct Cards {
    parts: Vec<Part>,
}

#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    /// Where each card ends, without its price and with it.
    ends: Vec<(u32, u32)>,
}

impl Cards {
    /// Of all items of a version. O(items).
    pub fn of(bundle: &Bundle) -> Self {
        let items = bundle.items.len();
        let part = |first: usize| {
            let mut part = Part::default();
            for item in first..items.min(first + PART) {
                // The price at the end, so that a new one can take its place.
                let mut card = card(bundle, item as u32);
                let price = RecommendedItem { price: card.price.take(), ..Default::default() };
                card.encode_raw(&mut part.bytes);
                let end = part.bytes.len() as u32;
                price.encode_raw(&mut part.bytes);
                part.ends.push((end, part.bytes.len() as u32));
            }
            part
        };
        Self { parts: (0..items).step_by(PART).map(part).collect() }
    }

    /// The card of an item, with its price or without; empty beyond the last.
    pub fn get(&self, item: u32, priced: bool) -> &[u8] {
        let (part, at) = (item as usize / PART, item as usize % PART);
        let Some(part) = self.parts.get(part) else { return &[] };
        let Some(&(bare, end)) = part.ends.get(at) else { return &[] };
        let start = if at == 0 { 0 } else { part.ends[at - 1].1 };
        &part.bytes[start as usize..if priced { end } else { bare } as usize]
    }
}

fn card(bundle: &Bundle, item: u32) -> RecommendedItem {
    let catalog = &bundle.catalog;
    let price = catalog.price[item as usize];
    RecommendedItem {
        item_id: bundle.items.id(item).to_string(),
        title: catalog.title.get(item).unwrap_or_default().to_string(),
        category: catalog.category.get(item).unwrap_or_default().to_string(),
        price: (!price.is_nan()).then(|| Money::from_price(price, catalog.currency.get(item))),
        ..Default::default()
    }
}

//! What every answer says of an item, encoded once for each version: its id, title, category and
//! price.

use aisle_models::FittedModels;
use aisle_proto::{Money, RecommendedItem};
use prost::Message;

/// How many items share one buffer.
const CHUNK: usize = 4096;

/// One encoded `RecommendedItem` for each item, without what depends on the request. An item takes
/// about 100 bytes.
pub struct ItemCache {
    chunks: Vec<Chunk>,
}

/// The encoded items of one buffer, one after another.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// For each item, where its encoding ends without its price, and where it ends with it.
    ends: Vec<(u32, u32)>,
}

impl ItemCache {
    /// Encodes all items of a catalogue. O(items).
    pub fn new(models: &FittedModels) -> Self {
        let items = models.items.len();
        let encode_chunk = |first: usize| {
            let mut chunk = Chunk::default();
            for item in first..items.min(first + CHUNK) {
                chunk.push(recommended_item(models, item as u32));
            }
            chunk
        };
        Self {
            chunks: (0..items).step_by(CHUNK).map(encode_chunk).collect(),
        }
    }

    /// Returns the encoded fields of an item, with the price of the catalogue or without a price.
    /// Empty for a row beyond the last item. O(1).
    pub fn get(&self, item: u32, price: CachedPrice) -> &[u8] {
        let (chunk, at) = (item as usize / CHUNK, item as usize % CHUNK);
        let Some(chunk) = self.chunks.get(chunk) else {
            return &[];
        };
        let Some(&(without_price, with_price)) = chunk.ends.get(at) else {
            return &[];
        };
        let start = if at == 0 { 0 } else { chunk.ends[at - 1].1 };
        let end = match price {
            CachedPrice::Include => with_price,
            CachedPrice::LeaveOut => without_price,
        };
        &chunk.bytes[start as usize..end as usize]
    }
}

/// Whether the encoded fields of an item hold the price of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachedPrice {
    /// The price of the catalogue is in force.
    Include,
    /// The price changed, or is unknown: the caller encodes it.
    LeaveOut,
}

impl Chunk {
    /// Appends an item. Its price comes last, so that the rest can be used without it.
    fn push(&mut self, mut item: RecommendedItem) {
        let price = RecommendedItem {
            price: item.price.take(),
            ..Default::default()
        };
        item.encode_raw(&mut self.bytes);
        let without_price = self.bytes.len() as u32;
        price.encode_raw(&mut self.bytes);
        self.ends.push((without_price, self.bytes.len() as u32));
    }
}

fn recommended_item(models: &FittedModels, item: u32) -> RecommendedItem {
    let catalog = &models.catalog;
    let price = catalog.price[item as usize];
    RecommendedItem {
        item_id: models.items.id(item).to_string(),
        title: catalog.title.get(item).unwrap_or_default().to_string(),
        category: catalog.category.get(item).unwrap_or_default().to_string(),
        price: (!price.is_nan()).then(|| Money::from_price(price, catalog.currency.get(item))),
        ..Default::default()
    }
}

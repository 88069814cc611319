//! Two shops in one: half of the shoppers buy cups with saucers, the other half nails with hammers.

use crate::common::algorithms::als;
use crate::common::dataset;
use crate::common::logs::{TrainingData, purchases};
use crate::common::served::{ServedVersion, fit};
use aisle_data::{Catalog, Dataset, EventLog};
use aisle_models::{Hyperparameters, Personal, Segments, Version};
use std::sync::{Arc, LazyLock};

pub const USERS: u32 = 40;
/// Rows 0 to 4 are cups, 5 to 9 saucers, 10 to 14 nails, 15 to 19 hammers. Nobody buys rows 20 and
/// 21, and row 7 is out of stock.
pub const ITEMS: u32 = 22;
pub const OUT_OF_STOCK: u32 = 7;
const CATEGORIES: [&str; 5] = [
    "Home > Cups",
    "Home > Saucers",
    "Tools > Nails",
    "Tools > Hammers",
    "Odd",
];

fn log() -> EventLog {
    let mut events = Vec::new();
    let mut order = 0;
    for user in 0..USERS {
        for day in 0..3i64 {
            let base = if user % 2 == 0 { 0 } else { 10 };
            for item in [
                base,
                base + 5,
                base + (user + day as u32) % 5,
                base + 5 + (user * 3 + day as u32) % 5,
            ] {
                events.push((user, item, order, i64::from(user) + day));
            }
            order += 1;
        }
    }
    purchases(USERS as usize, ITEMS as usize, &events)
}

fn catalog(category: impl Fn(u32) -> &'static str, available: impl Fn(u32) -> bool) -> Catalog {
    let mut catalog = Catalog {
        given: true,
        ..Catalog::default()
    };
    for item in 0..ITEMS {
        catalog.title.push(Some(&format!("Item {item}")));
        catalog.category.push(Some(category(item)));
        catalog.price.push(1.0 + (item % 5) as f32 * 0.3);
        catalog.currency.push(Some("EUR"));
        catalog.brand.push(None);
        catalog.available.push(available(item));
    }
    catalog
}

/// The shop, with its two items that nobody buys in a category of their own.
pub fn shop() -> Dataset {
    let category = |item: u32| CATEGORIES[(item / 5) as usize];
    dataset(
        log(),
        catalog(category, |item| item != OUT_OF_STOCK),
        Vec::new(),
    )
}

/// The shop, where the two items that nobody buys are a cup and a hammer; everything is in stock.
pub fn shop_with_cold_items() -> Dataset {
    let category = |item: u32| match item {
        COLD_CUP => CATEGORIES[0],
        COLD_HAMMER => CATEGORIES[3],
        _ => CATEGORIES[(item / 5) as usize],
    };
    dataset(log(), catalog(category, |_| true), Vec::new())
}

/// The cup that nobody buys, in [`shop_with_cold_items`].
pub const COLD_CUP: u32 = 20;
/// The hammer that nobody buys, in [`shop_with_cold_items`].
pub const COLD_HAMMER: u32 = 21;

/// The shop as algorithms are trained on it.
pub fn training_data() -> TrainingData {
    let Dataset { log, catalog, .. } = shop();
    TrainingData::with_attributes(log, catalog, Vec::new())
}

/// A personal model and the defaults of everything else, with segments of five shoppers or more.
pub fn hyperparameters(personal: Personal) -> Hyperparameters {
    Hyperparameters {
        segments: Segments {
            min_shoppers: 5,
            ..Segments::default()
        },
        ..Hyperparameters::of(personal)
    }
}

/// Fits the shop.
pub fn fit_shop(personal: Personal) -> Version {
    fit(&shop(), hyperparameters(personal))
}

/// The shop, fitted once for all tests of a file with ALS as the personal model.
pub fn served_shop() -> ServedVersion {
    static FITTED: LazyLock<Arc<Version>> =
        LazyLock::new(|| Arc::new(fit_shop(Personal::Als(als()))));
    ServedVersion::new(FITTED.clone())
}

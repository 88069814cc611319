//! A shop of sixty shoppers and thirty items of three brands and three categories, in which shopper
//! n likes items around n/2, as a server serves it.

use crate::common::dataset;
use crate::common::logs::purchase_type;
use crate::common::served::{ServedVersion, fit, items_of, user_request};
use aisle_data::{Catalog, DAY_MILLIS, EventLog, IdMap, Labels};
use aisle_models::{
    Als, Answer, Controls, Hyperparameters, Personal, RequestContext, Rule, Segments, UserRequest,
    Version,
};
use std::sync::{Arc, LazyLock};

pub const USERS: u32 = 60;
/// Item n costs n + 1, is of brand n / 10 and of category n % 3.
pub const ITEMS: u32 = 30;
/// Items that can be bought: row 9 is out of stock.
pub const IN_STOCK: usize = 29;
/// The category of items whose row leaves a remainder of 2 by 3.
pub const SPOONS: u32 = 2;

fn two_digit_ids(letter: &str, count: u32) -> Arc<IdMap> {
    let ids: Vec<String> = (0..count).map(|row| format!("{letter}{row:02}")).collect();
    Arc::new(ids.iter().map(String::as_str).collect())
}

/// Shopper n bought n/2 + step² for steps 0 to 7, two of them an order, some 20 days apart from day
/// 100 to day 160.
fn log() -> EventLog {
    let mut log = EventLog {
        users: two_digit_ids("u", USERS),
        items: two_digit_ids("i", ITEMS),
        types: vec![purchase_type(0)],
        ..EventLog::default()
    };
    for user in 0..USERS {
        for step in 0..8u32 {
            let day = 100 + i64::from(step / 2) * 20 - i64::from(user % 3);
            log.user.push(user);
            log.item.push((user / 2 + step * step) % ITEMS);
            log.kind.push(0);
            log.order.push(user * 4 + step / 2);
            log.time.push(day * DAY_MILLIS);
        }
    }
    log
}

fn catalog() -> Catalog {
    let mut catalog = Catalog {
        given: true,
        ..Catalog::default()
    };
    for item in 0..ITEMS {
        let category = ["Cups", "Plates", "Spoons"][item as usize % 3];
        let brand = ["ALBA", "BORA", "CARA"][item as usize / 10];
        catalog.title.push(Some(&format!("Item {item}")));
        catalog.category.push(Some(category));
        catalog.price.push(1.0 + item as f32);
        catalog.currency.push(Some("EUR"));
        catalog.brand.push(Some(brand));
        catalog.available.push(item != 9);
    }
    catalog
}

/// The first half of the shoppers has the tier `gold`, and is the segment `early`.
fn fit_shop() -> Version {
    let mut tiers = Labels::default();
    (0..USERS).for_each(|user| tiers.push(Some(if user < 30 { "gold" } else { "none" })));
    let data = dataset(log(), catalog(), vec![("tier".into(), tiers)]);
    let segments = Segments {
        named: [("early".to_string(), "user.tier = gold".to_string())].into(),
        min_shoppers: 5,
        ..Segments::default()
    };
    let als = Als {
        factors: 8,
        ..Als::default()
    };
    let hyperparameters = Hyperparameters {
        segments,
        ..Hyperparameters::of(Personal::Als(als))
    };
    fit(&data, hyperparameters)
}

/// The shop without rules, fitted once for all tests of a file.
pub fn served_shop() -> ServedVersion {
    static FITTED: LazyLock<Arc<Version>> = LazyLock::new(|| Arc::new(fit_shop()));
    ServedVersion::new(FITTED.clone())
}

/// The shop under one rule, which is given the name `tested`.
pub fn shop_with_rule(rule: Rule) -> ServedVersion {
    served_shop().with_rules(vec![Rule {
        name: "tested".into(),
        ..rule
    }])
}

/// A shopper of the tests.
pub const SHOPPER: u32 = 3;

/// What a shop recommends to [`SHOPPER`] in a context.
pub fn recommend(shop: &ServedVersion, k: usize, context: RequestContext) -> Answer {
    shop.recommend_for_user(&UserRequest {
        context,
        ..user_request(SHOPPER, k)
    })
}

/// The items that a shop recommends to [`SHOPPER`], best first.
pub fn recommended_items(shop: &ServedVersion, k: usize) -> Vec<u32> {
    items_of(&recommend(shop, k, RequestContext::default()))
}

/// A context of a request that sets some controls.
pub fn with_controls(controls: Controls) -> RequestContext {
    RequestContext {
        controls,
        ..RequestContext::default()
    }
}

//! Prices, stock and rules that are laid over fitted models: what a change of one of them does, and
//! what it leaves as it is.

use crate::common::branded_shop::{
    IN_STOCK, SHOPPER, recommended_items, served_shop, shop_with_rule,
};
use crate::common::served::{ServedVersion, items_of, user_request};
use aisle_models::{
    ItemChange, ItemChanges, ItemFilter, ItemUpdates, LiveState, Rule, UserRequest,
};
use std::sync::Arc;

/// A change of one item.
fn change(id: &str, change: ItemChange) -> ItemChanges {
    let mut changes = ItemChanges::default();
    changes.add(ItemUpdates {
        items: [(id.to_string(), change)].into(),
        ..ItemUpdates::default()
    });
    changes
}

fn with_price(id: &str, price: f32) -> ItemChanges {
    let new_price = ItemChange {
        available: None,
        price: Some(price),
    };
    change(id, new_price)
}

fn with_stock(id: &str, available: bool) -> ItemChanges {
    let new_stock = ItemChange {
        available: Some(available),
        price: None,
    };
    change(id, new_stock)
}

/// A rule whose items depend on prices: three items cost 3 or less.
fn only_up_to_a_price_of_3() -> Rule {
    Rule {
        only: Some("item.price <= 3".into()),
        ..Rule::default()
    }
}

/// A rule whose items do not depend on prices or stock.
fn only_spoons() -> Rule {
    Rule {
        only: Some("item.category : Spoons".into()),
        ..Rule::default()
    }
}

/// The items up to a price of 3 that are recommended because a filter says so.
fn filtered_items(shop: &ServedVersion) -> Vec<u32> {
    let filter = ItemFilter {
        max_price: Some(3.0),
        ..ItemFilter::default()
    };
    items_of(&shop.recommend_for_user(&UserRequest {
        filter,
        ..user_request(SHOPPER, IN_STOCK)
    }))
}

#[test]
fn a_rule_on_prices_reads_the_prices_of_the_catalogue() {
    let shop = shop_with_rule(only_up_to_a_price_of_3());
    assert_eq!(recommended_items(&shop, IN_STOCK).len(), 3);
}

#[test]
fn a_rule_on_prices_follows_a_change_of_price() {
    let shop = shop_with_rule(only_up_to_a_price_of_3());
    let shop = shop.with_item_changes(&with_price("i20", 2.5));
    assert!(recommended_items(&shop, IN_STOCK).contains(&20));
}

#[test]
fn a_filter_on_prices_follows_a_price_that_fell() {
    let shop = served_shop().with_item_changes(&with_price("i20", 2.5));
    let mut items = filtered_items(&shop);
    items.sort_unstable();
    assert_eq!(items, [0, 1, 2, 20]);
}

#[test]
fn a_filter_on_prices_follows_a_price_that_rose() {
    let shop = served_shop().with_item_changes(&with_price("i01", 9.0));
    let mut items = filtered_items(&shop);
    items.sort_unstable();
    assert_eq!(items, [0, 2]);
}

#[test]
fn an_item_that_went_out_of_stock_is_not_recommended() {
    let shop = served_shop().with_item_changes(&with_stock("i20", false));
    assert!(!recommended_items(&shop, IN_STOCK).contains(&20));
}

#[test]
fn an_item_that_came_into_stock_is_recommended() {
    let shop = served_shop().with_item_changes(&with_stock("i09", true));
    assert!(recommended_items(&shop, IN_STOCK + 1).contains(&9));
}

#[test]
fn changes_of_items_that_the_version_does_not_know_have_no_effect() {
    let shop = served_shop().with_item_changes(&with_stock("i99", true));
    let expected = recommended_items(&served_shop(), IN_STOCK);
    assert_eq!(recommended_items(&shop, IN_STOCK), expected);
}

#[test]
fn of_two_changes_of_an_item_the_later_counts_field_by_field() {
    let mut changes = with_price("i20", 2.5);
    changes.add(ItemUpdates {
        items: with_stock("i20", false).items,
        ..ItemUpdates::default()
    });
    let expected = ItemChange {
        available: Some(false),
        price: Some(2.5),
    };
    assert_eq!((changes.epoch, changes.items["i20"]), (2, expected));
}

#[test]
fn a_change_of_price_leaves_the_state_that_it_was_made_from() {
    let shop = shop_with_rule(only_up_to_a_price_of_3());
    let before = recommended_items(&shop, IN_STOCK);
    shop.with_item_changes(&with_price("i20", 2.5));
    assert_eq!(recommended_items(&shop, IN_STOCK), before);
}

#[test]
fn rules_that_do_not_read_prices_are_not_compiled_again() {
    let shop = shop_with_rule(only_spoons());
    let changed = shop.with_item_changes(&with_price("i20", 2.5));
    assert!(Arc::ptr_eq(&changed.live.rules, &shop.live.rules));
}

#[test]
fn a_change_of_rules_keeps_prices_and_stock() {
    let shop = served_shop().with_item_changes(&with_price("i20", 2.5));
    let ruled = shop.with_rules(vec![only_spoons()]);
    assert!(Arc::ptr_eq(&ruled.live.catalog, &shop.live.catalog));
}

#[test]
fn a_changed_price_is_that_of_the_live_catalogue() {
    let shop = served_shop().with_item_changes(&with_price("i20", 2.5));
    let (live, catalog) = (&shop.live.catalog, &shop.models().catalog);
    assert_eq!(
        (live.price(catalog, 20), live.price(catalog, 21)),
        (2.5, 22.0)
    );
    let changed = [20, 21].map(|item| live.changed_price(item));
    assert_eq!(changed, [Some(2.5), None]);
}

#[test]
fn a_condition_matches_items_at_their_current_price() {
    let shop = served_shop();
    let matching = |live: &LiveState| -> Vec<u32> {
        let items = live
            .items_matching(shop.models(), "item.price <= 3")
            .unwrap();
        items.iter().collect()
    };
    assert_eq!(matching(&shop.live), [0, 1, 2]);
    let changed = shop.with_item_changes(&with_price("i20", 2.5));
    assert_eq!(matching(&changed.live), [0, 1, 2, 20]);
}

#[test]
fn a_condition_on_an_unknown_field_is_refused() {
    let shop = served_shop();
    let refused = shop.live.items_matching(shop.models(), "item.prize <= 3");
    assert!(refused.is_err());
}

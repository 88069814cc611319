//! The items file.

use crate::common::{folder, read, texts, write};
use aisle_data::{DataConfig, Dataset, Reason};
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, Float32Array};
use std::sync::Arc;

/// Reads events of b and z, with an items file of b, a, and b again.
fn read_shop() -> Dataset {
    let folder = folder();
    let events = write(
        &folder.path().join("e.parquet"),
        vec![
            ("user_id", texts(&["u", "u"])),
            ("item_id", texts(&["b", "z"])),
        ],
    );
    let prices: ArrayRef = Arc::new(Float32Array::from(vec![Some(1.0), Some(-2.0), None]));
    let columns = vec![
        ("item_id", texts(&["b", "a", "b"])),
        ("title", texts(&["Bee", "Ay", "Bee again"])),
        (
            "category",
            texts(&["Home>Kitchen", " Home > Bath ", "Home"]),
        ),
        ("price", prices),
        ("available", texts(&["yes", "no", "yes"])),
        ("colour", texts(&["red", "blue", "red"])),
    ];
    let items = write(&folder.path().join("i.parquet"), columns);
    read(&events, Some(&items), &DataConfig::default()).unwrap()
}

fn row(data: &Dataset, id: &str) -> u32 {
    data.log.items.get(id).unwrap()
}

#[test]
fn items_are_those_of_the_catalogue_and_of_the_log() {
    let data = read_shop();
    assert_eq!(
        data.log.items.len(),
        3,
        "a and b from the catalogue, z from the log"
    );
}

#[test]
fn of_an_item_listed_twice_the_first_row_counts() {
    let data = read_shop();
    assert_eq!(data.catalog.title.get(row(&data, "b")), Some("Bee"));
}

#[test]
fn category_paths_are_normalized() {
    let data = read_shop();
    let category = |id: &str| data.catalog.category.get(row(&data, id));
    assert_eq!(category("a"), Some("Home > Bath"));
    assert_eq!(data.catalog.category_at(row(&data, "b"), 1), Some("Home"));
}

#[test]
fn a_negative_price_is_unknown() {
    let data = read_shop();
    let price = |id: &str| data.catalog.price[row(&data, id) as usize];
    assert!(price("a").is_nan() && price("b") == 1.0);
}

#[test]
fn an_item_is_available_unless_the_catalogue_says_no() {
    let data = read_shop();
    let available = |id: &str| data.catalog.available[row(&data, id) as usize];
    assert!(!available("a") && available("z"));
}

#[test]
fn further_columns_are_attributes() {
    let data = read_shop();
    let (_, colours) = &data.catalog.attributes[0];
    assert_eq!(colours.get(row(&data, "a")), Some("blue"));
}

#[test]
fn repeated_items_and_bad_prices_are_counted() {
    let data = read_shop();
    let (_, set_aside) = data.items_report.as_ref().unwrap();
    let reasons: Vec<Reason> = set_aside.iter().map(|(reason, _)| reason).collect();
    assert_eq!(reasons, [Reason::DuplicateItem, Reason::BadCatalogPrice]);
}

#[test]
fn a_category_may_be_a_list() {
    let folder = folder();
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("Home"), Some("Kitchen")]);
    lists.append_null();
    let events = write(
        &folder.path().join("e.parquet"),
        vec![("user_id", texts(&["u"])), ("item_id", texts(&["a"]))],
    );
    let items = write(
        &folder.path().join("i.parquet"),
        vec![
            ("item_id", texts(&["a", "b"])),
            ("category", Arc::new(lists.finish())),
        ],
    );
    let data = read(&events, Some(&items), &DataConfig::default()).unwrap();
    assert_eq!(data.catalog.category.get(0), Some("Home > Kitchen"));
    assert_eq!(data.catalog.category.get(1), None);
}

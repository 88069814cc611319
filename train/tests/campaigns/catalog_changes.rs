//! Prices that dropped, and stock that is back.

use crate::shop::*;

#[test]
fn a_price_is_compared_with_what_the_shopper_saw() {
    let folder = shop();
    let (_, drops) = batch(folder.path(), "price-drop", &TODAY);
    assert_eq!(
        names(&drops),
        [
            "user_id",
            "item_id",
            "seen_at",
            "price_then",
            "price_now",
            "drop"
        ]
    );
    assert_eq!(
        (texts(&drops, "user_id"), texts(&drops, "item_id")),
        (
            vec!["priceless".to_string(), "watcher".into()],
            vec!["i06".to_string(); 2]
        )
    );
    assert_eq!(times(&drops, "seen_at"), [NOW - 48 * HOUR, NOW - 72 * HOUR]);
    assert_eq!(
        (numbers(&drops, "price_then"), numbers(&drops, "price_now")),
        (vec![Some(10.0); 2], vec![Some(8.0); 2])
    );
    assert!(
        numbers(&drops, "drop")
            .iter()
            .all(|drop| (drop.unwrap() - 0.2).abs() < 1e-6)
    );
    let (_, small) = batch(
        folder.path(),
        "price-drop",
        &[&TODAY[..], &["--min-drop", "0.05"]].concat(),
    );
    assert_eq!(texts(&small, "item_id"), ["i06", "i06", "i07"]);
    let (_, smallest) = batch(
        folder.path(),
        "price-drop",
        &[&TODAY[..], &["--min-drop", "0.02", "--bought-days", "10"]].concat(),
    );
    assert_eq!(
        texts(&smallest, "user_id"),
        ["late", "owner", "priceless", "watcher", "watcher"]
    );
    let (printed, none) = batch(folder.path(), "price-drop", &LOG);
    assert!(
        none.num_rows() == 0 && names(&none) == names(&drops),
        "an empty table has its columns"
    );
    assert!(
        printed.contains("0 rows for 0 shoppers")
            && printed.contains("no row: nobody saw")
            && printed.contains("--items"),
        "{printed}"
    );
}

#[test]
fn stock_that_is_back_is_told_to_those_who_saw_it() {
    let folder = shop();
    let (_, back) = batch(folder.path(), "back-in-stock", &TODAY);
    assert_eq!(
        names(&back),
        ["user_id", "item_id", "seen_at", "price_then", "price_now"]
    );
    assert_eq!(
        (texts(&back, "user_id"), texts(&back, "item_id")),
        (vec!["looker".to_string()], vec!["i05".to_string()])
    );
    assert_eq!(times(&back, "seen_at"), [NOW - 40 * HOUR]);
    assert_eq!(batch(folder.path(), "back-in-stock", &LOG).1.num_rows(), 0);
    // As UpdateItems of a server leaves it in the registry.
    std::fs::write(
        folder.path().join("registry/shop/items.json"),
        r#"{"epoch": 1, "items": {"i05": {"available": true, "price": 7.5}}}"#,
    )
    .unwrap();
    let (_, live) = batch(folder.path(), "back-in-stock", &LOG);
    assert_eq!(
        (texts(&live, "item_id"), numbers(&live, "price_now")),
        (vec!["i05".to_string()], vec![Some(7.5)])
    );
}

//! Carts left idle, and items looked at without a purchase.

use crate::shop::*;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, RecordBatch};

#[test]
fn a_cart_left_idle_is_written_about_and_a_bought_one_is_not() {
    let folder = shop();
    let (_, carts) = batch(
        folder.path(),
        "abandoned-cart",
        &[&LOG[..], &["--k", "3"]].concat(),
    );
    let columns = [
        "user_id",
        "item_id",
        "carted_at",
        "quantity",
        "price_then",
        "price_now",
        "available",
        "complements",
    ];
    assert_eq!(names(&carts), columns);
    assert_eq!(
        (texts(&carts, "user_id"), texts(&carts, "item_id")),
        (
            vec!["left".to_string(); 2],
            vec!["i01".to_string(), "i00".into()]
        )
    );
    assert_eq!(
        times(&carts, "carted_at"),
        [NOW - 9 * HOUR, NOW - 10 * HOUR]
    );
    assert_eq!(numbers(&carts, "quantity"), [Some(1.0), Some(2.0)]);
    // The event of i01 has no price, and what the log has of its week came later.
    assert_eq!(numbers(&carts, "price_then"), [None, Some(11.0)]);
    assert_eq!(numbers(&carts, "price_now"), [Some(10.0); 2]);
    assert!(
        carts
            .column_by_name("available")
            .unwrap()
            .as_boolean()
            .iter()
            .all(|yes| yes == Some(true))
    );
    let lists = carts
        .column_by_name("complements")
        .unwrap()
        .as_list::<i32>();
    let complements = |row: usize| -> Vec<String> {
        lists
            .value(row)
            .as_string::<i32>()
            .iter()
            .map(|id| id.unwrap().into())
            .collect()
    };
    assert!(complements(0).len() == 3 && complements(0) == complements(1));
    assert!(
        complements(0).iter().all(|id| id.as_str() >= "i10"),
        "complements are of another category: {:?}",
        complements(0)
    );

    let (_, all) = batch(
        folder.path(),
        "abandoned-cart",
        &[&TODAY[..], &["--k", "1000"]].concat(),
    );
    assert_eq!(
        all.column_by_name("complements")
            .unwrap()
            .as_list::<i32>()
            .value(0)
            .len(),
        10,
        "as many as are eligible"
    );
    let (_, longer) = batch(
        folder.path(),
        "abandoned-cart",
        &[&LOG[..], &["--window-days", "30", "--idle-hours", "0.5"]].concat(),
    );
    assert_eq!(
        texts(&longer, "user_id"),
        ["fresh", "fresh", "left", "left", "old"]
    );
    // Half an hour after it was filled, the cart was in use.
    let (_, earlier) = batch(
        folder.path(),
        "abandoned-cart",
        &[&LOG[..], &["--now", "2024-04-09T15:30"]].concat(),
    );
    assert_eq!(earlier.num_rows(), 0);
}

#[test]
fn what_was_looked_at_often_and_not_bought_comes_up_if_it_is_for_sale() {
    let folder = shop();
    let (_, looks) = batch(folder.path(), "browse-abandon", &LOG);
    assert_eq!(
        names(&looks),
        [
            "user_id",
            "item_id",
            "views",
            "viewed_at",
            "price_then",
            "price_now"
        ]
    );
    let who = |table: &RecordBatch| {
        texts(table, "user_id")
            .into_iter()
            .zip(texts(table, "item_id"))
            .collect::<Vec<_>>()
    };
    let pair = |user: &str, item: &str| (user.to_string(), item.to_string());
    assert_eq!(who(&looks), [pair("late", "i06"), pair("looker", "i03")]);
    assert_eq!(
        looks
            .column_by_name("views")
            .unwrap()
            .as_primitive::<UInt32Type>()
            .values()
            .to_vec(),
        [2, 3]
    );
    assert_eq!(
        times(&looks, "viewed_at"),
        [NOW - 2 * HOUR, NOW - 72 * HOUR]
    );
    assert_eq!(numbers(&looks, "price_then"), [Some(8.2), Some(10.0)]);
    let (_, restocked) = batch(folder.path(), "browse-abandon", &TODAY);
    assert_eq!(
        who(&restocked),
        [
            pair("late", "i06"),
            pair("looker", "i03"),
            pair("looker", "i05")
        ]
    );
    let (_, once) = batch(
        folder.path(),
        "browse-abandon",
        &[&LOG[..], &["--min-views", "3"]].concat(),
    );
    assert_eq!(who(&once), [pair("looker", "i03")]);
}

//! What all jobs have in common: the same bytes for the same input, and errors that say what to do.

use crate::shop::*;

#[test]
fn threads_and_the_order_of_rows_do_not_change_a_byte() {
    let folder = shop();
    let at = folder.path();
    let mut turned = events();
    turned.reverse();
    write_events(&at.join("turned.parquet"), &turned);
    for job in [
        "abandoned-cart",
        "browse-abandon",
        "price-drop",
        "back-in-stock",
        "win-back",
    ] {
        let bytes = ["1", "2"].map(|threads| {
            let log = if threads == "1" {
                "events.parquet"
            } else {
                "turned.parquet"
            };
            let (_, table) = batch(
                at,
                job,
                &[
                    "--events",
                    log,
                    "--items",
                    "now.parquet",
                    "--threads",
                    threads,
                ],
            );
            assert!(table.num_rows() > 0, "{job}");
            std::fs::read(at.join("out.parquet")).unwrap()
        });
        assert!(bytes[0] == bytes[1], "{job}");
    }
}

#[test]
fn mistakes_are_told_with_the_way_out() {
    let folder = shop();
    let at = folder.path();
    let columns = vec![
        text("user_id", ["a"].map(Some).into_iter()),
        text("opt_in", ["yes"].map(Some).into_iter()),
    ];
    aisle_models::write_table(&at.join("users.parquet"), columns).unwrap();
    for (job, rest, hint) in [
        ("abandoned-cart", vec![], "add --events"),
        (
            "win-back",
            [&LOG[..], &["--min-drop", "0.2"]].concat(),
            "--min-drop belongs to price-drop",
        ),
        (
            "similar",
            vec!["--holdout", "0.1"],
            "--holdout is about shoppers",
        ),
        ("personal", vec!["--consent", "newsletter"], "add --users"),
        (
            "personal",
            vec!["--consent", "newsletter", "--users", "users.parquet"],
            "has no column 'newsletter'; it has: user_id, opt_in",
        ),
        ("personal", vec!["--holdout", "1"], "0 to below 1"),
        (
            "personal",
            vec!["--sent", "users.parquet"],
            "has no column 'sent_at'; it has: user_id, opt_in",
        ),
        ("personal", vec!["--items", "items.parquet"], "add --events"),
        (
            "price-drop",
            [&LOG[..], &["--now", "2023-01-01"]].concat(),
            "before the log",
        ),
        (
            "price-drop",
            [&LOG[..], &["--now", "tomorrow"]].concat(),
            "2017-11-12T09:30",
        ),
    ] {
        let printed = fail(at, job, &rest);
        assert!(printed.contains(hint), "{job} {rest:?}: {printed}");
        assert!(!at.join("out.parquet").exists(), "nothing is written");
    }
}

//! The commands around a fit: inspect, generate and the errors of mistakes.
use crate::common::*;

#[test]
fn inspect_says_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let text = succeed(
        folder.path(),
        &["inspect", "--events", &sample[1], "--items", &sample[3]],
    );
    assert!(
        text.contains("541,909 rows")
            && text.contains("yes upsell")
            && text.contains("negative price"),
        "{text}"
    );
    let json = succeed(
        folder.path(),
        &["inspect", "--events", &sample[1], "--json"],
    );
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["events"], 540_571);
    assert_eq!(json["set_aside"]["negative_price"]["rows"], 2);
}

#[test]
fn mistakes_are_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    for (arguments, hint) in [
        (
            vec!["inspect", "--events", "nothing.parquet"],
            "no Parquet file at nothing.parquet",
        ),
        (fit(&sample, &["--set", "factor=3"]), "factors"),
        (fit(&sample, &["--set", "factors=0"]), "1 to 1024"),
        (fit(&sample, &["--device", "cuda"]), "--device cpu"),
        (
            vec!["versions", "--registry", "registry", "--model", "shop"],
            "no version",
        ),
        (
            vec!["evaluate", "--events", &sample[1], "--split", "random"],
            "time:0.9",
        ),
        (
            vec!["inspect", "--events", &sample[5]],
            "not a readable Parquet file",
        ),
        (
            vec![
                "evaluate", "--events", &sample[1], "--split", "time:0.9", "--task", "upsell",
            ],
            "categories",
        ),
    ] {
        let error = fail(folder.path(), &arguments);
        assert!(error.contains(hint), "{arguments:?}: {error}");
    }
}

#[test]
fn a_generated_shop_is_read_and_has_structure() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for name in ["a", "b"] {
        succeed(
            at,
            &[
                "generate", "--out", name, "--events", "200000", "--users", "1500", "--items",
                "600",
            ],
        );
    }
    assert!(
        files(&at.join("a")) == files(&at.join("b")),
        "the same settings give the same bytes"
    );
    let facts: serde_json::Value = serde_json::from_str(&succeed(
        at,
        &[
            "inspect",
            "--events",
            "a/events.parquet",
            "--items",
            "a/items.parquet",
            "--json",
        ],
    ))
    .unwrap();
    assert_eq!(facts["events"], 200_000, "{facts}");
    // What was planted is found: items of a shopper's favourite categories beat best sellers.
    let evaluate = [
        "evaluate",
        "--events",
        "a/events.parquet",
        "--items",
        "a/items.parquet",
        "--split",
        "time:0.9",
    ];
    succeed(
        at,
        &[
            &evaluate[..],
            &["--algorithm", "local-ridge", "--json", "out.json"],
        ]
        .concat(),
    );
    let json = read_json(at, "out.json");
    let popular = &json["differences"][0];
    assert_eq!(popular["against"], "popular");
    assert!(
        popular["interval_95"][0].as_f64().unwrap() > 0.0,
        "{popular}"
    );
    assert!(fail(at, &["generate", "--out", "c", "--events", "0"]).contains("events = 0"));
}

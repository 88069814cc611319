//! The search for hyperparameters.
use crate::common::*;

#[test]
fn tune_tries_and_tells() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let mut arguments = on_sample("tune", &sample, &[]);
    arguments.extend([
        "--algorithm",
        "popular",
        "--trials",
        "3",
        "--out",
        "best.toml",
    ]);
    let table = succeed(folder.path(), &arguments);
    assert_eq!(table.lines().count(), 4, "{table}");
    let best = std::fs::read_to_string(folder.path().join("best.toml")).unwrap();
    assert!(best.contains("[popular]\nhalf_life_days = "), "{best}");
}

#[test]
fn a_search_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let search = |trials: &str, rest: &[&str]| {
        let mut arguments = on_sample("tune", &sample, &[]);
        arguments.extend([
            "--algorithm",
            "popular",
            "--history",
            "trials.parquet",
            "--trials",
            trials,
        ]);
        arguments.extend(rest);
        let output = run(folder.path(), &arguments);
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (done, text) = search("3", &[]);
    assert!(done && text.contains("trial   3/3"), "{text}");
    let (done, text) = search("5", &["--out", "best.toml"]);
    assert!(
        done && text.contains("3 trials are known from before")
            && !text.contains("trial   3/5")
            && text.contains("trial   5/5"),
        "{text}"
    );
    assert!(
        std::fs::read_to_string(folder.path().join("best.toml"))
            .unwrap()
            .contains("half_life_days")
    );
    let (done, text) = search("5", &["--metric", "recall@10"]);
    assert!(!done && text.contains("another search"), "{text}");
}

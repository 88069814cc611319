//! Evaluations on the bundled sample: every task beside its baselines.
use crate::common::*;

#[test]
fn evaluate_prints_the_baselines_and_writes_json() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let mut arguments = on_sample("evaluate", &sample, &[]);
    arguments.extend([
        "--split",
        "time:0.9",
        "--json",
        "out.json",
        "--set",
        "iterations=4",
    ]);
    let personal = succeed(folder.path(), &arguments);
    assert!(
        ["als", "popular", "item-knn"]
            .iter()
            .all(|name| personal.contains(name)),
        "{personal}"
    );
    let json = read_json(folder.path(), "out.json");
    for key in [
        "algorithm",
        "params",
        "fit_seconds",
        "epoch_seconds",
        "evaluate_seconds",
        "peak_rss_bytes",
        "users",
        "items",
        "interactions",
    ] {
        assert!(!json[key].is_null(), "{key}");
    }
    let (als, popular) = (
        json["metrics"]["ndcg@20"].as_f64().unwrap(),
        json["baselines"][0]["metrics"]["ndcg@20"].as_f64().unwrap(),
    );
    assert!(als > popular && popular > 0.01, "{als} {popular}");
    assert_eq!(json["params"]["iterations"], 4);

    for (task, checks) in [("cross-sell", 0), ("upsell", 3)] {
        succeed(
            folder.path(),
            &[&arguments[..], &["--task", task, "--k", "10"]].concat(),
        );
        let json = read_json(folder.path(), "out.json");
        let ours = json["metrics"]["recall@10"].as_f64().unwrap();
        assert!(
            ours > json["baselines"][1]["metrics"]["recall@10"]
                .as_f64()
                .unwrap(),
            "{task}"
        );
        let held = json["checks"].as_array().unwrap();
        assert_eq!(held.len(), checks);
        assert!(
            held.iter()
                .all(|check| check["good"] == check["all"] && check["all"].as_u64() > Some(1000)),
            "{held:?}"
        );
    }
}

/// What is learned beats what it is learned from, and is told apart from it.
#[test]
fn what_is_learned_beats_its_baselines() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let run = |task: &str, rest: &[&str]| -> serde_json::Value {
        let mut arguments = on_sample("evaluate", &sample, &[]);
        arguments.extend([
            "--split", "time:0.9", "--json", "out.json", "--task", task, "--k", "10",
        ]);
        succeed(folder.path(), &[&arguments, rest].concat());
        read_json(folder.path(), "out.json")
    };
    let all_better = |json: &serde_json::Value| {
        let differences = json["differences"].as_array().unwrap();
        assert!(
            differences.len() >= 3
                && differences
                    .iter()
                    .all(|one| one["interval_95"][0].as_f64() > Some(0.0)),
            "{differences:?}"
        );
    };
    let light = ["--set", "cross-sell.learn_days=0"];
    let cross = run("cross-sell", &["--lines", "all"]);
    all_better(&cross);
    let slices: Vec<&str> = cross["slices"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|slice| slice["slice"].as_str())
        .collect();
    assert_eq!(
        slices,
        ["repeats", "new to the shopper, own items left out"]
    );
    let upsell = run("upsell", &light);
    all_better(&upsell);
    let (predicted, happened) = (
        figure(&upsell, "mean probability"),
        figure(&upsell, "mean share"),
    );
    assert!(
        predicted / happened > 0.5 && predicted / happened < 2.0,
        "{predicted} {happened}"
    );
    let context = run("context", &[]);
    let against = |name: &str| lower_end(&context, name);
    assert!(
        against("popular") > 0.0 && against("daypart") > 0.0 && against("location") > -0.01,
        "{context}"
    );
    let again = run("buy-again", &light);
    all_better(&again);
    assert!(figure(&again, "calibration error") < 0.03, "{again}");
}

#[test]
fn several_algorithms_are_compared_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let at = folder.path();
    let mut arguments = on_sample("evaluate", &sample, &[]);
    arguments.extend([
        "--split",
        "time:0.9",
        "--algorithm",
        "blend,local-ridge,low-pass,linear-filter",
    ]);
    for setting in [
        "low-pass.factors=32",
        "local-ridge.neighbours=40",
        "members=[\"low-pass\",\"local-ridge\",\"popular\"]",
    ] {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(["--json", "out.json", "--html", "out.html"]);
    let table = succeed(at, &arguments);
    let json = read_json(at, "out.json");
    let ndcg = |row: &serde_json::Value| row["metrics"]["ndcg@20"].as_f64().unwrap();
    assert_eq!(json["algorithm"], "blend");
    let others: Vec<&str> = json["baselines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["algorithm"].as_str().unwrap())
        .collect();
    assert_eq!(
        others,
        [
            "local-ridge",
            "low-pass",
            "linear-filter",
            "popular",
            "item-knn"
        ]
    );
    let popular = json["baselines"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["algorithm"] == "popular")
        .unwrap();
    assert!(ndcg(&json) > 1.5 * ndcg(popular), "{table}");
    let weights = json["params"]["weights"].as_array().unwrap();
    assert_eq!(
        weights.len(),
        json["params"]["members"].as_array().unwrap().len(),
        "learned weights are told"
    );
    assert!(
        table.contains("tail items") && table.contains("gini") && table.contains("diversity"),
        "{table}"
    );
    let page = std::fs::read_to_string(at.join("out.html")).unwrap();
    assert!(
        page.contains("<svg")
            && page.contains("price above")
            && !page.contains("src=")
            && !page.contains("href=")
    );
}

#[test]
fn a_leak_fails_the_run_and_names_rows() {
    let folder = tempfile::tempdir().unwrap();
    let events = format!("{SAMPLE}/events.parquet");
    let same = [
        "evaluate",
        "--train",
        &events,
        "--test",
        &events,
        "--algorithm",
        "popular",
    ];
    let text = fail(folder.path(), &same);
    assert!(
        text.contains("test events stand in the training part too") && text.contains("user 1"),
        "{text}"
    );
    assert!(
        text.contains("training events after their first test event")
            && text.contains("--allow-leaks"),
        "{text}"
    );
    assert!(succeed(folder.path(), &[&same[..], &["--allow-leaks"]].concat()).contains("popular"));
}

#[test]
fn folds_in_time_are_pooled_and_repeats_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    succeed(
        at,
        &[
            "generate", "--out", "a", "--events", "60000", "--users", "600", "--items", "300",
        ],
    );
    let evaluate = [
        "evaluate",
        "--events",
        "a/events.parquet",
        "--algorithm",
        "popular",
        "--json",
        "out.json",
    ];
    let text = succeed(at, &[&evaluate[..], &["--folds", "3"]].concat());
    assert!(text.contains("3 folds in time"), "{text}");
    let read = || read_json(at, "out.json");
    let json = read();
    let slices = json["slices"].as_array().unwrap();
    let asked: u64 = slices
        .iter()
        .map(|slice| slice["questions"].as_u64().unwrap())
        .sum();
    assert_eq!(
        (slices.len(), asked),
        (3, json["queries"].as_u64().unwrap())
    );
    // The mean over all questions is the mean of the folds, weighed by their questions.
    let weighed: f64 = slices
        .iter()
        .map(|slice| slice["ndcg"].as_f64().unwrap() * slice["questions"].as_f64().unwrap())
        .sum();
    assert!((weighed / asked as f64 - json["metrics"]["ndcg@20"].as_f64().unwrap()).abs() < 1e-12);
    let text = succeed(
        at,
        &[&evaluate[..], &["--split", "time:0.9", "--repeats"]].concat(),
    );
    assert!(
        text.contains("new to the shopper")
            && text.contains("answers of popular that the shopper had before"),
        "{text}"
    );
    let json = read();
    assert!(json["checks"][0]["good"].as_u64().unwrap() > 0, "{json}");
    assert!(fail(at, &["evaluate", "--events", "a/events.parquet"]).contains("--split or --folds"));
    assert!(fail(at, &[&evaluate[..], &["--folds", "1"]].concat()).contains("2..=50"));
}

#[test]
fn hidden_items_are_found_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let mut arguments = vec!["evaluate", "--task", "cold"];
    arguments.extend(sample.iter().map(String::as_str));
    arguments.extend([
        "--split",
        "time:0.8",
        "--algorithm",
        "als,item-knn",
        "--set",
        "factors=32",
        "--json",
        "out.json",
    ]);
    succeed(folder.path(), &arguments);
    let json = read_json(folder.path(), "out.json");
    // Better than luck, and than what a shop would do without a model.
    assert!(
        ["random", "by category", "content cosine"]
            .iter()
            .all(|name| lower_end(&json, name) > 0.0),
        "{json:#}"
    );
    for check in json["checks"].as_array().unwrap() {
        assert_eq!(check["good"], check["all"], "{check}");
    }
    assert!(
        figure(&json, "als: share of these answers without events") < 0.08,
        "{json:#}"
    );
    let mut nothing = vec![
        "evaluate",
        "--task",
        "cold",
        "--events",
        sample[1].as_str(),
        "--split",
        "time:0.8",
    ];
    nothing.extend(["--set", "content.share=2"]);
    assert!(fail(folder.path(), &nothing).contains("give --items"));
    nothing.extend(["--items", sample[3].as_str()]);
    assert!(fail(folder.path(), &nothing).contains("share"));
}

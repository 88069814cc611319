//! The real binary, in a temporary folder, one thing a test.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::{ArrayRef, Int16Array, Int32Array};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/samples/online_retail");

fn aisle(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aisle-train"));
    command.current_dir(folder).args(arguments).env_remove("AISLE_CONFIG");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    aisle(folder, arguments).output().unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fail(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(!output.status.success(), "{arguments:?} should fail");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn sample() -> [String; 6] {
    let file = |name: &str| format!("{SAMPLE}/{name}");
    ["--events".into(), file("events.parquet"), "--items".into(), file("items.parquet"), "--config".into(), file("aisle.toml")]
}

fn fit<'a>(sample: &'a [String; 6], rest: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["fit"];
    arguments.extend(sample.iter().map(String::as_str));
    arguments.extend(["--registry", "registry", "--model", "shop", "--set", "factors=16", "--set", "iterations=2"]);
    arguments.extend(rest);
    arguments
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn versions(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.join("registry/shop")) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.file_name().unwrap().to_string_lossy().starts_with('.'))
        .collect();
    found.sort();
    found
}

#[test]
fn a_version_goes_through_its_life() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let at = folder.path();
    let first = succeed(at, &fit(&sample, &["--alias", "stable"])).trim().to_string();
    let second = succeed(at, &fit(&sample, &["--set", "seed=7", "--alias", "stable"])).trim().to_string();
    let model = ["--registry", "registry", "--model", "shop"];
    let with = |command: &'static str, rest: &[&'static str]| [&[command][..], &model, rest].concat();
    let listed = succeed(at, &with("versions", &[]));
    assert!(listed.lines().any(|line| line.contains(&second) && line.contains("stable")), "{listed}");
    assert!(succeed(at, &with("rollback", &[])).contains(&first));
    assert!(fail(at, &with("rollback", &[])).contains("no earlier version"));
    assert_eq!(succeed(at, &with("verify", &[])).matches("ok ").count(), 2);
    let diff = succeed(at, &[&with("diff", &[])[..], &[first.as_str(), second.as_str()]].concat());
    assert!(diff.contains("of the items stay"), "{diff}");
    succeed(at, &with("batch", &["--job", "cross-sell", "--k", "3", "--out", "cross.parquet"]));
    assert!(at.join("cross.parquet").metadata().unwrap().len() > 1000);

    std::fs::write(at.join("registry/shop").join(&second).join("users.parquet"), b"gone").unwrap();
    assert!(fail(at, &with("verify", &[])).contains("1 of 2 versions would not be served"));
    let moved = [&with("alias", &["--alias", "stable", "--version"])[..], &[second.as_str()]].concat();
    assert!(fail(at, &moved).contains("users.parquet"), "an alias does not move to a damaged version");
}

#[test]
fn threads_do_not_change_a_byte() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let prints: Vec<_> = ["1", "2"]
        .into_iter()
        .map(|threads| {
            let at = folder.path().join(threads);
            std::fs::create_dir(&at).unwrap();
            succeed(&at, &fit(&sample, &["--threads", threads]));
            let version = versions(&at).remove(0);
            (version.to_string_lossy().rsplit('-').next().unwrap().to_string(), files(&version))
        })
        .collect();
    assert!(prints[0] == prints[1], "versions differ");
}

#[test]
fn a_kill_at_any_moment_leaves_the_registry_whole() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    succeed(folder.path(), &fit(&sample, &["--alias", "stable"]));
    let arguments = fit(&sample, &["--alias", "stable"]);
    for step in 0..12 {
        let mut child = aisle(folder.path(), &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(40 + step * 90));
        let _ = child.kill();
        child.wait().unwrap();
        let verified = succeed(folder.path(), &["verify", "--registry", "registry", "--model", "shop"]);
        assert_eq!(verified.matches("ok ").count(), versions(folder.path()).len());
    }
    std::thread::sleep(Duration::from_millis(2100));
    succeed(folder.path(), &arguments);
    let left = std::fs::read_dir(folder.path().join("registry/shop")).unwrap().flatten();
    assert!(
        !left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".writing")),
        "what the dead left is swept"
    );
}

#[test]
fn hidden_items_are_found_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let mut arguments = vec!["evaluate", "--task", "cold"];
    arguments.extend(sample.iter().map(String::as_str));
    arguments.extend(["--split", "time:0.8", "--algorithm", "als,item-knn", "--set", "factors=32", "--json", "out.json"]);
    succeed(folder.path(), &arguments);
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    let difference = |name: &str| {
        let found = json["differences"].as_array().unwrap().iter().find(|one| one["against"] == name).unwrap();
        found["interval_95"][0].as_f64().unwrap()
    };
    // Better than luck, and than what a shop would do without a model.
    assert!(["random", "by category", "content cosine"].iter().all(|name| difference(name) > 0.0), "{json:#}");
    for check in json["checks"].as_array().unwrap() {
        assert_eq!(check["good"], check["all"], "{check}");
    }
    let value = |what: &str| {
        let figures = json["figures"].as_array().unwrap();
        figures.iter().find(|figure| figure["what"].as_str().unwrap().contains(what)).unwrap()["value"].as_f64().unwrap()
    };
    assert!(value("als: share of these answers without events") < 0.08, "{json:#}");
    let mut nothing = vec!["evaluate", "--task", "cold", "--events", sample[1].as_str(), "--split", "time:0.8"];
    nothing.extend(["--set", "content.share=2"]);
    assert!(fail(folder.path(), &nothing).contains("give --items"));
    nothing.extend(["--items", sample[3].as_str()]);
    assert!(fail(folder.path(), &nothing).contains("share"));
}

#[test]
fn evaluate_prints_the_baselines_and_writes_json() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let mut arguments = vec!["evaluate"];
    arguments.extend(sample.iter().map(String::as_str));
    arguments.extend(["--split", "time:0.9", "--json", "out.json", "--set", "iterations=4"]);
    let personal = succeed(folder.path(), &arguments);
    assert!(["als", "popular", "item-knn"].iter().all(|name| personal.contains(name)), "{personal}");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
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
    let (als, popular) =
        (json["metrics"]["ndcg@20"].as_f64().unwrap(), json["baselines"][0]["metrics"]["ndcg@20"].as_f64().unwrap());
    assert!(als > popular && popular > 0.01, "{als} {popular}");
    assert_eq!(json["params"]["iterations"], 4);

    for (task, checks) in [("cross-sell", 0), ("upsell", 3)] {
        succeed(folder.path(), &[&arguments[..], &["--task", task, "--k", "10"]].concat());
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
        let ours = json["metrics"]["recall@10"].as_f64().unwrap();
        assert!(ours > json["baselines"][1]["metrics"]["recall@10"].as_f64().unwrap(), "{task}");
        let held = json["checks"].as_array().unwrap();
        assert_eq!(held.len(), checks);
        assert!(held.iter().all(|check| check["good"] == check["all"] && check["all"].as_u64() > Some(1000)), "{held:?}");
    }
}

/// What is learned beats what it is learned from, and is told apart from it.
#[test]
fn what_is_learned_beats_its_baselines() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let run = |task: &str, rest: &[&str]| -> serde_json::Value {
        let mut arguments = vec!["evaluate"];
        arguments.extend(sample.iter().map(String::as_str));
        arguments.extend(["--split", "time:0.9", "--json", "out.json", "--task", task, "--k", "10"]);
        succeed(folder.path(), &[&arguments, rest].concat());
        serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap()
    };
    let all_better = |json: &serde_json::Value| {
        let differences = json["differences"].as_array().unwrap();
        assert!(
            differences.len() >= 3 && differences.iter().all(|one| one["interval_95"][0].as_f64() > Some(0.0)),
            "{differences:?}"
        );
    };
    let light = ["--set", "cross-sell.learn_days=0"];
    let cross = run("cross-sell", &["--lines", "all"]);
    all_better(&cross);
    let slices: Vec<&str> = cross["slices"].as_array().unwrap().iter().filter_map(|slice| slice["slice"].as_str()).collect();
    assert_eq!(slices, ["repeats", "new to the shopper, own items left out"]);
    let upsell = run("upsell", &light);
    all_better(&upsell);
    let figure = |json: &serde_json::Value, name: &str| {
        let figures = json["figures"].as_array().unwrap();
        figures.iter().find(|figure| figure["what"].as_str().unwrap().starts_with(name)).unwrap()["value"].as_f64().unwrap()
    };
    let (told, happened) = (figure(&upsell, "mean probability"), figure(&upsell, "mean share"));
    assert!(told / happened > 0.5 && told / happened < 2.0, "{told} {happened}");
    let context = run("context", &[]);
    let against = |name: &str| {
        let differences = context["differences"].as_array().unwrap();
        differences.iter().find(|one| one["against"] == name).unwrap()["interval_95"][0].as_f64().unwrap()
    };
    assert!(against("popular") > 0.0 && against("daypart") > 0.0 && against("location") > -0.01, "{context}");
    let again = run("buy-again", &light);
    all_better(&again);
    assert!(figure(&again, "calibration error") < 0.03, "{again}");
}

/// Sessions as benchmarks give them: no times, no users, positions, and questions cut beforehand.
#[test]
fn visits_are_learned_and_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    // Visits walk along a ring of 40 items, so the next click is known.
    let (mut session, mut position, mut item) = (Vec::new(), Vec::new(), Vec::new());
    for visit in 0..400i32 {
        for step in 0..5i16 {
            session.push(visit);
            position.push(step);
            item.push(visit % 40 + i32::from(step));
        }
    }
    let columns: Vec<(String, ArrayRef)> = vec![
        ("session_id".into(), Arc::new(Int32Array::from(session))),
        ("position".into(), Arc::new(Int16Array::from(position))),
        ("item_id".into(), Arc::new(Int32Array::from(item))),
    ];
    aisle_models::write_table(&folder.path().join("train.parquet"), columns).unwrap();
    let mut prefix = ListBuilder::new(Int32Builder::new());
    for first in 0..30 {
        prefix.append_value([Some(first), Some(first + 1), Some(first + 2)]);
    }
    let target = Int32Array::from_iter_values((0..30).map(|first| first + 3));
    let columns: Vec<(String, ArrayRef)> =
        vec![("prefix".into(), Arc::new(prefix.finish())), ("target_item_id".into(), Arc::new(target))];
    aisle_models::write_table(&folder.path().join("test.parquet"), columns).unwrap();
    let of = |arguments: &[&str]| -> serde_json::Value {
        let fixed = ["evaluate", "--task", "session", "--k", "3", "--json", "out.json"];
        succeed(folder.path(), &[&fixed, arguments].concat());
        serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap()
    };
    let cut = of(&["--train", "train.parquet", "--test", "test.parquet"]);
    assert_eq!((cut["queries"].as_u64(), cut["algorithm"].as_str()), (Some(30), Some("session-knn")));
    assert_eq!(cut["metrics"]["hit_rate@3"], 1.0);
    let split = of(&["--events", "train.parquet", "--split", "time:0.9"]);
    // A visit's last click may lead out of what was learned of so few.
    assert!(split["queries"] == 160 && split["metrics"]["hit_rate@3"].as_f64() > Some(0.98), "{split}");
}

#[test]
fn inspect_says_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let text = succeed(folder.path(), &["inspect", "--events", &sample[1], "--items", &sample[3]]);
    assert!(text.contains("541,909 rows") && text.contains("yes upsell") && text.contains("negative price"), "{text}");
    let json = succeed(folder.path(), &["inspect", "--events", &sample[1], "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["events"], 540_571);
    assert_eq!(json["set_aside"]["negative_price"]["rows"], 2);
}

#[test]
fn tune_tries_and_tells() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let mut arguments = vec!["tune"];
    arguments.extend(sample.iter().map(String::as_str));
    arguments.extend(["--algorithm", "popular", "--trials", "3", "--out", "best.toml"]);
    let table = succeed(folder.path(), &arguments);
    assert_eq!(table.lines().count(), 4, "{table}");
    let best = std::fs::read_to_string(folder.path().join("best.toml")).unwrap();
    assert!(best.contains("[popular]\nhalf_life_days = "), "{best}");
}

#[test]
fn mistakes_are_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    for (arguments, hint) in [
        (vec!["inspect", "--events", "nothing.parquet"], "no Parquet file at nothing.parquet"),
        (fit(&sample, &["--set", "factor=3"]), "factors"),
        (fit(&sample, &["--set", "factors=0"]), "1 to 1024"),
        (fit(&sample, &["--device", "cuda"]), "--device cpu"),
        (vec!["versions", "--registry", "registry", "--model", "shop"], "no version"),
        (vec!["evaluate", "--events", &sample[1], "--split", "random"], "time:0.9"),
        (vec!["inspect", "--events", &sample[5]], "not a readable Parquet file"),
        (vec!["evaluate", "--events", &sample[1], "--split", "time:0.9", "--task", "upsell"], "categories"),
    ] {
        let error = fail(folder.path(), &arguments);
        assert!(error.contains(hint), "{arguments:?}: {error}");
    }
}

#[test]
fn several_algorithms_are_compared_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let at = folder.path();
    let mut arguments = vec!["evaluate"];
    arguments.extend(sample.iter().map(String::as_str));
    arguments.extend(["--split", "time:0.9", "--algorithm", "blend,local-ridge,low-pass,linear-filter"]);
    for setting in ["low-pass.factors=32", "local-ridge.neighbours=40", "members=[\"low-pass\",\"local-ridge\",\"popular\"]"] {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(["--json", "out.json", "--html", "out.html"]);
    let table = succeed(at, &arguments);
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(at.join("out.json")).unwrap()).unwrap();
    let ndcg = |row: &serde_json::Value| row["metrics"]["ndcg@20"].as_f64().unwrap();
    assert_eq!(json["algorithm"], "blend");
    let others: Vec<&str> = json["baselines"].as_array().unwrap().iter().map(|row| row["algorithm"].as_str().unwrap()).collect();
    assert_eq!(others, ["local-ridge", "low-pass", "linear-filter", "popular", "item-knn"]);
    let popular = json["baselines"].as_array().unwrap().iter().find(|row| row["algorithm"] == "popular").unwrap();
    assert!(ndcg(&json) > 1.5 * ndcg(popular), "{table}");
    let weights = json["params"]["weights"].as_array().unwrap();
    assert_eq!(weights.len(), json["params"]["members"].as_array().unwrap().len(), "learned weights are told");
    assert!(table.contains("tail items") && table.contains("gini") && table.contains("diversity"), "{table}");
    let page = std::fs::read_to_string(at.join("out.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("price above") && !page.contains("src=") && !page.contains("href="));
}

#[test]
fn a_leak_fails_the_run_and_names_rows() {
    let folder = tempfile::tempdir().unwrap();
    let events = format!("{SAMPLE}/events.parquet");
    let same = ["evaluate", "--train", &events, "--test", &events, "--algorithm", "popular"];
    let text = fail(folder.path(), &same);
    assert!(text.contains("test events stand in the training part too") && text.contains("user 1"), "{text}");
    assert!(text.contains("training events after their first test event") && text.contains("--allow-leaks"), "{text}");
    assert!(succeed(folder.path(), &[&same[..], &["--allow-leaks"]].concat()).contains("popular"));
}

#[test]
fn a_search_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let search = |trials: &str, rest: &[&str]| {
        let mut arguments = vec!["tune"];
        arguments.extend(sample.iter().map(String::as_str));
        arguments.extend(["--algorithm", "popular", "--history", "trials.parquet", "--trials", trials]);
        arguments.extend(rest);
        let output = run(folder.path(), &arguments);
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (done, text) = search("3", &[]);
    assert!(done && text.contains("trial   3/3"), "{text}");
    let (done, text) = search("5", &["--out", "best.toml"]);
    assert!(
        done && text.contains("3 trials are known from before") && !text.contains("trial   3/5") && text.contains("trial   5/5"),
        "{text}"
    );
    assert!(std::fs::read_to_string(folder.path().join("best.toml")).unwrap().contains("half_life_days"));
    let (done, text) = search("5", &["--metric", "recall@10"]);
    assert!(!done && text.contains("another search"), "{text}");
}

#[test]
fn a_generated_shop_is_read_and_has_structure() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for name in ["a", "b"] {
        succeed(at, &["generate", "--out", name, "--events", "200000", "--users", "1500", "--items", "600"]);
    }
    assert!(files(&at.join("a")) == files(&at.join("b")), "the same settings give the same bytes");
    let facts: serde_json::Value =
        serde_json::from_str(&succeed(at, &["inspect", "--events", "a/events.parquet", "--items", "a/items.parquet", "--json"]))
            .unwrap();
    assert_eq!(facts["events"], 200_000, "{facts}");
    // What was planted is found: items of a shopper's favourite categories beat best sellers.
    let evaluate = ["evaluate", "--events", "a/events.parquet", "--items", "a/items.parquet", "--split", "time:0.9"];
    succeed(at, &[&evaluate[..], &["--algorithm", "local-ridge", "--json", "out.json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(at.join("out.json")).unwrap()).unwrap();
    let popular = &json["differences"][0];
    assert_eq!(popular["against"], "popular");
    assert!(popular["interval_95"][0].as_f64().unwrap() > 0.0, "{popular}");
    assert!(fail(at, &["generate", "--out", "c", "--events", "0"]).contains("events = 0"));
}

#[test]
fn folds_in_time_are_pooled_and_repeats_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    succeed(at, &["generate", "--out", "a", "--events", "60000", "--users", "600", "--items", "300"]);
    let evaluate = ["evaluate", "--events", "a/events.parquet", "--algorithm", "popular", "--json", "out.json"];
    let text = succeed(at, &[&evaluate[..], &["--folds", "3"]].concat());
    assert!(text.contains("3 folds in time"), "{text}");
    let read = || -> serde_json::Value { serde_json::from_slice(&std::fs::read(at.join("out.json")).unwrap()).unwrap() };
    let json = read();
    let slices = json["slices"].as_array().unwrap();
    let asked: u64 = slices.iter().map(|slice| slice["questions"].as_u64().unwrap()).sum();
    assert_eq!((slices.len(), asked), (3, json["queries"].as_u64().unwrap()));
    // The mean over all questions is the mean of the folds, weighed by their questions.
    let weighed: f64 = slices.iter().map(|slice| slice["ndcg"].as_f64().unwrap() * slice["questions"].as_f64().unwrap()).sum();
    assert!((weighed / asked as f64 - json["metrics"]["ndcg@20"].as_f64().unwrap()).abs() < 1e-12);
    let text = succeed(at, &[&evaluate[..], &["--split", "time:0.9", "--repeats"]].concat());
    assert!(text.contains("new to the shopper") && text.contains("answers of popular that the shopper had before"), "{text}");
    let json = read();
    assert!(json["checks"][0]["good"].as_u64().unwrap() > 0, "{json}");
    assert!(fail(at, &["evaluate", "--events", "a/events.parquet"]).contains("--split or --folds"));
    assert!(fail(at, &[&evaluate[..], &["--folds", "1"]].concat()).contains("2..=50"));
}

/// A fit of two towers on a generated shop, of many epochs.
const TOWERS: [&str; 22] = [
    "fit",
    "--events",
    "a/events.parquet",
    "--items",
    "a/items.parquet",
    "--model",
    "shop",
    "--algorithm",
    "two-tower",
    "--set",
    "epochs=12",
    "--set",
    "batch=256",
    "--set",
    "negatives=64",
    "--set",
    "factors=16",
    "--set",
    "item_features=[\"category\"]",
    "--registry",
    "registry",
    "--threads",
];

#[test]
fn an_interrupt_leaves_a_checkpoint_and_the_next_fit_ends_where_one_would() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    succeed(at, &["generate", "--out", "a", "--events", "20000", "--users", "300", "--items", "200"]);
    let fit = [&TOWERS[..], &["2"]].concat();
    let mut child = aisle(at, &fit).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let checkpoints = at.join("registry/shop/.checkpoints");
    let files = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let kept = || files(checkpoints.clone()).flat_map(files).any(|file| file.extension().is_some_and(|end| end == "safetensors"));
    while !kept() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    // As Ctrl-C does, which what runs in the background may have been told to ignore.
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(!child.wait().unwrap().success() && kept() && versions(at).is_empty(), "interrupted, and nothing but a checkpoint");

    let output = run(at, &fit);
    let said = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(output.status.success() && said.contains("goes on after epoch"), "{said}");
    assert!(!checkpoints.exists(), "a published fit needs no checkpoint");
    // The same bytes as without an interruption, on another number of threads.
    let straight = [&TOWERS[..20], &["other", "--threads", "1"]].concat();
    succeed(at, &straight);
    let digest = |registry: &str| {
        let version = std::fs::read_dir(at.join(registry).join("shop"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().into_string().unwrap());
        version.filter(|name| !name.starts_with('.')).max().unwrap().rsplit('-').next().unwrap().to_string()
    };
    assert_eq!(digest("registry"), digest("other"));
}

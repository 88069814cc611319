//! Segments of the bundled sample, from the config to the table and the list.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

use aisle_data::IdMap;
use aisle_models::Registry;
use std::process::{Command, Output};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/samples/online_retail");

fn aisle(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aisle-train")).args(arguments).env_remove("AISLE_CONFIG").output().unwrap()
}

#[test]
fn segments_are_named_shown_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("{SAMPLE}/{name}");
    let (events, items) = (file("events.parquet"), file("items.parquet"));
    let (registry, out) = (folder.path().join("registry"), folder.path().join("list.parquet"));
    let registry_path = registry.to_string_lossy().into_owned();
    let base = std::fs::read_to_string(file("aisle.toml")).unwrap();
    let config = folder.path().join("aisle.toml");
    let config_path = config.to_string_lossy().into_owned();
    let mut fit = vec!["fit", "--events", &events, "--items", &items, "--config", &config_path];
    fit.extend(["--registry", &registry_path, "--model", "shop", "--set", "factors=16", "--set", "iterations=2"]);

    std::fs::write(&config, format!("{base}\n[segments.named]\nloyal = 'user.orders >= many'\n")).unwrap();
    let refused = aisle(&fit);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("'loyal'") && error.contains("column 16"), "{error}");

    let named = "loyal = 'user.orders >= 5 AND user.days_since < 60'\nwhales = 'user.spend > 100000'\n";
    std::fs::write(&config, format!("{base}\n[segments]\nlearned = 4\n[segments.named]\n{named}")).unwrap();
    fit.extend(["--alias", "stable"]);
    let fitted = aisle(&fit);
    assert!(fitted.status.success(), "{}", String::from_utf8_lossy(&fitted.stderr));
    let shown = aisle(&["segments", "--registry", &registry_path, "--model", "shop"]);
    let table = String::from_utf8(shown.stdout).unwrap();
    assert!(table.lines().any(|line| line.starts_with("  loyal ")), "{table}");
    assert!(table.contains("fewer than 50 shoppers: whales"), "{table}");
    assert_eq!(table.matches(" %").count(), 5, "{table}");

    let version = String::from_utf8(fitted.stdout).unwrap().trim().to_string();
    let bundle = Registry::new(&registry).verify("shop", &version).unwrap();
    let loyal = bundle.segments().members(bundle.segments().number("loyal").unwrap());
    let batch = |segment: &[&str]| {
        let out = out.to_string_lossy().into_owned();
        let arguments = ["batch", "--registry", &registry_path, "--model", "shop", "--job", "segment", "--out", &out];
        let done = aisle(&[&arguments[..], segment].concat());
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (written, told) = batch(&["--segment", "loyal"]);
    assert!(written && told.contains(&format!("{} rows", loyal.len())), "{told}");
    let listed = IdMap::read(&out.to_string_lossy(), "user_id").unwrap();
    assert!(listed.iter().eq(loyal.iter().map(|&user| bundle.users.id(user))));
    let all: usize = bundle.segments().list().published.iter().map(|segment| segment.shoppers).sum();
    let (written, told) = batch(&[]);
    assert!(written && told.replace(',', "").contains(&format!("{all} rows")), "{told}");
    let (written, told) = batch(&["--segment", "loyl"]);
    assert!(!written && told.contains("loyal") && told.contains("loyl"), "{told}");
}

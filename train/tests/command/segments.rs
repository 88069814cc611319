//! Segments of the bundled sample, from the config to the table and the list.

use crate::common::{SAMPLE, run};
use aisle_data::IdMap;
use aisle_models::{FittedModels, Registry};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A registry with one version whose config names the segments `loyal` and `whales`.
struct Shop {
    folder: TempDir,
    models: FittedModels,
    /// What `segments` prints.
    table: String,
}

/// Writes the sample's config with more lines.
fn config(folder: &Path, lines: &str) -> PathBuf {
    let base = std::fs::read_to_string(format!("{SAMPLE}/aisle.toml")).unwrap();
    let path = folder.join("aisle.toml");
    std::fs::write(&path, format!("{base}\n{lines}")).unwrap();
    path
}

/// Fits a small version under a config. Returns whether it worked, and what was printed.
fn fit(folder: &Path, config: &Path) -> (bool, String, String) {
    let (events, items) = (
        format!("{SAMPLE}/events.parquet"),
        format!("{SAMPLE}/items.parquet"),
    );
    let config = config.to_string_lossy();
    let mut arguments = vec![
        "fit", "--events", &events, "--items", &items, "--config", &config,
    ];
    arguments.extend([
        "--registry",
        "registry",
        "--model",
        "shop",
        "--alias",
        "stable",
    ]);
    arguments.extend(["--set", "factors=16", "--set", "iterations=2"]);
    let output = run(folder, &arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn shop() -> &'static Shop {
    static SHOP: OnceLock<Shop> = OnceLock::new();
    SHOP.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let named = "loyal = 'user.orders >= 5 AND user.days_since < 60'\n\
                     whales = 'user.spend > 100000'\n";
        let lines = format!("[segments]\nlearned = 4\n[segments.named]\n{named}");
        let (fitted, version, errors) = fit(folder.path(), &config(folder.path(), &lines));
        assert!(fitted, "{errors}");
        let registry = Registry::new(folder.path().join("registry"));
        let models = registry.verify("shop", version.trim()).unwrap().models;
        let show = ["segments", "--registry", "registry", "--model", "shop"];
        let table = String::from_utf8(run(folder.path(), &show).stdout).unwrap();
        Shop {
            folder,
            models,
            table,
        }
    })
}

/// Writes a list of shoppers and their segments. Returns whether it worked, and what was printed.
fn batch(out: &str, segment: &[&str]) -> (bool, String) {
    let arguments = [
        "batch",
        "--registry",
        "registry",
        "--model",
        "shop",
        "--job",
        "segment",
    ];
    let arguments = [&arguments[..], &["--out", out], segment].concat();
    let output = run(shop().folder.path(), &arguments);
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_mistake_in_the_condition_of_a_segment_is_told_with_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(
        folder.path(),
        "[segments.named]\nloyal = 'user.orders >= many'\n",
    );
    let (fitted, _, error) = fit(folder.path(), &config);
    assert!(
        !fitted && error.contains("'loyal'") && error.contains("column 16"),
        "{error}"
    );
}

#[test]
fn the_table_shows_named_and_learned_segments() {
    let table = &shop().table;
    assert!(
        table.lines().any(|line| line.starts_with("  loyal ")),
        "{table}"
    );
    assert_eq!(table.matches(" %").count(), 5, "{table}");
}

#[test]
fn the_table_names_segments_with_too_few_shoppers() {
    let table = &shop().table;
    assert!(table.contains("fewer than 50 shoppers: whales"), "{table}");
}

#[test]
fn the_list_of_a_segment_holds_its_members() {
    let shop = shop();
    let segments = &shop.models.segments;
    let loyal = segments.members(segments.number("loyal").unwrap());
    let (written, printed) = batch("loyal.parquet", &["--segment", "loyal"]);
    assert!(
        written && printed.contains(&format!("{} rows", loyal.len())),
        "{printed}"
    );
    let out = shop.folder.path().join("loyal.parquet");
    let listed = IdMap::read(&out.to_string_lossy(), "user_id").unwrap();
    assert!(
        listed
            .iter()
            .eq(loyal.iter().map(|&user| shop.models.users.id(user)))
    );
}

#[test]
fn the_list_without_a_segment_holds_the_members_of_all() {
    let published = &shop().models.segments.list().published;
    let all: usize = published.iter().map(|segment| segment.shoppers).sum();
    let (written, printed) = batch("all.parquet", &[]);
    assert!(
        written && printed.replace(',', "").contains(&format!("{all} rows")),
        "{printed}"
    );
}

#[test]
fn an_unknown_segment_is_an_error_that_names_the_known_ones() {
    let (written, printed) = batch("none.parquet", &["--segment", "loyl"]);
    assert!(
        !written && printed.contains("loyal") && printed.contains("loyl"),
        "{printed}"
    );
}

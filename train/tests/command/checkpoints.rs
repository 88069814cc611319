//! Fits that are interrupted and go on.
use crate::common::*;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

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
    succeed(
        at,
        &[
            "generate", "--out", "a", "--events", "20000", "--users", "300", "--items", "200",
        ],
    );
    let fit = [&TOWERS[..], &["2"]].concat();
    let mut child = aisle(at, &fit)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let checkpoints = at.join("registry/shop/.checkpoints");
    let files = |folder: PathBuf| {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let kept = || {
        files(checkpoints.clone())
            .flat_map(files)
            .any(|file| file.extension().is_some_and(|end| end == "safetensors"))
    };
    while !kept() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    // As Ctrl-C does, which what runs in the background may have been told to ignore.
    assert!(
        Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert!(
        !child.wait().unwrap().success() && kept() && versions(at).is_empty(),
        "interrupted, and nothing but a checkpoint"
    );

    let output = run(at, &fit);
    let said = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(
        output.status.success() && said.contains("goes on after epoch"),
        "{said}"
    );
    assert!(!checkpoints.exists(), "a published fit needs no checkpoint");
    // The same bytes as without an interruption, on another number of threads.
    let straight = [&TOWERS[..20], &["other", "--threads", "1"]].concat();
    succeed(at, &straight);
    let digest = |registry: &str| {
        let version = std::fs::read_dir(at.join(registry).join("shop"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().into_string().unwrap());
        version
            .filter(|name| !name.starts_with('.'))
            .max()
            .unwrap()
            .rsplit('-')
            .next()
            .unwrap()
            .to_string()
    };
    assert_eq!(digest("registry"), digest("other"));
}

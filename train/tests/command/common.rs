//! The real binary and the bundled sample, for every test of the command line.
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the bundled sample.
pub const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/samples/online_retail");

/// The binary with arguments, run in a folder, without settings of the environment.
pub fn aisle(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aisle-train"));
    command.current_dir(folder).args(arguments);
    for name in ["AISLE_CONFIG", "AISLE_EVENTS", "AISLE_ITEMS", "AISLE_USERS"] {
        command.env_remove(name);
    }
    command
}

/// What a run printed, whether it succeeded or not.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    aisle(folder, arguments).output().unwrap()
}

/// The standard output of a run that must succeed.
pub fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The standard error of a run that must fail.
pub fn fail(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(!output.status.success(), "{arguments:?} should fail");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// The sample as options.
pub fn sample() -> [String; 6] {
    let file = |name: &str| format!("{SAMPLE}/{name}");
    [
        "--events".into(),
        file("events.parquet"),
        "--items".into(),
        file("items.parquet"),
        "--config".into(),
        file("aisle.toml"),
    ]
}

/// `command` on the sample, with more options.
pub fn on_sample<'a>(command: &'a str, sample: &'a [String; 6], rest: &[&'a str]) -> Vec<&'a str> {
    let options = sample.iter().map(String::as_str);
    let rest = rest.iter().copied();
    std::iter::once(command)
        .chain(options)
        .chain(rest)
        .collect()
}

/// A small fit of the sample to the model `shop`, with more options.
pub fn fit<'a>(sample: &'a [String; 6], rest: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["fit"];
    arguments.extend(sample.iter().map(String::as_str));
    arguments.extend([
        "--registry",
        "registry",
        "--model",
        "shop",
        "--set",
        "factors=16",
        "--set",
        "iterations=2",
    ]);
    arguments.extend(rest);
    arguments
}

/// The JSON that a run wrote to a file.
pub fn read_json(folder: &Path, name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

/// The lower end of the interval of the first method's difference to another one.
pub fn lower_end(evaluation: &serde_json::Value, against: &str) -> f64 {
    let differences = evaluation["differences"].as_array().unwrap();
    let difference = differences
        .iter()
        .find(|one| one["against"] == against)
        .unwrap();
    difference["interval_95"][0].as_f64().unwrap()
}

/// The value of the figure whose name contains a text.
pub fn figure(evaluation: &serde_json::Value, name: &str) -> f64 {
    let figures = evaluation["figures"].as_array().unwrap();
    let figure = figures
        .iter()
        .find(|figure| figure["what"].as_str().unwrap().contains(name))
        .unwrap();
    figure["value"].as_f64().unwrap()
}

/// Names and bytes of the files in a folder, by name.
pub fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

/// The versions of the model `shop`, oldest first.
pub fn versions(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.join("registry/shop")) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.is_dir() && !path.file_name().unwrap().to_string_lossy().starts_with('.')
        })
        .collect();
    found.sort();
    found
}

//! Runs the documents: every fenced block says what it is, `sh` blocks run on the bundled sample,
//! and `text` blocks show what the commands before them print. So documents cannot rot.
//!
//! A `text` block holds lines of the output of the `sh` block before it, in order. A line `…`
//! stands for any lines left out. Blocks that cannot run here are tagged `sh exempt` and listed
//! below.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what failed by failing"
)]

use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Documents whose commands are run, from the top of the repository.
const RUN: [&str; 4] = [
    "README.md",
    "data/README.md",
    "train/README.md",
    "serve/README.md",
];
/// Documents whose blocks must be tagged, and of which every `sh` block is exempt.
const TAGGED: [&str; 5] = [
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benches/README.md",
    "benches/peers/README.md",
];
/// What a block may be tagged with.
const TAGS: [&str; 9] = [
    "sh",
    "sh exempt",
    "text",
    "toml",
    "json",
    "rust",
    "rust ignore",
    "proto",
    "python",
];
/// How the first line of each exempt block of the documents that run begins, and why it does not.
const EXEMPT: [(&str, &str, &str); 5] = [
    (
        "README.md",
        "aisle-serve --registry",
        "the server runs until it gets a signal",
    ),
    (
        "README.md",
        "grpcurl",
        "the command needs a running server and grpcurl",
    ),
    (
        "README.md",
        "cargo test",
        "these tests would run themselves",
    ),
    (
        "serve/README.md",
        "aisle-serve --registry",
        "the server runs until it gets a signal",
    ),
    (
        "serve/README.md",
        "grpcurl",
        "the command needs a running server and grpcurl",
    ),
];
/// Where documents write, below the top of the repository.
const SCRATCH: &str = "target/readme";

/// One document at a time: they write to the same place.
static TURN: Mutex<()> = Mutex::new(());

struct Block {
    tag: String,
    /// Line of the opening fence, from 1.
    line: usize,
    text: String,
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

fn blocks(document: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(top().join(document)).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(tag), None) => {
                let tag = tag.trim().to_string();
                open = Some(Block {
                    tag,
                    line: number + 1,
                    text: String::new(),
                });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                writeln!(block.text, "{line}").unwrap();
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{document} ends inside a block");
    blocks
}

/// A folder with a `cargo` that runs the quickstart of this build, and the other programs of it.
fn programs(folder: &Path) -> PathBuf {
    let binaries = Path::new(env!("CARGO_BIN_EXE_aisle-serve"))
        .parent()
        .unwrap();
    let train = binaries.join("aisle-train");
    assert!(
        train.exists(),
        "aisle-train is not built: run cargo test --workspace"
    );
    let quickstart = binaries.join("examples/quickstart");
    assert!(
        quickstart.exists(),
        "the quickstart is not built: run cargo test --workspace"
    );
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n'run --release --example quickstart') exec '{}' --once ;;\n\
         *) echo \"only the quickstart runs here, not: cargo $*\" >&2; exit 1 ;;\nesac\n",
        quickstart.display()
    );
    let cargo = folder.join("cargo");
    std::fs::write(&cargo, script).unwrap();
    let status = Command::new("chmod")
        .arg("+x")
        .arg(&cargo)
        .status()
        .unwrap();
    assert!(status.success());
    binaries.to_path_buf()
}

/// Runs a block and returns what it prints.
fn run(document: &str, block: &Block) -> String {
    let folder = tempfile::tempdir().unwrap();
    let binaries = programs(folder.path());
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", folder.path().display(), binaries.display());
    let output = Command::new("sh")
        .args(["-eu", "-c", &block.text])
        .current_dir(top())
        .env("PATH", path)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = block.line;
    assert!(
        output.status.success(),
        "{document}:{line} fails:\n{errors}\n{printed}"
    );
    format!("{printed}\n{errors}")
}

/// Fails unless the lines of `shown` are in `printed`, in order, next to each other except at `…`.
fn expect_shown(document: &str, shown: &Block, printed: &str) {
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let (mut from, mut may_skip) = (0, true);
    for (number, line) in shown.text.lines().map(str::trim_end).enumerate() {
        if line.trim() == "…" {
            may_skip = true;
            continue;
        }
        let found = match may_skip {
            true => printed[from..].iter().position(|other| *other == line),
            false => printed.get(from).filter(|other| **other == line).map(|_| 0),
        };
        let place = shown.line + number + 1;
        let Some(found) = found else {
            panic!(
                "{document}:{place} is not printed: {line}\n--- printed:\n{}",
                printed.join("\n")
            )
        };
        from += found + 1;
        may_skip = false;
    }
}

/// Runs a document's `sh` blocks in order and compares the `text` blocks after them.
fn run_document(document: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let scratch = top().join(SCRATCH);
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir_all(&scratch).unwrap();
    let mut printed: Option<String> = None;
    for block in blocks(document) {
        match block.tag.as_str() {
            "sh" => printed = Some(run(document, &block)),
            "text" => {
                if let Some(printed) = &printed {
                    expect_shown(document, &block, printed);
                }
            }
            _ => printed = None,
        }
    }
}

#[test]
fn every_block_says_what_it_is() {
    for document in RUN.iter().chain(&TAGGED) {
        for Block { tag, line, .. } in blocks(document) {
            assert!(
                TAGS.contains(&tag.as_str()),
                "{document}:{line} is tagged '{tag}'"
            );
        }
    }
}

#[test]
fn exempt_blocks_are_listed_with_their_reason() {
    let mut found = Vec::new();
    for document in RUN {
        for block in blocks(document)
            .iter()
            .filter(|block| block.tag == "sh exempt")
        {
            let first = block.text.lines().next().unwrap_or_default();
            let known = EXEMPT
                .iter()
                .find(|exempt| exempt.0 == document && first.starts_with(exempt.1));
            let line = block.line;
            assert!(
                known.is_some(),
                "{document}:{line} is exempt without a reason: {first}"
            );
            found.extend(known);
        }
    }
    let unused = EXEMPT.iter().find(|exempt| !found.contains(exempt));
    assert!(
        unused.is_none(),
        "no block is like this exemption: {unused:?}"
    );
    assert!(
        EXEMPT.iter().all(|exempt| exempt.2.len() > 20),
        "an exemption gives a reason"
    );
}

#[test]
fn commands_outside_the_guides_are_marked_as_not_run() {
    for document in TAGGED {
        let runs = blocks(document).into_iter().find(|block| block.tag == "sh");
        assert!(
            runs.is_none(),
            "{document}: tag its commands 'sh exempt', or run it in this test"
        );
    }
}

/// Parses all blocks that have a tag.
fn assert_blocks_parse<E: Display>(tag: &str, parse: impl Fn(&str) -> Result<(), E>) {
    for document in RUN {
        for block in blocks(document).iter().filter(|block| block.tag == tag) {
            if let Err(error) = parse(&block.text) {
                panic!("{document}:{}: {error}", block.line);
            }
        }
    }
}

#[test]
fn toml_blocks_are_toml() {
    assert_blocks_parse("toml", |text| toml::from_str::<toml::Table>(text).map(drop));
}

#[test]
fn json_blocks_are_json() {
    assert_blocks_parse("json", |text| {
        serde_json::from_str::<serde_json::Value>(text).map(drop)
    });
}

#[test]
fn the_readme_shows_what_its_commands_print() {
    run_document("README.md");
}

#[test]
fn the_data_guide_shows_what_its_commands_print() {
    run_document("data/README.md");
}

#[test]
fn the_training_guide_shows_what_its_commands_print() {
    run_document("train/README.md");
}

#[test]
fn the_serving_guide_shows_what_its_commands_print() {
    run_document("serve/README.md");
}

#[test]
fn the_readme_is_at_most_200_lines() {
    let lines = std::fs::read_to_string(top().join("README.md"))
        .unwrap()
        .lines()
        .count();
    assert!(lines <= 200, "{lines} lines");
}

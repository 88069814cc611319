//! The life of versions: fitted, listed, verified, rolled back, and whole after a kill.
use crate::common::*;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn a_version_goes_through_its_life() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample();
    let at = folder.path();
    let first = succeed(at, &fit(&sample, &["--alias", "stable"]))
        .trim()
        .to_string();
    let second = succeed(at, &fit(&sample, &["--set", "seed=7", "--alias", "stable"]))
        .trim()
        .to_string();
    let model = ["--registry", "registry", "--model", "shop"];
    let with =
        |command: &'static str, rest: &[&'static str]| [&[command][..], &model, rest].concat();
    let listed = succeed(at, &with("versions", &[]));
    assert!(
        listed
            .lines()
            .any(|line| line.contains(&second) && line.contains("stable")),
        "{listed}"
    );
    assert!(succeed(at, &with("rollback", &[])).contains(&first));
    assert!(fail(at, &with("rollback", &[])).contains("no earlier version"));
    assert_eq!(succeed(at, &with("verify", &[])).matches("ok ").count(), 2);
    let diff = succeed(
        at,
        &[&with("diff", &[])[..], &[first.as_str(), second.as_str()]].concat(),
    );
    assert!(diff.contains("of the items stay"), "{diff}");
    succeed(
        at,
        &with(
            "batch",
            &["--job", "cross-sell", "--k", "3", "--out", "cross.parquet"],
        ),
    );
    assert!(at.join("cross.parquet").metadata().unwrap().len() > 1000);

    std::fs::write(
        at.join("registry/shop").join(&second).join("users.parquet"),
        b"gone",
    )
    .unwrap();
    assert!(fail(at, &with("verify", &[])).contains("1 of 2 versions would not be served"));
    let moved = [
        &with("alias", &["--alias", "stable", "--version"])[..],
        &[second.as_str()],
    ]
    .concat();
    assert!(
        fail(at, &moved).contains("users.parquet"),
        "an alias does not move to a damaged version"
    );
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
            (
                version
                    .to_string_lossy()
                    .rsplit('-')
                    .next()
                    .unwrap()
                    .to_string(),
                files(&version),
            )
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
        let mut child = aisle(folder.path(), &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(40 + step * 90));
        let _ = child.kill();
        child.wait().unwrap();
        let verified = succeed(
            folder.path(),
            &["verify", "--registry", "registry", "--model", "shop"],
        );
        assert_eq!(
            verified.matches("ok ").count(),
            versions(folder.path()).len()
        );
    }
    std::thread::sleep(Duration::from_millis(2100));
    succeed(folder.path(), &arguments);
    let left = std::fs::read_dir(folder.path().join("registry/shop"))
        .unwrap()
        .flatten();
    assert!(
        !left
            .into_iter()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(".writing")),
        "what the dead left is swept"
    );
}

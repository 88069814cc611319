//! The registry: how versions are published and aliases and rules move, also by several writers at
//! once.

use crate::common::algorithms::als;
use crate::common::empty_registry;
use crate::common::home_and_tools::fit_shop;
use aisle_models::{Als, ItemChange, ItemUpdates, ModelError, Personal, Registry, Rule};
use std::fs::File;
use std::sync::Barrier;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Names that could leave the registry or confuse a reader; a name of 65 letters is too long.
const BAD_NAMES: [&str; 7] = [
    "../x",
    "",
    ".hidden",
    "a/b",
    "a\0b",
    "..",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];
/// Writers that change a model at once.
const WRITERS: usize = 8;

fn publish(registry: &Registry, seed: u64) -> String {
    let als = Als { seed, ..als() };
    registry
        .publish("shop", &mut fit_shop(Personal::Als(als)))
        .unwrap()
}

/// A registry with one version of `shop`, and its name.
fn with_a_version() -> (TempDir, Registry, String) {
    let (folder, registry) = empty_registry();
    let name = publish(&registry, 1);
    (folder, registry, name)
}

/// A registry with two versions of `shop`, and their names.
fn with_two_versions() -> (TempDir, Registry, [String; 2]) {
    let (folder, registry) = empty_registry();
    let names = [1, 2].map(|seed| publish(&registry, seed));
    (folder, registry, names)
}

/// A registry in which `shop` has a folder, but no version and no rules.
fn with_a_model() -> (TempDir, Registry) {
    let (folder, registry) = empty_registry();
    std::fs::create_dir(folder.path().join("shop")).unwrap();
    (folder, registry)
}

fn is_bad_name<T>(result: Result<T, ModelError>) -> bool {
    matches!(result, Err(ModelError::BadName { .. }))
}

#[test]
fn a_published_version_is_listed_with_its_manifest() {
    let (_folder, registry, name) = with_a_version();
    let versions = registry.versions("shop").unwrap();
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].version, name);
    assert_eq!(versions[0].manifest.as_ref().unwrap().model, "shop");
}

#[test]
fn publishing_sweeps_away_what_a_dead_writer_left() {
    let (folder, registry) = with_a_model();
    let unfinished = folder.path().join("shop").join(".writing-1-1");
    std::fs::create_dir(&unfinished).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(60);
    File::open(&unfinished)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    publish(&registry, 1);
    assert!(!unfinished.exists());
}

#[test]
fn publishing_leaves_alone_what_a_living_writer_works_on() {
    let (folder, registry) = with_a_model();
    let unfinished = folder.path().join("shop").join(".writing-1-1");
    std::fs::create_dir(&unfinished).unwrap();
    let lock = File::create(unfinished.join(".lock")).unwrap();
    lock.lock().unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(60);
    File::open(&unfinished)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    publish(&registry, 1);
    assert!(unfinished.exists());
}

#[test]
fn an_alias_that_was_never_set_is_not_found() {
    let (_folder, registry, _) = with_a_version();
    let missing = registry.resolve("shop", "stable");
    assert!(matches!(
        missing,
        Err(ModelError::NotFound { what: "alias", .. })
    ));
}

#[test]
fn an_alias_with_one_version_has_nothing_to_roll_back_to() {
    let (_folder, registry, name) = with_a_version();
    registry.set_alias("shop", "stable", &name).unwrap();
    let refused = registry.rollback("shop", "stable");
    assert!(matches!(refused, Err(ModelError::NoEarlierVersion { .. })));
}

#[test]
fn an_alias_set_to_the_same_version_twice_remembers_the_one_before_once() {
    let (_folder, registry, [earlier, later]) = with_two_versions();
    for name in [&earlier, &later, &later] {
        registry.set_alias("shop", "stable", name).unwrap();
    }
    let aliases = registry.aliases("shop").unwrap();
    assert_eq!(aliases.aliases["stable"].previous, [earlier]);
}

#[test]
fn a_rollback_points_an_alias_at_the_version_before() {
    let (_folder, registry, [earlier, later]) = with_two_versions();
    for name in [&earlier, &later] {
        registry.set_alias("shop", "stable", name).unwrap();
    }
    registry.rollback("shop", "stable").unwrap();
    assert_eq!(registry.resolve("shop", "stable").unwrap(), earlier);
}

#[test]
fn a_version_that_is_missing_is_refused_with_a_list_of_those_there_are() {
    let (_folder, registry, name) = with_a_version();
    let missing = "20200101T000000Z-aaaaaaaaaaaa";
    let refused = registry.set_alias("shop", "stable", missing).unwrap_err();
    assert!(refused.to_string().contains(&name), "{refused}");
}

#[test]
fn refused_changes_leave_an_alias_where_it_is() {
    let (_folder, registry, name) = with_a_version();
    registry.set_alias("shop", "stable", &name).unwrap();
    let missing = "20200101T000000Z-aaaaaaaaaaaa";
    assert!(registry.set_alias("shop", "stable", missing).is_err());
    for bad_name in BAD_NAMES {
        assert!(registry.set_alias("shop", bad_name, &name).is_err());
    }
    assert_eq!(registry.resolve("shop", "stable").unwrap(), name);
}

#[test]
fn bad_names_of_aliases_are_refused() {
    let (_folder, registry, name) = with_a_version();
    for bad_name in BAD_NAMES {
        let result = registry.set_alias("shop", bad_name, &name);
        assert!(is_bad_name(result), "{bad_name:?}");
    }
}

#[test]
fn bad_names_of_versions_are_refused() {
    let (_folder, registry, _) = with_a_version();
    for bad_name in BAD_NAMES {
        assert!(is_bad_name(registry.load("shop", bad_name)), "{bad_name:?}");
    }
}

#[test]
fn bad_names_of_models_are_refused() {
    let (_folder, registry, _) = with_a_version();
    for bad_name in BAD_NAMES {
        assert!(
            is_bad_name(registry.version_names(bad_name)),
            "{bad_name:?}"
        );
    }
}

/// A set of one rule of this name.
fn rules(name: &str) -> Vec<Rule> {
    vec![Rule {
        name: name.into(),
        diversity: Some(0.1),
        ..Rule::default()
    }]
}

#[test]
fn a_model_without_rules_has_revision_zero() {
    let (_folder, registry) = with_a_model();
    assert_eq!(registry.rules("shop").unwrap().revision, 0);
}

#[test]
fn each_change_of_rules_makes_a_revision() {
    let (_folder, registry) = with_a_model();
    let revisions = [("a", 0), ("b", 1)].map(|(name, expected)| {
        registry
            .set_rules("shop", rules(name), expected)
            .unwrap()
            .revision
    });
    assert_eq!(revisions, [1, 2]);
}

#[test]
fn rules_that_changed_since_they_were_read_are_not_overwritten() {
    let (_folder, registry) = with_a_model();
    registry.set_rules("shop", rules("a"), 0).unwrap();
    registry.set_rules("shop", rules("b"), 1).unwrap();
    let refused = registry
        .set_rules("shop", rules("c"), 1)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("revision 2, expected 1"), "{refused}");
}

#[test]
fn a_rollback_restores_the_rules_before_under_a_new_revision() {
    let (_folder, registry) = with_a_model();
    registry.set_rules("shop", rules("a"), 0).unwrap();
    registry.set_rules("shop", rules("b"), 1).unwrap();
    let restored = registry.rollback_rules("shop").unwrap();
    assert_eq!(
        (restored.revision, restored.rules[0].name.as_str()),
        (3, "a")
    );
    assert_eq!(registry.rules("shop").unwrap(), restored);
}

#[test]
fn rules_cannot_be_rolled_back_beyond_the_first() {
    let (_folder, registry) = with_a_model();
    registry.set_rules("shop", rules("a"), 0).unwrap();
    registry.set_rules("shop", rules("b"), 1).unwrap();
    registry.rollback_rules("shop").unwrap();
    registry.rollback_rules("shop").unwrap();
    let refused = registry.rollback_rules("shop").unwrap_err().to_string();
    assert!(refused.contains("no rules before"), "{refused}");
}

/// Runs `write` on as many threads as there are writers, all starting at once.
fn at_once<T: Send>(write: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(WRITERS);
    std::thread::scope(|scope| {
        let spawn = |writer| {
            let (write, start) = (&write, &start);
            scope.spawn(move || {
                start.wait();
                write(writer)
            })
        };
        let writers: Vec<_> = (0..WRITERS).map(spawn).collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    })
}

#[test]
fn of_writers_that_change_the_same_revision_of_rules_one_succeeds() {
    let (_folder, registry) = with_a_model();
    registry.set_rules("shop", rules("first"), 0).unwrap();
    let results = at_once(|writer| registry.set_rules("shop", rules(&format!("{writer}")), 1));
    let (made, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    let is_conflict =
        |refused: &Result<_, _>| matches!(refused, Err(ModelError::RulesChanged { .. }));
    assert!(refused.iter().all(is_conflict), "{refused:?}");
}

#[test]
fn item_changes_of_several_writers_all_count() {
    let (_folder, registry) = with_a_model();
    at_once(|writer| {
        let change = ItemChange {
            available: None,
            price: Some(writer as f32),
        };
        let items = [(format!("i{writer}"), change)].into();
        let updates = ItemUpdates {
            items,
            ..ItemUpdates::default()
        };
        registry.change_items("shop", updates).unwrap()
    });
    let changes = registry.item_changes("shop").unwrap();
    assert_eq!(
        (changes.epoch, changes.items.len()),
        (WRITERS as u64, WRITERS)
    );
}

#[test]
fn aliases_of_several_writers_all_stand() {
    let (_folder, registry, name) = with_a_version();
    at_once(|writer| {
        registry
            .set_alias("shop", &format!("alias-{writer}"), &name)
            .unwrap()
    });
    let aliases = registry.aliases("shop").unwrap();
    assert_eq!(
        (aliases.epoch, aliases.aliases.len()),
        (WRITERS as u64, WRITERS)
    );
}

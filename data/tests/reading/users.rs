//! The users file.

use crate::common::{config, folder, texts, write};
use aisle_data::{DataConfig, Dataset, Tables};
use tempfile::TempDir;

/// Writes events of b and d, and a users file of a, b and c.
fn write_shop(folder: &TempDir) -> (String, String) {
    let events = write(
        &folder.path().join("events.parquet"),
        vec![
            ("user_id", texts(&["b", "d"])),
            ("item_id", texts(&["x", "y"])),
        ],
    );
    let users = write(
        &folder.path().join("users.parquet"),
        vec![
            ("user_id", texts(&["a", "b", "c"])),
            ("age", texts(&["20", "30", "40"])),
        ],
    );
    (events, users)
}

fn keep_new_users() -> DataConfig {
    config(r#"{"clean": {"keep_new_users": true}}"#)
}

fn read_shop(config: &DataConfig) -> Dataset {
    let folder = folder();
    let (events, users) = write_shop(&folder);
    let tables = Tables {
        events: &events,
        items: None,
        users: Some(&users),
    };
    Dataset::read(&tables, config).unwrap()
}

fn user_ids(data: &Dataset) -> Vec<&str> {
    data.log.users.iter().collect()
}

#[test]
fn users_are_those_with_events() {
    let data = read_shop(&DataConfig::default());
    assert_eq!(user_ids(&data), ["b", "d"]);
}

#[test]
fn users_without_events_are_kept_where_asked_for() {
    let data = read_shop(&keep_new_users());
    assert_eq!(user_ids(&data), ["a", "b", "c", "d"]);
    assert_eq!(data.log.user, [1, 3]);
}

#[test]
fn attributes_are_in_the_order_of_users() {
    let data = read_shop(&keep_new_users());
    let (_, age) = &data.user_attributes[0];
    let ages: Vec<_> = (0..4).map(|user| age.get(user)).collect();
    assert_eq!(ages, [Some("20"), Some("30"), Some("40"), None]);
}

#[test]
fn keeping_users_without_events_needs_a_users_file() {
    let folder = folder();
    let (events, _) = write_shop(&folder);
    let tables = Tables {
        events: &events,
        items: None,
        users: None,
    };
    let error = Dataset::read(&tables, &keep_new_users()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("clean.keep_new_users") && error.contains("--users"),
        "{error}"
    );
}

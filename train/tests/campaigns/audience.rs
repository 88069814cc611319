//! Who is written to: consent, the frequency cap and the holdout.

use crate::shop::*;
use arrow_array::{ArrayRef, TimestampMillisecondArray};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const CONSENT: [&str; 4] = ["--users", "users.parquet", "--consent", "newsletter"];
const SENT: [&str; 2] = ["--sent", "sent.parquet"];
const HOLDOUT: [&str; 2] = ["--holdout", "0.4"];

/// A shop with a users file and a list of what was sent. Of b00 to b39 every fourth shopper refused
/// the newsletter and another one left the answer out; nobody else is in the users file. b00 was
/// written to two days ago, b03 twenty days ago, b04 three days ago and a day after the end.
fn shop_with_consent() -> tempfile::TempDir {
    let folder = shop();
    let answers = [Some("yes"), Some("no"), None, Some("1")];
    let ids: Vec<String> = (0..40).map(|shopper| format!("b{shopper:02}")).collect();
    let columns = vec![
        text("user_id", ids.iter().map(|id| Some(id.as_str()))),
        text("newsletter", (0..40).map(|shopper| answers[shopper % 4])),
    ];
    aisle_models::write_table(&folder.path().join("users.parquet"), columns).unwrap();
    let sent = [
        ("b00", NOW - 2 * DAY),
        ("b03", NOW - 20 * DAY),
        ("b04", NOW - 3 * DAY),
        ("b04", NOW + DAY),
    ];
    let times = TimestampMillisecondArray::from_iter_values(sent.iter().map(|line| line.1));
    let columns = vec![
        text("user_id", sent.iter().map(|line| Some(line.0))),
        ("sent_at".into(), Arc::new(times) as ArrayRef),
    ];
    aisle_models::write_table(&folder.path().join("sent.parquet"), columns).unwrap();
    folder
}

/// The shoppers who agreed to the newsletter.
fn agreed() -> BTreeSet<String> {
    let agreed = (0..40).filter(|shopper| [0, 3].contains(&(shopper % 4)));
    agreed.map(|shopper| format!("b{shopper:02}")).collect()
}

/// Writes a personal campaign. Returns what was printed, and the shoppers in it, each once.
fn written(at: &Path, options: &[&[&str]]) -> (String, BTreeSet<String>) {
    let options = [&["--k", "1", "--now", "2024-04-10"][..], &options.concat()].concat();
    let (printed, table) = batch(at, "personal", &options);
    let users: BTreeSet<String> = texts(&table, "user_id").into_iter().collect();
    assert_eq!(table.num_rows(), users.len());
    (printed, users)
}

fn held_out(at: &Path) -> BTreeSet<String> {
    texts(&read(&at.join("out.holdout.parquet")), "user_id")
        .into_iter()
        .collect()
}

fn bytes(at: &Path) -> [Vec<u8>; 2] {
    ["out.parquet", "out.holdout.parquet"].map(|name| std::fs::read(at.join(name)).unwrap())
}

fn missing(from: &BTreeSet<String>, users: &BTreeSet<String>) -> Vec<String> {
    from.difference(users).cloned().collect()
}

#[test]
fn without_options_everybody_is_written_to() {
    let folder = shop_with_consent();
    let (printed, all) = written(folder.path(), &[]);
    assert!(all.is_superset(&agreed()), "{all:?}");
    assert!(all.contains("b01") && all.contains("left"), "{all:?}");
    assert!(!printed.contains("left out"), "{printed}");
}

#[test]
fn with_consent_only_those_who_agreed_are_written_to() {
    let folder = shop_with_consent();
    let (_, all) = written(folder.path(), &[]);
    let (printed, users) = written(folder.path(), &[&CONSENT]);
    assert_eq!(users, agreed());
    let left_out = format!("left out: {} without consent (newsletter)", all.len() - 20);
    assert!(printed.contains(&left_out), "{printed}");
}

#[test]
fn who_was_written_to_lately_is_left_out() {
    let folder = shop_with_consent();
    let (printed, users) = written(folder.path(), &[&CONSENT, &SENT]);
    assert_eq!(missing(&agreed(), &users), ["b00", "b04"]);
    assert!(
        printed.contains("left out: 2 got 1 or more within 7 days"),
        "{printed}"
    );
}

#[test]
fn a_higher_cap_leaves_out_who_was_written_to_as_often() {
    let folder = shop_with_consent();
    let (_, users) = written(folder.path(), &[&CONSENT, &SENT, &["--cap", "2"]]);
    assert_eq!(missing(&agreed(), &users), ["b04"]);
}

#[test]
fn without_a_holdout_no_list_of_it_is_written() {
    let folder = shop_with_consent();
    written(folder.path(), &[&CONSENT]);
    assert!(!folder.path().join("out.holdout.parquet").exists());
}

#[test]
fn a_holdout_keeps_some_back_and_lists_them() {
    let folder = shop_with_consent();
    let (printed, users) = written(folder.path(), &[&CONSENT, &SENT, &HOLDOUT]);
    let held_out = held_out(folder.path());
    assert!(
        held_out.len() > 2 && users.len() > 2,
        "{held_out:?} {users:?}"
    );
    assert!(held_out.is_disjoint(&users), "{held_out:?} {users:?}");
    let capped: BTreeSet<String> = ["b00", "b04"].map(String::from).into();
    assert_eq!(
        &(&held_out | &users) | &capped,
        agreed(),
        "everybody who agreed is somewhere"
    );
    let left_out = format!(
        "left out: {} held out → out.holdout.parquet",
        held_out.len()
    );
    assert!(printed.contains(&left_out), "{printed}");
}

#[test]
fn the_same_shoppers_are_held_out_every_time() {
    let folder = shop_with_consent();
    let (_, users) = written(folder.path(), &[&CONSENT, &SENT, &HOLDOUT]);
    let before = bytes(folder.path());
    let (_, again) = written(folder.path(), &[&CONSENT, &SENT, &HOLDOUT]);
    assert_eq!((again, bytes(folder.path())), (users, before));
}

#[test]
fn another_salt_holds_out_others() {
    let folder = shop_with_consent();
    written(folder.path(), &[&CONSENT, &SENT, &HOLDOUT]);
    let before = held_out(folder.path());
    let salt = ["--holdout-salt", "spring"];
    written(folder.path(), &[&CONSENT, &SENT, &HOLDOUT, &salt]);
    assert_ne!(held_out(folder.path()), before);
}

#[test]
fn no_temporary_file_stays() {
    let folder = shop_with_consent();
    let names = || -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder.path()).unwrap().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    };
    let before = names();
    written(folder.path(), &[&CONSENT, &SENT, &HOLDOUT]);
    let new: Vec<String> = names().difference(&before).cloned().collect();
    assert_eq!(new, ["out.holdout.parquet", "out.parquet"]);
}

#[test]
fn a_shopper_held_out_of_a_cart_campaign_is_in_the_holdout_alone() {
    let folder = shop();
    let wide = [
        "--window-days",
        "30",
        "--idle-hours",
        "0",
        "--holdout",
        "0.5",
    ];
    let (mut campaign, mut held) = (BTreeSet::new(), BTreeSet::new());
    // Of three shoppers with a cart, some salt holds a part out.
    for salt in ["a", "b", "c", "d", "e", "f"] {
        let (printed, carts) = batch(
            folder.path(),
            "abandoned-cart",
            &[&LOG[..], &wide, &["--holdout-salt", salt]].concat(),
        );
        campaign = texts(&carts, "user_id")
            .into_iter()
            .collect::<BTreeSet<_>>();
        held = texts(&read(&folder.path().join("out.holdout.parquet")), "user_id")
            .into_iter()
            .collect();
        assert!(
            campaign.is_disjoint(&held) && campaign.len() + held.len() == 3,
            "{campaign:?} {held:?}"
        );
        assert!(
            printed.contains(&format!("for {} shoppers", campaign.len())),
            "{printed}"
        );
        if !campaign.is_empty() && !held.is_empty() {
            break;
        }
    }
    assert!(!campaign.is_empty() && !held.is_empty());
    assert_eq!(
        &campaign | &held,
        ["fresh", "left", "old"].map(String::from).into()
    );
}

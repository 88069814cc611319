//! Lists for shoppers who stayed away, and reorders.

use crate::shop::*;
use std::collections::BTreeSet;

#[test]
fn who_is_silent_for_longer_than_usual_gets_a_list() {
    let folder = shop();
    let (_, lists) = batch(
        folder.path(),
        "win-back",
        &[&LOG[..], &["--k", "4"]].concat(),
    );
    let columns = [
        "user_id",
        "last_order_at",
        "usual_gap_days",
        "silent_days",
        "rank",
        "item_id",
        "score",
        "reason",
    ];
    assert_eq!(names(&lists), columns);
    assert_eq!(
        (texts(&lists, "user_id"), ranks(&lists)),
        (vec!["weekly".to_string(); 4], vec![1, 2, 3, 4])
    );
    assert_eq!(times(&lists, "last_order_at"), [BEGIN + 31 * DAY; 4]);
    // Three gaps of 7 days and one of everybody's 30.
    let usual = (7f64.powi(3) * 30.0).powf(0.25) as f32;
    assert!(
        numbers(&lists, "usual_gap_days")
            .iter()
            .all(|gap| (gap.unwrap() - usual).abs() < 1e-4)
    );
    assert_eq!(numbers(&lists, "silent_days"), [Some(69.0); 4]);
    let items = texts(&lists, "item_id");
    assert!(
        !items.iter().any(|item| item == "i08" || item == "i05"),
        "neither what they had nor what is not for sale: {items:?}"
    );
    let (_, sooner) = batch(
        folder.path(),
        "win-back",
        &[&LOG[..], &["--lapse", "0.9", "--k", "1"]].concat(),
    );
    assert_eq!(texts(&sooner, "user_id"), ["monthly", "weekly"]);
}

#[test]
fn reorders_are_listed_down_to_a_probability() {
    let folder = shop();
    let (_, all) = batch(
        folder.path(),
        "buy-again",
        &["--min-probability", "0", "--k", "4"],
    );
    assert_eq!(
        names(&all),
        [
            "user_id",
            "rank",
            "item_id",
            "probability",
            "due_in_days",
            "orders",
            "days_since"
        ]
    );
    let had: BTreeSet<(String, String)> = (events().into_iter())
        .filter(|event| event.2 == "purchase" && event.1 != "i05")
        .map(|event| (event.0, event.1))
        .collect();
    let per = |user: &str| had.iter().filter(|pair| pair.0 == user).count().min(4);
    let users: BTreeSet<&String> = had.iter().map(|pair| &pair.0).collect();
    assert_eq!(
        all.num_rows(),
        users.iter().map(|user| per(user)).sum::<usize>()
    );
    let pairs: Vec<(String, String)> = texts(&all, "user_id")
        .into_iter()
        .zip(texts(&all, "item_id"))
        .collect();
    assert!(pairs.iter().all(|pair| had.contains(pair)));
    let probability = numbers(&all, "probability");
    let cut = probability.iter().flatten().copied().fold(0.0, f32::max) / 2.0;
    let typed = cut.to_string();
    let (_, likely) = batch(
        folder.path(),
        "buy-again",
        &["--min-probability", &typed, "--k", "4"],
    );
    assert_eq!(
        likely.num_rows(),
        probability
            .iter()
            .flatten()
            .filter(|&&found| found >= cut)
            .count()
    );
    assert!(likely.num_rows() > 0 && likely.num_rows() < all.num_rows());
}

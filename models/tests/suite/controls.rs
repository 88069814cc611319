//! How requests have answers reranked: limits, diversity, rotation and a threshold of relevance.

use crate::common::branded_shop::{
    recommend, recommended_items, served_shop, shop_with_rule, with_controls,
};
use crate::common::served::items_of;
use aisle_data::DAY_MILLIS;
use aisle_models::{Controls, RankedItem, RequestContext, Rule};
use std::collections::BTreeSet;

const TWO_OF_A_BRAND: Controls = Controls {
    max_per_brand: Some(2),
    max_per_category: None,
    diversity: None,
    rotation: None,
    min_relevance: None,
};

#[test]
fn an_answer_holds_no_more_of_a_brand_than_the_limit() {
    let answer = recommend(&served_shop(), 6, with_controls(TWO_OF_A_BRAND));
    let items = items_of(&answer);
    let count_of = |brand| items.iter().filter(|&&item| item / 10 == brand).count();
    assert_eq!([0, 1, 2].map(count_of), [2, 2, 2]);
}

#[test]
fn items_keep_their_reasons_when_they_are_reranked() {
    let answer = recommend(&served_shop(), 6, with_controls(TWO_OF_A_BRAND));
    assert!(answer.items.iter().all(|ranked| !ranked.reasons.is_empty()));
}

#[test]
fn what_limits_leave_out_is_not_counted_as_eligible() {
    let answer = recommend(&served_shop(), 10, with_controls(TWO_OF_A_BRAND));
    assert_eq!((answer.items.len(), answer.eligible), (6, 6));
}

#[test]
fn the_stricter_limit_of_a_rule_and_a_request_counts() {
    let shop = shop_with_rule(Rule {
        max_per_brand: Some(1),
        ..Rule::default()
    });
    let answer = recommend(&shop, 10, with_controls(TWO_OF_A_BRAND));
    assert_eq!(answer.items.len(), 3);
}

fn items_with_diversity(diversity: f32) -> Vec<u32> {
    let controls = Controls {
        diversity: Some(diversity),
        ..Controls::default()
    };
    items_of(&recommend(&served_shop(), 6, with_controls(controls)))
}

#[test]
fn no_diversity_is_the_order_of_relevance() {
    assert_eq!(
        items_with_diversity(0.0),
        recommended_items(&served_shop(), 6)
    );
}

#[test]
fn with_full_diversity_the_first_items_are_of_different_categories() {
    let items = items_with_diversity(1.0);
    let categories: BTreeSet<u32> = items[..3].iter().map(|item| item % 3).collect();
    assert_eq!(categories.len(), 3, "{items:?}");
}

#[test]
fn items_below_the_relevance_threshold_are_left_out() {
    let all = recommend(&served_shop(), 20, RequestContext::default());
    let least = 0.5 * all.items[0].score;
    let is_relevant = |ranked: &&RankedItem| ranked.source == all.source && ranked.score >= least;
    let expected = all.items.iter().filter(is_relevant).count();
    let controls = Controls {
        min_relevance: Some(0.5),
        ..Controls::default()
    };
    let relevant = recommend(&served_shop(), 20, with_controls(controls));
    assert_eq!(
        (relevant.items.len(), relevant.eligible),
        (expected, expected)
    );
}

fn items_with_rotation(day: i64, viewer: &str) -> Vec<u32> {
    let controls = Controls {
        rotation: Some(0.8),
        ..Controls::default()
    };
    let context = RequestContext {
        time: Some(day * DAY_MILLIS),
        viewer: viewer.into(),
        ..with_controls(controls)
    };
    items_of(&recommend(&served_shop(), 8, context))
}

#[test]
fn rotation_is_the_same_for_a_viewer_on_a_day() {
    assert_eq!(items_with_rotation(1, "ada"), items_with_rotation(1, "ada"));
}

#[test]
fn rotation_changes_from_day_to_day() {
    let first_day = items_with_rotation(1, "ada");
    assert!((2..12).any(|day| items_with_rotation(day, "ada") != first_day));
}

#[test]
fn rotation_changes_from_viewer_to_viewer() {
    assert!((1..12).any(|day| items_with_rotation(day, "ada") != items_with_rotation(day, "bea")));
}

//! Complements: what is bought together in the shop, and how many shoppers must stand behind it.

use crate::common::home_and_tools::{served_shop, training_data};
use crate::common::served::cart_request;
use aisle_models::{CandidateSource, Complements, Fit};

#[test]
fn a_cup_is_completed_by_the_saucer_that_always_comes_with_it() {
    let answer = served_shop().cross_sell(&cart_request(&[0], 3));
    assert_eq!(answer.source, CandidateSource::CrossSell);
    assert_eq!(answer.items[0].item, 5);
}

#[test]
fn the_evidence_of_a_pair_counts_its_orders_and_shoppers() {
    let shop = served_shop();
    let evidence = shop.models().complements().evidence(&[0], 5);
    assert_eq!((evidence[0].orders, evidence[0].shoppers), (60, 20));
}

/// Every pair of the shop has 20 shoppers or fewer.
#[test]
fn pairs_below_the_support_in_distinct_shoppers_are_never_stored() {
    let strict = Complements {
        min_shoppers: 21,
        ..Complements::default()
    };
    let strict = strict.fit(&training_data().training(), &()).unwrap();
    assert_eq!(strict.pairs(), 0);
    assert!(strict.suppressed > 0);
}

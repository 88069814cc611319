//! A shop whose log names orders but no shoppers: its orders stand in for them.

use crate::common::algorithms::als;
use crate::common::home_and_tools::hyperparameters;
use crate::common::logs::purchases;
use crate::common::served::{ServedVersion, cart_request, fit};
use crate::common::{dataset, written_and_loaded};
use aisle_data::{Catalog, NONE};
use aisle_models::{CandidateSource, Personal, UserRequest, Version};
use std::sync::{Arc, LazyLock};

/// A hundred orders of three items each, as a server loads them.
fn served_shop() -> ServedVersion {
    static LOADED: LazyLock<Arc<Version>> = LazyLock::new(|| {
        let events: Vec<(u32, u32, u32, i64)> = (0..300)
            .map(|number| (NONE, (number * 7 + number / 3) % 15, number / 3, 0))
            .collect();
        let data = dataset(purchases(0, 15, &events), Catalog::unknown(15), Vec::new());
        let mut version = fit(&data, hyperparameters(Personal::Als(als())));
        Arc::new(written_and_loaded(&mut version))
    });
    ServedVersion::new(LOADED.clone())
}

#[test]
fn a_shopper_without_history_gets_best_sellers() {
    let request = UserRequest {
        k: 5,
        ..UserRequest::default()
    };
    let answer = served_shop().recommend_for_user(&request);
    assert_eq!(answer.source, CandidateSource::Popular);
}

#[test]
fn recent_events_are_answered_by_the_personal_model() {
    let request = UserRequest {
        recent: vec![(3, 1.0)],
        k: 5,
        ..UserRequest::default()
    };
    let answer = served_shop().recommend_for_user(&request);
    assert_eq!(answer.source, CandidateSource::Personal);
}

#[test]
fn a_cart_is_completed_in_full() {
    let answer = served_shop().cross_sell(&cart_request(&[3], 5));
    assert_eq!(answer.items.len(), 5);
}

//! Items that came since a version was fitted: they get rows when the version is loaded, and a
//! place by their content, without a new fit.

use crate::common::algorithms::{fast_algorithms, two_tower};
use crate::common::empty_registry;
use crate::common::home_and_tools::{ITEMS, USERS, fit_shop};
use crate::common::served::{
    ServedVersion, cart_request, item_request, items_of, reorder_request, scored_items_of,
    session_request, user_request,
};
use aisle_data::NewItem;
use aisle_models::{
    Answer, CartRequest, ItemChange, ItemChanges, ItemFilter, ItemUpdates, Personal, UserRequest,
    Version,
};
use std::sync::{Arc, LazyLock};

/// A cup that can be bought.
const NEW_CUP: &str = "i9001";
/// A hammer that is out of stock.
const NEW_HAMMER: &str = "i9002";
/// The row of [`NEW_CUP`]: new items come after those of the version, by ascending id.
const CUP_ROW: u32 = ITEMS;
/// The row of [`NEW_HAMMER`].
const HAMMER_ROW: u32 = ITEMS + 1;
/// All items, those that came since included.
const ALL: usize = ITEMS as usize + 2;

/// A version loaded without new items, then with those of [`changes`], then without them again.
/// Each load may share the catalogue of those before it.
struct LoadedVersion {
    algorithm: &'static str,
    before: ServedVersion,
    after: ServedVersion,
    again: ServedVersion,
}

/// Every algorithm, fitted once for all tests of this file.
static VERSIONS: LazyLock<Vec<LoadedVersion>> = LazyLock::new(|| {
    let two_tower = Personal::TwoTower(two_tower());
    let algorithms = fast_algorithms().into_iter().chain([two_tower]);
    algorithms.map(load_three_times).collect()
});

/// Every version with its new items, and the name of its algorithm.
fn loaded_with_new_items() -> impl Iterator<Item = (&'static str, &'static ServedVersion)> {
    let versions = VERSIONS.iter();
    versions.map(|version| (version.algorithm, &version.after))
}

fn load_three_times(personal: Personal) -> LoadedVersion {
    let algorithm = personal.algorithm();
    let (_folder, registry) = empty_registry();
    let name = registry.publish("shop", &mut fit_shop(personal)).unwrap();
    let load = |changes: &ItemChanges, shared: &[&Version]| {
        registry
            .verify_with("shop", &name, changes, shared)
            .unwrap()
    };
    let before = load(&ItemChanges::default(), &[]);
    let after = load(&changes(), &[&before]);
    let again = load(&ItemChanges::default(), &[&after, &before]);
    LoadedVersion {
        algorithm,
        before: ServedVersion::new(before),
        after: ServedVersion::new(after).with_item_changes(&changes()),
        again: ServedVersion::new(again),
    }
}

/// Two new items, and news of an item that the version knows.
fn changes() -> ItemChanges {
    let in_category = |category: &str| NewItem {
        title: Some("Newly come".into()),
        category: Some(category.into()),
        currency: Some("EUR".into()),
        attributes: [("no such column".to_string(), "x".to_string())].into(),
        ..NewItem::default()
    };
    let cup = ItemChange {
        price: Some(1.45),
        available: None,
    };
    let hammer = ItemChange {
        price: None,
        available: Some(false),
    };
    let mut changes = ItemChanges::default();
    changes.add(ItemUpdates {
        items: [(NEW_CUP.into(), cup), (NEW_HAMMER.into(), hammer)].into(),
        new: [
            (NEW_CUP.into(), in_category("Home > Cups")),
            (NEW_HAMMER.into(), in_category("Tools > Hammers")),
            ("i0003".into(), in_category("Lost")),
        ]
        .into(),
        ..ItemUpdates::default()
    });
    changes
}

#[test]
fn versions_share_the_items_and_the_catalogue_that_they_have_in_common() {
    for version in VERSIONS.iter() {
        let algorithm = version.algorithm;
        let (before, again) = (version.before.models(), version.again.models());
        assert!(Arc::ptr_eq(&again.items, &before.items), "{algorithm}");
        assert!(Arc::ptr_eq(&again.catalog, &before.catalog), "{algorithm}");
    }
}

#[test]
fn new_items_leave_versions_that_are_loaded_as_they_are() {
    for version in VERSIONS.iter() {
        let (algorithm, models) = (version.algorithm, version.before.models());
        let rows = (models.items.len(), models.catalog.len());
        assert_eq!(rows, (ITEMS as usize, ITEMS as usize), "{algorithm}");
    }
}

#[test]
fn new_items_get_rows_after_those_of_the_version() {
    for (algorithm, after) in loaded_with_new_items() {
        let items = &after.models().items;
        assert_eq!(items.len(), ALL, "{algorithm}");
        let rows = [NEW_CUP, NEW_HAMMER].map(|id| items.get(id));
        assert_eq!(rows, [Some(CUP_ROW), Some(HAMMER_ROW)], "{algorithm}");
    }
}

#[test]
fn what_the_version_knows_of_an_item_stands() {
    for (algorithm, after) in loaded_with_new_items() {
        let category = after.models().catalog.category.get(3);
        assert_eq!(category, Some("Home > Cups"), "{algorithm}");
    }
}

/// Two towers read no features here, and best sellers none at all.
#[test]
fn models_that_read_content_can_recommend_new_items() {
    for (algorithm, after) in loaded_with_new_items() {
        let reads_content = !matches!(algorithm, "two-tower" | "popular");
        let is_recommendable = after.models().recommendable().contains(CUP_ROW);
        assert_eq!(is_recommendable, reads_content, "{algorithm}");
    }
}

#[test]
fn only_items_of_the_fit_count_as_fitted() {
    for (algorithm, after) in loaded_with_new_items() {
        let is_fitted = [NEW_CUP, "i0003"].map(|id| after.models().is_fitted(id));
        assert_eq!(is_fitted, [false, true], "{algorithm}");
    }
}

/// The answer that holds every eligible item but those excluded.
fn recommend_all(shop: &ServedVersion, user: u32, exclude: &[u32]) -> Answer {
    let filter = ItemFilter {
        exclude: exclude.to_vec(),
        ..ItemFilter::default()
    };
    shop.recommend_for_user(&UserRequest {
        filter,
        ..user_request(user, ALL)
    })
}

#[test]
fn new_items_are_recommended_while_they_are_in_stock() {
    for (algorithm, after) in loaded_with_new_items() {
        for user in 0..USERS {
            let items = items_of(&recommend_all(after, user, &[]));
            let are_answered = [CUP_ROW, HAMMER_ROW].map(|item| items.contains(&item));
            assert_eq!(are_answered, [true, false], "{algorithm}, user {user}");
        }
    }
}

/// Items without events share the room that new items have, and are placed anew. A blend weighs its
/// members by the deviation of their scores over all items, the new ones included.
#[test]
fn new_items_change_no_score_of_items_with_events() {
    let without_blend = |version: &&LoadedVersion| version.algorithm != "blend";
    let without_events = [20, 21, CUP_ROW];
    for version in VERSIONS.iter().filter(without_blend) {
        for user in 0..USERS {
            let scores = |shop| scored_items_of(&recommend_all(shop, user, &without_events));
            let (before, after) = (scores(&version.before), scores(&version.after));
            assert_eq!(after, before, "{}, user {user}", version.algorithm);
        }
    }
}

#[test]
fn a_new_item_has_better_versions_of_its_category() {
    for (algorithm, after) in loaded_with_new_items() {
        let better = items_of(&after.upsell(&item_request(CUP_ROW, ALL)));
        assert!(!better.is_empty(), "{algorithm}");
        let category = |&item: &u32| after.models().catalog.category.get(item);
        let are_cups = better
            .iter()
            .all(|item| category(item) == Some("Home > Cups"));
        assert!(are_cups, "{algorithm}: {better:?}");
    }
}

#[test]
fn a_new_item_is_a_better_version_of_a_cheaper_one() {
    for (algorithm, after) in loaded_with_new_items() {
        let better = items_of(&after.upsell(&item_request(0, ALL)));
        assert!(better.contains(&CUP_ROW), "{algorithm}: {better:?}");
    }
}

#[test]
fn every_item_in_stock_is_listed_as_similar_to_a_new_one() {
    for (algorithm, after) in loaded_with_new_items() {
        let similar = after.similar_items(&item_request(CUP_ROW, ALL)).items;
        assert_eq!(similar.len(), 21, "{algorithm}");
    }
}

#[test]
fn a_cart_with_a_new_item_is_completed_outside_of_its_category() {
    for (algorithm, after) in loaded_with_new_items() {
        let request = CartRequest {
            user: Some(2),
            ..cart_request(&[CUP_ROW, 5], ALL)
        };
        let complements = items_of(&after.cross_sell(&request));
        let no_cup_and_no_saucer = complements.iter().all(|&item| item > 9);
        assert!(no_cup_and_no_saucer, "{algorithm}: {complements:?}");
    }
}

#[test]
fn a_visit_that_clicked_a_new_item_is_answered_in_full() {
    for (algorithm, after) in loaded_with_new_items() {
        let answer = after.recommend_for_session(&session_request(&[CUP_ROW], 5));
        assert_eq!(answer.items.len(), 5, "{algorithm}");
    }
}

#[test]
fn new_items_in_stock_are_ranked_with_the_others() {
    for (algorithm, after) in loaded_with_new_items() {
        let ranked = after.rank_items(&user_request(2, 3), &[CUP_ROW, HAMMER_ROW, 0]);
        assert_eq!(ranked.items.len(), 2, "{algorithm}");
    }
}

#[test]
fn new_items_are_nobodys_reorder() {
    for (algorithm, after) in loaded_with_new_items() {
        let reorders = items_of(&after.buy_again(&reorder_request(2, ALL)));
        assert!(
            reorders.iter().all(|&item| item < 20),
            "{algorithm}: {reorders:?}"
        );
    }
}

//! Items that are in the catalogue when models are fitted, but that nobody has bought: the personal
//! model places them by their content.

use crate::common::algorithms::{als, blend, local_ridge, low_pass};
use crate::common::home_and_tools::{
    COLD_CUP, COLD_HAMMER, USERS, hyperparameters, shop_with_cold_items,
};
use crate::common::served::{ServedVersion, fit, item_request, user_request};
use crate::common::written_and_loaded;
use aisle_models::{CandidateSource, Content, History, Hyperparameters, ItemKnn, Personal};
use std::sync::LazyLock;

/// One personal model on the shop with two cold items.
struct FittedShop {
    algorithm: &'static str,
    /// As it was fitted, and as a server loads it.
    fitted_and_loaded: [ServedVersion; 2],
}

/// Algorithms that can place cold items, fitted once for all tests of this file.
static SHOPS: LazyLock<Vec<FittedShop>> = LazyLock::new(|| {
    let data = shop_with_cold_items();
    let fit_shop = |personal: Personal| {
        let algorithm = personal.algorithm();
        let mut version = fit(&data, hyperparameters(personal));
        let loaded = written_and_loaded(&mut version);
        FittedShop {
            algorithm,
            fitted_and_loaded: [version, loaded].map(ServedVersion::new),
        }
    };
    placing_algorithms().into_iter().map(fit_shop).collect()
});

fn placing_algorithms() -> Vec<Personal> {
    vec![
        Personal::Als(als()),
        Personal::LowPass(low_pass()),
        Personal::LocalRidge(local_ridge()),
        Personal::ItemKnn(ItemKnn::default()),
        Personal::Blend(blend()),
    ]
}

/// Every shop as it was fitted and as it was loaded, with the name of its algorithm.
fn shops() -> impl Iterator<Item = (&'static str, &'static ServedVersion)> {
    let with_name =
        |shop: &'static FittedShop| shop.fitted_and_loaded.iter().map(|s| (shop.algorithm, s));
    SHOPS.iter().flat_map(with_name)
}

/// Hyperparameters that leave cold items where they are.
fn without_content(personal: Personal) -> Hyperparameters {
    let content = Content {
        share: 0.0,
        ..Content::default()
    };
    Hyperparameters {
        content,
        ..hyperparameters(personal)
    }
}

#[test]
fn the_manifest_counts_cold_items() {
    for (algorithm, shop) in shops() {
        assert_eq!(shop.version.manifest.counts.cold_items, 2, "{algorithm}");
    }
}

#[test]
fn cold_items_can_be_recommended() {
    for (algorithm, shop) in shops() {
        let recommendable = shop.models().recommendable();
        let are_recommendable = [COLD_CUP, COLD_HAMMER].map(|item| recommendable.contains(item));
        assert_eq!(are_recommendable, [true; 2], "{algorithm}");
    }
}

#[test]
fn a_cold_item_comes_first_for_shoppers_of_its_category() {
    for (algorithm, shop) in shops() {
        for user in 0..USERS {
            let answer = shop.rank_items(&user_request(user, 2), &[COLD_CUP, COLD_HAMMER]);
            let expected = match user % 2 {
                0 => COLD_CUP,
                _ => COLD_HAMMER,
            };
            let first = (answer.source, answer.items[0].item);
            let expected = (CandidateSource::Personal, expected);
            assert_eq!(first, expected, "{algorithm}, shopper {user}");
        }
    }
}

#[test]
fn a_cold_item_is_like_items_of_its_half_of_the_shop() {
    for (algorithm, shop) in shops() {
        let similar = shop.similar_items(&item_request(COLD_CUP, 3)).items;
        let is_for_the_home = similar.iter().all(|ranked| ranked.item < 10);
        assert!(is_for_the_home, "{algorithm}: {similar:?}");
    }
}

#[test]
fn without_content_cold_items_cannot_be_recommended() {
    let data = shop_with_cold_items();
    for personal in placing_algorithms() {
        let algorithm = personal.algorithm();
        let shop = fit(&data, without_content(personal));
        let recommendable = shop.models.recommendable();
        assert!(!recommendable.contains(COLD_CUP), "{algorithm}");
    }
}

/// Content touches nothing that was learned: known items have the same scores, bit for bit.
#[test]
fn cold_items_change_no_score_of_other_items() {
    let data = shop_with_cold_items();
    let known_items: Vec<u32> = (0..COLD_CUP).collect();
    for personal in [
        Personal::Als(als()),
        Personal::LowPass(low_pass()),
        Personal::LocalRidge(local_ridge()),
    ] {
        let with = fit(&data, hyperparameters(personal.clone())).models;
        let without = fit(&data, without_content(personal)).models;
        for user in 0..USERS {
            let stored = with.history(user);
            // As a stranger, whose history is folded in, and as the known shopper.
            for user in [None, Some(user)] {
                let history = History { user, ..stored };
                let scores = with.personal().score(history, &known_items);
                assert_eq!(scores, without.personal().score(history, &known_items));
            }
        }
    }
}

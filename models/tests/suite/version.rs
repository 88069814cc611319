//! A version on disk: it comes back as it was fitted, and the same data give the same bytes.

use crate::common::algorithms::{als, blend, fast_algorithms};
use crate::common::home_and_tools::{USERS, fit_shop};
use crate::common::served::{
    ServedVersion, cart_request, item_request, reorder_request, session_request, user_request,
};
use crate::common::{empty_registry, written_and_loaded};
use aisle_models::{Blend, CartRequest, ItemRequest, Personal, Popular, UserRequest};
use std::ffi::OsString;
use std::path::Path;
use std::sync::LazyLock;

/// Items that somebody buys.
const BOUGHT: u32 = 20;
const K: usize = 9;

/// A version as it was fitted, and as it comes back from a registry.
struct RoundTrip {
    algorithm: String,
    fitted: ServedVersion,
    loaded: ServedVersion,
}

/// Every fast algorithm, a blend with best sellers, and a blend that learned its weights, fitted
/// once for all tests of this file.
static ROUND_TRIPS: LazyLock<Vec<RoundTrip>> = LazyLock::new(|| {
    let with_popular = Blend {
        members: vec![Personal::Als(als()), Personal::Popular(Popular::default())],
        ..blend()
    };
    let with_learned_weights = Blend {
        weights: Vec::new(),
        ..blend()
    };
    let blends = [with_popular, with_learned_weights].map(Personal::Blend);
    let round_trip = |personal: Personal| {
        let algorithm = format!("{personal:?}");
        let mut fitted = fit_shop(personal);
        let loaded = ServedVersion::new(written_and_loaded(&mut fitted));
        let fitted = ServedVersion::new(fitted);
        RoundTrip {
            algorithm,
            fitted,
            loaded,
        }
    };
    let algorithms = fast_algorithms().into_iter().chain(blends);
    algorithms.map(round_trip).collect()
});

/// The name of each algorithm with its version as it was fitted and as it was loaded.
fn round_trips()
-> impl Iterator<Item = (&'static str, &'static ServedVersion, &'static ServedVersion)> {
    let round_trips = ROUND_TRIPS.iter();
    round_trips.map(|version| (version.algorithm.as_str(), &version.fitted, &version.loaded))
}

#[test]
fn a_loaded_manifest_is_the_one_that_was_written() {
    for (algorithm, fitted, loaded) in round_trips() {
        assert_eq!(
            loaded.version.manifest, fitted.version.manifest,
            "{algorithm}"
        );
    }
}

#[test]
fn a_manifest_holds_golden_requests() {
    for (algorithm, _, loaded) in round_trips() {
        assert!(loaded.version.manifest.golden.len() > 20, "{algorithm}");
    }
}

#[test]
fn a_loaded_version_recommends_the_same_to_users() {
    for (algorithm, fitted, loaded) in round_trips() {
        for user in 0..USERS {
            let request = UserRequest {
                exclude_purchased: true,
                ..user_request(user, K)
            };
            let answer = loaded.recommend_for_user(&request);
            assert_eq!(answer, fitted.recommend_for_user(&request), "{algorithm}");
        }
    }
}

#[test]
fn a_loaded_version_completes_the_carts_of_shoppers_in_the_same_way() {
    for (algorithm, fitted, loaded) in round_trips() {
        for user in 0..USERS {
            let request = CartRequest {
                user: Some(user),
                ..cart_request(&[3, 12], K)
            };
            let answer = loaded.cross_sell(&request);
            assert_eq!(answer, fitted.cross_sell(&request), "{algorithm}");
        }
    }
}

#[test]
fn a_loaded_version_completes_the_carts_of_strangers_in_the_same_way() {
    for (algorithm, fitted, loaded) in round_trips() {
        for item in 0..BOUGHT {
            let request = cart_request(&[item, 0], K);
            let answer = loaded.cross_sell(&request);
            assert_eq!(answer, fitted.cross_sell(&request), "{algorithm}");
        }
    }
}

#[test]
fn a_loaded_version_expects_the_same_reorders() {
    for (algorithm, fitted, loaded) in round_trips() {
        for user in 0..USERS {
            let request = reorder_request(user, K);
            let answer = loaded.buy_again(&request);
            assert_eq!(answer, fitted.buy_again(&request), "{algorithm}");
        }
    }
}

#[test]
fn a_loaded_version_has_the_same_upsells_for_shoppers() {
    for (algorithm, fitted, loaded) in round_trips() {
        for user in 0..USERS {
            let request = ItemRequest {
                user: Some(user),
                ..item_request(user % BOUGHT, K)
            };
            assert_eq!(
                loaded.upsell(&request),
                fitted.upsell(&request),
                "{algorithm}"
            );
        }
    }
}

#[test]
fn a_loaded_version_has_the_same_upsells_for_strangers() {
    for (algorithm, fitted, loaded) in round_trips() {
        for item in 0..BOUGHT {
            let request = item_request(item, K);
            assert_eq!(
                loaded.upsell(&request),
                fitted.upsell(&request),
                "{algorithm}"
            );
        }
    }
}

#[test]
fn a_loaded_version_finds_the_same_similar_items() {
    for (algorithm, fitted, loaded) in round_trips() {
        for item in 0..BOUGHT {
            let request = item_request(item, K);
            let answer = loaded.similar_items(&request);
            assert_eq!(answer, fitted.similar_items(&request), "{algorithm}");
        }
    }
}

#[test]
fn a_loaded_version_answers_visits_in_the_same_way() {
    for (algorithm, fitted, loaded) in round_trips() {
        for item in 0..BOUGHT {
            let request = session_request(&[item, 0], K);
            let answer = loaded.recommend_for_session(&request);
            assert_eq!(
                answer,
                fitted.recommend_for_session(&request),
                "{algorithm}"
            );
        }
    }
}

/// The files of a folder by name.
fn files(folder: &Path) -> Vec<(OsString, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(Result::unwrap)
        .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// The digest at the end of a version's name is that of its manifest.
#[test]
fn the_same_data_give_the_same_bytes_and_digest_at_any_number_of_threads() {
    let published_on = |threads: usize| {
        let (_folder, registry) = empty_registry();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut version = pool.install(|| fit_shop(Personal::Als(als())));
        let name = pool
            .install(|| registry.publish("shop", &mut version))
            .unwrap();
        let digest = name.rsplit('-').next().unwrap().to_string();
        let folder = registry.version_folder("shop", &name).unwrap();
        (digest, files(&folder))
    };
    assert_eq!(published_on(1), published_on(3));
}

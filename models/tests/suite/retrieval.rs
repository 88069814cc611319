//! How a version finds items: many of them by inverted lists, and neighbours in a cache.

use crate::common::category_shop::{of_kinds, two_tower};
use crate::common::empty_registry;
use crate::common::served::{ServedVersion, fit, item_request, user_request};
use aisle_data::NewItem;
use aisle_models::{
    Als, Answer, Hyperparameters, ItemChanges, ItemUpdates, LowPass, Personal, Registry, TwoTower,
    Version,
};
use std::sync::LazyLock;
use tempfile::TempDir;

const USERS: u32 = 400;
const MANY_ITEMS: u32 = 6000;

/// Two towers that search inverted lists from some number of items on.
fn with_lists_from(lists_from: usize) -> Version {
    let personal = Personal::TwoTower(TwoTower {
        epochs: 10,
        lists_from,
        ..two_tower()
    });
    let data = of_kinds(USERS, MANY_ITEMS, 40).dataset();
    fit(&data, Hyperparameters::of(personal))
}

/// A version with inverted lists as it was fitted and as a server loads it, and one that searches
/// exactly.
struct Versions {
    fitted: ServedVersion,
    loaded: ServedVersion,
    exact: ServedVersion,
    /// The name of the loaded version.
    name: String,
    registry: Registry,
    _folder: TempDir,
}

/// Fitted once for all tests of this file.
static VERSIONS: LazyLock<Versions> = LazyLock::new(|| {
    let (folder, registry) = empty_registry();
    let mut fitted = with_lists_from(MANY_ITEMS as usize);
    let name = registry.publish("shop", &mut fitted).unwrap();
    let loaded = registry.verify("shop", &name).unwrap();
    let exact = with_lists_from(MANY_ITEMS as usize + 1);
    let [fitted, loaded, exact] = [fitted, loaded, exact].map(ServedVersion::new);
    Versions {
        fitted,
        loaded,
        exact,
        name,
        registry,
        _folder: folder,
    }
});

#[test]
fn a_version_of_many_items_searches_few_of_its_inverted_lists() {
    let retrieval = VERSIONS.fitted.version.manifest.retrieval.as_ref().unwrap();
    let are_few = retrieval.probes < retrieval.lists / 4;
    assert!(retrieval.is_worthwhile() && are_few, "{retrieval:?}");
}

#[test]
fn a_version_of_fewer_items_searches_exactly() {
    assert!(VERSIONS.exact.version.manifest.retrieval.is_none());
}

#[test]
fn a_loaded_manifest_says_how_a_version_was_measured() {
    let [fitted, loaded] = [&VERSIONS.fitted, &VERSIONS.loaded].map(|served| {
        let retrieval = served.version.manifest.retrieval.as_ref().unwrap();
        (retrieval.lists, retrieval.probes, retrieval.shoppers)
    });
    assert_eq!(loaded, fitted);
}

#[test]
fn a_loaded_version_answers_from_lists_as_the_fitted_one() {
    for user in 0..USERS {
        let request = user_request(user, 20);
        let answer = VERSIONS.loaded.recommend_for_user(&request);
        assert_eq!(
            answer,
            VERSIONS.fitted.recommend_for_user(&request),
            "user {user}"
        );
    }
}

/// The first 20 items for a user, from inverted lists and from an exact search.
fn from_lists_and_exact(user: u32) -> [Answer; 2] {
    let request = user_request(user, 20);
    [&VERSIONS.loaded, &VERSIONS.exact].map(|served| served.recommend_for_user(&request))
}

#[test]
fn answers_from_lists_are_full() {
    for user in 0..USERS {
        let [from_lists, exact] = from_lists_and_exact(user);
        let found = (from_lists.items.len(), from_lists.eligible);
        assert_eq!(found, (20, exact.eligible), "user {user}");
    }
}

#[test]
fn lists_find_98_percent_of_what_an_exact_search_finds() {
    let (mut found, mut all) = (0, 0);
    for user in 0..USERS {
        let [from_lists, exact] = from_lists_and_exact(user);
        let items = exact.items.iter().map(|ranked| ranked.item);
        let is_found = |item: &u32| from_lists.items.iter().any(|ranked| ranked.item == *item);
        found += items.filter(is_found).count();
        all += exact.items.len();
    }
    assert!(found as f64 >= 0.98 * all as f64, "{found} of {all}");
}

/// The version is copied under the name that fits its changed manifest.
#[test]
fn a_manifest_that_says_other_lists_than_there_are_is_refused() {
    let Versions { registry, name, .. } = &*VERSIONS;
    let whole = registry.version_folder("shop", name).unwrap();
    let manifest = std::fs::read_to_string(whole.join("manifest.json")).unwrap();
    let retrieval = VERSIONS.fitted.version.manifest.retrieval.as_ref().unwrap();
    let [probes, other] = [0, 1].map(|more| format!("\"probes\": {}", retrieval.probes + more));
    assert_eq!(manifest.matches(&probes).count(), 1);
    let manifest = manifest.replace(&probes, &other);
    let (time, _) = name.rsplit_once('-').unwrap();
    let digest = blake3::hash(manifest.as_bytes()).to_hex();
    let changed_name = format!("{time}-{}", &digest[..12]);
    let changed = registry.version_folder("shop", &changed_name).unwrap();
    std::fs::create_dir(&changed).unwrap();
    for file in ["items.parquet", "users.parquet", "weights.safetensors"] {
        std::fs::copy(whole.join(file), changed.join(file)).unwrap();
    }
    std::fs::write(changed.join("manifest.json"), manifest).unwrap();
    let refused = registry
        .verify("shop", &changed_name)
        .err()
        .unwrap()
        .to_string();
    let names_lists = refused.contains("lists of items");
    assert!(
        names_lists && refused.contains("as the manifest says"),
        "{refused}"
    );
}

const ITEMS: u32 = 600;
const NEW_ITEMS: u32 = 30;

/// Thirty new items of the same categories as the first thirty.
fn new_items() -> ItemChanges {
    let category = of_kinds(USERS, ITEMS, 20).catalog.category;
    let new_item = |row: u32| NewItem {
        category: category.get(row).map(str::to_string),
        ..NewItem::default()
    };
    let mut changes = ItemChanges::default();
    changes.add(ItemUpdates {
        new: (0..NEW_ITEMS)
            .map(|row| (format!("new{row:02}"), new_item(row)))
            .collect(),
        ..ItemUpdates::default()
    });
    changes
}

/// Fits a version with vectors, and checks that the neighbours of its items are those of a search
/// when they are found for the first time and when they come from the cache, without new items and
/// with them.
fn assert_cached_neighbours_are_those_of_a_search(personal: Personal) {
    let data = of_kinds(USERS, ITEMS, 20).dataset();
    let mut version = fit(&data, Hyperparameters::of(personal));
    let (_folder, registry) = empty_registry();
    let name = registry.publish("shop", &mut version).unwrap();
    for changes in [ItemChanges::default(), new_items()] {
        let loaded = registry.verify_with("shop", &name, &changes, &[]).unwrap();
        let served = ServedVersion::new(loaded).with_item_changes(&changes);
        let new_items = changes.new.len();
        for item in 0..ITEMS {
            let similar = |k: usize| served.similar_items(&item_request(item, k)).items;
            // More neighbours than the cache keeps are always searched for.
            let (first, cached, searched) = (similar(20), similar(20), similar(70));
            assert_eq!(first, searched[..20], "item {item}, {new_items} new ones");
            assert_eq!(cached, searched[..20], "item {item}, {new_items} new ones");
        }
    }
}

#[test]
fn cached_neighbours_of_als_are_those_of_a_search() {
    assert_cached_neighbours_are_those_of_a_search(Personal::Als(Als {
        factors: 8,
        ..Als::default()
    }));
}

#[test]
fn cached_neighbours_of_a_low_pass_are_those_of_a_search() {
    assert_cached_neighbours_are_those_of_a_search(Personal::LowPass(LowPass {
        factors: 8,
        ..LowPass::default()
    }));
}

#[test]
fn cached_neighbours_of_two_towers_are_those_of_a_search() {
    assert_cached_neighbours_are_those_of_a_search(Personal::TwoTower(TwoTower {
        epochs: 2,
        ..two_tower()
    }));
}

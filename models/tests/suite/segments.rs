//! Which shoppers are in which segment, on logs whose answer is known.

use crate::common::logs::{numbered_ids, purchase_type};
use crate::common::{dataset, empty_registry, written_and_loaded};
use aisle_data::{
    Catalog, DAY_MILLIS, DataConfig, Dataset, EventLog, EventRole, EventType, Labels,
};
use aisle_models::{
    Als, Hyperparameters, ModelError, Personal, Popular, Segment, Segments, SegmentsModel, Version,
};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A line of an order; below zero units are returned.
#[derive(Clone, Copy)]
struct OrderLine {
    user: u32,
    day: i64,
    item: u32,
    units: f32,
}

/// Items 0 to 5 are tea at 1, 2, … 6 a piece, 6 to 11 tools at the same prices.
const ITEMS: u32 = 12;

fn price_of(item: u32) -> f32 {
    1.0 + (item % 6) as f32
}

fn catalog() -> Catalog {
    let mut catalog = Catalog {
        given: true,
        ..Catalog::default()
    };
    for item in 0..ITEMS {
        let category = match item {
            0..6 => "Tea > Leaves",
            _ => "Tools > Hammers",
        };
        catalog.title.push(Some(&format!("Item {item}")));
        catalog.category.push(Some(category));
        catalog.price.push(price_of(item));
        catalog.currency.push(Some("EUR"));
        catalog.brand.push(None);
        catalog.available.push(true);
    }
    catalog
}

/// A shop of these order lines, with one order a shopper and day.
fn shop(users: usize, lines: &[OrderLine]) -> Dataset {
    let returns = EventType {
        name: "return".into(),
        role: EventRole::Return,
        weight: -1.0,
        half_life_days: None,
        rows: 0,
    };
    let order = |line: &OrderLine| line.user * 1000 + line.day as u32;
    let is_return = |line: &OrderLine| u8::from(line.units < 0.0);
    let log = EventLog {
        users: numbered_ids("u", users),
        items: numbered_ids("i", ITEMS as usize),
        types: vec![purchase_type(lines.len()), returns],
        user: lines.iter().map(|line| line.user).collect(),
        item: lines.iter().map(|line| line.item).collect(),
        kind: lines.iter().map(is_return).collect(),
        time: lines.iter().map(|line| line.day * DAY_MILLIS).collect(),
        order: lines.iter().map(order).collect(),
        quantity: lines.iter().map(|line| line.units.abs()).collect(),
        price: lines.iter().map(|line| price_of(line.item)).collect(),
        ..EventLog::default()
    };
    dataset(log, catalog(), Vec::new())
}

fn fit(data: &Dataset, personal: Personal, segments: Segments) -> Result<Version, ModelError> {
    let hyperparameters = Hyperparameters {
        segments,
        ..Hyperparameters::of(personal)
    };
    Version::fit(data, &DataConfig::default(), hyperparameters, &())
}

fn popular() -> Personal {
    Personal::Popular(Popular::default())
}

fn als() -> Personal {
    Personal::Als(Als {
        factors: 4,
        iterations: 5,
        ..Als::default()
    })
}

/// Conditions by the name of the segment.
fn conditions(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |&(name, text): &(&str, &str)| (name.to_string(), text.to_string());
    pairs.iter().map(owned).collect()
}

/// The segment of this name.
fn described<'a>(segments: &'a SegmentsModel, name: &str) -> &'a Segment {
    let number = segments.number(name).unwrap();
    segments.describe(number).unwrap()
}

/// Named segments of [`seven_shoppers`]: name, condition, and the shoppers for whom it holds.
const NAMED: [(&str, &str, &[u32]); 15] = [
    ("aged", "user.age = \"25-34\"", &[0, 5]),
    (
        "all but tea",
        "NOT user.favourite_category = Tea",
        &[1, 2, 6],
    ),
    ("anyone", "", &[0, 1, 2, 3, 4, 5, 6]),
    ("cheap", "user.price_band = low", &[0]),
    ("expensive", "user.price_band = high", &[1]),
    (
        "few items",
        "user.items = 1 AND user.orders > 1",
        &[3, 4, 5],
    ),
    ("gap", "user.gap_days = 20", &[3, 4, 5]),
    ("gone", "user.lapsed = true", &[2]),
    ("here", "user.days_since <= 0", &[0, 3, 4, 5]),
    (
        "long gone",
        "user.days_since > 59 AND user.days_since < 97",
        &[1, 2],
    ),
    (
        "mean",
        "user.mean_price > 3.8 AND user.mean_price < 3.9",
        &[0],
    ),
    ("old", "user.age >= 40", &[1, 3]),
    ("spend 27", "user.spend = 27", &[0]),
    ("spend 6", "user.spend = 6", &[1]),
    ("thrice", "user.orders = 3 OR user.orders = 0", &[0, 6]),
];

/// A shop of seven shoppers, the last of whom bought nothing.
fn seven_shoppers() -> Dataset {
    let line = |user, day, item, units| OrderLine {
        user,
        day,
        item,
        units,
    };
    let mut lines = vec![
        // Shopper 0 made three orders 10 days apart, the last as the log ends, and spent 2·1 + 1·1
        // + 4·6 = 27 on tea, mostly on the cheapest.
        line(0, 80, 0, 2.0),
        line(0, 90, 0, 1.0),
        line(0, 100, 5, 4.0),
        // Shopper 1 bought two hammers at 6 and returned one.
        line(1, 40, 11, 2.0),
        line(1, 41, 11, -1.0),
        // Shopper 2 came twice within two days, then for 96 days no more.
        line(2, 2, 2, 1.0),
        line(2, 4, 8, 1.0),
        line(2, 4, 9, 1.0),
    ];
    // Shoppers 3 to 5 come every 20 days, and make that the usual gap.
    let visits = (3..6).flat_map(|user| (0..6).map(move |visit| line(user, visit * 20, 2, 1.0)));
    lines.extend(visits);
    let ages = [
        Some("25-34"),
        Some("45"),
        None,
        Some("70"),
        None,
        Some("25-34"),
        Some("18"),
    ];
    let mut age = Labels::default();
    ages.into_iter().for_each(|value| age.push(value));
    Dataset {
        user_attributes: vec![("age".into(), age)],
        ..shop(7, &lines)
    }
}

/// The named segments of seven shoppers, as they were fitted and as a server loads them.
fn named_segments() -> impl Iterator<Item = &'static SegmentsModel> {
    static VERSIONS: LazyLock<[Version; 2]> = LazyLock::new(|| {
        let settings = Segments {
            learned: 0,
            min_shoppers: 1,
            named: conditions(&NAMED.map(|(name, text, _)| (name, text))),
            ..Segments::default()
        };
        let mut fitted = fit(&seven_shoppers(), popular(), settings).unwrap();
        let loaded = written_and_loaded(&mut fitted);
        [fitted, loaded]
    });
    VERSIONS.iter().map(|version| &version.models.segments)
}

#[test]
fn named_segments_are_listed_by_name() {
    for segments in named_segments() {
        assert!(segments.names().eq(NAMED.map(|(name, ..)| name)));
    }
}

#[test]
fn a_named_segment_holds_exactly_the_shoppers_of_its_condition() {
    for segments in named_segments() {
        for (name, text, members) in NAMED {
            let number = segments.number(name).unwrap();
            assert_eq!(segments.members(number), members, "{name}: {text}");
        }
    }
}

#[test]
fn a_named_segment_is_described_by_its_size_and_condition() {
    for segments in named_segments() {
        for (name, text, members) in NAMED {
            let segment = described(segments, name);
            let found = (segment.shoppers, segment.condition.as_deref());
            assert_eq!(found, (members.len(), Some(text)), "{name}");
        }
    }
}

#[test]
fn a_shopper_knows_every_segment_that_holds_them() {
    for segments in named_segments() {
        let name = |&number: &u32| segments.describe(number).unwrap().name.as_str();
        let names: Vec<&str> = segments.of(0).iter().map(name).collect();
        assert_eq!(
            names,
            [
                "aged", "anyone", "cheap", "here", "mean", "spend 27", "thrice"
            ]
        );
    }
}

#[test]
fn a_shopper_that_does_not_exist_is_in_no_segment() {
    for segments in named_segments() {
        assert!(segments.of(7).is_empty());
    }
}

#[test]
fn a_segment_is_described_by_the_median_orders_recency_and_spend_of_its_shoppers() {
    for segments in named_segments() {
        let segment = described(segments, "here");
        let found = (segment.orders, segment.days_since, segment.spend);
        assert_eq!(found, (6.0, Some(0.0), Some(18.0)));
    }
}

/// Two groups of 60, the first with tea and the second with tools; each shopper has four of the six
/// items of their group. The first group comes `intensity` times as often as the second, and takes
/// `intensity` times as much.
fn two_groups(intensity: i64) -> Vec<OrderLine> {
    let mut lines = Vec::new();
    for user in 0..120u32 {
        let (visits, first_item, units) = match user < 60 {
            true => (2 * intensity, 0, intensity as f32),
            false => (2, 6, 1.0),
        };
        for visit in 0..visits {
            for nth in 0..2 {
                lines.push(OrderLine {
                    user,
                    day: 100 - visit * 3 - i64::from(user % 5),
                    item: (user + 2 * visit as u32 + nth) % 6 + first_item,
                    units,
                });
            }
        }
    }
    lines
}

/// Segments of two groups with the intensity of the first: learned by worth and taste, with a model
/// that has vectors and with one that has none, and by taste alone, which only a model with vectors
/// knows. They are fitted once for all tests of this file.
fn planted_segments() -> &'static [(i64, SegmentsModel)] {
    static PLANTED: LazyLock<[(i64, SegmentsModel); 3]> = LazyLock::new(|| {
        let settings = Segments {
            learned: 2,
            ..Segments::default()
        };
        [(5, als()), (5, popular()), (1, als())].map(|(intensity, personal)| {
            let data = shop(120, &two_groups(intensity));
            let version = fit(&data, personal, settings.clone()).unwrap();
            (intensity, version.models.segments)
        })
    });
    &*PLANTED
}

/// Those whose groups differ in worth.
fn planted_by_worth() -> impl Iterator<Item = &'static SegmentsModel> {
    let by_worth = planted_segments().iter().filter(|planted| planted.0 > 1);
    by_worth.map(|(_, segments)| segments)
}

/// The only segment of a shopper, or the first.
fn segment_of(segments: &SegmentsModel, user: u32) -> &Segment {
    segments.describe(segments.of(user)[0]).unwrap()
}

#[test]
fn planted_groups_come_out_as_learned_segments() {
    for (intensity, segments) in planted_segments() {
        let mut groups = [0, 1].map(|number| segments.members(number));
        groups.sort();
        let expected = [(0..60).collect::<Vec<u32>>(), (60..120).collect()];
        assert_eq!(groups, expected, "intensity {intensity}");
    }
}

#[test]
fn a_learned_segment_is_named_by_its_favourite_category() {
    for (_, segments) in planted_segments() {
        let names = [0, 60].map(|user| segment_of(segments, user).name.as_str());
        assert!(
            names[0].ends_with("Tea") && names[1].ends_with("Tools"),
            "{names:?}"
        );
    }
}

#[test]
fn learned_segments_that_differ_in_worth_are_named_by_it() {
    for segments in planted_by_worth() {
        let names = [0, 60].map(|user| segment_of(segments, user).name.as_str());
        let expected = [
            "frequent, high spend, Tea",
            "new, occasional, low spend, Tools",
        ];
        assert_eq!(names, expected);
    }
}

#[test]
fn the_segment_of_the_highest_worth_is_the_first() {
    for segments in planted_by_worth() {
        let orders = [0, 60].map(|user| segment_of(segments, user).orders);
        assert_eq!((orders, segments.of(0)), ([10.0, 2.0], &[0u32][..]));
    }
}

#[test]
fn a_favourite_category_says_how_many_times_as_often_it_is_bought() {
    for (_, segments) in planted_segments() {
        assert_eq!(segment_of(segments, 0).favourites[0].lift, 2.0);
    }
}

/// Segments of two groups and of three shoppers who take a hundred times as much.
fn segments_with_floor(min_shoppers: usize) -> SegmentsModel {
    let mut lines = two_groups(1);
    lines.extend((120..123).flat_map(|user| {
        (0..20).map(move |visit| OrderLine {
            user,
            day: 100 - visit,
            item: 11,
            units: 100.0,
        })
    }));
    let settings = Segments {
        learned: 3,
        min_shoppers,
        named: conditions(&[
            ("whales", "user.spend > 5000"),
            ("tea", "user.favourite_category = Tea"),
        ]),
        ..Segments::default()
    };
    fit(&shop(123, &lines), als(), settings)
        .unwrap()
        .models
        .segments
}

#[test]
fn segments_of_as_many_shoppers_as_the_floor_are_published() {
    let segments = segments_with_floor(3);
    assert_eq!(segments.len(), 5);
    let whales = segments.number("whales").unwrap();
    assert_eq!(segments.members(whales), [120, 121, 122]);
}

#[test]
fn segments_of_fewer_shoppers_than_the_floor_are_withheld() {
    let segments = segments_with_floor(4);
    let list = segments.list();
    assert_eq!(list.withheld.named, ["whales"]);
    assert_eq!((list.withheld.learned, list.published.len()), (1, 3));
}

#[test]
fn shoppers_of_withheld_segments_are_in_none() {
    let segments = segments_with_floor(4);
    assert!((120..123).all(|user| segments.of(user).is_empty()));
}

#[test]
fn a_shopper_can_be_in_a_named_and_in_a_learned_segment() {
    assert_eq!(segments_with_floor(4).of(0).len(), 2);
}

#[test]
fn segments_fitted_on_one_and_on_two_threads_are_the_same_bytes() {
    let lines = two_groups(2);
    let settings = Segments {
        learned: 7,
        min_shoppers: 1,
        ..Segments::default()
    };
    let bytes_on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut version = fit(&shop(120, &lines), als(), settings.clone()).unwrap();
            assert!(version.models.segments.len() > 4);
            let (_folder, registry) = empty_registry();
            let name = registry.publish("shop", &mut version).unwrap();
            let folder = registry.version_folder("shop", &name).unwrap();
            ["manifest.json", "weights.safetensors"]
                .map(|file| std::fs::read(folder.join(file)).unwrap())
        })
    };
    assert!(bytes_on(1) == bytes_on(2));
}

/// Settings with a segment `loyal` of this condition.
fn loyal(condition: &str) -> Segments {
    Segments {
        named: conditions(&[("loyal", condition)]),
        ..Segments::default()
    }
}

/// What a fit says of settings that it refuses.
fn refusal_of_fit(settings: Segments) -> Option<String> {
    let refused = fit(&shop(120, &two_groups(1)), als(), settings).err();
    refused.map(|error| error.to_string())
}

#[test]
fn a_condition_of_a_wrong_form_is_refused_before_the_data_are_known() {
    let settings = loyal("user.orders >= 5 AND user.spend > much");
    let refused = settings.validate().unwrap_err().to_string();
    assert!(
        refused.contains("'loyal'") && refused.contains("column 35"),
        "{refused}"
    );
    assert_eq!(refusal_of_fit(settings), Some(refused));
}

#[test]
fn a_condition_on_a_column_that_may_be_in_a_users_file_is_refused_with_the_data() {
    let settings = loyal("user.orders >= 5 AND user.shoe = 42");
    assert!(settings.validate().is_ok());
    let refused = refusal_of_fit(settings).unwrap();
    assert!(
        refused.contains("column 22") && refused.contains("user.days_since"),
        "{refused}"
    );
}

#[test]
fn a_segment_without_a_name_is_refused() {
    let nameless = Segments {
        named: conditions(&[(" ", "")]),
        ..Segments::default()
    };
    let refused = nameless.validate();
    assert!(matches!(refused, Err(ModelError::Hyperparameter { .. })));
}

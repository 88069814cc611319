//! Who comes into which segment, on logs whose answer is known.

use aisle_data::{Catalog, DataConfig, Dataset, EventLog, EventRole, EventType, IdMap, Labels, ReadReport};
use aisle_models::{Als, Bundle, Hyperparameters, ModelError, Personal, Popular, Registry, Segments};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A line of an order; below zero units are returned.
#[derive(Clone, Copy)]
struct Line {
    user: u32,
    day: i64,
    item: u32,
    units: f32,
}

/// Items 0 to 5 are Tea at 1, 2, … 6 a piece, 6 to 11 Tools at the same prices.
const ITEMS: u32 = 12;

fn ids(letter: &str, count: usize) -> Arc<IdMap> {
    let names: Vec<String> = (0..count).map(|number| format!("{letter}{number:04}")).collect();
    Arc::new(names.iter().map(String::as_str).collect())
}

/// One order a shopper and day.
fn shop(users: usize, lines: &[Line]) -> Dataset {
    let kind = |name: &str, role, weight, rows| EventType { name: name.into(), role, weight, half_life_days: None, rows };
    let mut catalog = Catalog { given: true, ..Catalog::default() };
    for item in 0..ITEMS {
        catalog.title.push(Some(&format!("Item {item}")));
        catalog.category.push(Some(if item < 6 { "Tea > Leaves" } else { "Tools > Hammers" }));
        catalog.price.push(1.0 + (item % 6) as f32);
        catalog.currency.push(Some("EUR"));
        catalog.brand.push(None);
        catalog.available.push(true);
    }
    let log = EventLog {
        users: ids("u", users),
        items: ids("i", ITEMS as usize),
        types: vec![kind("purchase", EventRole::Purchase, 1.0, lines.len() as u64), kind("return", EventRole::Return, -1.0, 0)],
        user: lines.iter().map(|line| line.user).collect(),
        item: lines.iter().map(|line| line.item).collect(),
        kind: lines.iter().map(|line| u8::from(line.units < 0.0)).collect(),
        time: lines.iter().map(|line| line.day * 86_400_000).collect(),
        order: lines.iter().map(|line| line.user * 1000 + line.day as u32).collect(),
        quantity: lines.iter().map(|line| line.units.abs()).collect(),
        price: lines.iter().map(|line| 1.0 + (line.item % 6) as f32).collect(),
        position: Vec::new(),
        ..EventLog::default()
    };
    Dataset { log, catalog, user_attributes: Vec::new(), report: ReadReport::default(), items_report: None, inputs: Vec::new() }
}

fn fit(data: &Dataset, personal: Personal, segments: Segments) -> Result<Bundle, ModelError> {
    let parameters = Hyperparameters { segments, ..Hyperparameters::of(personal) };
    Bundle::fit(data, &DataConfig::default(), parameters, &())
}

fn popular() -> Personal {
    Personal::Popular(Popular::default())
}

fn als() -> Personal {
    Personal::Als(Als { factors: 4, iterations: 5, ..Als::default() })
}

fn named(conditions: &[(&str, &str)]) -> BTreeMap<String, String> {
    conditions.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
}

#[test]
fn named_segments_select_exactly_whom_they_should() {
    let line = |user, day, item, units| Line { user, day, item, units };
    let mut lines = vec![
        // u0: three orders 10 days apart, the last as the log ends; 2·1 + 1·1 + 4·6 = 27 spent on tea, the cheapest most often.
        line(0, 80, 0, 2.0),
        line(0, 90, 0, 1.0),
        line(0, 100, 5, 4.0),
        // u1: one dear hammer, one returned of two: 6.
        line(1, 40, 11, 2.0),
        line(1, 41, 11, -1.0),
        // u2: twice within two days, then for 96 days no more.
        line(2, 2, 2, 1.0),
        line(2, 4, 8, 1.0),
        line(2, 4, 9, 1.0),
    ];
    // u3 to u5 come every 20 days, and make that the usual gap.
    lines.extend((3..6).flat_map(|user| (0..6).map(move |visit| line(user, visit * 20, 2, 1.0))));
    let mut data = shop(7, &lines);
    let mut age = Labels::default();
    [Some("25-34"), Some("45"), None, Some("70"), None, Some("25-34"), Some("18")].into_iter().for_each(|value| age.push(value));
    data.user_attributes = vec![("age".into(), age)];
    let expected: &[(&str, &str, &[u32])] = &[
        ("aged", "user.age = \"25-34\"", &[0, 5]),
        ("all but tea", "NOT user.favourite_category = Tea", &[1, 2, 6]),
        ("anyone", "", &[0, 1, 2, 3, 4, 5, 6]),
        ("cheap", "user.price_band = low", &[0]),
        ("dear", "user.price_band = high", &[1]),
        ("few items", "user.items = 1 AND user.orders > 1", &[3, 4, 5]),
        ("gap", "user.gap_days = 20", &[3, 4, 5]),
        ("gone", "user.lapsed = true", &[2]),
        ("here", "user.days_since <= 0", &[0, 3, 4, 5]),
        ("long gone", "user.days_since > 59 AND user.days_since < 97", &[1, 2]),
        ("mean", "user.mean_price > 3.8 AND user.mean_price < 3.9", &[0]),
        ("old", "user.age >= 40", &[1, 3]),
        ("spend 27", "user.spend = 27", &[0]),
        ("spend 6", "user.spend = 6", &[1]),
        ("thrice", "user.orders = 3 OR user.orders = 0", &[0, 6]),
    ];
    let conditions: Vec<(&str, &str)> = expected.iter().map(|&(name, text, _)| (name, text)).collect();
    let settings = Segments { learned: 0, min_shoppers: 1, named: named(&conditions), ..Segments::default() };
    let mut made = fit(&data, popular(), settings).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    let version = registry.publish("shop", &mut made).unwrap();
    let served = registry.verify("shop", &version).unwrap();
    for bundle in [&made, &served] {
        let segments = bundle.segments();
        assert!(segments.names().eq(expected.iter().map(|expected| expected.0)));
        for (name, text, members) in expected {
            let number = segments.number(name).unwrap();
            assert_eq!(segments.members(number), *members, "{name}: {text}");
            let about = segments.describe(number).unwrap();
            assert_eq!((about.shoppers, about.condition.as_deref()), (members.len(), Some(*text)));
        }
        assert!(
            segments
                .of(0)
                .iter()
                .map(|&number| segments.describe(number).unwrap().name.as_str())
                .eq(["aged", "anyone", "cheap", "here", "mean", "spend 27", "thrice"])
        );
        assert!(segments.of(7).is_empty(), "nobody");
    }
    let about = served.segments().describe(served.segments().number("here").unwrap()).unwrap();
    assert_eq!((about.orders, about.days_since, about.spend), (6.0, Some(0.0), Some(18.0)));
}

/// Two groups of 60, the first with tea and the second with tools; each shopper has four of the six items of their group. `busy` says how often
/// the first comes, and how much they take.
fn two_groups(busy: i64) -> Vec<Line> {
    let mut lines = Vec::new();
    for user in 0..120u32 {
        let first = user < 60;
        for visit in 0..if first { 2 * busy } else { 2 } {
            for nth in 0..2 {
                let item = (user + 2 * visit as u32 + nth) % 6 + if first { 0 } else { 6 };
                let day = 100 - visit * 3 - i64::from(user % 5);
                lines.push(Line { user, day, item, units: if first { busy as f32 } else { 1.0 } });
            }
        }
    }
    lines
}

#[test]
fn planted_groups_come_out_as_segments() {
    let settings = Segments { learned: 2, ..Segments::default() };
    // By worth and taste; and by taste alone, which only a model with vectors knows.
    for (busy, personal) in [(5, als()), (5, popular()), (1, als())] {
        let bundle = fit(&shop(120, &two_groups(busy)), personal, settings.clone()).unwrap();
        let segments = bundle.segments();
        let groups: Vec<Vec<u32>> = (0..2).map(|number| segments.members(number)).collect();
        let tea: Vec<u32> = (0..60).collect();
        let tools: Vec<u32> = (60..120).collect();
        assert!(groups == [tea.clone(), tools.clone()] || groups == [tools, tea], "busy {busy}: {groups:?}");
        let of = |user: u32| segments.describe(segments.of(user)[0]).unwrap();
        assert!(of(0).name.ends_with("Tea") && of(60).name.ends_with("Tools"), "{} / {}", of(0).name, of(60).name);
        if busy > 1 {
            assert_eq!(
                (of(0).name.as_str(), of(60).name.as_str()),
                ("frequent, high spend, Tea", "new, occasional, low spend, Tools")
            );
            assert_eq!((of(0).orders, of(60).orders, segments.of(0)), (10.0, 2.0, &[0u32][..]));
        }
        assert_eq!(of(0).favourites[0].times, 2.0);
    }
}

#[test]
fn too_few_are_no_segment() {
    let mut lines = two_groups(1);
    // Three who take a hundred times as much.
    lines.extend((120..123).flat_map(|user| (0..20).map(move |visit| Line { user, day: 100 - visit, item: 11, units: 100.0 })));
    let conditions = named(&[("whales", "user.spend > 5000"), ("tea", "user.favourite_category = Tea")]);
    let fit = |min_shoppers| {
        let settings = Segments { learned: 3, min_shoppers, named: conditions.clone(), ..Segments::default() };
        fit(&shop(123, &lines), als(), settings).unwrap()
    };
    let all = fit(3);
    assert_eq!(all.segments().len(), 5);
    assert_eq!(all.segments().members(all.segments().number("whales").unwrap()), [120, 121, 122]);
    let floored = fit(4);
    let list = floored.segments().list();
    assert_eq!((list.withheld.named.as_slice(), list.withheld.learned), (&["whales".to_string()][..], 1));
    assert_eq!(list.published.len(), 3);
    assert!((120..123).all(|user| floored.segments().of(user).is_empty()));
    assert_eq!(floored.segments().of(0).len(), 2, "a named and a learned one");
}

#[test]
fn threads_do_not_change_a_segment() {
    let lines = two_groups(2);
    let settings = Segments { learned: 7, min_shoppers: 1, ..Segments::default() };
    let bytes = |threads| {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let registry = Registry::new(folder.path());
        pool.install(|| {
            let mut bundle = fit(&shop(120, &lines), als(), settings.clone()).unwrap();
            assert!(bundle.segments().len() > 4);
            let version = registry.publish("shop", &mut bundle).unwrap();
            let at = registry.version_folder("shop", &version).unwrap();
            ["manifest.json", "weights.safetensors"].map(|name| std::fs::read(at.join(name)).unwrap())
        })
    };
    assert!(bytes(1) == bytes(2));
}

#[test]
fn a_wrong_condition_is_refused_before_anything_is_fitted() {
    let data = shop(120, &two_groups(1));
    let refused = |text: &str| {
        let settings = Segments { named: named(&[("loyal", text)]), ..Segments::default() };
        // Alone it can be known only by its form; with a users file also by its columns.
        let early = settings.validate().err().map(|error| error.to_string());
        (early, fit(&data, als(), settings).err().map(|error| error.to_string()))
    };
    let (early, late) = refused("user.orders >= 5 AND user.spend > much");
    assert!(early.as_ref().is_some_and(|error| error.contains("'loyal'") && error.contains("column 35")), "{early:?}");
    assert_eq!(early, late);
    let (early, late) = refused("user.orders >= 5 AND user.shoe = 42");
    assert_eq!(early, None, "a users file may have such a column");
    assert!(late.is_some_and(|error| error.contains("column 22") && error.contains("user.days_since")));
    let nameless = Segments { named: named(&[(" ", "")]), ..Segments::default() };
    assert!(matches!(nameless.validate(), Err(ModelError::Hyperparameter { .. })));
}

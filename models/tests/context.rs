//! Circumstances: the formula on a shop made by hand, and the contract on a real one.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

use aisle_data::{
    Catalog, ContextColumn, DataConfig, Dataset, EventLog, EventRole, EventType, IdMap, Interactions, NONE, Orders, Tables,
};
use aisle_models::{
    Bitmap, Bundle, BuyAgain, Circumstances, Complements, Context, ContextModel, Eligible, Fit, Hyperparameters, Mark, Personal,
    Popular, PopularModel, Registry, SessionKnn, Training, Upsell, visitor_states,
};
use std::sync::Arc;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/samples/online_retail");

fn asked(pairs: &[(&str, &str)]) -> Circumstances {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn fit(log: &EventLog, context: &Context) -> (ContextModel, PopularModel) {
    let (interactions, orders) = (Interactions::of(log), Orders::of(log));
    let catalog = Catalog::unknown(log.items.len());
    let training = Training { log, interactions: &interactions, orders: &orders, catalog: &catalog, users: &[] };
    let popular = Popular::default();
    (context.fit(&popular, &training, &()).unwrap(), popular.fit(&training, &()).unwrap())
}

/// Purchases on one day without times: (user, item, place).
fn log_of(events: &[(u32, u32, &str)]) -> EventLog {
    let ids = |count: u32| {
        Arc::new((0..count).map(|n| format!("{n:03}")).collect::<Vec<_>>().iter().map(String::as_str).collect::<IdMap>())
    };
    let mut places = IdMap::new();
    let value = events.iter().map(|event| places.intern(event.2)).collect();
    EventLog {
        users: ids(1 + events.iter().map(|event| event.0).max().unwrap()),
        items: ids(1 + events.iter().map(|event| event.1).max().unwrap()),
        types: vec![EventType {
            name: "purchase".into(),
            role: EventRole::Purchase,
            weight: 1.0,
            half_life_days: None,
            rows: events.len() as u64,
        }],
        user: events.iter().map(|event| event.0).collect(),
        item: events.iter().map(|event| event.1).collect(),
        kind: vec![0; events.len()],
        context: vec![ContextColumn { name: "location".into(), values: Arc::new(places), value }],
        ..EventLog::default()
    }
}

/// France: 60 shoppers buy item 0, 20 item 1. The UK's London: 10 buy item 1, 5 item 2; its Leeds: 3 buy item 2.
fn two_countries() -> EventLog {
    let mut events = Vec::new();
    events.extend((0..60).map(|user| (user, 0, "France")));
    events.extend((0..20).map(|user| (user, 1, "France")));
    events.extend((60..70).map(|user| (user, 1, "UK > London")));
    events.extend((60..65).map(|user| (user, 2, "UK > London")));
    events.extend((70..73).map(|user| (user, 2, "UK > Leeds")));
    log_of(&events)
}

#[test]
fn cells_are_drawn_to_their_parents_by_the_formula() {
    let context = Context { shrinkage: 10.0, min_events: 10, ..Context::default() };
    let (model, _) = fit(&two_countries(), &context);
    let places: Vec<&str> = model.dimensions()[0].values.iter().map(String::as_str).collect();
    // Leeds has three shoppers: it has no cell, but counts in the UK.
    assert_eq!(places, ["France", "UK", "UK > London"]);
    let shop = [60.0 / 98.0, 30.0 / 98.0, 8.0 / 98.0];
    let uk: Vec<f64> = [0.0, 10.0, 8.0].iter().zip(shop).map(|(n, p)| (n + 10.0 * p) / 28.0).collect();
    let london: Vec<f64> = [0.0, 10.0, 5.0].iter().zip(&uk).map(|(n, p)| (n + 10.0 * p) / 25.0).collect();
    for (place, shares) in [("UK", &uk), ("UK > London", &london)] {
        let found = model.prior(&asked(&[("location", place)]), &[0, 1, 2]);
        for (item, lift) in found.iter().enumerate() {
            let expected = (shares[item] / shop[item]).ln();
            assert!((f64::from(*lift) - expected).abs() < 1e-5, "{place} {item}: {lift} {expected}");
        }
    }
    // A place without a cell is answered by the one above it, and a place that nobody knows by none.
    let prior = |place: &str| model.prior(&asked(&[("location", place)]), &[0, 1, 2]);
    assert_eq!(prior("UK > Leeds"), prior("UK"));
    assert_eq!(model.value(&asked(&[("location", "UK > Leeds > Hyde Park")]), 0), Some("UK"));
    assert_eq!(prior("Peru > Lima"), [0.0; 3]);
    assert_eq!(model.prior(&asked(&[("weather", "rain")]), &[0, 1]), [0.0; 2]);
}

#[test]
fn the_less_is_known_the_nearer_the_shop() {
    let lift = |shrinkage| {
        let context = Context { shrinkage, min_events: 10, ..Context::default() };
        fit(&two_countries(), &context).0.prior(&asked(&[("location", "UK > London")]), &[2])[0]
    };
    let lifts = [1.0, 10.0, 100.0, 10_000.0].map(lift);
    assert!(lifts.windows(2).all(|pair| pair[0] > pair[1]) && lifts[3] < 0.02, "{lifts:?}");
}

#[test]
fn what_few_shoppers_did_is_not_told() {
    let mut events: Vec<(u32, u32, &str)> = (0..50).map(|user| (user, user % 2, "France")).collect();
    // Four shoppers with many purchases; and a place of eight where four bought what others did not.
    events.extend((0..60).map(|n| (50 + n % 4, 2 + n / 4, "Malta")));
    events.extend((60..68).map(|user| (user, 1, "Spain")));
    events.extend((60..64).map(|user| (user, 30, "Spain")));
    let (model, popular) = fit(&log_of(&events), &Context { shrinkage: 1.0, min_events: 5, ..Context::default() });
    assert_eq!(model.dimensions()[0].values, ["France", "Spain"]);
    let all = Bitmap::of(31, |_| true);
    let spain = model.ranked(&asked(&[("location", "Spain")]), &popular, 31, Eligible::new(&all));
    let told = |item: u32| spain.iter().find(|found| found.item == item).unwrap();
    assert_eq!((told(1).because, told(30).because, told(30).lift), (Some(0), None, 1.0));
    assert!(told(1).lift > 1.25 && model.prior(&asked(&[("location", "Spain")]), &[30])[0] > 1.0);
}

#[test]
fn a_visitor_is_what_the_past_says() {
    let day = 86_400_000i64;
    let mark = |user: u32, time: i64, order: Option<u64>, bought: bool| Mark { user, time, order, bought };
    let marks = [
        // Seen in the first quarter: who knows whether for the first time.
        mark(0, 0, None, false),
        mark(0, 10 * day, None, false),
        mark(0, 10 * day + 60_000, None, true),
        mark(0, 10 * day + 7_200_000, None, false),
        mark(0, 150 * day, Some(7), false),
        // The same order hours later.
        mark(0, 150 * day + 18_000_000, Some(7), true),
        mark(1, 200 * day, None, true),
        mark(1, 400 * day, None, false),
        mark(NONE, 300 * day, None, true),
    ];
    let expected = [
        None,
        Some("returning"),
        Some("returning"),
        Some("customer"),
        Some("lapsed"),
        Some("lapsed"),
        Some("first-visit"),
        Some("lapsed"),
        None,
    ];
    assert_eq!(visitor_states(&marks, 90.0), expected);
    assert!(visitor_states(&[], 90.0).is_empty());
}

#[test]
fn the_clock_is_cut_where_it_says() {
    // 2017-11-06 was a Monday.
    let monday = 1_509_926_400_000i64;
    let at = |days: i64, hours: i64| ContextModel::daypart(monday + days * 86_400_000 + hours * 3_600_000);
    assert_eq!((at(0, 0), at(0, 6), at(0, 11)), ("weekday night", "weekday morning", "weekday midday"));
    assert_eq!((at(4, 15), at(4, 18), at(4, 23)), ("weekday afternoon", "weekday evening", "weekday evening"));
    assert_eq!((at(5, 0), at(6, 23), at(7, 0)), ("weekend night", "weekend evening", "weekday night"));
    assert_eq!(ContextModel::daypart(-1), "weekday evening");
}

/// A ranking is a merge of the asked cells with the shop's order: it must be what scoring every item gives.
#[test]
fn a_ranking_is_that_of_all_scores() {
    let tables = Tables { events: &format!("{SAMPLE}/events.parquet"), items: None, users: None };
    let log = Dataset::read(&tables, &DataConfig::default()).unwrap().log;
    let context = Context { items: 300, agreement: 0.9, ..Context::default() };
    let (model, popular) = fit(&log, &context);
    let names: Vec<&str> = model.dimensions().iter().map(|dimension| dimension.name.as_str()).collect();
    assert_eq!(names, ["daypart", "location", "visitor_state"]);
    let items: Vec<u32> = (0..log.items.len() as u32).collect();
    let questions = [
        asked(&[]),
        asked(&[("location", "Germany")]),
        asked(&[("location", "Germany"), ("daypart", "weekday morning"), ("visitor_state", "first-visit")]),
        asked(&[("location", "Atlantis"), ("daypart", "weekend midday")]),
    ];
    let mut different = 0;
    for question in &questions {
        let prior = model.prior(question, &items);
        for (step, k) in [(1, 20), (1, 2500), (7, 20), (7, 5000)] {
            let allowed = Bitmap::of(items.len(), |item| item % step == 0);
            let found = model.ranked(question, &popular, k, Eligible::new(&allowed));
            let mut scored: Vec<(f32, u32)> = (items.iter().filter(|&&item| item % step == 0))
                .map(|&item| (popular.sales(item) * prior[item as usize].exp(), item))
                .collect();
            scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            scored.truncate(k);
            assert_eq!(found.len(), scored.len());
            for (found, (score, _)) in found.iter().zip(&scored) {
                assert!((found.score - score).abs() <= 1e-4 * score.abs(), "{question:?} {found:?} {score}");
            }
            let best: Vec<u32> = popular.ranked(Eligible::new(&allowed)).take(k).collect();
            let same = found.iter().map(|found| found.item).eq(best);
            assert!(same || !question.is_empty());
            different += usize::from(!same);
            for told in found.iter().filter(|found| found.because.is_some()) {
                let name = model.dimension(told.because.unwrap());
                let alone = question.iter().filter(|pair| pair.0 == name).map(|(a, b)| (a.clone(), b.clone())).collect();
                let lift = (model.prior(&alone, &[told.item])[0] / 0.9).exp();
                assert!(told.lift >= 1.25 && (told.lift - lift).abs() < 1e-3 * lift, "{told:?} {lift}");
            }
        }
    }
    assert_eq!(different, 12, "circumstances change what is ranked");
}

#[test]
fn a_version_brings_its_circumstances_back() {
    let tables = Tables { events: &format!("{SAMPLE}/events.parquet"), items: None, users: None };
    let data = Dataset::read(&tables, &DataConfig::default()).unwrap();
    let parameters = Hyperparameters {
        cross_sell: Complements { learn_days: 0.0, ..Complements::default() },
        upsell: Upsell { learn_days: 0.0, ..Upsell::default() },
        session: SessionKnn { sessions: 0, ..SessionKnn::default() },
        buy_again: BuyAgain { learn_days: 0.0 },
        context: Context { lapsed_days: 60.0, ..Context::default() },
        ..Hyperparameters::of(Personal::Popular(Popular::default()))
    };
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    let mut made = Bundle::fit(&data, &DataConfig::default(), parameters, &()).unwrap();
    let version = registry.publish("shop", &mut made).unwrap();
    let served = registry.verify("shop", &version).unwrap();
    assert_eq!(served.context_model().dimensions(), made.context_model().dimensions());
    assert_eq!(served.context_model().lapsed_days(), 60.0);
    let all = Bitmap::of(data.log.items.len(), |_| true);
    for place in ["Germany", "France", "EIRE"] {
        let question = asked(&[("location", place), ("visitor_state", "customer")]);
        let of = |bundle: &Bundle| bundle.context_model().ranked(&question, bundle.popular(), 50, Eligible::new(&all));
        assert_eq!(of(&served), of(&made));
        assert!(of(&served).iter().any(|found| found.because.is_some()));
    }
}

//! What sells in which context: the formula on a shop made by hand, and rankings and versions of a
//! real one.

use crate::common::logs::{numbered_ids, purchase_type};
use crate::common::served::fit;
use crate::common::written_and_loaded;
use aisle_data::{
    Catalog, ContextColumn, DAY_MILLIS, DataConfig, Dataset, EventLog, IdMap, Interactions, NONE,
    Orders, Tables,
};
use aisle_models::{
    Bitmap, BuyAgain, Complements, Context, ContextModel, ContextValues, ContextualItem, Eligible,
    Fit, FittedModels, Hyperparameters, Personal, Popular, PopularModel, SessionKnn, Training,
    Upsell, VisitorEvent, visitor_states,
};
use std::sync::{Arc, LazyLock};

const SAMPLE_EVENTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../data/samples/online_retail/events.parquet"
);

fn sample() -> Dataset {
    let tables = Tables {
        events: SAMPLE_EVENTS,
        items: None,
        users: None,
    };
    Dataset::read(&tables, &DataConfig::default()).unwrap()
}

/// Values of a request's context by dimension.
fn values(pairs: &[(&str, &str)]) -> ContextValues {
    let owned = |&(dimension, value): &(&str, &str)| (dimension.to_string(), value.to_string());
    pairs.iter().map(owned).collect()
}

fn location(place: &str) -> ContextValues {
    values(&[("location", place)])
}

fn fit_context(log: &EventLog, context: &Context) -> (ContextModel, PopularModel) {
    let (interactions, orders) = (Interactions::of(log), Orders::of(log));
    let catalog = Catalog::unknown(log.items.len());
    let training = Training {
        log,
        interactions: &interactions,
        orders: &orders,
        catalog: &catalog,
        users: &[],
    };
    let popular = Popular::default();
    let model = context.fit(&popular, &training, &()).unwrap();
    (model, popular.fit(&training, &()).unwrap())
}

/// Purchases on one day without times, each as (user row, item row, place).
fn purchases_at(events: &[(u32, u32, &str)]) -> EventLog {
    let count = |rows: &mut dyn Iterator<Item = u32>| 1 + rows.max().unwrap() as usize;
    let mut places = IdMap::new();
    let value = events.iter().map(|event| places.intern(event.2)).collect();
    EventLog {
        users: numbered_ids("u", count(&mut events.iter().map(|event| event.0))),
        items: numbered_ids("i", count(&mut events.iter().map(|event| event.1))),
        types: vec![purchase_type(events.len())],
        user: events.iter().map(|event| event.0).collect(),
        item: events.iter().map(|event| event.1).collect(),
        kind: vec![0; events.len()],
        context: vec![ContextColumn {
            name: "location".into(),
            values: Arc::new(places),
            value,
        }],
        ..EventLog::default()
    }
}

/// In France 60 shoppers buy item 0, and 20 item 1. In the UK's London 10 buy item 1 and 5 item 2;
/// in its Leeds 3 buy item 2.
fn two_countries(shrinkage: f32) -> ContextModel {
    let mut events = Vec::new();
    events.extend((0..60).map(|user| (user, 0, "France")));
    events.extend((0..20).map(|user| (user, 1, "France")));
    events.extend((60..70).map(|user| (user, 1, "UK > London")));
    events.extend((60..65).map(|user| (user, 2, "UK > London")));
    events.extend((70..73).map(|user| (user, 2, "UK > Leeds")));
    let context = Context {
        shrinkage,
        min_events: 10,
        ..Context::default()
    };
    fit_context(&purchases_at(&events), &context).0
}

/// Checks the lifts of items 0, 1 and 2 at a place against their shares there and in the shop.
fn assert_lifts(place: &str, shares: [f64; 3]) {
    let found = two_countries(10.0).prior(&location(place), &[0, 1, 2]);
    for (item, lift) in found.iter().enumerate() {
        let expected = (shares[item] / SHOP_SHARES[item]).ln();
        let error = (f64::from(*lift) - expected).abs();
        assert!(error < 1e-5, "{place} {item}: {lift} {expected}");
    }
}

const SHOP_SHARES: [f64; 3] = [60.0 / 98.0, 30.0 / 98.0, 8.0 / 98.0];

/// The shares of three items with these counts, drawn to those of the parent as by 10 more events.
fn shrunk(counts: [f64; 3], parent: [f64; 3]) -> [f64; 3] {
    let total: f64 = counts.iter().sum();
    [0, 1, 2].map(|item| (counts[item] + 10.0 * parent[item]) / (total + 10.0))
}

fn uk_shares() -> [f64; 3] {
    shrunk([0.0, 10.0, 8.0], SHOP_SHARES)
}

/// Leeds has three shoppers.
#[test]
fn a_place_of_few_shoppers_has_no_cell() {
    let model = two_countries(10.0);
    let places = &model.dimensions()[0].values;
    assert_eq!(places, &["France", "UK", "UK > London"]);
}

/// Leeds has no cell, but counts in the UK.
#[test]
fn the_cell_of_a_country_is_drawn_to_the_shop() {
    assert_lifts("UK", uk_shares());
}

#[test]
fn the_cell_of_a_town_is_drawn_to_its_country() {
    assert_lifts("UK > London", shrunk([0.0, 10.0, 5.0], uk_shares()));
}

#[test]
fn a_place_without_a_cell_is_answered_by_the_one_above_it() {
    let model = two_countries(10.0);
    let prior = |place| model.prior(&location(place), &[0, 1, 2]);
    assert_eq!(prior("UK > Leeds"), prior("UK"));
    assert_eq!(
        model.value(&location("UK > Leeds > Hyde Park"), 0),
        Some("UK")
    );
}

#[test]
fn a_place_that_nobody_knows_says_nothing() {
    let prior = two_countries(10.0).prior(&location("Peru > Lima"), &[0, 1, 2]);
    assert_eq!(prior, [0.0; 3]);
}

#[test]
fn a_dimension_that_the_log_does_not_have_says_nothing() {
    let prior = two_countries(10.0).prior(&values(&[("weather", "rain")]), &[0, 1]);
    assert_eq!(prior, [0.0; 2]);
}

#[test]
fn the_stronger_the_shrinkage_the_smaller_the_lift() {
    let lifts = [1.0, 10.0, 100.0, 10_000.0].map(|shrinkage| {
        let model = two_countries(shrinkage);
        model.prior(&location("UK > London"), &[2])[0]
    });
    let is_falling = lifts.windows(2).all(|pair| pair[0] > pair[1]);
    assert!(is_falling && lifts[3] < 0.02, "{lifts:?}");
}

/// 50 shoppers of France, four of Malta with 60 purchases, and eight of Spain, four of whom bought
/// item 30 that nobody bought elsewhere.
fn few_shoppers() -> (ContextModel, PopularModel) {
    let mut events: Vec<(u32, u32, &str)> =
        (0..50).map(|user| (user, user % 2, "France")).collect();
    events.extend((0..60).map(|event| (50 + event % 4, 2 + event / 4, "Malta")));
    events.extend((60..68).map(|user| (user, 1, "Spain")));
    events.extend((60..64).map(|user| (user, 30, "Spain")));
    let context = Context {
        shrinkage: 1.0,
        min_events: 5,
        ..Context::default()
    };
    fit_context(&purchases_at(&events), &context)
}

/// An item as it is ranked in Spain.
fn ranked_in_spain(item: u32) -> ContextualItem {
    let (model, popular) = few_shoppers();
    let all = Bitmap::filled(31, true);
    let ranked = model.ranked(&location("Spain"), &popular, 31, Eligible::new(&all));
    ranked.into_iter().find(|found| found.item == item).unwrap()
}

#[test]
fn a_place_with_many_purchases_of_four_shoppers_has_no_cell() {
    assert_eq!(few_shoppers().0.dimensions()[0].values, ["France", "Spain"]);
}

#[test]
fn what_eight_shoppers_of_a_place_bought_is_said_to_be_popular_there() {
    let found = ranked_in_spain(1);
    assert_eq!(found.dimension, Some(0));
    assert!(found.lift > 1.25, "{found:?}");
}

#[test]
fn what_four_shoppers_of_a_place_bought_counts_but_is_not_said() {
    let found = ranked_in_spain(30);
    assert_eq!((found.dimension, found.lift), (None, 1.0));
    assert!(few_shoppers().0.prior(&location("Spain"), &[30])[0] > 1.0);
}

fn event(user: u32, time: i64) -> VisitorEvent {
    VisitorEvent {
        user,
        time,
        order: None,
        is_purchase: false,
    }
}

fn purchase(user: u32, time: i64) -> VisitorEvent {
    VisitorEvent {
        is_purchase: true,
        ..event(user, time)
    }
}

#[test]
fn a_visitor_is_what_their_earlier_events_say() {
    let of_one_order = |event: VisitorEvent| VisitorEvent {
        order: Some(7),
        ..event
    };
    let (day, minute, hour) = (DAY_MILLIS, 60_000, 3_600_000);
    let events_with_states = [
        // Within the lapse of 90 days from the start of the log, nobody knows whether a visitor was
        // there before.
        (event(0, 0), None),
        (event(0, 10 * day), Some("returning")),
        (purchase(0, 10 * day + minute), Some("returning")),
        (event(0, 10 * day + 2 * hour), Some("customer")),
        // The two events of one order are of one state, although hours apart.
        (of_one_order(event(0, 150 * day)), Some("lapsed")),
        (
            of_one_order(purchase(0, 150 * day + 5 * hour)),
            Some("lapsed"),
        ),
        (purchase(1, 200 * day), Some("first-visit")),
        (event(1, 400 * day), Some("lapsed")),
        (purchase(NONE, 300 * day), None),
    ];
    let events = events_with_states.map(|(event, _)| event);
    let expected = events_with_states.map(|(_, state)| state);
    assert_eq!(visitor_states(&events, 90.0), expected);
}

#[test]
fn without_events_there_are_no_visitor_states() {
    assert!(visitor_states(&[], 90.0).is_empty());
}

/// The part of the day at some hours after midnight on a day of the week of Monday, 2017-11-06.
fn daypart(days_after_monday: i64, hour: i64) -> &'static str {
    let monday = 1_509_926_400_000;
    ContextModel::daypart(monday + days_after_monday * DAY_MILLIS + hour * 3_600_000)
}

#[test]
fn a_weekday_has_a_night_a_morning_a_midday_an_afternoon_and_an_evening() {
    let hours = [
        (0, "weekday night"),
        (6, "weekday morning"),
        (11, "weekday midday"),
    ];
    for (hour, expected) in hours {
        assert_eq!(daypart(0, hour), expected, "Monday, {hour} h");
    }
    let hours = [
        (15, "weekday afternoon"),
        (18, "weekday evening"),
        (23, "weekday evening"),
    ];
    for (hour, expected) in hours {
        assert_eq!(daypart(4, hour), expected, "Friday, {hour} h");
    }
}

#[test]
fn a_weekend_lasts_from_saturday_to_sunday_night() {
    let found = [daypart(5, 0), daypart(6, 23), daypart(7, 0)];
    assert_eq!(found, ["weekend night", "weekend evening", "weekday night"]);
}

#[test]
fn times_before_1970_have_a_part_of_the_day() {
    assert_eq!(ContextModel::daypart(-1), "weekday evening");
}

/// The agreement of the models of the sample: how much of each dimension's evidence counts.
const AGREEMENT: f32 = 0.9;

/// The models of the bundled sample, and how many items it has.
static SAMPLE_MODELS: LazyLock<(ContextModel, PopularModel, usize)> = LazyLock::new(|| {
    let log = sample().log;
    let context = Context {
        items: 300,
        agreement: AGREEMENT,
        ..Context::default()
    };
    let (model, popular) = fit_context(&log, &context);
    (model, popular, log.items.len())
});

/// Requests of no, one, three and two dimensions, the last with a place that nobody knows.
fn requests() -> [ContextValues; 4] {
    [
        values(&[]),
        location("Germany"),
        values(&[
            ("location", "Germany"),
            ("daypart", "weekday morning"),
            ("visitor_state", "first-visit"),
        ]),
        values(&[("location", "Atlantis"), ("daypart", "weekend midday")]),
    ]
}

/// Every how manyth item is eligible, and how many are requested.
const RANKINGS: [(u32, usize); 4] = [(1, 20), (1, 2500), (7, 20), (7, 5000)];

fn every_nth(step: u32) -> Bitmap {
    Bitmap::of(SAMPLE_MODELS.2, |item| item % step == 0)
}

fn ranking(request: &ContextValues, step: u32, k: usize) -> Vec<ContextualItem> {
    let (model, popular, _) = &*SAMPLE_MODELS;
    model.ranked(request, popular, k, Eligible::new(&every_nth(step)))
}

#[test]
fn a_log_with_times_and_places_has_three_dimensions() {
    let dimensions = SAMPLE_MODELS.0.dimensions().iter();
    let names: Vec<&str> = dimensions
        .map(|dimension| dimension.name.as_str())
        .collect();
    assert_eq!(names, ["daypart", "location", "visitor_state"]);
}

/// A ranking is a merge of the cells that apply with the shop's order, without looking at every
/// item.
#[test]
fn a_ranking_is_what_scoring_every_item_gives() {
    let (model, popular, items) = &*SAMPLE_MODELS;
    let items: Vec<u32> = (0..*items as u32).collect();
    for request in &requests() {
        let prior = model.prior(request, &items);
        for (step, k) in RANKINGS {
            let score = |item: u32| popular.sales(item) * prior[item as usize].exp();
            let eligible = items.iter().filter(|&&item| item % step == 0);
            let mut scores: Vec<f32> = eligible.map(|&item| score(item)).collect();
            scores.sort_by(|a, b| b.total_cmp(a));
            scores.truncate(k);
            let found = ranking(request, step, k);
            assert_eq!(found.len(), scores.len());
            for (found, score) in found.iter().zip(&scores) {
                let error = (found.score - score).abs();
                assert!(error <= 1e-4 * score.abs(), "{request:?} {found:?} {score}");
            }
        }
    }
}

/// Whether a ranking is that of best sellers, whatever the context.
fn is_that_of_best_sellers(request: &ContextValues, step: u32, k: usize) -> bool {
    let eligible = every_nth(step);
    let best_sellers = SAMPLE_MODELS.1.ranked(Eligible::new(&eligible)).take(k);
    let found = ranking(request, step, k);
    found.iter().map(|found| found.item).eq(best_sellers)
}

#[test]
fn without_a_context_best_sellers_are_ranked() {
    let [without_context, ..] = requests();
    for (step, k) in RANKINGS {
        assert!(
            is_that_of_best_sellers(&without_context, step, k),
            "{step} {k}"
        );
    }
}

#[test]
fn every_context_changes_what_is_ranked() {
    let [_, contexts @ ..] = requests();
    for request in &contexts {
        for (step, k) in RANKINGS {
            let is_same = is_that_of_best_sellers(request, step, k);
            assert!(!is_same, "{request:?} {step} {k}");
        }
    }
}

#[test]
fn an_item_is_said_to_be_popular_by_the_lift_of_that_dimension_alone() {
    let model = &SAMPLE_MODELS.0;
    for request in &requests() {
        for (step, k) in RANKINGS {
            for found in ranking(request, step, k) {
                let Some(because) = found.dimension else {
                    continue;
                };
                let name = model.dimension(because);
                let alone = values(&[(name, request[name].as_str())]);
                let lift = (model.prior(&alone, &[found.item])[0] / AGREEMENT).exp();
                let error = (found.lift - lift).abs();
                assert!(
                    found.lift >= 1.25 && error < 1e-3 * lift,
                    "{found:?} {lift}"
                );
            }
        }
    }
}

/// Hyperparameters of the sample, which learn nothing but the context.
fn context_only() -> Hyperparameters {
    let learn_days = 0.0;
    Hyperparameters {
        cross_sell: Complements {
            learn_days,
            ..Complements::default()
        },
        upsell: Upsell {
            learn_days,
            ..Upsell::default()
        },
        session: SessionKnn {
            sessions: 0,
            ..SessionKnn::default()
        },
        buy_again: BuyAgain { learn_days },
        context: Context {
            lapsed_days: 60.0,
            ..Context::default()
        },
        ..Hyperparameters::of(Personal::Popular(Popular::default()))
    }
}

#[test]
fn a_loaded_version_ranks_in_context_as_the_fitted_one() {
    let mut fitted = fit(&sample(), context_only());
    let loaded = written_and_loaded(&mut fitted).models;
    let fitted = fitted.models;
    assert_eq!(loaded.context.dimensions(), fitted.context.dimensions());
    assert_eq!(loaded.context.lapsed_days(), 60.0);
    let all = Bitmap::filled(fitted.items.len(), true);
    for place in ["Germany", "France", "EIRE"] {
        let request = values(&[("location", place), ("visitor_state", "customer")]);
        let ranked = |models: &FittedModels| {
            let eligible = Eligible::new(&all);
            models
                .context
                .ranked(&request, &models.popular, 50, eligible)
        };
        assert_eq!(ranked(&loaded), ranked(&fitted), "{place}");
        let has_reasons = ranked(&loaded)
            .iter()
            .any(|found| found.dimension.is_some());
        assert!(has_reasons, "{place}");
    }
}

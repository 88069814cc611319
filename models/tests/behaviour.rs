//! One suite for every algorithm, and the round trips of versions and registries.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

use aisle_data::{
    Catalog, DataConfig, Dataset, EventLog, EventRole, EventType, IdMap, Interactions, NONE, NewItem, Orders, ReadReport,
};
use aisle_models::{
    Again, Als, Bitmap, Blend, Boost, Bundle, Complements, Content, Controls, Ease, Eligible, Fit, ForAgain, ForCart, ForItem,
    ForSession, ForUser, Found, History, Hyperparameters, ItemChange, ItemChanges, ItemFilter, ItemKnn, ItemNews, LinearFilter,
    LocalRidge, Loss, LowPass, Measure, ModelError, Personal, Pin, Popular, Recommend, Registry, Rule, RuleSet, Rung, Scaling,
    Scene, Segments, Training, TwoTower, Upsell,
};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// A log of purchases: (user, item, order, day).
fn log_of(users: usize, items: usize, events: &[(u32, u32, u32, i64)]) -> EventLog {
    let ids = |letter: &str, count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("{letter}{n:04}")).collect();
        Arc::new(names.iter().map(String::as_str).collect::<IdMap>())
    };
    EventLog {
        users: ids("u", users),
        items: ids("i", items),
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
        time: events.iter().map(|event| event.3 * 86_400_000).collect(),
        order: events.iter().map(|event| event.2).collect(),
        quantity: Vec::new(),
        price: Vec::new(),
        position: Vec::new(),
        context: Vec::new(),
    }
}

/// Users and items of equal parity meet, but nobody bought the item of their own number: a checkerboard without its diagonal.
fn checkerboard(size: u32) -> EventLog {
    let cells = (0..size).flat_map(|user| (0..size).map(move |item| (user, item)));
    let events: Vec<_> =
        cells.filter(|(user, item)| user % 2 == item % 2 && user != item).map(|(user, item)| (user, item, user, 0)).collect();
    log_of(size as usize, size as usize, &events)
}

struct Made {
    log: EventLog,
    interactions: Interactions,
    orders: Orders,
    catalog: Catalog,
}

impl Made {
    fn of(log: EventLog) -> Self {
        let (interactions, orders) = (Interactions::of(&log), Orders::of(&log));
        let catalog = Catalog::unknown(log.items.len());
        Self { log, interactions, orders, catalog }
    }

    fn training(&self) -> Training<'_> {
        Training { log: &self.log, interactions: &self.interactions, orders: &self.orders, catalog: &self.catalog, users: &[] }
    }

    fn history(&self, user: u32) -> History<'_> {
        let (items, values) = self.interactions.by_user.row(user as usize);
        History { items, values, user: None }
    }
}

fn als() -> Als {
    Als { factors: 8, iterations: 6, ..Als::default() }
}

fn low_pass() -> LowPass {
    // Two halves that do not meet: two frequencies are low, all others are alike.
    LowPass { factors: 2, ..LowPass::default() }
}

fn local_ridge() -> LocalRidge {
    LocalRidge { neighbours: 30, l2: 5.0, ..LocalRidge::default() }
}

fn two_tower() -> TwoTower {
    TwoTower { factors: 8, epochs: 30, batch: 64, negatives: 16, hidden: 4, ..TwoTower::default() }
}

fn blend() -> Blend {
    let members = vec![Personal::LowPass(low_pass()), Personal::LocalRidge(local_ridge())];
    Blend { members, weights: vec![1.0, 0.5], split: "validation".into(), candidates: 20 }
}

fn all(made: &Made) -> Vec<(String, Box<dyn Recommend>)> {
    let training = made.training();
    let mut models: Vec<(String, Box<dyn Recommend>)> = vec![
        ("als".into(), Box::new(als().fit(&training, &()).unwrap())),
        ("popular".into(), Box::new(Popular::default().fit(&training, &()).unwrap())),
        ("linear-filter".into(), Box::new(LinearFilter::default().fit(&training, &()).unwrap())),
    ];
    let vectors = [als(), Als { factors: 40, ..als() }].map(Personal::Als).into_iter().chain([Personal::LowPass(low_pass())]);
    let rows = [Personal::LocalRidge(local_ridge()), Personal::Ease(Ease { l2: 5.0, ..Ease::default() })];
    let towers =
        [Loss::Softmax, Loss::CosineContrastive, Loss::Bpr].map(|loss| Personal::TwoTower(TwoTower { loss, ..two_tower() }));
    for personal in vectors.chain(rows).chain(towers).chain([Personal::Blend(blend())]) {
        models.push((format!("{personal:?}"), personal.fit(&training, &()).unwrap()));
    }
    for measure in [Measure::Cosine, Measure::Bm25, Measure::TfIdf, Measure::Jaccard, Measure::Llr] {
        let knn = ItemKnn { measure, ..ItemKnn::default() };
        models.push((format!("item-knn {measure:?}"), Box::new(knn.fit(&training, &()).unwrap())));
    }
    models
}

fn ask(model: &dyn Recommend, history: History, k: usize, eligible: Eligible) -> Vec<u32> {
    let mut found = Found::default();
    model.recommend(history, k, eligible, &mut found);
    assert!(found.items.windows(2).all(|pair| pair[0].score >= pair[1].score), "best first");
    found.items.iter().map(|scored| scored.item).collect()
}

#[test]
fn the_missing_diagonal_comes_out_on_top() {
    let made = Made::of(checkerboard(50));
    let everything = Bitmap::filled(50, true);
    for (name, model) in all(&made).iter().filter(|(name, _)| name != "popular") {
        for user in 0..50 {
            let history = made.history(user);
            let found = ask(model.as_ref(), history, 1, Eligible::without(&everything, history.items));
            assert_eq!(found, [user], "{name}");
            let mut similar = Found::default();
            let but_itself = [user];
            model.similar_items(user, 10, Eligible::without(&everything, &but_itself), &mut similar);
            assert_eq!(similar.items.len(), 10, "{name}");
            assert!(similar.items.iter().all(|scored| scored.item % 2 == user % 2), "{name}: neighbours of equal parity");
        }
    }
}

#[test]
fn a_batch_answers_as_one_by_one() {
    let made = Made::of(checkerboard(50));
    let everything = Bitmap::filled(50, true);
    for (name, model) in all(&made) {
        let histories: Vec<History> = (0..50).map(|user| made.history(user)).collect();
        let eligible: Vec<Eligible> = histories.iter().map(|history| Eligible::without(&everything, history.items)).collect();
        let batch = model.recommend_batch(&histories, 7, &eligible);
        for (user, answers) in batch.iter().enumerate() {
            let mut found = Found::default();
            model.recommend(histories[user], 7, eligible[user], &mut found);
            assert_eq!(*answers, found.items, "{name}");
        }
    }
}

#[test]
fn filters_are_honoured() {
    let made = Made::of(checkerboard(50));
    let some = Bitmap::of(50, |item| item % 3 == 0);
    for (name, model) in all(&made) {
        for user in 0..50 {
            let found = ask(model.as_ref(), made.history(user), 50, Eligible::without(&some, &[0, 3, 6]));
            assert!(found.iter().all(|item| item % 3 == 0 && *item > 6), "{name}");
        }
    }
}

#[test]
fn a_fold_in_is_the_training_solve() {
    let made = Made::of(checkerboard(40));
    let model = als().fit(&made.training(), &()).unwrap();
    for user in 0..40 {
        assert_eq!(model.fold_in(made.history(user)).unwrap(), model.user_factor(user).unwrap(), "bit for bit");
    }
    assert!(model.fold_in(History::default()).is_none());
}

#[test]
fn an_explanation_names_the_item_that_counts_most() {
    let made = Made::of(checkerboard(30));
    let model = als().fit(&made.training(), &()).unwrap();
    let history = made.history(3);
    for item in [3u32, 9] {
        let source = model.explain(history, &[item])[0].unwrap();
        assert!(history.items.contains(&source) && source != item && source % 2 == 1, "{item}: {source}");
    }
    let single = History { items: &[5], values: &[1.0], user: None };
    assert_eq!(model.explain(single, &[7, 9]), [Some(5), Some(5)]);
    assert_eq!(model.explain(History::default(), &[7]), [None]);
}

/// The closed form of the paper, in f64 and by Gaussian elimination, against the solve.
#[test]
fn the_solve_minimises_the_published_loss() {
    let made = Made::of(checkerboard(30));
    let settings = Als { factors: 5, iterations: 3, regularization: 0.02, alpha: 0.3, nu: 0.7, scaling: Scaling::Linear, seed: 3 };
    let model = settings.fit(&made.training(), &()).unwrap();
    let d = 5;
    let (items, values) = ([1u32, 4, 6], [1.0f32, 0.5, 2.0]);
    let mut a = vec![vec![0f64; d + 1]; d];
    let mut add = |item: u32, weight: f64, target: f64| {
        let y = model.item_factor(item);
        for i in 0..d {
            for j in 0..d {
                a[i][j] += weight * f64::from(y[i]) * f64::from(y[j]);
            }
            a[i][d] += target * f64::from(y[i]);
        }
    };
    (0..30).for_each(|item| add(item, 0.3, 0.0));
    items.iter().zip(values).for_each(|(&item, value)| add(item, f64::from(value), f64::from(value)));
    let penalty = 0.02 * (3.0 + 0.3 * 30.0f64).powf(0.7);
    (0..d).for_each(|i| a[i][i] += penalty);
    for pivot in 0..d {
        for row in 0..d {
            if row != pivot {
                let factor = a[row][pivot] / a[pivot][pivot];
                let from = a[pivot].clone();
                a[row].iter_mut().zip(from).for_each(|(cell, value)| *cell -= factor * value);
            }
        }
    }
    let found = model.fold_in(History { items: &items, values: &values, user: None }).unwrap();
    for i in 0..d {
        let expected = a[i][d] / a[i][i];
        assert!((expected - f64::from(found[i])).abs() < 1e-3 * (1.0 + expected.abs()), "{expected} {}", found[i]);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let made = Made::of(checkerboard(60));
    let everything = Bitmap::filled(60, true);
    let answers = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let answer = |model: &dyn Recommend, user| {
                let mut found = Found::default();
                model.recommend(made.history(user), 60, Eligible::new(&everything), &mut found);
                found.items
            };
            let models = all(&made);
            models.iter().map(|(_, model)| (0..60).map(|user| answer(model.as_ref(), user)).collect()).collect::<Vec<Vec<_>>>()
        })
    };
    assert_eq!(answers(1), answers(4));
}

/// Both ways of solving a row, by its own length and by the dimension, give the published closed form: see above. Here: that a
/// history one item longer than the dimension, solved the other way, is nearly the same answer.
#[test]
fn the_two_solves_meet() {
    let made = Made::of(checkerboard(60));
    let model = Als { factors: 12, ..als() }.fit(&made.training(), &()).unwrap();
    let items: Vec<u32> = (0..13).map(|n| 2 * n).collect();
    let mut values = vec![1.0f32; 13];
    // The thirteenth item counts next to nothing.
    values[12] = 1e-4;
    let longer = model.fold_in(History { items: &items, values: &values, user: None }).unwrap();
    let shorter = model.fold_in(History { items: &items[..12], values: &values[..12], user: None }).unwrap();
    for (a, b) in longer.iter().zip(&shorter) {
        assert!((a - b).abs() < 0.02 * (1.0 + b.abs()), "{a} {b}");
    }
}

/// A ridge regression on all items is EASE: with as many neighbours as there are items the two agree.
#[test]
fn local_ridge_with_all_neighbours_is_ease() {
    let data = shop();
    let made = Made { catalog: data.catalog, ..Made::of(data.log) };
    let training = made.training();
    let local = LocalRidge { neighbours: 100, l2: 3.0, length: 0.5, ..LocalRidge::default() }.fit(&training, &()).unwrap();
    let ease = Ease { l2: 3.0, length: 0.5, ..Ease::default() }.fit(&training, &()).unwrap();
    for a in 0..20 {
        // Items that never meet are no neighbours; those in one half of the shop all meet.
        for b in (0..20).filter(|b| b / 10 == a / 10 && *b != a) {
            let (found, expected) = (local.similarity(a, b), ease.similarity(a, b));
            assert!((found - expected).abs() < 2e-3, "{a} {b}: {found} {expected}");
        }
    }
}

/// The scores of the spectral filter with every singular vector kept, and the linear filter, against their definitions in f64.
#[test]
fn the_filters_are_those_of_the_paper() {
    let data = shop();
    let made = Made { catalog: data.catalog, ..Made::of(data.log) };
    let (training, interactions) = (made.training(), &made.interactions);
    let linear = LinearFilter { scaling: Scaling::Linear, ..LinearFilter::default() }.fit(&training, &()).unwrap();
    let (users, items) = (interactions.users(), interactions.items());
    let mut x = vec![vec![0f64; items]; users];
    for (user, row) in x.iter_mut().enumerate() {
        let (columns, values) = interactions.by_user.row(user);
        columns.iter().zip(values).for_each(|(&item, &value)| row[item as usize] = f64::from(value));
    }
    let user_degree: Vec<f64> = x.iter().map(|row| row.iter().sum()).collect();
    let item_degree: Vec<f64> = (0..items).map(|item| x.iter().map(|row| row[item]).sum()).collect();
    for a in 0..20usize {
        for b in (0..20usize).filter(|&b| b != a) {
            let walk: f64 = (0..users).map(|u| x[u][a] / item_degree[a] * x[u][b] / user_degree[u]).sum();
            assert!((walk - f64::from(linear.similarity(a as u32, b as u32))).abs() < 1e-5, "{a} {b}");
        }
    }
    // Two halves of the shop that never meet: the two leading singular vectors of X̃ are √degree on either half, so a low-pass of
    // two factors scores every item of a shopper's own half by its degree, and those of the other half by nothing.
    let two = LowPass { factors: 2, scaling: Scaling::Linear, ..LowPass::default() }.fit(&training, &()).unwrap();
    for user in [0u32, 1] {
        let (columns, values) = interactions.by_user.row(user as usize);
        let history = History { items: columns, values, user: None };
        let half = |item: u32| item / 10 == user % 2;
        let scores = two.score(history, &(0..20).collect::<Vec<u32>>());
        let mass: f64 = (0..20u32).filter(|&item| half(item)).map(|item| item_degree[item as usize]).sum();
        let seen: f64 = values.iter().map(|&value| f64::from(value)).sum();
        for item in 0..20u32 {
            let expected = if half(item) { seen * item_degree[item as usize] / mass } else { 0.0 };
            let found = f64::from(scores[item as usize].unwrap());
            assert!((found - expected).abs() < 1e-3 * (1.0 + expected), "{user} {item}: {found} {expected}");
        }
    }
}

#[test]
fn nonsense_is_refused_with_the_range() {
    let made = Made::of(checkerboard(6));
    let training = made.training();
    for wrong in [
        Als { factors: 0, ..als() },
        Als { alpha: -1.0, ..als() },
        Als { regularization: f32::NAN, ..als() },
        Als { iterations: 0, ..als() },
    ] {
        assert!(matches!(wrong.fit(&training, &()), Err(ModelError::Hyperparameter { .. })), "{wrong:?}");
    }
    let twice = vec![Personal::Als(als()), Personal::Als(als())];
    for wrong in [
        Personal::LowPass(LowPass { factors: 0, ..LowPass::default() }),
        Personal::LinearFilter(LinearFilter { popularity: 2.0, ..LinearFilter::default() }),
        Personal::LocalRidge(LocalRidge { l2: f32::NAN, ..LocalRidge::default() }),
        Personal::Ease(Ease { l2: 0.0, ..Ease::default() }),
        Personal::Blend(Blend { members: twice, ..blend() }),
        Personal::Blend(Blend { weights: vec![0.0, 0.0], ..blend() }),
        Personal::Blend(Blend { members: vec![Personal::Blend(blend()), Personal::Als(als())], ..blend() }),
    ] {
        assert!(matches!(wrong.fit(&training, &()), Err(ModelError::Hyperparameter { .. })), "{wrong:?}");
    }
    assert!(ItemKnn { neighbours: 0, ..ItemKnn::default() }.fit(&training, &()).is_err());
    assert!(Upsell { min_ratio: 0.5, ..Upsell::default() }.fit(&training, &()).is_err());
    assert!(Complements { min_shoppers: 0, ..Complements::default() }.fit(&training, &()).is_err());
    let empty = Made::of(log_of(3, 3, &[]));
    assert!(matches!(als().fit(&empty.training(), &()), Err(ModelError::NothingToLearn { .. })));
}

/// Two shops in one: cups go with saucers, nails with hammers. Prices and categories are set.
fn shop() -> Dataset {
    let mut events = Vec::new();
    let mut order = 0;
    for user in 0..40u32 {
        for day in 0..3i64 {
            let base = if user % 2 == 0 { 0 } else { 10 };
            for item in [base, base + 5, base + (user + day as u32) % 5, base + 5 + (user * 3 + day as u32) % 5] {
                events.push((user, item, order, i64::from(user) + day));
            }
            order += 1;
        }
    }
    let log = log_of(40, 22, &events);
    let mut catalog = Catalog { given: true, ..Catalog::default() };
    for item in 0..22u32 {
        let category = ["Home > Cups", "Home > Saucers", "Tools > Nails", "Tools > Hammers", "Odd"][(item / 5) as usize];
        catalog.title.push(Some(&format!("Item {item}")));
        catalog.category.push(Some(category));
        catalog.price.push(1.0 + (item % 5) as f32 * 0.3);
        catalog.currency.push(Some("EUR"));
        catalog.brand.push(None);
        catalog.available.push(item != 7);
    }
    Dataset { log, catalog, user_attributes: Vec::new(), report: ReadReport::default(), items_report: None, inputs: Vec::new() }
}

fn parameters(personal: Personal) -> Hyperparameters {
    Hyperparameters { segments: Segments { min_shoppers: 5, ..Segments::default() }, ..Hyperparameters::of(personal) }
}

/// The shop with two new items: a cup and a hammer that nobody has bought yet.
fn shop_with_news() -> (Dataset, [u32; 2]) {
    let mut data = shop();
    let (cup, hammer) = (20, 21);
    let mut catalog = Catalog { given: true, ..Catalog::default() };
    for item in 0..22u32 {
        let category = match item {
            20 => Some("Home > Cups"),
            21 => Some("Tools > Hammers"),
            _ => data.catalog.category.get(item),
        };
        catalog.title.push(Some(&format!("Item {item}")));
        catalog.category.push(category);
        catalog.price.push(data.catalog.price[item as usize]);
        catalog.currency.push(Some("EUR"));
        catalog.brand.push(None);
        catalog.available.push(true);
    }
    data.catalog = catalog;
    (data, [cup, hammer])
}

#[test]
fn a_new_item_suits_who_likes_its_category() {
    let (data, [cup, hammer]) = shop_with_news();
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    for personal in [
        Personal::Als(als()),
        Personal::LowPass(low_pass()),
        Personal::LocalRidge(local_ridge()),
        Personal::ItemKnn(ItemKnn::default()),
        Personal::Blend(blend()),
    ] {
        let name = personal.algorithm();
        let mut made = Bundle::fit(&data, &DataConfig::default(), parameters(personal.clone()), &()).unwrap();
        assert_eq!(made.manifest.counts.cold_items, 2, "{name}");
        // As it is, and as it comes back.
        let version = registry.publish("shop", &mut made).unwrap();
        for made in [&made, &registry.verify("shop", &version).unwrap()] {
            assert!(made.is_trained(cup) && made.is_trained(hammer), "{name}");
            for user in 0..40 {
                let ask = ForUser { user: Some(user), ..ForUser::default() };
                let answer = made.rank(&ForUser { k: 2, ..ask }, &[cup, hammer]);
                let first = if user % 2 == 0 { cup } else { hammer };
                assert_eq!((answer.rung, answer.items[0].item), (Rung::Personal, first), "{name}, shopper {user}");
            }
            let like = made.similar(&ForItem { item: cup, k: 3, ..ForItem::default() });
            assert!(like.items.iter().all(|ranked| ranked.item < 10), "{name}: {:?}", like.items);
        }
        let off = Content { share: 0.0, ..Content::default() };
        let without =
            Bundle::fit(&data, &DataConfig::default(), Hyperparameters { content: off, ..parameters(personal) }, &()).unwrap();
        assert!(!without.is_trained(cup), "{name}: switched off");
    }
}

/// Content touches nothing that was learned: who asks for known items gets the same scores, bit for bit.
#[test]
fn new_items_change_no_score_of_the_others() {
    let (data, _) = shop_with_news();
    let off = Content { share: 0.0, ..Content::default() };
    let known: Vec<u32> = (0..20).collect();
    for personal in [Personal::Als(als()), Personal::LowPass(low_pass()), Personal::LocalRidge(local_ridge())] {
        let fit = |content: &Content| {
            let parameters = Hyperparameters { content: content.clone(), ..parameters(personal.clone()) };
            Bundle::fit(&data, &DataConfig::default(), parameters, &()).unwrap()
        };
        let (with, without) = (fit(&Content::default()), fit(&off));
        for user in 0..40 {
            let (items, values) = with.history(user);
            // Folded in, and known.
            for user in [None, Some(user)] {
                let history = History { items, values, user };
                assert_eq!(with.personal().score(history, &known), without.personal().score(history, &known));
            }
        }
    }
}

fn bundle(personal: Personal) -> Bundle {
    Bundle::fit(&shop(), &DataConfig::default(), parameters(personal), &()).unwrap()
}

/// Algorithms that are fitted in no time.
fn personals() -> Vec<Personal> {
    vec![
        Personal::Als(als()),
        Personal::LowPass(low_pass()),
        Personal::LinearFilter(LinearFilter::default()),
        Personal::ItemKnn(ItemKnn::default()),
        Personal::LocalRidge(local_ridge()),
        Personal::Ease(Ease::default()),
        Personal::Blend(blend()),
        Personal::Popular(Popular::default()),
    ]
}

#[test]
fn items_that_came_since_have_a_place_in_every_model() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    let (cup, hammer) = ("i9001", "i9002");
    let of = |category: &str| NewItem {
        title: Some("Newly come".into()),
        category: Some(category.into()),
        currency: Some("EUR".into()),
        attributes: [("no such column".to_string(), "x".to_string())].into(),
        ..NewItem::default()
    };
    let mut changes = ItemChanges::default();
    changes.add(ItemNews {
        items: [
            (cup.to_string(), ItemChange { price: Some(1.45), available: None }),
            (hammer.to_string(), ItemChange { price: None, available: Some(false) }),
        ]
        .into(),
        new: [(cup.to_string(), of("Home > Cups")), (hammer.to_string(), of("Tools > Hammers")), ("i0003".into(), of("Lost"))]
            .into(),
        ..ItemNews::default()
    });
    for personal in personals().into_iter().chain([Personal::TwoTower(two_tower())]) {
        let name = personal.algorithm();
        let version = registry.publish("shop", &mut bundle(personal)).unwrap();
        let before = registry.verify("shop", &version).unwrap();
        let after = registry.verify_with("shop", &version, &changes, &[&before]).unwrap();
        // What is known of items is shared until it differs.
        let again = registry.verify_with("shop", &version, &ItemChanges::default(), &[&after, &before]).unwrap();
        assert!(std::sync::Arc::ptr_eq(&again.catalog, &before.catalog) && std::sync::Arc::ptr_eq(&again.items, &before.items));
        assert_eq!((before.items.len(), before.catalog.len()), (22, 22), "{name}");
        after.shelve(&changes);
        let row = |id: &str| after.items.get(id).unwrap();
        assert_eq!((after.items.len(), row(cup), row(hammer)), (24, 22, 23), "{name}");
        assert_eq!(after.catalog.category.get(3), Some("Home > Cups"), "{name}: what the version knows stands");
        let by_content = !matches!(name, "two-tower" | "popular");
        assert_eq!((after.is_trained(22), after.is_learned(cup), after.is_learned("i0003")), (by_content, false, true), "{name}");

        let personal = |bundle: &Bundle, user: u32, exclude: Vec<u32>| {
            let filter = ItemFilter { exclude, ..ItemFilter::default() };
            let answer = bundle.for_user(&ForUser { user: Some(user), k: 24, filter, ..ForUser::default() });
            answer.items.iter().map(|ranked| (ranked.item, ranked.score)).collect::<Vec<_>>()
        };
        for user in 0..40 {
            // All that can be bought, and nothing that was learned has moved.
            let all = personal(&after, user, vec![]);
            assert!(all.iter().any(|found| found.0 == 22) && all.iter().all(|found| found.0 != 23), "{name}");
            // Those without events share the room that new items have, and are placed anew.
            // A blend weighs its members by the deviation of their scores over all items, theirs too.
            let learned = |bundle: &Bundle| personal(bundle, user, vec![20, 21, 22]);
            assert!(name == "blend" || learned(&after) == learned(&before), "{name}, user {user}");
        }
        // It can be asked about.
        let about = |item: u32| ForItem { item, k: 24, ..ForItem::default() };
        let better = after.upsell(&about(22));
        assert!(!better.items.is_empty(), "{name}");
        assert!(better.items.iter().all(|step| after.catalog.category.get(step.item) == Some("Home > Cups")), "{name}");
        assert!(
            after.upsell(&about(0)).items.iter().any(|step| step.item == 22),
            "{name}: it is a better version of the cheapest cup"
        );
        assert_eq!(after.similar(&about(22)).items.len(), 21, "{name}");
        let cart = ForCart { cart: vec![22, 5], user: Some(2), k: 24, ..ForCart::default() };
        assert!(after.cross_sell(&cart).items.iter().all(|line| line.item > 9), "{name}: no cup, no saucer");
        assert_eq!(after.for_session(&ForSession { clicks: vec![22], k: 5, ..ForSession::default() }).items.len(), 5, "{name}");
        let ranked = after.rank(&ForUser { user: Some(2), k: 3, ..ForUser::default() }, &[22, 23, 0]);
        assert_eq!(ranked.items.len(), 2, "{name}");
        assert!(after.buy_again(&ForAgain { user: Some(2), k: 24, ..ForAgain::default() }).items.iter().all(|due| due.item < 20));
    }
}

#[test]
fn a_version_comes_back_as_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    let with_popular = Blend { members: vec![Personal::Als(als()), Personal::Popular(Popular::default())], ..blend() };
    let blends = [with_popular, Blend { weights: Vec::new(), ..blend() }].map(Personal::Blend);
    for personal in personals().into_iter().chain(blends) {
        let mut made = bundle(personal);
        let version = registry.publish("shop", &mut made).unwrap();
        let loaded = registry.verify("shop", &version).unwrap();
        assert_eq!(loaded.manifest, made.manifest);
        assert!(loaded.manifest.golden.len() > 20);
        for user in 0..40 {
            let ask = ForUser { user: Some(user), k: 9, exclude_bought: true, ..ForUser::default() };
            assert_eq!(loaded.for_user(&ask), made.for_user(&ask));
        }
        for user in 0..40 {
            let cart = ForCart { cart: vec![3, 12], user: Some(user), k: 9, ..ForCart::default() };
            assert_eq!(loaded.cross_sell(&cart), made.cross_sell(&cart));
            let again = ForAgain { user: Some(user), k: 9, ..ForAgain::default() };
            assert_eq!(loaded.buy_again(&again), made.buy_again(&again));
            let step = ForItem { item: user % 20, user: Some(user), k: 9, ..ForItem::default() };
            assert_eq!(loaded.upsell(&step), made.upsell(&step));
        }
        for item in 0..20 {
            let visit = ForSession { clicks: vec![item, 0], k: 9, ..ForSession::default() };
            assert_eq!(loaded.for_session(&visit), made.for_session(&visit));
            let ask = ForItem { item, k: 9, ..ForItem::default() };
            assert_eq!(loaded.upsell(&ask), made.upsell(&ask));
            assert_eq!(loaded.similar(&ask), made.similar(&ask));
            let cart = ForCart { cart: vec![item, 0], k: 9, ..ForCart::default() };
            assert_eq!(loaded.cross_sell(&cart), made.cross_sell(&cart));
        }
    }
}

#[test]
fn complements_come_from_other_categories_and_need_shoppers() {
    let made = bundle(Personal::Als(als()));
    let answer = made.cross_sell(&ForCart { cart: vec![0], k: 3, ..ForCart::default() });
    assert_eq!(answer.rung, Rung::CrossSell);
    assert_eq!(answer.items[0].item, 5, "cup 0 is always bought with saucer 5");
    let evidence = made.complements().evidence(&[0], 5);
    assert_eq!((evidence[0].orders, evidence[0].shoppers), (60, 20));
    // Below the support in distinct shoppers a pair is never stored.
    let strict = Complements { min_shoppers: 21, ..Complements::default() };
    let data = shop();
    let made =
        Made { interactions: Interactions::of(&data.log), orders: Orders::of(&data.log), log: data.log, catalog: data.catalog };
    let strict = strict.fit(&made.training(), &()).unwrap();
    assert_eq!(strict.pairs(), 0);
    assert!(strict.suppressed > 0);
}

fn filter() -> impl Strategy<Value = ItemFilter> {
    let paths =
        prop::sample::subsequence(vec!["Home".to_string(), "Home > Cups".into(), "Tools > Nails".into(), "None".into()], 0..3);
    let price = prop::option::of(0.5f32..3.0);
    (paths.clone(), paths, price.clone(), price, any::<bool>(), prop::collection::vec(0u32..22, 0..8)).prop_map(
        |(categories, exclude_categories, min_price, max_price, include_unavailable, exclude)| ItemFilter {
            categories,
            exclude_categories,
            min_price,
            max_price,
            currency: None,
            include_unavailable,
            exclude,
            condition: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// The gate, written again in the plainest way, against every path.
    #[test]
    fn nothing_passes_the_gate_that_should_not(
        filter in filter(), k in 0usize..30, user in prop::option::of(0u32..40), bought in any::<bool>(),
        item in 0u32..22, cart in prop::collection::vec(0u32..22, 0..4), (same, hurry, known) in any::<(bool, bool, bool)>(),
        (varied, turned, ruled, cheap) in any::<(bool, bool, bool, bool)>(),
    ) {
        let mut filter = filter;
        let made = bundle(Personal::Als(als()));
        if ruled {
            let pin = |item_id: &str, position| Pin { item_id: item_id.into(), position };
            let rule = Rule {
                name: "all at once".into(),
                exclude: Some("item.price > 1.8".into()),
                boost: Some(Boost { items: "item.category : Tools".into(), factor: 5.0 }),
                pins: vec![pin("i0012", 2), pin("i0003", 1), pin("i0007", 1), pin("gone", 3), pin("i0001", 9)],
                ..Rule::default()
            };
            made.rule(&Arc::new(RuleSet { revision: 1, rules: vec![rule] }));
        }
        if cheap {
            filter.condition = Some(made.chosen("item.price <= 1.6").unwrap());
        }
        let controls = Controls { diversity: varied.then_some(0.4), rotation: turned.then_some(0.7), ..Controls::default() };
        let circumstances = [("daypart".to_string(), "weekday night".to_string())].into_iter().filter(|_| known).collect();
        let scene = Scene { controls, circumstances, time: Some(5), without_reasons: same, ..Scene::default() };
        let catalog = &made.catalog;
        let under = |item: u32, path: &String| {
            let own = catalog.category.get(item).unwrap();
            own == path || own.starts_with(&format!("{path} > "))
        };
        let passes = |item: u32| {
            let price = catalog.price[item as usize];
            (filter.include_unavailable || catalog.available[item as usize])
                && (filter.categories.is_empty() || filter.categories.iter().any(|path| under(item, path)))
                && !filter.exclude_categories.iter().any(|path| under(item, path))
                && filter.min_price.is_none_or(|min| price >= min)
                && filter.max_price.is_none_or(|max| price <= max)
                && !filter.exclude.contains(&item)
                && (!ruled || price <= 1.8)
                && (!cheap || price <= 1.6)
        };
        let check = |answer: &aisle_models::Answer, eligible: Vec<u32>, what: &str| {
            prop_assert_eq!(answer.eligible, eligible.len(), "{}", what);
            prop_assert_eq!(answer.items.len(), k.min(eligible.len()), "{}: exactly min(k, eligible)", what);
            let mut seen: Vec<u32> = answer.items.iter().map(|ranked| ranked.item).collect();
            prop_assert!(seen.iter().all(|item| eligible.contains(item)), "{}", what);
            prop_assert!(answer.items.iter().all(|ranked| ranked.score.is_finite()));
            // A step up is told all the same: prices are told from it.
            let told = answer.items.iter().any(|ranked| !ranked.reasons.is_empty());
            prop_assert!(!same || what == "upsell" || !told, "{}: nobody wants reasons", what);
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), answer.items.len(), "{}: no item twice", what);
            Ok(())
        };
        let everything = || (0..22u32).filter(|&item| passes(item));

        let ask =
            ForUser { user, recent: vec![(item, 1.0)], k, filter: filter.clone(), exclude_bought: bought, hurry, scene: scene.clone() };
        let owned = |other: u32| bought && (other == item || user.is_some_and(|user| made.bought(user).contains(&other)));
        check(&made.for_user(&ask), everything().filter(|&other| !owned(other)).collect(), "for user")?;

        let asker = user.filter(|_| known);
        let now = known.then_some(2.0);
        let ask = ForItem { item, k, filter: filter.clone(), band: None, user: asker, now, hurry, scene: scene.clone() };
        check(&made.similar(&ask), everything().filter(|&other| other != item).collect(), "similar")?;

        let category = |item: u32| catalog.category.get(item).unwrap();
        let ratio = |other: u32| catalog.price[other as usize] / catalog.price[item as usize];
        let dearer = |other: u32| other != item && ratio(other) >= 1.05 && ratio(other) <= 4.0;
        let leaf: Vec<u32> = everything().filter(|&other| dearer(other) && category(other) == category(item)).collect();
        let top = |item: u32| category(item).split(" > ").next().unwrap().to_string();
        let wide: Vec<u32> = everything().filter(|&other| dearer(other) && top(other) == top(item)).collect();
        check(&made.upsell(&ask), if leaf.is_empty() { wide } else { leaf }, "upsell")?;

        let ask = ForCart {
            cart: cart.clone(),
            k,
            filter: filter.clone(),
            same_category: same,
            user: asker,
            now,
            exclude_bought: bought,
            hurry,
            scene: scene.clone(),
        };
        let answer = made.cross_sell(&ask);
        let owned = |item: u32| bought && asker.is_some_and(|user| made.bought(user).contains(&item));
        let proper = |item: u32| !cart.contains(&item) && passes(item) && !owned(item);
        prop_assert!(answer.items.iter().all(|ranked| proper(ranked.item) && (!same || ranked.reasons.is_empty())));
        if !same {
            let other = |item: u32| !owned(item) && cart.iter().all(|&held| category(held) != category(item));
            check(&answer, everything().filter(|&item| other(item)).collect(), "cross-sell")?;
        }

        let again = [Again::Anything, Again::Earlier, Again::Nothing][k % 3];
        let ask = ForSession { clicks: cart.clone(), k, filter: filter.clone(), again, user: asker, hurry, scene: scene.clone() };
        let left_out = |item: u32| match again {
            Again::Anything => false,
            Again::Earlier => cart.last() == Some(&item),
            Again::Nothing => cart.contains(&item),
        };
        check(&made.for_session(&ask), everything().filter(|&item| !left_out(item)).collect(), "session")?;

        let ask = ForAgain { user, k, filter: filter.clone(), now, days: None, scene: scene.clone() };
        let had = |item: u32| user.is_some_and(|user| made.bought(user).contains(&item));
        check(&made.buy_again(&ask), everything().filter(|&item| had(item)).collect(), "buy again")?;

        let given: Vec<u32> = (0..22).filter(|item| item % 3 == 0).collect();
        let ask = ForUser { user, k, filter: filter.clone(), scene, ..ForUser::default() };
        check(&made.rank(&ask, &given), everything().filter(|item| given.contains(item)).collect(), "rank")?;
    }
}

#[test]
fn every_cut_and_every_flipped_bit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    let version = registry.publish("shop", &mut bundle(Personal::Als(als()))).unwrap();
    let place = registry.version_folder("shop", &version).unwrap();
    for file in ["manifest.json", "items.parquet", "users.parquet", "weights.safetensors"] {
        let path = place.join(file);
        let whole = std::fs::read(&path).unwrap();
        for cut in (0..whole.len()).step_by(whole.len() / 40 + 1) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(registry.verify("shop", &version).is_err(), "{file} cut at {cut}");
        }
        for flip in 0..150usize {
            let mut bytes = whole.clone();
            let at = flip * 7919 % bytes.len();
            bytes[at] ^= 1 << (flip % 8);
            std::fs::write(&path, &bytes).unwrap();
            let refused = registry.verify("shop", &version).err().unwrap();
            assert!(matches!(refused, ModelError::Damaged { .. }), "{file} flipped at {at}: {refused}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(registry.verify("shop", &version).is_err(), "{file} gone");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
            assert!(registry.verify("shop", &version).is_err(), "{file} a link");
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(registry.verify("shop", &version).is_ok());
}

#[test]
fn the_same_data_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let read = |place: &Path| {
        let mut files: Vec<_> = std::fs::read_dir(place)
            .unwrap()
            .flatten()
            .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    };
    let versions: Vec<_> = [1, 3]
        .into_iter()
        .map(|threads| {
            let registry = Registry::new(folder.path().join(threads.to_string()));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let version = pool.install(|| registry.publish("shop", &mut bundle(Personal::Als(als())))).unwrap();
            (version.rsplit('-').next().unwrap().to_string(), read(&registry.version_folder("shop", &version).unwrap()))
        })
        .collect();
    assert_eq!(versions[0], versions[1]);
}

#[test]
fn aliases_move_roll_back_and_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    let publish = |seed| registry.publish("shop", &mut bundle(Personal::Als(Als { seed, ..als() }))).unwrap();
    let (a, b) = (publish(1), publish(2));
    assert!(matches!(registry.resolve("shop", "stable"), Err(ModelError::NotFound { what: "alias", .. })));
    registry.set_alias("shop", "stable", &a).unwrap();
    assert!(matches!(registry.rollback("shop", "stable"), Err(ModelError::NoEarlierVersion { .. })));
    registry.set_alias("shop", "stable", &b).unwrap();
    registry.set_alias("shop", "stable", &b).unwrap();
    assert_eq!(registry.aliases("shop").unwrap().aliases["stable"].previous, std::slice::from_ref(&a));
    registry.rollback("shop", "stable").unwrap();
    assert_eq!(registry.resolve("shop", "stable").unwrap(), a);
    let missing = registry.set_alias("shop", "stable", "20200101T000000Z-aaaaaaaaaaaa").unwrap_err();
    assert!(missing.to_string().contains(&b), "it lists those there are: {missing}");
    for name in ["../x", "", ".hidden", "a/b", "a\0b", "..", &"x".repeat(65)] {
        assert!(matches!(registry.set_alias("shop", name, &a), Err(ModelError::BadName { .. })), "{name:?}");
        assert!(matches!(registry.load("shop", name), Err(ModelError::BadName { .. })), "{name:?}");
        assert!(matches!(registry.version_names(name), Err(ModelError::BadName { .. })), "{name:?}");
    }
    assert_eq!(registry.resolve("shop", "stable").unwrap(), a);
}

#[test]
fn a_log_without_users_still_sells() {
    let events: Vec<(u32, u32, u32, i64)> = (0..300).map(|n| (NONE, (n * 7 + n / 3) % 15, n / 3, 0)).collect();
    let log = log_of(0, 15, &events);
    let data = Dataset {
        catalog: Catalog::unknown(15),
        log,
        user_attributes: Vec::new(),
        report: ReadReport::default(),
        items_report: None,
        inputs: Vec::new(),
    };
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    let mut made = Bundle::fit(&data, &DataConfig::default(), parameters(Personal::Als(als())), &()).unwrap();
    let version = registry.publish("shop", &mut made).unwrap();
    let loaded = registry.verify("shop", &version).unwrap();
    assert_eq!(loaded.for_user(&ForUser { k: 5, ..ForUser::default() }).rung, Rung::Popular);
    let recent = ForUser { recent: vec![(3, 1.0)], k: 5, ..ForUser::default() };
    assert_eq!(loaded.for_user(&recent).rung, Rung::Personal);
    assert_eq!(loaded.cross_sell(&ForCart { cart: vec![3], k: 5, ..ForCart::default() }).items.len(), 5);
}

/// Events that have faded to nothing, and shoppers of nothing else, break no fit.
#[test]
fn what_has_faded_away_breaks_nothing() {
    let mut made = Made::of(checkerboard(40));
    for user in [0usize, 3] {
        let range = made.interactions.by_user.offsets[user]..made.interactions.by_user.offsets[user + 1];
        let cells = if user == 0 { range } else { range.start..range.start + 1 };
        cells.for_each(|at| made.interactions.by_user.values[at] = 1e-12);
    }
    made.interactions.by_item = made.interactions.by_user.transposed(40);
    let everything = Bitmap::filled(40, true);
    for (name, model) in all(&made) {
        let history = made.history(5);
        let found = ask(model.as_ref(), history, 3, Eligible::without(&everything, history.items));
        assert!(name == "popular" || found.first() == Some(&5), "{name}: {found:?}");
    }
}

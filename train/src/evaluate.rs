//! `aisle-train evaluate`: how good a model is on what it has not seen, beside the baselines that it must beat.
//!
//! Full catalogue, no sampled negatives. Each task states its protocol in the doc of its function.

use crate::progress::Progress;
use crate::report::{count, peak_rss, seconds, table};
use crate::settings::{Algorithm, Settings};
use aisle_data::{Catalog, Dataset, EventLog, EventRole, IdMap, Interactions, NONE, Orders};
use aisle_models::metrics::{Measured, Population, interval};
use aisle_models::{
    Bitmap, Bundle, Complements, Eligible, Fit, ForItem, Found, History, ItemKnnModel, Personal, Recommend, Scaling, Scored, TopK,
    Training, Watch,
};
use anyhow::{Result, bail};
use clap::ValueEnum;
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// What a shopper chooses next, that is new to them.
    #[default]
    Personal,
    /// The missing line of an order, from another category than the rest.
    CrossSell,
    /// The dearer item of the same category that a shopper stepped up to.
    Upsell,
}

/// Past and future.
pub struct Parts {
    /// To learn from.
    pub train: Dataset,
    /// To be measured on; its ids are its own.
    pub test: EventLog,
    /// How they were split, in words.
    pub split: String,
}

/// One measured method.
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its hyperparameters.
    pub params: Value,
    /// What it reached.
    pub measured: Measured,
    /// Seconds to fit.
    pub fit_seconds: f64,
    /// Seconds of one iteration, for algorithms that iterate.
    pub epoch_seconds: Option<f64>,
    /// Seconds to rank and measure.
    pub evaluate_seconds: f64,
}

/// A finished evaluation.
pub struct Evaluation {
    /// Task and data in a line or two.
    pub headline: String,
    /// The metric that comparisons are made in.
    pub metric: &'static str,
    /// The algorithm asked for first, then the baselines.
    pub rows: Vec<Row>,
    /// Users, items and interactions of the training part.
    pub sizes: (usize, usize, usize),
    /// Checks that the task makes beside the metrics, as (what, how many, of how many).
    pub checks: Vec<(&'static str, usize, usize)>,
}

/// Times the iterations of a fit while showing them.
struct Timed<'a> {
    progress: &'a Progress,
    steps: std::sync::Mutex<Vec<Instant>>,
}

impl Watch for Timed<'_> {
    fn step(&self, stage: &str, done: usize, total: usize) {
        self.progress.step(stage, done, total);
        if let Ok(mut steps) = self.steps.lock() {
            steps.push(Instant::now());
        }
    }
}

fn fit(personal: &Personal, training: &Training, progress: &Progress) -> Result<(Box<dyn Recommend>, f64, Option<f64>)> {
    let began = Instant::now();
    let timed = Timed { progress, steps: std::sync::Mutex::default() };
    let model: Box<dyn Recommend> = match personal {
        Personal::Als(als) => Box::new(als.fit(training, &timed)?),
        Personal::ItemKnn(knn) => Box::new(knn.fit(training, &timed)?),
        Personal::Popular(popular) => Box::new(popular.fit(training, &timed)?),
    };
    progress.clear();
    let steps = timed.steps.into_inner().unwrap_or_default();
    let epoch = match (steps.first(), steps.last()) {
        (Some(&first), Some(&last)) if steps.len() > 1 => Some((last - first).as_secs_f64() / (steps.len() - 1) as f64),
        _ => None,
    };
    Ok((model, began.elapsed().as_secs_f64(), epoch))
}

/// The hyperparameters of an algorithm, without the enum's name around them.
fn params(personal: &Personal) -> Value {
    match serde_json::to_value(personal) {
        Ok(Value::Object(map)) => map.into_iter().next().map_or(Value::Null, |(_, value)| value),
        _ => Value::Null,
    }
}

/// The test part's positive (user, item) pairs with rows of the training ids. Items that training never saw get rows beyond
/// its last: nobody can find them, and they count as missed.
fn relevant(test: &EventLog, users: &IdMap, items: &IdMap) -> (BTreeMap<u32, Vec<u32>>, usize) {
    let bought = test.types.iter().any(|kind| kind.role == EventRole::Purchase && kind.rows > 0);
    let chosen = test.select(|event| !bought || test.type_of(event).role == EventRole::Purchase);
    let wanted = Interactions::of(&chosen);
    let mut found = BTreeMap::new();
    let mut strangers = 0;
    for user in 0..wanted.users() {
        let columns = wanted.by_user.columns(user);
        if columns.is_empty() {
            continue;
        }
        match users.get(test.users.id(user as u32)) {
            None => strangers += 1,
            Some(row) => {
                let mut rows: Vec<u32> =
                    columns.iter().map(|&item| items.get(test.items.id(item)).unwrap_or(items.len() as u32 + item)).collect();
                rows.sort_unstable();
                found.insert(row, rows);
            }
        }
    }
    (found, strangers)
}

/// Personal: for each shopper with a past and a future, all items the training part holds are ranked, those of the shopper's
/// past left out; relevant is what the shopper bought (in a log without purchases: did) in the test part and not before.
pub fn personal(parts: &Parts, settings: &Settings, asked: &[Algorithm], k: usize) -> Result<Evaluation> {
    let mut algorithms = asked.to_vec();
    for baseline in [Algorithm::Popular, Algorithm::ItemKnn] {
        if !algorithms.contains(&baseline) {
            algorithms.push(baseline);
        }
    }
    measure_personal(parts, settings, &algorithms, k)
}

/// As [`personal`], one algorithm without its baselines.
pub fn personal_alone(parts: &Parts, settings: &Settings, algorithm: Algorithm, k: usize) -> Result<Row> {
    let mut evaluation = measure_personal(parts, settings, &[algorithm], k)?;
    Ok(evaluation.rows.remove(0))
}

fn measure_personal(parts: &Parts, settings: &Settings, algorithms: &[Algorithm], k: usize) -> Result<Evaluation> {
    let log = parts.train.log.with_min_users(settings.clean.min_users_per_item);
    let interactions = Interactions::of(&log);
    if interactions.rows_are_orders {
        bail!("the task 'personal' needs shoppers, and no event of the training part names one (user_id)");
    }
    let orders = Orders::of(&log);
    let training = Training { log: &log, interactions: &interactions, orders: &orders, catalog: &parts.train.catalog };
    let (wanted, strangers) = relevant(&parts.test, &log.users, &log.items);
    let mut repeats = 0;
    let mut questions: Vec<(u32, Vec<u32>)> = Vec::new();
    let mut newcomers = 0;
    for (user, items) in wanted {
        let past = interactions.by_user.columns(user as usize);
        if past.is_empty() {
            newcomers += 1;
            continue;
        }
        let before = items.len();
        let new: Vec<u32> = items.into_iter().filter(|item| past.binary_search(item).is_err()).collect();
        repeats += before - new.len();
        if !new.is_empty() {
            questions.push((user, new));
        }
    }
    if questions.is_empty() {
        bail!("no shopper of the test part has both a past in the training part and something new after it: choose another split");
    }
    let item_users: Vec<u32> = (0..interactions.items()).map(|item| interactions.by_item.columns(item).len() as u32).collect();
    let candidates = Bitmap::of(interactions.items(), |item| item_users[item as usize] > 0);
    let population = Population { candidates: candidates.count(), item_users: &item_users, users: interactions.users() };
    let relevant: Vec<&[u32]> = questions.iter().map(|(_, items)| items.as_slice()).collect();

    let progress = Progress::new();
    let mut rows = Vec::new();
    for &algorithm in algorithms {
        let chosen = settings.personal(algorithm);
        let (model, fit_seconds, epoch_seconds) = fit(&chosen, &training, &progress)?;
        let began = Instant::now();
        let mut answers: Vec<Vec<Scored>> = Vec::with_capacity(questions.len());
        for block in questions.chunks(4096) {
            let histories: Vec<History> = block
                .iter()
                .map(|&(user, _)| {
                    let (items, values) = interactions.by_user.row(user as usize);
                    History { items, values, user: Some(user) }
                })
                .collect();
            let eligible: Vec<Eligible> = histories.iter().map(|history| Eligible::without(&candidates, history.items)).collect();
            answers.extend(model.recommend_batch(&histories, k, &eligible));
            progress.step(algorithm.name(), answers.len(), questions.len());
        }
        progress.clear();
        let measured = Measured::of(&answers, &relevant, k, population);
        let evaluate_seconds = began.elapsed().as_secs_f64();
        rows.push(Row {
            name: algorithm.name().into(),
            params: params(&chosen),
            measured,
            fit_seconds,
            epoch_seconds,
            evaluate_seconds,
        });
    }
    let mut headline = format!(
        "personal, {}: {} shoppers measured, {} items ranked in full, what the shopper had before left out",
        parts.split,
        count(questions.len() as u64),
        count(population.candidates as u64),
    );
    for (number, what) in [
        (strangers + newcomers, "shoppers of the test part have no past and are not measured"),
        (repeats, "test items were repeats and are not asked for"),
    ] {
        if number > 0 {
            headline += &format!("\n  {} {what}", count(number as u64));
        }
    }
    let sizes = (interactions.users(), population.candidates, interactions.nnz());
    Ok(Evaluation { headline, metric: "ndcg", rows, sizes, checks: Vec::new() })
}

/// A question of the cross-sell task.
struct Missing {
    cart: Vec<u32>,
    target: [u32; 1],
    shopper: u32,
}

/// Which lines of a held-out order are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Lines {
    /// One line of each order, drawn with a fixed seed.
    #[default]
    One,
    /// Every line in turn.
    All,
}

/// How the cross-sell task asks.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Answers per question.
    pub k: usize,
    /// Lines asked for.
    pub lines: Lines,
}

/// Cross-sell: of each test order with three distinct known items or more, one line (or each in turn) is left out, and asked
/// for if no other line has its category; all trained items of categories that the rest does not hold are ranked.
pub fn cross_sell(parts: &Parts, settings: &Settings, asked: &[Algorithm], ask: Ask) -> Result<Evaluation> {
    let Ask { k, lines } = ask;
    let log = parts.train.log.with_min_users(settings.clean.min_users_per_item);
    let catalog = &parts.train.catalog;
    let orders = Orders::of(&log);
    let rows_of_orders = order_matrix(&orders, log.items.len());
    let training = Training { log: &log, interactions: &rows_of_orders, orders: &orders, catalog };
    let item_orders: Vec<u32> = (0..log.items.len()).map(|item| rows_of_orders.by_item.columns(item).len() as u32).collect();
    let candidates = Bitmap::of(log.items.len(), |item| item_orders[item as usize] > 0);
    let category = catalog.category_codes(settings.cross_sell.category_levels);
    if category.iter().all(|&code| code == NONE) {
        bail!("the task 'cross-sell' needs categories: give --items with a category column, or map one in [columns.items]");
    }
    let mut in_category: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for item in candidates.iter() {
        in_category.entry(category[item as usize]).or_default().push(item);
    }

    let held = Orders::of(&parts.test);
    let mut questions: Vec<Missing> = Vec::new();
    for order in 0..held.len() {
        let known = held.order(order).iter().filter_map(|&item| log.items.get(parts.test.items.id(item)));
        let mut cart: Vec<u32> = known.filter(|&item| candidates.contains(item)).collect();
        cart.sort_unstable();
        if cart.len() < 3 {
            continue;
        }
        let shopper = match held.user[order] {
            NONE => (1 << 31) | order as u32,
            user => user,
        };
        let drawn = mix(order as u64) as usize % cart.len();
        for at in 0..cart.len() {
            if lines == Lines::One && at != drawn {
                continue;
            }
            let mut rest = cart.clone();
            let target = rest.remove(at);
            let code = category[target as usize];
            if code != NONE && rest.iter().all(|&item| category[item as usize] != code) {
                questions.push(Missing { cart: rest, target: [target], shopper });
            }
        }
    }
    if questions.is_empty() {
        bail!("no order of the test part holds three known items with one of another category: choose another split");
    }

    let progress = Progress::new();
    let population = Population { candidates: candidates.count(), item_users: &item_orders, users: orders.len() };
    let groups: Vec<u32> = questions.iter().map(|question| question.shopper).collect();
    let mut rows = Vec::new();
    let mut run = |name: &str, params: Value, fit: &mut dyn FnMut() -> Result<CartRanker>| -> Result<()> {
        let began = Instant::now();
        let ranker = fit()?;
        let fit_seconds = began.elapsed().as_secs_f64();
        let began = Instant::now();
        let answers: Vec<Vec<Scored>> = questions
            .par_iter()
            .map_init(Found::default, |found, question| {
                let mut allowed = candidates.clone();
                for &item in &question.cart {
                    allowed.remove(item);
                    let same = in_category.get(&category[item as usize]).filter(|_| category[item as usize] != NONE);
                    same.into_iter().flatten().for_each(|&other| allowed.remove(other));
                }
                ranker.rank(&question.cart, k, &allowed, found);
                found.items.clone()
            })
            .collect();
        let relevant: Vec<&[u32]> = questions.iter().map(|question| question.target.as_slice()).collect();
        let measured = Measured::of(&answers, &relevant, k, population).grouped(groups.clone());
        let evaluate_seconds = began.elapsed().as_secs_f64();
        rows.push(Row { name: name.into(), params, measured, fit_seconds, epoch_seconds: None, evaluate_seconds });
        Ok(())
    };
    let complements: &Complements = &settings.cross_sell;
    run("cross-sell", serde_json::to_value(complements)?, &mut || {
        Ok(CartRanker::Complements(complements.fit(&training, &progress)?))
    })?;
    let mut algorithms: Vec<Algorithm> = vec![Algorithm::Popular, Algorithm::ItemKnn];
    algorithms.extend(asked.iter().filter(|algorithm| !matches!(algorithm, Algorithm::Popular | Algorithm::ItemKnn)));
    for algorithm in algorithms {
        let chosen = settings.personal(algorithm);
        run(algorithm.name(), params(&chosen), &mut || {
            Ok(CartRanker::Model(match &chosen {
                Personal::ItemKnn(knn) => {
                    let neighbours = knn.neighbours(&rows_of_orders.by_user, &rows_of_orders.by_item)?;
                    Box::new(ItemKnnModel::new(neighbours, Scaling::Binary))
                }
                Personal::Als(als) => Box::new(als.fit(&training, &progress)?),
                Personal::Popular(popular) => Box::new(popular.fit(&training, &progress)?),
            }))
        })?;
    }
    progress.clear();
    let headline = format!(
        "cross-sell, {}: {} questions (the other lines of a held-out order are given, its missing line of another category is asked for), \
         {} items of categories outside the cart ranked",
        parts.split,
        count(questions.len() as u64),
        count(population.candidates as u64),
    );
    let sizes = (orders.len(), population.candidates, rows_of_orders.nnz());
    Ok(Evaluation { headline, metric: "recall", rows, sizes, checks: Vec::new() })
}

/// Orders as rows of a 0/1 matrix.
fn order_matrix(orders: &Orders, items: usize) -> Interactions {
    let triples = (0..orders.len()).flat_map(|order| orders.order(order).iter().map(move |&item| (order as u32, item, 1.0)));
    Interactions::from_triples(orders.len(), items, triples.collect())
}

/// Something that completes a cart.
enum CartRanker {
    Complements(aisle_models::ComplementsModel),
    Model(Box<dyn Recommend>),
}

impl CartRanker {
    fn rank(&self, cart: &[u32], k: usize, allowed: &Bitmap, found: &mut Found) {
        match self {
            CartRanker::Complements(model) => model.complete(cart, k, Eligible::new(allowed), found),
            CartRanker::Model(model) => {
                let values = vec![1.0; cart.len()];
                model.recommend(History { items: cart, values: &values, user: None }, k, Eligible::new(allowed), found);
            }
        }
    }
}

/// Scrambles a number (SplitMix64): a fixed draw that does not depend on any library.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Upsell: for each shopper who bought in the test part an item new to them that lies in the category and the price band of
/// something they had bought, that item is asked for among all available dearer items of the band. The server's own answers
/// are measured, and each is checked for category, band and availability.
pub fn upsell(parts: &Parts, settings: &Settings, k: usize) -> Result<Evaluation> {
    let progress = Progress::new();
    let began = Instant::now();
    let bundle = Bundle::fit(&parts.train, &settings.data(), settings.hyperparameters(), &progress)?;
    progress.clear();
    let fit_seconds = began.elapsed().as_secs_f64();
    let catalog: &Catalog = &bundle.catalog;
    let (min, max) = bundle.upsell_model().band();
    let category = catalog.category_codes(0);
    let price = |item: u32| catalog.price[item as usize];
    let within_band = |anchor: u32, item: u32| price(item) >= price(anchor) * min && price(item) <= price(anchor) * max;
    let comparable = |anchor: u32, item: u32| {
        category[item as usize] == category[anchor as usize]
            && category[anchor as usize] != NONE
            && within_band(anchor, item)
            && catalog.currency.code(item) == catalog.currency.code(anchor)
            && catalog.available[item as usize]
    };
    let (wanted, _) = relevant(&parts.test, &bundle.users, &bundle.items);
    let mut questions: Vec<(u32, [u32; 1], u32)> = Vec::new();
    for (user, items) in wanted {
        let past = bundle.bought(user);
        for target in items.into_iter().filter(|item| (*item as usize) < bundle.items.len() && past.binary_search(item).is_err()) {
            // The dearest of the comparable things bought before: the one that the step up starts from.
            let anchors = past.iter().copied().filter(|&anchor| comparable(anchor, target));
            if let Some(anchor) =
                anchors.max_by(|&a, &b| catalog.price[a as usize].total_cmp(&catalog.price[b as usize]).then(b.cmp(&a)))
            {
                questions.push((anchor, [target], user));
            }
        }
    }
    if questions.is_empty() {
        bail!("no shopper of the test part stepped up within a category: choose another split, or widen upsell.max_ratio");
    }
    let relevant: Vec<&[u32]> = questions.iter().map(|question| question.1.as_slice()).collect();
    let groups: Vec<u32> = questions.iter().map(|question| question.2).collect();
    let item_users: Vec<u32> = (0..bundle.items.len() as u32).map(|item| bundle.popular().sales(item) as u32).collect();
    let population = Population { candidates: bundle.trained().count(), item_users: &item_users, users: bundle.users.len() };

    // The anchor's own category, or, where that has no candidate at all, one that shares its upper levels.
    let in_deepest = |anchor: u32, item: u32| {
        let path = catalog.category.get(anchor).unwrap_or_default();
        let own = bundle.in_category(path).iter().any(|&other| other != anchor && comparable(anchor, other));
        match own {
            true => category[item as usize] == category[anchor as usize],
            false => catalog.category_at(item, 1) == catalog.category_at(anchor, 1),
        }
    };
    let began = Instant::now();
    let (mut right_category, mut in_band, mut available, mut total) = (0, 0, 0, 0);
    let answers: Vec<Vec<Scored>> = questions
        .par_iter()
        .map(|&(anchor, _, _)| bundle.upsell(&ForItem { item: anchor, k, ..ForItem::default() }))
        .collect::<Vec<_>>()
        .into_iter()
        .zip(&questions)
        .map(|(answer, &(anchor, _, _))| {
            for ranked in &answer.items {
                total += 1;
                right_category += usize::from(in_deepest(anchor, ranked.item));
                in_band += usize::from(within_band(anchor, ranked.item));
                available += usize::from(catalog.available[ranked.item as usize]);
            }
            answer.items.iter().map(|ranked| Scored { item: ranked.item, score: ranked.score }).collect()
        })
        .collect();
    let row = |name: &str, answers: &[Vec<Scored>], evaluate_seconds: f64| Row {
        name: name.into(),
        params: serde_json::to_value(&settings.upsell).unwrap_or(Value::Null),
        measured: Measured::of(answers, &relevant, k, population).grouped(groups.clone()),
        fit_seconds,
        epoch_seconds: None,
        evaluate_seconds,
    };
    let mut rows = vec![row("upsell", &answers, began.elapsed().as_secs_f64())];
    type Score = fn(&Bundle, u32, u32) -> f32;
    let baselines: [(&str, Score); 3] = [
        ("popular dearer", |bundle, _, item| bundle.popular().sales(item)),
        ("nearest dearer", |bundle, _, item| -bundle.catalog.price[item as usize]),
        ("similar in band", |bundle, anchor, item| bundle.personal().similarity(anchor, item)),
    ];
    for (name, score) in baselines {
        let began = Instant::now();
        let answers: Vec<Vec<Scored>> = questions
            .par_iter()
            .map(|&(anchor, _, _)| {
                let mut top = TopK::new(k);
                let path = catalog.category.get(anchor).unwrap_or_default();
                for &item in bundle.in_category(path).iter().filter(|&&item| item != anchor && comparable(anchor, item)) {
                    top.offer(item, score(&bundle, anchor, item));
                }
                top.into_sorted()
            })
            .collect();
        rows.push(row(name, &answers, began.elapsed().as_secs_f64()));
    }
    let headline = format!(
        "upsell, {}: {} steps up of {} shoppers, price band {min} to {max}",
        parts.split,
        count(questions.len() as u64),
        count({
            let mut shoppers = groups.clone();
            shoppers.dedup();
            shoppers.len() as u64
        }),
    );
    let sizes = (bundle.users.len(), population.candidates, bundle.manifest.counts.interactions);
    let checks = vec![
        ("answers in the anchor's category", right_category, total),
        ("answers in the price band", in_band, total),
        ("answers available", available, total),
    ];
    Ok(Evaluation { headline, metric: "recall", rows, sizes, checks })
}

impl Evaluation {
    fn k(&self) -> usize {
        self.rows.first().map_or(0, |row| row.measured.k)
    }

    /// For people.
    pub fn render(&self) -> String {
        let k = self.k();
        let names = [
            format!("recall@{k}"),
            format!("ndcg@{k}"),
            format!("mrr@{k}"),
            format!("hit_rate@{k}"),
            format!("precision@{k}"),
            format!("map@{k}"),
        ];
        let mut header = vec!["", names[0].as_str(), "95 %"];
        header.extend(names[1..].iter().map(String::as_str));
        header.extend(["coverage", "novelty", "fit", "epoch", "rank"]);
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                let means = row.measured.means();
                let of = |name: &str| means.get(name).map_or("-".into(), |value| short(*value));
                let (low, high) = interval(&row.measured.values("recall").unwrap_or_default(), &row.measured.groups);
                let mut cells = vec![row.name.clone(), of(&names[0]), format!("±{}", short((high - low) / 2.0))];
                cells.extend(names[1..].iter().map(|name| of(name)));
                cells.push(of(&format!("coverage@{k}")));
                cells.push(format!("{:.1}", row.measured.novelty));
                cells.push(seconds(row.fit_seconds));
                cells.push(row.epoch_seconds.map_or("-".into(), seconds));
                cells.push(seconds(row.evaluate_seconds));
                cells
            })
            .collect();
        let mut text = format!("{}\n\n{}", self.headline, table(&header, &rows));
        let differences = self.differences();
        if !differences.is_empty() {
            text += &format!(
                "\n  {} against each baseline, paired difference in {}@{k} with its 95 % bootstrap interval:\n",
                self.rows[0].name, self.metric
            );
            for (name, mean, (low, high)) in differences {
                let verdict = if low > 0.0 {
                    "better"
                } else if high < 0.0 {
                    "worse"
                } else {
                    "not told apart"
                };
                text += &format!("    {name:<16} {} [{}, {}]  {verdict}\n", signed(mean), signed(low), signed(high));
            }
        }
        for (what, good, all) in &self.checks {
            text += &format!("  {what}: {} of {}\n", count(*good as u64), count(*all as u64));
        }
        let (users, items, interactions) = self.sizes;
        text += &format!(
            "\n  learned from {} interactions of {} rows and {} items; peak memory {}\n",
            count(interactions as u64),
            count(users as u64),
            count(items as u64),
            crate::report::bytes(peak_rss()),
        );
        text
    }

    /// The first row against each other one: name, mean difference, interval.
    pub fn differences(&self) -> Vec<(String, f64, (f64, f64))> {
        let Some((first, others)) = self.rows.split_first() else { return Vec::new() };
        let ours = first.measured.values(self.metric).unwrap_or_default();
        others
            .iter()
            .map(|other| {
                let theirs = other.measured.values(self.metric).unwrap_or_default();
                let paired: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a - b).collect();
                let mean = paired.iter().sum::<f64>() / paired.len().max(1) as f64;
                (other.name.clone(), mean, interval(&paired, &first.measured.groups))
            })
            .collect()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let one = |row: &Row| {
            let intervals: Map<String, Value> = aisle_models::metrics::NAMES
                .iter()
                .map(|name| {
                    let (low, high) = interval(&row.measured.values(name).unwrap_or_default(), &row.measured.groups);
                    (format!("{name}@{}", row.measured.k), json!([low, high]))
                })
                .collect();
            json!({
                "algorithm": row.name,
                "params": row.params,
                "metrics": row.measured.means(),
                "intervals_95": intervals,
                "queries": row.measured.queries.len(),
                "fit_seconds": row.fit_seconds,
                "epoch_seconds": row.epoch_seconds,
                "evaluate_seconds": row.evaluate_seconds,
            })
        };
        let mut value = self.rows.first().map_or(json!({}), one);
        value["peak_rss_bytes"] = json!(peak_rss());
        value["users"] = json!(self.sizes.0);
        value["items"] = json!(self.sizes.1);
        value["interactions"] = json!(self.sizes.2);
        value["baselines"] = self.rows.iter().skip(1).map(one).collect();
        value["differences"] = self
            .differences()
            .into_iter()
            .map(|(name, mean, (low, high))| json!({"against": name, "metric": self.metric, "mean": mean, "interval_95": [low, high]}))
            .collect();
        value["checks"] = self.checks.iter().map(|(what, good, all)| json!({"what": what, "good": good, "all": all})).collect();
        value
    }
}

/// Four digits, without the zero before the point, as the field's tables print them.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.strip_prefix('0').map_or(text.clone(), str::to_string)
}

fn signed(value: f64) -> String {
    format!("{}{}", if value < 0.0 { "−" } else { "+" }, short(value.abs()))
}

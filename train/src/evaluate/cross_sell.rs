//! The task `cross-sell`: the missing line of an order.

use super::{Evaluation, Parts, Reached, Row, params};
use crate::progress::Progress;
use crate::report::count;
use crate::settings::{Algorithm, Settings};
use aisle_data::{NONE, Orders, mix};
use aisle_models::metrics::{Measured, Population};
use aisle_models::{
    Bitmap, Bundle, Eligible, Fit, ForCart, Found, History, ItemItemModel, Neighbours, Personal, Recommend, Scaling, Scored, TopK,
    Training, day,
};
use anyhow::{Result, bail};
use clap::ValueEnum;
use rayon::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// A question of the cross-sell task.
struct Missing {
    cart: Vec<u32>,
    target: [u32; 1],
    /// Row of the shopper in the training part, if known there.
    user: Option<u32>,
    /// When the order was made.
    now: Option<f32>,
    /// Whose questions belong together.
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

/// Which of these lines count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Targets {
    /// Whatever is missing.
    #[default]
    All,
    /// What the shopper ordered before.
    Repeats,
    /// What a known shopper never ordered; their own items are left out of the answers.
    New,
}

/// How the cross-sell task asks.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Answers per question.
    pub k: usize,
    /// Lines asked for.
    pub lines: Lines,
    /// Targets that count.
    pub targets: Targets,
}

/// Cross-sell: of each test order with three distinct known items or more, one line (or each in turn) is left out, and asked
/// for if no other line has its category; all available trained items of categories that the rest does not hold are ranked. The server's
/// own answers are measured, for the shopper of the order at its moment. Baselines see the same cart and the same candidates.
pub fn cross_sell(parts: &Parts, settings: &Settings, asked: &[Algorithm], ask: Ask) -> Result<Evaluation> {
    let Ask { k, lines, targets } = ask;
    let progress = Progress::of(settings.device, None);
    let began = Instant::now();
    let bundle = Bundle::fit(&parts.train, &settings.data(), settings.hyperparameters(), &progress)?;
    let fit_seconds = began.elapsed().as_secs_f64();
    let log = parts.train.log.with_min_users(settings.clean.min_users_per_item);
    let catalog = &bundle.catalog;
    let orders = Orders::of(&log);
    let rows_of_orders = orders.matrix(log.items.len(), usize::MAX);
    let training = Training { log: &log, interactions: &rows_of_orders, orders: &orders, catalog, users: &[] };
    let item_orders: Vec<u32> = (0..log.items.len()).map(|item| rows_of_orders.by_item.columns(item).len() as u32).collect();
    let candidates = Bitmap::of(log.items.len(), |item| item_orders[item as usize] > 0 && catalog.available[item as usize]);
    let category = catalog.category_codes(settings.cross_sell.category_levels);
    let mut in_category: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for item in candidates.iter() {
        in_category.entry(category[item as usize]).or_default().push(item);
    }
    // The items of each shopper, by how many of their orders hold them.
    let own: BTreeMap<u32, Vec<(u32, u32)>> = own_items(&orders);
    let ordered = |user: Option<u32>| user.and_then(|user| own.get(&user)).map_or(&[][..], Vec::as_slice);

    let held = Orders::of(&parts.test);
    let mut questions: Vec<Missing> = Vec::new();
    for order in 0..held.len() {
        let known = held.order(order).iter().filter_map(|&item| log.items.get(parts.test.items.id(item)));
        let mut cart: Vec<u32> = known.filter(|&item| candidates.contains(item)).collect();
        cart.sort_unstable();
        if cart.len() < 3 {
            continue;
        }
        let (user, shopper) = match held.user[order] {
            NONE => (None, (1 << 31) | order as u32),
            user => (log.users.get(parts.test.users.id(user)), user),
        };
        let drawn = mix(order as u64) as usize % cart.len();
        for at in 0..cart.len() {
            if lines == Lines::One && at != drawn {
                continue;
            }
            let mut rest = cart.clone();
            let target = rest.remove(at);
            let code = category[target as usize];
            if code != NONE && rest.iter().any(|&item| category[item as usize] == code) {
                continue;
            }
            let before = ordered(user).binary_search_by_key(&target, |own| own.0).is_ok();
            let counts = match targets {
                Targets::All => true,
                Targets::Repeats => before,
                Targets::New => !before && !ordered(user).is_empty(),
            };
            if counts {
                let now = (!parts.test.time.is_empty()).then(|| day(held.time[order]));
                questions.push(Missing { cart: rest, target: [target], user, now, shopper });
            }
        }
    }
    if questions.is_empty() {
        bail!("no order of the test part holds three known items and a line to ask for: choose another split, or other --targets");
    }

    let population = Population { candidates: candidates.count(), item_users: &item_orders, users: orders.len(), categories: &[] };
    let groups: Vec<u32> = questions.iter().map(|question| question.shopper).collect();
    let answers = |rank: &Rank, only_new: bool, asked: &[&Missing]| -> Vec<Vec<Scored>> {
        let answer = |found: &mut Found, question: &&Missing| {
            let mut allowed = candidates.clone();
            for &item in &question.cart {
                allowed.remove(item);
                let same = in_category.get(&category[item as usize]).filter(|_| category[item as usize] != NONE);
                same.into_iter().flatten().for_each(|&other| allowed.remove(other));
            }
            if only_new {
                ordered(question.user).iter().for_each(|&(item, _)| allowed.remove(item));
            }
            rank(question, only_new, &allowed, found);
            found.items.clone()
        };
        asked.par_iter().map_init(Found::default, answer).collect()
    };
    // Targets that were ordered before are asked of everything, new ones of what is new.
    let is_repeat = |question: &Missing| ordered(question.user).binary_search_by_key(&question.target[0], |own| own.0).is_ok();
    let of_known = |question: &&Missing| !ordered(question.user).is_empty();
    let repeats: Vec<usize> = (0..questions.len()).filter(|&at| is_repeat(&questions[at])).collect();
    let new: Vec<&Missing> = questions.iter().filter(|question| !is_repeat(question)).filter(of_known).collect();
    let every: Vec<&Missing> = questions.iter().collect();
    let relevant = |asked: &[&Missing]| asked.iter().map(|question| question.target.to_vec()).collect::<Vec<_>>();
    let measured = |answers: &[Vec<Scored>], asked: &[&Missing]| {
        let relevant = relevant(asked);
        Measured::of(answers, &relevant.iter().map(Vec::as_slice).collect::<Vec<_>>(), k, population)
    };
    let mut rows = Vec::new();
    let mut run = |name: &str, params: Value, fit_seconds: f64, rank: &Rank| {
        let began = Instant::now();
        let of_all = answers(rank, targets == Targets::New, &every);
        let whole = measured(&of_all, &every).grouped(groups.clone());
        let mut slices = Vec::new();
        if targets == Targets::All {
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
            let part = |metric: &str| {
                let values = whole.values(metric).unwrap_or_default();
                mean(&repeats.iter().map(|&at| values[at]).collect::<Vec<_>>())
            };
            slices.push(Reached { slice: "repeats".into(), questions: repeats.len(), recall: part("recall"), ndcg: part("ndcg") });
            let of_new = measured(&answers(rank, true, &new), &new);
            let part = |metric: &str| mean(&of_new.values(metric).unwrap_or_default());
            slices.push(Reached {
                slice: "new to the shopper, own items left out".into(),
                questions: new.len(),
                recall: part("recall"),
                ndcg: part("ndcg"),
            });
        }
        let evaluate_seconds = began.elapsed().as_secs_f64();
        rows.push(Row { name: name.into(), params, measured: whole, slices, fit_seconds, epoch_seconds: None, evaluate_seconds });
    };

    run("cross-sell", serde_json::to_value(&settings.cross_sell)?, fit_seconds, &|question, only_new, allowed, found| {
        // The candidates are those of every method; the answer itself is the server's.
        let ask = ForCart {
            cart: question.cart.clone(),
            k,
            user: question.user,
            now: question.now,
            exclude_bought: only_new,
            ..ForCart::default()
        };
        found.items.clear();
        let answer = bundle.cross_sell(&ask);
        found.items.extend(
            answer
                .items
                .iter()
                .filter(|ranked| allowed.contains(ranked.item))
                .map(|ranked| Scored { item: ranked.item, score: ranked.score }),
        );
    });
    let with_popular = |mut top: Vec<Scored>, allowed: &Bitmap, found: &mut Found| {
        top.retain(|scored| allowed.contains(scored.item));
        top.truncate(k);
        let mut left = allowed.clone();
        top.iter().for_each(|scored| left.remove(scored.item));
        bundle.popular().recommend(History::default(), k - top.len(), Eligible::new(&left), found);
        found.items.splice(0..0, top);
    };
    run("personal frequency", Value::Null, 0.0, &|question, _, allowed, found| {
        let mut top = TopK::new(k);
        ordered(question.user)
            .iter()
            .filter(|own| allowed.contains(own.0))
            .for_each(|&(item, times)| top.offer(item, times as f32));
        with_popular(top.into_sorted(), allowed, found);
    });
    run("pairs by √LLR", Value::Null, 0.0, &|question, _, allowed, found| {
        bundle.complements().complete(&question.cart, k, Eligible::new(allowed), found);
    });
    run("pairs by lift", Value::Null, 0.0, &|question, _, allowed, found| {
        let mut sums: BTreeMap<u32, f32> = BTreeMap::new();
        for &item in &question.cart {
            bundle.complements().lifts(item).for_each(|(other, lift)| *sums.entry(other).or_default() += lift);
        }
        let mut top = TopK::new(k);
        sums.into_iter().filter(|&(item, _)| allowed.contains(item)).for_each(|(item, lift)| top.offer(item, lift));
        with_popular(top.into_sorted(), allowed, found);
    });
    let began = Instant::now();
    let both = |_: u32, _: u32, pair: aisle_models::Pair| pair.both as f32;
    let counted = aisle_models::from_co_occurrence(&rows_of_orders.by_user, &rows_of_orders.by_item, 1000, both);
    run("co-occurrence", Value::Null, began.elapsed().as_secs_f64(), &|question, _, allowed, found| {
        counted.accumulate(question.cart.iter().map(|&item| (item, 1.0)), k, Eligible::new(allowed), found);
    });
    let mut algorithms: Vec<Algorithm> = vec![Algorithm::Popular, Algorithm::ItemKnn, Algorithm::Als];
    algorithms.extend(asked.iter().filter(|algorithm| !algorithms.contains(algorithm)).collect::<Vec<_>>());
    for algorithm in algorithms {
        let chosen = settings.personal(algorithm);
        let began = Instant::now();
        let model: Box<dyn Recommend> = match &chosen {
            Personal::ItemKnn(knn) => {
                let neighbours: Neighbours = knn.neighbours(&rows_of_orders.by_user, &rows_of_orders.by_item)?;
                Box::new(ItemItemModel::knn(neighbours, Scaling::Binary))
            }
            other => other.fit(&training, &progress)?,
        };
        run(algorithm.name(), params(&chosen), began.elapsed().as_secs_f64(), &|question, _, allowed, found| {
            let values = vec![1.0; question.cart.len()];
            model.recommend(History { items: &question.cart, values: &values, user: None }, k, Eligible::new(allowed), found);
        });
    }
    progress.clear();
    let headline = format!(
        "cross-sell, {}: {} questions{} (the other lines of a held-out order are given, its missing line of another category is asked for), \
         {} items of categories outside the cart ranked; weights learned from {} questions of the training part",
        parts.split,
        count(questions.len() as u64),
        match targets {
            Targets::All => "",
            Targets::Repeats => " for what the shopper ordered before",
            Targets::New => " for what is new to the shopper",
        },
        count(population.candidates as u64),
        count(bundle.cross_sell_model().learned_from as u64),
    );
    let sizes = (orders.len(), population.candidates, rows_of_orders.nnz());
    Ok(Evaluation { headline, metric: "recall", rows, sizes, checks: Vec::new(), figures: Vec::new() })
}

/// Ranks for a question, allowed items only; the flag says that what the shopper had before is not asked for.
type Rank<'a> = dyn Fn(&Missing, bool, &Bitmap, &mut Found) + Sync + 'a;

/// For each shopper the items they ordered, ascending, with the number of orders.
fn own_items(orders: &Orders) -> BTreeMap<u32, Vec<(u32, u32)>> {
    let mut own: BTreeMap<u32, BTreeMap<u32, u32>> = BTreeMap::new();
    for order in (0..orders.len()).filter(|&order| orders.user[order] != NONE) {
        let items = own.entry(orders.user[order]).or_default();
        orders.order(order).iter().for_each(|&item| *items.entry(item).or_default() += 1);
    }
    own.into_iter().map(|(user, items)| (user, items.into_iter().collect())).collect()
}

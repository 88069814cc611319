//! The task `cross-sell`: the missing line of an order.

use super::{Evaluation, Parts, Row, params};
use crate::progress::Progress;
use crate::report::count;
use crate::settings::{Algorithm, Settings};
use aisle_data::{Dataset, Interactions, NONE, Orders, mix};
use aisle_models::metrics::{Measured, Population};
use aisle_models::{
    Bitmap, Complements, ComplementsModel, Eligible, Fit, Found, History, ItemItemModel, Personal, Recommend, Scaling, Scored,
    Training,
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
    let mut catalog = parts.train.catalog.clone();
    Dataset::fill_prices(&mut catalog, &log);
    let catalog = &catalog;
    let orders = Orders::of(&log);
    let rows_of_orders = order_matrix(&orders, log.items.len());
    let training = Training { log: &log, interactions: &rows_of_orders, orders: &orders, catalog, users: &[] };
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

    let progress = Progress::of(settings.device, None);
    let population = Population { candidates: candidates.count(), item_users: &item_orders, users: orders.len(), categories: &[] };
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
        rows.push(Row {
            name: name.into(),
            params,
            measured,
            slices: Vec::new(),
            fit_seconds,
            epoch_seconds: None,
            evaluate_seconds,
        });
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
                    Box::new(ItemItemModel::knn(neighbours, Scaling::Binary))
                }
                other => other.fit(&training, &progress)?,
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
    Interactions { rows_are_orders: true, ..Interactions::from_triples(orders.len(), items, triples.collect()) }
}

/// Something that completes a cart.
enum CartRanker {
    Complements(ComplementsModel),
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

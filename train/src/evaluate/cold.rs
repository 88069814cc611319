//! The task `cold`: which new product suits whom, measured by hiding items.

use super::{Evaluation, Parts, Row, params, relevant};
use crate::progress::Progress;
use crate::report::count;
use crate::settings::{Algorithm, Settings};
use aisle_data::{Catalog, Dataset, Interactions, NONE, Orders, mix};
use aisle_models::metrics::{Measured, Population, score};
use aisle_models::{Bitmap, ContentCosine, ContentFeatures, Eligible, Fit, History, Recommend, Scored, Training};
use anyhow::{Result, bail};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// Distinct shoppers in the training part that make an item worth hiding.
const ENOUGH: usize = 10;
/// One in so many of these is hidden.
const HIDDEN: u64 = 10;

/// A shopper and the hidden items that they chose.
struct Question {
    user: u32,
    chosen: Vec<u32>,
}

/// What all methods are asked.
#[derive(Clone, Copy)]
struct Asked<'a> {
    questions: &'a [Question],
    interactions: &'a Interactions,
    /// The hidden items, ascending.
    hidden: &'a [u32],
    k: usize,
}

impl Asked<'_> {
    fn history(&self, user: u32) -> History<'_> {
        let (items, values) = self.interactions.by_user.row(user as usize);
        History { items, values, user: Some(user) }
    }

    fn histories(&self) -> Vec<History<'_>> {
        self.questions.iter().map(|question| self.history(question.user)).collect()
    }

    /// The best hidden items of each shopper by a score of all of them; equal scores in an order of no meaning.
    fn by(&self, score: impl Fn(History) -> Vec<f32> + Sync) -> Vec<Vec<Scored>> {
        let one = |question: &Question| {
            let scores = score(self.history(question.user));
            let mut order: Vec<usize> = (0..self.hidden.len()).collect();
            let luck = |at: usize| mix(u64::from(question.user) << 32 | u64::from(self.hidden[at]));
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(luck(a).cmp(&luck(b))));
            order.truncate(self.k);
            order.into_iter().map(|at| Scored { item: self.hidden[at], score: scores[at] }).collect()
        };
        self.questions.par_iter().map(one).collect()
    }
}

/// Cold: a tenth of the items that ten shoppers or more chose in the training part is hidden: their events are taken out of it, prices that
/// events told included, and only the catalogue knows them. For each shopper with a past, the hidden items are ranked among themselves;
/// relevant are those that the shopper bought (in a log without purchases: chose) in the test part and, of the hidden past, not before.
/// Figures say how they fare among the whole catalogue, and what their company costs the items that everybody knows.
pub fn cold(parts: &Parts, settings: &Settings, algorithms: &[Algorithm], k: usize) -> Result<Evaluation> {
    let whole = parts.train.log.with_min_users(settings.clean.min_users_per_item);
    let before = Interactions::of(&whole);
    if before.rows_are_orders {
        bail!("the task 'cold' needs shoppers, and no event of the training part names one (user_id)");
    }
    let catalog = &parts.train.catalog;
    if catalog.category.is_blank() && catalog.brand.is_blank() && catalog.title.is_blank() {
        bail!("the task 'cold' needs to know something of items: give --items with a category, a brand or a title");
    }
    let holders = |item: u32| before.by_item.columns(item as usize).len();
    let draw = |item: &u32| holders(*item) >= ENOUGH && mix(u64::from(*item)).is_multiple_of(HIDDEN);
    let hidden: Vec<u32> = (0..before.items() as u32).filter(draw).collect();
    let is_hidden = Bitmap::of(before.items(), |item| hidden.binary_search(&item).is_ok());
    let log = whole.select(|event| !is_hidden.contains(whole.item[event]));
    let raw = parts.train.log.select(|event| !is_hidden.contains(parts.train.log.item[event]));
    let interactions = Interactions::of(&log);
    let orders = Orders::of(&log);
    let mut catalog = catalog.clone();
    Dataset::fill_prices(&mut catalog, &log);
    let users = &parts.train.user_attributes;
    let training = Training { log: &log, interactions: &interactions, orders: &orders, catalog: &catalog, users };

    let (wanted, _) = relevant(&parts.test, &log.users, &log.items);
    let (mut questions, mut others, mut repeats) = (Vec::new(), Vec::new(), 0);
    for (user, items) in wanted {
        if interactions.by_user.columns(user as usize).is_empty() {
            continue;
        }
        let past = before.by_user.columns(user as usize);
        let new = |item: &u32| past.binary_search(item).is_err() && (*item as usize) < before.items();
        let (found, rest): (Vec<u32>, Vec<u32>) = items.into_iter().partition(|&item| is_hidden.contains(item));
        let chosen: Vec<u32> = found.iter().copied().filter(new).collect();
        repeats += found.len() - chosen.len();
        let rest: Vec<u32> = rest.into_iter().filter(new).collect();
        for (chosen, of) in [(chosen, &mut questions), (rest, &mut others)] {
            if !chosen.is_empty() {
                of.push(Question { user, chosen });
            }
        }
    }
    if questions.is_empty() {
        bail!(
            "no shopper with a past chose one of the {} hidden items in the test part: the log is too small, or choose another split",
            hidden.len()
        );
    }
    let asked = Asked { questions: &questions, interactions: &interactions, hidden: &hidden, k };
    let known_asked = Asked { questions: &others, ..asked };
    let item_users: Vec<u32> = (0..before.items() as u32).map(|item| holders(item) as u32).collect();
    let population = Population { candidates: hidden.len(), item_users: &item_users, users: interactions.users(), categories: &[] };
    let relevant: Vec<&[u32]> = questions.iter().map(|question| question.chosen.as_slice()).collect();
    let groups: Vec<u32> = questions.iter().map(|question| question.user).collect();
    let known = Bitmap::of(before.items(), |item| !interactions.by_item.columns(item as usize).is_empty());
    let row = |name: &str, params: Value, answers: &[Vec<Scored>], (fit_seconds, began): (f64, Instant)| Row {
        name: name.into(),
        params,
        measured: Measured::of(answers, &relevant, k, population).grouped(groups.clone()),
        slices: Vec::new(),
        fit_seconds,
        epoch_seconds: None,
        evaluate_seconds: began.elapsed().as_secs_f64(),
    };

    let progress = Progress::of(settings.device, None);
    let (mut rows, mut checks, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    for &algorithm in algorithms {
        let name = algorithm.name();
        let began = Instant::now();
        let chosen = settings.personal(algorithm).resolved(&training, &progress)?;
        let mut model = chosen.fit(&training, &progress)?;
        let alone = mean_ndcg(model.as_ref(), &known_asked, &known);
        let began_content = Instant::now();
        let placed = settings.content.introduce(&training, &raw, model.as_mut())?.items;
        let content_seconds = began_content.elapsed().as_secs_f64();
        let fit_seconds = began.elapsed().as_secs_f64();
        progress.clear();
        let began = Instant::now();
        let histories = asked.histories();
        let answers = recommend(model.as_ref(), &histories, &is_hidden, k);
        let mut settled = params(&chosen);
        settled["content"] = json!(settings.content);
        rows.push(row(name, settled, &answers, (fit_seconds, began)));
        let mut all = known.clone();
        (0..before.items() as u32).filter(|&item| model.knows(item)).for_each(|item| all.insert(item));
        checks.push((
            format!("hidden items that {name} knows"),
            hidden.iter().filter(|&&item| model.knows(item)).count(),
            hidden.len(),
        ));
        figures.push((format!("{name}: seconds that content took for {} items", count(placed as u64)), content_seconds));
        let among = recommend(model.as_ref(), &histories, &all, k);
        let found = among.iter().zip(&relevant).map(|(answer, relevant)| scores(answer, relevant, k)[0]).sum::<f64>();
        figures.push((
            format!("{name}: recall@{k} of hidden items among all {}", count(all.count() as u64)),
            found / relevant.len() as f64,
        ));
        let shown = among.iter().flatten().filter(|scored| is_hidden.contains(scored.item)).count();
        let without_events = among.iter().flatten().filter(|scored| !known.contains(scored.item)).count();
        let answered = among.iter().map(Vec::len).sum::<usize>().max(1) as f64;
        figures.push((format!("{name}: share of these answers that are hidden items"), shown as f64 / answered));
        figures.push((format!("{name}: share of these answers without events"), without_events as f64 / answered));
        figures.push((format!("{name}: ndcg@{k} of known items among known items"), alone));
        figures.push((format!("{name}: ndcg@{k} of known items among all"), mean_ndcg(model.as_ref(), &known_asked, &all)));
    }
    let began = Instant::now();
    rows.push(row("by category", Value::Null, &asked.by(|history| habits(&catalog, history, &hidden)), (0.0, began)));
    let began = Instant::now();
    let features = ContentFeatures::of(&catalog, &settings.content.attributes, |item| known.contains(item));
    let cosine = ContentCosine::new(features, &known.iter().collect::<Vec<_>>());
    let like = |history: History| cosine.profile((history.items, history.values), &hidden);
    rows.push(row("content cosine", Value::Null, &asked.by(like), (0.0, began)));
    let began = Instant::now();
    rows.push(row("random", Value::Null, &asked.by(|_| vec![0.0; hidden.len()]), (0.0, began)));

    let mut headline = format!(
        "cold, {}: {} items hidden, one in {HIDDEN} of those with {ENOUGH} shoppers or more; {} shoppers chose {} of them",
        parts.split,
        count(hidden.len() as u64),
        count(questions.len() as u64),
        count(relevant.iter().map(|items| items.len()).sum::<usize>() as u64),
    );
    if repeats > 0 {
        headline += &format!("\n  {} choices repeat the hidden past and are not asked for", count(repeats as u64));
    }
    let sizes = (interactions.users(), known.count(), interactions.nnz());
    Ok(Evaluation { headline, metric: "ndcg", rows, sizes, checks, figures })
}

/// A model's answers among `allowed`, what the shopper had left out.
fn recommend(model: &dyn Recommend, histories: &[History], allowed: &Bitmap, k: usize) -> Vec<Vec<Scored>> {
    let mut answers = Vec::with_capacity(histories.len());
    for block in histories.chunks(4096) {
        let eligible: Vec<Eligible> = block.iter().map(|history| Eligible::without(allowed, history.items)).collect();
        answers.extend(model.recommend_batch(block, k, &eligible));
    }
    answers
}

fn scores(answer: &[Scored], relevant: &[u32], k: usize) -> [f64; 6] {
    score(&answer.iter().map(|scored| scored.item).collect::<Vec<_>>(), relevant, k)
}

fn mean_ndcg(model: &dyn Recommend, asked: &Asked, allowed: &Bitmap) -> f64 {
    let answers = recommend(model, &asked.histories(), allowed, asked.k);
    let sum: f64 = answers.iter().zip(asked.questions).map(|(answer, question)| scores(answer, &question.chosen, asked.k)[3]).sum();
    sum / answers.len().max(1) as f64
}

/// How many items of a shopper's history share an item's category, and, where as many do, its brand.
fn habits(catalog: &Catalog, history: History, items: &[u32]) -> Vec<f32> {
    let mut counts: BTreeMap<(bool, u32), f32> = BTreeMap::new();
    let codes = |item: u32| [(false, catalog.category.code(item)), (true, catalog.brand.code(item))];
    for key in history.items.iter().flat_map(|&item| codes(item)).filter(|key| key.1 != NONE) {
        *counts.entry(key).or_default() += 1.0;
    }
    let scale = 1.0 / (history.items.len() + 1) as f32;
    let score = |&item: &u32| {
        let [category, brand] = codes(item).map(|key| counts.get(&key).copied().unwrap_or_default());
        category + brand * scale
    };
    items.iter().map(score).collect()
}

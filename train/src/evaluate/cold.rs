//! The task `cold`: which new product suits whom, measured by hiding items.

use super::compare::{Comparison, Method, params, rows_of_items};
use super::{Check, Evaluation, Figure, TrainTestSplit, TrainingSize, mean, test_choices};
use crate::progress::ProgressReporter;
use crate::report::count;
use crate::settings::{Algorithm, Settings};
use aisle_data::{Catalog, Dataset, EventLog, Interactions, NONE, Orders};
use aisle_math::random::mix;
use aisle_models::metrics::{Population, score};
use aisle_models::{
    Bitmap, ContentCosine, ContentFeatures, Eligible, Fit, History, Recommend, Scored, Training,
};
use anyhow::{Result, bail};
use rayon::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;

/// Distinct shoppers in the training part that make an item worth hiding.
const MIN_SHOPPERS: u32 = 10;
/// One in so many of these items is hidden.
const HIDDEN_ONE_IN: u64 = 10;
/// Shoppers ranked at once.
const BLOCK: usize = 4096;
/// Place of NDCG among the metrics of one query.
const NDCG: usize = 3;

/// A shopper and the items that they chose.
struct Question {
    user: u32,
    /// Ascending.
    chosen: Vec<u32>,
}

/// Measures which new product suits whom.
///
/// A tenth of the items that ten shoppers or more chose in the training part is hidden: their
/// events are taken out of it, with the prices that these events tell, and only the catalogue knows
/// them. For each shopper with a history, the hidden items are ranked among themselves. Relevant
/// are those that the shopper bought (in a log without purchases: chose) in the test part and not
/// before. Figures tell how the hidden items rank among the whole catalogue, and what they cost the
/// ranking of the items with events.
///
/// # Errors
/// What the fits return; a log without shoppers; a catalogue without content; nobody chose a hidden
/// item.
pub fn cold(
    parts: &TrainTestSplit,
    settings: &Settings,
    algorithms: &[Algorithm],
    k: usize,
) -> Result<Evaluation> {
    let raw_log = &parts.train.log;
    let whole_log = raw_log.with_min_users(settings.clean.min_users_per_item);
    let before = Interactions::of(&whole_log);
    check_data(parts, &before)?;
    let item_users = rows_of_items(&before);
    let hidden = HiddenItems::draw(&item_users);
    let (log, raw_log) = (hidden.without(&whole_log), hidden.without(raw_log));
    let interactions = Interactions::of(&log);
    let orders = Orders::of(&log);
    let mut catalog = parts.train.catalog.clone();
    Dataset::fill_prices(&mut catalog, &log);
    let training = Training {
        log: &log,
        interactions: &interactions,
        orders: &orders,
        catalog: &catalog,
        users: &parts.train.user_attributes,
    };
    let questions = Questions::of(parts, &training, &before, &hidden)?;
    let population = Population {
        candidates: hidden.items.len(),
        item_users: &item_users,
        users: interactions.users(),
        categories: &[],
    };
    let comparison = Comparison::new(
        &questions.of_hidden,
        |question| &question.chosen,
        |question| question.user,
        population,
        k,
    );
    let mut run = Run {
        training,
        raw_log: &raw_log,
        settings,
        hidden: &hidden,
        with_events: Bitmap::of(before.items(), |item| {
            !interactions.by_item.columns(item as usize).is_empty()
        }),
        of_known: &questions.of_known,
        comparison,
        checks: Vec::new(),
        figures: Vec::new(),
    };
    for &algorithm in algorithms {
        run.measure(algorithm)?;
    }
    run.measure_baselines();
    Ok(Evaluation {
        headline: questions.headline(parts, &hidden),
        metric: "ndcg",
        training: TrainingSize {
            users: interactions.users(),
            items: run.with_events.count(),
            interactions: interactions.nnz(),
        },
        rows: run.comparison.rows,
        checks: run.checks,
        figures: run.figures,
    })
}

/// Refuses data that the task cannot be measured on.
fn check_data(parts: &TrainTestSplit, interactions: &Interactions) -> Result<()> {
    if interactions.rows_are_orders {
        bail!(
            "the task 'cold' needs shoppers, and no event of the training part names one (user_id)"
        );
    }
    let catalog = &parts.train.catalog;
    if catalog.category.has_no_text() && catalog.brand.has_no_text() && catalog.title.has_no_text()
    {
        bail!(
            "the task 'cold' needs to know something of items: give --items with a category, a \
             brand or a title"
        );
    }
    Ok(())
}

/// The items that are hidden from training.
struct HiddenItems {
    /// Ascending.
    items: Vec<u32>,
    set: Bitmap,
}

impl HiddenItems {
    /// Draws them by a hash of their rows.
    fn draw(item_users: &[u32]) -> Self {
        let is_hidden = |&item: &u32| {
            item_users[item as usize] >= MIN_SHOPPERS
                && mix(u64::from(item)).is_multiple_of(HIDDEN_ONE_IN)
        };
        let items: Vec<u32> = (0..item_users.len() as u32).filter(is_hidden).collect();
        let set = Bitmap::of(item_users.len(), |item| items.binary_search(&item).is_ok());
        Self { items, set }
    }

    /// A log without the events of hidden items.
    fn without(&self, log: &EventLog) -> EventLog {
        log.select(|event| !self.set.contains(log.item[event]))
    }
}

/// Whom methods are asked about.
struct Questions {
    /// Shoppers with the hidden items that they chose.
    of_hidden: Vec<Question>,
    /// Shoppers with the other items that they chose.
    of_known: Vec<Question>,
    /// Hidden items that a shopper had chosen before too: they are not asked for.
    repeats: usize,
}

impl Questions {
    fn of(
        parts: &TrainTestSplit,
        training: &Training,
        before: &Interactions,
        hidden: &HiddenItems,
    ) -> Result<Self> {
        let log = training.log;
        let choices = test_choices(&parts.test, &log.users, &log.items);
        let mut questions = Self {
            of_hidden: Vec::new(),
            of_known: Vec::new(),
            repeats: 0,
        };
        for (user, items) in choices.by_user {
            let history = training.interactions.by_user.columns(user as usize);
            if history.is_empty() {
                continue;
            }
            let had = before.by_user.columns(user as usize);
            let is_new =
                |item: &u32| had.binary_search(item).is_err() && (*item as usize) < before.items();
            let is_hidden = |item: &u32| hidden.set.contains(*item);
            let (of_hidden, of_known): (Vec<u32>, Vec<u32>) =
                items.iter().partition(|item| is_hidden(item));
            let asked = of_hidden.iter().copied().filter(is_new).collect::<Vec<_>>();
            questions.repeats += of_hidden.len() - asked.len();
            let known = of_known.into_iter().filter(is_new).collect::<Vec<_>>();
            for (chosen, list) in [
                (asked, &mut questions.of_hidden),
                (known, &mut questions.of_known),
            ] {
                if !chosen.is_empty() {
                    list.push(Question { user, chosen });
                }
            }
        }
        if questions.of_hidden.is_empty() {
            bail!(
                "no shopper with a history chose one of the {} hidden items in the test part: the \
                 log is too small, or choose another split",
                hidden.items.len()
            );
        }
        Ok(questions)
    }

    fn headline(&self, parts: &TrainTestSplit, hidden: &HiddenItems) -> String {
        let chosen: usize = self.of_hidden.iter().map(|one| one.chosen.len()).sum();
        let mut text = format!(
            "cold, {}: {} items hidden, one in {HIDDEN_ONE_IN} of those with {MIN_SHOPPERS} \
             shoppers or more; {} shoppers chose {} of them",
            parts.description,
            count(hidden.items.len() as u64),
            count(self.of_hidden.len() as u64),
            count(chosen as u64),
        );
        if self.repeats > 0 {
            text += &format!(
                "\n  {} choices repeat earlier ones and are not asked for",
                count(self.repeats as u64)
            );
        }
        text
    }
}

/// What methods are fitted to and asked, and the results so far.
struct Run<'a> {
    training: Training<'a>,
    /// The log before rare items were left out of it: it tells which cold items were seen.
    raw_log: &'a EventLog,
    settings: &'a Settings,
    hidden: &'a HiddenItems,
    /// Items with events in the training part.
    with_events: Bitmap,
    of_known: &'a [Question],
    comparison: Comparison<'a, Question>,
    checks: Vec<Check>,
    figures: Vec<Figure>,
}

impl<'a> Run<'a> {
    /// Fits one algorithm, places the hidden items by their content, and measures their ranking.
    fn measure(&mut self, algorithm: Algorithm) -> Result<()> {
        let progress = ProgressReporter::of(self.settings.device, None);
        let name = algorithm.name();
        let began = Instant::now();
        let personal = self.settings.personal(algorithm);
        let personal = personal.resolved(&self.training, &progress)?;
        let mut model = personal.fit(&self.training, &progress)?;
        let ndcg_before = self.ndcg_of_known(model.as_ref(), &self.with_events);
        let content = &self.settings.content;
        let began_content = Instant::now();
        let placed = content.add_cold_items(&self.training, self.raw_log, model.as_mut())?;
        let content_seconds = began_content.elapsed().as_secs_f64();
        let fit_seconds = began.elapsed().as_secs_f64();
        progress.clear();

        let began = Instant::now();
        let k = self.comparison.k;
        let histories = self.histories(self.comparison.questions);
        let answers = recommend(model.as_ref(), &histories, &self.hidden.set, k);
        let mut own_params = params(&personal);
        own_params["content"] = json!(content);
        let method = Method::new(name, own_params, fit_seconds);
        self.comparison.add(method, &answers, began);

        let is_known = |&&item: &&u32| model.knows_cold_item(item);
        let hidden = &self.hidden.items;
        let known = hidden.iter().filter(is_known).count();
        let check = format!("hidden items that {name} knows");
        self.checks.push(Check::new(check, known, hidden.len()));
        let figure = format!(
            "{name}: seconds that content took for {} items",
            count(placed.items as u64)
        );
        self.figures.push(Figure::new(figure, content_seconds));
        self.add_figures_among_all(name, model.as_ref(), ndcg_before);
        Ok(())
    }

    /// Figures on the ranking of the whole catalogue.
    fn add_figures_among_all(&mut self, name: &str, model: &dyn Recommend, ndcg_before: f64) {
        let k = self.comparison.k;
        let mut all = self.with_events.clone();
        for item in 0..self.training.interactions.items() as u32 {
            if model.knows_cold_item(item) {
                all.insert(item);
            }
        }
        let histories = self.histories(self.comparison.questions);
        let answers = recommend(model, &histories, &all, k);
        let relevant = &self.comparison.relevant;
        let recalls = answers
            .iter()
            .zip(relevant)
            .map(|(answer, relevant)| metrics_of(answer, relevant, k)[0]);
        let recall = recalls.sum::<f64>() / relevant.len() as f64;
        let answered = answers.iter().map(Vec::len).sum::<usize>().max(1) as f64;
        let share = |counts: &dyn Fn(u32) -> bool| {
            let items = answers.iter().flatten();
            items.filter(|scored| counts(scored.item)).count() as f64 / answered
        };
        let figures = [
            (
                format!(
                    "recall@{k} of hidden items among all {}",
                    count(all.count() as u64)
                ),
                recall,
            ),
            (
                "share of these answers that are hidden items".into(),
                share(&|item| self.hidden.set.contains(item)),
            ),
            (
                "share of these answers without events".into(),
                share(&|item| !self.with_events.contains(item)),
            ),
            (
                format!("ndcg@{k} of known items among known items"),
                ndcg_before,
            ),
            (
                format!("ndcg@{k} of known items among all"),
                self.ndcg_of_known(model, &all),
            ),
        ];
        let named = figures.map(|(figure, value)| Figure::new(format!("{name}: {figure}"), value));
        self.figures.extend(named);
    }

    /// The mean NDCG of items with events, ranked among `allowed`.
    fn ndcg_of_known(&self, model: &dyn Recommend, allowed: &Bitmap) -> f64 {
        let k = self.comparison.k;
        let answers = recommend(model, &self.histories(self.of_known), allowed, k);
        let pairs = answers.iter().zip(self.of_known);
        let ndcg = |(answer, question): (&Vec<Scored>, &Question)| {
            metrics_of(answer, &question.chosen, k)[NDCG]
        };
        mean(&pairs.map(ndcg).collect::<Vec<_>>())
    }

    /// Measures what a shop could do without a model.
    fn measure_baselines(&mut self) {
        let catalog = self.training.catalog;
        let hidden = &self.hidden.items;
        let began = Instant::now();
        let answers = self.rank_by(|history| by_category_and_brand(catalog, history, hidden));
        self.add_baseline("by category", &answers, began);

        let began = Instant::now();
        let attributes = &self.settings.content.attributes;
        let features =
            ContentFeatures::of(catalog, attributes, |item| self.with_events.contains(item));
        let with_events: Vec<u32> = self.with_events.iter().collect();
        let cosine = ContentCosine::new(features, &with_events);
        let answers =
            self.rank_by(|history| cosine.profile((history.items, history.values), hidden));
        self.add_baseline("content cosine", &answers, began);

        let began = Instant::now();
        let answers = self.rank_by(|_| vec![0.0; hidden.len()]);
        self.add_baseline("random", &answers, began);
    }

    fn add_baseline(&mut self, name: &str, answers: &[Vec<Scored>], began: Instant) {
        self.comparison
            .add(Method::baseline(name, 0.0), answers, began);
    }

    /// The best hidden items of each shopper by a score of all of them. A hash orders equal scores.
    fn rank_by(&self, score: impl Fn(History) -> Vec<f32> + Sync) -> Vec<Vec<Scored>> {
        let hidden = &self.hidden.items;
        let of_shopper = |question: &Question| {
            let scores = score(self.history(question.user));
            let tie_break = |at: usize| mix(u64::from(question.user) << 32 | u64::from(hidden[at]));
            let mut order: Vec<usize> = (0..hidden.len()).collect();
            order.sort_by(|&a, &b| {
                let by_score = scores[b].total_cmp(&scores[a]);
                by_score.then(tie_break(a).cmp(&tie_break(b)))
            });
            order.truncate(self.comparison.k);
            let scored = order.into_iter().map(|at| Scored {
                item: hidden[at],
                score: scores[at],
            });
            scored.collect()
        };
        self.comparison
            .questions
            .par_iter()
            .map(of_shopper)
            .collect()
    }

    fn histories(&self, questions: &[Question]) -> Vec<History<'a>> {
        let users = questions.iter().map(|question| question.user);
        users.map(|user| self.history(user)).collect()
    }

    /// What a shopper did in the training part, without hidden items.
    fn history(&self, user: u32) -> History<'a> {
        let (items, values) = self.training.interactions.by_user.row(user as usize);
        History {
            items,
            values,
            user: Some(user),
        }
    }
}

/// A model's answers among `allowed`, without what the shoppers had.
fn recommend(
    model: &dyn Recommend,
    histories: &[History],
    allowed: &Bitmap,
    k: usize,
) -> Vec<Vec<Scored>> {
    let mut answers = Vec::with_capacity(histories.len());
    for block in histories.chunks(BLOCK) {
        let eligible: Vec<Eligible> = block
            .iter()
            .map(|history| Eligible::without(allowed, history.items))
            .collect();
        answers.extend(model.recommend_batch(block, k, &eligible));
    }
    answers
}

fn metrics_of(answer: &[Scored], relevant: &[u32], k: usize) -> [f64; 6] {
    let items: Vec<u32> = answer.iter().map(|scored| scored.item).collect();
    score(&items, relevant, k)
}

/// The score of each item: how many items of a history share its category, and, among equals, its
/// brand.
fn by_category_and_brand(catalog: &Catalog, history: History, items: &[u32]) -> Vec<f32> {
    let count = |codes: &dyn Fn(u32) -> u32| {
        let mut counts: BTreeMap<u32, f32> = BTreeMap::new();
        let codes = history.items.iter().map(|&item| codes(item));
        for code in codes.filter(|&code| code != NONE) {
            *counts.entry(code).or_default() += 1.0;
        }
        counts
    };
    let category = |item: u32| catalog.category.code(item);
    let brand = |item: u32| catalog.brand.code(item);
    let (of_category, of_brand) = (count(&category), count(&brand));
    let brand_weight = 1.0 / (history.items.len() + 1) as f32;
    let score = |&item: &u32| {
        let same_category = of_category.get(&category(item)).copied().unwrap_or(0.0);
        let same_brand = of_brand.get(&brand(item)).copied().unwrap_or(0.0);
        same_category + same_brand * brand_weight
    };
    items.iter().map(score).collect()
}

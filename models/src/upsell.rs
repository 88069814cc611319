//! Upsell: the dearer item of the same category that a shopper of this one steps up to, with the probability that they do.
//!
//! Learned by conditional logit with an outside option (`logit.rs`): of a shopper who had item i of a category when the last weeks of the log
//! began, the alternatives are all dearer items of the category that they never had, and to take none of them. So
//! probabilities are calibrated, over that many days, and times the price difference they are an expected value. What speaks for j: how
//! many shoppers of i went on to it, likeness, the price ratio against the category's usual step, size and price per unit where titles
//! tell them, brand, sales, and the shopper's own price level, brands and pace. A stranger has weights of their own.

use crate::bundle::Bundle;
use crate::groups::{ByGroup, Groups};
use crate::habits::{Past, day};
use crate::kernels::{dot, ln, simd};
use crate::logit::{Choices, softmax};
use crate::neighbours::Neighbours;
use crate::recommend::{Fit, History, Training, Watch, hyperparameter};
use crate::top_k::{Scored, TopK};
use crate::weights::{Array, Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::{Catalog, EventRole, NONE, Orders, SplitMix, mix};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upsell {
    /// Least price of an answer as a multiple of the anchor's, above 1.
    pub min_ratio: f32,
    /// Largest price as a multiple of the anchor's.
    pub max_ratio: f32,
    /// Steps kept an item.
    pub neighbours: usize,
    /// How everything weighs is learned on the steps of so many last days, and probabilities hold within as many; 0 = it is not learned.
    pub learn_days: f32,
}

impl Default for Upsell {
    fn default() -> Self {
        Self { min_ratio: 1.05, max_ratio: 4.0, neighbours: 100, learn_days: 28.0 }
    }
}

const NAMES: [&str; 3] = ["upsell.offsets", "upsell.items", "upsell.shoppers"];
/// Steps from one item that are looked at in one shopper's history: later ones are no longer a consequence.
const HORIZON: usize = 200;

impl Fit for Upsell {
    type Model = UpsellModel;

    /// O(Σ over shoppers of same-category pairs).
    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<UpsellModel> {
        check_band(self.min_ratio, self.max_ratio)?;
        hyperparameter("learn_days", self.learn_days, 0.0..=3650.0)?;
        let (log, catalog) = (training.log, training.catalog);
        let category = catalog.category_codes(0);
        let items = catalog.len();

        // (shopper, category, time, item) of everything but returns: a shopper's steps within one category side by side.
        let mut acts: Vec<(u32, u32, i64, u32)> = (0..log.len())
            .into_par_iter()
            .filter(|&event| log.type_of(event).role != EventRole::Return && log.user_of(event) != NONE)
            .map(|event| (log.user_of(event), category[log.item[event] as usize], log.time_of(event), log.item[event]))
            .filter(|act| act.1 != NONE)
            .collect();
        acts.par_sort_unstable();
        let price = |item: u32| catalog.price[item as usize];
        let mut steps: Vec<(u32, u32, u32)> = acts
            .par_chunk_by(|a, b| (a.0, a.1) == (b.0, b.1))
            .flat_map_iter(|acts| {
                acts.iter().enumerate().flat_map(move |(at, from)| {
                    let later = acts[at + 1..].iter().take(HORIZON);
                    later.filter(move |to| to.2 > from.2 && price(to.3) > price(from.3)).map(move |to| (from.3, to.3, from.0))
                })
            })
            .collect();
        steps.par_sort_unstable();
        steps.dedup();

        let mut rows: Vec<Vec<Scored>> = (0..items).map(|_| Vec::new()).collect();
        for from in steps.chunk_by(|a, b| a.0 == b.0) {
            let mut top = TopK::new(self.neighbours);
            from.chunk_by(|a, b| a.1 == b.1).for_each(|to| top.offer(to[0].1, to.len() as f32));
            rows[from[0].0 as usize] = top.into_sorted();
        }
        watch.step("upsell", 1, 1);
        let usual = usual_steps(&rows, catalog, &category);
        let steps = Neighbours::from_rows(rows);
        Ok(UpsellModel { steps, settings: self.clone(), usual: usual.into(), weights: unlearned().into() })
    }
}

/// Checks a price band.
pub fn check_band(min: f32, max: f32) -> Result<()> {
    if min.is_finite() && max.is_finite() && min > 1.0 && max > min {
        return Ok(());
    }
    Err(ModelError::Hyperparameter {
        name: "min_ratio, max_ratio".into(),
        found: format!("{min} to {max}"),
        expected: "1 < min_ratio < max_ratio".into(),
    })
}

/// Fitted steps, and how everything weighs.
#[derive(Default)]
pub struct UpsellModel {
    steps: Neighbours,
    settings: Upsell,
    /// ln of the usual price ratio of a step from each item, by its category.
    usual: Array<f32>,
    /// [`FEATURES`] weights of a known shopper's step, then those of a stranger's; empty = not learned.
    weights: Array<f32>,
}

/// Features of a step.
const FEATURES: usize = 28;
/// Shoppers that a step must have before a category's usual ratio is its own.
const SHRINK: f32 = 20.0;
/// Sets that weights are learned from, at most: as many without a step as with one.
const SETS: usize = 6000;
/// Alternatives of a set, at most.
const ALTERNATIVES: usize = 300;
const RIDGE: f64 = 3.0;

/// ln of the mean price ratio of the steps of each item's category, drawn to that of all. O(steps).
fn usual_steps(rows: &[Vec<Scored>], catalog: &Catalog, category: &[u32]) -> Vec<f32> {
    let mut sums: Vec<(f32, f32)> =
        vec![(0.0, 0.0); category.iter().filter(|&&code| code != NONE).max().map_or(0, |&code| code as usize + 1)];
    let (mut all, mut count) = (0f64, 0f64);
    for (from, row) in rows.iter().enumerate() {
        for step in row {
            let ratio = (catalog.price[step.item as usize] / catalog.price[from]).ln();
            if let Some(sum) = sums.get_mut(category[from] as usize).filter(|_| ratio.is_finite()) {
                (sum.0, sum.1) = (sum.0 + step.score * ratio, sum.1 + step.score);
                (all, count) = (all + f64::from(step.score * ratio), count + f64::from(step.score));
            }
        }
    }
    let mean = if count > 0.0 { (all / count) as f32 } else { 0.3 };
    let of = |&code: &u32| sums.get(code as usize).map_or(mean, |sum| (sum.0 + SHRINK * mean) / (sum.1 + SHRINK));
    category.iter().map(of).collect()
}

impl UpsellModel {
    pub(crate) fn load(settings: Upsell, items: usize, weights: &mut Weights) -> Result<Self> {
        let steps = Neighbours::load(NAMES, items, weights)?;
        let usual = weights.reals("upsell.usual", items)?;
        let learned = weights.reals("upsell.weights", 2 * FEATURES)?;
        Ok(Self { steps, settings, usual, weights: learned })
    }

    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = self.steps.tensors(NAMES);
        tensors.push(Tensor::f32("upsell.usual", &[self.usual.len()], &self.usual));
        tensors.push(Tensor::f32("upsell.weights", &[self.weights.len()], &self.weights));
        tensors
    }

    /// Gives the items from `first` on the usual step of their category, or of all.
    pub(crate) fn settle(&mut self, first: usize, groups: &Groups) {
        let mut usual = self.usual.to_vec();
        let mut sums: BTreeMap<u32, (f32, f32)> = BTreeMap::new();
        for (item, &step) in (0..).zip(&usual[..first]) {
            for code in [groups.path_of(item), NONE] {
                let sum = sums.entry(code).or_default();
                *sum = (sum.0 + step, sum.1 + 1.0);
            }
        }
        for (item, step) in (0..).zip(&mut usual).skip(first) {
            let found = sums.get(&groups.path_of(item)).or_else(|| sums.get(&NONE));
            *step = found.map_or(0.0, |sum| sum.0 / sum.1);
        }
        self.usual = usual.into();
    }

    /// The band of prices, as multiples of the anchor's.
    pub fn band(&self) -> (f32, f32) {
        (self.settings.min_ratio, self.settings.max_ratio)
    }

    /// Days within which the probabilities of an answer hold.
    pub fn horizon(&self) -> f32 {
        self.settings.learn_days
    }

    /// All steps from an item, as (item, shoppers).
    pub fn steps(&self, from: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.steps.row(from).map(|step| (step.item, step.score as u32))
    }

    /// The shoppers of one step; 0 of one that is not kept.
    pub(crate) fn shoppers(&self, from: u32, to: u32) -> u32 {
        self.steps.place(from, to).map_or(0, |at| self.steps.scores[at] as u32)
    }

    pub(crate) fn with_weights(self, learned: Option<Vec<f32>>) -> Self {
        match learned {
            Some(weights) => Self { weights: weights.into(), ..self },
            None => self,
        }
    }
}

/// Before anything is learned: steps, likeness and sales decide, and one shopper in a hundred steps up.
fn unlearned() -> Vec<f32> {
    let mut weights = vec![0f32; 2 * FEATURES];
    for weights in weights.chunks_mut(FEATURES) {
        weights[..5].copy_from_slice(&[-9.0, 1.0, 0.0, 1.0, 0.7]);
    }
    weights
}

/// A step from an item, as somebody may take it.
pub(crate) struct Anchor<'a> {
    /// The item.
    pub item: u32,
    /// Whose step, if known, with their habits.
    pub shopper: Option<(u32, &'a Past)>,
}

impl Bundle {
    /// The probability that each of some dearer items is stepped up to. `price` says what things cost now.
    pub(crate) fn step_odds(&self, from: &Anchor, items: &[u32], price: &dyn Fn(u32) -> f32) -> Vec<f32> {
        let weights = &self.upsell_model().weights[if from.shopper.is_some() { 0 } else { FEATURES }..][..FEATURES];
        let mut odds = Vec::with_capacity(items.len());
        self.step_features(from, items, price, |row| odds.push(dot(row, weights)));
        softmax(&mut odds, true);
        odds
    }

    /// Of each item in turn (ascending): there may be so many that a table of them would be new memory every time.
    fn step_features(&self, from: &Anchor, items: &[u32], price: &dyn Fn(u32) -> f32, mut take: impl FnMut(&[f32; FEATURES])) {
        let model = self.upsell_model();
        let groups = self.groups();
        let mut steps: Vec<(u32, u32)> = model.steps(from.item).collect();
        let all_steps: u32 = steps.iter().map(|step| step.1).sum();
        steps.sort_unstable();
        let mut steps = steps.into_iter().peekable();
        let likeness = self.personal().similarities(from.item, items);
        let nobody = Past::default();
        let past = from.shopper.map_or(&nobody, |(_, past)| past);
        let by_group = ByGroup::of(past, groups);
        let orders = past.orders.max(1) as f32;
        let [own, ..] = by_group.get(groups, from.item);
        let habit = past.of(from.item);
        let level = self.price_level(past, price);
        let own_brand = self.catalog.brand.code(from.item);
        let from_sales = self.cross_sell_model().described(from.item).sales;
        let taste = from.shopper.map(|(user, _)| {
            let (held, values) = self.history(user);
            self.personal().standing(History { items: held, values, user: Some(user) }, items)
        });
        let anchor = price(from.item);
        let mut ratios: Vec<f32> = items.iter().map(|&item| (price(item) / anchor).max(1.0)).collect();
        ln(simd(), &mut ratios);
        for (at, ((&item, likeness), ratio)) in items.iter().zip(likeness).zip(ratios).enumerate() {
            while steps.next_if(|step| step.0 < item).is_some() {}
            let stepped = steps.next_if(|step| step.0 == item).map_or(0, |step| step.1) as f32;
            let taste = taste.as_ref().and_then(|taste| taste[at]);
            let off = ratio - model.usual[from.item as usize];
            let growth = self.measures().growth(from.item, item);
            let same_brand = own_brand != NONE && self.catalog.brand.code(item) == own_brand;
            let [_, _, brand_lines, line] = by_group.get(groups, item);
            let described = self.cross_sell_model().described(item);
            let flag = |yes: bool| if yes { 1.0 } else { 0.0 };
            take(&[
                1.0,
                if stepped > 0.0 { stepped.ln_1p() } else { 0.0 },
                (stepped / (all_steps as f32 + 5.0)).sqrt(),
                likeness.max(0.0),
                described.sales,
                described.recent,
                from_sales,
                ratio,
                ratio * ratio,
                off.max(0.0),
                off.min(0.0),
                off * off,
                growth.map_or(0.0, |growth| growth.clamp(-3.0, 3.0)),
                growth.map_or(0.0, |growth| (ratio - growth).clamp(-3.0, 3.0)),
                flag(growth.is_some()),
                flag(same_brand),
                taste.unwrap_or(0.0),
                brand_lines.lines,
                line.lines,
                line.faded,
                flag(from.shopper.is_some()) * (ratio - level).abs(),
                flag(from.shopper.is_some()) * (ratio - level),
                own.lines,
                own.faded,
                own.since,
                habit.map_or(0.0, |habit| habit.faded[1]).ln_1p(),
                orders.ln(),
                (items.len() as f32).ln(),
            ]);
        }
    }

    /// ln of how many times the middle of its category's prices a shopper usually pays; 0 where nothing tells.
    fn price_level(&self, past: &Past, price: &dyn Fn(u32) -> f32) -> f32 {
        let middle = self.middle_prices();
        let (mut sum, mut count) = (0f32, 0f32);
        for habit in &past.habits {
            let times = (price(habit.item) / middle[habit.item as usize]).ln();
            if times.is_finite() {
                (sum, count) = (sum + times * habit.orders as f32, count + habit.orders as f32);
            }
        }
        sum / (count + 10.0)
    }

    /// Whether one item may be a step up from another: same category path and currency, available, and dearer within the band.
    fn is_dearer(&self, from: u32, to: u32) -> bool {
        let (min, max) = self.upsell_model().band();
        let price = |item: u32| self.catalog.price[item as usize];
        price(to) >= min * price(from)
            && price(to) <= max * price(from)
            && self.catalog.currency.code(to) == self.catalog.currency.code(from)
            && self.catalog.available[to as usize]
    }

    /// The dearer items of an item's category that a shopper never had, ascending.
    pub fn dearer(&self, from: u32, past: &Past) -> Vec<u32> {
        let path = self.catalog.category.get(from).unwrap_or_default();
        let of = self.in_category(path).iter().copied();
        of.filter(|&item| self.is_dearer(from, item) && past.of(item).is_none()).collect()
    }

    /// The items that shoppers could step up from: of each category the one they bought last.
    pub fn step_anchors(&self, past: &Past) -> Vec<u32> {
        let mut latest: BTreeMap<u32, (f32, f32, u32)> = BTreeMap::new();
        for habit in &past.habits {
            let code = self.groups().path_of(habit.item);
            let price = self.catalog.price[habit.item as usize];
            let this = (habit.last, price, habit.item);
            let known = latest.get(&code).is_some_and(|known| known.0 > this.0 || (known.0 == this.0 && known.1 >= this.1));
            if code != NONE && !price.is_nan() && !known {
                latest.insert(code, this);
            }
        }
        latest.into_values().map(|(.., item)| item).collect()
    }
}

/// A shopper, an item of theirs, and what they stepped up to from it.
type Stay = (u32, u32, Option<u32>);

/// Learns the weights from what shoppers of `past` ordered later.
pub(crate) fn learn(past: &Bundle, later: &Orders) -> Option<Vec<f32>> {
    let mut ordered: BTreeMap<u32, Vec<(i64, u32)>> = BTreeMap::new();
    let begin = later.time.iter().copied().min().unwrap_or(0);
    for order in (0..later.len()).filter(|&order| later.user[order] != NONE) {
        let lines = later.order(order).iter().map(|&item| (later.time[order], item));
        ordered.entry(later.user[order]).or_default().extend(lines);
    }
    let price = |item: u32| past.catalog.price[item as usize];
    // Of each shopper who came back, each category they knew: what they stepped up to first, or nothing.
    let sets: Vec<Stay> = ordered
        .par_iter()
        .flat_map_iter(|(&user, lines)| {
            let known = past.habits().past(user, &[], None);
            let anchors = past.step_anchors(&known);
            let mut lines = lines.clone();
            lines.sort_unstable();
            anchors.into_iter().map(move |from| {
                let code = past.groups().path_of(from);
                let step = lines
                    .iter()
                    .map(|line| line.1)
                    .find(|&item| past.groups().path_of(item) == code && known.of(item).is_none() && past.is_dearer(from, item));
                (user, from, step)
            })
        })
        .collect();
    let mut random = SplitMix(42);
    let mut draw = |wanted: bool| {
        let mut drawn: Vec<(u64, Stay)> =
            sets.iter().filter(|set| set.2.is_some() == wanted).map(|&set| (random.draw(), set)).collect();
        drawn.sort_unstable();
        let all = drawn.len();
        drawn.truncate(SETS);
        (drawn, all)
    };
    let (steps, all_steps) = draw(true);
    let (stays, all_stays) = draw(false);
    if steps.len() < 50 || stays.is_empty() {
        return None;
    }
    // Steps are rarer than stays, and thinned out less: what that does to the odds of a step is taken back below.
    let rate = (stays.len() as f64 / all_stays as f64) / (steps.len() as f64 / all_steps as f64);
    let now = (past.habits().end() > 0.0).then(|| day(begin));
    let mut weights = unlearned();
    for (known, weights) in [true, false].into_iter().zip(weights.chunks_mut(FEATURES)) {
        let rows: Vec<Option<(Vec<f32>, Option<usize>)>> = steps
            .par_iter()
            .chain(&stays)
            .map(|&(_, (user, item, step))| {
                let habits = past.habits().past(user, &[], now);
                let mut items = past.dearer(item, &habits);
                if items.len() > ALTERNATIVES {
                    let all = items.len() as u64;
                    items.retain(|&item| Some(item) == step || mix(u64::from(item)) % all < ALTERNATIVES as u64);
                }
                let chosen = step.map(|step| items.binary_search(&step).ok());
                if items.is_empty() || chosen == Some(None) {
                    return None;
                }
                let from = Anchor { item, shopper: known.then_some((user, &habits)) };
                let mut rows = Vec::with_capacity(items.len() * FEATURES);
                past.step_features(&from, &items, &price, |row| rows.extend_from_slice(row));
                Some((rows, chosen.flatten()))
            })
            .collect();
        let mut choices = Choices::new(FEATURES, true);
        rows.into_iter().flatten().for_each(|(rows, chosen)| choices.push(&rows, chosen));
        if let Some(fitted) = choices.fit(RIDGE) {
            weights.copy_from_slice(&fitted);
            weights[0] += (rate.ln()) as f32;
        }
    }
    Some(weights)
}

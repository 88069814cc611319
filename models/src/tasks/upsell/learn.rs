//! Learns how the features of a step weigh, from orders that came after the models were fitted.

use crate::tasks::order_history::{OrderHistory, days_since_epoch};
use crate::tasks::upsell::features::{
    Anchor, FEATURES, SetOfWeights, UpsellParts, initial_weights,
};
use aisle_data::{NONE, Orders};
use aisle_math::logit::Choices;
use aisle_math::random::{SplitMix, mix};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Choices that weights are learned from, at most, of those with a step and again of those without.
const MAX_CHOICES: usize = 6000;
/// Steps below which weights are not learned.
const MIN_STEPS: usize = 50;
/// Alternatives of a choice, about: of more, a sample is drawn.
const MAX_ALTERNATIVES: usize = 300;
/// The strength of the logit's ridge penalty.
const RIDGE: f64 = 3.0;
/// The seed of the draw of choices.
const SEED: u64 = 42;

/// What a shopper who came back did in a category that they knew.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Outcome {
    user: u32,
    /// The item that the shopper could step up from.
    anchor: u32,
    /// The item that they stepped up to first; `None` = they did not step up.
    step: Option<u32>,
}

/// The features of the alternatives of a choice, [`FEATURES`] numbers each, and the place of the
/// chosen one; `None` = the outside option.
type ChoiceRows = (Vec<f32>, Option<usize>);

/// Learns the weights from the `later` orders of the shoppers that `order_history` knows. Returns
/// the weights of all [`SetOfWeights`]; `None` if there are too few steps.
pub(crate) fn learn(
    parts: &UpsellParts,
    order_history: &OrderHistory,
    later: &Orders,
) -> Option<Vec<f32>> {
    let outcomes = outcomes(parts, order_history, later);
    let mut random = SplitMix(SEED);
    let mut draw = |has_step: bool| {
        let mut drawn: Vec<(u64, Outcome)> = outcomes
            .iter()
            .filter(|outcome| outcome.step.is_some() == has_step)
            .map(|&outcome| (random.draw(), outcome))
            .collect();
        drawn.sort_unstable();
        let all = drawn.len();
        drawn.truncate(MAX_CHOICES);
        let share = drawn.len() as f64 / all as f64;
        (drawn, share)
    };
    let (with_step, share_with_step) = draw(true);
    let (without_step, share_without_step) = draw(false);
    if with_step.len() < MIN_STEPS || without_step.is_empty() {
        return None;
    }
    // A smaller share is drawn of the outcomes without a step, because there are more of them. That
    // raises the odds of a step; the constant takes it back.
    let rate = share_without_step / share_with_step;
    let begin = later.time.iter().copied().min().unwrap_or(0);
    let examples = Examples {
        parts,
        order_history,
        now: (order_history.log_end_day() > 0.0).then(|| days_since_epoch(begin)),
    };
    let mut weights = initial_weights();
    for set in [SetOfWeights::KnownShopper, SetOfWeights::UnknownShopper] {
        let rows: Vec<Option<ChoiceRows>> = with_step
            .par_iter()
            .chain(&without_step)
            .map(|(_, outcome)| examples.choice(outcome, set))
            .collect();
        let mut choices = Choices::new(FEATURES, true);
        for (rows, chosen) in rows.into_iter().flatten() {
            choices.push(&rows, chosen);
        }
        if let Some(fitted) = choices.fit(RIDGE) {
            let of_set = &mut weights[set as usize * FEATURES..][..FEATURES];
            of_set.copy_from_slice(&fitted);
            of_set[0] += rate.ln() as f32;
        }
    }
    Some(weights)
}

/// For each shopper with later orders and each category that they knew, what they stepped up to.
fn outcomes(parts: &UpsellParts, order_history: &OrderHistory, later: &Orders) -> Vec<Outcome> {
    let mut lines_of: BTreeMap<u32, Vec<(i64, u32)>> = BTreeMap::new();
    for order in (0..later.len()).filter(|&order| later.user[order] != NONE) {
        let items = later.order(order).iter();
        let lines = items.map(|&item| (later.time[order], item));
        lines_of.entry(later.user[order]).or_default().extend(lines);
    }
    lines_of
        .par_iter()
        .flat_map_iter(|(&user, lines)| {
            let past = order_history.purchase_history(user, &[], None);
            let anchors = parts.anchor_items(&past);
            let mut lines = lines.clone();
            lines.sort_unstable();
            anchors.into_iter().map(move |anchor| {
                let path_of = |item: u32| parts.indexes.groups.path_of(item);
                let step = lines.iter().map(|line| line.1).find(|&item| {
                    path_of(item) == path_of(anchor)
                        && past.of(item).is_none()
                        && parts.is_higher_priced(anchor, item)
                });
                Outcome { user, anchor, step }
            })
        })
        .collect()
}

/// What outcomes are turned into choices with.
struct Examples<'a> {
    parts: &'a UpsellParts<'a>,
    order_history: &'a OrderHistory,
    /// The day when the later orders begin, in days since 1970; `None` in a log without times.
    now: Option<f32>,
}

impl Examples<'_> {
    /// An outcome as a choice among the higher-priced items of the category; `None` if there are
    /// none, or if the step is not among them.
    fn choice(&self, outcome: &Outcome, set: SetOfWeights) -> Option<ChoiceRows> {
        let &Outcome { user, anchor, step } = outcome;
        let past = self.order_history.purchase_history(user, &[], self.now);
        let mut items = self.parts.higher_priced_items(anchor, &past);
        if items.len() > MAX_ALTERNATIVES {
            let all = items.len() as u64;
            items.retain(|&item| {
                Some(item) == step || mix(u64::from(item)) % all < MAX_ALTERNATIVES as u64
            });
        }
        if items.is_empty() {
            return None;
        }
        let chosen = match step {
            Some(step) => Some(items.binary_search(&step).ok()?),
            None => None,
        };
        let anchor = Anchor {
            item: anchor,
            shopper: (set == SetOfWeights::KnownShopper).then_some((user, &past)),
        };
        let price = |item: u32| self.parts.catalog.price[item as usize];
        let mut rows = Vec::with_capacity(items.len() * FEATURES);
        self.parts
            .step_features(&anchor, &items, &price, |features| {
                rows.extend_from_slice(features);
            });
        Some((rows, chosen))
    }
}

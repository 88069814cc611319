//! The order of an answer where more than relevance decides: boosts, pins, limits, diversity,
//! rotation.
//!
//! Relevance is the score as a share of the best one's, source by source, each source below the
//! last item of the one before. Boosts multiply it. Rotation adds Gumbel noise to its logarithm,
//! fixed for a viewer, an item and a day, which is drawing in proportion to relevance^(1/r) without
//! replacement (Kool et al. 2019, "Stochastic beams and where to find them"). Diversity is maximal
//! marginal relevance (Carbonell and Goldstein 1998). Limits are met greedily.

use crate::fitted_models::FittedModels;
use crate::pipeline::fallback::ResponseOptions;
use crate::pipeline::filter::EligibleItems;
use crate::pipeline::request::RequestContext;
use crate::pipeline::response::{Answer, AppliedRules, CandidateSource, RankedItem};
use crate::pipeline::rules::compiled::ActiveRules;
use aisle_data::{NONE, day_number};
use aisle_math::random::mix;
use std::collections::BTreeMap;

/// How alike two items of one category path are at least, where diversity is asked for.
const SAME_PATH: f32 = 0.5;
/// Candidates considered where a boost may lift an item from far down.
const BOOST_DEPTH: usize = 1000;
/// Most candidates considered where limits leave an answer short.
const MAX_DEPTH: usize = 5000;

/// Makes an answer of eligible items.
pub(crate) type Answerer<'a> = dyn Fn(&EligibleItems, ResponseOptions) -> Answer + 'a;

/// Makes an answer and reranks it as the active rules and the request's controls say.
pub(crate) fn answer_with_rules(
    models: &FittedModels,
    eligible: &EligibleItems,
    (rules, options): (&ActiveRules, ResponseOptions),
    answer: &Answerer,
) -> Answer {
    let mut answer = match rules.reranks() {
        false => answer(eligible, options),
        true => reranked(models, eligible, (rules, options), answer),
    };
    answer.rules = rules.applied.clone();
    answer
}

fn reranked(
    models: &FittedModels,
    eligible: &EligibleItems,
    (rules, options): (&ActiveRules, ResponseOptions),
    answer: &Answerer,
) -> Answer {
    let mut pins: Vec<(usize, u32)> = Vec::new();
    for &(position, item) in &rules.pins {
        let is_pinned = pins.iter().any(|pin| pin.1 == item);
        if position <= options.k && !is_pinned && eligible.all().contains(item) {
            pins.push((position, item));
        }
    }
    let mut depth = if rules.boosts.is_empty() {
        (4 * options.k).max(100)
    } else {
        BOOST_DEPTH.max(options.k)
    };
    let has_threshold = rules
        .controls
        .min_relevance
        .is_some_and(|least| least > 0.0);
    let (mut items, candidates) = loop {
        let mut candidates = answer(
            eligible,
            ResponseOptions {
                k: depth,
                reasons: false,
                ..options
            },
        );
        let pool = std::mem::take(&mut candidates.items);
        let is_whole = pool.len() < depth || has_threshold;
        let items = rerank(
            models,
            Pool {
                items: pool,
                pins: &pins,
                k: options.k,
            },
            rules,
            options.context,
        );
        if items.len() >= options.k || is_whole || depth >= MAX_DEPTH {
            break (items, candidates);
        }
        depth = (depth * 8).min(MAX_DEPTH);
    };
    if options.reasons {
        // Reasons are made only for the items that were chosen.
        let mut chosen = eligible.clone();
        chosen.keep(items.iter().map(|ranked| ranked.item));
        let explained = answer(
            &chosen,
            ResponseOptions {
                k: items.len(),
                ..options
            },
        );
        let mut explained: BTreeMap<u32, RankedItem> = explained
            .items
            .into_iter()
            .map(|ranked| (ranked.item, ranked))
            .collect();
        for ranked in &mut items {
            if let Some(RankedItem {
                reasons,
                substitute,
                ..
            }) = explained.remove(&ranked.item)
            {
                (ranked.reasons, ranked.substitute) = (reasons, substitute);
            }
        }
    }
    let by_model = |ranked: &&RankedItem| ranked.source != CandidateSource::Pinned;
    let has_popular = items
        .iter()
        .any(|ranked| ranked.source == CandidateSource::Popular);
    Answer {
        eligible: if items.len() < options.k {
            items.len()
        } else {
            candidates.eligible
        },
        source: items
            .iter()
            .find(by_model)
            .map_or(candidates.source, |first| first.source),
        fallback_reason: candidates.fallback_reason.filter(|_| has_popular),
        items,
        rules: AppliedRules::default(),
    }
}

/// What an answer is chosen from.
struct Pool<'a> {
    /// Best first, source after source.
    items: Vec<RankedItem>,
    /// Position and row of the pinned items that are eligible, by position.
    pins: &'a [(usize, u32)],
    /// How many items are asked for.
    k: usize,
}

struct Candidate {
    ranked: RankedItem,
    /// Relevance before boosts and rotation.
    relevance: f32,
    /// Relevance after them: what decides.
    worth: f32,
}

/// The best `k` of a pool under active rules. O(pool · log pool), with diversity O(pool · k).
fn rerank(
    models: &FittedModels,
    pool: Pool,
    rules: &ActiveRules,
    context: &RequestContext,
) -> Vec<RankedItem> {
    let controls = &rules.controls;
    let mut pinned: BTreeMap<u32, RankedItem> = BTreeMap::new();
    let candidates = candidates(pool.items, pool.pins, rules, context, &mut pinned);
    let mut limits = Limits::new(models, controls.max_per_brand, controls.max_per_category);
    // Pins stand whatever the limits, and count for them.
    pool.pins.iter().for_each(|&(_, item)| limits.add(item));
    let wanted = pool.k.saturating_sub(pool.pins.len());
    let chosen = match controls.diversity.filter(|&diversity| diversity > 0.0) {
        None => within_limits(candidates, wanted, &mut limits),
        Some(diversity) => diversified(models, candidates, (wanted, diversity), &mut limits),
    };
    with_pins(chosen, pool.pins, pool.k, &pinned)
}

/// The candidates that are not pinned, by descending worth; the pinned ones go to `pinned`.
fn candidates(
    pool: Vec<RankedItem>,
    pins: &[(usize, u32)],
    rules: &ActiveRules,
    context: &RequestContext,
    pinned: &mut BTreeMap<u32, RankedItem>,
) -> Vec<Candidate> {
    let least = rules.controls.min_relevance.unwrap_or(0.0);
    let rotation = rules.controls.rotation.filter(|&rotation| rotation > 0.0);
    let relevances = relevances(&pool);
    let mut candidates: Vec<Candidate> = Vec::with_capacity(pool.len());
    for (ranked, relevance) in pool.into_iter().zip(relevances) {
        if pins.iter().any(|pin| pin.1 == ranked.item) {
            pinned.insert(ranked.item, ranked);
            continue;
        }
        if relevance < least {
            continue;
        }
        let boosts = rules
            .boosts
            .iter()
            .filter(|boost| boost.0.contains(ranked.item));
        let boost: f32 = boosts.map(|boost| boost.1).product();
        let rotated = rotation.map_or(1.0, |rotation| {
            (rotation * noise(context, ranked.item)).exp()
        });
        candidates.push(Candidate {
            worth: relevance.max(1e-6) * boost * rotated,
            relevance,
            ranked,
        });
    }
    candidates.sort_by(|a, b| {
        b.worth
            .total_cmp(&a.worth)
            .then(b.relevance.total_cmp(&a.relevance))
    });
    let best = candidates.first().map_or(1.0, |candidate| candidate.worth);
    candidates
        .iter_mut()
        .for_each(|candidate| candidate.worth /= best);
    candidates
}

fn within_limits(
    candidates: Vec<Candidate>,
    wanted: usize,
    limits: &mut Limits,
) -> Vec<RankedItem> {
    let mut chosen = Vec::with_capacity(wanted);
    for candidate in candidates {
        if chosen.len() < wanted && limits.admit(candidate.ranked.item) {
            limits.add(candidate.ranked.item);
            chosen.push(candidate.ranked);
        }
    }
    chosen
}

fn diversified(
    models: &FittedModels,
    mut remaining: Vec<Candidate>,
    (wanted, diversity): (usize, f32),
    limits: &mut Limits,
) -> Vec<RankedItem> {
    let mut chosen: Vec<RankedItem> = Vec::with_capacity(wanted);
    // How like the most similar chosen item each remaining one is.
    let mut likeness = vec![0f32; remaining.len()];
    while chosen.len() < wanted && !remaining.is_empty() {
        let mut best: Option<(usize, f32)> = None;
        for (at, (candidate, alike)) in remaining.iter().zip(&likeness).enumerate() {
            let marginal = (1.0 - diversity) * candidate.worth - diversity * alike;
            if limits.admit(candidate.ranked.item) && best.is_none_or(|(_, most)| marginal > most) {
                best = Some((at, marginal));
            }
        }
        let Some((best, _)) = best else { break };
        let picked = remaining.remove(best).ranked;
        likeness.remove(best);
        limits.add(picked.item);
        let items: Vec<u32> = remaining
            .iter()
            .map(|candidate| candidate.ranked.item)
            .collect();
        let to_picked = models
            .substitute_parts()
            .similarities_to(picked.item, &items, SAME_PATH);
        likeness
            .iter_mut()
            .zip(to_picked)
            .for_each(|(known, new)| *known = known.max(new));
        chosen.push(picked);
    }
    chosen
}

/// Puts pins at their positions among the chosen items; pins beyond the end move up to it.
fn with_pins(
    chosen: Vec<RankedItem>,
    pins: &[(usize, u32)],
    k: usize,
    pinned: &BTreeMap<u32, RankedItem>,
) -> Vec<RankedItem> {
    let pin = |&(_, item): &(usize, u32)| {
        let score = pinned.get(&item).map_or(0.0, |ranked| ranked.score);
        RankedItem {
            item,
            score,
            source: CandidateSource::Pinned,
            reasons: Vec::new(),
            substitute: 0.0,
        }
    };
    let mut chosen = chosen.into_iter();
    let mut pins = pins.iter().peekable();
    let mut answer: Vec<RankedItem> = Vec::with_capacity(k);
    while answer.len() < k {
        let is_due = pins.peek().is_some_and(|pin| pin.0 <= answer.len() + 1);
        let ranked = if is_due { None } else { chosen.next() };
        let Some(ranked) = ranked.or_else(|| pins.next().map(pin)) else {
            break;
        };
        answer.push(ranked);
    }
    answer
}

/// The relevance of each item of a list, 0 to 1, falling from source to source.
fn relevances(items: &[RankedItem]) -> Vec<f32> {
    let mut relevances = Vec::with_capacity(items.len());
    let mut ceiling = 1f32;
    for of_source in items.chunk_by(|a, b| a.source == b.source) {
        let best = of_source
            .iter()
            .map(|ranked| ranked.score)
            .fold(0f32, f32::max);
        let share = |ranked: &RankedItem| {
            if best > 0.0 {
                ceiling * (ranked.score / best).max(0.0)
            } else {
                0.0
            }
        };
        relevances.extend(of_source.iter().map(share));
        ceiling = relevances.iter().copied().fold(ceiling, f32::min);
    }
    relevances
}

/// Gumbel noise of a viewer, an item and a day.
fn noise(context: &RequestContext, item: u32) -> f32 {
    let day = day_number(context.time.unwrap_or(0)) as u64;
    let viewer = context
        .viewer
        .bytes()
        .fold(day, |state, byte| mix(state ^ u64::from(byte)));
    let uniform = (mix(viewer ^ (u64::from(item) << 20)) >> 40) as f32 / (1u64 << 24) as f32;
    -(-(uniform.clamp(1e-6, 1.0 - 1e-6)).ln()).ln()
}

/// How many more items of a brand and of a category there may be.
struct Limits<'a> {
    models: &'a FittedModels,
    max_per_brand: Option<u32>,
    max_per_category: Option<u32>,
    brands: BTreeMap<u32, u32>,
    categories: BTreeMap<u32, u32>,
}

impl<'a> Limits<'a> {
    fn new(
        models: &'a FittedModels,
        max_per_brand: Option<u32>,
        max_per_category: Option<u32>,
    ) -> Self {
        Self {
            models,
            max_per_brand,
            max_per_category,
            brands: BTreeMap::new(),
            categories: BTreeMap::new(),
        }
    }

    /// Codes of an item's brand and category path.
    fn codes(&self, item: u32) -> (u32, u32) {
        (
            self.models.catalog.brand.code(item),
            self.models.indexes.groups.path_of(item),
        )
    }

    /// Whether there is room for an item. One without brand or category is not limited by it.
    fn admit(&self, item: u32) -> bool {
        let (brand, category) = self.codes(item);
        let has_room = |counts: &BTreeMap<u32, u32>, code: u32, most: Option<u32>| {
            code == NONE || most.is_none_or(|most| counts.get(&code).copied().unwrap_or(0) < most)
        };
        has_room(&self.brands, brand, self.max_per_brand)
            && has_room(&self.categories, category, self.max_per_category)
    }

    fn add(&mut self, item: u32) {
        let (brand, category) = self.codes(item);
        if self.max_per_brand.is_some() {
            *self.brands.entry(brand).or_default() += 1;
        }
        if self.max_per_category.is_some() {
            *self.categories.entry(category).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::DAY_MILLIS;

    fn ranked(item: u32, score: f32, source: CandidateSource) -> RankedItem {
        RankedItem {
            item,
            score,
            source,
            reasons: Vec::new(),
            substitute: 0.0,
        }
    }

    #[test]
    fn relevance_falls_from_rung_to_rung() {
        let list = [
            ranked(0, 4.0, CandidateSource::Personal),
            ranked(1, 1.0, CandidateSource::Personal),
            ranked(2, 900.0, CandidateSource::Popular),
            ranked(3, 90.0, CandidateSource::Popular),
            ranked(4, 0.0, CandidateSource::Popular),
        ];
        assert_eq!(relevances(&list), [1.0, 0.25, 0.25, 0.025, 0.0]);
        assert_eq!(
            relevances(&[ranked(0, -1.0, CandidateSource::Personal)]),
            [0.0]
        );
    }

    #[test]
    fn rotation_draws_in_proportion_to_relevance() {
        // At rotation 1 an item of half the relevance comes first with probability 1/3.
        let first = (0..20_000).filter(|day| {
            let context = RequestContext {
                time: Some(day * DAY_MILLIS + 5),
                viewer: "ada".into(),
                ..RequestContext::default()
            };
            0.5f32.ln() + noise(&context, 7) > noise(&context, 3)
        });
        let share = first.count() as f32 / 20_000.0;
        assert!((share - 1.0 / 3.0).abs() < 0.015, "{share}");
        let context = |time| RequestContext {
            time: Some(time),
            viewer: "ada".into(),
            ..RequestContext::default()
        };
        assert_eq!(noise(&context(0), 3), noise(&context(DAY_MILLIS - 1), 3));
    }
}

//! The order of an answer where more than relevance decides: boosts, pins, bounds, variety, rotation.
//!
//! Relevance is the score as a share of the best one's, rung by rung, each rung below the last place of the one before. Boosts multiply it;
//! rotation adds Gumbel noise to its logarithm, fixed for a viewer, an item and a day, which is drawing in proportion to relevance^(1/r) without
//! replacement (Kool et al. 2019, "Stochastic beams and where to find them"); variety is maximal marginal relevance (Carbonell and
//! Goldstein 1998); bounds are met greedily.

use crate::answer::{Ranked, Rung};
use crate::bundle::Bundle;
use crate::rules::{Ruling, Scene};
use aisle_data::{NONE, mix};
use std::collections::BTreeMap;

const DAY: i64 = 86_400_000;
/// How alike two items of one category path are at least, where variety is asked for.
const SAME_PATH: f32 = 0.5;

/// What is chosen from.
pub(crate) struct Pool<'a> {
    /// Best first, rung after rung.
    pub items: Vec<Ranked>,
    /// The pinned items that pass the gate, by place.
    pub pins: &'a [(usize, u32)],
    /// How many are wanted.
    pub k: usize,
}

struct Candidate {
    ranked: Ranked,
    /// Share of the best, before boosts.
    plain: f32,
    /// What decides.
    worth: f32,
}

impl Bundle {
    /// The best `k` of a pool under a ruling. O(pool · log pool), with variety O(pool · k).
    pub(crate) fn arranged(&self, pool: Pool, ruling: &Ruling, scene: &Scene) -> Vec<Ranked> {
        let pinned = |item: u32| pool.pins.iter().any(|pin| pin.1 == item);
        let controls = &ruling.controls;
        let least = controls.min_relevance.unwrap_or(0.0);
        let shares = shares(&pool.items);
        let mut found: BTreeMap<u32, Ranked> = BTreeMap::new();
        let mut candidates: Vec<Candidate> = Vec::with_capacity(pool.items.len());
        for (ranked, plain) in pool.items.into_iter().zip(shares) {
            if pinned(ranked.item) {
                found.insert(ranked.item, ranked);
                continue;
            }
            if plain < least {
                continue;
            }
            let boosted: f32 = ruling.boosts.iter().filter(|boost| boost.0.contains(ranked.item)).map(|boost| boost.1).product();
            let turned = match controls.rotation.filter(|&rotation| rotation > 0.0) {
                None => 1.0,
                Some(rotation) => (rotation * noise(scene, ranked.item)).exp(),
            };
            candidates.push(Candidate { worth: plain.max(1e-6) * boosted * turned, plain, ranked });
        }
        candidates.sort_by(|a, b| b.worth.total_cmp(&a.worth).then(b.plain.total_cmp(&a.plain)));
        let best = candidates.first().map_or(1.0, |candidate| candidate.worth);
        candidates.iter_mut().for_each(|candidate| candidate.worth /= best);

        let mut bounds = Bounds::new(self, controls.max_per_brand, controls.max_per_category);
        // Pins stand whatever the bounds, and count for them.
        pool.pins.iter().for_each(|&(_, item)| bounds.add(item));
        let wanted = pool.k.saturating_sub(pool.pins.len());
        let chosen = match controls.diversity.filter(|&diversity| diversity > 0.0) {
            None => {
                let mut chosen = Vec::with_capacity(wanted);
                for candidate in candidates {
                    if chosen.len() < wanted && bounds.admits(candidate.ranked.item) {
                        bounds.add(candidate.ranked.item);
                        chosen.push(candidate.ranked);
                    }
                }
                chosen
            }
            Some(diversity) => self.varied(candidates, wanted, diversity, &mut bounds),
        };
        let mut order = chosen.into_iter();
        let mut answer: Vec<Ranked> = Vec::with_capacity(pool.k);
        let mut pins = pool.pins.iter().peekable();
        while answer.len() < pool.k {
            // Pins beyond the end move up to it.
            let due = pins.peek().is_some_and(|pin| pin.0 <= answer.len() + 1);
            let ranked = if due { None } else { order.next() };
            let pinned = |&(_, item): &(usize, u32)| {
                let score = found.get(&item).map_or(0.0, |ranked| ranked.score);
                Ranked { item, score, source: Rung::Pinned, reasons: Vec::new(), substitute: 0.0 }
            };
            let Some(ranked) = ranked.or_else(|| pins.next().map(pinned)) else { break };
            answer.push(ranked);
        }
        answer
    }

    fn varied(&self, mut left: Vec<Candidate>, wanted: usize, diversity: f32, bounds: &mut Bounds) -> Vec<Ranked> {
        let mut chosen: Vec<Ranked> = Vec::with_capacity(wanted);
        // How like the most alike chosen one each is.
        let mut likeness = vec![0f32; left.len()];
        while chosen.len() < wanted && !left.is_empty() {
            let mut best: Option<(usize, f32)> = None;
            for (at, (candidate, alike)) in left.iter().zip(&likeness).enumerate() {
                let marginal = (1.0 - diversity) * candidate.worth - diversity * alike;
                if bounds.admits(candidate.ranked.item) && best.is_none_or(|(_, most)| marginal > most) {
                    best = Some((at, marginal));
                }
            }
            let Some((best, _)) = best else { break };
            let picked = left.remove(best).ranked;
            likeness.remove(best);
            bounds.add(picked.item);
            let items: Vec<u32> = left.iter().map(|candidate| candidate.ranked.item).collect();
            for ((known, &item), new) in likeness.iter_mut().zip(&items).zip(self.likeness(picked.item, &items, SAME_PATH)) {
                debug_assert!(item != picked.item);
                *known = known.max(new);
            }
            chosen.push(picked);
        }
        chosen
    }
}

/// The relevance of each item of a list, 0 to 1, falling from rung to rung.
fn shares(items: &[Ranked]) -> Vec<f32> {
    let mut shares = Vec::with_capacity(items.len());
    let mut ceiling = 1f32;
    for rung in items.chunk_by(|a, b| a.source == b.source) {
        let best = rung.iter().map(|ranked| ranked.score).fold(0f32, f32::max);
        let share = |ranked: &Ranked| if best > 0.0 { ceiling * (ranked.score / best).max(0.0) } else { 0.0 };
        shares.extend(rung.iter().map(share));
        ceiling = shares.iter().copied().fold(ceiling, f32::min);
    }
    shares
}

/// Gumbel noise of a viewer, an item and a day.
fn noise(scene: &Scene, item: u32) -> f32 {
    let day = scene.time.unwrap_or(0).div_euclid(DAY) as u64;
    let viewer = scene.viewer.bytes().fold(day, |state, byte| mix(state ^ u64::from(byte)));
    let uniform = (mix(viewer ^ (u64::from(item) << 20)) >> 40) as f32 / (1u64 << 24) as f32;
    -(-(uniform.clamp(1e-6, 1.0 - 1e-6)).ln()).ln()
}

/// How many more of a brand and a category there may be.
struct Bounds<'a> {
    bundle: &'a Bundle,
    brand: Option<u32>,
    category: Option<u32>,
    brands: BTreeMap<u32, u32>,
    categories: BTreeMap<u32, u32>,
}

impl<'a> Bounds<'a> {
    fn new(bundle: &'a Bundle, brand: Option<u32>, category: Option<u32>) -> Self {
        Self { bundle, brand, category, brands: BTreeMap::new(), categories: BTreeMap::new() }
    }

    fn codes(&self, item: u32) -> (u32, u32) {
        (self.bundle.catalog.brand.code(item), self.bundle.groups().path_of(item))
    }

    /// What has no brand or category is not bounded by it.
    fn admits(&self, item: u32) -> bool {
        let (brand, category) = self.codes(item);
        let below = |counts: &BTreeMap<u32, u32>, code: u32, most: Option<u32>| {
            code == NONE || most.is_none_or(|most| counts.get(&code).copied().unwrap_or(0) < most)
        };
        below(&self.brands, brand, self.brand) && below(&self.categories, category, self.category)
    }

    fn add(&mut self, item: u32) {
        let (brand, category) = self.codes(item);
        if self.brand.is_some() {
            *self.brands.entry(brand).or_default() += 1;
        }
        if self.category.is_some() {
            *self.categories.entry(category).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(item: u32, score: f32, source: Rung) -> Ranked {
        Ranked { item, score, source, reasons: Vec::new(), substitute: 0.0 }
    }

    #[test]
    fn relevance_falls_from_rung_to_rung() {
        let list = [
            ranked(0, 4.0, Rung::Personal),
            ranked(1, 1.0, Rung::Personal),
            ranked(2, 900.0, Rung::Popular),
            ranked(3, 90.0, Rung::Popular),
            ranked(4, 0.0, Rung::Popular),
        ];
        assert_eq!(shares(&list), [1.0, 0.25, 0.25, 0.025, 0.0]);
        assert_eq!(shares(&[ranked(0, -1.0, Rung::Personal)]), [0.0]);
    }

    #[test]
    fn rotation_draws_in_proportion_to_relevance() {
        // At rotation 1 an item of half the relevance comes first with probability 1/3.
        let first = (0..20_000).filter(|day| {
            let scene = Scene { time: Some(day * DAY + 5), viewer: "ada".into(), ..Scene::default() };
            0.5f32.ln() + noise(&scene, 7) > noise(&scene, 3)
        });
        let share = first.count() as f32 / 20_000.0;
        assert!((share - 1.0 / 3.0).abs() < 0.015, "{share}");
        let scene = |time| Scene { time: Some(time), viewer: "ada".into(), ..Scene::default() };
        assert_eq!(noise(&scene(0), 3), noise(&scene(DAY - 1), 3));
    }
}

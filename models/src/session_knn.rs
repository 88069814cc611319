//! What comes next in a visit: by the visits most like it.
//!
//! An index of the latest sessions of each item makes the nearest sessions cheap to find (VMIS-kNN: Kersbergen, Sprangers and Schelter,
//! "Serenade", SIGMOD 2022). A click counts less the longer ago it was, and an item of a near session counts more the nearer it
//! stands to the click that the sessions share (STAN: Garg et al., "Sequence and Time Aware Neighborhood for Session-based
//! Recommendations", SIGIR 2019, equations 1 to 3). Nothing is stored of the visit that is asked about.

use crate::Result;
use crate::index::{Eligible, Found};
use crate::recommend::{Fit, Training, Watch, hyperparameter};
use crate::top_k::{Scored, TopK};
use crate::weights::{Array, Tensor, Weights};
use aisle_data::Sessions;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionKnn {
    /// Sessions kept, the latest; 0 = no sessions are learned.
    pub sessions: usize,
    /// m: sessions looked at for each clicked item, the latest; 1 to 100,000.
    pub recent: usize,
    /// k: nearest sessions that speak, 1 to 100,000.
    pub neighbours: usize,
    /// Clicks of the visit that are looked at, the last; 1 to 1000.
    pub clicks: usize,
    /// After so many later clicks a click counts 1/e.
    pub fade: f32,
    /// So many places from the shared click an item of a near session counts 1/e.
    pub reach: f32,
    /// How much an item before the shared click counts of one after it, 0 to 1.
    pub before: f32,
    /// A session counts 1/e when so many times all kept sessions came after it.
    pub age: f32,
    /// Exponent of an item's rarity ln(sessions / sessions with it), 0 or more.
    pub rarity: f32,
}

impl Default for SessionKnn {
    fn default() -> Self {
        Self {
            sessions: 2_000_000,
            recent: 1000,
            neighbours: 500,
            clicks: 10,
            fade: 1.5,
            reach: 3.0,
            before: 0.7,
            age: 1.0,
            rarity: 1.0,
        }
    }
}

/// Longest session kept: of a longer one, which is a robot's or a shared till's, the last items.
const LONGEST: usize = 100;

impl SessionKnn {
    fn validate(&self) -> Result<()> {
        hyperparameter("recent", self.recent, 1..=100_000)?;
        hyperparameter("neighbours", self.neighbours, 1..=100_000)?;
        hyperparameter("clicks", self.clicks, 1..=1000)?;
        hyperparameter("fade", self.fade, 0.01..=f32::MAX)?;
        hyperparameter("reach", self.reach, 0.01..=f32::MAX)?;
        hyperparameter("age", self.age, 0.01..=f32::MAX)?;
        hyperparameter("before", self.before, 0.0..=1.0)?;
        hyperparameter("rarity", self.rarity, 0.0..=10.0)
    }
}

impl Fit for SessionKnn {
    type Model = SessionModel;

    /// O(events log events).
    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<SessionModel> {
        self.validate()?;
        let sessions = Sessions::of(training.log);
        let kept = (0..sessions.len()).filter(|&session| sessions.session(session).len() >= 2);
        let kept: Vec<usize> = kept.collect();
        let kept = &kept[kept.len().saturating_sub(self.sessions)..];
        let mut offsets = vec![0u64];
        let mut items = Vec::new();
        for &session in kept {
            let all = sessions.session(session);
            items.extend_from_slice(&all[all.len().saturating_sub(LONGEST)..]);
            offsets.push(items.len() as u64);
        }
        watch.step("session", 1, 1);
        Ok(SessionModel::new(self.clone(), offsets.into(), items.into(), training.catalog.len()))
    }
}

/// Sessions, and where each item's are.
pub struct SessionModel {
    settings: SessionKnn,
    /// `sessions + 1` positions into `items`; the latest session is the last.
    offsets: Array<u64>,
    /// Item rows in the order of touching.
    items: Array<u32>,
    /// For each item the latest sessions that hold it, the latest first: `items + 1` positions.
    starts: Vec<usize>,
    holders: Vec<u32>,
    /// ln(sessions / sessions with it)^rarity of each item.
    rarity: Vec<f32>,
    /// What a session counts by its age and length.
    worth: Vec<f32>,
    /// What an item counts that stands so many places from the click that a session shares.
    beside: Vec<f32>,
}

/// How near a session is, and through which click.
#[derive(Clone, Copy, Default)]
struct Nearness {
    sum: f32,
    /// The latest click that both hold.
    shared: u32,
}

#[derive(Default)]
struct Scratch {
    near: Vec<Nearness>,
    touched: Vec<u32>,
    scores: Vec<(f32, u32)>,
    scored: Vec<u32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl SessionModel {
    fn new(settings: SessionKnn, offsets: Array<u64>, items: Array<u32>, catalog: usize) -> Self {
        let sessions = offsets.len() - 1;
        let of = |session: usize| {
            let mut held = items[offsets[session] as usize..offsets[session + 1] as usize].to_vec();
            held.sort_unstable();
            held.dedup();
            held
        };
        let mut holding = vec![0u32; catalog];
        (0..sessions).for_each(|session| of(session).into_iter().for_each(|item| holding[item as usize] += 1));
        let mut starts = vec![0usize; catalog + 1];
        for (item, &count) in holding.iter().enumerate() {
            starts[item + 1] = starts[item] + (count as usize).min(settings.recent);
        }
        let mut next = starts.clone();
        let mut holders = vec![0u32; starts[catalog]];
        // From the latest on, so that an item's list holds its latest.
        for session in (0..sessions).rev() {
            for item in of(session) {
                let at = item as usize;
                if next[at] < starts[at + 1] {
                    holders[next[at]] = session as u32;
                    next[at] += 1;
                }
            }
        }
        let rare = |&count: &u32| if count == 0 { 0.0 } else { (sessions as f32 / count as f32).ln_1p().powf(settings.rarity) };
        let rarity = holding.iter().map(rare).collect();
        let length = |session: usize| (offsets[session + 1] - offsets[session]) as usize;
        let since = |session: usize| (sessions - session) as f32 / sessions as f32;
        let worth = (0..sessions).map(|session| (-since(session) / settings.age).exp() / (length(session) as f32).sqrt()).collect();
        let longest = (0..sessions).map(length).max().unwrap_or(0);
        let beside = (0..longest).map(|places| (-(places as f32) / settings.reach).exp()).collect();
        Self { settings, offsets, items, starts, holders, rarity, worth, beside }
    }

    pub(crate) fn load(settings: &SessionKnn, items: usize, weights: &mut Weights) -> Result<Self> {
        settings.validate()?;
        let (offsets, lines) = weights.some_offsets("session.offsets")?;
        let lines = weights.rows("session.items", lines, items)?;
        Ok(Self::new(settings.clone(), offsets, lines, items))
    }

    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![Tensor::u64("session.offsets", &self.offsets), Tensor::u32("session.items", &self.items)]
    }

    /// How many sessions are known.
    pub fn sessions(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The items most likely next in a visit of these clicks, oldest first. Returns of each how many of the near sessions hold it.
    /// O(clicks · recent + neighbours · length of a session), whatever the size of the log.
    pub fn next(&self, clicks: &[u32], k: usize, eligible: Eligible, found: &mut Found) -> Vec<u32> {
        let SessionKnn { neighbours, fade, before, .. } = self.settings;
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { near, touched, scores, scored } = scratch;
            near.resize(self.sessions().max(near.len()), Nearness::default());
            scores.resize(self.rarity.len().max(scores.len()), (0.0, 0));
            let mut seen: Vec<u32> = Vec::with_capacity(self.settings.clicks);
            for &click in clicks.iter().rev() {
                if seen.len() == self.settings.clicks {
                    break;
                }
                if seen.contains(&click) {
                    continue;
                }
                let weight = (-(seen.len() as f32) / fade).exp();
                seen.push(click);
                for &session in &self.holders[self.starts[click as usize]..self.starts[click as usize + 1]] {
                    let nearness = &mut near[session as usize];
                    if nearness.sum == 0.0 {
                        nearness.shared = click;
                        touched.push(session);
                    }
                    nearness.sum += weight;
                }
            }
            touched.iter().for_each(|&session| near[session as usize].sum *= self.worth[session as usize]);
            let order = |a: &u32, b: &u32| near[*b as usize].sum.total_cmp(&near[*a as usize].sum).then(b.cmp(a));
            if touched.len() > neighbours {
                touched.select_nth_unstable_by(neighbours, order);
            }
            // Added up in the order of time, so that the same sessions give the same bits.
            let speaking = touched.len().min(neighbours);
            touched[..speaking].sort_unstable();
            for &session in &touched[..speaking] {
                let Nearness { sum, shared } = near[session as usize];
                let items = &self.items[self.offsets[session as usize] as usize..self.offsets[session as usize + 1] as usize];
                let Some(place) = items.iter().rposition(|&item| item == shared) else { continue };
                for (at, &item) in items.iter().enumerate() {
                    let score = &mut scores[item as usize];
                    if score.1 == 0 {
                        scored.push(item);
                    }
                    let side = if at < place { before } else { 1.0 };
                    score.0 += side * sum * self.beside[at.abs_diff(place)];
                    score.1 += 1;
                }
            }
            touched.drain(..).for_each(|session| near[session as usize] = Nearness::default());
            let mut top = TopK::new(k);
            for &item in scored.iter().filter(|&&item| eligible.contains(item)) {
                top.offer(item, scores[item as usize].0 * self.rarity[item as usize]);
            }
            top.drain_into(&mut found.items);
            let counts = found.items.iter().map(|scored: &Scored| scores[scored.item as usize].1).collect();
            scored.drain(..).for_each(|item| scores[item as usize] = (0.0, 0));
            counts
        })
    }
}

//! What comes next in a visit, by the earlier visits most like it.
//!
//! In: the sessions of a log, and the clicks of a visit. Out: the items most likely next. An index
//! of the latest sessions of each item makes the nearest sessions cheap to find (VMIS-kNN:
//! Kersbergen, Sprangers and Schelter, "Serenade", SIGMOD 2022). A click counts less the longer ago
//! it was, and an item of a near session counts more the nearer it stands to the click that the
//! sessions share (STAN: Garg et al., "Sequence and Time Aware Neighborhood for Session-based
//! Recommendations", SIGIR 2019, equations 1 to 3). Nothing of the visit that is asked about is
//! stored.

use crate::algorithms::recommend::{Fit, Progress, Training, check_range};
use crate::error::Result;
use crate::weights::{Tensor, Weights};
use aisle_data::Sessions;
use aisle_math::array::Array;
use aisle_retrieval::index::{Eligible, SearchBuffer};
use aisle_retrieval::top_k::{Scored, TopK};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::ops::Range;

/// Hyperparameters of session neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionKnn {
    /// Sessions kept, the latest; 0 = none, and nothing is recommended.
    pub sessions: usize,
    /// m: how many of the latest sessions of each clicked item are compared, 1 to 100,000.
    pub recent: usize,
    /// k: how many of the nearest sessions recommend their items, 1 to 100,000.
    pub neighbours: usize,
    /// How many of the last clicks of a visit are compared, 1 to 1000.
    pub clicks: usize,
    /// After this many later clicks a click counts 1/e; at least 0.01.
    pub fade: f32,
    /// This many places from the shared click an item of a near session counts 1/e; at least 0.01.
    pub reach: f32,
    /// What an item before the shared click counts, where one after it counts 1; 0 to 1.
    pub before: f32,
    /// A session counts 1/e if this many times all kept sessions came after it; at least 0.01.
    pub age: f32,
    /// The exponent of an item's rarity ln(1 + sessions / sessions with the item), 0 to 10.
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

/// Items kept of one session, the last ones: a longer session is a robot's or of a shared device.
const MAX_SESSION_ITEMS: usize = 100;

impl SessionKnn {
    /// Checks the range of every hyperparameter.
    fn validate(&self) -> Result<()> {
        check_range("recent", self.recent, 1..=100_000)?;
        check_range("neighbours", self.neighbours, 1..=100_000)?;
        check_range("clicks", self.clicks, 1..=1000)?;
        check_range("fade", self.fade, 0.01..=f32::MAX)?;
        check_range("reach", self.reach, 0.01..=f32::MAX)?;
        check_range("age", self.age, 0.01..=f32::MAX)?;
        check_range("before", self.before, 0.0..=1.0)?;
        check_range("rarity", self.rarity, 0.0..=10.0)
    }
}

impl Fit for SessionKnn {
    type Model = SessionModel;

    /// O(events log events).
    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<SessionModel> {
        self.validate()?;
        let sessions = Sessions::of(training.log);
        let usable: Vec<usize> = (0..sessions.len())
            .filter(|&session| sessions.session(session).len() >= 2)
            .collect();
        let kept = &usable[usable.len().saturating_sub(self.sessions)..];
        let mut offsets = vec![0u64];
        let mut items = Vec::new();
        for &session in kept {
            let all = sessions.session(session);
            items.extend_from_slice(&all[all.len().saturating_sub(MAX_SESSION_ITEMS)..]);
            offsets.push(items.len() as u64);
        }
        progress.step("session", 1, 1);
        Ok(SessionModel::new(
            self.clone(),
            offsets.into(),
            items.into(),
            training.catalog.len(),
        ))
    }
}

/// The kept sessions, and an index of them by item.
pub struct SessionModel {
    settings: SessionKnn,
    /// `sessions + 1` positions into `items`; the latest session is the last.
    offsets: Array<u64>,
    /// Item rows in the order of the clicks.
    items: Array<u32>,
    /// `items + 1` positions into `sessions_of_items`.
    item_offsets: Vec<usize>,
    /// For each item the latest sessions that hold it, the latest first.
    sessions_of_items: Vec<u32>,
    /// ln(1 + sessions / sessions with it)^rarity of each item; 0 for an item of no session.
    rarity: Vec<f32>,
    /// What each session counts, by its age and length.
    session_weights: Vec<f32>,
    /// What an item counts, by how many places it stands from the click that the sessions share.
    distance_weights: Vec<f32>,
}

/// How near a session is to the visit.
#[derive(Clone, Copy, Default)]
struct SessionSimilarity {
    /// Σ over the shared items of what their clicks count.
    score: f32,
    /// The item of the latest click that the session shares.
    shared_item: u32,
}

/// What sessions say of an item.
#[derive(Clone, Copy, Default)]
struct ItemScore {
    score: f32,
    /// How many of the nearest sessions hold the item.
    sessions: u32,
}

/// Arrays over all sessions and items, kept for each thread because a visit touches few of them.
/// Between calls the lists are empty and the arrays hold defaults.
#[derive(Default)]
struct Scratch {
    /// For each session.
    similarities: Vec<SessionSimilarity>,
    /// The sessions that share an item with the visit.
    similar_sessions: Vec<u32>,
    /// For each item.
    scores: Vec<ItemScore>,
    /// The items that have a score.
    scored_items: Vec<u32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl SessionModel {
    /// Derives the index and all weights from the sessions, whose items are below `catalog`.
    fn new(settings: SessionKnn, offsets: Array<u64>, items: Array<u32>, catalog: usize) -> Self {
        let sessions = offsets.len() - 1;
        let distinct_items = |session: usize| {
            let mut distinct = items[session_range(&offsets, session)].to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            distinct
        };
        let mut sessions_with = vec![0u32; catalog];
        for session in 0..sessions {
            for item in distinct_items(session) {
                sessions_with[item as usize] += 1;
            }
        }
        let mut item_offsets = vec![0usize; catalog + 1];
        for (item, &count) in sessions_with.iter().enumerate() {
            item_offsets[item + 1] = item_offsets[item] + (count as usize).min(settings.recent);
        }
        let mut next = item_offsets.clone();
        let mut sessions_of_items = vec![0u32; item_offsets[catalog]];
        // From the latest session on, so that an item's list holds its latest.
        for session in (0..sessions).rev() {
            for item in distinct_items(session) {
                let at = item as usize;
                if next[at] < item_offsets[at + 1] {
                    sessions_of_items[next[at]] = session as u32;
                    next[at] += 1;
                }
            }
        }
        let rarity = |&count: &u32| {
            if count == 0 {
                return 0.0;
            }
            let sessions_for_each = sessions as f32 / count as f32;
            sessions_for_each.ln_1p().powf(settings.rarity)
        };
        let length = |session: usize| session_range(&offsets, session).len();
        let session_weight = |session: usize| {
            let age = (sessions - session) as f32 / sessions as f32;
            (-age / settings.age).exp() / (length(session) as f32).sqrt()
        };
        let distance_weight = |places: usize| (-(places as f32) / settings.reach).exp();
        let longest = (0..sessions).map(length).max().unwrap_or(0);
        Self {
            rarity: sessions_with.iter().map(rarity).collect(),
            session_weights: (0..sessions).map(session_weight).collect(),
            distance_weights: (0..longest).map(distance_weight).collect(),
            settings,
            offsets,
            items,
            item_offsets,
            sessions_of_items,
        }
    }

    /// Reads the sessions from the arrays of a version.
    pub(crate) fn load(settings: &SessionKnn, items: usize, weights: &mut Weights) -> Result<Self> {
        settings.validate()?;
        let (offsets, clicks) = weights.some_offsets("session.offsets")?;
        let clicked_items = weights.rows("session.items", clicks, items)?;
        Ok(Self::new(settings.clone(), offsets, clicked_items, items))
    }

    /// The arrays that a version stores.
    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![
            Tensor::u64("session.offsets", &self.offsets),
            Tensor::u32("session.items", &self.items),
        ]
    }

    /// How many sessions are kept.
    pub fn sessions(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Finds the `k` eligible items most likely next in a visit with these clicks, oldest first.
    /// Returns for each how many of the nearest sessions hold it. O(clicks · recent + neighbours ·
    /// length of a session), whatever the size of the log.
    pub fn next(
        &self,
        clicks: &[u32],
        k: usize,
        eligible: Eligible,
        found: &mut SearchBuffer,
    ) -> Vec<u32> {
        SCRATCH.with_borrow_mut(|scratch| {
            let sessions = self.sessions().max(scratch.similarities.len());
            let items = self.rarity.len().max(scratch.scores.len());
            scratch
                .similarities
                .resize(sessions, SessionSimilarity::default());
            scratch.scores.resize(items, ItemScore::default());
            self.compare_sessions(clicks, scratch);
            let nearest = self.select_nearest(scratch);
            self.score_items(nearest, scratch);
            let mut top = TopK::new(k);
            let scored = scratch.scored_items.iter().copied();
            for item in scored.filter(|&item| eligible.contains(item)) {
                let score = scratch.scores[item as usize].score;
                top.offer(item, score * self.rarity[item as usize]);
            }
            top.drain_into(&mut found.items);
            let sessions_with = |scored: &Scored| scratch.scores[scored.item as usize].sessions;
            let counts = found.items.iter().map(sessions_with).collect();
            for item in scratch.scored_items.drain(..) {
                scratch.scores[item as usize] = ItemScore::default();
            }
            counts
        })
    }

    /// Adds up the similarity of the sessions that hold one of the last distinct clicks.
    fn compare_sessions(&self, clicks: &[u32], scratch: &mut Scratch) {
        let mut compared: Vec<u32> = Vec::with_capacity(self.settings.clicks);
        for &click in clicks.iter().rev() {
            if compared.len() == self.settings.clicks {
                break;
            }
            if compared.contains(&click) {
                continue;
            }
            let click_weight = (-(compared.len() as f32) / self.settings.fade).exp();
            compared.push(click);
            let item = click as usize;
            for &session in
                &self.sessions_of_items[self.item_offsets[item]..self.item_offsets[item + 1]]
            {
                let similarity = &mut scratch.similarities[session as usize];
                if similarity.score == 0.0 {
                    similarity.shared_item = click;
                    scratch.similar_sessions.push(session);
                }
                similarity.score += click_weight;
            }
        }
        for &session in &scratch.similar_sessions {
            let session = session as usize;
            scratch.similarities[session].score *= self.session_weights[session];
        }
    }

    /// Puts the nearest sessions first, oldest first among themselves, and returns how many they
    /// are.
    fn select_nearest(&self, scratch: &mut Scratch) -> usize {
        let Scratch {
            similarities,
            similar_sessions,
            ..
        } = scratch;
        let neighbours = self.settings.neighbours;
        if similar_sessions.len() > neighbours {
            similar_sessions.select_nth_unstable_by(neighbours, |&a, &b| {
                let (score_a, score_b) = (
                    similarities[a as usize].score,
                    similarities[b as usize].score,
                );
                score_b.total_cmp(&score_a).then(b.cmp(&a))
            });
        }
        // Scores are added up in the order of time, so that the same sessions give the same bits.
        let nearest = similar_sessions.len().min(neighbours);
        similar_sessions[..nearest].sort_unstable();
        nearest
    }

    /// Adds up the scores of the items of the nearest sessions, and clears the similarities.
    fn score_items(&self, nearest: usize, scratch: &mut Scratch) {
        for &session in &scratch.similar_sessions[..nearest] {
            let session = session as usize;
            let SessionSimilarity {
                score: similarity,
                shared_item,
            } = scratch.similarities[session];
            let items = &self.items[session_range(&self.offsets, session)];
            let Some(shared_place) = items.iter().rposition(|&item| item == shared_item) else {
                continue;
            };
            for (place, &item) in items.iter().enumerate() {
                let score = &mut scratch.scores[item as usize];
                if score.sessions == 0 {
                    scratch.scored_items.push(item);
                }
                let side = if place < shared_place {
                    self.settings.before
                } else {
                    1.0
                };
                let distance = place.abs_diff(shared_place);
                score.score += side * similarity * self.distance_weights[distance];
                score.sessions += 1;
            }
        }
        for session in scratch.similar_sessions.drain(..) {
            scratch.similarities[session as usize] = SessionSimilarity::default();
        }
    }
}

/// The positions of a session's items.
fn session_range(offsets: &[u64], session: usize) -> Range<usize> {
    offsets[session] as usize..offsets[session + 1] as usize
}

//! Upsell: the dearer item of the same category that shoppers of this one step up to.
//!
//! What is learned is the step itself: how many distinct shoppers chose i and later chose j, a dearer item of i's category.
//! A first version, to be replaced by a calibrated model behind the same questions.

use crate::neighbours::Neighbours;
use crate::recommend::{Fit, Training, Watch};
use crate::top_k::{Scored, TopK};
use crate::weights::{Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::{EventRole, NONE};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

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
}

impl Default for Upsell {
    fn default() -> Self {
        Self { min_ratio: 1.05, max_ratio: 2.0, neighbours: 100 }
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
        Ok(UpsellModel { steps: Neighbours::from_rows(rows), settings: self.clone() })
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

/// Fitted steps.
#[derive(Default)]
pub struct UpsellModel {
    steps: Neighbours,
    settings: Upsell,
}

impl UpsellModel {
    pub(crate) fn load(settings: Upsell, items: usize, weights: &mut Weights) -> Result<Self> {
        Ok(Self { steps: Neighbours::load(NAMES, items, weights)?, settings })
    }

    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        self.steps.tensors(NAMES)
    }

    /// The band of prices, as multiples of the anchor's.
    pub fn band(&self) -> (f32, f32) {
        (self.settings.min_ratio, self.settings.max_ratio)
    }

    /// All steps from an item, as (item, shoppers).
    pub fn steps(&self, from: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.steps.row(from).map(|step| (step.item, step.score as u32))
    }

    /// The score of one candidate: likeness (cosine) × steps × sales, each damped so that none alone decides. How much likeness
    /// is damped was chosen on validation parts of Complete Journey and Online Retail.
    pub fn score(likeness: f32, steps: u32, sales: f32) -> f32 {
        (2.0 + likeness.max(0.0)) * (1.0 + steps as f32).ln_1p() * (1.0 + sales.max(0.0)).ln_1p()
    }
}

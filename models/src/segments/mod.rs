//! Segments of shoppers: those that a shop names by a condition, and those that are found in its
//! log.
//!
//! In: a [`Training`], the personal model, and the settings ([`Segments`]). Out: a
//! [`SegmentsModel`] (`model.rs`), which knows the segments of each shopper. The parts:
//!
//! - `profiles.rs`: what is known of each shopper. A new fact for conditions is an entry there.
//! - `clusters.rs`: learned segments, by k-means on the profiles and the vectors of the personal
//!   model.
//! - `describe.rs`: what a segment is like compared with all shoppers, and the names of learned
//!   ones.
//!
//! A segment with too few shoppers is not published: its numbers would say too much of each of
//! them, and too little to decide by.

mod clusters;
mod describe;
mod model;
mod profiles;

use crate::algorithms::recommend::{Progress, Recommend, Training, check_range};
use crate::condition::{Condition, Schema};
use crate::error::{ModelError, Result};
use aisle_data::Labels;
use clusters::ClusterSettings;
use describe::{Population, SegmentDescription, unique_names};
use model::SegmentMembers;
pub use model::{FavouriteCategory, Segment, SegmentList, SegmentsModel, WithheldSegments};
use profiles::{ShopperProfiles, shopper_fields};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of segments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Segments {
    /// How many segments are learned, 0 to 64; 0 = none.
    pub learned: usize,
    /// A segment with fewer shoppers is not published.
    pub min_shoppers: usize,
    /// The seed of the starts of k-means.
    pub seed: u64,
    /// Conditions on shoppers by the name of their segment, such as
    /// `user.orders >= 5 AND user.days_since < 60`. Beside the columns of the users file there are
    /// `orders`, `days_since` (since the last order), `spend`, `items`, `mean_price`, `gap_days`,
    /// `lapsed`, `price_band` (low, middle or high: that of most of their items, within each item's
    /// category), and `favourite_category`, all as of the end of the log.
    pub named: BTreeMap<String, String>,
}

impl Default for Segments {
    fn default() -> Self {
        Self {
            learned: 8,
            min_shoppers: 50,
            seed: 42,
            named: BTreeMap::new(),
        }
    }
}

/// Longest name of a segment, in characters.
const MAX_NAME: usize = 100;

impl Segments {
    /// Checks ranges, names, and conditions as far as that is possible without the users file: any
    /// further `user.` field may be a column of it.
    ///
    /// # Errors
    /// [`ModelError::Hyperparameter`], and [`ModelError::Segment`] with the column of a mistake.
    pub fn validate(&self) -> Result<()> {
        check_range("segments.learned", self.learned, 0..=64)?;
        self.parse_conditions(&shopper_fields(None)).map(|_| ())
    }

    /// The same checks, with the columns of the users file.
    pub(crate) fn check(&self, attributes: &[(String, Labels)]) -> Result<()> {
        check_range("segments.learned", self.learned, 0..=64)?;
        self.parse_conditions(&shopper_fields(Some(attributes)))
            .map(|_| ())
    }

    /// The named segments and their conditions, in the order of their names.
    fn parse_conditions(&self, schema: &Schema) -> Result<Vec<(&str, Condition)>> {
        let mut parsed = Vec::new();
        for (name, text) in &self.named {
            check_name(name)?;
            let condition =
                Condition::parse(text, schema).map_err(|fault| ModelError::Segment {
                    name: name.clone(),
                    fault,
                })?;
            parsed.push((name.as_str(), condition));
        }
        Ok(parsed)
    }

    /// Puts the shoppers of a log into segments. Learned segments use the shoppers' vectors of the
    /// personal model, if it has any.
    ///
    /// # Errors
    /// As [`Segments::validate`], against the columns of the users file.
    pub fn fit(
        &self,
        training: &Training,
        personal: &dyn Recommend,
        progress: &dyn Progress,
    ) -> Result<SegmentsModel> {
        self.check(training.users)?;
        let shoppers = ShopperProfiles::of(training);
        let population = Population::of(&shoppers);
        let mut withheld = WithheldSegments::default();
        let mut segments = self.fit_named(training, &shoppers, &population, &mut withheld)?;
        let settings = ClusterSettings {
            clusters: self.learned,
            seed: self.seed,
        };
        let clusters = clusters::find_clusters(&settings, &shoppers, training, personal)?;
        progress.step("segments", 1, 1);
        let found = clusters.len();
        let mut learned: Vec<(SegmentDescription, Vec<u32>)> = clusters
            .into_iter()
            .filter(|members| members.len() >= self.min_shoppers)
            .map(|members| (population.describe(&members, &shoppers), members))
            .collect();
        withheld.learned = found - learned.len();
        // The best customers first.
        learned.sort_by(|(a, members_a), (b, members_b)| {
            let spend = |described: &SegmentDescription| described.segment.spend.unwrap_or(0.0);
            spend(b)
                .total_cmp(&spend(a))
                .then(b.segment.orders.total_cmp(&a.segment.orders))
                .then(members_a.cmp(members_b))
        });
        let taken = segments.iter().map(|found| found.segment.name.clone());
        let descriptions: Vec<&SegmentDescription> =
            learned.iter().map(|(described, _)| described).collect();
        let names = unique_names(&descriptions, taken.collect());
        for ((described, members), name) in learned.into_iter().zip(names) {
            let segment = Segment {
                name,
                ..described.segment
            };
            segments.push(SegmentMembers { segment, members });
        }
        Ok(SegmentsModel::new(segments, withheld, shoppers.len()))
    }

    /// The named segments with enough shoppers; the names of the others are added to `withheld`.
    fn fit_named(
        &self,
        training: &Training,
        shoppers: &ShopperProfiles,
        population: &Population,
        withheld: &mut WithheldSegments,
    ) -> Result<Vec<SegmentMembers>> {
        let mut segments = Vec::new();
        for (name, condition) in self.parse_conditions(&shopper_fields(Some(training.users)))? {
            let is_member = |&user: &u32| condition.holds(&|field| shoppers.value(user, field));
            let members: Vec<u32> = (0..shoppers.len() as u32)
                .into_par_iter()
                .filter(is_member)
                .collect();
            if members.len() < self.min_shoppers.max(1) {
                withheld.named.push(name.into());
                continue;
            }
            let segment = Segment {
                name: name.into(),
                condition: Some(condition.text().into()),
                ..population.describe(&members, shoppers).segment
            };
            segments.push(SegmentMembers { segment, members });
        }
        Ok(segments)
    }
}

/// Checks the name of a named segment.
fn check_name(name: &str) -> Result<()> {
    let is_trimmed = name.trim() == name;
    let fits = (1..=MAX_NAME).contains(&name.chars().count());
    if is_trimmed && fits && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(ModelError::Hyperparameter {
        name: "segments.named".into(),
        found: format!("'{}'", name.escape_debug()),
        expected: format!("a name of 1 to {MAX_NAME} characters without spaces around it"),
    })
}

//! `manifest.json`: what a version is, where it came from, and how to know that it is whole.

use crate::Result;
use crate::als::Als;
use crate::complements::Complements;
use crate::item_knn::ItemKnn;
use crate::popular::Popular;
use crate::recommend::{Fit, Recommend, Training, Watch};
use crate::upsell::Upsell;
use aisle_data::{DataConfig, Input, Interactions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format that this build writes, and the highest it reads.
pub const FORMAT: u32 = 1;

/// The personal model of a version, with its hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Personal {
    /// Vectors.
    Als(Als),
    /// Item neighbours.
    ItemKnn(ItemKnn),
    /// Best sellers.
    Popular(Popular),
}

impl Personal {
    /// With what was left to choose chosen for this matrix: what a manifest and a report hold.
    pub fn resolved(&self, interactions: &Interactions) -> Self {
        match self {
            Personal::Als(als) => Personal::Als(als.resolved(interactions)),
            settled => settled.clone(),
        }
    }

    /// The algorithm's name on the command line.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Personal::Als(_) => "als",
            Personal::ItemKnn(_) => "item-knn",
            Personal::Popular(_) => "popular",
        }
    }
}

impl Fit for Personal {
    type Model = Box<dyn Recommend>;

    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<Box<dyn Recommend>> {
        Ok(match self {
            Personal::Als(als) => Box::new(als.fit(training, watch)?),
            Personal::ItemKnn(knn) => Box::new(knn.fit(training, watch)?),
            Personal::Popular(popular) => Box::new(popular.fit(training, watch)?),
        })
    }
}

/// Hyperparameters of everything in a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Taste.
    pub personal: Personal,
    /// The last rung.
    pub popular: Popular,
    /// Complements.
    pub cross_sell: Complements,
    /// Steps up.
    pub upsell: Upsell,
}

/// How much there is of what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Shoppers with an id.
    pub users: usize,
    /// Items, those of the catalogue without events included.
    pub items: usize,
    /// Rows of the user × item matrix: the users, or the orders of a log that names no users.
    pub rows: usize,
    /// Cells of the user × item matrix.
    pub interactions: usize,
    /// Orders.
    pub orders: usize,
    /// Stored complement pairs, both directions.
    pub complement_pairs: usize,
    /// Pairs left out for want of distinct shoppers.
    pub suppressed_pairs: u64,
}

/// What the version was learned from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The files.
    pub inputs: Vec<Input>,
    /// Rows read.
    pub rows: u64,
    /// Events used.
    pub events: u64,
    /// First day.
    pub first_day: Option<String>,
    /// Last day.
    pub last_day: Option<String>,
    /// How they were read.
    pub config: DataConfig,
}

/// One file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name in the version's folder.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// BLAKE3, hexadecimal.
    pub blake3: String,
}

/// A question with the answer it had when the version was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// personal, similar, cross-sell or upsell.
    pub task: String,
    /// The user id of a personal question, the item ids of the others.
    pub ids: Vec<String>,
    /// Item ids with scores, best first.
    pub expect: Vec<(String, f32)>,
}

/// The manifest. It holds no time and no path: the same data, config and seed give the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The model's name in the registry.
    pub model: String,
    /// The personal algorithm.
    pub algorithm: String,
    /// Hyperparameters, seed included.
    pub hyperparameters: Hyperparameters,
    /// Sources.
    pub lineage: Lineage,
    /// Sizes.
    pub counts: Counts,
    /// Measured on a held-out part, by name; empty if nothing was measured.
    pub metrics: BTreeMap<String, f64>,
    /// Bytes that a server needs to hold it.
    pub memory_bytes: u64,
    /// Program and version that wrote it.
    pub created_by: String,
    /// Every other file.
    pub files: Vec<FileEntry>,
    /// Replayed at each load.
    pub golden: Vec<Golden>,
}

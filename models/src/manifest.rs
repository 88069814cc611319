//! `manifest.json`: what a version is, where it came from, and how to know that it is whole.

use crate::Result;
use crate::als::{Als, AlsModel};
use crate::blend::Blend;
use crate::buy_again::BuyAgain;
use crate::complements::Complements;
use crate::content::Content;
use crate::context::{Context, Dimension};
use crate::ease::Ease;
use crate::item_item::ItemItemModel;
use crate::item_knn::ItemKnn;
use crate::linear_filter::LinearFilter;
use crate::lists::Retrieval;
use crate::local_ridge::LocalRidge;
use crate::low_pass::{LowPass, LowPassModel};
use crate::neighbours::Neighbours;
use crate::popular::{Popular, PopularModel};
use crate::recommend::{Fit, Recommend, Training, Watch};
use crate::segments::{SegmentList, Segments};
use crate::session_knn::SessionKnn;
use crate::two_tower::{TwoTower, TwoTowerModel};
use crate::upsell::Upsell;
use crate::weights::Weights;
use aisle_data::{DataConfig, Input};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format that this build writes, and the only one it reads.
pub const FORMAT: u32 = 5;

/// The personal model of a version, with its hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Personal {
    /// Vectors by least squares.
    Als(Als),
    /// Vectors by a low-pass filter.
    LowPass(LowPass),
    /// A random walk.
    LinearFilter(LinearFilter),
    /// Item neighbours.
    ItemKnn(ItemKnn),
    /// Regression on neighbours.
    LocalRidge(LocalRidge),
    /// Regression on everything.
    Ease(Ease),
    /// Vectors by contrast.
    TwoTower(TwoTower),
    /// A mix of the others.
    Blend(Blend),
    /// Best sellers.
    Popular(Popular),
}

impl Personal {
    /// With what was left to choose chosen for these data: what a manifest and a report hold. For a blend whose weights are to be
    /// learned, or two towers whose epochs are, that means fitting on a part of the data.
    ///
    /// # Errors
    /// What the fits return.
    pub fn resolved(&self, training: &Training, watch: &dyn Watch) -> Result<Self> {
        Ok(match self {
            Personal::Als(als) => Personal::Als(als.resolved(training.interactions)),
            Personal::LowPass(low_pass) => Personal::LowPass(low_pass.resolved(training.interactions)),
            Personal::TwoTower(tower) => Personal::TwoTower(tower.resolved(training, watch)?),
            Personal::Blend(blend) => Personal::Blend(blend.resolved(training, watch)?),
            settled => settled.clone(),
        })
    }

    /// The algorithm's name on the command line.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Personal::Als(_) => "als",
            Personal::LowPass(_) => "low-pass",
            Personal::LinearFilter(_) => "linear-filter",
            Personal::ItemKnn(_) => "item-knn",
            Personal::LocalRidge(_) => "local-ridge",
            Personal::Ease(_) => "ease",
            Personal::TwoTower(_) => "two-tower",
            Personal::Blend(_) => "blend",
            Personal::Popular(_) => "popular",
        }
    }

    /// Takes a fitted model's arrays out of a version of `rows` users or orders and `items` items.
    ///
    /// # Errors
    /// [`crate::ModelError::Damaged`] if they are not what this algorithm would have written.
    pub(crate) fn load(&self, (rows, items): (usize, usize), weights: &mut Weights) -> Result<Box<dyn Recommend>> {
        let none = Neighbours::default;
        Ok(match self {
            Personal::Als(als) => Box::new(AlsModel::load(als.clone(), rows, items, weights)?),
            Personal::LowPass(low_pass) => Box::new(LowPassModel::load(low_pass, items, weights)?),
            Personal::LinearFilter(filter) => Box::new(ItemItemModel::linear_filter(none(), filter.scaling).load(items, weights)?),
            Personal::ItemKnn(knn) => Box::new(ItemItemModel::knn(none(), knn.scaling).load(items, weights)?),
            Personal::LocalRidge(ridge) => Box::new(ItemItemModel::local_ridge(none(), ridge.scaling).load(items, weights)?),
            Personal::Ease(ease) => Box::new(ItemItemModel::ease(none(), ease.scaling).load(items, weights)?),
            Personal::TwoTower(tower) => Box::new(TwoTowerModel::load(tower, (rows, items), weights)?),
            Personal::Blend(blend) => Box::new(blend.load((rows, items), weights)?),
            Personal::Popular(_) => Box::new(PopularModel::load(items, weights)?),
        })
    }
}

impl Fit for Personal {
    type Model = Box<dyn Recommend>;

    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<Box<dyn Recommend>> {
        Ok(match self {
            Personal::Als(als) => Box::new(als.fit(training, watch)?),
            Personal::LowPass(low_pass) => Box::new(low_pass.fit(training, watch)?),
            Personal::LinearFilter(filter) => Box::new(filter.fit(training, watch)?),
            Personal::ItemKnn(knn) => Box::new(knn.fit(training, watch)?),
            Personal::LocalRidge(ridge) => Box::new(ridge.fit(training, watch)?),
            Personal::Ease(ease) => Box::new(ease.fit(training, watch)?),
            Personal::TwoTower(tower) => Box::new(tower.fit(training, watch)?),
            Personal::Blend(blend) => Box::new(blend.fit(training, watch)?),
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
    /// Visits.
    pub session: SessionKnn,
    /// Reorders.
    pub buy_again: BuyAgain,
    /// Circumstances.
    pub context: Context,
    /// Items without events.
    #[serde(default)]
    pub content: Content,
    /// Groups of shoppers.
    #[serde(default)]
    pub segments: Segments,
}

impl Hyperparameters {
    /// A personal model, and the defaults of everything else.
    pub fn of(personal: Personal) -> Self {
        Self {
            personal,
            popular: Popular::default(),
            cross_sell: Complements::default(),
            upsell: Upsell::default(),
            session: SessionKnn::default(),
            buy_again: BuyAgain::default(),
            context: Context::default(),
            content: Content::default(),
            segments: Segments::default(),
        }
    }
}

/// How much there is of what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Items without events that the personal model knows by their content.
    #[serde(default)]
    pub cold_items: usize,
    /// What their scores are multiplied by.
    #[serde(default = "unscaled")]
    pub cold_scale: f32,
    /// Stored complement pairs, both directions.
    pub complement_pairs: usize,
    /// Pairs left out for want of distinct shoppers.
    pub suppressed_pairs: u64,
}

fn unscaled() -> f32 {
    1.0
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
    /// Circumstances with cells, whose numbers are in the weights.
    pub context: Vec<Dimension>,
    /// Measured on a held-out part, by name; empty if nothing was measured.
    pub metrics: BTreeMap<String, f64>,
    /// Groups of shoppers.
    #[serde(default)]
    pub segments: SegmentList,
    /// How personal recommendations are found; nothing where exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<Retrieval>,
    /// Bytes that a server needs to hold it.
    pub memory_bytes: u64,
    /// Program and version that wrote it.
    pub created_by: String,
    /// Every other file.
    pub files: Vec<FileEntry>,
    /// Replayed at each load.
    pub golden: Vec<Golden>,
}

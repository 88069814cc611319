//! The personal model of a version: one of the algorithms, or a blend of several.
//!
//! In: hyperparameters of any algorithm, and training data or the arrays of a version. Out: a
//! fitted model as [`Recommend`].
//!
//! What may be changed here: a new algorithm is one more variant of [`Personal`] and one more line
//! in each of its functions.

pub mod blend;

use crate::algorithms::als::{Als, AlsModel};
use crate::algorithms::ease::Ease;
use crate::algorithms::item_item::ItemItemModel;
use crate::algorithms::item_knn::ItemKnn;
use crate::algorithms::linear_filter::LinearFilter;
use crate::algorithms::local_ridge::LocalRidge;
use crate::algorithms::low_pass::{LowPass, LowPassModel};
use crate::algorithms::neighbours::Neighbours;
use crate::algorithms::popular::{Popular, PopularModel};
use crate::algorithms::recommend::{Fit, Progress, Recommend, Training};
use crate::algorithms::two_tower::{TwoTower, TwoTowerModel};
use crate::error::Result;
use crate::weights::Weights;
use blend::Blend;
use serde::{Deserialize, Serialize};

/// The algorithm of a personal model, with its hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Personal {
    /// Vectors by alternating least squares.
    Als(Als),
    /// Vectors by a low-pass filter on the graph of users and items.
    LowPass(LowPass),
    /// Item-to-item weights by a random walk on that graph.
    LinearFilter(LinearFilter),
    /// Item-to-item weights by co-occurrence.
    ItemKnn(ItemKnn),
    /// Item-to-item weights by ridge regression of each item on its neighbours.
    LocalRidge(LocalRidge),
    /// Item-to-item weights by ridge regression of each item on all others.
    Ease(Ease),
    /// Vectors by contrastive training of two towers.
    TwoTower(TwoTower),
    /// A weighted sum of several of the others.
    Blend(Blend),
    /// Best sellers.
    Popular(Popular),
}

impl Personal {
    /// Returns a copy in which every hyperparameter that was left to choose is chosen for these
    /// data: what a manifest and a report hold. If the weights of a blend or the epochs of two
    /// towers are left to choose, this fits them on a part of the data.
    ///
    /// # Errors
    /// The same as [`Fit::fit`].
    pub fn resolved(&self, training: &Training, progress: &dyn Progress) -> Result<Self> {
        Ok(match self {
            Personal::Als(als) => Personal::Als(als.resolved(training.interactions)),
            Personal::LowPass(low_pass) => {
                Personal::LowPass(low_pass.resolved(training.interactions))
            }
            Personal::TwoTower(tower) => Personal::TwoTower(tower.resolved(training, progress)?),
            Personal::Blend(blend) => Personal::Blend(blend.resolved(training, progress)?),
            complete => complete.clone(),
        })
    }

    /// Returns the name of the algorithm, as on the command line.
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

    /// Takes the arrays of a fitted model out of a version of `rows` users (or orders) and `items`
    /// items.
    ///
    /// # Errors
    /// [`crate::ModelError::Damaged`] if they are not what this algorithm would have written.
    pub(crate) fn load(
        &self,
        (rows, items): (usize, usize),
        weights: &mut Weights,
    ) -> Result<Box<dyn Recommend>> {
        let empty = Neighbours::default;
        Ok(match self {
            Personal::Als(als) => Box::new(AlsModel::load(als.clone(), rows, items, weights)?),
            Personal::LowPass(low_pass) => Box::new(LowPassModel::load(low_pass, items, weights)?),
            Personal::LinearFilter(filter) => Box::new(
                ItemItemModel::linear_filter(empty(), filter.scaling).load(items, weights)?,
            ),
            Personal::ItemKnn(knn) => {
                Box::new(ItemItemModel::knn(empty(), knn.scaling).load(items, weights)?)
            }
            Personal::LocalRidge(ridge) => {
                Box::new(ItemItemModel::local_ridge(empty(), ridge.scaling).load(items, weights)?)
            }
            Personal::Ease(ease) => {
                Box::new(ItemItemModel::ease(empty(), ease.scaling).load(items, weights)?)
            }
            Personal::TwoTower(tower) => {
                Box::new(TwoTowerModel::load(tower, (rows, items), weights)?)
            }
            Personal::Blend(blend) => Box::new(blend.load((rows, items), weights)?),
            Personal::Popular(_) => Box::new(PopularModel::load(items, weights)?),
        })
    }
}

impl Fit for Personal {
    type Model = Box<dyn Recommend>;

    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<Box<dyn Recommend>> {
        Ok(match self {
            Personal::Als(als) => Box::new(als.fit(training, progress)?),
            Personal::LowPass(low_pass) => Box::new(low_pass.fit(training, progress)?),
            Personal::LinearFilter(filter) => Box::new(filter.fit(training, progress)?),
            Personal::ItemKnn(knn) => Box::new(knn.fit(training, progress)?),
            Personal::LocalRidge(ridge) => Box::new(ridge.fit(training, progress)?),
            Personal::Ease(ease) => Box::new(ease.fit(training, progress)?),
            Personal::TwoTower(tower) => Box::new(tower.fit(training, progress)?),
            Personal::Blend(blend) => Box::new(blend.fit(training, progress)?),
            Personal::Popular(popular) => Box::new(popular.fit(training, progress)?),
        })
    }
}

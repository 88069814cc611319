//! The linear graph filter: one step of a random walk from items to users and back.
//!
//! A history x scores x D_i^-½ X̃ᵀ X̃ D_i^½ with X̃ = D_u^-½ X D_i^-½ (Shen et al., CIKM 2021, equation 12). Multiplied out,
//! the weight from item i to item j is Σ_u (x_ui / d_i)(x_uj / d_u): the probability of the walk i → u → j, known as P³ (Cooper et
//! al., WWW 2014). With `popularity` β the weight is divided by d_j^β: RP³β (Paudel et al., TiiS 2016).

use crate::als::Scaling;
use crate::item_item::ItemItemModel;
use crate::low_pass::degrees;
use crate::neighbours::{Pair, from_co_occurrence};
use crate::recommend::{Fit, Training, Watch, hyperparameter};
use crate::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinearFilter {
    /// Weights kept an item, 1 to 100000.
    pub neighbours: usize,
    /// β from 0 to 1: how much popular items are damped.
    pub popularity: f32,
    /// Items of a shopper that count, 2 or more: of a longer history as many, drawn evenly. Bounds what one robot can cost.
    pub longest: usize,
    /// Confidence from summed event weights.
    pub scaling: Scaling,
}

impl Default for LinearFilter {
    fn default() -> Self {
        Self { neighbours: 1000, popularity: 0.0, longest: 2000, scaling: Scaling::Log }
    }
}

impl LinearFilter {
    pub(crate) fn validate(&self) -> Result<()> {
        hyperparameter("neighbours", self.neighbours, 1..=100_000)?;
        hyperparameter("longest", self.longest, 2..=usize::MAX)?;
        hyperparameter("popularity", self.popularity, 0.0..=1.0)
    }
}

impl Fit for LinearFilter {
    type Model = ItemItemModel;

    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<ItemItemModel> {
        self.validate()?;
        let data = training.interactions;
        if data.nnz() == 0 {
            return Err(ModelError::NothingToLearn { model: "linear-filter", why: "no user has a positive interaction".into() });
        }
        // Half of each user's degree on either side of the product.
        let mut by_user = data.by_user.capped(self.longest);
        let users = degrees(&by_user, self.scaling);
        let items = degrees(&by_user.transposed(data.items()), self.scaling);
        for (user, degree) in users.iter().enumerate() {
            for at in by_user.offsets[user]..by_user.offsets[user + 1] {
                by_user.values[at] = self.scaling.of(by_user.values[at]) / degree.sqrt();
            }
        }
        let by_item = by_user.transposed(data.items());
        let damped: Vec<f32> = items.iter().map(|degree| degree.max(f32::MIN_POSITIVE).powf(-self.popularity)).collect();
        let neighbours = from_co_occurrence(&by_user, &by_item, self.neighbours, |i, j, pair: Pair| {
            pair.product / items[i as usize].max(f32::MIN_POSITIVE) * damped[j as usize]
        });
        watch.step("linear-filter", 1, 1);
        Ok(ItemItemModel::linear_filter(neighbours, self.scaling))
    }
}

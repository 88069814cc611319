//! The linear graph filter: a random walk from items to users and back.
//!
//! A history x scores x D_i^-½ X̃ᵀ X̃ D_i^½ with X̃ = D_u^-½ X D_i^-½ (Shen et al., CIKM 2021,
//! equation 12). Multiplied out, the weight from item i to item j is Σ_u (x_ui / d_i)(x_uj / d_u):
//! the probability of the walk i → u → j, known as P³ (Cooper et al., WWW 2014). With `popularity`
//! β the weight is divided by d_j^β: RP³β (Paudel et al., TiiS 2016).

use crate::algorithms::item_item::ItemItemModel;
use crate::algorithms::neighbours::from_co_occurrence;
use crate::algorithms::recommend::{Fit, Progress, Training, check_range};
use crate::algorithms::scaling::Scaling;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Hyperparameters of the linear graph filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinearFilter {
    /// Number of weights kept for each item, 1 to 100000.
    pub neighbours: usize,
    /// Exponent β, 0 to 1: the larger it is, the less popular items are favoured.
    pub popularity: f32,
    /// Most items of a shopper that count, 2 or more; of a longer history as many are drawn evenly.
    /// Bounds the time that a single robot can cost.
    pub longest: usize,
    /// How summed event weights become confidence.
    pub scaling: Scaling,
}

impl Default for LinearFilter {
    fn default() -> Self {
        Self {
            neighbours: 1000,
            popularity: 0.0,
            longest: 2000,
            scaling: Scaling::Log,
        }
    }
}

impl LinearFilter {
    /// Checks the ranges of the hyperparameters.
    fn validate(&self) -> Result<()> {
        check_range("neighbours", self.neighbours, 1..=100_000)?;
        check_range("longest", self.longest, 2..=usize::MAX)?;
        check_range("popularity", self.popularity, 0.0..=1.0)
    }
}

impl Fit for LinearFilter {
    type Model = ItemItemModel;

    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<ItemItemModel> {
        self.validate()?;
        let data = training.require_interactions("linear-filter")?;
        let mut by_user = data.by_user.capped(self.longest);
        let user_degrees = self.scaling.degrees(&by_user);
        let item_degrees = self.scaling.degrees(&by_user.transposed(data.items()));
        // Each of the two factors of a product is divided by the root of the user's degree.
        for (user, degree) in user_degrees.iter().enumerate() {
            for at in by_user.offsets[user]..by_user.offsets[user + 1] {
                by_user.values[at] = self.scaling.of(by_user.values[at]) / degree.sqrt();
            }
        }
        let by_item = by_user.transposed(data.items());
        let damping: Vec<f32> = item_degrees
            .iter()
            .map(|degree| degree.max(f32::MIN_POSITIVE).powf(-self.popularity))
            .collect();
        let neighbours = from_co_occurrence(&by_user, &by_item, self.neighbours, |i, j, pair| {
            let degree = item_degrees[i as usize].max(f32::MIN_POSITIVE);
            pair.product / degree * damping[j as usize]
        });
        progress.step("linear-filter", 1, 1);
        Ok(ItemItemModel::linear_filter(neighbours, self.scaling))
    }
}

//! The hyperparameters of all models of a version, one field a model.

use crate::algorithms::cold_start::Content;
use crate::algorithms::personal::Personal;
use crate::algorithms::popular::Popular;
use crate::segments::Segments;
use crate::tasks::buy_again::BuyAgain;
use crate::tasks::complements::Complements;
use crate::tasks::context_popularity::Context;
use crate::tasks::session_knn::SessionKnn;
use crate::tasks::upsell::Upsell;
use serde::{Deserialize, Serialize};

/// Hyperparameters of every model of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// The personal model: an algorithm or a blend.
    pub personal: Personal,
    /// Best sellers, the fallback of every call.
    pub popular: Popular,
    /// What goes with a cart.
    pub cross_sell: Complements,
    /// Better versions of an item.
    pub upsell: Upsell,
    /// What comes next in a visit.
    pub session: SessionKnn,
    /// What a shopper is due to buy again.
    pub buy_again: BuyAgain,
    /// What sells in which context.
    pub context: Context,
    /// How items without events get a place by their content.
    #[serde(default)]
    pub content: Content,
    /// Segments of shoppers.
    #[serde(default)]
    pub segments: Segments,
}

impl Hyperparameters {
    /// The given personal model and the defaults of everything else.
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

//! The models of a version, fitted: what every answer is made from.
//!
//! In: a [`Dataset`](aisle_data::Dataset) and [`Hyperparameters`] (`fit.rs`), or the arrays of a
//! version (`storage.rs`). Out: [`FittedModels`], which holds no file and no lock and does not
//! change while it serves. A task takes the parts of it that the task needs.

mod fit;
pub mod hyperparameters;
mod new_items;
mod storage;

use crate::algorithms::popular::PopularModel;
use crate::algorithms::recommend::{History, Recommend};
use crate::catalog::CatalogIndexes;
use crate::segments::SegmentsModel;
use crate::tasks::buy_again::{BuyAgainModel, BuyAgainParts};
use crate::tasks::complements::ComplementsModel;
use crate::tasks::context_popularity::ContextModel;
use crate::tasks::cross_sell::{CrossSellModel, CrossSellParts};
use crate::tasks::order_history::OrderHistory;
use crate::tasks::session_knn::SessionModel;
use crate::tasks::shopper_histories::ShopperHistories;
use crate::tasks::substitute::SubstituteParts;
use crate::tasks::upsell::{UpsellModel, UpsellParts};
use aisle_data::{Catalog, IdMap, Labels};
use aisle_math::array::Array;
use aisle_retrieval::bitmap::Bitmap;
use aisle_retrieval::inverted_lists::Retrieval;
use hyperparameters::Hyperparameters;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
pub use storage::Stored;

/// Everything that was fitted to one log.
pub struct FittedModels {
    /// The hyperparameters of the fit; those that were left to be chosen are the chosen ones.
    pub hyperparameters: Hyperparameters,
    /// Numbers of users, items, interactions and the like.
    pub counts: Counts,
    /// How personal recommendations are found; `None` where exactly.
    pub retrieval: Option<Retrieval>,
    /// Time of the first and of the last event, milliseconds since 1970; `None` in a log without
    /// times, or if it was loaded from a version.
    pub span: Option<(i64, i64)>,
    /// Ids of the shoppers.
    pub users: Arc<IdMap>,
    /// Ids of the items.
    pub items: Arc<IdMap>,
    /// What is known of the items.
    pub catalog: Arc<Catalog>,
    /// What follows from the catalogue alone.
    pub indexes: Arc<CatalogIndexes>,
    /// What is known of shoppers, by attribute; empty if it was loaded from a version.
    pub user_attributes: Vec<(String, Labels)>,
    /// What shoppers did.
    pub histories: ShopperHistories,
    /// What shoppers ordered and when.
    pub order_history: OrderHistory,
    /// Best sellers.
    pub popular: PopularModel,
    /// What goes with a cart.
    pub cross_sell: CrossSellModel,
    /// Better versions of an item.
    pub upsell: UpsellModel,
    /// What comes next in a visit.
    pub session: SessionModel,
    /// What shoppers are due to buy again.
    pub buy_again: BuyAgainModel,
    /// What sells in which context.
    pub context: ContextModel,
    /// Segments of shoppers.
    pub segments: SegmentsModel,
    personal: Box<dyn Recommend>,
    /// Distinct users (or orders) of each item.
    item_users: Array<u32>,
    /// Items that the personal model can recommend.
    recommendable: Bitmap,
    /// Items that somebody touched in the log.
    touched: Bitmap,
}

/// Numbers of users, items, interactions and the like.
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
    /// Factor by which the scores of these items are multiplied, 0 to 1.
    #[serde(default = "unscaled")]
    pub cold_scale: f32,
    /// Stored complement pairs; each direction counts.
    pub complement_pairs: usize,
    /// Pairs that are not stored because too few distinct shoppers bought them.
    pub suppressed_pairs: u64,
    /// Events that the models were fitted to.
    #[serde(default)]
    pub events: u64,
}

/// The scale of scores that are not scaled.
fn unscaled() -> f32 {
    1.0
}

impl FittedModels {
    /// The personal model.
    pub fn personal(&self) -> &dyn Recommend {
        self.personal.as_ref()
    }

    /// Items that the personal model can recommend: it learned about them, or about what is known
    /// of them.
    pub fn recommendable(&self) -> &Bitmap {
        &self.recommendable
    }

    /// Which items were bought together.
    pub fn complements(&self) -> &ComplementsModel {
        &self.cross_sell.complements
    }

    /// A shopper's history as models of taste read it; empty for one who is not known.
    pub fn history(&self, user: u32) -> History<'_> {
        self.histories.history(user)
    }

    /// Items that a shopper bought, ascending.
    pub fn purchased(&self, user: u32) -> &[u32] {
        self.histories.purchased(user)
    }

    /// The names of the segments that a shopper is in.
    pub fn segments_of(&self, user: u32) -> Vec<&str> {
        let name = |&segment: &u32| {
            self.segments
                .describe(segment)
                .map(|segment| segment.name.as_str())
        };
        self.segments.of(user).iter().filter_map(name).collect()
    }

    /// The models and indexes that cross-selling reads.
    pub fn cross_sell_parts(&self) -> CrossSellParts<'_> {
        CrossSellParts {
            model: &self.cross_sell,
            personal: self.personal(),
            popular: &self.popular,
            histories: &self.histories,
            indexes: &self.indexes,
            touched: &self.touched,
        }
    }

    /// The models and indexes that tell substitutes from complements.
    pub fn substitute_parts(&self) -> SubstituteParts<'_> {
        let (complements, groups) = (self.complements(), &self.indexes.groups);
        SubstituteParts {
            complements,
            personal: self.personal(),
            groups,
        }
    }

    /// The models and indexes that upselling reads.
    pub fn upsell_parts(&self) -> UpsellParts<'_> {
        UpsellParts {
            model: &self.upsell,
            personal: self.personal(),
            cross_sell: &self.cross_sell,
            histories: &self.histories,
            catalog: &self.catalog,
            indexes: &self.indexes,
        }
    }

    /// The models and indexes that reorders are predicted from.
    pub fn buy_again_parts(&self) -> BuyAgainParts<'_> {
        BuyAgainParts {
            model: &self.buy_again,
            order_history: &self.order_history,
            groups: &self.indexes.groups,
            cross_sell: &self.cross_sell,
        }
    }

    /// Computes what is made on first use, so that no request waits for it.
    pub fn warm(&self) {
        self.personal.warm();
    }

    /// Derives indexes and item sets from the other fields. Indexes of the catalogue are shared
    /// with models of `shared` that have the same catalogue.
    fn derive(&mut self, shared: &[&FittedModels]) {
        let levels = self.hyperparameters.cross_sell.category_levels;
        let same = |other: &&&FittedModels| {
            Arc::ptr_eq(&other.catalog, &self.catalog) && other.indexes.category_levels() == levels
        };
        self.indexes = match shared.iter().find(same) {
            Some(other) => other.indexes.clone(),
            None => Arc::new(CatalogIndexes::of(&self.catalog, levels)),
        };
        self.touched = Bitmap::of(self.items.len(), |item| self.item_users[item as usize] > 0);
        self.cross_sell.describe(&self.popular);
        self.derive_recommendable();
    }

    fn derive_recommendable(&mut self) {
        self.recommendable = Bitmap::of(self.items.len(), |item| {
            self.touched.contains(item) || self.personal.knows_cold_item(item)
        });
    }
}

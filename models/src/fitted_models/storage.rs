//! The arrays of fitted models: what a version stores, and how models are made of them again.

use crate::algorithms::popular::PopularModel;
use crate::algorithms::recommend::Recommend;
use crate::error::{ModelError, Result};
use crate::fitted_models::hyperparameters::Hyperparameters;
use crate::fitted_models::{Counts, FittedModels};
use crate::segments::{SegmentList, SegmentsModel};
use crate::tasks::buy_again::BuyAgainModel;
use crate::tasks::context_popularity::{ContextModel, Dimension};
use crate::tasks::cross_sell::CrossSellModel;
use crate::tasks::order_history::OrderHistory;
use crate::tasks::session_knn::SessionModel;
use crate::tasks::shopper_histories::ShopperHistories;
use crate::tasks::upsell::UpsellModel;
use crate::weights::{Tensor, Weights};
use aisle_data::{Catalog, IdMap};
use aisle_retrieval::bitmap::Bitmap;
use aisle_retrieval::inverted_lists::Retrieval;
use std::path::Path;
use std::sync::Arc;

/// What models are made of when they are loaded.
pub struct Stored<'a> {
    /// The weights file.
    pub weights: &'a Path,
    /// The hyperparameters that the models were fitted with.
    pub hyperparameters: &'a Hyperparameters,
    /// How much there was of what when they were fitted.
    pub counts: &'a Counts,
    /// How personal recommendations are found, as the manifest says.
    pub retrieval: Option<&'a Retrieval>,
    /// The dimensions of `context.*` in the weights.
    pub context: &'a [Dimension],
    /// The segments of `segments.*` in the weights.
    pub segments: &'a SegmentList,
    /// Shoppers.
    pub users: Arc<IdMap>,
    /// Items: those that the models were fitted to, then those that came since.
    pub items: Arc<IdMap>,
    /// What is known of the items, in the same order.
    pub catalog: Arc<Catalog>,
}

impl FittedModels {
    /// The arrays to store.
    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = self.personal.tensors();
        // The personal model may be, or hold, the best sellers themselves: then their scores are
        // stored once.
        for tensor in self.popular.tensors() {
            if tensors.iter().all(|known| known.name() != tensor.name()) {
                tensors.push(tensor);
            }
        }
        tensors.extend(self.cross_sell.tensors());
        tensors.extend(self.order_history.tensors());
        tensors.extend(self.upsell.tensors());
        tensors.extend(self.session.tensors());
        tensors.extend(self.buy_again.tensors());
        tensors.extend(self.context.tensors());
        tensors.extend(self.segments.tensors());
        tensors.extend(self.histories.tensors());
        tensors.push(Tensor::u32("item.users", &self.item_users));
        tensors
    }

    /// Makes models of stored arrays: shapes, ranges, finiteness and ids are checked. Indexes
    /// that depend only on the catalogue are taken from any models of `shared` with the same
    /// catalogue, since building them is more than half of a load.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] names the part, what was found and what was expected.
    pub(crate) fn load(stored: Stored, shared: &[&FittedModels]) -> Result<Self> {
        let Stored {
            hyperparameters,
            counts,
            users,
            items,
            catalog,
            ..
        } = stored;
        let (user_rows, rows) = (users.len(), items.len());
        let open = || Ok::<_, ModelError>(Weights::open(stored.weights)?.grow(counts.items, rows));
        let mut weights = open()?;
        let personal = hyperparameters
            .personal
            .load((counts.rows, rows), &mut weights)?;
        let describe = |lists: Option<(usize, usize)>| match lists {
            None => "none".into(),
            Some((lists, probes)) => format!("{lists} lists, of which a search looks at {probes}"),
        };
        let expected = stored
            .retrieval
            .map(|retrieval| (retrieval.lists, retrieval.probes));
        if personal.inverted_lists() != expected {
            let expected = format!("{}, as the manifest says", describe(expected));
            return Err(weights.damaged(
                "lists of items",
                describe(personal.inverted_lists()),
                expected,
            ));
        }
        let popular = match weights.has("popular.scores") {
            true => PopularModel::load(rows, &mut weights)?,
            // Stored once, and taken by the personal model.
            false => PopularModel::load(rows, &mut open()?)?,
        };
        let mut models = FittedModels {
            personal,
            popular,
            cross_sell: CrossSellModel::load(&hyperparameters.cross_sell, rows, &mut weights)?,
            order_history: OrderHistory::load(user_rows, rows, &mut weights)?,
            upsell: UpsellModel::load(hyperparameters.upsell.clone(), rows, &mut weights)?,
            session: SessionModel::load(&hyperparameters.session, rows, &mut weights)?,
            buy_again: BuyAgainModel::load(hyperparameters.buy_again.clone(), &mut weights)?,
            context: ContextModel::load(
                &hyperparameters.context,
                stored.context,
                rows,
                &mut weights,
            )?,
            segments: SegmentsModel::load(stored.segments, user_rows, &mut weights)?,
            histories: ShopperHistories::load(user_rows, rows, &mut weights)?,
            item_users: weights.rows("item.users", rows, u32::MAX as usize)?,
            hyperparameters: hyperparameters.clone(),
            counts: counts.clone(),
            retrieval: stored.retrieval.cloned(),
            span: None,
            users,
            items,
            catalog,
            indexes: Arc::default(),
            user_attributes: Vec::new(),
            recommendable: Bitmap::default(),
            touched: Bitmap::default(),
        };
        weights.finish()?;
        models.derive(shared);
        Ok(models)
    }
}

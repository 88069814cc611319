//! Fits every model of a version.
//!
//! The weights of cross-selling, upselling and reorders are learned on the last weeks of the log: a
//! first set of models is fitted to what came before those weeks, and what shoppers then did
//! teaches the weights. Then every model is fitted again to the whole log.

use crate::algorithms::cold_start::Content;
use crate::algorithms::recommend::{Fit, Progress, Training};
use crate::error::Result;
use crate::fitted_models::hyperparameters::Hyperparameters;
use crate::fitted_models::{Counts, FittedModels};
use crate::segments::SegmentsModel;
use crate::tasks::buy_again::{self, BuyAgainModel};
use crate::tasks::cross_sell::{self, CrossSellModel, LaterOrders};
use crate::tasks::order_history::OrderHistory;
use crate::tasks::shopper_histories::ShopperHistories;
use crate::tasks::upsell;
use aisle_data::{DataConfig, Dataset, EventLog, Interactions, Orders, Split, days_to_millis};
use aisle_retrieval::bitmap::Bitmap;
use aisle_retrieval::inverted_lists::Retrieval;
use std::sync::Arc;

/// Shoppers on whom the recall of inverted lists is measured.
const SAMPLE: usize = 1000;

/// What the last weeks of a log taught: weights for each task, `None` where nothing was to be
/// learned.
#[derive(Default)]
struct LearnedWeights {
    carts: Option<(Vec<f32>, usize)>,
    steps: Option<Vec<f32>>,
    reorders: Option<Vec<f32>>,
}

impl FittedModels {
    /// Fits every model. The catalogue's missing prices are filled from the log. Items with fewer
    /// users than the config's `clean.min_users_per_item` are left out.
    ///
    /// # Errors
    /// What the fits return.
    pub fn fit(
        data: &Dataset,
        config: &DataConfig,
        hyperparameters: Hyperparameters,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let log = data.log.with_min_users(config.clean.min_users_per_item);
        let mut catalog = data.catalog.clone();
        Dataset::fill_prices(&mut catalog, &log);
        let interactions = Interactions::of(&log);
        let orders = Orders::of(&log);
        let users = &data.user_attributes;
        let training = Training {
            log: &log,
            interactions: &interactions,
            orders: &orders,
            catalog: &catalog,
            users,
        };
        hyperparameters.segments.check(training.users)?;
        // The manifest holds what was fitted, not what was left to choose.
        let personal = hyperparameters.personal.resolved(&training, progress)?;
        let hyperparameters = Hyperparameters {
            personal,
            ..hyperparameters
        };
        let learned = learn_weights(data, &training, &hyperparameters, progress)?;
        let mut models = Self::fit_all(data, &training, hyperparameters, progress)?;
        models.cross_sell = models.cross_sell.with_weights(learned.carts);
        models.upsell = models.upsell.with_weights(learned.steps);
        models.buy_again = models.buy_again.with_weights(learned.reorders);
        models.segments =
            models
                .hyperparameters
                .segments
                .fit(&training, models.personal(), progress)?;
        models.build_inverted_lists(progress);
        Ok(models)
    }

    /// Lets the personal model search inverted lists of its items where that pays, measured on
    /// shoppers.
    fn build_inverted_lists(&mut self, progress: &dyn Progress) {
        let shoppers = self.histories.len();
        let step = shoppers.div_ceil(SAMPLE).max(1);
        let histories = (0..shoppers as u32)
            .step_by(step)
            .map(|user| self.histories.history(user));
        let histories: Vec<_> = histories
            .filter(|history| !history.items.is_empty())
            .collect();
        let measured = self.personal.build_inverted_lists(&histories);
        if let Some(Retrieval { recall, share, .. }) = measured
            .as_ref()
            .filter(|measured| !measured.is_worthwhile())
        {
            let (recall, share) = (100.0 * recall, 100.0 * share);
            progress.message(&format!(
                "exact search stays: inverted lists would find {recall:.1} % of the best and \
                 read {share:.0} % of the items with a vector"
            ));
        }
        self.retrieval = measured.filter(Retrieval::is_worthwhile);
    }

    /// Fits every model to one part of the data; the weights of their evidence are not learned.
    fn fit_all(
        data: &Dataset,
        training: &Training,
        hyperparameters: Hyperparameters,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let &Training {
            log,
            interactions,
            orders,
            catalog,
            ..
        } = training;
        let mut personal = hyperparameters.personal.fit(training, progress)?;
        let cold =
            hyperparameters
                .content
                .add_cold_items(training, &data.log, personal.as_mut())?;
        let popular = hyperparameters.popular.fit(training, &())?;
        let complements = hyperparameters.cross_sell.fit(training, progress)?;
        let upsell = hyperparameters.upsell.fit(training, progress)?;
        let session = hyperparameters.session.fit(training, progress)?;
        hyperparameters.buy_again.validate()?;
        let buy_again = BuyAgainModel::new(hyperparameters.buy_again.clone());
        let context = hyperparameters
            .context
            .fit(&hyperparameters.popular, training, progress)?;
        let counts = Counts {
            users: log.users.len(),
            items: log.items.len(),
            rows: interactions.users(),
            interactions: interactions.nnz(),
            orders: orders.len(),
            cold_items: cold.items,
            cold_scale: cold.scale,
            complement_pairs: complements.pairs(),
            suppressed_pairs: complements.suppressed,
            events: log.len() as u64,
        };
        let item_users: Vec<u32> = (0..log.items.len())
            .map(|item| interactions.by_item.columns(item).len() as u32)
            .collect();
        let cross_sell =
            CrossSellModel::fit(&hyperparameters.cross_sell, complements, training, progress)?;
        let mut models = FittedModels {
            hyperparameters,
            counts,
            retrieval: None,
            span: log.span(),
            users: log.users.clone(),
            items: log.items.clone(),
            catalog: Arc::new(catalog.clone()),
            indexes: Arc::default(),
            user_attributes: data.user_attributes.clone(),
            histories: ShopperHistories::of(log, interactions),
            order_history: OrderHistory::of(orders, log.users.len()),
            popular,
            cross_sell,
            upsell,
            session,
            buy_again,
            context,
            segments: SegmentsModel::none(log.users.len()),
            personal,
            item_users: item_users.into(),
            recommendable: Bitmap::default(),
            touched: Bitmap::default(),
        };
        models.derive(&[]);
        Ok(models)
    }
}

/// Learns the weights of the tasks that ask for it, by models fitted to all but the last days of
/// the log.
fn learn_weights(
    data: &Dataset,
    training: &Training,
    hyperparameters: &Hyperparameters,
    progress: &dyn Progress,
) -> Result<LearnedWeights> {
    let Hyperparameters {
        cross_sell,
        upsell,
        buy_again,
        content,
        ..
    } = hyperparameters;
    let days = [
        cross_sell.learn_days,
        upsell.learn_days,
        buy_again.learn_days,
    ];
    let longest = days.into_iter().fold(0.0, f32::max);
    let Some((earlier, later)) = split_last_days(training.log, longest) else {
        return Ok(LearnedWeights::default());
    };
    let interactions = Interactions::of(&earlier);
    let orders = Orders::of(&earlier);
    let earlier = Training {
        log: &earlier,
        interactions: &interactions,
        orders: &orders,
        ..*training
    };
    // What nobody bought yet teaches nothing.
    let content = Content {
        share: 0.0,
        ..content.clone()
    };
    let without_cold_items = Hyperparameters {
        content,
        ..hyperparameters.clone()
    };
    let past = FittedModels::fit_all(data, &earlier, without_cold_items, progress)?;
    let later = Orders::of(&later);
    let [learn_carts, learn_steps, learn_reorders] = days.map(|days| days > 0.0);
    let carts = || {
        let from = LaterOrders {
            parts: past.cross_sell_parts(),
            order_history: &past.order_history,
            recommendable: past.recommendable(),
            catalog: &past.catalog,
            orders: &later,
        };
        cross_sell::learn(&from, progress)
    };
    Ok(LearnedWeights {
        carts: learn_carts.then(carts).flatten(),
        steps: learn_steps
            .then(|| upsell::learn(&past.upsell_parts(), &past.order_history, &later))
            .flatten(),
        reorders: learn_reorders
            .then(|| buy_again::learn(&past.buy_again_parts(), &later))
            .flatten(),
    })
}

/// Splits a log into what models are fitted to and the last days, on which weights are learned;
/// without times, each shopper's last order is the later part. `None` if nothing is to be learned,
/// or the log is too short.
fn split_last_days(log: &EventLog, days: f32) -> Option<(EventLog, EventLog)> {
    if days == 0.0 {
        return None;
    }
    let parts = match log.span() {
        Some((first, last)) => {
            // Never more than a quarter of a short log.
            let cut = last - days_to_millis(f64::from(days)).min((last - first) / 4);
            Some((
                log.select(|event| log.time[event] <= cut),
                log.select(|event| log.time[event] > cut),
            ))
        }
        None => Split::LastOrder
            .apply(log)
            .or_else(|_| Split::Validation.apply(log))
            .ok(),
    };
    parts.filter(|(earlier, later)| !earlier.is_empty() && !later.is_empty())
}

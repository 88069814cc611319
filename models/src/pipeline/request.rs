//! What can be asked of fitted models: one struct for each call, with item and user rows in place
//! of ids.

use crate::fitted_models::FittedModels;
use crate::tasks::context_popularity::{ContextModel, ContextValues, visitor_state};
use aisle_data::days_to_millis;
use aisle_retrieval::bitmap::Bitmap;
use std::sync::Arc;

/// Which items a request accepts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemFilter {
    /// Category paths; an item of one of them, or of a path below one, passes. Empty = any
    /// category.
    pub categories: Vec<String>,
    /// Category paths whose items do not pass.
    pub exclude_categories: Vec<String>,
    /// Lowest price; an item of unknown price does not pass if this or `max_price` is set.
    pub min_price: Option<f32>,
    /// Highest price.
    pub max_price: Option<f32>,
    /// Only items priced in this currency.
    pub currency: Option<String>,
    /// Whether items that cannot be bought now pass too.
    pub include_unavailable: bool,
    /// Item rows that do not pass, in any order.
    pub exclude: Vec<u32>,
    /// Only these items: those that match a condition, see [`crate::LiveState::items_matching`].
    pub condition: Option<Arc<Bitmap>>,
}

/// How an answer is reranked. Where rules and a request both set a control, the stricter value
/// counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Controls {
    /// Most items of one brand.
    pub max_per_brand: Option<u32>,
    /// Most items of one category path.
    pub max_per_category: Option<u32>,
    /// 0 to 1: how much being unlike the items above counts beside relevance (maximal marginal
    /// relevance, Carbonell and Goldstein 1998).
    pub diversity: Option<f32>,
    /// 0 to 1: how much the order changes from day to day, for each shopper differently. At 1 an
    /// item of half the best one's relevance stands above it on every third day.
    pub rotation: Option<f32>,
    /// 0 to 1: items whose relevance is below this share of the best one's are left out, so fewer
    /// may come back.
    pub min_relevance: Option<f32>,
}

impl Controls {
    /// The stricter of two values for each control.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        let most = |a: Option<f32>, b: Option<f32>| a.into_iter().chain(b).reduce(f32::max);
        Self {
            max_per_brand: least(self.max_per_brand, other.max_per_brand),
            max_per_category: least(self.max_per_category, other.max_per_category),
            diversity: most(self.diversity, other.diversity),
            rotation: most(self.rotation, other.rotation),
            min_relevance: most(self.min_relevance, other.min_relevance),
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// Says which control is out of range, what was found and what was expected.
    pub fn check(&self) -> std::result::Result<(), String> {
        let shares = [
            ("diversity", self.diversity),
            ("rotation", self.rotation),
            ("min_relevance", self.min_relevance),
        ];
        for (name, share) in shares {
            if let Some(share) = share.filter(|share| !(0.0..=1.0).contains(share)) {
                return Err(format!("{name} = {share}: expected 0 to 1"));
            }
        }
        for (name, most) in [
            ("max_per_brand", self.max_per_brand),
            ("max_per_category", self.max_per_category),
        ] {
            if most == Some(0) {
                return Err(format!(
                    "{name} = 0: expected 1 or more; to keep items out, exclude them"
                ));
            }
        }
        Ok(())
    }
}

/// Where an answer is shown, to whom and when.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// The shop's name for the place where the answer is shown; empty = the name of the call.
    pub placement: String,
    /// Device, location and the like, by dimension.
    pub values: ContextValues,
    /// How the request wants the answer reranked.
    pub controls: Controls,
    /// Milliseconds since 1970. Rules with a time span hold only where this is set.
    pub time: Option<i64>,
    /// Id of the shopper or visitor who sees the answer, known to the models or not: rotation
    /// differs by it.
    pub viewer: String,
    /// Whether the answer leaves out why items are in it.
    pub omit_reasons: bool,
}

/// Fills in the parts of a request's context that the request left out: the part of the day, and
/// for a known shopper the visitor state. `local_millis` is milliseconds since 1970 on the
/// shopper's clock.
pub fn infer_context(
    models: &FittedModels,
    values: &mut ContextValues,
    user: Option<u32>,
    local_millis: i64,
) {
    values
        .entry("daypart".into())
        .or_insert_with(|| ContextModel::daypart(local_millis).into());
    let Some(user) = user else { return };
    let history = &models.order_history;
    let millis = |day: f32| days_to_millis(f64::from(day));
    // Nothing is known of the time after the log's end. So the end of the log counts as now: a
    // shopper who was active then is not lapsed just because the log is old.
    let now = if history.log_end_day() > 0.0 {
        millis(history.log_end_day())
    } else {
        0
    };
    let last = history.last_order_day(user).map_or(now, millis);
    let ever_bought = !models.purchased(user).is_empty();
    let state = visitor_state(Some(last), ever_bought, now, models.context.lapsed_days());
    values
        .entry("visitor_state".into())
        .or_insert_with(|| state.into());
}

/// A request for what a shopper would like.
#[derive(Clone, Debug, Default)]
pub struct UserRequest {
    /// The shopper's row, if known.
    pub user: Option<u32>,
    /// What the shopper did since the models were fitted, or all there is of a stranger: item rows
    /// with confidence.
    pub recent: Vec<(u32, f32)>,
    /// How many items to return.
    pub k: usize,
    /// Which items are accepted.
    pub filter: ItemFilter,
    /// Whether to leave out what the shopper bought, and what `recent` holds.
    pub exclude_purchased: bool,
    /// Whether to answer with best sellers at once, because there is no time for more.
    pub popular_only: bool,
    /// Where the answer is shown, to whom and when.
    pub context: RequestContext,
}

/// Which of the clicked items of a visit may be recommended again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepeatPolicy {
    /// All but the last one.
    #[default]
    AllButLast,
    /// All of them, as the field's benchmarks have it.
    All,
    /// None of them.
    None,
}

/// A request for what comes next in a visit.
#[derive(Clone, Debug, Default)]
pub struct SessionRequest {
    /// Item rows clicked, oldest first.
    pub clicks: Vec<u32>,
    /// How many items to return.
    pub k: usize,
    /// Which items are accepted.
    pub filter: ItemFilter,
    /// Which of the clicked items may be recommended again.
    pub repeats: RepeatPolicy,
    /// Row of the shopper whose visit it is, if known.
    pub user: Option<u32>,
    /// Whether to answer with best sellers at once, because there is no time for more.
    pub popular_only: bool,
    /// Where the answer is shown, to whom and when.
    pub context: RequestContext,
}

/// A request for what a shopper may buy again.
#[derive(Clone, Debug, Default)]
pub struct ReorderRequest {
    /// The shopper's row, if known.
    pub user: Option<u32>,
    /// How many items to return.
    pub k: usize,
    /// Which items are accepted.
    pub filter: ItemFilter,
    /// The time of the request in days since 1970; `None` = the end of the log.
    pub now: Option<f32>,
    /// Days within which the probabilities hold; `None` = those that the model was fitted for.
    pub days: Option<f32>,
    /// Where the answer is shown, to whom and when.
    pub context: RequestContext,
}

/// A request for what completes a cart.
#[derive(Clone, Debug, Default)]
pub struct CartRequest {
    /// Item rows of the cart.
    pub cart: Vec<u32>,
    /// How many items to return.
    pub k: usize,
    /// Which items are accepted.
    pub filter: ItemFilter,
    /// Whether complements from categories that the cart holds are accepted too; substitutes of its
    /// items are not.
    pub same_category: bool,
    /// Row of the shopper whose cart it is, if known: what they come back for counts.
    pub user: Option<u32>,
    /// The time of the request in days since 1970; `None` = the end of the log.
    pub now: Option<f32>,
    /// Whether to leave out what the shopper bought before.
    pub exclude_purchased: bool,
    /// Whether to propose only items with evidence: those bought together with an item of the cart
    /// more often than by chance, and those that the shopper bought before. Best sellers fill the
    /// rest. Where a filter leaves few items, as a spend gap does, the best of the others would
    /// come back without a reason.
    pub only_with_evidence: bool,
    /// Whether to answer with best sellers at once, because there is no time for more.
    pub popular_only: bool,
    /// Where the answer is shown, to whom and when.
    pub context: RequestContext,
}

/// A request about one item: for items like it, or for better versions of it.
#[derive(Clone, Debug, Default)]
pub struct ItemRequest {
    /// Item row.
    pub item: u32,
    /// How many items to return.
    pub k: usize,
    /// Which items are accepted.
    pub filter: ItemFilter,
    /// For an upsell: lowest and highest price as multiples of the item's; `None` = the model's.
    pub band: Option<(f32, f32)>,
    /// Row of the shopper who asks, if known; an upsell is then told by what they bought.
    pub user: Option<u32>,
    /// For an upsell: the time of the request in days since 1970; `None` = the end of the log.
    pub now: Option<f32>,
    /// Whether to answer with best sellers at once, because there is no time for more. An upsell
    /// has no cheaper answer.
    pub popular_only: bool,
    /// Where the answer is shown, to whom and when.
    pub context: RequestContext,
}

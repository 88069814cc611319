//! What can be asked of a version.

use crate::bitmap::Bitmap;
use crate::rules::Scene;
use std::sync::Arc;

/// Which items a request accepts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemFilter {
    /// Category paths; an item of a path below one of them passes. Empty = any.
    pub categories: Vec<String>,
    /// Category paths whose items do not pass.
    pub exclude_categories: Vec<String>,
    /// Least price; an item of unknown price does not pass if this or `max_price` is set.
    pub min_price: Option<f32>,
    /// Largest price.
    pub max_price: Option<f32>,
    /// Only items priced in this currency; matters where a price is asked for.
    pub currency: Option<String>,
    /// Also items that cannot be bought now.
    pub include_unavailable: bool,
    /// Item rows that do not pass, in any order.
    pub exclude: Vec<u32>,
    /// The items of a condition: see [`crate::Bundle::chosen`].
    pub condition: Option<Arc<Bitmap>>,
}

/// A question for a shopper.
#[derive(Clone, Debug, Default)]
pub struct ForUser {
    /// The shopper's row, if known.
    pub user: Option<u32>,
    /// What the shopper did since, or all there is of a stranger: item rows with confidence.
    pub recent: Vec<(u32, f32)>,
    /// How many items.
    pub k: usize,
    /// The gate.
    pub filter: ItemFilter,
    /// Leave out what the shopper bought, and what `recent` holds.
    pub exclude_bought: bool,
    /// There is no time for more than best sellers.
    pub hurry: bool,
    /// Where the answer is shown, and what is known of the moment.
    pub scene: Scene,
}

/// What a visit may be shown again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Again {
    /// What was clicked before the last click.
    #[default]
    Earlier,
    /// The last click too, as the field's benchmarks have it.
    Anything,
    /// Nothing that was clicked.
    Nothing,
}

/// A question for a visit.
#[derive(Clone, Debug, Default)]
pub struct ForSession {
    /// Item rows clicked, oldest first.
    pub clicks: Vec<u32>,
    /// How many items.
    pub k: usize,
    /// The gate.
    pub filter: ItemFilter,
    /// Of what was clicked.
    pub again: Again,
    /// Whose visit it is, if known.
    pub user: Option<u32>,
    /// There is no time for more than best sellers.
    pub hurry: bool,
    /// Where the answer is shown, and what is known of the moment.
    pub scene: Scene,
}

/// A question for what a shopper may buy again.
#[derive(Clone, Debug, Default)]
pub struct ForAgain {
    /// The shopper's row, if known.
    pub user: Option<u32>,
    /// How many items.
    pub k: usize,
    /// The gate.
    pub filter: ItemFilter,
    /// The moment, in days since 1970; `None` = the end of the log.
    pub now: Option<f32>,
    /// Days that probabilities are asked for; `None` = the model's.
    pub days: Option<f32>,
    /// Where the answer is shown, and what is known of the moment.
    pub scene: Scene,
}

/// A question for a cart.
#[derive(Clone, Debug, Default)]
pub struct ForCart {
    /// Item rows.
    pub cart: Vec<u32>,
    /// How many items.
    pub k: usize,
    /// The gate.
    pub filter: ItemFilter,
    /// Also complements from categories that the cart holds; substitutes of its items stay out.
    pub same_category: bool,
    /// Whose cart it is, if known: what they come back for counts.
    pub user: Option<u32>,
    /// The moment, in days since 1970; `None` = the end of the log.
    pub now: Option<f32>,
    /// Leave out what this shopper bought before.
    pub exclude_bought: bool,
    /// There is no time for more than best sellers.
    pub hurry: bool,
    /// Where the answer is shown, and what is known of the moment.
    pub scene: Scene,
}

/// A question for one item.
#[derive(Clone, Debug, Default)]
pub struct ForItem {
    /// Item row.
    pub item: u32,
    /// How many items.
    pub k: usize,
    /// The gate.
    pub filter: ItemFilter,
    /// For an upsell: the price band as multiples of the item's price; `None` = the model's.
    pub band: Option<(f32, f32)>,
    /// Who asks, if known; for an upsell, whose step.
    pub user: Option<u32>,
    /// For an upsell: the moment, in days since 1970; `None` = the end of the log.
    pub now: Option<f32>,
    /// There is no time for more than best sellers. An upsell has no cheaper answer.
    pub hurry: bool,
    /// Where the answer is shown, and what is known of the moment.
    pub scene: Scene,
}

//! One file for each call: it makes the eligible items, proposes candidates, and says why each is
//! in the answer.

mod buy_again;
mod cross_sell;
mod session;
mod similar;
mod upsell;
mod user;

pub use buy_again::buy_again;
pub use cross_sell::cross_sell;
pub use session::recommend_for_session;
pub use similar::similar_items;
pub use upsell::{attribute_deltas, upsell};
pub use user::{rank_items, recommend_for_user};

/// Distinct shoppers below which a count is not shown.
const PRIVACY_FLOOR: u32 = 5;

/// Returns `count`, or 0 if fewer than [`PRIVACY_FLOOR`] distinct shoppers stand behind it.
fn above_privacy_floor(count: u32) -> u32 {
    if count >= PRIVACY_FLOOR { count } else { 0 }
}

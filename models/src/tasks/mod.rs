//! What a shop asks beside "what would this shopper like": what completes a cart, what the
//! higher-priced alternative is, what is due to be bought again, what comes next in a visit, and
//! what sells in which context.
//!
//! In: [`Training`](crate::Training), or the arrays of a version. Out: one model for each task. A
//! task that reads other models names them in a struct of references
//! ([`CrossSellParts`](cross_sell::CrossSellParts), [`UpsellParts`](upsell::UpsellParts), …); none
//! takes all [`FittedModels`](crate::FittedModels). A new task is a file or folder here, a field of
//! [`FittedModels`](crate::FittedModels) and a call of the [`pipeline`](crate::pipeline).
//!
//! `order_history`, `order_vectors`, `group_purchases` and `shopper_histories` are no tasks of
//! their own: they are what several tasks read.

pub mod buy_again;
pub mod complements;
pub mod context_popularity;
pub mod cross_sell;
pub(crate) mod group_purchases;
pub mod order_history;
pub(crate) mod order_vectors;
pub mod session_knn;
pub mod shopper_histories;
pub mod substitute;
pub mod upsell;

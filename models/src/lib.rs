//! Recommendation models: algorithms, tasks, the answering pipeline, versions and their registry.
//!
//! - [`algorithms`]: one file an algorithm. Hyperparameters implement [`Fit`], what comes of them
//!   implements [`Recommend`].
//! - [`tasks`]: one question of a shop each (cross-sell, upsell, reorders, visits, context), fitted
//!   beside the personal model.
//! - [`segments`]: groups of shoppers.
//! - [`FittedModels`]: one fitted model of each, what every answer is made from.
//! - [`pipeline`]: from a request to an answer, as functions of fitted models, a [`LiveState`] and
//!   the request.
//! - [`Version`] and [`Registry`]: how fitted models are written, verified and found.
//!
//! This crate knows matrices and files; it knows nothing of gRPC or command lines.

pub mod algorithms;
pub mod catalog;
mod condition;
mod error;
mod fitted_models;
pub mod metrics;
pub mod pipeline;
pub mod segments;
pub mod tasks;
mod version;
pub mod weights;

pub use aisle_retrieval::bitmap::Bitmap;
pub use aisle_retrieval::device::Device;
pub use aisle_retrieval::exact::Exact;
pub use aisle_retrieval::index::{Eligible, Index, SearchBuffer};
pub use aisle_retrieval::inverted_lists::{InvertedLists, Retrieval};
pub use aisle_retrieval::on_device::OnDevice;
pub use aisle_retrieval::top_k::{Scored, TopK};
pub use algorithms::als::{Als, AlsModel, Scaling};
pub use algorithms::cold_start::{
    ColdStart, ColdStartSummary, Content, ContentCosine, ContentFeatures,
};
pub use algorithms::ease::Ease;
pub use algorithms::item_item::ItemItemModel;
pub use algorithms::item_knn::{ItemKnn, Measure};
pub use algorithms::linear_filter::LinearFilter;
pub use algorithms::local_ridge::LocalRidge;
pub use algorithms::low_pass::{LowPass, LowPassModel};
pub use algorithms::neighbours::{Neighbours, Pair, from_co_occurrence};
pub use algorithms::personal::Personal;
pub use algorithms::personal::blend::{Blend, BlendModel};
pub use algorithms::popular::{Popular, PopularModel};
pub use algorithms::recommend::{ColdItems, Fit, History, Progress, Recommend, Training};
pub use algorithms::two_tower::{Loss, TwoTower, TwoTowerModel};
pub use catalog::CatalogIndexes;
pub use catalog::title_quantities::Step;
pub use condition::{Condition, ConditionError, FieldType, Schema, Value};
pub use error::{ModelError, Result};
pub use fitted_models::hyperparameters::Hyperparameters;
pub use fitted_models::{Counts, FittedModels};
pub use pipeline::calls::{
    attribute_deltas, buy_again, cross_sell, rank_items, recommend_for_session, recommend_for_user,
    similar_items, upsell,
};
pub use pipeline::live_catalog::{ItemChange, ItemChanges, ItemUpdates, LiveCatalog};
pub use pipeline::live_state::LiveState;
pub use pipeline::request::{
    CartRequest, Controls, ItemFilter, ItemRequest, ReorderRequest, RepeatPolicy, RequestContext,
    SessionRequest, UserRequest, infer_context,
};
pub use pipeline::response::{
    Answer, AppliedRules, AttributeDelta, CandidateSource, RankedItem, Reason, UpsellStep,
};
pub use pipeline::rules::fields::{item_fields, items_matching, request_fields};
pub use pipeline::rules::{Boost, CALLS, ExcludeBought, Pin, Rule, RuleSet};
pub use segments::{
    FavouriteCategory, Segment, SegmentList, Segments, SegmentsModel, WithheldSegments,
};
pub use tasks::buy_again::{BuyAgain, BuyAgainModel, ReorderCandidate};
pub use tasks::complements::{CoPurchase, Complements, ComplementsModel};
pub use tasks::context_popularity::{
    Context, ContextModel, ContextValues, ContextualItem, Dimension, VisitorEvent, visitor_events,
    visitor_state, visitor_states,
};
pub use tasks::cross_sell::CrossSellModel;
pub use tasks::order_history::{OrderHistory, PurchaseHistory, PurchasedItem, days_since_epoch};
pub use tasks::session_knn::{SessionKnn, SessionModel};
pub use tasks::shopper_histories::ShopperHistories;
pub use tasks::upsell::{Upsell, UpsellModel, check_band};
pub use version::manifest::{FORMAT, FileEntry, GoldenRequest, Lineage, Manifest};
pub use version::registry::{Alias, Aliases, FileStamp, ListedVersion, Registry};
pub use version::{Version, write_table};

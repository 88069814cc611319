//! Recommendation models, exact top-k retrieval, metrics, and the versions they are exported as.
//!
//! One algorithm, one file: vectors [`Als`], [`LowPass`], [`TwoTower`]; item-item rows [`ItemKnn`], [`LinearFilter`], [`LocalRidge`], [`Ease`];
//! their mix [`Blend`]; [`Popular`], [`Complements`], [`Upsell`]. Hyperparameters implement [`Fit`];
//! what comes of it implements [`Recommend`]. A [`Bundle`] holds one fitted model of each task and answers questions through
//! the ladder of `answer.rs`; a [`Registry`] keeps versions and the aliases that point at them.
//! This crate knows matrices and files; it knows nothing of gRPC or command lines.

mod als;
mod answer;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod basis;
mod bitmap;
mod blend;
mod bundle;
mod buy_again;
mod clusters;
mod complements;
mod condition;
mod contrast;
mod cross_sell;
mod dense;
mod device;
mod ease;
mod embeddings;
mod error;
mod exact;
mod facets;
mod habits;
mod held_out;
mod index;
mod int8;
mod item_item;
mod item_knn;
mod kernels;
mod linear_filter;
mod local_ridge;
mod logit;
mod low_pass;
mod manifest;
mod measures;
pub mod metrics;
mod neighbours;
mod order_vectors;
mod popular;
mod recommend;
mod registry;
mod segments;
mod session_knn;
mod shelf;
mod shoppers;
mod tables;
mod top_k;
mod two_tower;
mod upsell;
mod vectors;
mod weights;

pub use als::{Als, AlsModel, Scaling};
pub use answer::{
    Again, Answer, AttributeDelta, ForAgain, ForCart, ForItem, ForSession, ForUser, ItemFilter, Ranked, Reason, Rung, SteppedUp,
};
pub use bitmap::Bitmap;
pub use blend::{Blend, BlendModel};
pub use bundle::Bundle;
pub use buy_again::{BuyAgain, BuyAgainModel, Due};
pub use complements::{Complements, ComplementsModel, Together};
pub use condition::{Condition, ConditionError, Kind, Schema, Value};
pub use cross_sell::CrossSellModel;
pub use device::Device;
pub use ease::Ease;
pub use error::{ModelError, Result};
pub use exact::Exact;
pub use habits::{Habit, Habits, Past, day};
pub use index::{Eligible, Found, Index};
pub use item_item::ItemItemModel;
pub use item_knn::{ItemKnn, Measure};
pub use kernels::{Simd, simd};
pub use linear_filter::LinearFilter;
pub use local_ridge::LocalRidge;
pub use low_pass::{LowPass, LowPassModel};
pub use manifest::{Counts, FORMAT, FileEntry, Golden, Hyperparameters, Lineage, Manifest, Personal};
pub use measures::Step;
pub use neighbours::{Neighbours, Pair, from_co_occurrence};
pub use popular::{Popular, PopularModel};
pub use recommend::{Fit, History, Recommend, Training, Watch};
pub use registry::{Alias, Aliases, Listed, Registry};
pub use segments::{Favourite, Segment, SegmentList, Segments, SegmentsModel, Withheld};
pub use session_knn::{SessionKnn, SessionModel};
pub use shelf::{ItemChange, ItemChanges, Shelf};
pub use tables::write_table;
pub use top_k::{Scored, TopK};
pub use two_tower::{Loss, TwoTower, TwoTowerModel};
pub use upsell::{Upsell, UpsellModel, check_band};
pub use weights::{Array, Tensor, Weights};

//! What sells in which context: on this device, in this place, at this time of day, to a first
//! visit or to a customer.
//!
//! In: the purchases of a [`Training`](crate::Training), with the context columns of its log, the
//! part of the day (`daypart.rs`) and the visitor state (`visitor_state.rs`). Out: a
//! [`ContextModel`], fitted in `fit.rs`, which ranks items for [`ContextValues`] (`ranking.rs`). A
//! further dimension is a context column of the log; one that is derived from the log is added
//! where `fit.rs` adds the part of the day.
//!
//! Each value of each dimension is a cell with its own best sellers. A cell's shares are drawn
//! towards those of its parent, the more the less was bought in it, so that a few purchases do not
//! decide: p(j|c) = (n_cj + κ p(j|parent)) / (n_c + κ). The parent of the place `UK > London` is
//! `UK`; the parent of every other value is the whole shop. This is the mean of a multinomial's
//! posterior whose Dirichlet prior is centred on the parent (MacKay and Peto, "A hierarchical
//! Dirichlet language model", Natural Language Engineering 1, 1995, equation 17; the m-estimate of
//! Cestnik, "Estimating probabilities: a crucial task in machine learning", ECAI 1990). Several
//! dimensions are combined as in naive Bayes, p(j) Π (p(j|c) / p(j))^γ, with γ below 1 where the
//! dimensions overlap (Hand and Yu, "Idiot's Bayes: not so stupid after all?", International
//! Statistical Review 69, 2001).
//!
//! A cell keeps its most likely items. All other items share one constant lift, which makes the
//! shares of the cell add up to one (the back-off of Katz, IEEE Transactions on Acoustics, Speech
//! and Signal Processing 35, 1987). So items that no active cell keeps stay in the order of the
//! whole shop, and a ranking is a merge: it costs what the active cells keep, whatever the size of
//! the catalogue.

mod daypart;
mod fit;
mod ranking;
mod visitor_state;

use crate::algorithms::recommend::check_range;
use crate::error::Result;
pub use ranking::{ContextModel, ContextualItem};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
pub use visitor_state::{VisitorEvent, visitor_events, visitor_state, visitor_states};

/// The context of a request, dimension → value: `device` → `mobile`, `location` → `UK > London`,
/// `daypart` → `weekday morning`.
pub type ContextValues = BTreeMap<String, String>;

/// Hyperparameters of popularity in context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Context {
    /// κ, in purchases: the parent's shares weigh as much as this many purchases in a cell; at
    /// least 0.001.
    pub shrinkage: f32,
    /// γ, 0 to 1: the exponent of each dimension's lift. At 1 each dimension counts as if it were
    /// independent of the others, at 0 none counts.
    pub agreement: f32,
    /// A cell with fewer purchases is left out.
    pub min_events: u32,
    /// A cell with fewer distinct shoppers is left out, and a cell is never the reason for an item
    /// that fewer shoppers bought in it; 2 or more.
    pub min_shoppers: u32,
    /// How many items a cell keeps, the most likely ones; 1 to 100,000.
    pub items: usize,
    /// A shopper is lapsed if the last event is more than this many days ago.
    pub lapsed_days: f32,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            shrinkage: 200.0,
            agreement: 1.0,
            min_events: 50,
            min_shoppers: 5,
            items: 2000,
            lapsed_days: 90.0,
        }
    }
}

impl Context {
    /// Checks the range of every hyperparameter.
    pub(crate) fn validate(&self) -> Result<()> {
        check_range("shrinkage", self.shrinkage, 1e-3..=f32::MAX)?;
        check_range("agreement", self.agreement, 0.0..=1.0)?;
        check_range("min_shoppers", self.min_shoppers, 2..=u32::MAX)?;
        check_range("items", self.items, 1..=100_000)?;
        check_range("lapsed_days", self.lapsed_days, 0.0..=f32::MAX)
    }
}

/// One dimension of a fitted model and the values that have a cell. The manifest of a version keeps
/// these beside the `context.*` arrays of its weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimension {
    /// The name of the dimension in [`ContextValues`].
    pub name: String,
    /// The values that have a cell, ascending. Cells are numbered through all dimensions in order.
    pub values: Vec<String>,
}

/// The value above one in a hierarchy: a path without its last level, `None` for a top level.
fn parent_value(value: &str) -> Option<&str> {
    value.rsplit_once(" > ").map(|(parent, _)| parent)
}

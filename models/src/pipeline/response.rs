//! An answer: its items, where they came from, and why they are there, in words that a shopper can
//! read.

use crate::fitted_models::FittedModels;
use crate::pipeline::rules::RuleSet;
use crate::tasks::complements::CoPurchase;
use std::sync::Arc;

/// Which part of the pipeline proposed an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CandidateSource {
    /// The personal model.
    Personal,
    /// Items like the given one.
    Similar,
    /// Complements of the cart.
    CrossSell,
    /// Items of the same category with a higher price.
    Upsell,
    /// Visits like this one.
    Session,
    /// What the shopper bought before.
    BuyAgain,
    /// Best sellers: the fallback of every call that must fill its answer.
    Popular,
    /// A rule that pins the item.
    Pinned,
}

impl CandidateSource {
    /// Its name in logs, metrics and tables.
    pub fn name(self) -> &'static str {
        match self {
            CandidateSource::Personal => "personal",
            CandidateSource::Similar => "similar",
            CandidateSource::CrossSell => "cross-sell",
            CandidateSource::Upsell => "upsell",
            CandidateSource::Session => "session",
            CandidateSource::BuyAgain => "buy-again",
            CandidateSource::Popular => "popular",
            CandidateSource::Pinned => "pinned",
        }
    }
}

/// Why an item is in an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// It is recommended because of an item of the shopper's history.
    BecauseOf {
        /// The item of the history that adds most to the score.
        item: u32,
    },
    /// It is like the item that the request is about.
    Like {
        /// The item that the request is about.
        item: u32,
        /// Cosine, or the measure of the algorithm.
        similarity: f32,
    },
    /// It is bought together with an item of the cart.
    BoughtTogether(CoPurchase),
    /// The shopper bought it before.
    BoughtBefore {
        /// Orders that held it.
        orders: u32,
        /// Days since the last of them.
        days: u32,
    },
    /// Shoppers of the anchor later bought it.
    SteppedUp(UpsellStep),
    /// The shopper bought it before, and usually buys it again by a certain day.
    Due {
        /// Orders that held it.
        orders: u32,
        /// Days since the last of them.
        days: u32,
        /// Days until it is usually bought again; below zero = overdue.
        due_in: i32,
    },
    /// It is in visits like this one.
    InVisits {
        /// How many of the nearest visits hold it; 0 = below the privacy floor.
        visits: u32,
    },
    /// It sells better in the request's context than elsewhere.
    PopularHere {
        /// Dimension and value of the context, `location: UK`.
        place: String,
        /// How many times as well it sells there.
        lift: f32,
    },
    /// It sells well.
    BestSeller,
}

/// A step from one item up to a better one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpsellStep {
    /// The item that the shopper steps up from.
    pub item: u32,
    /// Distinct shoppers who took the step; 0 = below the privacy floor.
    pub shoppers: u32,
    /// Price difference, in the currency of both.
    pub price_delta: f32,
    /// Price as a multiple of the first item's.
    pub price_ratio: f32,
}

/// An attribute in which two items differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeDelta {
    /// Name of the attribute, or a unit that both titles count.
    pub name: String,
    /// Value of the first item.
    pub from: String,
    /// Value of the second item.
    pub to: String,
}

/// One item of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedItem {
    /// Item row.
    pub item: u32,
    /// Higher is better; comparable within one source only; finite.
    pub score: f32,
    /// Which part of the pipeline proposed it.
    pub source: CandidateSource,
    /// Why it is in the answer; empty if the request omits reasons.
    pub reasons: Vec<Reason>,
    /// With a cross-sell, 0 to 1: how much it looks like something to take instead of an item of
    /// the cart; see `substitute.rs`.
    pub substitute: f32,
}

/// An answer: exactly min(k, eligible) items, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Best first.
    pub items: Vec<RankedItem>,
    /// How many items were eligible.
    pub eligible: usize,
    /// The source of the first item, or the call's own source if the answer is empty.
    pub source: CandidateSource,
    /// Why the fallback had to help; `None` if it had not.
    pub fallback_reason: Option<&'static str>,
    /// The rules that held.
    pub rules: AppliedRules,
}

impl Answer {
    /// An answer without items.
    pub fn empty(source: CandidateSource) -> Self {
        Self {
            items: Vec::new(),
            eligible: 0,
            source,
            fallback_reason: None,
            rules: AppliedRules::default(),
        }
    }
}

/// The rules that held for an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppliedRules {
    /// All rules in force.
    pub set: Arc<RuleSet>,
    /// Places in the set of those that held.
    pub applied: Vec<u32>,
}

impl AppliedRules {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.applied
            .iter()
            .filter_map(|&rule| Some(self.set.rules.get(rule as usize)?.name.as_str()))
    }
}

/// Days as a shopper would say them.
fn ago(days: u32) -> String {
    match days {
        0 => "today".into(),
        1 => "yesterday".into(),
        _ => format!("{days} days ago"),
    }
}

impl Reason {
    /// A sentence for a shopper.
    pub fn text(&self, models: &FittedModels) -> String {
        let name = |item: u32| {
            models
                .catalog
                .title
                .get(item)
                .unwrap_or_else(|| models.items.id(item))
                .to_string()
        };
        match self {
            Reason::BecauseOf { item } => format!("because of {}", name(*item)),
            Reason::Like { item, .. } => format!("like {}", name(*item)),
            Reason::BoughtTogether(pair) => {
                let often = if pair.lift >= 1.5 {
                    format!(", {:.0} times more often than by chance", pair.lift)
                } else {
                    String::new()
                };
                format!(
                    "bought together with {} in {} orders{often}",
                    name(pair.item),
                    pair.orders
                )
            }
            Reason::BoughtBefore { orders: 1, days } => format!("bought before, {}", ago(*days)),
            Reason::BoughtBefore { orders, days } => {
                format!("bought {orders} times, last {}", ago(*days))
            }
            Reason::SteppedUp(UpsellStep {
                item, shoppers: 0, ..
            }) => format!("a step up from {}", name(*item)),
            Reason::SteppedUp(UpsellStep { item, shoppers, .. }) => {
                format!("{shoppers} shoppers of {} went on to this", name(*item))
            }
            Reason::Due {
                orders,
                days,
                due_in,
            } => {
                let often = if *orders == 1 {
                    "once".to_string()
                } else {
                    format!("{orders} times, last")
                };
                let due = match due_in {
                    i32::MIN..=-1 => format!("was due {}", ago(due_in.unsigned_abs())),
                    0 => "due today".to_string(),
                    1 => "due tomorrow".to_string(),
                    _ => format!("due in {due_in} days"),
                };
                format!("bought {often} {}, {due}", ago(*days))
            }
            Reason::InVisits { visits: 0 } => "in visits like this one".to_string(),
            Reason::InVisits { visits } => format!("in {visits} visits like this one"),
            Reason::PopularHere { place, .. } => {
                let (dimension, value) = place.split_once(": ").unwrap_or(("", place));
                match dimension {
                    "location" => format!("popular in {value} now"),
                    "daypart" => format!("popular on a {value}"),
                    "device" => format!("popular with shoppers on {value}"),
                    "traffic_source" => format!("popular with shoppers who come from {value}"),
                    "visitor_state" => {
                        format!(
                            "popular with {} shoppers",
                            value
                                .replace("first-visit", "new")
                                .replace("customer", "regular")
                        )
                    }
                    _ => format!("popular where {dimension} is {value}"),
                }
            }
            Reason::BestSeller => "a best seller".to_string(),
        }
    }
}

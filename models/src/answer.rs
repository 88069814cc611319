//! An answer: its items, the rungs they came from, and why they are there, in words that a shopper can read.

use crate::bundle::Bundle;
use crate::complements::Together;
use crate::rules::RuleSet;
use std::sync::Arc;

/// The part of the ladder that an item came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rung {
    /// The personal model.
    Personal,
    /// Items like the given one.
    Similar,
    /// Complements of the cart.
    CrossSell,
    /// Dearer items of the category.
    Upsell,
    /// Visits like this one.
    Session,
    /// What the shopper had before.
    BuyAgain,
    /// Best sellers.
    Popular,
    /// Put there by a rule.
    Pinned,
}

impl Rung {
    /// Its name in logs, metrics and responses.
    pub fn name(self) -> &'static str {
        match self {
            Rung::Personal => "personal",
            Rung::Similar => "similar",
            Rung::CrossSell => "cross-sell",
            Rung::Upsell => "upsell",
            Rung::Session => "session",
            Rung::BuyAgain => "buy-again",
            Rung::Popular => "popular",
            Rung::Pinned => "pinned",
        }
    }
}

/// Why an item is in an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Of the shopper's history, this item speaks for it most.
    BecauseOf {
        /// The item of the history.
        item: u32,
    },
    /// It is like the item asked about.
    Like {
        /// The item asked about.
        item: u32,
        /// Cosine, or the measure of the algorithm.
        similarity: f32,
    },
    /// It is bought together with an item of the cart.
    BoughtTogether(Together),
    /// The shopper bought it before.
    BoughtBefore {
        /// Orders that held it.
        orders: u32,
        /// Days since the last of them.
        days: u32,
    },
    /// Shoppers of the anchor later chose it.
    SteppedUp(SteppedUp),
    /// The shopper bought it before, and usually buys it again by a certain day.
    Due {
        /// Orders that held it.
        orders: u32,
        /// Days since the last of them.
        days: u32,
        /// Days from now; below zero = overdue.
        due_in: i32,
    },
    /// It is in visits like this one.
    InVisits {
        /// How many of the nearest visits hold it; 0 = too few to tell.
        visits: u32,
    },
    /// It sells better where the shopper is than elsewhere.
    PopularHere {
        /// The circumstance, `location: UK`.
        place: String,
        /// How many times as well.
        lift: f32,
    },
    /// It sells well.
    BestSeller,
}

/// A step up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SteppedUp {
    /// What it is a step up from.
    pub item: u32,
    /// Distinct shoppers who took it; 0 = too few to tell.
    pub shoppers: u32,
    /// Price difference, in the currency of both.
    pub price_delta: f32,
    /// Price as a multiple.
    pub price_ratio: f32,
}

/// What one item has that another has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeDelta {
    /// Of the attribute, or a unit that both titles count.
    pub name: String,
    /// Of the first item.
    pub from: String,
    /// Of the second.
    pub to: String,
}

/// One item of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Item row.
    pub item: u32,
    /// Comparable within one source only; finite.
    pub score: f32,
    /// The rung it came from.
    pub source: Rung,
    /// Why.
    pub reasons: Vec<Reason>,
    /// With a cross-sell, 0 to 1: how much it looks like something to take instead of an item of the cart; see `substitute.rs`.
    pub substitute: f32,
}

/// An answer: exactly min(k, eligible) items, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Best first.
    pub items: Vec<Ranked>,
    /// How many items passed the gate.
    pub eligible: usize,
    /// The rung that filled the first place, or that was asked if nothing is eligible.
    pub rung: Rung,
    /// Why a lower rung had to help; `None` if it had not.
    pub fallback: Option<&'static str>,
    /// The rules that held.
    pub rules: Applied,
}

/// Rules that held for an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The rules that there were.
    pub set: Arc<RuleSet>,
    /// The places in it of those that held.
    pub held: Vec<u32>,
}

impl Applied {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.held.iter().filter_map(|&rule| Some(self.set.rules.get(rule as usize)?.name.as_str()))
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
    pub fn words(&self, bundle: &Bundle) -> String {
        let name = |item: u32| bundle.catalog.title.get(item).unwrap_or_else(|| bundle.items.id(item)).to_string();
        match self {
            Reason::BecauseOf { item } => format!("because of {}", name(*item)),
            Reason::Like { item, .. } => format!("like {}", name(*item)),
            Reason::BoughtTogether(pair) => {
                let often =
                    if pair.lift >= 1.5 { format!(", {:.0} times more often than by chance", pair.lift) } else { String::new() };
                format!("bought together with {} in {} orders{often}", name(pair.item), pair.orders)
            }
            Reason::BoughtBefore { orders: 1, days } => format!("bought before, {}", ago(*days)),
            Reason::BoughtBefore { orders, days } => format!("bought {orders} times, last {}", ago(*days)),
            Reason::SteppedUp(SteppedUp { item, shoppers: 0, .. }) => format!("a step up from {}", name(*item)),
            Reason::SteppedUp(SteppedUp { item, shoppers, .. }) => {
                format!("{shoppers} shoppers of {} went on to this", name(*item))
            }
            Reason::Due { orders, days, due_in } => {
                let often = if *orders == 1 { "once".to_string() } else { format!("{orders} times, last") };
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
                        format!("popular with {} shoppers", value.replace("first-visit", "new").replace("customer", "regular"))
                    }
                    _ => format!("popular where {dimension} is {value}"),
                }
            }
            Reason::BestSeller => "a best seller".to_string(),
        }
    }
}

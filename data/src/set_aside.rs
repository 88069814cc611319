//! Rows that are not used, counted by reason: nothing is dropped in silence.

use serde::Serialize;
use std::collections::BTreeMap;

/// Why a row was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// `item_id` is null or empty.
    NullItem,
    /// user, order and session are all null.
    NullOwner,
    /// `timestamp` is null or outside what a clock can show.
    NullTimestamp,
    /// Before 1990.
    LongPast,
    /// More than a day after now.
    Future,
    /// NaN or infinite price.
    NanPrice,
    /// Price below zero.
    NegativePrice,
    /// NaN quantity, or zero or less on something other than a return.
    BadQuantity,
    /// A second row of the same item in the items file; the first counts.
    DuplicateItem,
    /// Negative or NaN price in the items file; the item stays, its price is unknown.
    BadCatalogPrice,
    /// By `[clean] drop_unknown_items`.
    UnknownItem,
    /// By `[[clean.drop_items]]`.
    DroppedItem,
    /// By `[[clean.drop_events]]`.
    DroppedEvent,
    /// By `[clean] min_quantity`.
    SmallQuantity,
    /// Its event type has weight 0.
    IgnoredType,
}

impl Reason {
    /// Whether the config asked for it; only the others are faults.
    pub fn is_on_purpose(self) -> bool {
        matches!(
            self,
            Reason::UnknownItem | Reason::DroppedItem | Reason::DroppedEvent | Reason::SmallQuantity | Reason::IgnoredType
        )
    }

    /// A few words for a report.
    pub fn words(self) -> &'static str {
        match self {
            Reason::NullItem => "no item_id",
            Reason::NullOwner => "no user, order or session",
            Reason::NullTimestamp => "no usable timestamp",
            Reason::LongPast => "timestamp before 1990",
            Reason::Future => "timestamp in the future",
            Reason::NanPrice => "price is not a number",
            Reason::NegativePrice => "negative price",
            Reason::BadQuantity => "quantity of zero or less, not a return",
            Reason::DuplicateItem => "item listed again",
            Reason::BadCatalogPrice => "catalogue price unusable, taken as unknown",
            Reason::UnknownItem => "item not in the catalogue",
            Reason::DroppedItem => "item left out by the config",
            Reason::DroppedEvent => "event left out by the config",
            Reason::SmallQuantity => "quantity below the config's minimum",
            Reason::IgnoredType => "event type with weight 0",
        }
    }
}

/// How many rows, and where the first was.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub struct Count {
    /// Rows.
    pub rows: u64,
    /// Row number of the first, counted from 0 in its file.
    pub first_row: u64,
}

/// Counts by reason.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct SetAside(BTreeMap<Reason, Count>);

impl SetAside {
    /// Adds one row.
    pub fn count(&mut self, reason: Reason, row: u64) {
        self.0.entry(reason).or_insert(Count { rows: 0, first_row: row }).rows += 1;
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &SetAside) {
        for (&reason, count) in &other.0 {
            self.0.entry(reason).or_insert(Count { rows: 0, first_row: count.first_row }).rows += count.rows;
        }
    }

    /// Rows set aside because they are faulty.
    pub fn faults(&self) -> u64 {
        self.0.iter().filter(|(reason, _)| !reason.is_on_purpose()).map(|(_, count)| count.rows).sum()
    }

    /// Rows set aside for whatever reason.
    pub fn total(&self) -> u64 {
        self.0.values().map(|count| count.rows).sum()
    }

    /// Reasons with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, Count)> {
        self.0.iter().map(|(&reason, &count)| (reason, count))
    }
}

impl std::fmt::Display for SetAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing set aside");
        }
        for (number, (reason, count)) in self.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{} × {} (first: row {})", count.rows, reason.words(), count.first_row)?;
        }
        Ok(())
    }
}

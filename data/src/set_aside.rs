//! Rows that are set aside (read but not used), counted by reason, so that a reader of the report
//! can see every row that is missing from the log or the catalogue and why. The reader of a table
//! decides what is set aside: `read_events` for events, `read_items` for items.

use serde::Serialize;
use std::collections::BTreeMap;

/// Why a row was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// `item_id` is null or empty.
    NullItem,
    /// `user_id`, `order_id` and `session_id` are all null or empty.
    NullOwner,
    /// `timestamp` is null or not a finite time.
    NullTimestamp,
    /// `timestamp` lies before 1990.
    LongPast,
    /// `timestamp` lies more than a day after the time of reading.
    Future,
    /// `price` is NaN or infinite.
    NanPrice,
    /// `price` is below zero.
    NegativePrice,
    /// `quantity` is NaN or infinite, or zero or less on an event that is not a return.
    BadQuantity,
    /// The items file has an earlier row of the same item, which is used instead.
    DuplicateItem,
    /// `price` in the items file is negative or not finite. The item stays; its price is unknown.
    BadCatalogPrice,
    /// The items file lacks the item, and `[clean] drop_unknown_items` is set.
    UnknownItem,
    /// A rule of `[[clean.drop_items]]` drops the item, or the event's item.
    DroppedItem,
    /// A rule of `[[clean.drop_events]]` drops the event.
    DroppedEvent,
    /// `quantity` is below `[clean] min_quantity`.
    SmallQuantity,
    /// The config gives the event's type the weight 0.
    IgnoredType,
}

impl Reason {
    /// Whether the config asks for such rows to be set aside. All other reasons are faults of the
    /// data.
    pub fn is_on_purpose(self) -> bool {
        matches!(
            self,
            Reason::UnknownItem
                | Reason::DroppedItem
                | Reason::DroppedEvent
                | Reason::SmallQuantity
                | Reason::IgnoredType
        )
    }

    /// The reason in a few words, for a report.
    pub fn text(self) -> &'static str {
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

/// How many rows were set aside for one reason, and where the first of them is.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub struct Count {
    /// Rows.
    pub rows: u64,
    /// Row number of the first, counted from 0 in its file.
    pub first_row: u64,
}

/// The rows of a table that were set aside: for each reason their number and the first of them.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct SetAside(BTreeMap<Reason, Count>);

impl SetAside {
    /// Counts one more row; `row` is its number in its file, from 0.
    pub fn add(&mut self, reason: Reason, row: u64) {
        self.0
            .entry(reason)
            .or_insert(Count {
                rows: 0,
                first_row: row,
            })
            .rows += 1;
    }

    /// The number of rows set aside because the data is faulty, not because the config asks for it.
    pub fn faults(&self) -> u64 {
        self.0
            .iter()
            .filter(|(reason, _)| !reason.is_on_purpose())
            .map(|(_, count)| count.rows)
            .sum()
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
            write!(
                f,
                "{comma}{} × {} (first: row {})",
                count.rows,
                reason.text(),
                count.first_row
            )?;
        }
        Ok(())
    }
}

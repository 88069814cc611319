//! The part of the config about the data: column names, event weights, and what to leave out.

use crate::error::{DataError, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The part of the config file that reading uses. Every field has a default.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// `[columns]`: which column of the files holds which field.
    pub columns: Columns,
    /// `[events.TYPE]`: role, weight and half-life of an event type.
    pub events: BTreeMap<String, EventRule>,
    /// `[clean]`: rows to leave out.
    pub clean: Clean,
}

/// Column names of the events file; those of the other two are in `items` and `users`.
/// A field that is not mapped is looked for under its own name.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// The shopper's id; null or absent = anonymous.
    pub user_id: Option<String>,
    /// The product's id. Required.
    pub item_id: Option<String>,
    /// The kind of event: view, cart, purchase, return, …; absent = every row is a purchase.
    pub event_type: Option<String>,
    /// The time of the event: any timestamp or date type, or an integer with `timestamp_unit`.
    pub timestamp: Option<String>,
    /// The unit of integer timestamps, counted from 1970-01-01 UTC: `s`, `ms`, `us` or `ns`.
    pub timestamp_unit: Option<String>,
    /// The order or basket that the line belongs to.
    pub order_id: Option<String>,
    /// The visit that the event belongs to; it stands in for an order where there is no `order_id`.
    pub session_id: Option<String>,
    /// The place of the event within its session, a whole number; it orders events whose times are
    /// equal or missing.
    pub position: Option<String>,
    /// Units bought.
    pub quantity: Option<String>,
    /// Price paid per unit.
    pub price: Option<String>,
    /// The kind of device: mobile, desktop, ….
    pub device: Option<String>,
    /// The place: a country, a city, a store, or a path `UK > London` from coarse to fine.
    pub location: Option<String>,
    /// What led the shopper to the shop: search, newsletter, ….
    pub traffic_source: Option<String>,
    /// Further columns that describe the context of an event, for example `["store_id"]`, each
    /// under its own name.
    pub context: Vec<String>,
    /// `[columns.items]`: column names of the items file.
    pub items: ItemColumns,
    /// `[columns.users]`: column names of the users file.
    pub users: UserColumns,
}

/// Column names of the items file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ItemColumns {
    /// The product's id. Required.
    pub item_id: Option<String>,
    /// The product's name: one column, or several joined with ", ".
    pub title: Option<OneOrMore>,
    /// A path `A > B > C`, a list, or several columns from coarse to fine.
    pub category: Option<OneOrMore>,
    /// The current price per unit, in the item's currency.
    pub price: Option<String>,
    /// ISO 4217 code of the price; absent = [`ItemColumns::default_currency`].
    pub currency: Option<String>,
    /// The currency of items whose row names none, for example `GBP`.
    pub default_currency: Option<String>,
    /// Brand or maker.
    pub brand: Option<String>,
    /// Whether the item can be bought now; absent = yes.
    pub available: Option<String>,
}

/// Column names of the users file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct UserColumns {
    /// The shopper's id. Required.
    pub user_id: Option<String>,
}

/// One column name or several.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One column.
    One(String),
    /// Several columns, joined in this order.
    More(Vec<String>),
}

impl OneOrMore {
    /// The column names, in order.
    pub fn names(&self) -> Vec<String> {
        match self {
            OneOrMore::One(name) => vec![name.clone()],
            OneOrMore::More(names) => names.clone(),
        }
    }
}

/// What an event of a type does to an order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum EventRole {
    /// The shopper looked at the item.
    View,
    /// The shopper put the item into the cart.
    Cart,
    /// The shopper bought the item.
    Purchase,
    /// The shopper returned the item, or cancelled its purchase.
    Return,
    /// The event is none of these.
    Other,
}

impl EventRole {
    /// The role that an event type's name suggests, whatever its case and separators.
    pub fn from_name(event_type: &str) -> Self {
        let letters: String = event_type
            .chars()
            .filter(|c| c.is_alphanumeric())
            .collect::<String>()
            .to_lowercase();
        match letters.as_str() {
            "view" | "click" | "detail" | "viewitem" | "pageview" | "productview"
            | "impression" => EventRole::View,
            "cart" | "addtocart" | "cartadd" | "basket" | "add" => EventRole::Cart,
            "purchase" | "buy" | "order" | "transaction" | "sale" | "checkout" => {
                EventRole::Purchase
            }
            "return" | "refund" | "cancel" | "cancellation" => EventRole::Return,
            _ => EventRole::Other,
        }
    }

    /// Confidence added by one event of a type to which the config gives no weight: a purchase is
    /// the unit, a view is worth a tenth of it, and a return cancels a purchase.
    pub fn default_weight(self) -> f32 {
        match self {
            EventRole::View => 0.1,
            EventRole::Cart => 0.3,
            EventRole::Purchase | EventRole::Other => 1.0,
            EventRole::Return => -1.0,
        }
    }
}

/// `[events.TYPE]`: role, weight and half-life of one event type.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct EventRule {
    /// Confidence added by one event; a negative weight takes away, 0 sets the rows aside. Absent =
    /// [`EventRole::default_weight`] of the type's role.
    pub weight: Option<f32>,
    /// Days after which an event counts half, above 0. Absent = its weight does not decay.
    pub half_life_days: Option<f32>,
    /// The role, if [`EventRole::from_name`] does not see it in the type's name: view, cart,
    /// purchase, return or other.
    #[serde(rename = "as")]
    pub role: Option<EventRole>,
}

/// `[clean]`: rows to leave out on purpose, and how many faulty rows are tolerated.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Clean {
    /// Leave out events of items that the items file lacks.
    pub drop_unknown_items: bool,
    /// Leave out items (and their events) by a column of the items file.
    pub drop_items: Vec<DropRule>,
    /// Leave out events by a column of the events file.
    pub drop_events: Vec<DropRule>,
    /// Keep users of the users file who have no event, because a model with user features can
    /// recommend to them.
    pub keep_new_users: bool,
    /// Leave out events whose quantity is below this many units; returns are kept.
    pub min_quantity: f64,
    /// Leave out events of items with fewer distinct shoppers than this in the training part.
    pub min_users_per_item: u32,
    /// Largest share of faulty rows that is tolerated, 0 to 1; reading fails above it.
    pub max_set_aside: f64,
}

impl Default for Clean {
    fn default() -> Self {
        Self {
            drop_unknown_items: false,
            drop_items: Vec::new(),
            drop_events: Vec::new(),
            keep_new_users: false,
            min_quantity: 0.0,
            min_users_per_item: 1,
            max_set_aside: 0.5,
        }
    }
}

/// Rows whose `column` holds one of `values`; a value may end in `*`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct DropRule {
    /// The column's name in the file.
    pub column: String,
    /// The values to drop; a final `*` stands for any ending.
    pub values: Vec<String>,
}

impl DropRule {
    /// Whether a row with this text in the rule's column is to be dropped.
    pub fn matches(&self, text: &str) -> bool {
        self.values
            .iter()
            .any(|value| match value.strip_suffix('*') {
                Some(prefix) => text.starts_with(prefix),
                None => text == value,
            })
    }
}

/// The unit of an integer timestamp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum EpochUnit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

impl EpochUnit {
    /// Milliseconds in one unit.
    pub(crate) fn millis(self) -> f64 {
        match self {
            EpochUnit::Seconds => 1e3,
            EpochUnit::Millis => 1.0,
            EpochUnit::Micros => 1e-3,
            EpochUnit::Nanos => 1e-6,
        }
    }
}

impl DataConfig {
    /// Role of an event type and confidence added by one event: as its rule in the config says,
    /// else as its name suggests.
    pub fn event_role_and_weight(&self, event_type: &str) -> (EventRole, f32) {
        let rule = self.events.get(event_type);
        let role = rule
            .and_then(|rule| rule.role)
            .unwrap_or_else(|| EventRole::from_name(event_type));
        let weight = rule
            .and_then(|rule| rule.weight)
            .unwrap_or_else(|| role.default_weight());
        (role, weight)
    }

    /// Checks that every setting lies in its range; the code that reads relies on it.
    ///
    /// # Errors
    /// [`DataError::Setting`] names the first setting outside its range.
    pub fn validate(&self) -> Result<()> {
        let clean = &self.clean;
        if !(0.0..=1.0).contains(&clean.max_set_aside) {
            let expected = "a share from 0 to 1";
            return Err(out_of_range(
                "clean.max_set_aside",
                clean.max_set_aside,
                expected,
            ));
        }
        if !clean.min_quantity.is_finite() {
            let expected = "a finite number";
            return Err(out_of_range(
                "clean.min_quantity",
                clean.min_quantity,
                expected,
            ));
        }
        for (event_type, rule) in &self.events {
            if let Some(weight) = rule.weight
                && !weight.is_finite()
            {
                let name = format!("events.{event_type}.weight");
                return Err(out_of_range(&name, weight, "a finite number"));
            }
            if let Some(days) = rule.half_life_days
                && !(days.is_finite() && days > 0.0)
            {
                let name = format!("events.{event_type}.half_life_days");
                return Err(out_of_range(&name, days, "a number of days above 0"));
            }
        }
        self.epoch_unit().map(|_| ())
    }

    /// The unit of integer timestamps; `None` if the config names none.
    pub(crate) fn epoch_unit(&self) -> Result<Option<EpochUnit>> {
        Ok(Some(match self.columns.timestamp_unit.as_deref() {
            None => return Ok(None),
            Some("s") => EpochUnit::Seconds,
            Some("ms") => EpochUnit::Millis,
            Some("us") => EpochUnit::Micros,
            Some("ns") => EpochUnit::Nanos,
            Some(other) => {
                let expected = "\"s\", \"ms\", \"us\" or \"ns\"";
                let found = format!("\"{other}\"");
                return Err(out_of_range("columns.timestamp_unit", found, expected));
            }
        }))
    }
}

fn out_of_range(name: &str, found: impl ToString, expected: &str) -> DataError {
    DataError::Setting {
        name: name.into(),
        found: found.to_string(),
        expected: expected.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_names_of_many_shops_have_the_same_role() {
        for (name, role) in [
            ("addtocart", EventRole::Cart),
            ("ADD_TO_CART", EventRole::Cart),
            ("transaction", EventRole::Purchase),
            ("Refund", EventRole::Return),
            ("review", EventRole::Other),
        ] {
            assert_eq!(EventRole::from_name(name), role, "{name}");
        }
    }

    #[test]
    fn a_value_outside_its_range_is_named() {
        let mut config = DataConfig::default();
        config.clean.max_set_aside = 50.0;
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .contains("clean.max_set_aside = 50")
        );
        let config = DataConfig {
            columns: Columns {
                timestamp_unit: Some("minutes".into()),
                ..Columns::default()
            },
            ..DataConfig::default()
        };
        assert!(config.validate().is_err());
    }

    #[test]
    fn a_star_matches_every_ending() {
        let rule = DropRule {
            column: "category".into(),
            values: vec!["Service > *".into(), "FUEL".into()],
        };
        assert!(rule.matches("Service > Postage") && rule.matches("FUEL"));
        assert!(!rule.matches("Services") && !rule.matches("FUEL TANK"));
    }
}

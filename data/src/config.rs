//! What a config may say about the data: column names, event weights, and what to leave out.

use crate::{DataError, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The part of the config file that concerns reading. Every field has a default.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// `[columns]`: which column of the files holds which field.
    pub columns: Columns,
    /// `[events.TYPE]`: what an event of this type means.
    pub events: BTreeMap<String, EventRule>,
    /// `[clean]`: what to leave out.
    pub clean: Clean,
}

/// Column names of the events file; those of the other two are in `items` and `users`.
/// A field that is not mapped is looked for under its own name.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// The shopper; null or absent = anonymous.
    pub user_id: Option<String>,
    /// The product. Required.
    pub item_id: Option<String>,
    /// view, cart, purchase, return, …; absent = every row is a purchase.
    pub event_type: Option<String>,
    /// When: any timestamp or date type, or an integer with `timestamp_unit`.
    pub timestamp: Option<String>,
    /// `s`, `ms`, `us` or `ns`: how to read an integer timestamp.
    pub timestamp_unit: Option<String>,
    /// The order or basket that the line belongs to.
    pub order_id: Option<String>,
    /// The visit; stands in for an order where there is no `order_id`.
    pub session_id: Option<String>,
    /// The place of an event within its session, where times do not tell: a whole number.
    pub position: Option<String>,
    /// Units bought.
    pub quantity: Option<String>,
    /// Price paid per unit.
    pub price: Option<String>,
    /// What it was done on: mobile, desktop, ….
    pub device: Option<String>,
    /// Where: a country, a city, a store, or a path `UK > London` from coarse to fine.
    pub location: Option<String>,
    /// What brought the shopper here: search, newsletter, ….
    pub traffic_source: Option<String>,
    /// Further columns that say under what circumstances an event happened, for example `["store_id"]`, each under its own name.
    pub context: Vec<String>,
    /// `[columns.items]`.
    pub items: ItemColumns,
    /// `[columns.users]`.
    pub users: UserColumns,
}

/// Column names of the items file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ItemColumns {
    /// The product. Required.
    pub item_id: Option<String>,
    /// What a shopper would call it: one column, or several joined with ", ".
    pub title: Option<OneOrMore>,
    /// A path `A > B > C`, a list, or several columns from coarse to fine.
    pub category: Option<OneOrMore>,
    /// The current price per unit.
    pub price: Option<String>,
    /// ISO 4217 code; absent = [`ItemColumns::default_currency`].
    pub currency: Option<String>,
    /// The currency of items that name none, for example `GBP`.
    pub default_currency: Option<String>,
    /// The maker.
    pub brand: Option<String>,
    /// Whether it can be bought now; absent = yes.
    pub available: Option<String>,
}

/// Column names of the users file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct UserColumns {
    /// The shopper. Required.
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
    /// The names.
    pub fn names(&self) -> Vec<String> {
        match self {
            OneOrMore::One(name) => vec![name.clone()],
            OneOrMore::More(names) => names.clone(),
        }
    }
}

/// What an event type does in the life of an order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum EventRole {
    /// Looked at.
    View,
    /// Put into the cart.
    Cart,
    /// Bought.
    Purchase,
    /// Brought back.
    Return,
    /// Anything else.
    Other,
}

impl EventRole {
    /// The role that an event type's name suggests, whatever its case and separators.
    pub fn of(event_type: &str) -> Self {
        let plain: String = event_type.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
        match plain.as_str() {
            "view" | "click" | "detail" | "viewitem" | "pageview" | "productview" | "impression" => EventRole::View,
            "cart" | "addtocart" | "cartadd" | "basket" | "add" => EventRole::Cart,
            "purchase" | "buy" | "order" | "transaction" | "sale" | "checkout" => EventRole::Purchase,
            "return" | "refund" | "cancel" | "cancellation" => EventRole::Return,
            _ => EventRole::Other,
        }
    }

    /// Confidence of one event where the config says nothing: a purchase is the unit, a look is worth a tenth.
    pub fn default_weight(self) -> f32 {
        match self {
            EventRole::View => 0.1,
            EventRole::Cart => 0.3,
            EventRole::Purchase | EventRole::Other => 1.0,
            EventRole::Return => -1.0,
        }
    }
}

/// `[events.TYPE]`: the meaning of one event type.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct EventRule {
    /// Confidence added by one event; negative takes away, 0 ignores the type.
    pub weight: Option<f32>,
    /// After so many days an event counts half. Absent = it never fades.
    pub half_life_days: Option<f32>,
    /// What it means to an order, when the name does not say: view, cart, purchase, return, other.
    #[serde(rename = "as")]
    pub role: Option<EventRole>,
}

/// `[clean]`: rows to leave out on purpose, and the limit for faulty ones.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Clean {
    /// Leave out events of items that the items file does not hold.
    pub drop_unknown_items: bool,
    /// Leave out items (and their events) by a column of the items file.
    pub drop_items: Vec<DropRule>,
    /// Leave out events by a column of the events file.
    pub drop_events: Vec<DropRule>,
    /// Keep users of the users file who have no event: a model that knows shoppers by their attributes can answer them.
    pub keep_new_users: bool,
    /// Leave out events with a quantity below this; returns keep theirs.
    pub min_quantity: f64,
    /// Learn only from items that at least so many distinct shoppers touched (in the training part).
    pub min_users_per_item: u32,
    /// Largest share of faulty rows, 0 to 1, with which reading goes on.
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
    /// Texts to match.
    pub values: Vec<String>,
}

impl DropRule {
    /// Whether a value is to be dropped.
    pub fn matches(&self, found: &str) -> bool {
        self.values.iter().any(|value| match value.strip_suffix('*') {
            Some(start) => found.starts_with(start),
            None => found == value,
        })
    }
}

/// Milliseconds in one unit of an integer timestamp, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum EpochUnit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

impl DataConfig {
    /// What an event type means to an order, and the confidence of one event: as its rule says, else as its name suggests.
    pub fn meaning(&self, event_type: &str) -> (EventRole, f32) {
        let rule = self.events.get(event_type);
        let role = rule.and_then(|rule| rule.role).unwrap_or_else(|| EventRole::of(event_type));
        (role, rule.and_then(|rule| rule.weight).unwrap_or_else(|| role.default_weight()))
    }

    /// Checks every range once; what passes here is not checked again.
    ///
    /// # Errors
    /// [`DataError::Setting`] names the first setting outside its range.
    pub fn validate(&self) -> Result<()> {
        let wrong = |name: &str, found: String, expected: &str| {
            Err(DataError::Setting { name: name.into(), found, expected: expected.into() })
        };
        if !(0.0..=1.0).contains(&self.clean.max_set_aside) {
            return wrong("clean.max_set_aside", self.clean.max_set_aside.to_string(), "a share from 0 to 1");
        }
        if !self.clean.min_quantity.is_finite() {
            return wrong("clean.min_quantity", self.clean.min_quantity.to_string(), "a finite number");
        }
        for (kind, rule) in &self.events {
            if let Some(weight) = rule.weight
                && !weight.is_finite()
            {
                return wrong(&format!("events.{kind}.weight"), weight.to_string(), "a finite number");
            }
            if let Some(days) = rule.half_life_days
                && !(days.is_finite() && days > 0.0)
            {
                return wrong(&format!("events.{kind}.half_life_days"), days.to_string(), "a number of days above 0");
            }
        }
        self.epoch_unit().map(|_| ())
    }

    pub(crate) fn epoch_unit(&self) -> Result<Option<EpochUnit>> {
        Ok(Some(match self.columns.timestamp_unit.as_deref() {
            None => return Ok(None),
            Some("s") => EpochUnit::Seconds,
            Some("ms") => EpochUnit::Millis,
            Some("us") => EpochUnit::Micros,
            Some("ns") => EpochUnit::Nanos,
            Some(other) => {
                return Err(DataError::Setting {
                    name: "columns.timestamp_unit".into(),
                    found: format!("\"{other}\""),
                    expected: "\"s\", \"ms\", \"us\" or \"ns\"".into(),
                });
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_shops_mean_the_same() {
        for (name, role) in [
            ("addtocart", EventRole::Cart),
            ("ADD_TO_CART", EventRole::Cart),
            ("transaction", EventRole::Purchase),
            ("Refund", EventRole::Return),
            ("review", EventRole::Other),
        ] {
            assert_eq!(EventRole::of(name), role, "{name}");
        }
    }

    #[test]
    fn a_value_outside_its_range_is_named() {
        let mut config = DataConfig::default();
        config.clean.max_set_aside = 50.0;
        assert!(config.validate().unwrap_err().to_string().contains("clean.max_set_aside = 50"));
        let config = DataConfig {
            columns: Columns { timestamp_unit: Some("minutes".into()), ..Columns::default() },
            ..DataConfig::default()
        };
        assert!(config.validate().is_err());
    }

    #[test]
    fn a_star_matches_every_ending() {
        let rule = DropRule { column: "category".into(), values: vec!["Service > *".into(), "FUEL".into()] };
        assert!(rule.matches("Service > Postage") && rule.matches("FUEL"));
        assert!(!rule.matches("Services") && !rule.matches("FUEL TANK"));
    }
}

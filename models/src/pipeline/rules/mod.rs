//! What the shop decides: rules per placement, checked when they are set.
//!
//! A rule says where it holds (placements, a condition on the request, a span of time) and what it
//! does: it lets only some items through or keeps some out, boosts or buries, pins, limits brands
//! and categories, asks for diversity or rotation, or leaves out what was bought recently. Rules
//! only narrow the eligible items: no rule, pins included, brings in what the request, the stock or
//! the kind of answer keeps out. `compiled.rs` compiles rules for one set of models; `fields.rs`
//! lists what conditions may name.

pub mod compiled;
pub mod fields;

use crate::condition::{Condition, Schema};
use crate::error::{ModelError, Result};
use crate::pipeline::request::Controls;
use aisle_data::parse_time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// All rules, in the order in which they are applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleSet {
    /// The number of this set: every change of the rules adds one.
    pub revision: u64,
    /// The rules.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
}

/// One rule. Effects whose fields are absent do not take place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// The rule's name, unique within its set.
    pub name: String,
    /// Placements or calls (`personal`, `similar`, `cross-sell`, `upsell`, `session`, `buy-again`,
    /// `rank`) where the rule holds; empty = everywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub placements: Vec<String>,
    /// The requests for which the rule holds: a condition on `user.…`, `context.…` and `anchor.…`
    /// (the item that the request is about).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The time from which the rule holds: `2026-12-01` or `2026-12-01T18:00:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The time from which the rule no longer holds, written as `from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// A condition on `item.…`: only items that match it pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// A condition on `item.…`: items that match it do not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
    /// Items whose relevance is multiplied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boost: Option<Boost>,
    /// Items at fixed positions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// Leaves out what the shopper bought recently.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_bought: Option<ExcludeBought>,
    /// As [`Controls::max_per_brand`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_brand: Option<u32>,
    /// As [`Controls::max_per_category`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_category: Option<u32>,
    /// As [`Controls::diversity`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diversity: Option<f32>,
    /// As [`Controls::rotation`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<f32>,
    /// As [`Controls::min_relevance`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_relevance: Option<f32>,
}

/// Items whose relevance is multiplied by `factor`: above 1 boosts, below 1 buries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boost {
    /// A condition on `item.…`.
    pub items: String,
    /// .01 to 100.
    pub factor: f32,
}

/// An item at a fixed position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The item's id.
    pub item_id: String,
    /// The position in the answer, 1 to 100.
    pub position: u32,
}

/// What the shopper bought within some days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExcludeBought {
    /// Days back from the time of the request.
    pub days: f32,
    /// A condition on `item.…`: only such items are left out, for example
    /// `item.category : "Home > Appliances"`. Absent = all items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
}

/// Most rules of a set.
const MAX_RULES: usize = 200;
/// Longest name of a rule, in bytes.
const LONGEST_NAME: usize = 100;
/// Last position of a pin.
const LAST_POSITION: u32 = 100;
/// The calls that rules may name; any other name is a placement of the shop's own.
pub const CALLS: [&str; 7] = [
    "personal",
    "similar",
    "cross-sell",
    "upsell",
    "session",
    "buy-again",
    "rank",
];

impl Rule {
    /// How the rule wants an answer reranked.
    pub fn controls(&self) -> Controls {
        Controls {
            max_per_brand: self.max_per_brand,
            max_per_category: self.max_per_category,
            diversity: self.diversity,
            rotation: self.rotation,
            min_relevance: self.min_relevance,
        }
    }

    /// The conditions of the rule with the names of their fields and what they may name.
    fn conditions<'a>(
        &'a self,
        items: &'a Schema,
        requests: &'a Schema,
    ) -> impl Iterator<Item = (&'static str, &'a String, &'a Schema)> {
        let boosted = self.boost.as_ref().map(|boost| &boost.items);
        let bought = self
            .exclude_bought
            .as_ref()
            .and_then(|bought| bought.items.as_ref());
        let conditions = [
            ("when", self.when.as_ref(), requests),
            ("only", self.only.as_ref(), items),
            ("exclude", self.exclude.as_ref(), items),
            ("boost.items", boosted, items),
            ("exclude_bought.items", bought, items),
        ];
        conditions
            .into_iter()
            .filter_map(|(field, text, schema)| Some((field, text?, schema)))
    }

    /// Says what is wrong with the rule alone: its name, ranges and conditions.
    fn check(&self, items: &Schema, requests: &Schema) -> std::result::Result<(), String> {
        if self.name.trim().is_empty() || self.name.len() > LONGEST_NAME {
            return Err(format!("a name of 1 to {LONGEST_NAME} bytes is expected"));
        }
        for (field, text) in [("from", &self.from), ("until", &self.until)] {
            if let Some(text) = text.as_ref().filter(|text| parse_time(text).is_none()) {
                let expected = "2026-12-01 or 2026-12-01T18:00:00Z";
                return Err(format!("{field} = '{text}': expected {expected}"));
            }
        }
        for (field, text, schema) in self.conditions(items, requests) {
            Condition::parse(text, schema).map_err(|error| format!("{field}: {error}"))?;
        }
        if let Some(Boost { factor, .. }) = self.boost
            && !(0.01..=100.0).contains(&factor)
        {
            return Err(format!(
                "boost.factor = {factor}: expected .01 to 100, below 1 to bury"
            ));
        }
        if let Some(ExcludeBought { days, .. }) = self.exclude_bought
            && !(days > 0.0 && days <= 3650.0)
        {
            return Err(format!(
                "exclude_bought.days = {days}: expected above 0, at most 3650"
            ));
        }
        for Pin { item_id, position } in &self.pins {
            if !(1..=LAST_POSITION).contains(position) {
                let expected = format!("expected 1 to {LAST_POSITION}");
                return Err(format!(
                    "pins: position {position} of {item_id}: {expected}"
                ));
            }
        }
        self.controls().check()?;
        if !self.has_effect() {
            return Err(
                "it does nothing: give only, exclude, boost, pins, exclude_bought, \
                        max_per_brand, max_per_category, diversity, rotation or min_relevance"
                    .into(),
            );
        }
        Ok(())
    }

    fn has_effect(&self) -> bool {
        self.only.is_some()
            || self.exclude.is_some()
            || self.boost.is_some()
            || self.exclude_bought.is_some()
            || !self.pins.is_empty()
            || self.controls() != Controls::default()
    }
}

impl RuleSet {
    /// Checks every rule: names, ranges, and conditions against the fields of items and requests.
    ///
    /// # Errors
    /// [`ModelError::Rule`] names the rule and what is wrong with it.
    pub fn check(&self, items: &Schema, requests: &Schema) -> Result<()> {
        if self.rules.len() > MAX_RULES {
            let detail = format!("{} rules: expected at most {MAX_RULES}", self.rules.len());
            return Err(ModelError::Rule {
                rule: "all".into(),
                detail,
            });
        }
        let mut names = BTreeSet::new();
        for rule in &self.rules {
            let fault = |detail: String| ModelError::Rule {
                rule: rule.name.clone(),
                detail,
            };
            rule.check(items, requests).map_err(fault)?;
            if !names.insert(&rule.name) {
                return Err(fault("two rules have this name".into()));
            }
        }
        Ok(())
    }

    /// These rules, then those of another set; of two with one name, the other set's.
    #[must_use]
    pub fn with(&self, over: &RuleSet) -> RuleSet {
        let is_kept = |rule: &&Rule| !over.rules.iter().any(|other| other.name == rule.name);
        let rules = self
            .rules
            .iter()
            .filter(is_kept)
            .chain(&over.rules)
            .cloned()
            .collect();
        RuleSet {
            revision: over.revision,
            rules,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::FieldType;

    fn schemas() -> (Schema, Schema) {
        (
            Schema::new([("item.price", FieldType::Number)]),
            Schema::new([("user.known", FieldType::Flag)]).with_prefix("context."),
        )
    }

    fn set(text: &str) -> Result<RuleSet> {
        let set: RuleSet = serde_json::from_str(text).unwrap();
        let (items, requests) = schemas();
        set.check(&items, &requests).map(|()| set)
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused_by_name() {
        for (text, hint) in [
            (r#"{"rule": [{"name": "a"}]}"#, "does nothing"),
            (r#"{"rule": [{"name": "", "diversity": 0.2}]}"#, "name"),
            (r#"{"rule": [{"name": "a", "diversity": 2.0}]}"#, "0 to 1"),
            (
                r#"{"rule": [{"name": "a", "max_per_brand": 0}]}"#,
                "1 or more",
            ),
            (
                r#"{"rule": [{"name": "a", "only": "item.prize < 3"}]}"#,
                "column 1",
            ),
            (
                r#"{"rule": [{"name": "a", "when": "item.price < 3", "diversity": 0.2}]}"#,
                "context.",
            ),
            (
                r#"{"rule": [{"name": "a", "boost": {"items": "item.price < 3", "factor": 0.0}}]}"#,
                "factor",
            ),
            (
                r#"{"rule": [{"name": "a", "from": "tomorrow", "diversity": 0.2}]}"#,
                "2026-12-01",
            ),
            (
                r#"{"rule": [{"name": "a", "pins": [{"item_id": "x", "position": 0}]}]}"#,
                "1 to 100",
            ),
            (
                r#"{"rule": [{"name": "a", "diversity": 0.2}, {"name": "a", "rotation": 0.2}]}"#,
                "two rules",
            ),
        ] {
            let error = set(text).unwrap_err().to_string();
            assert!(
                error.contains(hint) && error.contains("rule"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn rules_survive_writing_and_the_later_of_one_name_stands() {
        let base = set(r#"{"rule": [{"name": "a", "diversity": 0.2},
                         {"name": "b", "only": "item.price < 3"}]}"#)
        .unwrap();
        let over =
            set(r#"{"revision": 7, "rule": [{"name": "a", "rotation": 0.5, "max_per_brand": 2}]}"#)
                .unwrap();
        let both = base.with(&over);
        assert_eq!(
            both.rules
                .iter()
                .map(|rule| rule.name.as_str())
                .collect::<Vec<_>>(),
            ["b", "a"]
        );
        assert_eq!((both.revision, both.rules[1].max_per_brand), (7, Some(2)));
        let written = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<RuleSet>(&written).unwrap(), both);
        assert!(!written.contains("null"), "{written}");
    }
}

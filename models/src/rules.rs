//! What the shop decides: rules per placement, checked when they are set, compiled once a version, and applied to every answer.
//!
//! A rule says where it holds (placements, a condition on who asks and when, a span of time) and what it does: lets only some items through or
//! keeps some out, lifts or buries, pins, bounds brands and categories, asks for variety or rotation, leaves out what was bought lately. Rules
//! only ever narrow the gate: nothing that a request, the stock or the kind of answer keeps out comes in by a rule, pins included.

use crate::answer::Applied;
use crate::bitmap::Bitmap;
use crate::bundle::Bundle;
use crate::condition::{Condition, Kind, Schema, Value};
use crate::context::{Circumstances, ContextModel, visitor_state};
use crate::shelf::Shelf;
use crate::{ModelError, Result};
use aisle_data::parse_moment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// All rules, in the order in which they are looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleSet {
    /// Counts the changes; the number of these rules.
    pub revision: u64,
    /// The rules.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
}

/// One rule. What is absent it does not do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Its name, unique.
    pub name: String,
    /// Placements or calls (`personal`, `similar`, `cross-sell`, `upsell`, `session`, `buy-again`, `rank`) where it holds; empty = all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub placements: Vec<String>,
    /// Who must be asking: a condition on `user.…`, `context.…` and `anchor.…` (the item that was asked about).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// It holds from this moment on: `2026-12-01` or `2026-12-01T18:00:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// And before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Only items of this condition on `item.…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// No items of this condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
    /// Lifts items, or buries them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boost: Option<Boost>,
    /// Items at fixed places.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// Leaves out what the shopper bought lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_bought: Option<Bought>,
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

impl Rule {
    /// How it wants an answer arranged.
    pub fn controls(&self) -> Controls {
        let &Self { max_per_brand, max_per_category, diversity, rotation, min_relevance, .. } = self;
        Controls { max_per_brand, max_per_category, diversity, rotation, min_relevance }
    }
}

/// Items whose relevance counts `factor` times: above 1 lifts, below 1 buries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boost {
    /// A condition on `item.…`.
    pub items: String,
    /// .01 to 100.
    pub factor: f32,
}

/// An item at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The item's id.
    pub item_id: String,
    /// From 1.
    pub position: u32,
}

/// What was bought within some days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bought {
    /// Days back.
    pub days: f32,
    /// A condition on `item.…`: of these only, for example `item.category : "Home > Appliances"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
}

/// How an answer is arranged. Of several that hold, the strictest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Controls {
    /// Items of one brand, at most.
    pub max_per_brand: Option<u32>,
    /// Items of one category path, at most.
    pub max_per_category: Option<u32>,
    /// 0 to 1: what unlikeness to the items above counts beside relevance (maximal marginal relevance, Carbonell and Goldstein 1998).
    pub diversity: Option<f32>,
    /// 0 to 1: how much the order changes by itself from day to day, for each shopper differently. At 1 an item of half the best one's
    /// relevance stands above it on every third day.
    pub rotation: Option<f32>,
    /// 0 to 1: no item whose relevance is below this share of the best one's. Fewer come back then.
    pub min_relevance: Option<f32>,
}

impl Controls {
    /// Of two, the strictest.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        let most = |a: Option<f32>, b: Option<f32>| a.into_iter().chain(b).reduce(f32::max);
        Self {
            max_per_brand: least(self.max_per_brand, other.max_per_brand),
            max_per_category: least(self.max_per_category, other.max_per_category),
            diversity: most(self.diversity, other.diversity),
            rotation: most(self.rotation, other.rotation),
            min_relevance: most(self.min_relevance, other.min_relevance),
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// What was found and what was expected.
    pub fn check(&self) -> std::result::Result<(), String> {
        for (name, share) in [("diversity", self.diversity), ("rotation", self.rotation), ("min_relevance", self.min_relevance)] {
            if let Some(share) = share.filter(|share| !(0.0..=1.0).contains(share)) {
                return Err(format!("{name} = {share}: expected 0 to 1"));
            }
        }
        for (name, most) in [("max_per_brand", self.max_per_brand), ("max_per_category", self.max_per_category)] {
            if most == Some(0) {
                return Err(format!("{name} = 0: expected 1 or more; to keep items out, exclude them"));
            }
        }
        Ok(())
    }
}

/// Rules at most.
const MOST: usize = 200;
/// The last place of a pin.
const LAST_PIN: u32 = 100;
/// The calls that rules may name; any other name is a placement of the shop's own.
pub const CALLS: [&str; 7] = ["personal", "similar", "cross-sell", "upsell", "session", "buy-again", "rank"];

impl RuleSet {
    /// Checks every rule: names, ranges, and conditions against what can be known of items and of who asks.
    ///
    /// # Errors
    /// [`ModelError::Rule`] names the rule and what is wrong with it.
    pub fn check(&self, items: &Schema, askers: &Schema) -> Result<()> {
        let fault = |rule: &Rule, detail: String| ModelError::Rule { rule: rule.name.clone(), detail };
        if self.rules.len() > MOST {
            return Err(ModelError::Rule {
                rule: "all".into(),
                detail: format!("{} rules: expected at most {MOST}", self.rules.len()),
            });
        }
        let mut names = BTreeSet::new();
        for rule in &self.rules {
            if rule.name.trim().is_empty() || rule.name.len() > 100 {
                return Err(fault(rule, "a name of 1 to 100 bytes is expected".into()));
            }
            if !names.insert(&rule.name) {
                return Err(fault(rule, "two rules have this name".into()));
            }
            for (field, moment) in [("from", &rule.from), ("until", &rule.until)] {
                if let Some(text) = moment
                    && parse_moment(text).is_none()
                {
                    return Err(fault(rule, format!("{field} = '{text}': expected 2026-12-01 or 2026-12-01T18:00:00Z")));
                }
            }
            let conditions = [
                ("when", rule.when.as_ref(), askers),
                ("only", rule.only.as_ref(), items),
                ("exclude", rule.exclude.as_ref(), items),
                ("boost.items", rule.boost.as_ref().map(|boost| &boost.items), items),
                ("exclude_bought.items", rule.exclude_bought.as_ref().and_then(|bought| bought.items.as_ref()), items),
            ];
            for (field, text, schema) in conditions {
                if let Some(text) = text {
                    Condition::parse(text, schema).map_err(|error| fault(rule, format!("{field}: {error}")))?;
                }
            }
            if let Some(boost) = rule.boost.as_ref().filter(|boost| !(0.01..=100.0).contains(&boost.factor)) {
                return Err(fault(rule, format!("boost.factor = {}: expected .01 to 100, below 1 to bury", boost.factor)));
            }
            if let Some(bought) = rule.exclude_bought.as_ref().filter(|bought| !(bought.days > 0.0 && bought.days <= 3650.0)) {
                return Err(fault(rule, format!("exclude_bought.days = {}: expected above 0, at most 3650", bought.days)));
            }
            if let Some(pin) = rule.pins.iter().find(|pin| !(1..=LAST_PIN).contains(&pin.position)) {
                return Err(fault(rule, format!("pins: position {} of {}: expected 1 to {LAST_PIN}", pin.position, pin.item_id)));
            }
            rule.controls().check().map_err(|detail| fault(rule, detail))?;
            let does = rule.only.is_some() || rule.exclude.is_some() || rule.boost.is_some() || rule.exclude_bought.is_some();
            if !does && rule.pins.is_empty() && rule.controls() == Controls::default() {
                let detail = "it does nothing: give only, exclude, boost, pins, exclude_bought, max_per_brand, max_per_category, \
                              diversity, rotation or min_relevance";
                return Err(fault(rule, detail.into()));
            }
        }
        Ok(())
    }

    /// These rules, then those of another set; of two with one name, the other's.
    #[must_use]
    pub fn with(&self, over: &RuleSet) -> RuleSet {
        let replaced = |rule: &&Rule| !over.rules.iter().any(|other| other.name == rule.name);
        let rules = self.rules.iter().filter(replaced).chain(&over.rules).cloned().collect();
        RuleSet { revision: over.revision, rules }
    }
}

/// A rule as one version sees it.
struct Compiled {
    rule: Rule,
    /// `Some(None)` cannot hold in this version.
    when: Option<Option<Condition>>,
    span: (i64, i64),
    only: Option<Bitmap>,
    exclude: Option<Bitmap>,
    boosted: Option<Bitmap>,
    bought: Option<Bitmap>,
    pins: Vec<(usize, u32)>,
}

/// The rules as one version sees them.
#[derive(Default)]
pub(crate) struct Compendium {
    set: Arc<RuleSet>,
    rules: Vec<Compiled>,
    /// Some condition looks at prices or stock, which change.
    pub by_shelf: bool,
}

impl Compendium {
    pub fn of(bundle: &Bundle, set: &Arc<RuleSet>, shelf: &Shelf) -> Self {
        let (items, askers) = (bundle.item_schema(), bundle.asker_schema());
        let mut by_shelf = false;
        let mut chosen = |text: Option<&String>| {
            // Checked before; what another version's catalogue lacks is absent there, and an absent value passes nothing.
            let condition = Condition::parse(text?, &items.clone().with_any("item."));
            let Ok(condition) = condition else { return Some(Bitmap::filled(bundle.items.len(), false)) };
            by_shelf |= condition.fields().iter().any(|field| ["item.price", "item.available"].contains(field));
            Some(bundle.items_where(&condition, shelf))
        };
        let compile = |rule: &Rule| Compiled {
            only: chosen(rule.only.as_ref()),
            exclude: chosen(rule.exclude.as_ref()),
            boosted: chosen(rule.boost.as_ref().map(|boost| &boost.items)),
            bought: chosen(rule.exclude_bought.as_ref().and_then(|bought| bought.items.as_ref())),
            when: rule.when.as_ref().map(|text| Condition::parse(text, &askers.clone().with_any("user.").with_any("anchor.")).ok()),
            span: (
                rule.from.as_deref().and_then(parse_moment).unwrap_or(i64::MIN),
                rule.until.as_deref().and_then(parse_moment).unwrap_or(i64::MAX),
            ),
            pins: rule.pins.iter().filter_map(|pin| Some((pin.position as usize, bundle.items.get(&pin.item_id)?))).collect(),
            rule: rule.clone(),
        };
        let rules = set.rules.iter().map(compile).collect();
        Self { set: set.clone(), rules, by_shelf }
    }

    /// The rules that were compiled.
    pub fn set(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// What holds for one request.
    pub fn ruling<'a>(&'a self, bundle: &Bundle, asked: &Asked) -> Ruling<'a> {
        let applied = Applied { set: self.set.clone(), held: Vec::new() };
        let mut ruling = Ruling { controls: asked.scene.controls, applied, ..Ruling::default() };
        for (number, compiled) in self.rules.iter().enumerate() {
            let rule = &compiled.rule;
            let placed = rule.placements.is_empty()
                || rule.placements.iter().any(|name| *name == asked.scene.placement || name == asked.call);
            let timely = compiled.span == (i64::MIN, i64::MAX)
                || asked.scene.time.is_some_and(|time| (compiled.span.0..compiled.span.1).contains(&time));
            if !placed || !timely {
                continue;
            }
            let holds = |when: &Condition| when.holds(&|field| bundle.asker_value(asked, field));
            if compiled.when.as_ref().is_some_and(|when| !when.as_ref().is_some_and(holds)) {
                continue;
            }
            ruling.applied.held.push(number as u32);
            ruling.only.extend(&compiled.only);
            ruling.exclude.extend(&compiled.exclude);
            if let (Some(set), Some(boost)) = (&compiled.boosted, &rule.boost) {
                ruling.boosts.push((set, boost.factor));
            }
            if let Some(bought) = &rule.exclude_bought {
                ruling.bought.push((bought.days, compiled.bought.as_ref()));
            }
            ruling.pins.extend(&compiled.pins);
            ruling.controls = ruling.controls.and(rule.controls());
        }
        ruling.pins.sort_by_key(|pin| pin.0);
        ruling
    }
}

/// What holds for one request.
#[derive(Default)]
pub(crate) struct Ruling<'a> {
    pub only: Vec<&'a Bitmap>,
    pub exclude: Vec<&'a Bitmap>,
    pub boosts: Vec<(&'a Bitmap, f32)>,
    /// Days, and of which items.
    pub bought: Vec<(f32, Option<&'a Bitmap>)>,
    /// Place from 1, and item, by place.
    pub pins: Vec<(usize, u32)>,
    pub controls: Controls,
    pub applied: Applied,
}

impl Ruling<'_> {
    /// Whether the order of an answer, or which items are in it, is not left as the model has it.
    pub fn arranges(&self) -> bool {
        !self.boosts.is_empty() || !self.pins.is_empty() || self.controls != Controls::default()
    }
}

/// What surrounds a question.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// The shop's name for the place where the answer is shown; empty = the call's.
    pub placement: String,
    /// Device, location and the like.
    pub circumstances: Circumstances,
    /// How the request wants the answer arranged.
    pub controls: Controls,
    /// Milliseconds since 1970; rules with a span hold only where there is a time.
    pub time: Option<i64>,
    /// Who sees the answer, known or not: rotation differs by it.
    pub viewer: String,
    /// Nobody is told why an item is in the answer.
    pub without_reasons: bool,
}

/// Who asks for what, as rules see it.
pub(crate) struct Asked<'a> {
    pub call: &'static str,
    pub scene: &'a Scene,
    pub user: Option<u32>,
    /// The item that was asked about.
    pub anchor: Option<u32>,
}

impl Bundle {
    /// The fields of an item that conditions may name.
    pub fn item_schema(&self) -> Schema {
        let mut schema = Schema::new([
            ("item.id", Kind::Text),
            ("item.title", Kind::Text),
            ("item.category", Kind::Path),
            ("item.brand", Kind::Text),
            ("item.price", Kind::Number),
            ("item.currency", Kind::Text),
            ("item.available", Kind::Flag),
        ]);
        for (name, _) in &self.catalog.attributes {
            schema = schema.with(format!("item.{name}"), Kind::Text);
        }
        schema
    }

    /// The fields of who asks, and of what is asked about, that conditions may name.
    pub fn asker_schema(&self) -> Schema {
        let mut schema = Schema::new([("user.known", Kind::Flag), ("user.segments", Kind::List)]).with_any("context.");
        for (name, _) in self.user_attributes() {
            schema = schema.with(format!("user.{name}"), Kind::Text);
        }
        for (field, kind) in [
            ("id", Kind::Text),
            ("title", Kind::Text),
            ("category", Kind::Path),
            ("brand", Kind::Text),
            ("price", Kind::Number),
            ("currency", Kind::Text),
        ] {
            schema = schema.with(format!("anchor.{field}"), kind);
        }
        for (name, _) in &self.catalog.attributes {
            schema = schema.with(format!("anchor.{name}"), Kind::Text);
        }
        schema
    }

    /// The items for which a condition holds, as prices and stock are. O(items · tests).
    pub fn items_where(&self, condition: &Condition, shelf: &Shelf) -> Bitmap {
        Bitmap::of(self.items.len(), |item| {
            condition.holds(&|field| self.item_value(item, field.strip_prefix("item.").unwrap_or(field), shelf))
        })
    }

    /// Adds to what is known of a moment what follows from it, unless it is said: the part of the day, and what a known shopper is to the
    /// shop. `local` is milliseconds since 1970 on the shopper's clock.
    pub fn surmise(&self, circumstances: &mut Circumstances, user: Option<u32>, local: i64) {
        circumstances.entry("daypart".into()).or_insert_with(|| ContextModel::daypart(local).into());
        if let Some(user) = user {
            let (end, last) = (self.habits().end(), self.habits().last(user));
            // What happened after the log's end is not known: who was active at its end is not lapsed by the log's age alone.
            let now = if end > 0.0 { f64::from(end) * 86_400_000.0 } else { 0.0 } as i64;
            let last = last.map_or(now, |last| (f64::from(last) * 86_400_000.0) as i64);
            let state = visitor_state(Some(last), !self.bought(user).is_empty(), now, self.context_model().lapsed_days());
            circumstances.entry("visitor_state".into()).or_insert_with(|| state.into());
        }
    }

    fn item_value(&self, item: u32, field: &str, shelf: &Shelf) -> Option<Value<'_>> {
        let catalog = &self.catalog;
        match field {
            "id" => Some(Value::Text(self.items.id(item))),
            "title" => catalog.title.get(item).map(Value::Text),
            "category" => catalog.category.get(item).map(Value::Text),
            "brand" => catalog.brand.get(item).map(Value::Text),
            "currency" => catalog.currency.get(item).map(Value::Text),
            "price" => Some(shelf.price(catalog, item)).filter(|price| !price.is_nan()).map(|price| Value::Number(exact(price))),
            "available" => Some(Value::Flag(shelf.available().contains(item))),
            _ => {
                let (_, labels) = catalog.attributes.iter().find(|(name, _)| name == field)?;
                labels.get(item).map(Value::Text)
            }
        }
    }

    fn asker_value<'a>(&'a self, asked: &Asked<'a>, field: &str) -> Option<Value<'a>> {
        if let Some(dimension) = field.strip_prefix("context.") {
            return asked.scene.circumstances.get(dimension).map(|value| Value::Text(value));
        }
        if let Some(of_item) = field.strip_prefix("anchor.") {
            return self.item_value(asked.anchor?, of_item, &self.shelf());
        }
        match field {
            "user.known" => Some(Value::Flag(asked.user.is_some())),
            "user.segments" => Some(Value::Texts(self.segments_of(asked.user?))),
            _ => {
                let name = field.strip_prefix("user.")?;
                let (_, labels) = self.user_attributes().iter().find(|(known, _)| known == name)?;
                labels.get(asked.user?).map(Value::Text)
            }
        }
    }
}

/// A price as it is written: 1.6 is at most 1.6, and the nearest 32-bit number to it is not.
fn exact(price: f32) -> f64 {
    (f64::from(price) * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas() -> (Schema, Schema) {
        (Schema::new([("item.price", Kind::Number)]), Schema::new([("user.known", Kind::Flag)]).with_any("context."))
    }

    fn set(text: &str) -> Result<RuleSet> {
        let set: RuleSet = serde_json::from_str(text).unwrap();
        let (items, askers) = schemas();
        set.check(&items, &askers).map(|()| set)
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused_by_name() {
        for (text, hint) in [
            (r#"{"rule": [{"name": "a"}]}"#, "does nothing"),
            (r#"{"rule": [{"name": "", "diversity": 0.2}]}"#, "name"),
            (r#"{"rule": [{"name": "a", "diversity": 2.0}]}"#, "0 to 1"),
            (r#"{"rule": [{"name": "a", "max_per_brand": 0}]}"#, "1 or more"),
            (r#"{"rule": [{"name": "a", "only": "item.prize < 3"}]}"#, "column 1"),
            (r#"{"rule": [{"name": "a", "when": "item.price < 3", "diversity": 0.2}]}"#, "context."),
            (r#"{"rule": [{"name": "a", "boost": {"items": "item.price < 3", "factor": 0.0}}]}"#, "factor"),
            (r#"{"rule": [{"name": "a", "from": "tomorrow", "diversity": 0.2}]}"#, "2026-12-01"),
            (r#"{"rule": [{"name": "a", "pins": [{"item_id": "x", "position": 0}]}]}"#, "1 to 100"),
            (r#"{"rule": [{"name": "a", "diversity": 0.2}, {"name": "a", "rotation": 0.2}]}"#, "two rules"),
        ] {
            let error = set(text).unwrap_err().to_string();
            assert!(error.contains(hint) && error.contains("rule"), "{text}: {error}");
        }
    }

    #[test]
    fn rules_survive_writing_and_the_later_of_one_name_stands() {
        let base = set(r#"{"rule": [{"name": "a", "diversity": 0.2}, {"name": "b", "only": "item.price < 3"}]}"#).unwrap();
        let over = set(r#"{"revision": 7, "rule": [{"name": "a", "rotation": 0.5, "max_per_brand": 2}]}"#).unwrap();
        let both = base.with(&over);
        assert_eq!(both.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!((both.revision, both.rules[1].max_per_brand), (7, Some(2)));
        let written = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<RuleSet>(&written).unwrap(), both);
        assert!(!written.contains("null"), "{written}");
    }
}

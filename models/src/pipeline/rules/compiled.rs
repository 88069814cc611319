//! Rules compiled for one set of fitted models and one state of the catalogue, and which of them
//! hold for a request.

use crate::condition::Condition;
use crate::fitted_models::FittedModels;
use crate::pipeline::live_catalog::LiveCatalog;
use crate::pipeline::request::Controls;
use crate::pipeline::response::AppliedRules;
use crate::pipeline::rules::fields::{
    RuleContext, item_fields, items_matching, request_fields, request_value,
};
use crate::pipeline::rules::{Rule, RuleSet};
use aisle_data::parse_time;
use aisle_retrieval::bitmap::Bitmap;
use std::sync::Arc;

/// The time span of a rule without `from` and `until`.
const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);
/// Fields of items whose values change while a version serves.
const LIVE_FIELDS: [&str; 2] = ["item.price", "item.available"];

/// One rule with its conditions evaluated over the catalogue.
struct CompiledRule {
    rule: Rule,
    /// The parsed condition; `Some(None)` never holds for these models.
    when: Option<Option<Condition>>,
    /// Milliseconds since 1970, the end not included.
    span: (i64, i64),
    only: Option<Bitmap>,
    exclude: Option<Bitmap>,
    boosted: Option<Bitmap>,
    bought: Option<Bitmap>,
    /// Position from 1, and item row.
    pins: Vec<(usize, u32)>,
}

/// A set of rules, compiled.
#[derive(Default)]
pub struct CompiledRules {
    set: Arc<RuleSet>,
    rules: Vec<CompiledRule>,
    /// Whether a condition looks at prices or stock, so that the rules must be compiled again when
    /// these change.
    pub(crate) reads_live_values: bool,
}

impl CompiledRules {
    /// Compiles rules. O(conditions · items).
    pub(crate) fn of(models: &FittedModels, catalog: &LiveCatalog, set: &Arc<RuleSet>) -> Self {
        let (items, requests) = (item_fields(models), request_fields(models));
        let mut reads_live_values = false;
        let mut matching = |text: Option<&String>| {
            // The text was checked when the rule was set. A field that this version's catalogue
            // lacks is absent there, and an absent value matches nothing.
            let condition = Condition::parse(text?, &items.clone().with_prefix("item."));
            let Ok(condition) = condition else {
                return Some(Bitmap::filled(models.items.len(), false));
            };
            reads_live_values |= condition
                .fields()
                .iter()
                .any(|field| LIVE_FIELDS.contains(field));
            Some(items_matching(models, catalog, &condition))
        };
        let when = |text: &String| {
            Condition::parse(
                text,
                &requests.clone().with_prefix("user.").with_prefix("anchor."),
            )
            .ok()
        };
        let compile = |rule: &Rule| CompiledRule {
            only: matching(rule.only.as_ref()),
            exclude: matching(rule.exclude.as_ref()),
            boosted: matching(rule.boost.as_ref().map(|boost| &boost.items)),
            bought: matching(
                rule.exclude_bought
                    .as_ref()
                    .and_then(|bought| bought.items.as_ref()),
            ),
            when: rule.when.as_ref().map(when),
            span: (
                rule.from
                    .as_deref()
                    .and_then(parse_time)
                    .unwrap_or(ALWAYS.0),
                rule.until
                    .as_deref()
                    .and_then(parse_time)
                    .unwrap_or(ALWAYS.1),
            ),
            pins: rule
                .pins
                .iter()
                .filter_map(|pin| Some((pin.position as usize, models.items.get(&pin.item_id)?)))
                .collect(),
            rule: rule.clone(),
        };
        let rules = set.rules.iter().map(compile).collect();
        Self {
            set: set.clone(),
            rules,
            reads_live_values,
        }
    }

    /// The rules that were compiled.
    pub fn set(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// The rules that hold for one request.
    pub(crate) fn active(
        &self,
        models: &FittedModels,
        catalog: &LiveCatalog,
        asked: &RuleContext,
    ) -> ActiveRules<'_> {
        let applied = AppliedRules {
            set: self.set.clone(),
            applied: Vec::new(),
        };
        let mut active = ActiveRules {
            controls: asked.context.controls,
            applied,
            ..ActiveRules::default()
        };
        for (number, compiled) in self.rules.iter().enumerate() {
            if !compiled.holds(models, catalog, asked) {
                continue;
            }
            let rule = &compiled.rule;
            active.applied.applied.push(number as u32);
            active.only.extend(&compiled.only);
            active.exclude.extend(&compiled.exclude);
            if let (Some(set), Some(boost)) = (&compiled.boosted, &rule.boost) {
                active.boosts.push((set, boost.factor));
            }
            if let Some(bought) = &rule.exclude_bought {
                active.bought.push((bought.days, compiled.bought.as_ref()));
            }
            active.pins.extend(&compiled.pins);
            active.controls = active.controls.stricter(rule.controls());
        }
        active.pins.sort_by_key(|pin| pin.0);
        active
    }
}

impl CompiledRule {
    fn holds(&self, models: &FittedModels, catalog: &LiveCatalog, asked: &RuleContext) -> bool {
        let placements = &self.rule.placements;
        let is_here = |name: &String| *name == asked.context.placement || name == asked.call;
        let in_time = |time: i64| (self.span.0..self.span.1).contains(&time);
        if !placements.is_empty() && !placements.iter().any(is_here) {
            return false;
        }
        if self.span != ALWAYS && !asked.context.time.is_some_and(in_time) {
            return false;
        }
        match &self.when {
            None => true,
            Some(None) => false,
            Some(Some(when)) => when.holds(&|field| request_value(models, catalog, asked, field)),
        }
    }
}

/// What the rules that hold for one request do, together with the request's own controls.
#[derive(Default)]
pub(crate) struct ActiveRules<'a> {
    /// Only items of all these sets pass.
    pub only: Vec<&'a Bitmap>,
    /// Items of these sets do not pass.
    pub exclude: Vec<&'a Bitmap>,
    /// Sets whose items have their relevance multiplied.
    pub boosts: Vec<(&'a Bitmap, f32)>,
    /// What was bought within so many days is left out, of a set of items or of all.
    pub bought: Vec<(f32, Option<&'a Bitmap>)>,
    /// Position from 1 and item row, by position.
    pub pins: Vec<(usize, u32)>,
    /// How the answer is reranked.
    pub controls: Controls,
    /// Which rules these are.
    pub applied: AppliedRules,
}

impl ActiveRules<'_> {
    /// Whether the models' order of the eligible items is changed.
    pub fn reranks(&self) -> bool {
        !self.boosts.is_empty() || !self.pins.is_empty() || self.controls != Controls::default()
    }
}

//! What rules cost: the served personal answers of `evaluate --rules`, with all rules, with none,
//! and with each alone.

use super::compare::{Comparison, Method, ServedModels, scored_items};
use super::{Check, Evaluation, TrainTestSplit, test_choices};
use crate::report::count;
use crate::settings::Settings;
use aisle_models::{
    Answer, LiveState, RequestContext, RuleSet, Scored, UserRequest, infer_context, item_fields,
    recommend_for_user, request_fields,
};
use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Reads rules: a TOML file of `[[rule]]`s. What they say of items and shoppers is checked when
/// they are measured.
///
/// # Errors
/// Names the file and what is wrong in it.
pub fn read(path: &Path) -> Result<RuleSet> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the rules {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not a file of [[rule]]s", path.display()))
}

/// A shopper, and what they bought in the test part and not before, ascending.
type Question = (u32, Vec<u32>);

/// Measures what rules cost.
///
/// Each shopper with events in both parts is asked about as at the end of the training part,
/// without what they had before. Relevant is what they bought later and not before. The answers are
/// made once without rules, once with all, and once with each rule alone. A check counts the
/// answers that are shorter than without rules.
///
/// # Errors
/// What the fits return; a rule that names an unknown field; a test part in which nobody can be
/// measured.
pub fn rules(
    parts: &TrainTestSplit,
    settings: &Settings,
    rules: &RuleSet,
    placement: &str,
    k: usize,
) -> Result<Evaluation> {
    let served = ServedModels::fit(parts, settings)?;
    let models = &served.models;
    rules.check(&item_fields(models), &request_fields(models))?;
    let choices = test_choices(&parts.test, &models.users, &models.items);
    let mut questions: Vec<Question> = Vec::new();
    for (user, mut items) in choices.by_user {
        if models.history(user).items.is_empty() {
            continue;
        }
        items.retain(|item| models.purchased(user).binary_search(item).is_err());
        if !items.is_empty() {
            questions.push((user, items));
        }
    }
    if questions.is_empty() {
        bail!(
            "no shopper of the test part has both events in the training part and something new \
             after it: choose another split"
        );
    }
    let time = parts.test.span().map(|(first, _)| first);
    let comparison = Comparison::new(
        &questions,
        |question| &question.1,
        |question| question.0,
        served.population(),
        k,
    );
    let mut run = Run {
        served: &served,
        placement,
        time,
        comparison,
        lengths_without_rules: Vec::new(),
        checks: Vec::new(),
    };
    run.measure("no rules".into(), RuleSet::default());
    run.measure("all rules".into(), rules.clone());
    for rule in &rules.rules {
        let alone = RuleSet {
            revision: 0,
            rules: vec![rule.clone()],
        };
        run.measure(format!("'{}' alone", rule.name), alone);
    }
    let mut headline = format!(
        "rules, {}: {} shoppers of placement '{placement}', {} rules, served answers of {}; \
         compared with no rules, plus = what they cost",
        parts.description,
        count(questions.len() as u64),
        rules.rules.len(),
        models.personal().algorithm(),
    );
    if let Some(time) = time {
        headline += &format!(", as on {}", aisle_data::format_day(time));
    }
    if choices.unknown_users > 0 {
        headline += &format!(
            "\n  {} shoppers of the test part have no events in the training part and are not \
             measured",
            count(choices.unknown_users as u64)
        );
    }
    Ok(Evaluation {
        headline,
        metric: "ndcg",
        rows: run.comparison.rows,
        training: served.training_size(),
        checks: run.checks,
        figures: Vec::new(),
    })
}

/// Where and when answers are asked for, and the results so far.
struct Run<'a> {
    served: &'a ServedModels,
    placement: &'a str,
    /// Time of the requests in milliseconds since 1970; `None` in a log without times.
    time: Option<i64>,
    comparison: Comparison<'a, Question>,
    lengths_without_rules: Vec<usize>,
    checks: Vec<Check>,
}

impl Run<'_> {
    /// Measures the answers under one set of rules; the first set must be the empty one.
    fn measure(&mut self, name: String, rules: RuleSet) {
        let began = Instant::now();
        let models = &self.served.models;
        let live = self.served.live.with_rules(models, &Arc::new(rules));
        let questions = self.comparison.questions.par_iter();
        let answers: Vec<Answer> = questions
            .map(|(user, _)| self.answer(&live, *user))
            .collect();
        let lists: Vec<Vec<Scored>> = answers
            .iter()
            .map(|answer| scored_items(answer).collect())
            .collect();
        let lengths = answers.iter().map(|answer| answer.items.len());
        if self.lengths_without_rules.is_empty() {
            self.lengths_without_rules = lengths.collect();
        } else {
            let has_rule = |answer: &&Answer| !answer.rules.applied.is_empty();
            let with_rules = answers.iter().filter(has_rule).count();
            let pairs = lengths.zip(&self.lengths_without_rules);
            let shorter = pairs.filter(|(with, without)| with < without).count();
            let name = format!(
                "answers shortened by {name} (which applied to {})",
                count(with_rules as u64)
            );
            self.checks.push(Check::new(name, shorter, answers.len()));
        }
        let method = Method::baseline(name, self.served.fit_seconds);
        self.comparison.add(method, &lists, began);
    }

    /// The answer that a server would give a shopper.
    fn answer(&self, live: &LiveState, user: u32) -> Answer {
        let models = &self.served.models;
        let mut context = RequestContext {
            placement: self.placement.to_string(),
            time: self.time,
            viewer: models.users.id(user).to_string(),
            omit_reasons: true,
            ..RequestContext::default()
        };
        let time = self.time.unwrap_or(0);
        infer_context(models, &mut context.values, Some(user), time);
        let request = UserRequest {
            user: Some(user),
            k: self.comparison.k,
            exclude_purchased: true,
            context,
            ..UserRequest::default()
        };
        recommend_for_user(models, live, &request)
    }
}

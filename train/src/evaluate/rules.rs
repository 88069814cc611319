//! What rules cost: the served personal answers of `evaluate --rules`, with all rules, with none, and with each alone.

use super::{Evaluation, Parts, Row, relevant};
use crate::progress::Progress;
use crate::report::count;
use crate::settings::Settings;
use aisle_models::metrics::{Measured, Population};
use aisle_models::{Answer, Bundle, ForUser, RuleSet, Scene, Scored};
use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Reads rules: a TOML file of `[[rule]]`s. What they say of items and shoppers is checked when they are measured.
///
/// # Errors
/// Names the file and what is wrong in it.
pub fn read(path: &Path) -> Result<RuleSet> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the rules {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not a file of [[rule]]s", path.display()))
}

/// The price of rules: for each shopper with a past and a future, the server's answer is asked for as the last moment of the training part sees
/// it, what they had before left out; relevant is what they bought later and not before. Once without rules, once with all, once with each
/// alone. An answer is starved if it is shorter than without rules.
pub fn rules(parts: &Parts, settings: &Settings, rules: &RuleSet, placement: &str, k: usize) -> Result<Evaluation> {
    let progress = Progress::of(settings.device, None);
    let began = Instant::now();
    let bundle = Bundle::fit(&parts.train, &settings.data(), settings.hyperparameters(), &progress)?;
    progress.clear();
    let fit_seconds = began.elapsed().as_secs_f64();
    rules.check(&bundle.item_schema(), &bundle.asker_schema())?;
    let time = parts.test.span().map(|(first, _)| first);
    let (wanted, strangers) = relevant(&parts.test, &bundle.users, &bundle.items);
    let questions: Vec<(u32, Vec<u32>)> = wanted
        .into_iter()
        .filter(|&(user, _)| !bundle.history(user).0.is_empty())
        .map(|(user, items)| (user, items.into_iter().filter(|item| bundle.bought(user).binary_search(item).is_err()).collect()))
        .filter(|(_, items): &(u32, Vec<u32>)| !items.is_empty())
        .collect();
    if questions.is_empty() {
        bail!("no shopper of the test part has both a past in the training part and something new after it: choose another split");
    }
    let relevant: Vec<&[u32]> = questions.iter().map(|(_, items)| items.as_slice()).collect();
    let users: Vec<u32> = questions.iter().map(|(user, _)| *user).collect();
    let item_users: Vec<u32> = (0..bundle.items.len() as u32).map(|item| bundle.popular().sales(item) as u32).collect();
    let candidates = bundle.trained().count();
    let population = Population { candidates, item_users: &item_users, users: bundle.users.len(), categories: &[] };

    let answers = |set: RuleSet| -> Vec<Answer> {
        bundle.rule(&Arc::new(set));
        let ask = |&(user, _): &(u32, Vec<u32>)| {
            let viewer = bundle.users.id(user).to_string();
            let mut scene = Scene { placement: placement.to_string(), time, viewer, without_reasons: true, ..Scene::default() };
            bundle.surmise(&mut scene.circumstances, Some(user), time.unwrap_or(0));
            bundle.for_user(&ForUser { user: Some(user), k, exclude_bought: true, scene, ..ForUser::default() })
        };
        questions.par_iter().map(ask).collect()
    };
    let mut rows = Vec::new();
    let mut checks = Vec::new();
    let mut lengths: Vec<usize> = Vec::new();
    let mut run = |name: String, set: RuleSet| {
        let began = Instant::now();
        let answers = answers(set);
        let scored = |answer: &Answer| -> Vec<Scored> {
            answer.items.iter().map(|ranked| Scored { item: ranked.item, score: ranked.score }).collect()
        };
        let lists: Vec<Vec<Scored>> = answers.iter().map(scored).collect();
        let measured = Measured::of(&lists, &relevant, k, population).grouped(users.clone());
        match lengths.is_empty() {
            true => lengths = answers.iter().map(|answer| answer.items.len()).collect(),
            false => {
                let held = answers.iter().filter(|answer| !answer.rules.held.is_empty()).count();
                let starved = answers.iter().zip(&lengths).filter(|(answer, before)| answer.items.len() < **before).count();
                checks.push((format!("answers starved by {name} (which held for {})", count(held as u64)), starved, answers.len()));
            }
        }
        let evaluate_seconds = began.elapsed().as_secs_f64();
        rows.push(Row {
            name,
            params: Value::Null,
            measured,
            slices: Vec::new(),
            fit_seconds,
            epoch_seconds: None,
            evaluate_seconds,
        });
    };
    run("no rules".into(), RuleSet::default());
    run("all rules".into(), rules.clone());
    for rule in &rules.rules {
        run(format!("'{}' alone", rule.name), RuleSet { revision: 0, rules: vec![rule.clone()] });
    }
    let mut headline = format!(
        "rules, {}: {} shoppers of placement '{placement}', {} rules, served answers of {}; compared with no rules, plus = what they cost",
        parts.split,
        count(questions.len() as u64),
        rules.rules.len(),
        bundle.personal().algorithm(),
    );
    if let Some(time) = time {
        headline += &format!(", as on {}", aisle_data::day_of(time));
    }
    if strangers > 0 {
        headline += &format!("\n  {} shoppers of the test part have no past and are not measured", count(strangers as u64));
    }
    let sizes = (bundle.users.len(), candidates, bundle.manifest.counts.interactions);
    Ok(Evaluation { headline, metric: "ndcg", rows, sizes, checks, figures: Vec::new() })
}

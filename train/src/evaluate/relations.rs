//! The task `relations`: complements told from substitutes, against what is known of pairs from
//! elsewhere.

use super::compare::{Comparison, Method, ServedModels};
use super::{Evaluation, Figure, TrainTestSplit, mean};
use crate::report::count;
use crate::settings::Settings;
use aisle_data::{Related, Relation};
use aisle_math::random::mix;
use aisle_models::{FittedModels, Scored};
use anyhow::{Result, bail};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::time::Instant;

/// The known pairs of one item.
struct Question {
    item: u32,
    /// Complements that are not substitutes too, ascending.
    complements: Vec<u32>,
    /// Substitutes, ascending.
    substitutes: Vec<u32>,
}

/// Measures how well complements are ranked above substitutes.
///
/// For each item with both, its known complements (less those that are also known substitutes) and
/// its substitutes are ranked together. The metric is precision@k, and a figure tells the AUC: the
/// share of pairs of one complement and one substitute that are in the right order, where ties
/// count half. Pairs with an item that training never saw are left out. Baselines rank by one kind
/// of evidence alone.
///
/// # Errors
/// What the fits return; no item has both a known complement and a known substitute.
pub fn relations(
    parts: &TrainTestSplit,
    settings: &Settings,
    known: &[Related],
    k: usize,
) -> Result<Evaluation> {
    let served = ServedModels::fit(parts, settings)?;
    let models = &served.models;
    let questions = questions(models, known);
    if questions.is_empty() {
        bail!(
            "no item of the log has a known complement and a known substitute: are the ids of \
             --relations those of the log?"
        );
    }
    let mut comparison = Comparison::new(
        &questions,
        |question| &question.complements,
        |question| question.item,
        served.population(),
        k,
    );
    let mut figures = Vec::new();
    let mut run = |name: &str, score: &Score| {
        let began = Instant::now();
        let ranked = questions
            .par_iter()
            .map(|question| rank(question, score, k));
        let (answers, areas): (Vec<_>, Vec<_>) = ranked.unzip();
        figures.push(Figure::new(format!("AUC, {name}"), mean(&areas)));
        comparison.add(Method::baseline(name, served.fit_seconds), &answers, began);
    };
    let pair = |from: u32, to: &u32| models.complements().pair(from, *to);
    run("complement score", &|from, items| {
        models.substitute_parts().complement_scores(from, items)
    });
    run("less substitute score", &|from, items| {
        let scores = models.substitute_parts().substitute_scores(&[from], items);
        scores.into_iter().map(|score| -score).collect()
    });
    run("√LLR", &|from, items| {
        let score = |to: &u32| pair(from, to).map_or(0.0, |pair| pair.score);
        items.iter().map(score).collect()
    });
    run("lift", &|from, items| {
        let lift = |to: &u32| pair(from, to).map_or(0.0, |pair| pair.lift);
        items.iter().map(lift).collect()
    });
    run("similarity", &|from, items| {
        models.personal().similarities(from, items)
    });
    run("popular", &|_, items| {
        let sales = |&item: &u32| models.popular.sales(item);
        items.iter().map(sales).collect()
    });
    let complements: usize = questions.iter().map(|one| one.complements.len()).sum();
    let substitutes: usize = questions.iter().map(|one| one.substitutes.len()).sum();
    let headline = format!(
        "relations, {}: {} items with known complements and substitutes, {} and {} pairs; \
         complements should be above substitutes",
        parts.description,
        count(questions.len() as u64),
        count(complements as u64),
        count(substitutes as u64),
    );
    Ok(Evaluation {
        headline,
        metric: "precision",
        rows: comparison.rows,
        training: served.training_size(),
        checks: Vec::new(),
        figures,
    })
}

/// A score for each of some items beside a given item; complements should have the higher ones.
type Score<'a> = dyn Fn(u32, &[u32]) -> Vec<f32> + Sync + 'a;

/// The items of the log that have a known complement and a known substitute in it.
fn questions(models: &FittedModels, known: &[Related]) -> Vec<Question> {
    let row = |id: &str| {
        let item = models.items.get(id)?;
        models.recommendable().contains(item).then_some(item)
    };
    let mut pairs: BTreeMap<u32, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
    for (from, to, relation) in known {
        let (Some(from), Some(to)) = (row(from), row(to)) else {
            continue;
        };
        let (complements, substitutes) = pairs.entry(from).or_default();
        match relation {
            Relation::Complement => complements.push(to),
            Relation::Substitute => substitutes.push(to),
        }
    }
    let question = |(item, (mut complements, mut substitutes)): (u32, (Vec<u32>, Vec<u32>))| {
        substitutes.sort_unstable();
        substitutes.dedup();
        complements.sort_unstable();
        complements.dedup();
        complements.retain(|other| substitutes.binary_search(other).is_err());
        let has_both = !complements.is_empty() && !substitutes.is_empty();
        has_both.then_some(Question {
            item,
            complements,
            substitutes,
        })
    };
    pairs.into_iter().filter_map(question).collect()
}

/// The best `k` of a question's items by a score, and the AUC of its complements against its
/// substitutes.
fn rank(question: &Question, score: &Score, k: usize) -> (Vec<Scored>, f64) {
    let items = [question.complements.as_slice(), &question.substitutes].concat();
    let scores = score(question.item, &items);
    let (complements, substitutes) = scores.split_at(question.complements.len());
    let is_right = |a: f32, b: f32| match a > b {
        true => 1.0,
        false => f64::from(u8::from(a == b)) / 2.0,
    };
    let pairs = complements
        .iter()
        .flat_map(|&a| substitutes.iter().map(move |&b| is_right(a, b)));
    let auc = pairs.sum::<f64>() / (complements.len() * substitutes.len()) as f64;
    let mut ranked: Vec<Scored> = items
        .iter()
        .zip(scores)
        .map(|(&item, score)| Scored { item, score })
        .collect();
    // Ties must not favour the one kind or the other, so a hash of both items breaks them.
    let tie_break = |scored: &Scored| mix(u64::from(question.item) << 32 | u64::from(scored.item));
    ranked.sort_by(|a, b| {
        let by_score = b.score.total_cmp(&a.score);
        by_score.then(tie_break(a).cmp(&tie_break(b)))
    });
    ranked.truncate(k);
    (ranked, auc)
}

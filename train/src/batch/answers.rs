//! The answers of a version for every shopper or item, best first: what a server would answer,
//! written down.

use super::table::{AdmittedRows, Column, Table, number, text, whole};
use super::{Campaign, Job};
use aisle_models::{
    Answer, CartRequest, FittedModels, ItemRequest, Progress, RankedItem, ReorderCandidate,
    ReorderRequest, UserRequest, cross_sell, days_since_epoch, recommend_for_user, similar_items,
    upsell,
};
use anyhow::Result;
use rayon::prelude::*;

/// Requests between two steps of the progress bar.
const BLOCK: usize = 2048;

/// Makes a personal list for each shopper of the version, without what they bought.
///
/// Columns: `user_id`; `rank` from 1; `item_id`; `score`, comparable within one `source` only;
/// `source`, the part of the pipeline that proposed the item; `reason`, a sentence (null if there
/// is none). Rows by shopper, exactly min(k, eligible) each.
pub(super) fn personal(campaign: &Campaign) -> Result<Table> {
    let models = campaign.models();
    let everyone: Vec<u32> = (0..models.users.len() as u32).collect();
    let admitted = AdmittedRows::of(
        everyone,
        |&user| user,
        |users| campaign.admit(users.iter().copied()),
    );
    let answers = answer_each(campaign, &admitted.rows, |user| {
        let request = UserRequest {
            user: Some(user),
            k: campaign.k,
            exclude_purchased: true,
            ..UserRequest::default()
        };
        recommend_for_user(models, &campaign.live, &request)
    });
    let rows = ranked_rows(&admitted.rows, &answers);
    let users = rows.iter().map(|row| models.users.id(row.key));
    let columns = columns(models, ("user_id", users), &rows);
    let if_empty = format!(
        "version {} knows no shoppers, or no item can be bought",
        campaign.version.name
    );
    Ok(admitted.into_table_of(columns, expected_rows(campaign, &answers), if_empty))
}

/// Makes lists of similar items, complements or better versions of each item that the personal
/// model can recommend.
///
/// Columns: `for_item_id`, the item that the list is for; then as of a personal list. Rows by item,
/// exactly min(k, eligible) each.
pub(super) fn of_items(campaign: &Campaign) -> Result<Table> {
    let (models, live, k) = (campaign.models(), &campaign.live, campaign.k);
    let items: Vec<u32> = models.recommendable().iter().collect();
    let answers = answer_each(campaign, &items, |item| {
        let about_item = ItemRequest {
            item,
            k,
            ..ItemRequest::default()
        };
        let about_cart = CartRequest {
            cart: vec![item],
            k,
            ..CartRequest::default()
        };
        match campaign.job {
            Job::Similar => similar_items(models, live, &about_item),
            Job::Upsell => upsell(models, live, &about_item),
            _ => cross_sell(models, live, &about_cart),
        }
    });
    let rows = ranked_rows(&items, &answers);
    let ids = rows.iter().map(|row| models.items.id(row.key));
    Ok(Table {
        columns: columns(models, ("for_item_id", ids), &rows),
        expected_rows: expected_rows(campaign, &answers),
        served: items.len(),
        admission: None,
        if_empty: format!(
            "version {} has no items with events, or none with an answer",
            campaign.version.name
        ),
    })
}

/// The reorders of one shopper.
struct Reorders {
    candidates: Vec<ReorderCandidate>,
    /// How many there must be, counted by other means where rules do not decide too.
    expected: usize,
}

/// Lists what each shopper of the version had and is likely to buy again, of what can be bought
/// now.
///
/// Columns: `user_id`; `rank` from 1; `item_id`; `probability` that it is bought again within the
/// version's horizon (`buy-again.learn_days`, 28 unless set otherwise), at least the threshold;
/// `due_in_days` until it usually is, below 0 = overdue; `orders` that held it; `days_since` the
/// last of them. Rows by shopper, at most k each.
pub(super) fn buy_again(campaign: &Campaign) -> Result<Table> {
    let models = campaign.models();
    let everyone: Vec<u32> = (0..models.users.len() as u32).collect();
    let found = for_each(campaign, &everyone, |user| reorders(campaign, user));
    let with_any: Vec<u32> = everyone
        .into_iter()
        .filter(|&user| found[user as usize].expected > 0)
        .collect();
    let admitted = AdmittedRows::of(
        with_any,
        |&user| user,
        |users| campaign.admit(users.iter().copied()),
    );
    let expected = admitted
        .rows
        .iter()
        .map(|&user| found[user as usize].expected);
    let expected_rows = expected.sum();
    let rows_of = |&user: &u32| {
        let candidates = found[user as usize].candidates.iter().zip(1..);
        candidates.map(move |(candidate, rank)| (user, rank, candidate))
    };
    let rows: Vec<(u32, u32, &ReorderCandidate)> = admitted.rows.iter().flat_map(rows_of).collect();
    let candidates = || rows.iter().map(|row| row.2);
    let users = rows.iter().map(|row| Some(models.users.id(row.0)));
    let items = candidates().map(|one| Some(models.items.id(one.item)));
    let columns = vec![
        text("user_id", users),
        whole("rank", rows.iter().map(|row| row.1)),
        text("item_id", items),
        number("probability", candidates().map(|one| Some(one.probability))),
        number(
            "due_in_days",
            candidates().map(|one| Some(one.days_until_due)),
        ),
        whole("orders", candidates().map(|one| one.orders)),
        number("days_since", candidates().map(|one| Some(one.days_since))),
    ];
    let if_empty = format!(
        "no shopper of version {} is as likely as {} to buy something again (--min-probability)",
        campaign.version.name, campaign.thresholds.min_probability
    );
    Ok(admitted.into_table_of(columns, expected_rows, if_empty))
}

/// What one shopper is likely to buy again.
fn reorders(campaign: &Campaign, user: u32) -> Reorders {
    let (models, live, k) = (campaign.models(), &campaign.live, campaign.k);
    let least = campaign.thresholds.min_probability;
    let now = campaign.now.map(days_since_epoch);
    let request = ReorderRequest {
        user: Some(user),
        k,
        now,
        ..ReorderRequest::default()
    };
    let answer = aisle_models::buy_again(models, live, &request);
    let horizon = models.buy_again.horizon();
    let known = models
        .buy_again_parts()
        .reorder_candidates(user, now, horizon);
    let likely = || answer.items.iter().filter(|ranked| ranked.score >= least);
    let candidate = |ranked: &RankedItem| {
        let at = known.binary_search_by_key(&ranked.item, |candidate| candidate.item);
        Some(known[at.ok()?])
    };
    let is_available =
        |candidate: &ReorderCandidate| live.catalog.available().contains(candidate.item);
    let is_likely =
        |candidate: &&ReorderCandidate| candidate.probability >= least && is_available(candidate);
    let expected = match answer.rules.applied.is_empty() {
        true => known.iter().filter(is_likely).count(),
        false => likely().count(),
    };
    Reorders {
        candidates: likely().filter_map(candidate).collect(),
        expected: expected.min(k),
    }
}

/// What a function makes of each key, on all threads, with a progress bar.
pub(super) fn for_each<T: Send>(
    campaign: &Campaign,
    keys: &[u32],
    make: impl Fn(u32) -> T + Sync,
) -> Vec<T> {
    let mut made = Vec::with_capacity(keys.len());
    for block in keys.chunks(BLOCK) {
        made.extend(block.par_iter().map(|&key| make(key)).collect::<Vec<T>>());
        campaign.progress.step("answers", made.len(), keys.len());
    }
    made
}

/// The answer for each key, on all threads, with a progress bar.
pub(super) fn answer_each(
    campaign: &Campaign,
    keys: &[u32],
    answer: impl Fn(u32) -> Answer + Sync,
) -> Vec<Answer> {
    for_each(campaign, keys, answer)
}

/// How many rows answers must have: what was eligible, and not what came back.
pub(super) fn expected_rows(campaign: &Campaign, answers: &[Answer]) -> usize {
    let rows = answers.iter().map(|answer| campaign.k.min(answer.eligible));
    rows.sum()
}

/// One item of the answer for one key.
pub(super) struct RankedRow<'a> {
    pub(super) key: u32,
    /// From 1.
    pub(super) rank: u32,
    pub(super) ranked: &'a RankedItem,
}

/// All items of the answers, by key and rank.
pub(super) fn ranked_rows<'a>(keys: &[u32], answers: &'a [Answer]) -> Vec<RankedRow<'a>> {
    let rows_of = |(&key, answer): (&u32, &'a Answer)| {
        let items = answer.items.iter().zip(1..);
        items.map(move |(ranked, rank)| RankedRow { key, rank, ranked })
    };
    keys.iter().zip(answers).flat_map(rows_of).collect()
}

/// Why each item is in its list, as sentences.
pub(super) fn reasons(models: &FittedModels, rows: &[RankedRow]) -> Vec<Option<String>> {
    let reason = |row: &RankedRow| {
        let first = row.ranked.reasons.first()?;
        Some(first.text(models))
    };
    rows.iter().map(reason).collect()
}

fn columns<'k>(
    models: &FittedModels,
    (key_name, keys): (&str, impl Iterator<Item = &'k str>),
    rows: &[RankedRow],
) -> Vec<Column> {
    let reasons = reasons(models, rows);
    let items = rows
        .iter()
        .map(|row| Some(models.items.id(row.ranked.item)));
    let sources = rows.iter().map(|row| Some(row.ranked.source.name()));
    vec![
        text(key_name, keys.map(Some)),
        whole("rank", rows.iter().map(|row| row.rank)),
        text("item_id", items),
        number("score", rows.iter().map(|row| Some(row.ranked.score))),
        text("source", sources),
        text("reason", reasons.iter().map(Option::as_deref)),
    ]
}

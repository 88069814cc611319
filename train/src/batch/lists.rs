//! The answers of a version for every shopper or item, best first: what a server would say, written down.

use super::sheet::{Chosen, Column, Sheet, number, text, whole};
use super::{Campaign, Job};
use aisle_models::{Answer, Bundle, Due, ForAgain, ForCart, ForItem, ForUser, Ranked, Watch, day};
use anyhow::Result;
use rayon::prelude::*;

/// Keys asked between two steps of the progress bar.
const BLOCK: usize = 2048;

/// A personal list for each shopper of the version, without what they bought.
///
/// Columns: `user_id`; `rank` from 1; `item_id`; `score`, comparable within one `source` only; `source`, the rung it came from; `reason`, a sentence (null if
/// there is none). Rows by shopper, exactly min(k, eligible) each.
pub(super) fn personal(campaign: &Campaign) -> Result<Sheet> {
    let bundle = campaign.bundle;
    let everyone: Vec<u32> = (0..bundle.users.len() as u32).collect();
    let chosen = Chosen::of(everyone, |&user| user, |users| campaign.admit(users.iter().copied()));
    let answers = answers(campaign, &chosen.lines, |user| {
        bundle.for_user(&ForUser { user: Some(user), k: campaign.k, exclude_bought: true, ..ForUser::default() })
    });
    let lines = lines(&chosen.lines, &answers);
    let columns = columns(bundle, ("user_id", lines.iter().map(|line| bundle.users.id(line.0))), &lines);
    let why = format!("version {} knows no shoppers, or no item can be bought", bundle.version);
    Ok(chosen.sheet_of(columns, due(campaign, &answers), why))
}

/// Similar items, complements or better versions of each item that the personal model can recommend.
///
/// Columns: `for_item_id`, the item asked about; then as of a personal list. Rows by item, exactly min(k, eligible) each.
pub(super) fn of_items(campaign: &Campaign) -> Result<Sheet> {
    let (bundle, k) = (campaign.bundle, campaign.k);
    let items: Vec<u32> = bundle.trained().iter().collect();
    let answers = answers(campaign, &items, |item| match campaign.job {
        Job::Similar => bundle.similar(&ForItem { item, k, ..ForItem::default() }),
        Job::Upsell => bundle.upsell(&ForItem { item, k, ..ForItem::default() }),
        _ => bundle.cross_sell(&ForCart { cart: vec![item], k, ..ForCart::default() }),
    });
    let lines = lines(&items, &answers);
    let columns = columns(bundle, ("for_item_id", lines.iter().map(|line| bundle.items.id(line.0))), &lines);
    let why = format!("version {} has no items with events, or none with an answer", bundle.version);
    Ok(Sheet { columns, promised: due(campaign, &answers), asked: items.len(), admission: None, if_empty: why })
}

/// What each shopper of the version had and is likely to buy again, of what can be bought now.
///
/// Columns: `user_id`; `rank` from 1; `item_id`; `probability` that it is bought again within the version's horizon (`buy-again.learn_days`, 28 unless set
/// otherwise), `min_probability` at least; `due_in_days` until it usually is, below 0 = overdue; `orders` that held it; `days_since` the last of them.
/// Rows by shopper, k each at most.
pub(super) fn buy_again(campaign: &Campaign) -> Result<Sheet> {
    let (bundle, k) = (campaign.bundle, campaign.k);
    let shelf = bundle.shelf();
    let least = campaign.terms.min_probability;
    let everyone: Vec<u32> = (0..bundle.users.len() as u32).collect();
    let now = campaign.now.map(day);
    let of_one = |user: u32| {
        let answer = bundle.buy_again(&ForAgain { user: Some(user), k, now, ..ForAgain::default() });
        let known = bundle.due(user, now, bundle.buy_again_model().horizon());
        let ruled = !answer.rules.held.is_empty();
        // Counted again by other means, unless rules decide too.
        let likely = match ruled {
            true => answer.items.iter().filter(|ranked| ranked.score >= least).count(),
            false => known.iter().filter(|due| due.probability >= least && shelf.available().contains(due.item)).count(),
        };
        let of = |ranked: &Ranked| known.binary_search_by_key(&ranked.item, |due| due.item).ok().map(|at| known[at]);
        let dues: Vec<Due> = answer.items.iter().filter(|ranked| ranked.score >= least).filter_map(of).collect();
        (dues, likely.min(k))
    };
    let found: Vec<(Vec<Due>, usize)> = asked(campaign, &everyone, of_one);
    let with_any: Vec<u32> = everyone.into_iter().filter(|&user| found[user as usize].1 > 0).collect();
    let chosen = Chosen::of(with_any, |&user| user, |users| campaign.admit(users.iter().copied()));
    let promised = chosen.lines.iter().map(|&user| found[user as usize].1).sum();
    let of_user = |&user: &u32| found[user as usize].0.iter().zip(1..).map(move |(due, rank)| (user, rank, due));
    let lines: Vec<(u32, u32, &Due)> = chosen.lines.iter().flat_map(of_user).collect();
    let columns = vec![
        text("user_id", lines.iter().map(|line| Some(bundle.users.id(line.0)))),
        whole("rank", lines.iter().map(|line| line.1)),
        text("item_id", lines.iter().map(|line| Some(bundle.items.id(line.2.item)))),
        number("probability", lines.iter().map(|line| Some(line.2.probability))),
        number("due_in_days", lines.iter().map(|line| Some(line.2.due_in))),
        whole("orders", lines.iter().map(|line| line.2.orders)),
        number("days_since", lines.iter().map(|line| Some(line.2.since))),
    ];
    let why =
        format!("no shopper of version {} is as likely as {least} to buy something again (--min-probability)", bundle.version);
    Ok(chosen.sheet_of(columns, promised, why))
}

/// Asks for each key, on all threads, and shows how far that has come.
pub(super) fn asked<T: Send>(campaign: &Campaign, keys: &[u32], ask: impl Fn(u32) -> T + Sync) -> Vec<T> {
    let mut answers = Vec::with_capacity(keys.len());
    for block in keys.chunks(BLOCK) {
        answers.extend(block.par_iter().map(|&key| ask(key)).collect::<Vec<T>>());
        campaign.progress.step("batch", answers.len(), keys.len());
    }
    answers
}

fn answers(campaign: &Campaign, keys: &[u32], ask: impl Fn(u32) -> Answer + Sync) -> Vec<Answer> {
    asked(campaign, keys, ask)
}

/// Rows that are due: what the gates counted, and not what came back.
pub(super) fn due(campaign: &Campaign, answers: &[Answer]) -> usize {
    answers.iter().map(|answer| campaign.k.min(answer.eligible)).sum()
}

/// Key, rank and item of each row.
pub(super) fn lines<'a>(keys: &[u32], answers: &'a [Answer]) -> Vec<(u32, u32, &'a Ranked)> {
    let of_one = |(&key, answer): (&u32, &'a Answer)| answer.items.iter().zip(1..).map(move |(ranked, rank)| (key, rank, ranked));
    keys.iter().zip(answers).flat_map(of_one).collect()
}

/// Why an item is in a list, as a sentence.
pub(super) fn reason(bundle: &Bundle, ranked: &Ranked) -> Option<String> {
    ranked.reasons.first().map(|why| why.words(bundle))
}

fn columns<'k>(bundle: &Bundle, key: (&str, impl Iterator<Item = &'k str>), lines: &[(u32, u32, &Ranked)]) -> Vec<Column> {
    let reasons: Vec<Option<String>> = lines.iter().map(|line| reason(bundle, line.2)).collect();
    vec![
        text(key.0, key.1.map(Some)),
        whole("rank", lines.iter().map(|line| line.1)),
        text("item_id", lines.iter().map(|line| Some(bundle.items.id(line.2.item)))),
        number("score", lines.iter().map(|line| Some(line.2.score))),
        text("source", lines.iter().map(|line| Some(line.2.source.name()))),
        text("reason", reasons.iter().map(Option::as_deref)),
    ]
}

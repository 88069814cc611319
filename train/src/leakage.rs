//! What makes an evaluation too good to be true: traces of the test part in the training part.
//!
//! A leak fails the run, since every figure after it would be wrong. Other findings are shown, and
//! the run goes on.

use crate::evaluate::{Task, TrainTestSplit};
use crate::report::count;
use aisle_data::{DAY_MILLIS, EventLog, EventRole, NONE, format_day};
use std::collections::{BTreeMap, BTreeSet};

/// A trace of the test part in the training part, or something else that deserves a look.
#[derive(Clone, Debug, PartialEq)]
pub struct LeakageFinding {
    /// Whether the figures of an evaluation would be wrong.
    pub is_leak: bool,
    /// What was found, with how many of how many.
    pub text: String,
    /// A few examples.
    pub examples: Vec<String>,
}

/// Examples shown of one finding.
const MAX_EXAMPLES: usize = 3;
/// A shopper with more than so many times the events of the median one is taken for a robot.
const ROBOT_FACTOR: usize = 200;

/// Looks for leaks between the parts. O(events log events).
pub fn find(parts: &TrainTestSplit, task: Task) -> Vec<LeakageFinding> {
    let (train, test) = (&parts.train.log, &parts.test);
    let mut findings = Vec::new();
    findings.extend(repeated_events(train, test));
    findings.extend(split_orders(train, test));
    findings.extend(future_events(train, test));
    findings.extend(future_prices(parts, task));
    findings.extend(revealing_attributes(parts));
    findings.extend(unknown_items(train, test));
    findings.extend(robots(train));
    findings
}

fn describe(log: &EventLog, event: usize) -> String {
    let user = match log.user_of(event) {
        NONE => "nobody",
        user => log.users.id(user),
    };
    let day = if log.time.is_empty() {
        String::new()
    } else {
        format!(" on {}", format_day(log.time[event]))
    };
    format!("user {user}, item {}{day}", log.items.id(log.item[event]))
}

/// Events that stand in both parts: same user, item, type and time. One log cut in two cannot
/// have any.
fn repeated_events(train: &EventLog, test: &EventLog) -> Option<LeakageFinding> {
    if std::sync::Arc::ptr_eq(&train.users, &test.users) {
        return None;
    }
    if train.time.is_empty() || test.time.is_empty() {
        return None;
    }
    let key = |log: &EventLog, event: usize| {
        let user =
            (log.user_of(event) != NONE).then(|| log.users.id(log.user_of(event)).to_string())?;
        Some((
            user,
            log.items.id(log.item[event]).to_string(),
            log.type_of(event).name.clone(),
            log.time[event],
        ))
    };
    // Midnights are dates: two purchases of a day are two purchases.
    let exact = |log: &EventLog, event: &usize| log.time[*event] % DAY_MILLIS != 0;
    let first = test.time.iter().min().copied().unwrap_or(i64::MAX);
    let known: BTreeSet<_> = (0..train.len())
        .filter(|&event| train.time[event] >= first && exact(train, &event))
        .filter_map(|event| key(train, event))
        .collect();
    if known.is_empty() {
        return None;
    }
    let both: Vec<usize> = (0..test.len())
        .filter(|event| {
            exact(test, event) && key(test, *event).is_some_and(|key| known.contains(&key))
        })
        .collect();
    (!both.is_empty()).then(|| LeakageFinding {
        is_leak: true,
        text: format!(
            "{} of {} test events stand in the training part too",
            count(both.len() as u64),
            count(test.len() as u64)
        ),
        examples: both
            .iter()
            .take(MAX_EXAMPLES)
            .map(|&event| describe(test, event))
            .collect(),
    })
}

/// Orders with bought lines on both sides; a few that were open at the moment of a cut are no harm.
/// Order numbers are comparable only where both parts come from one log.
fn split_orders(train: &EventLog, test: &EventLog) -> Option<LeakageFinding> {
    if !std::sync::Arc::ptr_eq(&train.users, &test.users) {
        return None;
    }
    let bought = |log: &EventLog, event: &usize| log.type_of(*event).role == EventRole::Purchase;
    let orders = |log: &EventLog| -> BTreeSet<u32> {
        let orders = (0..log.order.len())
            .filter(|event| bought(log, event))
            .map(|event| log.order[event]);
        orders.filter(|&order| order != NONE).collect()
    };
    let (past, future) = (orders(train), orders(test));
    let both: Vec<u32> = past.intersection(&future).copied().collect();
    let example = |order: &u32| {
        (0..test.len())
            .find(|&event| test.order_of(event) == *order)
            .map(|event| describe(test, event))
    };
    (!both.is_empty()).then(|| LeakageFinding {
        is_leak: both.len() * 100 > future.len(),
        text: format!(
            "{} of {} test orders have lines in the training part",
            count(both.len() as u64),
            count(future.len() as u64)
        ),
        examples: both.iter().take(MAX_EXAMPLES).filter_map(example).collect(),
    })
}

/// Shoppers whose training events go on after their test events began.
fn future_events(train: &EventLog, test: &EventLog) -> Option<LeakageFinding> {
    if train.time.is_empty() || test.time.is_empty() {
        return None;
    }
    let mut first: BTreeMap<&str, i64> = BTreeMap::new();
    for event in (0..test.len()).filter(|&event| test.user_of(event) != NONE) {
        let began = first
            .entry(test.users.id(test.user_of(event)))
            .or_insert(i64::MAX);
        *began = test.time[event].min(*began);
    }
    let mut late: BTreeMap<u32, usize> = BTreeMap::new();
    for event in (0..train.len()).filter(|&event| train.user_of(event) != NONE) {
        let user = train.user_of(event);
        if first
            .get(train.users.id(user))
            .is_some_and(|&began| train.time[event] > began)
        {
            late.entry(user).or_insert(event);
        }
    }
    (!late.is_empty()).then(|| LeakageFinding {
        is_leak: true,
        text: format!(
            "{} of {} test shoppers have training events after their first test event",
            count(late.len() as u64),
            count(first.len() as u64)
        ),
        examples: late
            .values()
            .take(MAX_EXAMPLES)
            .map(|&event| describe(train, event))
            .collect(),
    })
}

/// Catalogue prices that are those of the test part where the training part had others: a leak for
/// what reads prices, upsell.
fn future_prices(parts: &TrainTestSplit, task: Task) -> Option<LeakageFinding> {
    let (train, test, catalog) = (&parts.train.log, &parts.test, &parts.train.catalog);
    let median = |log: &EventLog| -> BTreeMap<String, f32> {
        let mut paid: BTreeMap<u32, Vec<f32>> = BTreeMap::new();
        for event in (0..log.price.len()).filter(|&event| log.price[event] > 0.0) {
            paid.entry(log.item[event])
                .or_default()
                .push(log.price[event]);
        }
        let middle = |mut prices: Vec<f32>| {
            prices.sort_by(f32::total_cmp);
            prices[prices.len() / 2]
        };
        paid.into_iter()
            .map(|(item, prices)| (log.items.id(item).to_string(), middle(prices)))
            .collect()
    };
    let (before, after) = (median(train), median(test));
    let is_close = |a: f32, b: f32| (a - b).abs() <= 0.005 * b.abs();
    let (mut changed, mut leaked) = (0usize, Vec::new());
    for (item, &now) in &after {
        let (Some(&then), Some(row)) = (before.get(item), train.items.get(item)) else {
            continue;
        };
        let listed = catalog.price[row as usize];
        if is_close(then, now) || listed.is_nan() {
            continue;
        }
        changed += 1;
        if is_close(listed, now) && !is_close(listed, then) {
            leaked.push(format!(
                "item {item}: listed {listed}, {then} in training, {now} in the test part"
            ));
        }
    }
    // Chance makes some; most of them is no chance.
    (changed >= 20 && leaked.len() * 2 > changed).then(|| LeakageFinding {
        is_leak: task == Task::Upsell,
        text: format!(
            "{} of {} items whose price changed are listed in the catalogue at the test part's \
             price",
            count(leaked.len() as u64),
            count(changed as u64)
        ),
        examples: leaked.into_iter().take(MAX_EXAMPLES).collect(),
    })
}

/// Attributes of items whose one value picks out what is bought in the test part. No model reads
/// attributes, so it is only told.
fn revealing_attributes(parts: &TrainTestSplit) -> Vec<LeakageFinding> {
    let (train, test, catalog) = (&parts.train.log, &parts.test, &parts.train.catalog);
    let mut is_bought = vec![false; train.items.len()];
    for &item in &test.item {
        if let Some(row) = train.items.get(test.items.id(item)) {
            is_bought[row as usize] = true;
        }
    }
    let (all, bought) = (
        is_bought.len(),
        is_bought.iter().filter(|&&is_bought| is_bought).count(),
    );
    if bought < 20 || bought * 2 > all {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (attribute, labels) in &catalog.attributes {
        let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (row, &is_bought) in (0u32..).zip(&is_bought) {
            if let Some(value) = labels.get(row) {
                let (items, hits) = tally.entry(value).or_default();
                *items += 1;
                *hits += usize::from(is_bought);
            }
        }
        let revealing = tally
            .iter()
            .find(|(_, (items, hits))| hits * 10 >= bought * 9 && hits * 10 >= items * 9);
        if let Some((value, (items, hits))) = revealing {
            findings.push(LeakageFinding {
                is_leak: false,
                text: format!(
                    "the attribute '{attribute}' gives the test part away: {} of {} items with the \
                     value '{value}' are bought in it",
                    count(*hits as u64),
                    count(*items as u64)
                ),
                examples: Vec::new(),
            });
        } else if tally.len() == 1 && tally.values().all(|(items, _)| *items == all) {
            findings.push(LeakageFinding {
                is_leak: false,
                text: format!("the attribute '{attribute}' is the same for all items"),
                examples: Vec::new(),
            });
        }
    }
    findings
}

/// Items that only the test part has: nobody can find them.
fn unknown_items(train: &EventLog, test: &EventLog) -> Option<LeakageFinding> {
    let mut seen = vec![false; train.items.len()];
    train
        .item
        .iter()
        .for_each(|&item| seen[item as usize] = true);
    let distinct: BTreeSet<u32> = test.item.iter().copied().collect();
    let known = |item: u32| {
        train
            .items
            .get(test.items.id(item))
            .is_some_and(|row| seen[row as usize])
    };
    let unknown: Vec<u32> = distinct
        .iter()
        .copied()
        .filter(|&item| !known(item))
        .collect();
    (unknown.len() * 10 > distinct.len()).then(|| LeakageFinding {
        is_leak: false,
        text: format!(
            "{} of {} test items have no event in the training part and count as missed",
            count(unknown.len() as u64),
            count(distinct.len() as u64)
        ),
        examples: unknown
            .iter()
            .take(MAX_EXAMPLES)
            .map(|&item| format!("item {}", test.items.id(item)))
            .collect(),
    })
}

/// Shoppers with so many events that they are probably robots.
fn robots(train: &EventLog) -> Option<LeakageFinding> {
    let mut events = vec![0usize; train.users.len()];
    train
        .user
        .iter()
        .filter(|&&user| user != NONE)
        .for_each(|&user| events[user as usize] += 1);
    let mut counts: Vec<usize> = events.iter().copied().filter(|&count| count > 0).collect();
    counts.sort_unstable();
    let median = counts.get(counts.len() / 2).copied()?;
    let mut robots: Vec<usize> = (0..events.len())
        .filter(|&user| events[user] > ROBOT_FACTOR * median)
        .collect();
    robots.sort_by_key(|&user| std::cmp::Reverse(events[user]));
    (!robots.is_empty()).then(|| LeakageFinding {
        is_leak: false,
        text: format!(
            "{} shoppers have more than {ROBOT_FACTOR} times the events of the median one, like \
             robots",
            count(robots.len() as u64)
        ),
        examples: robots
            .iter()
            .take(MAX_EXAMPLES)
            .map(|&user| {
                format!(
                    "user {}: {} events, the median has {median}",
                    train.users.id(user as u32),
                    count(events[user] as u64)
                )
            })
            .collect(),
    })
}

/// Writes the findings as text, one line each with its examples below.
pub fn render(findings: &[LeakageFinding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text += &format!(
            "{}: {}\n",
            if finding.is_leak { "leak" } else { "note" },
            finding.text
        );
        finding
            .examples
            .iter()
            .for_each(|row| text += &format!("        {row}\n"));
    }
    text
}

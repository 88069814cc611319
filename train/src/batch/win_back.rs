//! Who stayed away: shoppers silent for longer than their usual gap between orders explains.
//!
//! A shopper's usual gap is the mean of theirs, drawn to the median of all shoppers by as much as
//! one gap: the geometric mean of n gaps of their own and one of everybody's, as the task buy-again
//! does for items. So one short gap does not make somebody lapsed after a week.

use super::Campaign;
use super::answers::{RankedRow, answer_each, expected_rows, ranked_rows, reasons};
use super::snapshot::Snapshot;
use super::table::{Table, number, text, times, whole};
use aisle_data::{EventLog, EventRole, NONE, Orders, day_number, millis_to_days};
use aisle_models::{Answer, ItemFilter, UserRequest, recommend_for_user};
use anyhow::Result;

/// Days that two orders are taken to be apart at least.
const MIN_GAP_DAYS: f64 = 0.5;

/// How often a shopper with orders on two days or more ordered.
struct OrderRhythm {
    user: u32,
    /// Days with an order, at least two.
    order_days: usize,
    /// Time of the last order, milliseconds since 1970.
    last: i64,
    /// Mean days between orders.
    gap_days: f64,
}

/// A shopper who is silent for longer than usual.
struct LapsedShopper {
    user: u32,
    /// Time of the last order, milliseconds since 1970.
    last: i64,
    usual_gap_days: f64,
    silent_days: f64,
}

/// Makes a personal list of what they did not buy yet for each shopper whose silence since the last
/// order is longer than `lapse` times their usual gap.
///
/// Columns: `user_id`; `last_order_at`; `usual_gap_days`; `silent_days`; `rank` from 1; `item_id`;
/// `score`; `reason`, a sentence (null if there is none). The first four are the same for each row
/// of a shopper. Rows by shopper, exactly min(k, eligible) each.
pub(super) fn win_back(campaign: &Campaign) -> Result<Table> {
    let snapshot = campaign.snapshot()?;
    let models = campaign.models();
    let orders = purchase_orders(&snapshot.log);
    let lapse = campaign.thresholds.lapse;
    let lapsed = lapsed_shoppers(&order_rhythms(&orders), snapshot.now, lapse);
    let admitted = campaign.admit_rows(lapsed, |lapsed| lapsed.user)?;
    let purchased = purchased_items(&orders, snapshot.log.users.len());
    let keys: Vec<u32> = (0..admitted.rows.len() as u32).collect();
    let answers = answer_each(campaign, &keys, |at| {
        let user = admitted.rows[at as usize].user;
        answer(campaign, snapshot, user, &purchased[user as usize])
    });
    let rows = ranked_rows(&keys, &answers);
    let reasons = reasons(models, &rows);
    let shopper = |row: &RankedRow| &admitted.rows[row.key as usize];
    let shoppers = || rows.iter().map(shopper);
    let users = shoppers().map(|one| Some(snapshot.log.users.id(one.user)));
    let items = rows
        .iter()
        .map(|row| Some(models.items.id(row.ranked.item)));
    let columns = vec![
        text("user_id", users),
        times("last_order_at", shoppers().map(|one| one.last)),
        number(
            "usual_gap_days",
            shoppers().map(|one| Some(one.usual_gap_days as f32)),
        ),
        number(
            "silent_days",
            shoppers().map(|one| Some(one.silent_days as f32)),
        ),
        whole("rank", rows.iter().map(|row| row.rank)),
        text("item_id", items),
        number("score", rows.iter().map(|row| Some(row.ranked.score))),
        text("reason", reasons.iter().map(Option::as_deref)),
    ];
    let searched = "with two orders or more has been silent that long (--lapse)";
    let if_empty = snapshot.why_empty(&[EventRole::Purchase], searched);
    let expected_rows = expected_rows(campaign, &answers);
    Ok(admitted.into_table_of(columns, expected_rows, if_empty))
}

/// The personal list of one shopper, without what they bought.
fn answer(campaign: &Campaign, snapshot: &Snapshot, user: u32, purchased: &[u32]) -> Answer {
    let exclude: Vec<u32> = purchased
        .iter()
        .filter_map(|&item| snapshot.model_item(item))
        .collect();
    let user = snapshot.model_user(user);
    // Of a shopper who is new to the version, the items that they bought are all that is known.
    let recent = match user {
        Some(_) => Vec::new(),
        None => exclude.iter().map(|&item| (item, 1.0)).collect(),
    };
    let request = UserRequest {
        user,
        recent,
        k: campaign.k,
        filter: ItemFilter {
            exclude,
            ..ItemFilter::default()
        },
        exclude_purchased: true,
        ..UserRequest::default()
    };
    recommend_for_user(campaign.models(), &campaign.live, &request)
}

/// The orders of what was bought; none of a log without purchases, whose visits are not orders.
fn purchase_orders(log: &EventLog) -> Orders {
    Orders::of(&log.select(|event| log.type_of(event).role == EventRole::Purchase))
}

/// How often each shopper with orders on two days or more ordered, by ascending shopper.
fn order_rhythms(orders: &Orders) -> Vec<OrderRhythm> {
    let mut times: Vec<(u32, i64)> = (0..orders.len())
        .map(|order| (orders.user[order], orders.time[order]))
        .filter(|(user, _)| *user != NONE)
        .collect();
    times.sort_unstable();
    let rhythm = |own: &[(u32, i64)]| {
        let days = own.chunk_by(|a, b| day_number(a.1) == day_number(b.1));
        let order_days = days.count();
        if order_days < 2 {
            return None;
        }
        let (first, last) = (own.first()?, own.last()?);
        let gap_days = millis_to_days(last.1 - first.1) / (order_days - 1) as f64;
        Some(OrderRhythm {
            user: last.0,
            order_days,
            last: last.1,
            gap_days: gap_days.max(MIN_GAP_DAYS),
        })
    };
    let shoppers = times.chunk_by(|a, b| a.0 == b.0);
    shoppers.filter_map(rhythm).collect()
}

/// Shoppers who have been silent for longer than `lapse` times their usual gap.
fn lapsed_shoppers(rhythms: &[OrderRhythm], now: i64, lapse: f64) -> Vec<LapsedShopper> {
    let mut gaps: Vec<f64> = rhythms.iter().map(|rhythm| rhythm.gap_days).collect();
    gaps.sort_by(f64::total_cmp);
    let Some(&median) = gaps.get(gaps.len() / 2) else {
        return Vec::new();
    };
    let lapsed = |rhythm: &OrderRhythm| {
        let own_gaps = (rhythm.order_days - 1) as f64;
        let log_sum = own_gaps * rhythm.gap_days.ln() + median.ln();
        let usual_gap_days = (log_sum / (own_gaps + 1.0)).exp();
        let silent_days = millis_to_days(now - rhythm.last);
        (silent_days > lapse * usual_gap_days).then_some(LapsedShopper {
            user: rhythm.user,
            last: rhythm.last,
            usual_gap_days,
            silent_days,
        })
    };
    rhythms.iter().filter_map(lapsed).collect()
}

/// What each shopper bought: ascending items, by shopper row.
fn purchased_items(orders: &Orders, users: usize) -> Vec<Vec<u32>> {
    let mut items = vec![Vec::new(); users];
    for order in 0..orders.len() {
        if let Some(own) = items.get_mut(orders.user[order] as usize) {
            own.extend_from_slice(orders.order(order));
        }
    }
    for own in &mut items {
        own.sort_unstable();
        own.dedup();
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::DAY_MILLIS;

    fn rhythm(user: u32, order_days: usize, last_day: i64, gap_days: f64) -> OrderRhythm {
        OrderRhythm {
            user,
            order_days,
            last: last_day * DAY_MILLIS,
            gap_days,
        }
    }

    #[test]
    fn the_usual_gap_of_one_gap_is_half_everybodys() {
        // The median of 1, 4 and 16 is 4: the first shopper's usual gap is √(1 · 4) = 2, the last
        // one's (16³ · 4)^¼ = 11.3.
        let rhythms = [
            rhythm(0, 2, 95, 1.0),
            rhythm(1, 2, 95, 4.0),
            rhythm(2, 4, 95, 16.0),
        ];
        let found = lapsed_shoppers(&rhythms, 100 * DAY_MILLIS, 2.0);
        let users: Vec<u32> = found.iter().map(|lapsed| lapsed.user).collect();
        assert_eq!(users, [0]);
        assert!((found[0].usual_gap_days - 2.0).abs() < 1e-12 && found[0].silent_days == 5.0);
        let later = lapsed_shoppers(&rhythms, 118 * DAY_MILLIS, 2.0);
        let expected = (16f64.powi(3) * 4.0).powf(0.25);
        assert!(later.len() == 3 && (later[2].usual_gap_days - expected).abs() < 1e-9);
    }
}

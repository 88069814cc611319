//! Who stayed away: shoppers silent for longer than their own habit explains.
//!
//! A shopper's usual gap is the mean of theirs, drawn to the median of all shoppers by as much as one gap: the geometric mean of n gaps of their own
//! and one of everybody's, as `buy_again.rs` does for items. So one short gap does not make somebody lapsed after a week.

use super::Campaign;
use super::lists::{asked, due, lines, reason};
use super::sheet::{Sheet, moments, number, text, whole};
use aisle_data::{EventRole, NONE, Orders};
use aisle_models::{Answer, ForUser, ItemFilter, Ranked};
use anyhow::Result;

const DAY: f64 = 86_400_000.0;
/// Days that two orders are taken to be apart at least.
const LEAST_GAP: f64 = 0.5;

/// A shopper with two orders or more on different days.
struct Habit {
    user: u32,
    /// Orders, two at least; those of one day are one.
    orders: usize,
    /// Milliseconds.
    last: i64,
    /// Mean days between orders.
    gap: f64,
}

/// A shopper who should have been back.
struct Lapsed {
    user: u32,
    last: i64,
    usual: f64,
    silent: f64,
}

/// Shoppers whose silence since their last order is longer than `lapse` times their usual gap, each with a personal list of what they did not buy yet.
///
/// Columns: `user_id`; `last_order_at`; `usual_gap_days`; `silent_days`; `rank` from 1; `item_id`; `score`; `reason`, a sentence (null if there is none). The
/// first four are the same for each row of a shopper. Rows by shopper, exactly min(k, eligible) each.
pub(super) fn win_back(campaign: &Campaign) -> Result<Sheet> {
    let scene = campaign.scene()?;
    let bundle = campaign.bundle;
    let bought = bought(&scene.log);
    let chosen = campaign.choose(lapsed(&habits(&bought), scene.now, campaign.terms.lapse), |lapsed| lapsed.user)?;
    let had = items_of(&bought, scene.log.users.len());
    let list = |at: u32| -> Answer {
        let log_user = chosen.lines[at as usize].user;
        let exclude: Vec<u32> = had[log_user as usize].iter().filter_map(|&item| scene.row(item)).collect();
        let user = scene.shopper(log_user);
        // Of a shopper who is new to the version, what they bought is all there is.
        let recent = if user.is_some() { Vec::new() } else { exclude.iter().map(|&item| (item, 1.0)).collect() };
        let filter = ItemFilter { exclude, ..ItemFilter::default() };
        bundle.for_user(&ForUser { user, recent, k: campaign.k, filter, exclude_bought: true, ..ForUser::default() })
    };
    let keys: Vec<u32> = (0..chosen.lines.len() as u32).collect();
    let answers = asked(campaign, &keys, list);
    let rows: Vec<(&Lapsed, u32, &Ranked)> =
        lines(&keys, &answers).into_iter().map(|(at, rank, ranked)| (&chosen.lines[at as usize], rank, ranked)).collect();
    let reasons: Vec<Option<String>> = rows.iter().map(|row| reason(bundle, row.2)).collect();
    let columns = vec![
        text("user_id", rows.iter().map(|row| Some(scene.log.users.id(row.0.user)))),
        moments("last_order_at", rows.iter().map(|row| row.0.last)),
        number("usual_gap_days", rows.iter().map(|row| Some(row.0.usual as f32))),
        number("silent_days", rows.iter().map(|row| Some(row.0.silent as f32))),
        whole("rank", rows.iter().map(|row| row.1)),
        text("item_id", rows.iter().map(|row| Some(bundle.items.id(row.2.item)))),
        number("score", rows.iter().map(|row| Some(row.2.score))),
        text("reason", reasons.iter().map(Option::as_deref)),
    ];
    let looked_for = "with two orders or more has been silent that long (--lapse)";
    let (promised, why) = (due(campaign, &answers), scene.without(&[EventRole::Purchase], looked_for));
    Ok(chosen.sheet_of(columns, promised, why))
}

/// Orders of what was bought; none of a log without purchases, whose visits are not orders.
fn bought(log: &aisle_data::EventLog) -> Orders {
    Orders::of(&log.select(|event| log.type_of(event).role == EventRole::Purchase))
}

/// Shoppers by ascending row.
fn habits(orders: &Orders) -> Vec<Habit> {
    let mut moments: Vec<(u32, i64)> =
        (0..orders.len()).map(|order| (orders.user[order], orders.time[order])).filter(|(user, _)| *user != NONE).collect();
    moments.sort_unstable();
    moments
        .chunk_by(|a, b| a.0 == b.0)
        .filter_map(|own| {
            let days = own.chunk_by(|a, b| (a.1 as f64 / DAY).floor() == (b.1 as f64 / DAY).floor()).count();
            let (first, last) = (own.first()?, own.last()?);
            let gap = (last.1 - first.1) as f64 / DAY / days.saturating_sub(1) as f64;
            (days >= 2).then(|| Habit { user: last.0, orders: days, last: last.1, gap: gap.max(LEAST_GAP) })
        })
        .collect()
}

fn lapsed(habits: &[Habit], now: i64, lapse: f64) -> Vec<Lapsed> {
    let mut gaps: Vec<f64> = habits.iter().map(|habit| habit.gap).collect();
    gaps.sort_by(f64::total_cmp);
    let Some(&of_all) = gaps.get(gaps.len() / 2) else { return Vec::new() };
    let lapsed = |habit: &Habit| {
        let own = (habit.orders - 1) as f64;
        let usual = ((own * habit.gap.ln() + of_all.ln()) / (own + 1.0)).exp();
        let silent = (now - habit.last) as f64 / DAY;
        (silent > lapse * usual).then_some(Lapsed { user: habit.user, last: habit.last, usual, silent })
    };
    habits.iter().filter_map(lapsed).collect()
}

/// What each shopper bought, by shopper row.
fn items_of(orders: &Orders, users: usize) -> Vec<Vec<u32>> {
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

    fn habit(user: u32, orders: usize, last: i64, gap: f64) -> Habit {
        Habit { user, orders, last: last * DAY as i64, gap }
    }

    #[test]
    fn a_habit_of_one_gap_is_half_everybodys() {
        // The median of 1, 4 and 16 is 4: the first shopper's usual gap is √(1 · 4) = 2, the last one's (16³ · 4)^¼ = 11.3.
        let habits = [habit(0, 2, 95, 1.0), habit(1, 2, 95, 4.0), habit(2, 4, 95, 16.0)];
        let found = lapsed(&habits, 100 * DAY as i64, 2.0);
        assert_eq!(found.iter().map(|lapsed| lapsed.user).collect::<Vec<_>>(), [0]);
        assert!((found[0].usual - 2.0).abs() < 1e-12 && found[0].silent == 5.0);
        let later = lapsed(&habits, 118 * DAY as i64, 2.0);
        assert!(later.len() == 3 && (later[2].usual - (16f64.powi(3) * 4.0).powf(0.25)).abs() < 1e-9);
    }
}

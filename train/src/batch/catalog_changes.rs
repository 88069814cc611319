//! What changed in the catalogue since a shopper looked: a lower price, or stock again.

use super::Campaign;
use super::snapshot::{ItemEvents, PriceHistory, Snapshot, for_each_shopper};
use super::table::{Column, Table, ids, number, times};
use aisle_data::EventRole;
use anyhow::Result;
use std::cmp::Reverse;

/// The events in which a shopper sees an item.
const SEEN: [EventRole; 2] = [EventRole::View, EventRole::Cart];
/// Prices are stored in 24 bits: a tenth off may come out a millionth less.
const ROUNDING: f64 = 1e-6;

/// An item that a shopper saw, as it is now.
struct SeenItem {
    user: u32,
    item: u32,
    /// When it was seen last, milliseconds since 1970.
    seen_at: i64,
    price_then: Option<f32>,
    price_now: Option<f32>,
    /// How much cheaper it is now, as a share of the price then.
    drop: f32,
}

/// Lists items seen within `window`, neither bought since nor within `bought`, that can be bought
/// now for at least `min_drop` less than when the shopper last saw them.
///
/// Columns: `user_id`, `item_id`; `seen_at`, the last view or cart event; `price_then`, that of the
/// event, else the median that the log has of the item for the week up to it (no row if it has
/// none); `price_now`; `drop`, as a share of `price_then`. Rows by shopper, then the largest drop
/// first.
pub(super) fn price_drop(campaign: &Campaign) -> Result<Table> {
    let snapshot = campaign.snapshot()?;
    let (now, thresholds) = (snapshot.now, &campaign.thresholds);
    let prices = PriceHistory::of(snapshot, thresholds.window);
    let rows = for_each_shopper(campaign, |user, items| {
        let cheaper = |events: &ItemEvents| {
            let (seen_at, event) = last_seen(events, now - thresholds.window)?;
            let is_bought = events.is_bought_since(now - thresholds.bought);
            if is_bought || !snapshot.is_available(events.item) {
                return None;
            }
            let (then, price) = (prices.seen_at(event)?, snapshot.price(events.item)?);
            let drop = (f64::from(then) - f64::from(price)) / f64::from(then);
            let is_enough = drop > 0.0 && drop + ROUNDING >= thresholds.min_drop;
            is_enough.then_some(SeenItem {
                user,
                item: events.item,
                seen_at,
                price_then: Some(then),
                price_now: Some(price),
                drop: drop as f32,
            })
        };
        let mut seen: Vec<SeenItem> = items.iter().filter_map(cheaper).collect();
        seen.sort_by(|a, b| b.drop.total_cmp(&a.drop).then(a.item.cmp(&b.item)));
        seen
    })?;
    let admitted = campaign.admit_rows(rows, |row| row.user)?;
    let mut columns = shared_columns(snapshot, &admitted.rows);
    columns.push(number(
        "drop",
        admitted.rows.iter().map(|row| Some(row.drop)),
    ));
    let searched = "saw an item within the window that is so much cheaper now (--min-drop; give \
                    the prices of now with --items)";
    Ok(admitted.into_table(columns, snapshot.why_empty(&SEEN, searched)))
}

/// Lists items seen within `window` and not bought since, that were unavailable when the version
/// was made, and that can be bought now.
///
/// Columns: `user_id`, `item_id`; `seen_at`, the last view or cart event; `price_then`, as for a
/// price drop (null if the log has none); `price_now` (null if unknown). Rows by shopper, then the
/// latest seen first.
pub(super) fn back_in_stock(campaign: &Campaign) -> Result<Table> {
    let snapshot = campaign.snapshot()?;
    let window = campaign.thresholds.window;
    let prices = PriceHistory::of(snapshot, window);
    let rows = for_each_shopper(campaign, |user, items| {
        let back = |events: &ItemEvents| {
            let item = events.item;
            let (seen_at, event) = last_seen(events, snapshot.now - window)?;
            let is_back = snapshot.was_out_of_stock(item) && snapshot.is_available(item);
            is_back.then(|| SeenItem {
                user,
                item,
                seen_at,
                price_then: prices.seen_at(event),
                price_now: snapshot.price(item),
                drop: 0.0,
            })
        };
        let mut seen: Vec<SeenItem> = items.iter().filter_map(back).collect();
        seen.sort_by_key(|one| (Reverse(one.seen_at), one.item));
        seen
    })?;
    let admitted = campaign.admit_rows(rows, |row| row.user)?;
    let searched = "saw an item within the window that was out of stock when the version was made \
                    and is back (give the stock of now with --items)";
    let columns = shared_columns(snapshot, &admitted.rows);
    Ok(admitted.into_table(columns, snapshot.why_empty(&SEEN, searched)))
}

/// Time and row of the event in which the shopper saw the item last; `None` if that was before
/// `since`, or if they bought it then or later.
fn last_seen(events: &ItemEvents, since: i64) -> Option<(i64, usize)> {
    let (time, event) = events.last(&SEEN)?;
    (time >= since && !events.is_bought_since(time)).then_some((time, event))
}

/// The columns that both tables have.
fn shared_columns(snapshot: &Snapshot, rows: &[SeenItem]) -> Vec<Column> {
    let log = &snapshot.log;
    vec![
        ids("user_id", &log.users, rows.iter().map(|row| row.user)),
        ids("item_id", &log.items, rows.iter().map(|row| row.item)),
        times("seen_at", rows.iter().map(|row| row.seen_at)),
        number("price_then", rows.iter().map(|row| row.price_then)),
        number("price_now", rows.iter().map(|row| row.price_now)),
    ]
}

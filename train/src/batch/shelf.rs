//! What changed on the shelf since a shopper stood before it: a lower price, or stock again.

use super::Campaign;
use super::scene::{Prices, Scene, Trace, of_each};
use super::sheet::{Column, Sheet, moments, number, text};
use aisle_data::EventRole;
use anyhow::Result;
use std::cmp::Reverse;

/// What it means to have seen an item.
const SEEN: [EventRole; 2] = [EventRole::View, EventRole::Cart];
/// Prices are stored in 24 bits: a tenth off may come out a millionth less.
const ROUNDING: f64 = 1e-6;

/// An item seen, as it is now.
struct Sight {
    user: u32,
    item: u32,
    at: i64,
    then: Option<f32>,
    now: Option<f32>,
    /// Share of the price then.
    drop: f32,
}

/// Items seen within `window`, neither bought since nor within `bought`, that can be bought now for at least `min_drop` less than when the shopper last
/// saw them.
///
/// Columns: `user_id`, `item_id`; `seen_at`, the last view or cart event; `price_then`, what that event says, else the median that the log has of the item
/// for the week up to it (no row if it has none); `price_now`; `drop`, as a share of `price_then`. Rows by shopper, then the largest drop first.
pub(super) fn price_drop(campaign: &Campaign) -> Result<Sheet> {
    let scene = campaign.scene()?;
    let (now, terms) = (scene.now, &campaign.terms);
    let prices = Prices::of(scene, terms.window);
    let lines = of_each(campaign, |user, traces| {
        let cheaper = |trace: &Trace| {
            let (at, event) = trace.last(&SEEN).filter(|&(at, _)| at >= now - terms.window && !trace.bought_since(at))?;
            if trace.bought_since(now - terms.bought) || !scene.available(trace.item) {
                return None;
            }
            let (then, price) = (prices.seen(event)?, scene.price(trace.item)?);
            let drop = (f64::from(then) - f64::from(price)) / f64::from(then);
            let sight = Sight { user, item: trace.item, at, then: Some(then), now: Some(price), drop: drop as f32 };
            (drop > 0.0 && drop + ROUNDING >= terms.min_drop).then_some(sight)
        };
        let mut sights: Vec<Sight> = traces.iter().filter_map(cheaper).collect();
        sights.sort_by(|a, b| b.drop.total_cmp(&a.drop).then(a.item.cmp(&b.item)));
        sights
    })?;
    let chosen = campaign.choose(lines, |sight| sight.user)?;
    let mut columns = shared(scene, &chosen.lines);
    columns.push(number("drop", chosen.lines.iter().map(|sight| Some(sight.drop))));
    let looked_for = "saw an item within the window that is so much cheaper now (--min-drop; give the prices of now with --items)";
    Ok(chosen.sheet(columns, scene.without(&SEEN, looked_for)))
}

/// Items seen within `window` and not bought since, that the version's catalogue knew as unavailable, and that can be bought now.
///
/// Columns: `user_id`, `item_id`; `seen_at`, the last view or cart event; `price_then`, as for a price drop (null if the log has none); `price_now`
/// (null if unknown). Rows by shopper, then the latest seen first.
pub(super) fn back_in_stock(campaign: &Campaign) -> Result<Sheet> {
    let scene = campaign.scene()?;
    let prices = Prices::of(scene, campaign.terms.window);
    let lines = of_each(campaign, |user, traces| {
        let back = |trace: &Trace| {
            let (at, event) =
                trace.last(&SEEN).filter(|&(at, _)| at >= scene.now - campaign.terms.window && !trace.bought_since(at))?;
            let (then, now) = (prices.seen(event), scene.price(trace.item));
            let back = scene.was_out(trace.item) && scene.available(trace.item);
            back.then_some(Sight { user, item: trace.item, at, then, now, drop: 0.0 })
        };
        let mut sights: Vec<Sight> = traces.iter().filter_map(back).collect();
        sights.sort_by_key(|sight| (Reverse(sight.at), sight.item));
        sights
    })?;
    let chosen = campaign.choose(lines, |sight| sight.user)?;
    let looked_for = "saw an item within the window that was out of stock when the version was made and is back (give the stock of now with --items)";
    let columns = shared(scene, &chosen.lines);
    Ok(chosen.sheet(columns, scene.without(&SEEN, looked_for)))
}

/// The columns that both have.
fn shared(scene: &Scene, lines: &[Sight]) -> Vec<Column> {
    vec![
        text("user_id", lines.iter().map(|sight| Some(scene.log.users.id(sight.user)))),
        text("item_id", lines.iter().map(|sight| Some(scene.log.items.id(sight.item)))),
        moments("seen_at", lines.iter().map(|sight| sight.at)),
        number("price_then", lines.iter().map(|sight| sight.then)),
        number("price_now", lines.iter().map(|sight| sight.now)),
    ]
}

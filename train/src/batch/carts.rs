//! What shoppers wanted and left: carts that were not bought, and items looked at again and again.

use super::Campaign;
use super::snapshot::{ItemEvents, PriceHistory, Snapshot, for_each_shopper};
use super::table::{Table, ids, number, times, whole};
use aisle_data::{EventRole, EventType};
use aisle_models::{CartRequest, Progress, cross_sell, days_since_epoch};
use anyhow::{Result, bail};
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, BooleanArray};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::sync::Arc;

/// Carts between two steps of the progress bar.
const BLOCK: usize = 1024;

/// An item left in a cart.
struct CartLine {
    user: u32,
    item: u32,
    /// When it was put in last, milliseconds since 1970.
    carted_at: i64,
    quantity: f32,
    price_then: Option<f32>,
}

/// Whether an event takes an item out of the cart: a return, or a type that is named a removal.
fn removes(event_type: &EventType) -> bool {
    let is_named_removal = || event_type.name.to_lowercase().contains("remove");
    event_type.role == EventRole::Return
        || (event_type.role == EventRole::Other && is_named_removal())
}

/// An item's last stay in the cart.
#[derive(Clone, Copy)]
struct Stay {
    /// When it was put in last.
    time: i64,
    /// The event that put it in last.
    event: usize,
    /// Units put in since the cart last held none of it.
    quantity: f32,
}

/// The item's stay in the cart; `None` if it was bought, taken out or brought back since. What
/// happens at the same time as a purchase belongs to the purchase: many logs know only the day.
fn last_stay(snapshot: &Snapshot, events: &ItemEvents) -> Option<Stay> {
    let mut stay: Option<Stay> = None;
    let mut ended = i64::MIN;
    for (time, event, role) in events.iter() {
        match role {
            EventRole::Cart if time > ended => {
                let added = snapshot.log.quantity.get(event).copied().unwrap_or(1.0);
                let quantity = stay.map_or(0.0, |before| before.quantity) + added;
                stay = Some(Stay {
                    time,
                    event,
                    quantity,
                });
            }
            EventRole::Purchase => (stay, ended) = (None, time),
            _ if removes(snapshot.log.type_of(event)) => (stay, ended) = (None, time),
            _ => {}
        }
    }
    stay
}

/// When something was put into a shopper's cart or taken out last; `None` without any cart event.
fn last_touched(snapshot: &Snapshot, items: &[ItemEvents]) -> Option<i64> {
    let touches = |event: usize| {
        let event_type = snapshot.log.type_of(event);
        event_type.role == EventRole::Cart || removes(event_type)
    };
    let events = items.iter().flat_map(ItemEvents::iter);
    let touching = events.filter(|&(_, event, _)| touches(event));
    touching.map(|(time, _, _)| time).max()
}

/// Lists carts that nobody touched for `idle`, item by item, if put in within `window`.
///
/// Columns: `user_id`, `item_id`; `carted_at`, the last time it was put in; `quantity`, units since
/// the cart last held none of it; `price_then`, that of the event, else the median of the item's
/// week (null if the log has none); `price_now` (null if unknown); `available`; `complements`, ids
/// that go with the whole cart, exactly min(k, eligible), the same for each row of the cart. Rows
/// by shopper, then the latest first.
pub(super) fn abandoned(campaign: &Campaign) -> Result<Table> {
    let snapshot = campaign.snapshot()?;
    let (now, thresholds) = (snapshot.now, &campaign.thresholds);
    let prices = PriceHistory::of(snapshot, thresholds.window);
    let lines = for_each_shopper(campaign, |user, items| {
        let touched = last_touched(snapshot, items);
        if touched.is_none_or(|touched| touched > now - thresholds.idle) {
            return Vec::new();
        }
        let line = |events: &ItemEvents| {
            let stay = last_stay(snapshot, events)?;
            (stay.time >= now - thresholds.window).then(|| CartLine {
                user,
                item: events.item,
                carted_at: stay.time,
                quantity: stay.quantity,
                price_then: prices.seen_at(stay.event),
            })
        };
        let mut cart: Vec<CartLine> = items.iter().filter_map(line).collect();
        cart.sort_by_key(|line| (Reverse(line.carted_at), line.item));
        cart
    })?;
    let admitted = campaign.admit_rows(lines, |line| line.user)?;
    let complements = complements_of_lines(campaign, &admitted.rows)?;
    let lines = &admitted.rows;
    let log = &snapshot.log;
    let available = lines.iter().map(|line| snapshot.is_available(line.item));
    let available = BooleanArray::from_iter(available.map(Some));
    let columns = vec![
        ids("user_id", &log.users, lines.iter().map(|line| line.user)),
        ids("item_id", &log.items, lines.iter().map(|line| line.item)),
        times("carted_at", lines.iter().map(|line| line.carted_at)),
        number("quantity", lines.iter().map(|line| Some(line.quantity))),
        number("price_then", lines.iter().map(|line| line.price_then)),
        number(
            "price_now",
            lines.iter().map(|line| snapshot.price(line.item)),
        ),
        ("available".into(), Arc::new(available) as ArrayRef),
        ("complements".into(), complements),
    ];
    let searched = "left a cart idle that long, within the window (--idle-hours, --window-days),";
    Ok(admitted.into_table(columns, snapshot.why_empty(&[EventRole::Cart], searched)))
}

/// For each line, the ids that go with its whole cart. The lines must be sorted by shopper.
fn complements_of_lines(campaign: &Campaign, lines: &[CartLine]) -> Result<ArrayRef> {
    let carts: Vec<&[CartLine]> = lines.chunk_by(|a, b| a.user == b.user).collect();
    let mut lists = ListBuilder::new(StringBuilder::new());
    for (number, block) in carts.chunks(BLOCK).enumerate() {
        let complements: Vec<Vec<String>> = block
            .par_iter()
            .map(|cart| complements_of_cart(campaign, cart))
            .collect::<Result<_>>()?;
        for (cart, ids) in block.iter().zip(&complements) {
            for _ in *cart {
                lists.append_value(ids.iter().map(Some));
            }
        }
        let done = number * BLOCK + block.len();
        campaign.progress.step("carts", done, carts.len());
    }
    Ok(Arc::new(lists.finish()))
}

/// Ids that go with a whole cart.
fn complements_of_cart(campaign: &Campaign, cart: &[CartLine]) -> Result<Vec<String>> {
    let snapshot = campaign.snapshot()?;
    let models = campaign.models();
    let items = cart.iter().map(|line| line.item);
    let user = cart.first().and_then(|line| snapshot.model_user(line.user));
    let request = CartRequest {
        cart: items.filter_map(|item| snapshot.model_item(item)).collect(),
        k: campaign.k,
        user,
        now: Some(days_since_epoch(snapshot.now)),
        ..CartRequest::default()
    };
    let answer = cross_sell(models, &campaign.live, &request);
    let expected = campaign.k.min(answer.eligible);
    if answer.items.len() != expected {
        bail!(
            "{} complements made where {expected} were due: a fault of this program; nothing was \
             written",
            answer.items.len()
        );
    }
    let ids = answer
        .items
        .iter()
        .map(|ranked| models.items.id(ranked.item));
    Ok(ids.map(str::to_string).collect())
}

/// An item that a shopper looked at.
struct ViewedItem {
    user: u32,
    item: u32,
    views: u32,
    /// When it was looked at last, milliseconds since 1970.
    viewed_at: i64,
    price_then: Option<f32>,
}

/// Lists items that a shopper looked at `min_views` times or more within `window`, since they last
/// bought it if ever, and that can be bought now.
///
/// Columns: `user_id`, `item_id`; `views`, how often; `viewed_at`, the last time; `price_then`,
/// that of the event, else the median of the item's week (null if the log has none); `price_now`
/// (null if unknown). Rows by shopper, then the most looked at first.
pub(super) fn browsed(campaign: &Campaign) -> Result<Table> {
    let snapshot = campaign.snapshot()?;
    let thresholds = &campaign.thresholds;
    let since = snapshot.now - thresholds.window;
    let prices = PriceHistory::of(snapshot, thresholds.window);
    let rows = for_each_shopper(campaign, |user, items| {
        let viewed = |events: &ItemEvents| {
            let bought = events.last_purchase().unwrap_or(i64::MIN);
            let is_view = |&(time, _, role): &(i64, usize, EventRole)| {
                role == EventRole::View && time >= since && time > bought
            };
            let views: Vec<(i64, usize, EventRole)> = events.iter().filter(is_view).collect();
            let &(viewed_at, event, _) = views.last()?;
            let is_listed =
                views.len() >= thresholds.min_views as usize && snapshot.is_available(events.item);
            is_listed.then(|| ViewedItem {
                user,
                item: events.item,
                views: views.len() as u32,
                viewed_at,
                price_then: prices.seen_at(event),
            })
        };
        let mut viewed: Vec<ViewedItem> = items.iter().filter_map(viewed).collect();
        viewed.sort_by_key(|one| (Reverse(one.views), Reverse(one.viewed_at), one.item));
        viewed
    })?;
    let admitted = campaign.admit_rows(rows, |row| row.user)?;
    let (rows, log) = (&admitted.rows, &snapshot.log);
    let columns = vec![
        ids("user_id", &log.users, rows.iter().map(|row| row.user)),
        ids("item_id", &log.items, rows.iter().map(|row| row.item)),
        whole("views", rows.iter().map(|row| row.views)),
        times("viewed_at", rows.iter().map(|row| row.viewed_at)),
        number("price_then", rows.iter().map(|row| row.price_then)),
        number("price_now", rows.iter().map(|row| snapshot.price(row.item))),
    ];
    let searched = "looked at an item that often within the window (--min-views, --window-days) \
                    without buying it";
    Ok(admitted.into_table(columns, snapshot.why_empty(&[EventRole::View], searched)))
}

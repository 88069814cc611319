//! What shoppers wanted and left: carts that were not bought, and items looked at again and again.

use super::Campaign;
use super::scene::{Prices, Scene, Trace, of_each};
use super::sheet::{Sheet, moments, number, text, whole};
use aisle_data::{EventRole, EventType};
use aisle_models::{ForCart, Watch, day};
use anyhow::{Result, bail};
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, BooleanArray};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::sync::Arc;

/// An item left in a cart.
struct Left {
    user: u32,
    item: u32,
    /// Milliseconds, of the last time it was put in.
    at: i64,
    quantity: f32,
    price: Option<f32>,
}

/// Whether an event takes an item out of the cart, or brings it back: a return, or a type that is named a removal.
fn takes_out(kind: &EventType) -> bool {
    kind.role == EventRole::Return || (kind.role == EventRole::Other && kind.name.to_lowercase().contains("remove"))
}

/// An item's last stay in the cart: when it was put in last, by which event, and how many units since the cart last held none of it. `None` if it
/// was bought, taken out or brought back since. What happens at the same moment as a purchase belongs to it: many logs know only the day.
fn stay(scene: &Scene, trace: &Trace) -> Option<(i64, usize, f32)> {
    let mut stay: Option<(i64, usize, f32)> = None;
    let mut ended = i64::MIN;
    for (time, event, role) in trace.events() {
        match role {
            EventRole::Cart if time > ended => {
                let units = scene.log.quantity.get(event).copied().unwrap_or(1.0);
                stay = Some((time, event, stay.map_or(0.0, |(_, _, before)| before) + units));
            }
            EventRole::Purchase => (stay, ended) = (None, time),
            _ if takes_out(scene.log.type_of(event)) => (stay, ended) = (None, time),
            _ => {}
        }
    }
    stay
}

/// When a cart was last touched: something was put in or taken out.
fn touched(scene: &Scene, traces: &[Trace]) -> Option<i64> {
    let touches = |event: usize| {
        let kind = scene.log.type_of(event);
        kind.role == EventRole::Cart || takes_out(kind)
    };
    traces.iter().flat_map(Trace::events).filter(|&(_, event, _)| touches(event)).map(|(time, _, _)| time).max()
}

/// Carts that nobody touched for `idle`, item by item, if put in within `window`.
///
/// Columns: `user_id`, `item_id`; `carted_at`, the last time it was put in; `quantity`, units since the cart last held none of it; `price_then`, what
/// the event says, else the median of the item's week (null if the log has none); `price_now` (null if unknown); `available`; `complements`, ids
/// that go with the whole cart, exactly min(k, eligible), the same for each row of the cart. Rows by shopper, then the latest first.
pub(super) fn abandoned(campaign: &Campaign) -> Result<Sheet> {
    let scene = campaign.scene()?;
    let (now, terms) = (scene.now, &campaign.terms);
    let prices = Prices::of(scene, terms.window);
    let lines = of_each(campaign, |user, traces| {
        if touched(scene, traces).is_none_or(|touched| touched > now - terms.idle) {
            return Vec::new();
        }
        let left = |trace: &Trace| {
            let (at, event, quantity) = stay(scene, trace).filter(|&(at, ..)| at >= now - terms.window)?;
            Some(Left { user, item: trace.item, at, quantity, price: prices.seen(event) })
        };
        let mut cart: Vec<Left> = traces.iter().filter_map(left).collect();
        cart.sort_by_key(|left| (Reverse(left.at), left.item));
        cart
    })?;
    let chosen = campaign.choose(lines, |left| left.user)?;
    let carts: Vec<&[Left]> = chosen.lines.chunk_by(|a, b| a.user == b.user).collect();
    let mut complements: Vec<Vec<String>> = Vec::with_capacity(carts.len());
    for block in carts.chunks(1024) {
        complements.extend(block.par_iter().map(|cart| goes_with(campaign, cart)).collect::<Result<Vec<_>>>()?);
        campaign.progress.step("carts", complements.len(), carts.len());
    }
    let mut lists = ListBuilder::new(StringBuilder::new());
    for (cart, ids) in carts.iter().zip(&complements) {
        cart.iter().for_each(|_| lists.append_value(ids.iter().map(Some)));
    }
    let lines = &chosen.lines;
    let id = |item: u32| scene.log.items.id(item);
    let available = BooleanArray::from_iter(lines.iter().map(|left| Some(scene.available(left.item))));
    let columns = vec![
        text("user_id", lines.iter().map(|left| Some(scene.log.users.id(left.user)))),
        text("item_id", lines.iter().map(|left| Some(id(left.item)))),
        moments("carted_at", lines.iter().map(|left| left.at)),
        number("quantity", lines.iter().map(|left| Some(left.quantity))),
        number("price_then", lines.iter().map(|left| left.price)),
        number("price_now", lines.iter().map(|left| scene.price(left.item))),
        ("available".into(), Arc::new(available) as ArrayRef),
        ("complements".into(), Arc::new(lists.finish()) as ArrayRef),
    ];
    let looked_for = "left a cart idle that long, within the window (--idle-hours, --window-days),";
    Ok(chosen.sheet(columns, scene.without(&[EventRole::Cart], looked_for)))
}

/// Ids that go with a whole cart.
fn goes_with(campaign: &Campaign, cart: &[Left]) -> Result<Vec<String>> {
    let scene = campaign.scene()?;
    let rows: Vec<u32> = cart.iter().filter_map(|left| scene.row(left.item)).collect();
    let user = cart.first().and_then(|left| scene.shopper(left.user));
    let ask = ForCart { cart: rows, k: campaign.k, user, now: Some(day(scene.now)), ..ForCart::default() };
    let answer = campaign.bundle.cross_sell(&ask);
    let promised = campaign.k.min(answer.eligible);
    if answer.items.len() != promised {
        bail!("{} complements made where {promised} were due: a fault of this program; nothing was written", answer.items.len());
    }
    Ok(answer.items.iter().map(|ranked| campaign.bundle.items.id(ranked.item).to_string()).collect())
}

/// An item looked at.
struct Eyed {
    user: u32,
    item: u32,
    views: u32,
    at: i64,
    price: Option<f32>,
}

/// Items that a shopper looked at `min_views` times or more within `window`, since they last bought it if ever, and that can be bought now.
///
/// Columns: `user_id`, `item_id`; `views`, how often; `viewed_at`, the last time; `price_then`, what the event says, else the median of the item's week
/// (null if the log has none); `price_now` (null if unknown). Rows by shopper, then the most looked at first.
pub(super) fn browsed(campaign: &Campaign) -> Result<Sheet> {
    let scene = campaign.scene()?;
    let since = scene.now - campaign.terms.window;
    let prices = Prices::of(scene, campaign.terms.window);
    let lines = of_each(campaign, |user, traces| {
        let eyed = |trace: &Trace| {
            let bought = trace.bought().unwrap_or(i64::MIN);
            let views = trace.events().filter(|&(time, _, role)| role == EventRole::View && time >= since && time > bought);
            let views: Vec<(i64, usize, EventRole)> = views.collect();
            let &(at, event, _) = views.last().filter(|_| views.len() >= campaign.terms.min_views as usize)?;
            let eyed = Eyed { user, item: trace.item, views: views.len() as u32, at, price: prices.seen(event) };
            scene.available(trace.item).then_some(eyed)
        };
        let mut eyed: Vec<Eyed> = traces.iter().filter_map(eyed).collect();
        eyed.sort_by_key(|eyed| (Reverse(eyed.views), Reverse(eyed.at), eyed.item));
        eyed
    })?;
    let chosen = campaign.choose(lines, |eyed| eyed.user)?;
    let lines = &chosen.lines;
    let columns = vec![
        text("user_id", lines.iter().map(|eyed| Some(scene.log.users.id(eyed.user)))),
        text("item_id", lines.iter().map(|eyed| Some(scene.log.items.id(eyed.item)))),
        whole("views", lines.iter().map(|eyed| eyed.views)),
        moments("viewed_at", lines.iter().map(|eyed| eyed.at)),
        number("price_then", lines.iter().map(|eyed| eyed.price)),
        number("price_now", lines.iter().map(|eyed| scene.price(eyed.item))),
    ];
    let looked_for = "looked at an item that often within the window (--min-views, --window-days) without buying it";
    Ok(chosen.sheet(columns, scene.without(&[EventRole::View], looked_for)))
}

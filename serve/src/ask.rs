//! From a request to a question: limits checked, ids looked up, money and events understood.

use crate::error::ServeError;
use crate::rule_service::controls;
use aisle_data::NewItem;
use aisle_models::{Bundle, Circumstances, ItemFilter, ItemNews, Scene};
use aisle_proto::{Controls, Filter, HistoryItem, ItemUpdate, Money, RequestContext};
use prost_types::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Answers a request may ask for.
pub const MAX_PAGE: u32 = 1000;
/// Answers where the request says nothing.
const DEFAULT_PAGE: u32 = 20;
/// Updates in one request.
const MAX_UPDATES: usize = 10_000;
/// Ids in one list of a request.
pub const MAX_IDS: usize = 1000;

/// The number of answers.
pub fn page_size(asked: u32) -> Result<usize, ServeError> {
    match asked {
        0 => Ok(DEFAULT_PAGE as usize),
        1..=MAX_PAGE => Ok(asked as usize),
        _ => Err(ServeError::Invalid {
            field: "page_size",
            what: format!("{asked}: expected 1 to {MAX_PAGE}, or 0 for {DEFAULT_PAGE}"),
        }),
    }
}

/// Refuses lists that are too long.
pub fn check_len(field: &'static str, found: usize) -> Result<(), ServeError> {
    if found <= MAX_IDS {
        return Ok(());
    }
    Err(ServeError::Invalid { field, what: format!("{found} entries: expected at most {MAX_IDS}") })
}

/// A field that must not be empty.
pub fn required(field: &'static str, value: &str) -> Result<(), ServeError> {
    if value.is_empty() { Err(ServeError::Invalid { field, what: "empty: expected an id".into() }) } else { Ok(()) }
}

/// Ids of a request by row; the version does not know the others.
#[derive(Debug, Default)]
pub struct Known {
    /// Rows, in the request's order.
    pub rows: Vec<u32>,
    /// Ids without a row.
    pub unknown: Vec<String>,
}

/// Looks ids up.
pub fn known<'a>(bundle: &Bundle, ids: impl IntoIterator<Item = &'a str>) -> Known {
    let mut found = Known::default();
    for id in ids {
        match bundle.items.get(id) {
            Some(row) => found.rows.push(row),
            None => found.unknown.push(id.to_string()),
        }
    }
    found
}

/// What a shopper did, weighted as the version was trained. Unknown items go to `unknown`.
pub fn history(bundle: &Bundle, items: &[HistoryItem], unknown: &mut Vec<String>) -> Vec<(u32, f32)> {
    let config = &bundle.manifest.lineage.config;
    items
        .iter()
        .filter_map(|act| {
            let kind = if act.event_type.is_empty() { "purchase" } else { act.event_type.as_str() };
            let row = bundle.items.get(&act.item_id);
            if row.is_none() {
                unknown.push(act.item_id.clone());
            }
            Some((row?, config.meaning(kind).1))
        })
        .collect()
}

fn price(field: &'static str, money: &Option<Money>) -> Result<Option<f32>, ServeError> {
    let Some(money) = money else { return Ok(None) };
    if money.units < 0 || !(0..1_000_000_000).contains(&money.nanos) {
        let what =
            format!("{} units and {} nanos: expected no negative amount and nanos below 1,000,000,000", money.units, money.nanos);
        return Err(ServeError::Invalid { field, what });
    }
    Ok(Some(money.to_price()))
}

/// The gate of a request. What the user of `without` bought is left out, and the items of `shown`; ids that the version does not know go to `unknown`.
pub fn filter(
    bundle: &Bundle,
    filter: Option<&Filter>,
    without: Option<u32>,
    shown: &[u32],
    unknown: &mut Vec<String>,
) -> Result<ItemFilter, ServeError> {
    let bought = [without.map_or(&[][..], |user| bundle.bought(user)), shown].concat();
    let Some(filter) = filter else { return Ok(ItemFilter { exclude: bought, ..ItemFilter::default() }) };
    check_len("filter.exclude_item_ids", filter.exclude_item_ids.len())?;
    check_len("filter.categories", filter.categories.len())?;
    check_len("filter.exclude_categories", filter.exclude_categories.len())?;
    let (min_price, max_price) = (price("filter.min_price", &filter.min_price)?, price("filter.max_price", &filter.max_price)?);
    if let (Some(min), Some(max)) = (min_price, max_price)
        && min > max
    {
        return Err(ServeError::Invalid { field: "filter.max_price", what: format!("{max} is below min_price {min}") });
    }
    let currency = |money: &Option<Money>| money.as_ref().map(|money| money.currency_code.clone()).filter(|code| !code.is_empty());
    let (low, high) = (currency(&filter.min_price), currency(&filter.max_price));
    if let (Some(low), Some(high)) = (&low, &high)
        && low != high
    {
        let what = format!("{high} beside min_price in {low}: expected one currency; Aisle does not convert");
        return Err(ServeError::Invalid { field: "filter.max_price.currency_code", what });
    }
    let condition = match filter.condition.trim() {
        "" => None,
        text => {
            Some(bundle.chosen(text).map_err(|error| ServeError::Invalid { field: "filter.condition", what: error.to_string() })?)
        }
    };
    let mut excluded = known(bundle, filter.exclude_item_ids.iter().map(String::as_str));
    unknown.append(&mut excluded.unknown);
    excluded.rows.extend(bought);
    Ok(ItemFilter {
        categories: filter.categories.iter().map(|path| aisle_data::tidy(path)).collect(),
        exclude_categories: filter.exclude_categories.iter().map(|path| aisle_data::tidy(path)).collect(),
        min_price,
        max_price,
        currency: low.or(high),
        include_unavailable: filter.include_unavailable,
        exclude: excluded.rows,
        condition,
    })
}

/// The gate of a cart that shall reach a spend: only items that alone close the gap.
pub fn closing(filter: &mut ItemFilter, gap: &Option<Money>) -> Result<(), ServeError> {
    let (Some(money), Some(missing)) = (gap, price("spend_gap", gap)?) else { return Ok(()) };
    if let Some(known) = filter.currency.as_ref().filter(|known| !money.currency_code.is_empty() && **known != money.currency_code)
    {
        let what = format!("{} beside a filter in {known}: expected one currency; Aisle does not convert", money.currency_code);
        return Err(ServeError::Invalid { field: "spend_gap.currency_code", what });
    }
    if !money.currency_code.is_empty() {
        filter.currency = Some(money.currency_code.clone());
    }
    filter.min_price = Some(missing.max(filter.min_price.unwrap_or(0.0)));
    Ok(())
}

/// Where and when a question is asked, as the request tells it.
pub struct Setting<'a> {
    /// The shop's name for the place.
    pub placement: &'a str,
    /// The moment.
    pub context: Option<&'a RequestContext>,
    /// How the answer is to be arranged.
    pub controls: Option<&'a Controls>,
    /// The user's id.
    pub user_id: &'a str,
    /// The user's row.
    pub user: Option<u32>,
    /// Whether nobody is told why items are in the answer.
    pub omit_reasons: bool,
}

/// Longest value of a context, and most attributes of one.
const LONGEST_VALUE: usize = 256;
const MOST_ATTRIBUTES: usize = 32;

/// What surrounds a question.
pub fn scene(bundle: &Bundle, setting: &Setting) -> Result<Scene, ServeError> {
    let controls = controls(setting.controls);
    controls.check().map_err(|what| ServeError::Invalid { field: "controls", what })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
    let mut circumstances = Circumstances::new();
    let mut viewer = setting.user_id;
    let mut local = now;
    if let Some(context) = setting.context {
        if context.attributes.len() > MOST_ATTRIBUTES {
            let what = format!("{} entries: expected at most {MOST_ATTRIBUTES}", context.attributes.len());
            return Err(ServeError::Invalid { field: "context.attributes", what });
        }
        let named = [
            ("device", &context.device),
            ("location", &context.location),
            ("traffic_source", &context.traffic_source),
            ("visitor_state", &context.visitor_state),
        ];
        let named = named.into_iter().chain(context.attributes.iter().map(|(name, value)| (name.as_str(), value)));
        for (name, value) in named.filter(|(_, value)| !value.is_empty()) {
            if value.len() > LONGEST_VALUE || name.len() > LONGEST_VALUE {
                let what = format!("{} bytes for '{:.40}': expected at most {LONGEST_VALUE}", value.len(), name);
                return Err(ServeError::Invalid { field: "context", what });
            }
            circumstances.insert(name.to_string(), aisle_data::tidy(value));
        }
        if viewer.is_empty() {
            viewer = &context.visitor_id;
        }
        if let Some(time) = &context.local_time {
            if !(0..1i64 << 40).contains(&time.seconds) {
                let what = format!("{} seconds since 1970: expected a moment after 1970", time.seconds);
                return Err(ServeError::Invalid { field: "context.local_time", what });
            }
            local = time.seconds * 1000;
        }
    }
    bundle.surmise(&mut circumstances, setting.user, local);
    Ok(Scene {
        placement: setting.placement.to_string(),
        circumstances,
        controls,
        time: Some(now),
        viewer: viewer.to_string(),
        without_reasons: setting.omit_reasons,
    })
}

/// What a request says of items, by id. `currency` tells the one that the catalogue has for an item.
pub fn news(updates: Vec<ItemUpdate>, currency: impl Fn(&str) -> Option<String>) -> Result<ItemNews, ServeError> {
    if updates.len() > MAX_UPDATES {
        let what = format!("{} entries: expected at most {MAX_UPDATES}, so send several", updates.len());
        return Err(ServeError::Invalid { field: "updates", what });
    }
    let mut news = ItemNews::default();
    for update in updates {
        required("updates.item_id", &update.item_id)?;
        let price = price("updates.price", &update.price)?;
        let named = update.price.as_ref().map(|money| money.currency_code.as_str()).filter(|code| !code.is_empty());
        if let (Some(named), Some(known)) = (named, currency(&update.item_id))
            && named != known
        {
            let what =
                format!("{named} for item '{}': expected {known}, as in the catalogue; Aisle does not convert", update.item_id);
            return Err(ServeError::Invalid { field: "updates.price.currency_code", what });
        }
        if let Some(named) = named {
            news.currencies.insert(update.item_id.clone(), named.to_string());
        }
        if let Some(item) = update.new_item {
            news.new.insert(update.item_id.clone(), new_item(item)?);
        }
        let change = news.items.entry(update.item_id).or_default();
        change.available = update.available.or(change.available);
        change.price = price.or(change.price);
    }
    Ok(news)
}

/// Longest text of a new item.
const LONGEST_TEXT: usize = 1024;

fn new_item(item: aisle_proto::NewItem) -> Result<NewItem, ServeError> {
    let texts = [&item.title, &item.category, &item.brand]
        .into_iter()
        .chain(item.attributes.iter().flat_map(|(name, value)| [name, value]));
    if let Some(long) = texts.into_iter().find(|text| text.len() > LONGEST_TEXT) {
        let what = format!("{} bytes in '{long:.40}…': expected at most {LONGEST_TEXT}", long.len());
        return Err(ServeError::Invalid { field: "updates.new_item", what });
    }
    if item.attributes.len() > MOST_ATTRIBUTES {
        let what = format!("{} entries: expected at most {MOST_ATTRIBUTES}", item.attributes.len());
        return Err(ServeError::Invalid { field: "updates.new_item.attributes", what });
    }
    let text = |text: &str| Some(text.trim().to_string()).filter(|text| !text.is_empty());
    Ok(NewItem {
        title: text(&item.title),
        category: Some(aisle_data::tidy(&item.category)).filter(|path| !path.is_empty()),
        brand: text(&item.brand),
        currency: None,
        attributes: item.attributes.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect(),
    })
}

/// After so many days what a version knows of a shopper's habits is too old to count on from.
const STALE_DAYS: f32 = 28.0;

/// The moment of a request in days since 1970, as far as the version can tell what it means; `None` = the end of its log.
pub fn moment(bundle: &Bundle, time: Option<&Timestamp>) -> Result<Option<f32>, ServeError> {
    match time {
        Some(time) if (0..1i64 << 40).contains(&time.seconds) => Ok(Some(aisle_models::day(time.seconds * 1000))),
        Some(time) => Err(ServeError::Invalid {
            field: "request_time",
            what: format!("{} seconds since 1970: expected a moment after 1970, or none for now", time.seconds),
        }),
        None => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
            Ok(Some(aisle_models::day(now)).filter(|now| now - bundle.habits().end() <= STALE_DAYS))
        }
    }
}

/// A price band, if the request asks for one.
pub fn band(bundle: &Bundle, min: f32, max: f32) -> Result<Option<(f32, f32)>, ServeError> {
    if min == 0.0 && max == 0.0 {
        return Ok(None);
    }
    let (default_min, default_max) = bundle.upsell_model().band();
    let band = (if min == 0.0 { default_min } else { min }, if max == 0.0 { default_max } else { max });
    match aisle_models::check_band(band.0, band.1) {
        Ok(()) => Ok(Some(band)),
        Err(_) => {
            Err(ServeError::Invalid { field: "min_price_ratio", what: format!("{} to {}: expected 1 < min < max", band.0, band.1) })
        }
    }
}

//! What a shop knows of each shopper, in the terms of segments: how often, how lately, for how
//! much, and of what they buy.
//!
//! Recency, frequency and monetary value are the three numbers of direct marketing (Hughes,
//! "Strategic Database Marketing", 1994). They are counted as of the end of the log; the price of
//! what was returned is subtracted from the spend.

use crate::algorithms::recommend::Training;
use crate::condition::{FieldType, Schema, Value};
use aisle_data::{EventRole, IdMap, Labels, NONE, millis_to_days};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::ops::Range;

/// A shopper has lapsed after more than this many times the usual gap between orders.
const LAPSED_GAPS: f64 = 4.0;
/// The names of the price bands, by their number.
const PRICE_BANDS: [&str; 3] = ["low", "middle", "high"];

/// What is known of one shopper.
#[derive(Clone, Debug, Default)]
pub(super) struct Profile {
    /// Orders; in a log without purchases, visits.
    pub orders: u32,
    /// The days of the first and the last order, in days since 1970; `None` without times.
    pub order_days: Option<(f64, f64)>,
    /// Σ quantity × price of what was bought less that of what was returned, not below zero; `None`
    /// in a log without purchases or prices.
    pub spend: Option<f64>,
    /// Units bought whose price is known.
    priced_units: f64,
    /// Distinct items bought.
    items: u32,
    /// The place in [`PRICE_BANDS`] of most lines.
    price_band: Option<usize>,
    /// Lines bought of each top category, as (category number, lines), ascending.
    lines_by_category: Vec<(u32, u32)>,
}

impl Profile {
    /// Mean days between orders; `None` with fewer than two orders on different days.
    fn gap(&self) -> Option<f64> {
        let (first, last) = self.order_days?;
        (self.orders > 1 && last > first).then(|| (last - first) / f64::from(self.orders - 1))
    }

    /// The top category with most lines; of several the first by number.
    fn favourite_category(&self) -> Option<u32> {
        self.lines_by_category
            .iter()
            .max_by_key(|&&(category, lines)| (lines, Reverse(category)))
            .map(|&(category, _)| category)
    }
}

/// The profiles of a log's shoppers, by row.
pub(super) struct ShopperProfiles<'a> {
    profiles: Vec<Profile>,
    /// The last day of the log, in days since 1970; `None` without times.
    end: Option<f64>,
    /// Days that the log covers.
    pub span: f64,
    /// The median over shoppers of the mean days between orders.
    median_gap: Option<f64>,
    /// The names of the top categories, ascending.
    categories: IdMap,
    /// The columns of the users file.
    attributes: &'a [(String, Labels)],
}

/// The facts that a condition may name beside the columns of the users file.
const FACTS: [(&str, FieldType); 9] = [
    ("user.orders", FieldType::Number),
    ("user.days_since", FieldType::Number),
    ("user.spend", FieldType::Number),
    ("user.items", FieldType::Number),
    ("user.mean_price", FieldType::Number),
    ("user.gap_days", FieldType::Number),
    ("user.lapsed", FieldType::Flag),
    ("user.price_band", FieldType::Text),
    ("user.favourite_category", FieldType::Text),
];

/// The fields that a condition on shoppers may name: the facts, and the columns of the users file,
/// or any further field if the file was not read yet (`None`). A fact takes precedence over a
/// column of the same name.
pub(super) fn shopper_fields(attributes: Option<&[(String, Labels)]>) -> Schema {
    let facts = Schema::new(FACTS);
    match attributes {
        None => facts.with_prefix("user."),
        Some(columns) => columns.iter().fold(facts, |schema, (name, _)| {
            schema.with(format!("user.{name}"), FieldType::Text)
        }),
    }
}

impl<'a> ShopperProfiles<'a> {
    /// Counts a log. O(events log events).
    pub(super) fn of(training: &Training<'a>) -> Self {
        let &Training {
            log,
            orders,
            users: attributes,
            ..
        } = training;
        let (categories, category_of) = top_categories(training);
        let counter = ProfileCounter {
            training,
            category_of,
            band_of: price_bands(training),
            has_purchases: log.has_purchases(),
            has_prices: !log.price.is_empty()
                || training.catalog.price.iter().any(|price| !price.is_nan()),
        };
        let (events, ranges) = events_by_shopper(training);
        let mut profiles: Vec<Profile> = ranges
            .par_iter()
            .map(|range| counter.profile(&events[range.clone()]))
            .collect();
        let has_times = !log.time.is_empty();
        for order in 0..orders.len() {
            let Some(profile) = profiles.get_mut(orders.user[order] as usize) else {
                continue;
            };
            profile.orders += 1;
            let day = millis_to_days(orders.time[order]);
            if has_times {
                let (first, last) = profile.order_days.unwrap_or((day, day));
                profile.order_days = Some((first.min(day), last.max(day)));
            }
        }
        let mut gaps: Vec<f64> = profiles.iter().filter_map(Profile::gap).collect();
        gaps.sort_by(f64::total_cmp);
        let days = log
            .span()
            .map(|(first, last)| (millis_to_days(first), millis_to_days(last)));
        Self {
            profiles,
            end: days.map(|(_, last)| last),
            span: days.map_or(0.0, |(first, last)| last - first),
            median_gap: gaps.get(gaps.len() / 2).copied(),
            categories,
            attributes,
        }
    }

    /// How many shoppers there are.
    pub(super) fn len(&self) -> usize {
        self.profiles.len()
    }

    /// The profile of a shopper.
    pub(super) fn get(&self, user: u32) -> &Profile {
        &self.profiles[user as usize]
    }

    /// The name of a top category.
    pub(super) fn category(&self, number: u32) -> &str {
        self.categories.id(number)
    }

    /// How many top categories there are.
    pub(super) fn categories(&self) -> usize {
        self.categories.len()
    }

    /// The share of each top category in a shopper's lines, as (category number, share).
    pub(super) fn category_shares(&self, user: u32) -> impl Iterator<Item = (u32, f64)> {
        let by_category = &self.get(user).lines_by_category;
        let all: u32 = by_category.iter().map(|&(_, lines)| lines).sum();
        by_category
            .iter()
            .map(move |&(category, lines)| (category, f64::from(lines) / f64::from(all)))
    }

    /// Days from the last order to the end of the log; `None` without times or orders.
    pub(super) fn days_since(&self, user: u32) -> Option<f64> {
        Some(self.end? - self.get(user).order_days?.1)
    }

    /// Whether the shopper has been away for more than [`LAPSED_GAPS`] usual gaps: their own, drawn
    /// to the median of all shoppers, which counts as much as one gap. `None` where no gap is
    /// known.
    pub(super) fn lapsed(&self, user: u32) -> Option<bool> {
        let profile = self.get(user);
        let (median_gap, days_since) = (self.median_gap?.max(0.5), self.days_since(user)?);
        let gaps = f64::from(profile.orders.saturating_sub(1));
        let usual_gap = profile.gap().map_or(median_gap, |own_gap| {
            ((gaps * own_gap.max(0.5).ln() + median_gap.ln()) / (gaps + 1.0)).exp()
        });
        Some(days_since > LAPSED_GAPS * usual_gap)
    }

    /// The value of a field of [`shopper_fields`]; `None` if nothing is known.
    pub(super) fn value(&self, user: u32, field: &str) -> Option<Value<'_>> {
        let profile = self.get(user);
        match field.strip_prefix("user.")? {
            "orders" => Some(Value::Number(f64::from(profile.orders))),
            "days_since" => self.days_since(user).map(Value::Number),
            "spend" => profile.spend.map(Value::Number),
            "items" => Some(Value::Number(f64::from(profile.items))),
            "mean_price" => profile
                .spend
                .filter(|_| profile.priced_units > 0.0)
                .map(|spend| Value::Number(spend / profile.priced_units)),
            "gap_days" => profile.gap().map(Value::Number),
            "lapsed" => self.lapsed(user).map(Value::Flag),
            "price_band" => profile
                .price_band
                .map(|band| Value::Text(PRICE_BANDS[band])),
            "favourite_category" => profile
                .favourite_category()
                .map(|category| Value::Text(self.category(category))),
            column => {
                let (_, labels) = self.attributes.iter().find(|(name, _)| name == column)?;
                labels.get(user).map(Value::Text)
            }
        }
    }
}

/// The events of known shoppers, those of one shopper side by side, and where each shopper's are.
fn events_by_shopper(training: &Training) -> (Vec<u32>, Vec<Range<usize>>) {
    let log = training.log;
    let mut by_user: Vec<(u32, u32)> = (0..log.len() as u32)
        .map(|event| (log.user_of(event as usize), event))
        .filter(|&(user, _)| user != NONE)
        .collect();
    by_user.par_sort_unstable();
    let mut ranges: Vec<Range<usize>> = vec![0..0; log.users.len()];
    let mut start = 0;
    for of_user in by_user.chunk_by(|a, b| a.0 == b.0) {
        ranges[of_user[0].0 as usize] = start..start + of_user.len();
        start += of_user.len();
    }
    let events = by_user.into_iter().map(|(_, event)| event).collect();
    (events, ranges)
}

/// Counts what shoppers bought.
struct ProfileCounter<'t, 'a> {
    training: &'t Training<'a>,
    /// For each item the number of its top category; [`NONE`] = it has none.
    category_of: Vec<u32>,
    /// For each item its price band.
    band_of: Vec<Option<usize>>,
    has_purchases: bool,
    has_prices: bool,
}

impl ProfileCounter<'_, '_> {
    /// The profile of a shopper with these events, without orders. In a log without purchases all
    /// events but returns count as lines, and there is no spend.
    fn profile(&self, events: &[u32]) -> Profile {
        let log = self.training.log;
        let mut profile = Profile::default();
        let (mut items, mut categories) = (Vec::new(), Vec::new());
        let mut lines_by_band = [0u32; PRICE_BANDS.len()];
        let mut spend = 0.0;
        for event in events.iter().map(|&event| event as usize) {
            let role = log.type_of(event).role;
            let item = log.item[event];
            let units = f64::from(log.quantity.get(event).copied().unwrap_or(1.0));
            let price = self.price(event);
            if role == EventRole::Return {
                spend -= units * price;
                continue;
            }
            if self.has_purchases && role != EventRole::Purchase {
                continue;
            }
            if self.has_purchases {
                spend += units * price;
                profile.priced_units += if price > 0.0 { units } else { 0.0 };
            }
            items.push(item);
            if self.category_of[item as usize] != NONE {
                categories.push(self.category_of[item as usize]);
            }
            if let Some(band) = self.band_of[item as usize] {
                lines_by_band[band] += 1;
            }
        }
        items.sort_unstable();
        items.dedup();
        profile.items = items.len() as u32;
        categories.sort_unstable();
        profile.lines_by_category = categories
            .chunk_by(|a, b| a == b)
            .map(|of_category| (of_category[0], of_category.len() as u32))
            .collect();
        profile.spend = (self.has_purchases && self.has_prices).then(|| spend.max(0.0));
        profile.price_band = most_frequent_band(&lines_by_band);
        profile
    }

    /// The price of an event, in the log or else in the catalogue; 0 if it is not known.
    fn price(&self, event: usize) -> f64 {
        let log = self.training.log;
        let of_catalog = self.training.catalog.price[log.item[event] as usize];
        let price = log.price.get(event).copied().unwrap_or(of_catalog);
        if price > 0.0 { f64::from(price) } else { 0.0 }
    }
}

/// The price band with most lines. Of bands with as many lines it is the middle one, or else the
/// low one; `None` without lines.
fn most_frequent_band(lines_by_band: &[u32; PRICE_BANDS.len()]) -> Option<usize> {
    // The last maximum counts.
    [2, 0, 1]
        .into_iter()
        .max_by_key(|&band| lines_by_band[band])
        .filter(|&band| lines_by_band[band] > 0)
}

/// The top categories, ascending, and the number of each item's; [`NONE`] = it has none.
fn top_categories(training: &Training) -> (IdMap, Vec<u32>) {
    let catalog = training.catalog;
    let mut found = IdMap::new();
    let numbers: Vec<u32> = (0..catalog.len() as u32)
        .map(|item| {
            let category = catalog.category_at(item, 1);
            category.map_or(NONE, |path| found.intern(path))
        })
        .collect();
    let (sorted, places) = found.sorted();
    let place = |number: u32| places.get(number as usize).copied().unwrap_or(NONE);
    let sorted_numbers = numbers.into_iter().map(place).collect();
    (sorted, sorted_numbers)
}

/// The price band of each item: which third of the prices of its whole category path its price
/// falls in. Equal prices are in the same band, by the middle of their ranks; an item without a
/// price has none. O(items · log items).
fn price_bands(training: &Training) -> Vec<Option<usize>> {
    let catalog = training.catalog;
    let paths = catalog.category_codes(0);
    let path = |item: u32| paths[item as usize];
    let price = |item: u32| catalog.price[item as usize];
    let mut priced: Vec<u32> = (0..catalog.len() as u32)
        .filter(|&item| !price(item).is_nan())
        .collect();
    priced.sort_unstable_by(|&a, &b| path(a).cmp(&path(b)).then(price(a).total_cmp(&price(b))));
    let mut bands = vec![None; catalog.len()];
    for of_path in priced.chunk_by(|&a, &b| path(a) == path(b)) {
        let mut below = 0;
        for equal in of_path.chunk_by(|&a, &b| price(a) == price(b)) {
            let rank = (below as f64 + equal.len() as f64 / 2.0) / of_path.len() as f64;
            let band = ((rank * PRICE_BANDS.len() as f64) as usize).min(PRICE_BANDS.len() - 1);
            for &item in equal {
                bands[item as usize] = Some(band);
            }
            below += equal.len();
        }
    }
    bands
}

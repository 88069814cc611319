//! What a shop knows of each shopper, in the words that segments are named with: how often, how lately, for how much, and of what.
//!
//! Recency, frequency and money are the three numbers of direct mail (Hughes, "Strategic Database Marketing", 1994). They are counted from the
//! log as it ends; what was returned is not spent.

use crate::condition::{Kind, Schema, Value};
use crate::recommend::Training;
use aisle_data::{EventRole, IdMap, Labels, NONE};
use rayon::prelude::*;
use std::ops::Range;

const DAY: f64 = 86_400_000.0;
/// Away for so many times the usual gap, a shopper has lapsed.
const LAPSE: f64 = 4.0;
/// Of price bands, by their number.
const BANDS: [&str; 3] = ["low", "middle", "high"];

/// One shopper.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shopper {
    /// Orders; where nothing was ever bought, visits.
    pub orders: u32,
    /// Day of the first of them, and of the last; since 1970.
    pub days: Option<(f64, f64)>,
    /// Σ quantity × price of what was bought less that of what was returned, not below zero; `None` where prices are unknown.
    pub spend: Option<f64>,
    /// Units bought whose price is known.
    units: f64,
    /// Distinct items bought.
    pub items: u32,
    /// The number of [`BANDS`].
    band: Option<usize>,
    /// Lines bought of each top category, by its number.
    categories: Vec<(u32, u32)>,
}

impl Shopper {
    /// Mean days between orders; `None` with fewer than two on different days.
    pub fn gap(&self) -> Option<f64> {
        let (first, last) = self.days?;
        (self.orders > 1 && last > first).then(|| (last - first) / f64::from(self.orders - 1))
    }

    /// The top category with most lines; of several the first by number.
    fn favourite(&self) -> Option<u32> {
        self.categories.iter().max_by_key(|&&(category, lines)| (lines, std::cmp::Reverse(category))).map(|&(category, _)| category)
    }
}

/// The shoppers of a log, by row.
pub(crate) struct Shoppers<'a> {
    each: Vec<Shopper>,
    /// The last day of the log; `None` without times.
    end: Option<f64>,
    /// Days that the log covers.
    pub span: f64,
    /// The median gap between orders, in days.
    gap: Option<f64>,
    /// Top categories, ascending.
    categories: IdMap,
    attributes: &'a [(String, Labels)],
}

/// The facts that a condition may name beside the columns of the users file.
const FACTS: [(&str, Kind); 9] = [
    ("user.orders", Kind::Number),
    ("user.days_since", Kind::Number),
    ("user.spend", Kind::Number),
    ("user.items", Kind::Number),
    ("user.mean_price", Kind::Number),
    ("user.gap_days", Kind::Number),
    ("user.lapsed", Kind::Flag),
    ("user.price_band", Kind::Text),
    ("user.favourite_category", Kind::Text),
];

/// What a condition on shoppers may name: the facts, and columns of the users file: these, or where it was not read yet any. A column named
/// like a fact gives way to it.
pub(crate) fn schema(attributes: Option<&[(String, Labels)]>) -> Schema {
    let facts = Schema::new(FACTS);
    match attributes {
        None => facts.with_any("user."),
        Some(columns) => columns.iter().fold(facts, |schema, (name, _)| schema.with(format!("user.{name}"), Kind::Text)),
    }
}

impl<'a> Shoppers<'a> {
    /// Counts a log. O(events log events of a shopper).
    pub fn of(training: &Training<'a>) -> Self {
        let &Training { log, orders, catalog, users: attributes, .. } = training;
        let (categories, category_of) = top_categories(training);
        let bands = price_bands(training);
        let bought = log.has_purchases();
        let priced = !log.price.is_empty() || catalog.price.iter().any(|price| !price.is_nan());

        let mut lines: Vec<(u32, u32)> =
            (0..log.len() as u32).map(|event| (log.user_of(event as usize), event)).filter(|line| line.0 != NONE).collect();
        lines.par_sort_unstable();
        let mut own: Vec<Range<usize>> = vec![0..0; log.users.len()];
        let mut start = 0;
        for line in lines.chunk_by(|a, b| a.0 == b.0) {
            own[line[0].0 as usize] = start..start + line.len();
            start += line.len();
        }
        let count = |range: &Range<usize>| {
            let mut shopper = Shopper::default();
            let (mut items, mut tops, mut thirds) = (Vec::new(), Vec::new(), [0u32; 3]);
            let mut spend = 0.0;
            for event in lines[range.clone()].iter().map(|line| line.1 as usize) {
                let role = log.type_of(event).role;
                let item = log.item[event];
                let units = f64::from(log.quantity.get(event).copied().unwrap_or(1.0));
                let price = log.price.get(event).copied().unwrap_or(catalog.price[item as usize]);
                let price = if price > 0.0 { f64::from(price) } else { 0.0 };
                if role == EventRole::Return {
                    spend -= units * price;
                }
                if !(role == EventRole::Purchase || !bought && role != EventRole::Return) {
                    continue;
                }
                if bought {
                    spend += units * price;
                    shopper.units += if price > 0.0 { units } else { 0.0 };
                }
                items.push(item);
                if category_of[item as usize] != NONE {
                    tops.push(category_of[item as usize]);
                }
                if let Some(band) = bands[item as usize] {
                    thirds[band] += 1;
                }
            }
            items.sort_unstable();
            items.dedup();
            shopper.items = items.len() as u32;
            tops.sort_unstable();
            shopper.categories = tops.chunk_by(|a, b| a == b).map(|of| (of[0], of.len() as u32)).collect();
            shopper.spend = (bought && priced).then(|| spend.max(0.0));
            // Where two bands have as many lines, that between or nearer the middle.
            shopper.band = [1, 0, 2].into_iter().rev().max_by_key(|&band| thirds[band]).filter(|&band| thirds[band] > 0);
            shopper
        };
        let mut each: Vec<Shopper> = own.par_iter().map(count).collect();
        let timed = !log.time.is_empty();
        for order in 0..orders.len() {
            let Some(shopper) = each.get_mut(orders.user[order] as usize) else { continue };
            shopper.orders += 1;
            let day = orders.time[order] as f64 / DAY;
            if timed {
                shopper.days = Some(shopper.days.map_or((day, day), |(first, last)| (first.min(day), last.max(day))));
            }
        }
        let mut gaps: Vec<f64> = each.iter().filter_map(Shopper::gap).collect();
        gaps.sort_by(f64::total_cmp);
        let ends = log.span().map(|(first, last)| (first as f64 / DAY, last as f64 / DAY));
        Self {
            each,
            end: ends.map(|(_, last)| last),
            span: ends.map_or(0.0, |(first, last)| last - first),
            gap: gaps.get(gaps.len() / 2).copied(),
            categories,
            attributes,
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.each.len()
    }

    /// One of them.
    pub fn get(&self, user: u32) -> &Shopper {
        &self.each[user as usize]
    }

    /// The name of a top category.
    pub fn category(&self, number: u32) -> &str {
        self.categories.id(number)
    }

    /// How many top categories there are.
    pub fn categories(&self) -> usize {
        self.categories.len()
    }

    /// The shares of a shopper's lines by top category.
    pub fn shares(&self, user: u32) -> impl Iterator<Item = (u32, f64)> {
        let lines = &self.get(user).categories;
        let all: u32 = lines.iter().map(|line| line.1).sum();
        lines.iter().map(move |&(category, count)| (category, f64::from(count) / f64::from(all)))
    }

    /// Days from the last order to the end of the log.
    pub fn days_since(&self, user: u32) -> Option<f64> {
        Some(self.end? - self.get(user).days?.1)
    }

    /// Whether the shopper has been away for more than four times the usual gap: their own, drawn to that of all by as much as one order.
    pub fn lapsed(&self, user: u32) -> Option<bool> {
        let shopper = self.get(user);
        let (of_all, since) = (self.gap?.max(0.5), self.days_since(user)?);
        let gaps = f64::from(shopper.orders.saturating_sub(1));
        let usual = shopper.gap().map_or(of_all, |own| ((gaps * own.max(0.5).ln() + of_all.ln()) / (gaps + 1.0)).exp());
        Some(since > LAPSE * usual)
    }

    /// What a condition asks of a shopper.
    pub fn value(&self, user: u32, field: &str) -> Option<Value<'_>> {
        let shopper = self.get(user);
        match field.strip_prefix("user.")? {
            "orders" => Some(Value::Number(f64::from(shopper.orders))),
            "days_since" => self.days_since(user).map(Value::Number),
            "spend" => shopper.spend.map(Value::Number),
            "items" => Some(Value::Number(f64::from(shopper.items))),
            "mean_price" => shopper.spend.filter(|_| shopper.units > 0.0).map(|spend| Value::Number(spend / shopper.units)),
            "gap_days" => shopper.gap().map(Value::Number),
            "lapsed" => self.lapsed(user).map(Value::Flag),
            "price_band" => shopper.band.map(|band| Value::Text(BANDS[band])),
            "favourite_category" => shopper.favourite().map(|category| Value::Text(self.category(category))),
            column => {
                let (_, labels) = self.attributes.iter().find(|(name, _)| name == column)?;
                labels.get(user).map(Value::Text)
            }
        }
    }
}

/// Top categories in ascending order, and the number of each item's.
fn top_categories(training: &Training) -> (IdMap, Vec<u32>) {
    let mut found = IdMap::new();
    let items = 0..training.catalog.len() as u32;
    let numbers: Vec<u32> =
        items.map(|item| training.catalog.category_at(item, 1).map_or(NONE, |path| found.intern(path))).collect();
    let (sorted, place) = found.sorted();
    (sorted, numbers.into_iter().map(|number| place.get(number as usize).copied().unwrap_or(NONE)).collect())
}

/// Which third of the prices of its whole category path an item's price falls in; equal prices in the same.
fn price_bands(training: &Training) -> Vec<Option<usize>> {
    let catalog = training.catalog;
    let paths = catalog.category_codes(0);
    let mut priced: Vec<u32> = (0..catalog.len() as u32).filter(|&item| !catalog.price[item as usize].is_nan()).collect();
    let price = |item: u32| catalog.price[item as usize];
    priced.sort_unstable_by(|&a, &b| paths[a as usize].cmp(&paths[b as usize]).then(price(a).total_cmp(&price(b))));
    let mut bands = vec![None; catalog.len()];
    for path in priced.chunk_by(|&a, &b| paths[a as usize] == paths[b as usize]) {
        let mut below = 0;
        for equal in path.chunk_by(|&a, &b| price(a) == price(b)) {
            let rank = (below as f64 + equal.len() as f64 / 2.0) / path.len() as f64;
            equal.iter().for_each(|&item| bands[item as usize] = Some(((rank * 3.0) as usize).min(2)));
            below += equal.len();
        }
    }
    bands
}

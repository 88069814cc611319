//! What a campaign sees: the log up to now, shopper by shopper and item by item, and the prices and stock of now.

use super::{Campaign, texts};
use aisle_data::{Catalog, DataConfig, DataError, Dataset, EventLog, EventRole, NONE, Tables, moment_of};
use aisle_models::{Bundle, ItemChange, ItemChanges, Shelf, Watch};
use anyhow::{Result, bail};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

const WEEK: i64 = 7 * 86_400_000;
/// Shoppers between two steps of the progress bar.
const BLOCK: usize = 4096;

/// A log beside a version. Item and user rows are those of the log.
pub(super) struct Scene<'a> {
    bundle: &'a Bundle,
    /// Events up to now.
    pub(super) log: EventLog,
    /// Milliseconds since 1970-01-01 UTC.
    pub(super) now: i64,
    /// The catalogue of now, and which items it holds.
    current: Option<(Catalog, Vec<bool>)>,
    /// The version's row of each item, [`NONE`] = new to it.
    rows: Vec<u32>,
    /// Prices and stock of the version's items now.
    shelf: Arc<Shelf>,
}

impl<'a> Scene<'a> {
    /// Reads the log and the catalogue of now, which the version's answers then respect too.
    ///
    /// # Errors
    /// What reading returns; a log without times or without shoppers; a moment before all events.
    pub(super) fn read(
        bundle: &'a Bundle,
        (events, items): (&str, Option<&str>),
        config: &DataConfig,
        now: Option<i64>,
    ) -> Result<Self> {
        let mut config = config.clone();
        config.clean.keep_new_users = false;
        // Which items the version left out is known by its items alone where there is no items file.
        let rules = config.clean.drop_unknown_items || !config.clean.drop_items.is_empty();
        if items.is_none() {
            config.clean.drop_unknown_items = false;
            config.clean.drop_items.clear();
        }
        let Dataset { log, catalog, .. } = Dataset::read(&Tables { events, items, users: None }, &config)?;
        let Some((first, last)) = log.span() else {
            return Err(DataError::NotServed { task: "a job about what shoppers did".into(), needs: "timestamps".into() }.into());
        };
        let now = now.unwrap_or(last);
        if now < first {
            bail!("--now {} is before the log, which begins {}: choose a later moment", moment_of(now), moment_of(first));
        }
        let rows: Vec<u32> = log.items.iter().map(|id| bundle.items.get(id).unwrap_or(NONE)).collect();
        let known = |event: usize| !(rules && items.is_none()) || rows[log.item[event] as usize] != NONE;
        let log = log.select(|event| log.time[event] <= now && known(event));
        let current = match items {
            None => None,
            Some(path) => {
                let held = held(path, config.columns.items.item_id.as_deref().unwrap_or("item_id"), &log)?;
                bundle.shelve(&changes(bundle, &log, (&catalog, &held)));
                Some((catalog, held))
            }
        };
        Ok(Self { bundle, log, now, current, rows, shelf: bundle.shelf() })
    }

    /// The version's row of an item.
    pub(super) fn row(&self, item: u32) -> Option<u32> {
        self.rows.get(item as usize).copied().filter(|&row| row != NONE)
    }

    /// The version's row of a shopper.
    pub(super) fn shopper(&self, user: u32) -> Option<u32> {
        self.bundle.users.get(self.log.users.id(user))
    }

    /// The price of an item now: that of the catalogue of now, else the version's.
    pub(super) fn price(&self, item: u32) -> Option<f32> {
        let current = self.current.as_ref().map(|(catalog, _)| catalog.price[item as usize]).filter(|price| !price.is_nan());
        let of_version = || {
            let row = self.row(item)?;
            Some(self.shelf.new_price(row).unwrap_or(self.bundle.catalog.price[row as usize])).filter(|price| !price.is_nan())
        };
        current.or_else(of_version)
    }

    /// Whether an item can be bought now.
    pub(super) fn available(&self, item: u32) -> bool {
        match &self.current {
            Some((catalog, held)) => held[item as usize] && catalog.available[item as usize],
            None => self.row(item).is_none_or(|row| self.shelf.available().contains(row)),
        }
    }

    /// Whether the version knew an item as out of stock.
    pub(super) fn was_out(&self, item: u32) -> bool {
        self.row(item).is_some_and(|row| !self.bundle.catalog.available[row as usize])
    }

    /// Whether the log has events of a role.
    pub(super) fn has(&self, role: EventRole) -> bool {
        self.log.types.iter().any(|kind| kind.role == role && kind.rows > 0)
    }

    /// What a table without rows may be for: `event` in the log, and its words for what was looked for.
    pub(super) fn without(&self, roles: &[EventRole], looked_for: &str) -> String {
        let names: Vec<&str> = self.log.types.iter().map(|kind| kind.name.as_str()).collect();
        if self.log.user.is_empty() {
            return "the log names no shoppers (user_id)".into();
        }
        if !roles.iter().any(|&role| self.has(role)) {
            let wanted: Vec<String> = roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect();
            let (wanted, found) = (wanted.join(" or "), names.join(", "));
            return format!(
                "up to {} the log has no {wanted} event; it has: {found}. Map one in the config: [events.TYPE] as = …",
                moment_of(self.now)
            );
        }
        format!("nobody {looked_for} up to {}", moment_of(self.now))
    }
}

/// Which items of the log the catalogue of now holds.
fn held(path: &str, column: &str, log: &EventLog) -> Result<Vec<bool>> {
    let mut held = vec![false; log.items.len()];
    let ids = texts::read(path, &[column])?.into_iter().next().unwrap_or_default();
    ids.iter().flatten().filter_map(|id| log.items.get(id)).for_each(|item| held[item as usize] = true);
    Ok(held)
}

/// What is new about the version's items in the catalogue of now.
fn changes(bundle: &Bundle, log: &EventLog, (catalog, held): (&Catalog, &[bool])) -> ItemChanges {
    let before = bundle.shelf();
    let change = |id: &str| match log.items.get(id).filter(|&item| held[item as usize]) {
        None => ItemChange { available: Some(false), price: None },
        Some(item) => {
            let price = Some(catalog.price[item as usize]).filter(|price| !price.is_nan());
            let price = price.or_else(|| before.new_price(bundle.items.get(id)?));
            ItemChange { available: Some(catalog.available[item as usize]), price }
        }
    };
    ItemChanges {
        epoch: before.epoch,
        items: bundle.items.iter().map(|id| (id.to_string(), change(id))).collect(),
        ..ItemChanges::default()
    }
}

/// What one shopper did with one item, in order of time.
pub(super) struct Trace<'a> {
    log: &'a EventLog,
    /// Item row of the log.
    pub(super) item: u32,
    events: Vec<usize>,
}

impl Trace<'_> {
    /// Moment, event and role of each event.
    pub(super) fn events(&self) -> impl DoubleEndedIterator<Item = (i64, usize, EventRole)> + '_ {
        self.events.iter().map(|&event| (self.log.time[event], event, self.log.type_of(event).role))
    }

    /// The last event of some roles.
    pub(super) fn last(&self, roles: &[EventRole]) -> Option<(i64, usize)> {
        self.events().rev().find(|(_, _, role)| roles.contains(role)).map(|(time, event, _)| (time, event))
    }

    /// When it was bought last.
    pub(super) fn bought(&self) -> Option<i64> {
        self.last(&[EventRole::Purchase]).map(|(time, _)| time)
    }

    /// Whether it was bought at a moment or after it.
    pub(super) fn bought_since(&self, moment: i64) -> bool {
        self.bought().is_some_and(|bought| bought >= moment)
    }
}

/// What `lines` makes of each shopper's traces (by ascending item), in ascending order of shoppers. O(events · log) time, and memory of what comes
/// of it.
pub(super) fn of_each<L: Send>(campaign: &Campaign, lines: impl Fn(u32, &[Trace]) -> Vec<L> + Sync) -> Result<Vec<L>> {
    let log = &campaign.scene()?.log;
    let shoppers = shoppers(log);
    let mut all = Vec::new();
    for (number, block) in shoppers.chunks(BLOCK).enumerate() {
        let of_one = |range: &Range<usize>| lines(log.user[range.start], &traces(log, range.clone()));
        all.extend(block.par_iter().flat_map_iter(of_one).collect::<Vec<L>>());
        campaign.progress.step("log", (number * BLOCK + block.len()).min(shoppers.len()), shoppers.len());
    }
    Ok(all)
}

/// The events of each named shopper: a log stands by shopper, then by time.
fn shoppers(log: &EventLog) -> Vec<Range<usize>> {
    let mut begin = 0;
    let ranges = log.user.chunk_by(|a, b| a == b).map(|own| {
        let range = begin..begin + own.len();
        begin = range.end;
        range
    });
    ranges.filter(|range| log.user[range.start] != NONE).collect()
}

fn traces(log: &EventLog, range: Range<usize>) -> Vec<Trace<'_>> {
    let mut own: Vec<(u32, usize)> = range.map(|event| (log.item[event], event)).collect();
    own.sort_unstable();
    own.chunk_by(|a, b| a.0 == b.0)
        .map(|events| Trace { log, item: events[0].0, events: events.iter().map(|&(_, event)| event).collect() })
        .collect()
}

/// What items cost when, by the log.
pub(super) struct Prices<'a> {
    log: &'a EventLog,
    /// Item, moment, price; ascending.
    known: Vec<(u32, i64, f32)>,
}

impl<'a> Prices<'a> {
    /// Of events since a week before the window.
    pub(super) fn of(scene: &'a Scene, window: i64) -> Self {
        let log = &scene.log;
        let since = scene.now - window - WEEK;
        let priced = (0..log.price.len()).filter(|&event| log.price[event] > 0.0 && log.time[event] >= since);
        let mut known: Vec<(u32, i64, f32)> = priced.map(|event| (log.item[event], log.time[event], log.price[event])).collect();
        known.par_sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        Self { log, known }
    }

    /// The price that a shopper saw: that of the event, else the median that the log has of the item for the week up to it.
    pub(super) fn seen(&self, event: usize) -> Option<f32> {
        if let Some(&price) = self.log.price.get(event).filter(|price| **price > 0.0) {
            return Some(price);
        }
        let (item, moment) = (self.log.item[event], self.log.time[event]);
        let from = self.known.partition_point(|line| (line.0, line.1) < (item, moment - WEEK));
        let until = self.known.partition_point(|line| (line.0, line.1) <= (item, moment));
        let mut week: Vec<f32> = self.known[from..until].iter().map(|line| line.2).collect();
        week.sort_by(f32::total_cmp);
        let middle = week.len() / 2;
        match week.len() % 2 {
            _ if week.is_empty() => None,
            0 => Some((week[middle - 1] + week[middle]) / 2.0),
            _ => Some(week[middle]),
        }
    }
}

//! What a campaign sees: the log up to now, shopper by shopper and item by item, and the prices and
//! stock of now.
//!
//! In: a version, a log and, if given, the catalogue of now. Out: a [`Snapshot`], which jobs about
//! what shoppers did walk through with [`for_each_shopper`].

use super::{Campaign, id_columns};
use aisle_data::{
    Catalog, DataConfig, DataError, Dataset, EventLog, EventRole, NONE, Tables, days_to_millis,
    format_rfc3339,
};
use aisle_models::{FittedModels, ItemChange, ItemChanges, LiveCatalog, LiveState, Progress};
use anyhow::{Result, bail};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Shoppers between two steps of the progress bar.
const BLOCK: usize = 4096;

/// Which files a snapshot is read from.
pub(super) struct SnapshotFiles<'a> {
    /// The interaction log.
    pub(super) events: &'a str,
    /// The catalogue of now.
    pub(super) items: Option<&'a str>,
    /// How both are read.
    pub(super) config: &'a DataConfig,
    /// Milliseconds since 1970, later events are not seen; `None` = the end of the log.
    pub(super) now: Option<i64>,
}

/// A log beside fitted models. Item and user rows are those of the log, unless said otherwise.
pub(super) struct Snapshot<'a> {
    models: &'a FittedModels,
    /// Events up to now.
    pub(super) log: EventLog,
    /// Milliseconds since 1970-01-01 UTC.
    pub(super) now: i64,
    /// The catalogue of now, if it was given.
    current: Option<CurrentCatalog>,
    /// The models' row of each item; [`NONE`] = the item is new to them.
    model_rows: Vec<u32>,
    /// Prices and stock of the models' items now.
    live: Arc<LiveCatalog>,
}

/// A catalogue of now.
struct CurrentCatalog {
    catalog: Catalog,
    /// Whether the file has each item of the log.
    is_listed: Vec<bool>,
}

impl<'a> Snapshot<'a> {
    /// Reads the log and the catalogue of now. Returns the snapshot with the live state in which
    /// the models respect that catalogue too.
    ///
    /// # Errors
    /// What reading returns; a log without times or without shoppers; a time before all events.
    pub(super) fn read(
        models: &'a FittedModels,
        live: LiveState,
        files: &SnapshotFiles,
    ) -> Result<(Self, LiveState)> {
        let items = files.items;
        let mut config = files.config.clone();
        config.clean.keep_new_users = false;
        // Which items the fit left out is known by the models' items alone, where there is no items
        // file.
        let drops_items = config.clean.drop_unknown_items || !config.clean.drop_items.is_empty();
        if items.is_none() {
            config.clean.drop_unknown_items = false;
            config.clean.drop_items.clear();
        }
        let tables = Tables {
            events: files.events,
            items,
            users: None,
        };
        let Dataset { log, catalog, .. } = Dataset::read(&tables, &config)?;
        let now = time_of_snapshot(&log, files.now)?;
        let model_row = |id: &str| models.items.get(id).unwrap_or(NONE);
        let model_rows: Vec<u32> = log.items.iter().map(model_row).collect();
        let only_known = drops_items && items.is_none();
        let is_kept = |event: usize| {
            let is_known = model_rows[log.item[event] as usize] != NONE;
            log.time[event] <= now && (is_known || !only_known)
        };
        let log = log.select(is_kept);
        let current = match items {
            None => None,
            Some(path) => {
                let column = config.columns.items.item_id.as_deref();
                let is_listed = listed_items(path, column.unwrap_or("item_id"), &log)?;
                Some(CurrentCatalog { catalog, is_listed })
            }
        };
        let live = match &current {
            None => live,
            Some(current) => {
                let changes = current.changes(models, &live.catalog, &log);
                live.with_item_changes(models, &changes)
            }
        };
        let snapshot = Self {
            models,
            log,
            now,
            current,
            model_rows,
            live: live.catalog.clone(),
        };
        Ok((snapshot, live))
    }

    /// The models' row of an item.
    pub(super) fn model_item(&self, item: u32) -> Option<u32> {
        let row = self.model_rows.get(item as usize).copied();
        row.filter(|&row| row != NONE)
    }

    /// The models' row of a shopper.
    pub(super) fn model_user(&self, user: u32) -> Option<u32> {
        self.models.users.get(self.log.users.id(user))
    }

    /// The price of an item now: that of the catalogue of now, else that of the models.
    pub(super) fn price(&self, item: u32) -> Option<f32> {
        let is_known = |price: &f32| !price.is_nan();
        let current = self.current.as_ref();
        let current = current.map(|current| current.catalog.price[item as usize]);
        let of_models = || {
            let row = self.model_item(item)?;
            Some(self.live.price(&self.models.catalog, row)).filter(is_known)
        };
        current.filter(is_known).or_else(of_models)
    }

    /// Whether an item can be bought now.
    pub(super) fn is_available(&self, item: u32) -> bool {
        match &self.current {
            Some(current) => current.is_available(item),
            None => self
                .model_item(item)
                .is_none_or(|row| self.live.available().contains(row)),
        }
    }

    /// Whether an item was out of stock when the models were fitted.
    pub(super) fn was_out_of_stock(&self, item: u32) -> bool {
        self.model_item(item)
            .is_some_and(|row| !self.models.catalog.available[row as usize])
    }

    /// Why a table about events of some roles has no row; `searched` says what nobody did.
    pub(super) fn why_empty(&self, roles: &[EventRole], searched: &str) -> String {
        if self.log.user.is_empty() {
            return "the log names no shoppers (user_id)".into();
        }
        let now = format_rfc3339(self.now);
        let types = &self.log.types;
        let is_there = |role: &EventRole| {
            let mut types = types.iter();
            types.any(|event_type| event_type.role == *role && event_type.rows > 0)
        };
        if roles.iter().any(is_there) {
            return format!("nobody {searched} up to {now}");
        }
        let names: Vec<&str> = types.iter().map(|one| one.name.as_str()).collect();
        let role_name = |role: &EventRole| format!("{role:?}").to_lowercase();
        let role_names: Vec<String> = roles.iter().map(role_name).collect();
        format!(
            "up to {now} the log has no {} event; it has: {}. Map one in the config: \
             [events.TYPE] as = …",
            role_names.join(" or "),
            names.join(", ")
        )
    }
}

/// The time that a campaign is written for.
fn time_of_snapshot(log: &EventLog, now: Option<i64>) -> Result<i64> {
    let Some((first, last)) = log.span() else {
        return Err(DataError::NotServed {
            task: "a job about what shoppers did".into(),
            needs: "timestamps".into(),
        }
        .into());
    };
    let now = now.unwrap_or(last);
    if now < first {
        bail!(
            "--now {} is before the log, which begins {}: choose a later time",
            format_rfc3339(now),
            format_rfc3339(first)
        );
    }
    Ok(now)
}

/// Which items of the log a catalogue file lists.
fn listed_items(path: &str, column: &str, log: &EventLog) -> Result<Vec<bool>> {
    let mut is_listed = vec![false; log.items.len()];
    let columns = id_columns::read(path, &[column])?;
    for id in columns.iter().flatten().flatten() {
        if let Some(item) = log.items.get(id) {
            is_listed[item as usize] = true;
        }
    }
    Ok(is_listed)
}

impl CurrentCatalog {
    fn is_available(&self, item: u32) -> bool {
        self.is_listed[item as usize] && self.catalog.available[item as usize]
    }

    /// What is new about the models' items. An item that is not listed is not for sale.
    fn changes(&self, models: &FittedModels, before: &LiveCatalog, log: &EventLog) -> ItemChanges {
        let change = |id: &str| {
            let item = log.items.get(id);
            let Some(item) = item.filter(|&item| self.is_listed[item as usize]) else {
                return ItemChange {
                    available: Some(false),
                    price: None,
                };
            };
            let listed = Some(self.catalog.price[item as usize]).filter(|price| !price.is_nan());
            ItemChange {
                available: Some(self.catalog.available[item as usize]),
                price: listed.or_else(|| before.changed_price(models.items.get(id)?)),
            }
        };
        let items = models.items.iter().map(|id| (id.to_string(), change(id)));
        ItemChanges {
            epoch: before.epoch,
            items: items.collect(),
            ..ItemChanges::default()
        }
    }
}

/// What one shopper did with one item, by ascending time.
pub(super) struct ItemEvents<'a> {
    log: &'a EventLog,
    /// The item's row in the log.
    pub(super) item: u32,
    events: Vec<usize>,
}

impl ItemEvents<'_> {
    /// Time, row in the log, and role of each event.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, usize, EventRole)> + '_ {
        let with_role =
            |&event: &usize| (self.log.time[event], event, self.log.type_of(event).role);
        self.events.iter().map(with_role)
    }

    /// Time and row of the last event of some roles.
    pub(super) fn last(&self, roles: &[EventRole]) -> Option<(i64, usize)> {
        let mut latest_first = self.iter().rev();
        let (time, event, _) = latest_first.find(|(_, _, role)| roles.contains(role))?;
        Some((time, event))
    }

    /// When the item was bought last.
    pub(super) fn last_purchase(&self) -> Option<i64> {
        self.last(&[EventRole::Purchase]).map(|(time, _)| time)
    }

    /// Whether the item was bought at a time or after it.
    pub(super) fn is_bought_since(&self, time: i64) -> bool {
        self.last_purchase().is_some_and(|bought| bought >= time)
    }
}

/// The rows that `rows` makes of each shopper's events (by ascending item), by ascending shopper.
/// O(events · log) time, and memory of the rows.
pub(super) fn for_each_shopper<R: Send>(
    campaign: &Campaign,
    rows: impl Fn(u32, &[ItemEvents]) -> Vec<R> + Sync,
) -> Result<Vec<R>> {
    let log = &campaign.snapshot()?.log;
    let shoppers = ranges_of_shoppers(log);
    let mut all = Vec::new();
    for (number, block) in shoppers.chunks(BLOCK).enumerate() {
        let of_one = |range: &Range<usize>| {
            let user = log.user[range.start];
            rows(user, &by_item(log, range.clone()))
        };
        all.extend(block.par_iter().flat_map_iter(of_one).collect::<Vec<R>>());
        let done = number * BLOCK + block.len();
        campaign.progress.step("shoppers", done, shoppers.len());
    }
    Ok(all)
}

/// The rows of each named shopper in a log, which is sorted by shopper, then by time.
fn ranges_of_shoppers(log: &EventLog) -> Vec<Range<usize>> {
    let mut begin = 0;
    let ranges = log.user.chunk_by(|a, b| a == b).map(|own| {
        let range = begin..begin + own.len();
        begin = range.end;
        range
    });
    ranges
        .filter(|range| log.user[range.start] != NONE)
        .collect()
}

/// One shopper's events by item.
fn by_item(log: &EventLog, range: Range<usize>) -> Vec<ItemEvents<'_>> {
    let mut pairs: Vec<(u32, usize)> = range.map(|event| (log.item[event], event)).collect();
    pairs.sort_unstable();
    let of_item = |pairs: &[(u32, usize)]| ItemEvents {
        log,
        item: pairs[0].0,
        events: pairs.iter().map(|&(_, event)| event).collect(),
    };
    pairs.chunk_by(|a, b| a.0 == b.0).map(of_item).collect()
}

/// What items cost when, by the log.
pub(super) struct PriceHistory<'a> {
    log: &'a EventLog,
    /// Item, time and price of each priced event, ascending.
    known: Vec<(u32, i64, f32)>,
    /// Milliseconds of a week.
    week: i64,
}

impl<'a> PriceHistory<'a> {
    /// The prices since a week before the window of `window` milliseconds.
    pub(super) fn of(snapshot: &'a Snapshot, window: i64) -> Self {
        let log = &snapshot.log;
        let week = days_to_millis(7.0);
        let since = snapshot.now - window - week;
        let is_priced = |&event: &usize| log.price[event] > 0.0 && log.time[event] >= since;
        let mut known: Vec<(u32, i64, f32)> = (0..log.price.len())
            .filter(is_priced)
            .map(|event| (log.item[event], log.time[event], log.price[event]))
            .collect();
        known.par_sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        Self { log, known, week }
    }

    /// The price that a shopper saw: that of the event, else the median price of the item in the
    /// log for the week up to the event.
    pub(super) fn seen_at(&self, event: usize) -> Option<f32> {
        let price = self.log.price.get(event).copied();
        let price = price.filter(|&price| price > 0.0);
        price.or_else(|| self.median_of_week(self.log.item[event], self.log.time[event]))
    }

    /// The median price of an item in the week up to a time.
    fn median_of_week(&self, item: u32, time: i64) -> Option<f32> {
        let place = |line: &(u32, i64, f32)| (line.0, line.1);
        let from = (item, time - self.week);
        let from = self.known.partition_point(|line| place(line) < from);
        let until = self
            .known
            .partition_point(|line| place(line) <= (item, time));
        let mut prices: Vec<f32> = self.known[from..until].iter().map(|line| line.2).collect();
        prices.sort_by(f32::total_cmp);
        let middle = prices.len() / 2;
        match prices.len() % 2 {
            _ if prices.is_empty() => None,
            0 => Some((prices[middle - 1] + prices[middle]) / 2.0),
            _ => Some(prices[middle]),
        }
    }
}

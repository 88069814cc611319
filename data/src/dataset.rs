//! Events, items and users read together, with one numbering of ids.

use crate::canonical_order::{FinalIds, put_in_canonical_order};
use crate::catalog::Catalog;
use crate::config::DataConfig;
use crate::error::{DataError, Result};
use crate::event_log::EventLog;
use crate::id_map::NONE;
use crate::input_files::{Input, digest_files};
use crate::labels::Labels;
use crate::read_events::{ReadReport, read_events};
use crate::read_items::read_items;
use crate::read_users::{add_user_ids, read_user_attributes};
use crate::set_aside::SetAside;
use crate::source::Source;
use std::sync::Arc;

/// The number of latest prices paid whose median stands in for a catalogue price.
const RECENT_PRICES: usize = 31;

/// The tables to read: each a file, a folder or a glob.
#[derive(Clone, Debug, Default)]
pub struct Tables<'a> {
    /// The interaction log.
    pub events: &'a str,
    /// The catalogue.
    pub items: Option<&'a str>,
    /// Attributes of shoppers.
    pub users: Option<&'a str>,
}

/// Everything that was read. Users and items are numbered in ascending order of their ids.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The events, in a canonical order that does not depend on the order of files or rows.
    pub log: EventLog,
    /// The catalogue, in the row order of `log.items`.
    pub catalog: Catalog,
    /// Name and values of each user attribute, in the row order of `log.users`.
    pub user_attributes: Vec<(String, Labels)>,
    /// What reading the events files found.
    pub report: ReadReport,
    /// The number of rows of the items file, and those of them that were set aside; `None` without
    /// an items file.
    pub items_report: Option<(u64, SetAside)>,
    /// The files read.
    pub inputs: Vec<Input>,
}

impl Dataset {
    /// Reads and validates the tables. O(rows · log rows).
    ///
    /// # Errors
    /// Every variant of [`DataError`] but those of writing and splitting; nothing panics on bad
    /// input.
    pub fn read(tables: &Tables, config: &DataConfig) -> Result<Self> {
        config.validate()?;
        let events = Source::find(tables.events)?;
        let items = tables.items.map(Source::find).transpose()?;
        let users = tables.users.map(Source::find).transpose()?;
        check_tables_of_settings(tables, config)?;

        let items_file = items
            .as_ref()
            .map(|source| read_items(source, config))
            .transpose()?;
        let mut unsorted = read_events(&events, items_file.as_ref(), config)?;
        if let (Some(users), true) = (&users, config.clean.keep_new_users) {
            add_user_ids(users, config, &mut unsorted.users)?;
        }

        let (user_ids, new_user) = unsorted.users.sorted();
        let (item_ids, new_item) = unsorted.items.sorted();
        let catalog = match &items_file {
            Some(read) => read.catalog.reordered(&inverse(&new_item)),
            None => Catalog::unknown(item_ids.len()),
        };
        let user_attributes = match &users {
            Some(users) => read_user_attributes(users, config, &user_ids)?,
            None => Vec::new(),
        };
        let final_ids = FinalIds {
            users: Arc::new(user_ids),
            items: Arc::new(item_ids),
            new_user,
            new_item,
            new_order: unsorted.orders.ranks_by_length(),
        };
        let mut sources = vec![("events", &events)];
        sources.extend(items.as_ref().map(|source| ("items", source)));
        sources.extend(users.as_ref().map(|source| ("users", source)));
        Ok(Self {
            log: put_in_canonical_order(unsorted.log, final_ids),
            catalog,
            user_attributes,
            report: unsorted.report,
            items_report: items_file.map(|read| (read.rows, read.set_aside)),
            inputs: digest_files(&sources)?,
        })
    }

    /// Gives each item without a catalogue price the median of its last 31 prices paid in `log`.
    /// Returns the number of items that got a price. O(n log n).
    pub fn fill_prices(catalog: &mut Catalog, log: &EventLog) -> usize {
        if log.price.is_empty() {
            return 0;
        }
        let has_no_price = |event: usize| catalog.price[log.item[event] as usize].is_nan();
        let mut paid: Vec<(u32, i64, f32)> = (0..log.len())
            .filter(|&event| log.price[event] > 0.0 && has_no_price(event))
            .map(|event| (log.item[event], log.time_of(event), log.price[event]))
            .collect();
        paid.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        let mut filled = 0;
        for of_item in paid.chunk_by(|a, b| a.0 == b.0) {
            let recent = of_item.iter().rev().take(RECENT_PRICES);
            let mut prices: Vec<f32> = recent.map(|&(_, _, price)| price).collect();
            prices.sort_by(f32::total_cmp);
            catalog.price[of_item[0].0 as usize] = prices[prices.len() / 2];
            filled += 1;
        }
        filled
    }
}

/// Refuses settings that need a table which is not given.
fn check_tables_of_settings(tables: &Tables, config: &DataConfig) -> Result<()> {
    let clean = &config.clean;
    if tables.items.is_none() && (clean.drop_unknown_items || !clean.drop_items.is_empty()) {
        return Err(DataError::Setting {
            name: "clean.drop_unknown_items or clean.drop_items".into(),
            found: "set, and no items file given".into(),
            expected: "--items PATH, or a config without these settings".into(),
        });
    }
    if tables.users.is_none() && clean.keep_new_users {
        return Err(DataError::Setting {
            name: "clean.keep_new_users".into(),
            found: "set, and no users file given".into(),
            expected: "--users PATH, or a config without this setting".into(),
        });
    }
    Ok(())
}

/// For each new row the old one, given for each old row the new one.
fn inverse(new_rows: &[u32]) -> Vec<u32> {
    let mut old_rows = vec![NONE; new_rows.len()];
    for (old, &new) in (0..).zip(new_rows) {
        old_rows[new as usize] = old;
    }
    old_rows
}

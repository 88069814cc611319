//! Events, items and users read together, with one numbering of ids.

use crate::catalog::{Catalog, Labels, NONE, read_items};
use crate::column::Texts;
use crate::id_map::IdMap;
use crate::log::{EventLog, ReadLog, ReadReport, read_events};
use crate::set_aside::SetAside;
use crate::source::{Source, Table};
use crate::split_mix::mix;
use crate::{DataConfig, DataError, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::sync::Arc;

/// The tables to read.
#[derive(Clone, Debug, Default)]
pub struct Tables<'a> {
    /// The interaction log.
    pub events: &'a str,
    /// The catalogue.
    pub items: Option<&'a str>,
    /// Attributes of shoppers.
    pub users: Option<&'a str>,
}

/// Everything that was read, ids numbered in ascending order of their text.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The events, in a canonical order that does not depend on the order of files or rows.
    pub log: EventLog,
    /// The catalogue, aligned with `log.items`.
    pub catalog: Catalog,
    /// User attributes, aligned with `log.users`.
    pub user_attributes: Vec<(String, Labels)>,
    /// What reading the events found.
    pub report: ReadReport,
    /// Rows of the items file, and what was set aside of them.
    pub items_report: Option<(u64, SetAside)>,
    /// The files read.
    pub inputs: Vec<Input>,
}

/// One input file, as the manifest of a version records it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Input {
    /// `events`, `items` or `users`.
    pub table: String,
    /// File name without its folder.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// BLAKE3 of the content, hexadecimal.
    pub blake3: String,
}

impl Dataset {
    /// Reads and validates the tables.
    ///
    /// # Errors
    /// Every variant of [`DataError`]; nothing panics on bad input.
    pub fn read(tables: &Tables, config: &DataConfig) -> Result<Self> {
        config.validate()?;
        let source = Source::find(tables.events)?;
        let items_source = tables.items.map(Source::find).transpose()?;
        let users_source = tables.users.map(Source::find).transpose()?;

        if items_source.is_none() && (config.clean.drop_unknown_items || !config.clean.drop_items.is_empty()) {
            return Err(DataError::Setting {
                name: "clean.drop_unknown_items or clean.drop_items".into(),
                found: "set, and no items file given".into(),
                expected: "--items PATH, or a config without these settings".into(),
            });
        }
        let items = items_source.as_ref().map(|source| read_items(source, config)).transpose()?;
        if users_source.is_none() && config.clean.keep_new_users {
            return Err(DataError::Setting {
                name: "clean.keep_new_users".into(),
                found: "set, and no users file given".into(),
                expected: "--users PATH, or a config without this setting".into(),
            });
        }
        let ReadLog { log, mut users, items: item_ids, orders, report } = read_events(&source, items.as_ref(), config)?;
        if let Some(source) = users_source.as_ref().filter(|_| config.clean.keep_new_users) {
            add_users(source, &mut users, config)?;
        }

        let (users, new_user) = users.sorted();
        let new_order = orders.numbered();
        let (item_ids, new_item) = item_ids.sorted();
        let mut old_item = vec![NONE; new_item.len()];
        new_item.iter().enumerate().for_each(|(old, &new)| old_item[new as usize] = old as u32);
        let catalog = match &items {
            Some(read) => read.catalog.align(&old_item),
            None => Catalog::unknown(item_ids.len()),
        };
        let user_attributes =
            users_source.as_ref().map(|source| read_users(source, &users, config)).transpose()?.unwrap_or_default();
        let renumbered = Renumbered { users: Arc::new(users), items: Arc::new(item_ids), new_user, new_item, new_order };
        let log = canonical(log, renumbered);

        let mut inputs = Vec::new();
        let named = std::iter::once(("events", &source));
        let named = named.chain(items_source.iter().map(|source| ("items", source)));
        for (table, source) in named.chain(users_source.iter().map(|source| ("users", source))) {
            for path in source.files() {
                inputs.push((table, path.clone()));
            }
        }
        let inputs = inputs
            .into_par_iter()
            .map(|(table, path)| {
                digest(&path)
                    .map(|(bytes, blake3)| Input {
                        table: table.into(),
                        name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
                        bytes,
                        blake3,
                    })
                    .map_err(|source| DataError::Io { path: path.clone(), source })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut inputs = inputs;
        inputs.sort_by(|a, b| (&a.table, &a.name, &a.blake3).cmp(&(&b.table, &b.name, &b.blake3)));
        let items_report = items.map(|read| (read.rows, read.set_aside));
        Ok(Self { log, catalog, user_attributes, report, items_report, inputs })
    }

    /// Gives items without a catalogue price the median of their last 31 prices paid in `log`.
    /// Returns how many got one.
    pub fn fill_prices(catalog: &mut Catalog, log: &EventLog) -> usize {
        if log.price.is_empty() {
            return 0;
        }
        let mut paid: Vec<(u32, i64, f32)> = (0..log.len())
            .filter(|&event| log.price[event] > 0.0 && catalog.price[log.item[event] as usize].is_nan())
            .map(|event| (log.item[event], log.time_of(event), log.price[event]))
            .collect();
        paid.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        let mut filled = 0;
        for group in paid.chunk_by(|a, b| a.0 == b.0) {
            let mut last: Vec<f32> = group.iter().rev().take(31).map(|line| line.2).collect();
            last.sort_by(f32::total_cmp);
            catalog.price[group[0].0 as usize] = last[last.len() / 2];
            filled += 1;
        }
        filled
    }
}

fn digest(path: &std::path::Path) -> std::io::Result<(u64, String)> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0u8; 1 << 20];
    let mut bytes = 0u64;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hasher.finalize().to_hex().to_string()));
        }
        bytes += read as u64;
        hasher.update(&buffer[..read]);
    }
}

/// Ids in their final order, and the new row of each old one.
struct Renumbered {
    users: Arc<IdMap>,
    items: Arc<IdMap>,
    new_user: Vec<u32>,
    new_item: Vec<u32>,
    new_order: Vec<u32>,
}

/// Renumbers and sorts the events so that the same set of rows gives the same log, however it was split into files.
fn canonical(mut log: EventLog, ids: Renumbered) -> EventLog {
    let mut types: Vec<u8> = (0..log.types.len() as u8).collect();
    types.sort_by(|&a, &b| log.types[a as usize].name.cmp(&log.types[b as usize].name));
    let mut new_type = vec![0u8; types.len()];
    types.iter().enumerate().for_each(|(new, &old)| new_type[old as usize] = new as u8);

    log.types = types.iter().map(|&old| log.types[old as usize].clone()).collect();
    log.item.par_iter_mut().for_each(|item| *item = ids.new_item[*item as usize]);
    log.user.par_iter_mut().filter(|user| **user != NONE).for_each(|user| *user = ids.new_user[*user as usize]);
    log.order.par_iter_mut().filter(|order| **order != NONE).for_each(|order| *order = ids.new_order[*order as usize]);
    log.kind.par_iter_mut().for_each(|kind| *kind = new_type[*kind as usize]);
    log.users = ids.users;
    log.items = ids.items;

    for column in &mut log.context {
        let (values, new_value) = IdMap::clone(&column.values).sorted();
        column.value.par_iter_mut().filter(|value| **value != NONE).for_each(|value| *value = new_value[*value as usize]);
        column.values = Arc::new(values);
    }

    // Rows that differ in their circumstances alone need an order too, whichever.
    let circumstances = |event: usize| log.context.iter().fold(0, |key, column| mix(key ^ u64::from(column.value[event])));
    let mut order: Vec<u32> = (0..log.len() as u32).collect();
    let number = |column: &[f32], event: usize| column.get(event).map_or(0, |value| value.to_bits());
    order.par_sort_by_cached_key(|&event| {
        let event = event as usize;
        let user = log.user_of(event);
        (
            user,
            log.time_of(event),
            log.order_of(event),
            log.position.get(event).copied(),
            log.item[event],
            log.kind[event],
            number(&log.quantity, event),
            number(&log.price, event),
            circumstances(event),
        )
    });
    fn pick<T: Copy + Send + Sync>(column: &[T], order: &[u32]) -> Vec<T> {
        if column.is_empty() { Vec::new() } else { order.par_iter().map(|&event| column[event as usize]).collect() }
    }
    log.user = pick(&log.user, &order);
    log.item = pick(&log.item, &order);
    log.kind = pick(&log.kind, &order);
    log.time = pick(&log.time, &order);
    log.quantity = pick(&log.quantity, &order);
    log.price = pick(&log.price, &order);
    log.order = pick(&log.order, &order);
    log.position = pick(&log.position, &order);
    log.context.iter_mut().for_each(|column| column.value = pick(&column.value, &order));
    log
}

/// The users file, and its column of ids.
fn users_table(source: &Source, config: &DataConfig) -> Result<(Table, String)> {
    let table = source.open()?;
    let id_column = config.columns.users.user_id.clone().unwrap_or_else(|| "user_id".into());
    if table.has(&id_column)? {
        return Ok((table, id_column));
    }
    let names = table.column_names();
    Err(DataError::MissingColumn {
        table: format!("users file {}", table.given()),
        column: id_column,
        guess: crate::catalog::guess("user_id", &names),
        found: names,
        section: "[columns.users]",
        field: "user_id".into(),
    })
}

/// Adds the users of the users file to those of the events.
fn add_users(source: &Source, users: &mut IdMap, config: &DataConfig) -> Result<()> {
    let (table, id_column) = users_table(source, config)?;
    for file in table.files() {
        file.scan(&[&id_column], |batch, _| {
            let ids = Texts::of(file, batch, &id_column)?;
            let mut buffer = String::new();
            for row in 0..batch.num_rows() {
                if let Some(id) = ids.at(row, &mut buffer) {
                    users.intern(id);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn read_users(source: &Source, users: &IdMap, config: &DataConfig) -> Result<Vec<(String, Labels)>> {
    let (table, id_column) = users_table(source, config)?;
    let names = table.column_names();
    let attributes: Vec<&String> = names.iter().filter(|name| **name != id_column).collect();
    let mut rows: Vec<Option<Vec<Option<String>>>> = vec![None; users.len()];
    let columns: Vec<&str> = names.iter().map(String::as_str).collect();
    for file in table.files() {
        file.scan(&columns, |batch, _| {
            let ids = Texts::of(file, batch, &id_column)?;
            let texts = attributes.iter().map(|column| Texts::of(file, batch, column)).collect::<Result<Vec<_>>>()?;
            let mut buffer = String::new();
            for row in 0..batch.num_rows() {
                let known = ids.at(row, &mut buffer).and_then(|id| users.get(id));
                if let Some(user) = known
                    && rows[user as usize].is_none()
                {
                    rows[user as usize] = Some(texts.iter().map(|texts| texts.at(row, &mut buffer).map(str::to_string)).collect());
                }
            }
            Ok(())
        })?;
    }
    Ok(attributes
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let mut labels = Labels::default();
            rows.iter().for_each(|row| labels.push(row.as_ref().and_then(|values| values[number].as_deref())));
            (name.to_string(), labels)
        })
        .collect())
}

//! The interaction log in memory: only the columns that exist, ids as rows, 8 to 37 bytes an event, and 4 for each column of circumstances.

use crate::catalog::{NONE, ReadItems, drop_columns, dropped, guess, tidy};
use crate::column::{Moments, Numbers, Texts};
use crate::config::EventRole;
use crate::id_map::IdMap;
use crate::set_aside::{Reason, SetAside};
use crate::source::{Source, Table, TableFile};
use crate::{DataConfig, DataError, Result};
use arrow_array::RecordBatch;
use std::sync::Arc;

/// One event type as the log and the config describe it.
#[derive(Clone, Debug)]
pub struct EventType {
    /// Its name in the log.
    pub name: String,
    /// What it means to an order.
    pub role: EventRole,
    /// Confidence added by one event.
    pub weight: f32,
    /// After so many days an event counts half.
    pub half_life_days: Option<f32>,
    /// Rows kept.
    pub rows: u64,
}

/// Under what circumstances the events happened, one column of them: its values, and each event's.
#[derive(Clone, Debug, Default)]
pub struct ContextColumn {
    /// The dimension: device, location, traffic_source, or a column named in `[columns] context`.
    pub name: String,
    /// The distinct values, ascending once the log is read.
    pub values: Arc<IdMap>,
    /// Row of each event's value, [`NONE`] = not known.
    pub value: Vec<u32>,
}

impl ContextColumn {
    /// The value of an event.
    pub fn value_of(&self, event: usize) -> Option<&str> {
        self.value.get(event).filter(|&&value| value != NONE).map(|&value| self.values.id(value))
    }
}

/// Interned events, column by column. A column that the files lack is empty.
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    /// Shoppers by external id.
    pub users: Arc<IdMap>,
    /// Items by external id: those of the log and those of the catalogue.
    pub items: Arc<IdMap>,
    /// Event types; `kind` holds their numbers.
    pub types: Vec<EventType>,
    /// User row, [`NONE`] = anonymous. Empty if no column names users.
    pub user: Vec<u32>,
    /// Item row.
    pub item: Vec<u32>,
    /// Event type number.
    pub kind: Vec<u8>,
    /// Milliseconds since 1970-01-01 UTC. May be empty.
    pub time: Vec<i64>,
    /// Order number, or session number where the log has no orders; [`NONE`] = none. May be empty.
    pub order: Vec<u32>,
    /// Place within the session. May be empty.
    pub position: Vec<u32>,
    /// Units. May be empty.
    pub quantity: Vec<f32>,
    /// Price paid per unit; 0 = unknown. May be empty.
    pub price: Vec<f32>,
    /// Circumstances, only those that the files have, each as long as `item`.
    pub context: Vec<ContextColumn>,
}

/// What reading found.
#[derive(Clone, Debug, Default)]
pub struct ReadReport {
    /// Rows in the files.
    pub rows: u64,
    /// Rows not used, by reason.
    pub set_aside: SetAside,
    /// Fields that the log has.
    pub fields: Vec<&'static str>,
    /// Circumstances that the log has, by name.
    pub context: Vec<String>,
    /// Columns that stay unread.
    pub other_columns: Vec<String>,
    /// Rows with a price of zero, which count as purchases but not as prices.
    pub zero_prices: u64,
}

/// The circumstance whose values may be paths.
const LOCATION: &str = "location";
/// Before the id of a session where it stands for an order.
const SESSION: &str = "session\0";

struct Fields {
    item: String,
    user: Option<String>,
    kind: Option<String>,
    time: Option<String>,
    order: Option<String>,
    session: Option<String>,
    position: Option<String>,
    quantity: Option<String>,
    price: Option<String>,
    context: Vec<ContextField>,
}

/// Where a column of circumstances is.
struct ContextField {
    name: String,
    column: String,
    /// Whether the config names it: then it must be readable.
    named: bool,
}

impl ContextField {
    /// Its texts in a batch; `None` for a column that nobody named and that holds no texts, such as a struct.
    fn texts(&self, file: &TableFile, batch: &RecordBatch) -> Result<Option<Texts>> {
        match Texts::of(file, batch, &self.column) {
            Err(_) if !self.named => Ok(None),
            found => found.map(Some),
        }
    }

    /// A value as it is kept: of locations, a tidy path.
    fn intern(&self, text: Option<&str>, values: &mut IdMap) -> u32 {
        match text {
            Some(path) if self.name == LOCATION && path.contains('>') => match tidy(path) {
                path if path.is_empty() => NONE,
                path => values.intern(&path),
            },
            Some(text) => values.intern(text),
            None => NONE,
        }
    }
}

impl Fields {
    fn find(table: &Table, config: &DataConfig) -> Result<Self> {
        let names = table.column_names();
        let map = &config.columns;
        let missing = |column: &str, field: &str| DataError::MissingColumn {
            table: format!("events file {}", table.given()),
            column: column.into(),
            guess: guess(field, &names),
            found: names.clone(),
            section: "[columns]",
            field: field.into(),
        };
        let optional = |field: &str, mapped: &Option<String>| -> Result<Option<String>> {
            let column = mapped.as_deref().unwrap_or(field);
            match (table.has(column)?, mapped) {
                (true, _) => Ok(Some(column.to_string())),
                (false, Some(_)) => Err(missing(column, field)),
                (false, None) => Ok(None),
            }
        };
        let item = optional("item_id", &map.item_id)?.ok_or_else(|| missing("item_id", "item_id"))?;
        let mut context: Vec<ContextField> = Vec::new();
        for (field, mapped) in [("device", &map.device), ("location", &map.location), ("traffic_source", &map.traffic_source)] {
            let named = mapped.is_some();
            context.extend(optional(field, mapped)?.map(|column| ContextField { name: field.into(), column, named }));
        }
        for name in &map.context {
            if !table.has(name)? {
                return Err(missing(name, "context"));
            }
            if context.iter().all(|known| known.name != *name) {
                context.push(ContextField { name: name.clone(), column: name.clone(), named: true });
            }
        }
        let fields = Self {
            item,
            user: optional("user_id", &map.user_id)?,
            kind: optional("event_type", &map.event_type)?,
            time: optional("timestamp", &map.timestamp)?,
            order: optional("order_id", &map.order_id)?,
            session: optional("session_id", &map.session_id)?,
            position: optional("position", &map.position)?,
            quantity: optional("quantity", &map.quantity)?,
            price: optional("price", &map.price)?,
            context,
        };
        if fields.user.is_none() && fields.order.is_none() && fields.session.is_none() {
            return Err(DataError::NoOwner { table: format!("events file {}", table.given()), found: names.clone() });
        }
        for rule in &config.clean.drop_events {
            if !table.has(&rule.column)? {
                return Err(missing(&rule.column, "clean.drop_events column"));
            }
        }
        Ok(fields)
    }

    fn named(&self) -> Vec<(&'static str, &str)> {
        [
            ("item_id", Some(&self.item)),
            ("user_id", self.user.as_ref()),
            ("event_type", self.kind.as_ref()),
            ("timestamp", self.time.as_ref()),
            ("order_id", self.order.as_ref()),
            ("session_id", self.session.as_ref()),
            ("position", self.position.as_ref()),
            ("quantity", self.quantity.as_ref()),
            ("price", self.price.as_ref()),
        ]
        .into_iter()
        .filter_map(|(field, column)| Some((field, column?.as_str())))
        .collect()
    }
}

const YEAR_1990: i64 = 631_152_000_000;
const DAY: i64 = 86_400_000;

/// Events as read: rows in order of appearance.
pub(crate) struct ReadLog {
    pub log: EventLog,
    pub users: IdMap,
    pub items: IdMap,
    pub orders: IdMap,
    pub report: ReadReport,
}

/// Reads an events table. `items` come first in the item rows.
pub(crate) fn read_events(source: &Source, items: Option<&ReadItems>, config: &DataConfig) -> Result<ReadLog> {
    let unit = config.epoch_unit()?;
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(i64::MAX - DAY, |now| now.as_millis() as i64);
    let mut users = IdMap::new();
    let mut item_ids = items.map(|read| read.ids.clone()).unwrap_or_default();
    let mut orders = IdMap::new();
    let mut log = EventLog::default();
    let mut report = ReadReport::default();

    let table = source.open()?;
    let fields = Fields::find(&table, config)?;
    let named = fields.named();
    admit(&table, named.len() + fields.context.len())?;
    let mut columns: Vec<&str> = named.iter().map(|(_, column)| *column).collect();
    columns.extend(fields.context.iter().map(|field| field.column.as_str()));
    columns.extend(config.clean.drop_events.iter().map(|rule| rule.column.as_str()));
    report.other_columns = table.column_names().into_iter().filter(|name| !columns.contains(&name.as_str())).collect();
    report.fields = named.iter().map(|(field, _)| *field).collect();
    // Interned here, and shared once all are known.
    let mut contexts: Vec<(IdMap, Vec<u32>)> = fields.context.iter().map(|_| Default::default()).collect();

    for file in table.files() {
        file.scan(&columns, |batch, first_row| {
            let text = |column: &Option<String>| column.as_ref().map(|name| Texts::of(file, batch, name)).transpose();
            let number = |column: &Option<String>| column.as_ref().map(|name| Numbers::of(file, batch, name)).transpose();
            let item = Texts::of(file, batch, &fields.item)?;
            let (user, kind) = (text(&fields.user)?, text(&fields.kind)?);
            let (order, session) = (text(&fields.order)?, text(&fields.session)?);
            let time = fields.time.as_ref().map(|name| Moments::of(file, batch, name, unit)).transpose()?;
            let position = number(&fields.position)?;
            let (quantity, price) = (number(&fields.quantity)?, number(&fields.price)?);
            let circumstances = fields.context.iter().map(|field| field.texts(file, batch)).collect::<Result<Vec<_>>>()?;
            let drops = drop_columns(&config.clean.drop_events, |column| Texts::of(file, batch, column))?;
            let (mut buffer, mut user_buffer, mut order_buffer, mut session_buffer) =
                (String::new(), String::new(), String::new(), String::new());
            let mut named = SESSION.to_string();
            for row in 0..batch.num_rows() {
                report.rows += 1;
                let at = first_row + row as u64;
                let mut aside = |reason: Reason| report.set_aside.count(reason, at);
                if dropped(&drops, row, &mut buffer) {
                    aside(Reason::DroppedEvent);
                    continue;
                }
                let kind_number = match &kind {
                    Some(texts) => type_number(&mut log.types, texts.at(row, &mut buffer).unwrap_or("purchase"), config),
                    None => type_number(&mut log.types, "purchase", config),
                };
                let Some(kind_number) = kind_number else {
                    return Err(DataError::Unreadable {
                        path: file.path().to_path_buf(),
                        detail: format!(
                            "column '{}' holds more than 255 different event types",
                            fields.kind.as_deref().unwrap_or("event_type")
                        ),
                    });
                };
                let role = log.types[kind_number as usize].role;
                if log.types[kind_number as usize].weight == 0.0 {
                    aside(Reason::IgnoredType);
                    continue;
                }
                let moment = match &time {
                    None => None,
                    Some(moments) => match moments.at(row) {
                        None => {
                            aside(Reason::NullTimestamp);
                            continue;
                        }
                        Some(moment) if moment < YEAR_1990 => {
                            aside(Reason::LongPast);
                            continue;
                        }
                        Some(moment) if moment > now + DAY => {
                            aside(Reason::Future);
                            continue;
                        }
                        moment => moment,
                    },
                };
                let paid = match price.as_ref().and_then(|numbers| numbers.at(row)) {
                    None => 0.0,
                    Some(paid) if !paid.is_finite() => {
                        aside(Reason::NanPrice);
                        continue;
                    }
                    Some(paid) if paid < 0.0 => {
                        aside(Reason::NegativePrice);
                        continue;
                    }
                    Some(paid) => paid,
                };
                let units = match quantity.as_ref().and_then(|numbers| numbers.at(row)) {
                    None => 1.0,
                    Some(units) if !units.is_finite() || (units <= 0.0 && role != EventRole::Return) => {
                        aside(Reason::BadQuantity);
                        continue;
                    }
                    Some(units) if role != EventRole::Return && units < config.clean.min_quantity => {
                        aside(Reason::SmallQuantity);
                        continue;
                    }
                    Some(units) => units.abs(),
                };
                let user_id = user.as_ref().and_then(|texts| texts.at(row, &mut user_buffer));
                let order_id = order.as_ref().and_then(|texts| texts.at(row, &mut order_buffer));
                let session_id = session.as_ref().and_then(|texts| texts.at(row, &mut session_buffer));
                if user_id.is_none() && order_id.is_none() && session_id.is_none() {
                    aside(Reason::NullOwner);
                    continue;
                }
                let Some(item_id) = item.at(row, &mut buffer) else {
                    aside(Reason::NullItem);
                    continue;
                };
                let item_row = match items {
                    Some(read) if read.dropped.get(item_id).is_some() => {
                        aside(Reason::DroppedItem);
                        continue;
                    }
                    Some(_) if config.clean.drop_unknown_items => match item_ids.get(item_id) {
                        Some(known) => known,
                        None => {
                            aside(Reason::UnknownItem);
                            continue;
                        }
                    },
                    _ => item_ids.intern(item_id),
                };
                let user_row = user_id.map_or(NONE, |id| users.intern(id));
                // A session may have the id of an order: sessions have a namespace of their own.
                let order_row = match (order_id, session_id) {
                    (Some(id), _) => orders.intern(id),
                    (None, Some(id)) => {
                        named.truncate(SESSION.len());
                        named.push_str(id);
                        orders.intern(&named)
                    }
                    (None, None) => NONE,
                };
                log.types[kind_number as usize].rows += 1;
                log.item.push(item_row);
                log.kind.push(kind_number);
                if user.is_some() {
                    log.user.push(user_row);
                }
                if order.is_some() || session.is_some() {
                    log.order.push(order_row);
                }
                if let Some(moment) = moment {
                    log.time.push(moment);
                }
                if let Some(position) = &position {
                    log.position.push(position.at(row).map_or(0, |place| place as u32));
                }
                if quantity.is_some() {
                    log.quantity.push(units as f32);
                }
                if price.is_some() {
                    log.price.push(paid as f32);
                    report.zero_prices += u64::from(paid == 0.0);
                }
                for ((field, texts), (values, column)) in fields.context.iter().zip(&circumstances).zip(&mut contexts) {
                    let text = texts.as_ref().and_then(|texts| texts.at(row, &mut buffer));
                    column.push(field.intern(text, values));
                }
            }
            Ok(())
        })?;
    }
    for (field, (values, value)) in fields.context.iter().zip(contexts) {
        if values.is_empty() {
            report.other_columns.push(field.column.clone());
            continue;
        }
        report.context.push(field.name.clone());
        log.context.push(ContextColumn { name: field.name.clone(), values: Arc::new(values), value });
    }
    let faults = report.set_aside.faults();
    if faults as f64 > config.clean.max_set_aside * report.rows as f64 {
        return Err(DataError::TooManySetAside {
            bad: faults,
            total: report.rows,
            limit: config.clean.max_set_aside,
            reasons: report.set_aside.to_string(),
        });
    }
    if log.item.is_empty() {
        let detail = if report.rows == 0 { "the files are empty".into() } else { report.set_aside.to_string() };
        return Err(DataError::Empty { what: format!("events file {}", source.given()), detail });
    }
    Ok(ReadLog { log, users, items: item_ids, orders, report })
}

/// Refuses a log whose declared rows cannot fit in memory, before the first is read.
fn admit(table: &Table, fields: usize) -> Result<()> {
    let needed = table.rows().saturating_mul(5 * fields as u64);
    let Some(free) = memory_available() else { return Ok(()) };
    if needed > free {
        return Err(DataError::Oversized {
            path: table.given().into(),
            declared: format!("{} rows", table.rows()),
            limit: format!("{} MiB of free memory", free >> 20),
            detail: format!("at least {} MiB for {fields} columns", needed >> 20),
        });
    }
    Ok(())
}

/// Memory that the system can give without swapping, where it says so.
pub fn memory_available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn type_number(types: &mut Vec<EventType>, name: &str, config: &DataConfig) -> Option<u8> {
    if let Some(number) = types.iter().position(|kind| kind.name == name) {
        return Some(number as u8);
    }
    if types.len() == 255 {
        return None;
    }
    let (role, weight) = config.meaning(name);
    types.push(EventType {
        name: name.into(),
        role,
        weight,
        half_life_days: config.events.get(name).and_then(|rule| rule.half_life_days),
        rows: 0,
    });
    Some((types.len() - 1) as u8)
}

impl EventLog {
    /// The number of events.
    pub fn len(&self) -> usize {
        self.item.len()
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.item.is_empty()
    }

    /// The user of an event, [`NONE`] if anonymous.
    pub fn user_of(&self, event: usize) -> u32 {
        self.user.get(event).copied().unwrap_or(NONE)
    }

    /// The order (or session) of an event, [`NONE`] if it has none.
    pub fn order_of(&self, event: usize) -> u32 {
        self.order.get(event).copied().unwrap_or(NONE)
    }

    /// The moment of an event in milliseconds, 0 in a log without times.
    pub fn time_of(&self, event: usize) -> i64 {
        self.time.get(event).copied().unwrap_or(0)
    }

    /// The type of an event.
    pub fn type_of(&self, event: usize) -> &EventType {
        &self.types[self.kind[event] as usize]
    }

    /// Whether anything was bought.
    pub fn has_purchases(&self) -> bool {
        self.types.iter().any(|kind| kind.role == EventRole::Purchase && kind.rows > 0)
    }

    /// First and last moment.
    pub fn span(&self) -> Option<(i64, i64)> {
        Some((*self.time.iter().min()?, *self.time.iter().max()?))
    }

    /// The events for which `keep` says yes, with the same ids.
    pub fn select(&self, keep: impl Fn(usize) -> bool) -> EventLog {
        let chosen: Vec<usize> = (0..self.len()).filter(|&event| keep(event)).collect();
        fn pick<T: Copy>(column: &[T], chosen: &[usize]) -> Vec<T> {
            if column.is_empty() { Vec::new() } else { chosen.iter().map(|&event| column[event]).collect() }
        }
        let mut log = EventLog {
            users: self.users.clone(),
            items: self.items.clone(),
            types: self.types.clone(),
            user: pick(&self.user, &chosen),
            item: pick(&self.item, &chosen),
            kind: pick(&self.kind, &chosen),
            time: pick(&self.time, &chosen),
            order: pick(&self.order, &chosen),
            position: pick(&self.position, &chosen),
            quantity: pick(&self.quantity, &chosen),
            price: pick(&self.price, &chosen),
            context: (self.context.iter())
                .map(|column| ContextColumn {
                    name: column.name.clone(),
                    values: column.values.clone(),
                    value: pick(&column.value, &chosen),
                })
                .collect(),
        };
        log.types.iter_mut().for_each(|kind| kind.rows = 0);
        for &kind in &log.kind {
            log.types[kind as usize].rows += 1;
        }
        log
    }

    /// Leaves out events of items that fewer than `least` distinct shoppers touched; an anonymous order counts as one.
    pub fn with_min_users(&self, least: u32) -> EventLog {
        if least <= 1 {
            return self.clone();
        }
        let mut pairs: Vec<(u32, u64)> = (0..self.len())
            .map(|event| {
                let shopper = match self.user_of(event) {
                    NONE => (1 << 32) | u64::from(self.order_of(event)),
                    user => u64::from(user),
                };
                (self.item[event], shopper)
            })
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut shoppers = vec![0u32; self.items.len()];
        pairs.iter().for_each(|&(item, _)| shoppers[item as usize] += 1);
        self.select(|event| shoppers[self.item[event] as usize] >= least)
    }
}

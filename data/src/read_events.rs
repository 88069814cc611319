//! Reads the rows of an events table and refuses those that cannot be used.
//!
//! [`EventReader::check`] is the one place where an event row is refused, for whatever reason. The
//! reasons themselves are in `set_aside.rs`, and the columns that hold the fields are found in
//! `event_fields.rs`.

use crate::column::{NumberColumn, StringColumn, TimeColumn};
use crate::config::{DataConfig, EpochUnit, EventRole};
use crate::drop_rules::BatchDropRules;
use crate::error::{DataError, Result};
use crate::event_fields::EventFields;
use crate::event_log::{ContextColumn, EventLog, EventType};
use crate::id_map::{IdMap, NONE};
use crate::memory::memory_available;
use crate::read_items::ReadItems;
use crate::set_aside::{Reason, SetAside};
use crate::source::{Source, Table, TableFile};
use crate::time::DAY_MILLIS;
use arrow_array::RecordBatch;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// 1990-01-01 UTC in milliseconds: events before it are refused.
const EARLIEST_TIME: i64 = 631_152_000_000;
/// The number of event types that a log may have, because an event stores its type in a byte.
const MAX_EVENT_TYPES: usize = 255;
/// The type of an event whose row names none.
const DEFAULT_TYPE: &str = "purchase";
/// Set before the id of a session that stands for an order, because a session and an order may have
/// the same id.
const SESSION_PREFIX: &str = "session\0";

/// What reading the events files found.
#[derive(Clone, Debug, Default)]
pub struct ReadReport {
    /// The number of rows in the files.
    pub rows: u64,
    /// The rows that are not used, by reason.
    pub set_aside: SetAside,
    /// The fields that the files have, such as `user_id` or `price`.
    pub fields: Vec<&'static str>,
    /// The context dimensions that the files have.
    pub context: Vec<String>,
    /// The columns that were not read, or that hold no usable value.
    pub other_columns: Vec<String>,
    /// The number of events with a price of zero, which count as events but not as prices.
    pub zero_prices: u64,
}

/// The events of the files in the order of their rows, with users, items and orders numbered as
/// they first appeared.
pub(crate) struct UnsortedLog {
    /// Its own `users` and `items` are empty.
    pub log: EventLog,
    pub users: IdMap,
    pub items: IdMap,
    pub orders: IdMap,
    pub report: ReadReport,
}

/// Reads an events table. The items of the items file come first in the rows of items.
///
/// # Errors
/// Those of opening the files and their columns, [`DataError::Oversized`] if the rows cannot fit in
/// memory, [`DataError::TooManySetAside`] and [`DataError::Empty`] if too few rows can be used.
pub(crate) fn read_events(
    source: &Source,
    items_file: Option<&ReadItems>,
    config: &DataConfig,
) -> Result<UnsortedLog> {
    let table = source.open()?;
    let fields = EventFields::find(&table, config)?;
    check_memory(&table, fields.found().len() + fields.context.len())?;
    let columns = fields.columns(&config.clean.drop_events);
    let mut reader = EventReader {
        config,
        fields: &fields,
        items_file,
        timestamp_unit: config.epoch_unit()?,
        latest_time: now_millis().saturating_add(DAY_MILLIS),
        users: IdMap::new(),
        items: items_file.map(|read| read.ids.clone()).unwrap_or_default(),
        orders: IdMap::new(),
        log: EventLog::default(),
        context_values: vec![IdMap::new(); fields.context.len()],
        context_rows: vec![Vec::new(); fields.context.len()],
        report: ReadReport {
            fields: fields.found().iter().map(|(field, _)| *field).collect(),
            other_columns: table.column_names(),
            ..ReadReport::default()
        },
        buffers: Buffers::default(),
    };
    let is_read = |name: &String| columns.contains(&name.as_str());
    reader.report.other_columns.retain(|name| !is_read(name));
    for file in table.files() {
        file.scan(&columns, |batch, first_row| {
            let batch = reader.open_batch(file, batch)?;
            reader.read_batch(&batch, first_row)
        })?;
    }
    reader.finish(source)
}

/// Turns rows into events, file by file and batch by batch.
struct EventReader<'a> {
    config: &'a DataConfig,
    fields: &'a EventFields,
    items_file: Option<&'a ReadItems>,
    timestamp_unit: Option<EpochUnit>,
    /// Events after this time, in milliseconds, are refused.
    latest_time: i64,
    users: IdMap,
    items: IdMap,
    orders: IdMap,
    log: EventLog,
    /// The distinct values of each context field.
    context_values: Vec<IdMap>,
    /// For each context field the row of each event's value.
    context_rows: Vec<Vec<u32>>,
    report: ReadReport,
    buffers: Buffers,
}

/// Scratch space for texts, reused for every row.
#[derive(Default)]
struct Buffers {
    user: String,
    order: String,
    session: String,
    /// `SESSION_PREFIX` and the id of a session.
    session_order: String,
    other: String,
}

/// The columns of one batch that the fields and drop rules need, opened once.
struct EventBatch<'a> {
    file: &'a TableFile,
    rows: usize,
    item: StringColumn,
    user: Option<StringColumn>,
    event_type: Option<StringColumn>,
    time: Option<TimeColumn>,
    order: Option<StringColumn>,
    session: Option<StringColumn>,
    position: Option<NumberColumn>,
    quantity: Option<NumberColumn>,
    price: Option<NumberColumn>,
    context: Vec<Option<StringColumn>>,
    drop_rules: BatchDropRules<'a>,
}

/// One row that is used.
struct Event {
    /// [`NONE`] = anonymous.
    user: u32,
    item: u32,
    kind: u8,
    /// `None` in files without times.
    time: Option<i64>,
    /// [`NONE`] = neither an order nor a session.
    order: u32,
    quantity: f64,
    price: f64,
}

/// Why a row makes no event.
enum Refusal {
    /// The row is set aside, and reading goes on.
    Row(Reason),
    /// The file cannot be read.
    File(DataError),
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal::Row(reason)
    }
}

impl<'a> EventReader<'a> {
    fn open_batch(&self, file: &'a TableFile, batch: &RecordBatch) -> Result<EventBatch<'a>> {
        let text = |column: &Option<String>| {
            let name = column.as_ref();
            name.map(|name| StringColumn::open(file, batch, name))
                .transpose()
        };
        let number = |column: &Option<String>| {
            let name = column.as_ref();
            name.map(|name| NumberColumn::open(file, batch, name))
                .transpose()
        };
        let time = |name| TimeColumn::open(file, batch, name, self.timestamp_unit);
        let fields = self.fields;
        Ok(EventBatch {
            file,
            rows: batch.num_rows(),
            item: StringColumn::open(file, batch, &fields.item)?,
            user: text(&fields.user)?,
            event_type: text(&fields.event_type)?,
            order: text(&fields.order)?,
            session: text(&fields.session)?,
            time: fields.time.as_deref().map(time).transpose()?,
            position: number(&fields.position)?,
            quantity: number(&fields.quantity)?,
            price: number(&fields.price)?,
            context: (fields.context.iter())
                .map(|field| field.open(file, batch))
                .collect::<Result<_>>()?,
            drop_rules: BatchDropRules::open(&self.config.clean.drop_events, file, batch)?,
        })
    }

    fn read_batch(&mut self, batch: &EventBatch, first_row: u64) -> Result<()> {
        for row in 0..batch.rows {
            self.report.rows += 1;
            match self.check(batch, row) {
                Ok(event) => self.push(batch, row, event),
                Err(Refusal::Row(reason)) => {
                    self.report.set_aside.add(reason, first_row + row as u64);
                }
                Err(Refusal::File(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// The event of a row, or the reason for which the row is refused. Every reason is here, and a
    /// row with several faults is refused for the first of them.
    fn check(&mut self, batch: &EventBatch, row: usize) -> Result<Event, Refusal> {
        if batch.drop_rules.drop_row(row, &mut self.buffers.other) {
            return Err(Reason::DroppedEvent.into());
        }

        let kind = self.event_type(batch, row).map_err(Refusal::File)?;
        let event_type = &self.log.types[kind as usize];
        let is_return = event_type.role == EventRole::Return;
        if event_type.weight == 0.0 {
            return Err(Reason::IgnoredType.into());
        }

        let time = match &batch.time {
            Some(times) => Some(times.millis(row).ok_or(Reason::NullTimestamp)?),
            None => None,
        };
        if time.is_some_and(|time| time < EARLIEST_TIME) {
            return Err(Reason::LongPast.into());
        }
        if time.is_some_and(|time| time > self.latest_time) {
            return Err(Reason::Future.into());
        }

        let price = number(&batch.price, row).unwrap_or(0.0);
        if !price.is_finite() {
            return Err(Reason::NanPrice.into());
        }
        if price < 0.0 {
            return Err(Reason::NegativePrice.into());
        }

        let quantity = number(&batch.quantity, row);
        let is_bad = |units: f64| !units.is_finite() || (units <= 0.0 && !is_return);
        if quantity.is_some_and(is_bad) {
            return Err(Reason::BadQuantity.into());
        }
        if !is_return && quantity.is_some_and(|units| units < self.config.clean.min_quantity) {
            return Err(Reason::SmallQuantity.into());
        }

        let user_id = text(&batch.user, row, &mut self.buffers.user);
        let order_id = text(&batch.order, row, &mut self.buffers.order);
        let session_id = text(&batch.session, row, &mut self.buffers.session);
        if user_id.is_none() && order_id.is_none() && session_id.is_none() {
            return Err(Reason::NullOwner.into());
        }

        let item_id = batch.item.text(row, &mut self.buffers.other);
        let item_id = item_id.ok_or(Reason::NullItem)?;
        if let Some(items_file) = self.items_file {
            if items_file.dropped.get(item_id).is_some() {
                return Err(Reason::DroppedItem.into());
            }
            if self.config.clean.drop_unknown_items && self.items.get(item_id).is_none() {
                return Err(Reason::UnknownItem.into());
            }
        }

        // Ids are numbered only now, because a refused row must not add any.
        Ok(Event {
            user: user_id.map_or(NONE, |id| self.users.intern(id)),
            item: self.items.intern(item_id),
            kind,
            time,
            order: match (order_id, session_id) {
                (Some(id), _) => self.orders.intern(id),
                (None, Some(id)) => {
                    let order_id = &mut self.buffers.session_order;
                    order_id.clear();
                    order_id.push_str(SESSION_PREFIX);
                    order_id.push_str(id);
                    self.orders.intern(order_id)
                }
                (None, None) => NONE,
            },
            quantity: quantity.map_or(1.0, f64::abs),
            price,
        })
    }

    /// The position in `log.types` of a row's event type, which is added if it is new.
    fn event_type(&mut self, batch: &EventBatch, row: usize) -> Result<u8> {
        let name = text(&batch.event_type, row, &mut self.buffers.other).unwrap_or(DEFAULT_TYPE);
        let types = &mut self.log.types;
        if let Some(known) = types.iter().position(|known| known.name == name) {
            return Ok(known as u8);
        }
        if types.len() == MAX_EVENT_TYPES {
            let column = self.fields.event_type.as_deref().unwrap_or("event_type");
            return Err(DataError::Unreadable {
                path: batch.file.path().to_path_buf(),
                detail: format!(
                    "column '{column}' holds more than {MAX_EVENT_TYPES} different event types"
                ),
            });
        }
        let (role, weight) = self.config.event_role_and_weight(name);
        let rule = self.config.events.get(name);
        types.push(EventType {
            name: name.into(),
            role,
            weight,
            half_life_days: rule.and_then(|rule| rule.half_life_days),
            rows: 0,
        });
        Ok((types.len() - 1) as u8)
    }

    /// Appends an event to the columns that the files have.
    fn push(&mut self, batch: &EventBatch, row: usize, event: Event) {
        let log = &mut self.log;
        log.types[event.kind as usize].rows += 1;
        log.item.push(event.item);
        log.kind.push(event.kind);
        log.time.extend(event.time);
        if batch.user.is_some() {
            log.user.push(event.user);
        }
        if batch.order.is_some() || batch.session.is_some() {
            log.order.push(event.order);
        }
        if let Some(positions) = &batch.position {
            let position = positions.number(row).unwrap_or(0.0);
            log.position.push(position as u32);
        }
        if batch.quantity.is_some() {
            log.quantity.push(event.quantity as f32);
        }
        if batch.price.is_some() {
            log.price.push(event.price as f32);
            self.report.zero_prices += u64::from(event.price == 0.0);
        }
        for (number, field) in self.fields.context.iter().enumerate() {
            let value = text(&batch.context[number], row, &mut self.buffers.other);
            let value_row = field.intern(value, &mut self.context_values[number]);
            self.context_rows[number].push(value_row);
        }
    }

    /// The log, once every file is read.
    fn finish(mut self, source: &Source) -> Result<UnsortedLog> {
        let columns = self.context_values.into_iter().zip(self.context_rows);
        for (field, (values, value)) in self.fields.context.iter().zip(columns) {
            if values.is_empty() {
                self.report.other_columns.push(field.column.clone());
                continue;
            }
            self.report.context.push(field.name.clone());
            self.log.context.push(ContextColumn {
                name: field.name.clone(),
                values: Arc::new(values),
                value,
            });
        }
        let report = self.report;
        let faults = report.set_aside.faults();
        let limit = self.config.clean.max_set_aside;
        if faults as f64 > limit * report.rows as f64 {
            return Err(DataError::TooManySetAside {
                bad: faults,
                total: report.rows,
                limit,
                reasons: report.set_aside.to_string(),
            });
        }
        if self.log.is_empty() {
            let detail = match report.rows {
                0 => "the files are empty".into(),
                _ => report.set_aside.to_string(),
            };
            return Err(DataError::Empty {
                what: format!("events file {}", source.given()),
                detail,
            });
        }
        Ok(UnsortedLog {
            log: self.log,
            users: self.users,
            items: self.items,
            orders: self.orders,
            report,
        })
    }
}

/// The text of a row; `None` if there is no such column, or the row is null or empty.
fn text<'a>(
    column: &'a Option<StringColumn>,
    row: usize,
    buffer: &'a mut String,
) -> Option<&'a str> {
    column.as_ref().and_then(|column| column.text(row, buffer))
}

/// The number of a row; `None` if there is no such column, or the row is null.
fn number(column: &Option<NumberColumn>, row: usize) -> Option<f64> {
    column.as_ref().and_then(|column| column.number(row))
}

/// The time of the machine's clock.
fn now_millis() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(i64::MAX, |now| now.as_millis() as i64)
}

/// Refuses a log whose declared rows cannot fit in memory, before the first row is read. A row
/// takes at least 5 bytes a field.
fn check_memory(table: &Table, fields: usize) -> Result<()> {
    let Some(available) = memory_available() else {
        return Ok(());
    };
    let needed = table.rows().saturating_mul(5 * fields as u64);
    if needed <= available {
        return Ok(());
    }
    Err(DataError::Oversized {
        path: table.given().into(),
        declared: format!("{} rows", table.rows()),
        limit: format!("{} MiB of free memory", available >> 20),
        detail: format!("at least {} MiB for {fields} columns", needed >> 20),
    })
}

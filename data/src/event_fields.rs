//! Which columns of the events files hold which field.

use crate::category::normalize_path;
use crate::column::StringColumn;
use crate::column_hint::{Mapping, missing_column};
use crate::config::{DataConfig, DropRule};
use crate::error::{DataError, Result};
use crate::id_map::{IdMap, NONE};
use crate::source::{Table, TableFile};
use arrow_array::RecordBatch;

/// The context dimension whose values may be paths `A > B`.
const LOCATION: &str = "location";

/// For each field the column that holds it; `None` where the files lack an optional one.
pub(crate) struct EventFields {
    pub item: String,
    pub user: Option<String>,
    pub event_type: Option<String>,
    pub time: Option<String>,
    pub order: Option<String>,
    pub session: Option<String>,
    pub position: Option<String>,
    pub quantity: Option<String>,
    pub price: Option<String>,
    pub context: Vec<ContextField>,
}

/// The column of one context dimension.
pub(crate) struct ContextField {
    /// The dimension.
    pub name: String,
    /// The column that holds it.
    pub column: String,
    /// Whether the config names the column, which must then be readable as text.
    is_mapped: bool,
}

impl EventFields {
    /// Finds the columns: those that the config maps, else those that have the name of a field.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`] if `item_id`, a mapped column or the column of a drop rule does
    /// not exist, [`DataError::NoOwner`] if no column says who acted.
    pub(crate) fn find(table: &Table, config: &DataConfig) -> Result<Self> {
        let map = &config.columns;
        let missing = |column: &str, field: &str| {
            let mapping = Mapping {
                table: "events file",
                section: "[columns]",
                field,
            };
            missing_column(table, column, mapping)
        };
        let optional = |field: &str, mapped: &Option<String>| -> Result<Option<String>> {
            let column = mapped.as_deref().unwrap_or(field);
            match (table.has(column)?, mapped) {
                (true, _) => Ok(Some(column.to_string())),
                (false, Some(_)) => Err(missing(column, field)),
                (false, None) => Ok(None),
            }
        };
        let item = optional("item_id", &map.item_id)?;
        let item = item.ok_or_else(|| missing("item_id", "item_id"))?;
        let mut context: Vec<ContextField> = Vec::new();
        for (field, mapped) in [
            ("device", &map.device),
            (LOCATION, &map.location),
            ("traffic_source", &map.traffic_source),
        ] {
            context.extend(optional(field, mapped)?.map(|column| ContextField {
                name: field.into(),
                column,
                is_mapped: mapped.is_some(),
            }));
        }
        for name in &map.context {
            if !table.has(name)? {
                return Err(missing(name, "context"));
            }
            if context.iter().all(|field| field.name != *name) {
                context.push(ContextField {
                    name: name.clone(),
                    column: name.clone(),
                    is_mapped: true,
                });
            }
        }
        let fields = Self {
            item,
            user: optional("user_id", &map.user_id)?,
            event_type: optional("event_type", &map.event_type)?,
            time: optional("timestamp", &map.timestamp)?,
            order: optional("order_id", &map.order_id)?,
            session: optional("session_id", &map.session_id)?,
            position: optional("position", &map.position)?,
            quantity: optional("quantity", &map.quantity)?,
            price: optional("price", &map.price)?,
            context,
        };
        if fields.user.is_none() && fields.order.is_none() && fields.session.is_none() {
            return Err(DataError::NoOwner {
                table: format!("events file {}", table.given()),
                found: table.column_names(),
            });
        }
        check_drop_rules(table, &config.clean.drop_events)?;
        Ok(fields)
    }

    /// The fields that the files have, each with its column; context dimensions are not among them.
    pub(crate) fn found(&self) -> Vec<(&'static str, &str)> {
        [
            ("item_id", Some(&self.item)),
            ("user_id", self.user.as_ref()),
            ("event_type", self.event_type.as_ref()),
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

    /// The columns to decode: those of the fields, of the context and of the drop rules.
    pub(crate) fn columns<'a>(&'a self, drop_rules: &'a [DropRule]) -> Vec<&'a str> {
        let fields = self.found().into_iter().map(|(_, column)| column);
        let context = self.context.iter().map(|field| field.column.as_str());
        let rules = drop_rules.iter().map(|rule| rule.column.as_str());
        fields.chain(context).chain(rules).collect()
    }
}

fn check_drop_rules(table: &Table, rules: &[DropRule]) -> Result<()> {
    for rule in rules {
        if !table.has(&rule.column)? {
            let mapping = Mapping {
                table: "events file",
                section: "[[clean.drop_events]]",
                field: "column",
            };
            return Err(missing_column(table, &rule.column, mapping));
        }
    }
    Ok(())
}

impl ContextField {
    /// The column's texts in a batch. `None` for a column that the config does not name and that
    /// cannot be read as text, such as a struct: it is left out.
    pub(crate) fn open(
        &self,
        file: &TableFile,
        batch: &RecordBatch,
    ) -> Result<Option<StringColumn>> {
        match StringColumn::open(file, batch, &self.column) {
            Err(_) if !self.is_mapped => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// The row of a value in `values`, to which it is added if it is new. A location that is a path
    /// is normalized first.
    pub(crate) fn intern(&self, text: Option<&str>, values: &mut IdMap) -> u32 {
        let Some(text) = text else { return NONE };
        if self.name != LOCATION || !text.contains('>') {
            return values.intern(text);
        }
        let path = normalize_path(text);
        if path.is_empty() {
            return NONE;
        }
        values.intern(&path)
    }
}

//! Reads the items file into a catalogue and refuses rows that cannot be used.
//!
//! [`ItemReader::check`] is the one place where an item row is refused.

use crate::catalog::Catalog;
use crate::category::{SEPARATOR, normalize_path};
use crate::column::{NumberColumn, StringColumn, availability, category_paths};
use crate::column_hint::{Mapping, missing_column};
use crate::config::{DataConfig, OneOrMore};
use crate::drop_rules::BatchDropRules;
use crate::error::{DataError, Result};
use crate::id_map::IdMap;
use crate::labels::Labels;
use crate::set_aside::{Reason, SetAside};
use crate::source::{Source, Table, TableFile};
use arrow_array::RecordBatch;

/// The items of an items file, in the order of its rows.
#[derive(Default)]
pub(crate) struct ReadItems {
    /// Ids of the items that are used.
    pub ids: IdMap,
    /// What is known of them, in the row order of `ids`.
    pub catalog: Catalog,
    /// Ids of the items that the config drops.
    pub dropped: IdMap,
    /// Rows that are not used, by reason.
    pub set_aside: SetAside,
    /// The number of rows in the file.
    pub rows: u64,
}

impl Catalog {
    /// Reads an items file whose rows are in their final order, as a version stores it.
    ///
    /// # Errors
    /// Those of opening the file and its columns, and [`DataError::Unreadable`] for a null or
    /// repeated id, which would shift every row after it.
    pub fn read(path: &str) -> Result<(IdMap, Catalog)> {
        let read = read_items(&Source::find(path)?, &DataConfig::default())?;
        if read.ids.len() as u64 != read.rows {
            return Err(DataError::Unreadable {
                path: path.into(),
                detail: read.set_aside.to_string(),
            });
        }
        Ok((read.ids, read.catalog))
    }
}

/// Reads an items file.
///
/// # Errors
/// Those of opening the file and its columns, and [`DataError::Empty`] if no row can be used.
pub(crate) fn read_items(source: &Source, config: &DataConfig) -> Result<ReadItems> {
    let table = source.open()?;
    let fields = ItemFields::find(&table, config)?;
    let columns = table.column_names();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut reader = ItemReader {
        config,
        fields: &fields,
        read: ReadItems::default(),
        unreadable_attributes: Vec::new(),
        buffer: String::new(),
    };
    reader.read.catalog.given = true;
    reader.read.catalog.attributes = (fields.attributes.iter())
        .map(|name| (name.clone(), Labels::default()))
        .collect();
    for file in table.files() {
        file.scan(&columns, |batch, first_row| {
            let batch = reader.open_batch(file, batch)?;
            reader.read_batch(&batch, first_row);
            Ok(())
        })?;
    }
    let (mut read, unreadable) = (reader.read, reader.unreadable_attributes);
    let attributes = &mut read.catalog.attributes;
    attributes.retain(|(name, _)| !unreadable.contains(name));
    if read.ids.is_empty() {
        return Err(DataError::Empty {
            what: format!("items file {}", source.given()),
            detail: read.set_aside.to_string(),
        });
    }
    Ok(read)
}

/// For each field of an item the columns that hold it.
struct ItemFields {
    id: String,
    /// Columns whose texts are joined; empty if the file has none.
    title: Vec<String>,
    /// Columns of category levels from coarse to fine; empty if the file has none.
    category: Vec<String>,
    price: Option<String>,
    currency: Option<String>,
    brand: Option<String>,
    available: Option<String>,
    /// All other columns, and those of a category that is made of several.
    attributes: Vec<String>,
}

impl ItemFields {
    /// Finds the columns. A column that the config maps must exist; a field that it does not map
    /// may be absent.
    fn find(table: &Table, config: &DataConfig) -> Result<Self> {
        let map = &config.columns.items;
        let missing = |column: &str, section, field: &str| {
            let mapping = Mapping {
                table: "items file",
                section,
                field,
            };
            missing_column(table, column, mapping)
        };
        let section = "[columns.items]";
        let id = map.item_id.clone().unwrap_or_else(|| "item_id".into());
        if !table.has(&id)? {
            return Err(missing(&id, section, "item_id"));
        }
        let optional = |field: &str, mapped: &Option<String>| -> Result<Option<String>> {
            let column = mapped.as_deref().unwrap_or(field);
            match (table.has(column)?, mapped) {
                (true, _) => Ok(Some(column.to_string())),
                (false, Some(_)) => Err(missing(column, section, field)),
                (false, None) => Ok(None),
            }
        };
        let several = |field: &str, mapped: &Option<OneOrMore>| -> Result<Vec<String>> {
            let Some(mapped) = mapped else {
                return Ok(optional(field, &None)?.into_iter().collect());
            };
            let columns = mapped.names().into_iter();
            columns
                .filter_map(|column| optional(field, &Some(column)).transpose())
                .collect()
        };
        let mut fields = Self {
            id,
            title: several("title", &map.title)?,
            category: several("category", &map.category)?,
            price: optional("price", &map.price)?,
            currency: optional("currency", &map.currency)?,
            brand: optional("brand", &map.brand)?,
            available: optional("available", &map.available)?,
            attributes: Vec::new(),
        };
        for rule in &config.clean.drop_items {
            if !table.has(&rule.column)? {
                let section = "[[clean.drop_items]]";
                return Err(missing(&rule.column, section, "column"));
            }
        }
        let is_attribute = |column: &String| !fields.uses(column);
        fields.attributes = table
            .column_names()
            .into_iter()
            .filter(is_attribute)
            .collect();
        Ok(fields)
    }

    /// Whether the whole of a field comes from this column.
    fn uses(&self, column: &String) -> bool {
        let single = [&self.price, &self.currency, &self.brand, &self.available];
        let single_category = self.category.len() == 1 && self.category[0] == *column;
        *column == self.id
            || self.title.contains(column)
            || single_category
            || single.iter().any(|field| field.as_ref() == Some(column))
    }
}

/// The columns of one batch, opened once.
struct ItemBatch<'a> {
    rows: usize,
    id: StringColumn,
    title: Vec<StringColumn>,
    /// For each column of the category the path of each row.
    category: Vec<Vec<Option<String>>>,
    price: Option<NumberColumn>,
    currency: Option<StringColumn>,
    brand: Option<StringColumn>,
    available: Option<Vec<bool>>,
    /// `None` for a nested column, which has no text.
    attributes: Vec<Option<StringColumn>>,
    drop_rules: BatchDropRules<'a>,
}

/// Appends the rows of an items file to a catalogue, batch by batch.
struct ItemReader<'a> {
    config: &'a DataConfig,
    fields: &'a ItemFields,
    read: ReadItems,
    /// Attribute columns that are nested: they have no text and are left out.
    unreadable_attributes: Vec<String>,
    /// Scratch space for texts.
    buffer: String,
}

impl<'a> ItemReader<'a> {
    fn open_batch(&mut self, file: &TableFile, batch: &RecordBatch) -> Result<ItemBatch<'a>> {
        let text = |column: &String| StringColumn::open(file, batch, column);
        let fields = self.fields;
        let mut opened = ItemBatch {
            rows: batch.num_rows(),
            id: text(&fields.id)?,
            title: fields.title.iter().map(text).collect::<Result<_>>()?,
            category: (fields.category.iter())
                .map(|column| category_paths(file, batch, column))
                .collect::<Result<_>>()?,
            price: (fields.price.as_ref())
                .map(|column| NumberColumn::open(file, batch, column))
                .transpose()?,
            currency: fields.currency.as_ref().map(text).transpose()?,
            brand: fields.brand.as_ref().map(text).transpose()?,
            available: (fields.available.as_ref())
                .map(|column| availability(file, batch, column))
                .transpose()?,
            attributes: Vec::new(),
            drop_rules: BatchDropRules::open(&self.config.clean.drop_items, file, batch)?,
        };
        for column in &fields.attributes {
            let attribute = text(column).ok();
            if attribute.is_none() && !self.unreadable_attributes.contains(column) {
                self.unreadable_attributes.push(column.clone());
            }
            opened.attributes.push(attribute);
        }
        Ok(opened)
    }

    fn read_batch(&mut self, batch: &ItemBatch, first_row: u64) {
        let mut id_buffer = String::new();
        for row in 0..batch.rows {
            self.read.rows += 1;
            let row_in_file = first_row + row as u64;
            match self.check(batch, row, &mut id_buffer) {
                Ok(id) => {
                    self.read.ids.intern(id);
                    self.push(batch, row, row_in_file);
                }
                Err(reason) => self.read.set_aside.add(reason, row_in_file),
            }
        }
    }

    /// The id of a row that is used, or the reason for which the row is refused. Every reason is
    /// here. The id of an item that a rule drops is remembered, because its events are dropped too.
    fn check<'b>(
        &mut self,
        batch: &'b ItemBatch,
        row: usize,
        buffer: &'b mut String,
    ) -> Result<&'b str, Reason> {
        let id = batch.id.text(row, buffer).ok_or(Reason::NullItem)?;
        let read = &mut self.read;
        if read.ids.get(id).is_some() || read.dropped.get(id).is_some() {
            return Err(Reason::DuplicateItem);
        }
        if batch.drop_rules.drop_row(row, &mut self.buffer) {
            read.dropped.intern(id);
            return Err(Reason::DroppedItem);
        }
        Ok(id)
    }

    /// Appends what a row says of its item to the catalogue.
    fn push(&mut self, batch: &ItemBatch, row: usize, row_in_file: u64) {
        let buffer = &mut self.buffer;
        let catalog = &mut self.read.catalog;

        let titles = batch.title.iter();
        let titles: Vec<String> = titles
            .filter_map(|column| column.text(row, buffer).map(str::to_string))
            .collect();
        let title = titles.join(", ");
        catalog
            .title
            .push((!titles.is_empty()).then_some(title.as_str()));

        let levels = batch.category.iter();
        let levels: Vec<&str> = levels.filter_map(|paths| paths[row].as_deref()).collect();
        let path = normalize_path(&levels.join(SEPARATOR));
        catalog
            .category
            .push((!path.is_empty()).then_some(path.as_str()));

        let price = batch.price.as_ref().and_then(|prices| prices.number(row));
        // A price of zero stands for an unknown one in many shops, so it is no fault.
        let price = price.filter(|&price| price != 0.0);
        let is_usable = |price: &f64| *price > 0.0 && price.is_finite();
        let usable = price.filter(is_usable);
        if price.is_some() && usable.is_none() {
            let set_aside = &mut self.read.set_aside;
            set_aside.add(Reason::BadCatalogPrice, row_in_file);
        }
        catalog
            .price
            .push(usable.map_or(f32::NAN, |price| price as f32));

        let currency = batch.currency.as_ref();
        let default_currency = self.config.columns.items.default_currency.as_deref();
        let currency = currency.and_then(|column| column.text(row, buffer));
        catalog.currency.push(currency.or(default_currency));

        let brand = batch.brand.as_ref();
        catalog
            .brand
            .push(brand.and_then(|column| column.text(row, buffer)));

        let available = batch.available.as_ref();
        catalog
            .available
            .push(available.is_none_or(|available| available[row]));

        for ((_, labels), column) in catalog.attributes.iter_mut().zip(&batch.attributes) {
            let column = column.as_ref();
            labels.push(column.and_then(|column| column.text(row, buffer)));
        }
    }
}

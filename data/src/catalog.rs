//! What is known of each item: title, category, price, currency, brand, availability, attributes.

use crate::column::{Numbers, Texts, flags, paths};
use crate::config::{DropRule, OneOrMore};
use crate::id_map::IdMap;
use crate::set_aside::{Reason, SetAside};
use crate::source::Source;
use crate::{DataConfig, DataError, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// No row, no label: the value that stands for "none" wherever a `u32` row is stored.
pub const NONE: u32 = u32::MAX;

/// A text per row, each distinct text stored once.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    values: IdMap,
    rows: Vec<u32>,
}

impl Labels {
    /// `len` rows without a text.
    pub fn empty(len: usize) -> Self {
        Self { values: IdMap::new(), rows: vec![NONE; len] }
    }

    /// The text of a row.
    #[inline]
    pub fn get(&self, row: u32) -> Option<&str> {
        match self.rows.get(row as usize) {
            Some(&label) if label != NONE => Some(self.values.id(label)),
            _ => None,
        }
    }

    /// The number of a row's text: equal texts have equal numbers. [`NONE`] without one.
    #[inline]
    pub fn code(&self, row: u32) -> u32 {
        self.rows.get(row as usize).copied().unwrap_or(NONE)
    }

    /// The distinct texts.
    pub fn values(&self) -> &IdMap {
        &self.values
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether no row has a text.
    pub fn is_blank(&self) -> bool {
        self.values.is_empty()
    }

    /// Appends a row.
    pub fn push(&mut self, text: Option<&str>) {
        let label = text.map_or(NONE, |text| self.values.intern(text));
        self.rows.push(label);
    }

    fn align(&self, order: &[u32]) -> Labels {
        let mut aligned = Labels::default();
        order.iter().for_each(|&old| aligned.push(self.get(old)));
        aligned
    }
}

/// The items of a shop, one row each, aligned with an [`IdMap`] of items.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// What a shopper would call it.
    pub title: Labels,
    /// Path from coarse to fine, levels separated by ` > `.
    pub category: Labels,
    /// Price per unit; NaN = unknown.
    pub price: Vec<f32>,
    /// ISO 4217 code.
    pub currency: Labels,
    /// Maker.
    pub brand: Labels,
    /// Can be bought now.
    pub available: Vec<bool>,
    /// Every further column of the items file, as text.
    pub attributes: Vec<(String, Labels)>,
    /// Whether there was an items file at all.
    pub given: bool,
}

/// What is known of an item that comes to a catalogue one by one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewItem {
    /// What a shopper would call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Path from coarse to fine, levels separated by ` > `.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Maker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// ISO 4217 code of its price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Values of further columns.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Catalog {
    /// Appends an item. It cannot be bought yet, and attributes that the catalogue has no column for are left out.
    pub fn push(&mut self, item: &NewItem, price: Option<f32>) {
        self.title.push(item.title.as_deref());
        self.category.push(item.category.as_deref());
        self.price.push(price.unwrap_or(f32::NAN));
        self.currency.push(item.currency.as_deref());
        self.brand.push(item.brand.as_deref());
        self.available.push(false);
        for (name, labels) in &mut self.attributes {
            labels.push(item.attributes.get(name).map(String::as_str));
        }
    }

    /// `len` items of which nothing is known.
    pub fn unknown(len: usize) -> Self {
        Self {
            title: Labels::empty(len),
            category: Labels::empty(len),
            price: vec![f32::NAN; len],
            currency: Labels::empty(len),
            brand: Labels::empty(len),
            available: vec![true; len],
            attributes: Vec::new(),
            given: false,
        }
    }

    /// Reads an items file whose rows are ids in their final order, as a version holds it.
    ///
    /// # Errors
    /// As [`crate::Dataset::read`]; a null or repeated id is [`DataError::Unreadable`], for it would shift every row after it.
    pub fn read(path: &str) -> Result<(IdMap, Catalog)> {
        let read = read_items(&Source::find(path)?, &DataConfig::default())?;
        if read.ids.len() as u64 != read.rows {
            return Err(DataError::Unreadable { path: path.into(), detail: read.set_aside.to_string() });
        }
        Ok((read.ids, read.catalog))
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.price.len()
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.price.is_empty()
    }

    /// The category path cut to its first `levels` levels; 0 = the whole path.
    pub fn category_at(&self, item: u32, levels: usize) -> Option<&str> {
        self.category.get(item).map(|path| cut(path, levels))
    }

    /// For each item the number of its category cut to `levels` levels (0 = whole): equal numbers, equal categories.
    pub fn category_codes(&self, levels: usize) -> Vec<u32> {
        let mut cuts = IdMap::new();
        (0..self.len() as u32).map(|item| self.category_at(item, levels).map_or(NONE, |path| cuts.intern(path))).collect()
    }

    /// Reorders to another row order: row `new` becomes what `order[new]` was, [`NONE`] a row of which nothing is known.
    pub(crate) fn align(&self, order: &[u32]) -> Catalog {
        let at = |old: u32| (old as usize) < self.len();
        Catalog {
            title: self.title.align(order),
            category: self.category.align(order),
            price: order.iter().map(|&old| if at(old) { self.price[old as usize] } else { f32::NAN }).collect(),
            currency: self.currency.align(order),
            brand: self.brand.align(order),
            available: order.iter().map(|&old| !at(old) || self.available[old as usize]).collect(),
            attributes: self.attributes.iter().map(|(name, labels)| (name.clone(), labels.align(order))).collect(),
            given: self.given,
        }
    }
}

/// The first `levels` levels of a path; 0 = all of it.
pub fn cut(path: &str, levels: usize) -> &str {
    if levels == 0 {
        return path;
    }
    match path.match_indices(" > ").nth(levels - 1) {
        Some((end, _)) => &path[..end],
        None => path,
    }
}

/// A category path as Aisle writes it: exactly one space around each `>`, no empty levels.
pub fn tidy(path: &str) -> String {
    path.split('>').map(str::trim).filter(|level| !level.is_empty()).collect::<Vec<_>>().join(" > ")
}

/// Items as read: ids in file order, with those that the config drops.
pub(crate) struct ReadItems {
    pub ids: IdMap,
    pub catalog: Catalog,
    pub dropped: IdMap,
    pub set_aside: SetAside,
    pub rows: u64,
}

/// Reads the items file.
pub(crate) fn read_items(source: &Source, config: &DataConfig) -> Result<ReadItems> {
    let table = source.open()?;
    let names = table.column_names();
    let map = &config.columns.items;
    let name_of = |field: &str, mapped: &Option<String>| mapped.clone().unwrap_or_else(|| field.to_string());
    let several = |field: &str, mapped: &Option<OneOrMore>| match mapped {
        Some(columns) => columns.names(),
        None => vec![field.to_string()],
    };
    let missing = |column: &str, field: &str| DataError::MissingColumn {
        table: format!("items file {}", table.given()),
        column: column.into(),
        guess: guess(field, &names),
        found: names.clone(),
        section: "[columns.items]",
        field: field.into(),
    };

    let id_column = name_of("item_id", &map.item_id);
    if !table.has(&id_column)? {
        return Err(missing(&id_column, "item_id"));
    }
    // A field that the config maps must exist; one that it does not may be absent.
    let optional = |columns: Vec<String>, mapped: bool, field: &str| -> Result<Vec<String>> {
        let mut found = Vec::new();
        for column in columns {
            if table.has(&column)? {
                found.push(column);
            } else if mapped {
                return Err(missing(&column, field));
            }
        }
        Ok(found)
    };
    let title = optional(several("title", &map.title), map.title.is_some(), "title")?;
    let category = optional(several("category", &map.category), map.category.is_some(), "category")?;
    let price = optional(vec![name_of("price", &map.price)], map.price.is_some(), "price")?;
    let currency = optional(vec![name_of("currency", &map.currency)], map.currency.is_some(), "currency")?;
    let brand = optional(vec![name_of("brand", &map.brand)], map.brand.is_some(), "brand")?;
    let available = optional(vec![name_of("available", &map.available)], map.available.is_some(), "available")?;
    for rule in &config.clean.drop_items {
        if !table.has(&rule.column)? {
            return Err(missing(&rule.column, "clean.drop_items column"));
        }
    }
    let claimed: Vec<&String> = title.iter().chain(&price).chain(&currency).chain(&brand).chain(&available).collect();
    let attributes: Vec<String> = (names.iter())
        .filter(|name| **name != id_column && !claimed.contains(name) && !(category.len() == 1 && category[0] == **name))
        .cloned()
        .collect();

    let mut read = ReadItems {
        ids: IdMap::new(),
        catalog: Catalog { given: true, ..Catalog::default() },
        dropped: IdMap::new(),
        set_aside: SetAside::default(),
        rows: 0,
    };
    read.catalog.attributes = attributes.iter().map(|name| (name.clone(), Labels::default())).collect();
    let mut nested: Vec<String> = Vec::new();
    let columns: Vec<&str> = names.iter().map(String::as_str).collect();
    for file in table.files() {
        file.scan(&columns, |batch, first_row| {
            let rows = batch.num_rows();
            let ids = Texts::of(file, batch, &id_column)?;
            let titles = title.iter().map(|column| Texts::of(file, batch, column)).collect::<Result<Vec<_>>>()?;
            let categories = category.iter().map(|column| paths(file, batch, column)).collect::<Result<Vec<_>>>()?;
            let prices = price.iter().map(|column| Numbers::of(file, batch, column)).collect::<Result<Vec<_>>>()?;
            let currencies = currency.iter().map(|column| Texts::of(file, batch, column)).collect::<Result<Vec<_>>>()?;
            let brands = brand.iter().map(|column| Texts::of(file, batch, column)).collect::<Result<Vec<_>>>()?;
            let available = available.iter().map(|column| flags(file, batch, column)).collect::<Result<Vec<_>>>()?;
            let extras: Vec<Option<Texts>> = attributes
                .iter()
                .map(|column| {
                    // A nested attribute has no text of its own: it is left out and said so.
                    let texts = Texts::of(file, batch, column).ok();
                    if texts.is_none() && !nested.contains(column) {
                        nested.push(column.clone());
                    }
                    texts
                })
                .collect();
            let drops = drop_columns(&config.clean.drop_items, |column| Texts::of(file, batch, column))?;
            let (mut buffer, mut other) = (String::new(), String::new());
            for row in 0..rows {
                read.rows += 1;
                let at = first_row + row as u64;
                let Some(id) = ids.at(row, &mut buffer) else {
                    read.set_aside.count(Reason::NullItem, at);
                    continue;
                };
                if read.ids.get(id).is_some() || read.dropped.get(id).is_some() {
                    read.set_aside.count(Reason::DuplicateItem, at);
                    continue;
                }
                if dropped(&drops, row, &mut other) {
                    read.set_aside.count(Reason::DroppedItem, at);
                    read.dropped.intern(id);
                    continue;
                }
                read.ids.intern(id);
                let catalog = &mut read.catalog;
                let words: Vec<String> = titles.iter().filter_map(|texts| texts.at(row, &mut other).map(str::to_string)).collect();
                catalog.title.push((!words.is_empty()).then(|| words.join(", ")).as_deref());
                let levels: Vec<&str> = categories.iter().filter_map(|paths| paths[row].as_deref()).collect();
                let path = tidy(&levels.join(" > "));
                catalog.category.push((!path.is_empty()).then_some(path.as_str()));
                let price = prices.first().and_then(|numbers| numbers.at(row));
                catalog.price.push(match price {
                    Some(price) if price > 0.0 && price.is_finite() => price as f32,
                    Some(price) if price != 0.0 => {
                        read.set_aside.count(Reason::BadCatalogPrice, at);
                        f32::NAN
                    }
                    _ => f32::NAN,
                });
                let currency = currencies.first().and_then(|texts| texts.at(row, &mut other)).or(map.default_currency.as_deref());
                catalog.currency.push(currency);
                catalog.brand.push(brands.first().and_then(|texts| texts.at(row, &mut other)));
                catalog.available.push(available.first().is_none_or(|flags| flags[row]));
                for ((_, labels), texts) in catalog.attributes.iter_mut().zip(&extras) {
                    labels.push(texts.as_ref().and_then(|texts| texts.at(row, &mut other)));
                }
            }
            Ok(())
        })?;
    }
    read.catalog.attributes.retain(|(name, _)| !nested.contains(name));
    if read.ids.is_empty() {
        return Err(DataError::Empty { what: format!("items file {}", source.given()), detail: read.set_aside.to_string() });
    }
    Ok(read)
}

/// The columns that drop rules look at, read from one batch.
pub(crate) fn drop_columns(rules: &[DropRule], mut read: impl FnMut(&str) -> Result<Texts>) -> Result<Vec<(&DropRule, Texts)>> {
    rules.iter().map(|rule| Ok((rule, read(&rule.column)?))).collect()
}

/// Whether any rule drops the row.
pub(crate) fn dropped(drops: &[(&DropRule, Texts)], row: usize, buffer: &mut String) -> bool {
    drops.iter().any(|(rule, texts)| texts.at(row, buffer).is_some_and(|found| rule.matches(found)))
}

/// The column that most likely holds a field, for the hint in an error.
pub(crate) fn guess(field: &str, names: &[String]) -> String {
    let stems: &[&str] = match field {
        "item_id" => &["item", "product", "sku", "article", "stock", "asin"],
        "user_id" => &["user", "visitor", "customer", "household", "member"],
        "order_id" => &["order", "invoice", "basket", "transaction"],
        "session_id" => &["session", "visit", "basket"],
        "timestamp" => &["time", "date", "ts"],
        "event_type" => &["event", "action", "behavior", "type"],
        "price" => &["price", "amount", "value"],
        "quantity" => &["quant", "qty", "count"],
        "title" => &["title", "name", "desc"],
        "category" => &["categ", "department", "class"],
        _ => &[],
    };
    stems
        .iter()
        .find_map(|stem| names.iter().find(|name| name.to_lowercase().contains(stem)))
        .or_else(|| names.first())
        .cloned()
        .unwrap_or_else(|| "…".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_from_its_coarse_end() {
        assert_eq!(cut("A > B > C", 0), "A > B > C");
        assert_eq!(cut("A > B > C", 1), "A");
        assert_eq!(cut("A > B > C", 2), "A > B");
        assert_eq!(cut("A", 3), "A");
        assert_eq!(tidy(" A>B >  C "), "A > B > C");
    }

    #[test]
    fn the_hint_finds_the_likely_column() {
        let names: Vec<String> = ["week", "product_nr", "household_key"].map(String::from).to_vec();
        assert_eq!(guess("item_id", &names), "product_nr");
        assert_eq!(guess("user_id", &names), "household_key");
    }
}

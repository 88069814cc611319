//! What is known of each item: title, category, price, currency, brand, availability, attributes.

use crate::category::category_prefix;
use crate::id_map::{IdMap, NONE};
use crate::labels::Labels;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The items of a shop, one row each, in the row order of an [`IdMap`] of items.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The product's name as a shopper reads it.
    pub title: Labels,
    /// Category path from coarse to fine, levels separated by ` > `.
    pub category: Labels,
    /// Price per unit in the item's currency; NaN = unknown.
    pub price: Vec<f32>,
    /// ISO 4217 code of the price.
    pub currency: Labels,
    /// Brand or maker.
    pub brand: Labels,
    /// Whether the item can be bought now.
    pub available: Vec<bool>,
    /// Every further column of the items file, as text.
    pub attributes: Vec<(String, Labels)>,
    /// Whether an items file was read; otherwise only the items' ids are known.
    pub given: bool,
}

/// What is known of an item that is added to a catalogue after it was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewItem {
    /// The product's name as a shopper reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Category path from coarse to fine, levels separated by ` > `.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Brand or maker.
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
    /// `len` items of which nothing is known; all of them can be bought.
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

    /// Appends an item that cannot be bought yet. Attributes for which the catalogue has no column
    /// are left out.
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

    /// The number of items.
    pub fn len(&self) -> usize {
        self.price.len()
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.price.is_empty()
    }

    /// The first `levels` levels of an item's category path; 0 = the whole path.
    pub fn category_at(&self, item: u32, levels: usize) -> Option<&str> {
        self.category
            .get(item)
            .map(|path| category_prefix(path, levels))
    }

    /// For each item the number of its category, cut to `levels` levels (0 = the whole path): items
    /// of the same category have the same number. [`NONE`] without a category.
    pub fn category_codes(&self, levels: usize) -> Vec<u32> {
        let mut categories = IdMap::new();
        (0..self.len() as u32)
            .map(|item| match self.category_at(item, levels) {
                Some(path) => categories.intern(path),
                None => NONE,
            })
            .collect()
    }

    /// Reorders the items: row `new` of the result is row `old_rows[new]` of `self`. Where
    /// `old_rows[new]` is [`NONE`] nothing is known of the item, which then counts as available.
    pub(crate) fn reordered(&self, old_rows: &[u32]) -> Catalog {
        let price = |&old_row: &u32| self.price.get(old_row as usize).copied();
        let available = |&old_row: &u32| self.available.get(old_row as usize).copied();
        Catalog {
            title: self.title.reordered(old_rows),
            category: self.category.reordered(old_rows),
            price: (old_rows.iter())
                .map(|old_row| price(old_row).unwrap_or(f32::NAN))
                .collect(),
            currency: self.currency.reordered(old_rows),
            brand: self.brand.reordered(old_rows),
            available: (old_rows.iter())
                .map(|old_row| available(old_row).unwrap_or(true))
                .collect(),
            attributes: (self.attributes.iter())
                .map(|(name, labels)| (name.clone(), labels.reordered(old_rows)))
                .collect(),
            given: self.given,
        }
    }
}

//! Changes of items: new prices, stock and details.

use crate::error::ServeError;
use crate::services::convert::filter::{currency, price};
use crate::services::convert::request::MAX_ATTRIBUTES;
use crate::services::convert::{check_entries, non_empty, require_id};
use aisle_data::{NewItem, normalize_path};
use aisle_models::ItemUpdates;
use aisle_proto::ItemUpdate;

/// The most updates in one request.
const MAX_UPDATES: usize = 10_000;
/// The longest text of a new item, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// Converts changes of items, by id; of two changes of one item the later counts.
/// `catalog_currency` returns the ISO 4217 code of the currency that an item is priced in, if it is
/// known.
pub fn item_updates(
    updates: Vec<ItemUpdate>,
    catalog_currency: impl Fn(&str) -> Option<String>,
) -> Result<ItemUpdates, ServeError> {
    check_entries("updates", updates.len(), MAX_UPDATES)?;
    let mut converted = ItemUpdates::default();
    for update in updates {
        let id = update.item_id;
        require_id("updates.item_id", &id)?;
        let money = update.price.as_ref();
        let new_price = money
            .map(|money| price("updates.price", money))
            .transpose()?;
        if let Some(named) = currency(money) {
            check_currency(&id, named, catalog_currency(&id))?;
            converted.currencies.insert(id.clone(), named.to_string());
        }
        if let Some(item) = update.new_item {
            converted.new.insert(id.clone(), new_item(&item)?);
        }
        let change = converted.items.entry(id).or_default();
        change.available = update.available.or(change.available);
        change.price = new_price.or(change.price);
    }
    Ok(converted)
}

fn check_currency(id: &str, named: &str, known: Option<String>) -> Result<(), ServeError> {
    match known {
        Some(known) if known != named => Err(ServeError::Invalid {
            field: "updates.price.currency_code",
            what: format!(
                "{named} for item '{id}': expected {known}, as in the catalogue; Aisle does not \
                 convert"
            ),
        }),
        _ => Ok(()),
    }
}

fn new_item(item: &aisle_proto::NewItem) -> Result<NewItem, ServeError> {
    let attributes = &item.attributes;
    check_entries(
        "updates.new_item.attributes",
        attributes.len(),
        MAX_ATTRIBUTES,
    )?;
    let attribute_texts = attributes.iter().flat_map(|(name, value)| [name, value]);
    let mut texts = [&item.title, &item.category, &item.brand]
        .into_iter()
        .chain(attribute_texts);
    if let Some(long) = texts.find(|text| text.len() > MAX_TEXT_BYTES) {
        let bytes = long.len();
        return Err(ServeError::Invalid {
            field: "updates.new_item",
            what: format!("{bytes} bytes in '{long:.40}…': expected at most {MAX_TEXT_BYTES}"),
        });
    }
    Ok(NewItem {
        title: non_empty(&item.title),
        category: non_empty(&normalize_path(&item.category)),
        brand: non_empty(&item.brand),
        currency: None,
        attributes: attributes
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), non_empty(value)?)))
            .collect(),
    })
}

//! The fields that conditions may name, `item.…`, `user.…`, `context.…` and `anchor.…`, and their
//! values.

use crate::condition::{Condition, FieldType, Schema, Value};
use crate::fitted_models::FittedModels;
use crate::pipeline::live_catalog::LiveCatalog;
use crate::pipeline::request::RequestContext;
use aisle_retrieval::bitmap::Bitmap;

/// What the conditions of rules can see of a request.
pub(crate) struct RuleContext<'a> {
    /// The name of the call.
    pub call: &'static str,
    /// Where the answer is shown, to whom and when.
    pub context: &'a RequestContext,
    /// The shopper's row, if known.
    pub user: Option<u32>,
    /// The item that the request is about.
    pub anchor: Option<u32>,
}

/// The fields of an item.
pub fn item_fields(models: &FittedModels) -> Schema {
    let mut schema = Schema::new([
        ("item.id", FieldType::Text),
        ("item.title", FieldType::Text),
        ("item.category", FieldType::Path),
        ("item.brand", FieldType::Text),
        ("item.price", FieldType::Number),
        ("item.currency", FieldType::Text),
        ("item.available", FieldType::Flag),
    ]);
    for (name, _) in &models.catalog.attributes {
        schema = schema.with(format!("item.{name}"), FieldType::Text);
    }
    schema
}

/// The fields of a request: its shopper, its context, and the item that it is about.
pub fn request_fields(models: &FittedModels) -> Schema {
    let mut schema = Schema::new([
        ("user.known", FieldType::Flag),
        ("user.segments", FieldType::List),
    ])
    .with_prefix("context.");
    for (name, _) in &models.user_attributes {
        schema = schema.with(format!("user.{name}"), FieldType::Text);
    }
    for (field, field_type) in [
        ("id", FieldType::Text),
        ("title", FieldType::Text),
        ("category", FieldType::Path),
        ("brand", FieldType::Text),
        ("price", FieldType::Number),
        ("currency", FieldType::Text),
    ] {
        schema = schema.with(format!("anchor.{field}"), field_type);
    }
    for (name, _) in &models.catalog.attributes {
        schema = schema.with(format!("anchor.{name}"), FieldType::Text);
    }
    schema
}

/// The items that match a condition at current prices and stock. O(items · tests of the condition).
pub fn items_matching(
    models: &FittedModels,
    catalog: &LiveCatalog,
    condition: &Condition,
) -> Bitmap {
    Bitmap::of(models.items.len(), |item| {
        condition.holds(&|field| {
            item_value(
                models,
                catalog,
                item,
                field.strip_prefix("item.").unwrap_or(field),
            )
        })
    })
}

fn item_value<'a>(
    models: &'a FittedModels,
    live: &LiveCatalog,
    item: u32,
    field: &str,
) -> Option<Value<'a>> {
    let catalog = &models.catalog;
    match field {
        "id" => Some(Value::Text(models.items.id(item))),
        "title" => catalog.title.get(item).map(Value::Text),
        "category" => catalog.category.get(item).map(Value::Text),
        "brand" => catalog.brand.get(item).map(Value::Text),
        "currency" => catalog.currency.get(item).map(Value::Text),
        "price" => {
            let price = live.price(catalog, item);
            (!price.is_nan()).then(|| Value::Number(as_written(price)))
        }
        "available" => Some(Value::Flag(live.available().contains(item))),
        _ => {
            let (_, labels) = catalog.attributes.iter().find(|(name, _)| name == field)?;
            labels.get(item).map(Value::Text)
        }
    }
}

/// The value of a field of a request; `None` where nothing is known.
pub(crate) fn request_value<'a>(
    models: &'a FittedModels,
    live: &LiveCatalog,
    asked: &RuleContext<'a>,
    field: &str,
) -> Option<Value<'a>> {
    if let Some(dimension) = field.strip_prefix("context.") {
        return asked
            .context
            .values
            .get(dimension)
            .map(|value| Value::Text(value));
    }
    if let Some(of_item) = field.strip_prefix("anchor.") {
        return item_value(models, live, asked.anchor?, of_item);
    }
    match field {
        "user.known" => Some(Value::Flag(asked.user.is_some())),
        "user.segments" => Some(Value::Texts(models.segments_of(asked.user?))),
        _ => {
            let name = field.strip_prefix("user.")?;
            let (_, labels) = models
                .user_attributes
                .iter()
                .find(|(known, _)| known == name)?;
            labels.get(asked.user?).map(Value::Text)
        }
    }
}

/// A price as it is written: 1.6 is at most 1.6, although the nearest 32-bit number is not.
fn as_written(price: f32) -> f64 {
    (f64::from(price) * 1e4).round() / 1e4
}

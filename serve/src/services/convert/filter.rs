//! Filters and amounts of money.

use crate::error::ServeError;
use crate::services::convert::MAX_IDS;
use crate::services::convert::check_entries;
use aisle_data::normalize_path;
use aisle_models::{FittedModels, ItemFilter, LiveState};
use aisle_proto::{Filter, Money};

const NANOS_PER_UNIT: i32 = 1_000_000_000;

/// Converts an amount, which may not be negative.
pub fn price(field: &'static str, money: &Money) -> Result<f32, ServeError> {
    if money.units < 0 || !(0..NANOS_PER_UNIT).contains(&money.nanos) {
        let what = format!(
            "{} units and {} nanos: expected no negative amount and nanos below 1,000,000,000",
            money.units, money.nanos
        );
        return Err(ServeError::Invalid { field, what });
    }
    Ok(money.to_price())
}

fn optional_price(field: &'static str, money: Option<&Money>) -> Result<Option<f32>, ServeError> {
    money.map(|money| price(field, money)).transpose()
}

/// The currency that an amount names, if it names one.
pub fn currency(money: Option<&Money>) -> Option<&str> {
    let code = money?.currency_code.as_str();
    (!code.is_empty()).then_some(code)
}

/// Converts a filter. Excluded ids that the version does not know are added to `unknown`.
pub fn item_filter(
    models: &FittedModels,
    live: &LiveState,
    filter: &Filter,
    unknown: &mut Vec<String>,
) -> Result<ItemFilter, ServeError> {
    let lengths = [
        (
            "options.filter.exclude_item_ids",
            filter.exclude_item_ids.len(),
        ),
        ("options.filter.categories", filter.categories.len()),
        (
            "options.filter.exclude_categories",
            filter.exclude_categories.len(),
        ),
    ];
    for (field, found) in lengths {
        check_entries(field, found, MAX_IDS)?;
    }
    let (min_price, max_price, currency) = price_range(filter)?;
    let condition = match filter.condition.trim() {
        "" => None,
        text => {
            let items = live.items_matching(models, text);
            Some(items.map_err(|error| ServeError::Invalid {
                field: "options.filter.condition",
                what: error.to_string(),
            })?)
        }
    };
    let mut exclude = Vec::with_capacity(filter.exclude_item_ids.len());
    for id in &filter.exclude_item_ids {
        match models.items.get(id) {
            Some(item) => exclude.push(item),
            None => unknown.push(id.clone()),
        }
    }
    let paths = |paths: &[String]| paths.iter().map(|path| normalize_path(path)).collect();
    Ok(ItemFilter {
        categories: paths(&filter.categories),
        exclude_categories: paths(&filter.exclude_categories),
        min_price,
        max_price,
        currency,
        include_unavailable: filter.include_unavailable,
        exclude,
        condition,
    })
}

type PriceRange = (Option<f32>, Option<f32>, Option<String>);

/// The lowest and the highest price of a filter, and the currency of both.
fn price_range(filter: &Filter) -> Result<PriceRange, ServeError> {
    let (min, max) = (filter.min_price.as_ref(), filter.max_price.as_ref());
    let min_price = optional_price("options.filter.min_price", min)?;
    let max_price = optional_price("options.filter.max_price", max)?;
    if let (Some(min), Some(max)) = (min_price, max_price)
        && min > max
    {
        return Err(ServeError::Invalid {
            field: "options.filter.max_price",
            what: format!("{max} is below min_price {min}: expected at least as much"),
        });
    }
    let (min_currency, max_currency) = (currency(min), currency(max));
    if let (Some(min), Some(max)) = (min_currency, max_currency)
        && min != max
    {
        let what = format!(
            "{max} beside min_price in {min}: expected one currency; Aisle does not convert"
        );
        return Err(ServeError::Invalid {
            field: "options.filter.max_price.currency_code",
            what,
        });
    }
    let currency = min_currency.or(max_currency).map(str::to_string);
    Ok((min_price, max_price, currency))
}

/// Narrows a filter to items that each close the gap between a cart and a certain sum.
pub fn require_spend_gap(filter: &mut ItemFilter, gap: &Money) -> Result<(), ServeError> {
    let missing = price("spend_gap", gap)?;
    if let Some(gap_currency) = currency(Some(gap)) {
        if let Some(known) = filter
            .currency
            .as_ref()
            .filter(|known| *known != gap_currency)
        {
            let what = format!(
                "{gap_currency} beside a filter in {known}: expected one currency; Aisle does \
                 not convert"
            );
            return Err(ServeError::Invalid {
                field: "spend_gap.currency_code",
                what,
            });
        }
        filter.currency = Some(gap_currency.to_string());
    }
    filter.min_price = Some(missing.max(filter.min_price.unwrap_or(0.0)));
    Ok(())
}

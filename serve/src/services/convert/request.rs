//! What requests for recommendations have in common: ids become rows, limits are checked, and the
//! options become filters and contexts.

use crate::error::ServeError;
use crate::services::convert::MAX_IDS;
use crate::services::convert::filter::item_filter;
use crate::services::convert::rules::controls;
use crate::services::convert::{check_entries, require_id};
use crate::versions::RoutedVersion;
use aisle_data::normalize_path;
use aisle_models::{ContextValues, FittedModels, ItemFilter, RequestContext};
use aisle_proto::{HistoryItem, RequestOptions};
use prost_types::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// The most items of an answer.
pub const MAX_PAGE_SIZE: u32 = 1000;
/// How many items an answer has if the request does not say.
const DEFAULT_PAGE_SIZE: u32 = 20;
/// The longest name or value of a context, in bytes.
const MAX_CONTEXT_BYTES: usize = 256;
/// The most attributes of a context or of a new item.
pub const MAX_ATTRIBUTES: usize = 32;
/// The most days that a request may ask probabilities for.
const MAX_HORIZON_DAYS: u32 = 365;
/// After so many days without a log, what a version knows of reorders is too old to count days
/// from.
const STALE_DAYS: f32 = 28.0;
/// Times of requests are below this many seconds since 1970.
const MAX_SECONDS: i64 = 1 << 40;

/// Converts one request for one version.
pub struct RequestConverter<'a> {
    /// The version that answers.
    routed: &'a RoutedVersion,
    /// The options of the request.
    options: &'a RequestOptions,
    /// The shopper's row, if the version knows the user id.
    user: Option<u32>,
    /// Rows of items that may not be in the answer, because another slot of the page holds them.
    taken: &'a [u32],
    /// Ids of the request that the version does not know.
    unknown_item_ids: Vec<String>,
}

impl<'a> RequestConverter<'a> {
    /// Starts with the options of a request.
    pub fn new(routed: &'a RoutedVersion, options: &'a RequestOptions, taken: &'a [u32]) -> Self {
        Self {
            routed,
            options,
            user: routed.models().users.get(&options.user_id),
            taken,
            unknown_item_ids: Vec::new(),
        }
    }

    fn models(&self) -> &'a FittedModels {
        self.routed.models()
    }

    /// The shopper's row, if the version knows the user id.
    pub fn user(&self) -> Option<u32> {
        self.user
    }

    /// The options of the request.
    pub fn options(&self) -> &'a RequestOptions {
        self.options
    }

    /// The ids so far that the version does not know.
    pub fn into_unknown_item_ids(self) -> Vec<String> {
        self.unknown_item_ids
    }

    /// How many items the answer shall have.
    pub fn page_size(&self) -> Result<usize, ServeError> {
        match self.options.page_size {
            0 => Ok(DEFAULT_PAGE_SIZE as usize),
            size @ 1..=MAX_PAGE_SIZE => Ok(size as usize),
            size => Err(ServeError::Invalid {
                field: "options.page_size",
                what: format!(
                    "{size}: expected 1 to {MAX_PAGE_SIZE}, or 0 for {DEFAULT_PAGE_SIZE}"
                ),
            }),
        }
    }

    /// The user id, which may not be empty.
    pub fn require_user_id(&self) -> Result<(), ServeError> {
        require_id("options.user_id", &self.options.user_id)
    }

    /// The row of an item; `None` if the version does not know its id, which may not be empty.
    pub fn item(&mut self, field: &'static str, id: &str) -> Result<Option<u32>, ServeError> {
        require_id(field, id)?;
        Ok(self.known_item(id))
    }

    /// The rows of items, in the order of the request, without those that the version does not
    /// know.
    pub fn items(&mut self, field: &'static str, ids: &[String]) -> Result<Vec<u32>, ServeError> {
        check_entries(field, ids.len(), MAX_IDS)?;
        Ok(ids.iter().filter_map(|id| self.known_item(id)).collect())
    }

    fn known_item(&mut self, id: &str) -> Option<u32> {
        let item = self.models().items.get(id);
        if item.is_none() {
            self.unknown_item_ids.push(id.to_string());
        }
        item
    }

    /// What a shopper did: item rows with the weights that the version was trained with.
    pub fn history(&mut self, history: &[HistoryItem]) -> Result<Vec<(u32, f32)>, ServeError> {
        check_entries("history", history.len(), MAX_IDS)?;
        let routed = self.routed;
        let config = &routed.version.version().manifest.lineage.config;
        let weighted = history.iter().filter_map(|event| {
            let event_type = match event.event_type.as_str() {
                "" => "purchase",
                named => named,
            };
            let item = self.known_item(&event.item_id)?;
            Some((item, config.event_role_and_weight(event_type).1))
        });
        Ok(weighted.collect())
    }

    /// The filter of the request, without the items of earlier slots of the page.
    pub fn filter(&mut self) -> Result<ItemFilter, ServeError> {
        let mut filter = match &self.options.filter {
            None => ItemFilter::default(),
            Some(filter) => item_filter(
                self.models(),
                &self.routed.live,
                filter,
                &mut self.unknown_item_ids,
            )?,
        };
        filter.exclude.extend_from_slice(self.taken);
        Ok(filter)
    }

    /// The same filter, without what the shopper bought if that is to be left out.
    pub fn filter_purchased(&mut self, purchased: Purchased) -> Result<ItemFilter, ServeError> {
        let mut filter = self.filter()?;
        if let (Purchased::LeaveOut, Some(user)) = (purchased, self.user) {
            filter
                .exclude
                .extend_from_slice(self.models().purchased(user));
        }
        Ok(filter)
    }

    /// Where the answer is shown, to whom and when.
    pub fn context(&self) -> Result<RequestContext, ServeError> {
        let options = self.options;
        let controls = controls(options.controls.as_ref());
        controls.check().map_err(|what| ServeError::Invalid {
            field: "options.controls",
            what,
        })?;
        let now = now_millis();
        let mut values = ContextValues::new();
        let mut viewer = options.user_id.as_str();
        let mut local_millis = now;
        if let Some(context) = &options.context {
            values = context_values(context)?;
            if viewer.is_empty() {
                viewer = &context.visitor_id;
            }
            if let Some(time) = &context.local_time {
                local_millis = millis("options.context.local_time", time)?;
            }
        }
        aisle_models::infer_context(self.models(), &mut values, self.user, local_millis);
        Ok(RequestContext {
            placement: options.placement.clone(),
            values,
            controls,
            time: Some(now),
            viewer: viewer.to_string(),
            omit_reasons: options.omit_reasons,
        })
    }

    /// The time of a request in days since 1970; `None` means the end of the version's log, which
    /// is used where the request names no time and now is too long after that end.
    pub fn time_in_days(&self, time: Option<&Timestamp>) -> Result<Option<f32>, ServeError> {
        if let Some(time) = time {
            return Ok(Some(aisle_models::days_since_epoch(millis(
                "request_time",
                time,
            )?)));
        }
        let now = aisle_models::days_since_epoch(now_millis());
        let age = now - self.models().order_history.log_end_day();
        Ok((age <= STALE_DAYS).then_some(now))
    }

    /// The price band of an upsell as multiples of the item's price; `None` means the version's.
    pub fn price_band(&self, min: f32, max: f32) -> Result<Option<(f32, f32)>, ServeError> {
        if min == 0.0 && max == 0.0 {
            return Ok(None);
        }
        let (default_min, default_max) = self.models().upsell.band();
        let min = if min == 0.0 { default_min } else { min };
        let max = if max == 0.0 { default_max } else { max };
        match aisle_models::check_band(min, max) {
            Ok(()) => Ok(Some((min, max))),
            Err(_) => Err(ServeError::Invalid {
                field: "min_price_ratio",
                what: format!("{min} to {max}: expected 1 < min < max"),
            }),
        }
    }
}

/// Whether an answer may hold what the shopper bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purchased {
    /// It may.
    Keep,
    /// It may not.
    LeaveOut,
}

impl Purchased {
    /// From the field `exclude_purchased` of a request.
    pub fn excluded(exclude_purchased: bool) -> Self {
        if exclude_purchased {
            Self::LeaveOut
        } else {
            Self::Keep
        }
    }
}

/// The days that the probabilities of a reorder request hold for; `None` means the version's.
pub fn horizon_days(days: u32) -> Result<Option<f32>, ServeError> {
    match days {
        0 => Ok(None),
        1..=MAX_HORIZON_DAYS => Ok(Some(days as f32)),
        _ => Err(ServeError::Invalid {
            field: "horizon_days",
            what: format!("{days}: expected 1 to {MAX_HORIZON_DAYS}, or 0 for the version's"),
        }),
    }
}

/// The named values of a context, without those that are empty.
fn context_values(context: &aisle_proto::RequestContext) -> Result<ContextValues, ServeError> {
    let attributes = &context.attributes;
    check_entries(
        "options.context.attributes",
        attributes.len(),
        MAX_ATTRIBUTES,
    )?;
    let fields = [
        ("device", &context.device),
        ("location", &context.location),
        ("traffic_source", &context.traffic_source),
        ("visitor_state", &context.visitor_state),
    ];
    let attributes = attributes
        .iter()
        .map(|(name, value)| (name.as_str(), value));
    let mut values = ContextValues::new();
    for (name, value) in fields.into_iter().chain(attributes) {
        if value.is_empty() {
            continue;
        }
        if value.len() > MAX_CONTEXT_BYTES || name.len() > MAX_CONTEXT_BYTES {
            let (bytes, most) = (value.len().max(name.len()), MAX_CONTEXT_BYTES);
            return Err(ServeError::Invalid {
                field: "options.context",
                what: format!("{bytes} bytes for '{name:.40}': expected at most {most}"),
            });
        }
        values.insert(name.to_string(), normalize_path(value));
    }
    Ok(values)
}

/// A time after 1970 in milliseconds.
fn millis(field: &'static str, time: &Timestamp) -> Result<i64, ServeError> {
    if !(0..MAX_SECONDS).contains(&time.seconds) {
        let what = format!(
            "{} seconds since 1970: expected a time after 1970, or none for now",
            time.seconds
        );
        return Err(ServeError::Invalid { field, what });
    }
    Ok(time.seconds * 1000)
}

fn now_millis() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_millis() as i64)
}

//! Between the messages of the contract and the requests and answers of `aisle-models`.
//!
//! In: decoded messages, whose limits are checked here and whose ids become rows. Out: requests of
//! `aisle-models`, and encoded responses. A new field of a request is read here and nowhere else.
//!
//! - `request.rs`: what requests for recommendations have in common, with its limits.
//! - `filter.rs`: filters and amounts of money.
//! - `item_updates.rs`: changes of items.
//! - `rules.rs`: rules and controls.
//! - `response.rs`: answers.

pub mod filter;
pub mod item_updates;
pub mod request;
pub mod response;
pub mod rules;

use crate::error::ServeError;

/// Refuses an empty id.
pub fn require_id(field: &'static str, id: &str) -> Result<(), ServeError> {
    if id.is_empty() {
        return Err(ServeError::Invalid {
            field,
            what: "empty: expected an id".into(),
        });
    }
    Ok(())
}

/// Refuses a list of more than `most` entries.
pub fn check_entries(field: &'static str, found: usize, most: usize) -> Result<(), ServeError> {
    if found > most {
        return Err(ServeError::Invalid {
            field,
            what: format!("{found} entries: expected at most {most}"),
        });
    }
    Ok(())
}

/// The text without blanks around it, if anything is left of it.
pub fn non_empty(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_string())
}

/// The most ids in one list of a request.
const MAX_IDS: usize = 1000;

//! The one place that decides which gRPC code an error gets.
//!
//! Every status carries an `ErrorInfo` with a stable reason (domain `aisle`). What is wrong with a
//! field is a `BadRequest`, and what may be retried carries a `RetryInfo`.

use crate::error::ServeError;
use aisle_models::ModelError;
use std::collections::HashMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "aisle";
/// When to retry where a request may be answered a moment later.
const RETRY_SOON: Duration = Duration::from_millis(50);
/// When to retry where a version or a disk is waited for.
const RETRY_LATER: Duration = Duration::from_secs(1);

/// The code of an error, its stable reason, and after how long to retry if that may help.
type Classification = (Code, &'static str, Option<Duration>);

fn classify(error: &ServeError) -> Classification {
    match error {
        ServeError::NotReady { .. } => (Code::Unavailable, "MODEL_NOT_READY", Some(RETRY_LATER)),
        ServeError::UnknownModel { .. } => (Code::NotFound, "UNKNOWN_MODEL", None),
        ServeError::UnknownAlias { .. } => (Code::FailedPrecondition, "NO_MODEL_FOR_ALIAS", None),
        ServeError::NotLoaded { .. } => (Code::FailedPrecondition, "VERSION_NOT_LOADED", None),
        ServeError::Invalid { .. } => (Code::InvalidArgument, "INVALID_FIELD", None),
        ServeError::Overloaded { .. } => (Code::ResourceExhausted, "OVERLOADED", Some(RETRY_SOON)),
        ServeError::TooLate { .. } => {
            let reason = "DEADLINE_TOO_SHORT";
            (Code::ResourceExhausted, reason, Some(RETRY_SOON))
        }
        ServeError::DeadlineExceeded { .. } => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None),
        ServeError::TooManyNewItems { .. } => {
            (Code::FailedPrecondition, "TOO_MANY_NEW_ITEMS", None)
        }
        ServeError::NoMemory { .. } => (Code::FailedPrecondition, "INSUFFICIENT_MEMORY", None),
        ServeError::NotServed { .. } => (Code::FailedPrecondition, "VERSION_NOT_SERVED", None),
        ServeError::Internal(_) => (Code::Internal, "INTERNAL", None),
        ServeError::Model(error) => classify_model_error(error),
    }
}

fn classify_model_error(error: &ModelError) -> Classification {
    match error {
        ModelError::NotFound { .. } => (Code::NotFound, "NOT_FOUND", None),
        ModelError::BadName { .. } => (Code::InvalidArgument, "INVALID_NAME", None),
        ModelError::NoEarlierVersion { .. } => {
            (Code::FailedPrecondition, "NO_EARLIER_VERSION", None)
        }
        ModelError::Damaged { .. }
        | ModelError::TooNew { .. }
        | ModelError::TooOld { .. }
        | ModelError::Table { .. }
        | ModelError::Data(_) => (Code::FailedPrecondition, "ARTIFACT_INTEGRITY", None),
        ModelError::GoldenMismatch { .. } => (Code::FailedPrecondition, "GOLDEN_MISMATCH", None),
        ModelError::Rule { .. } => (Code::InvalidArgument, "RULE", None),
        ModelError::NoEarlierRules { .. } => (Code::FailedPrecondition, "NO_EARLIER_RULES", None),
        ModelError::RulesChanged { .. } => (Code::Aborted, "ETAG_MISMATCH", None),
        ModelError::Io { .. } => (Code::Unavailable, "REGISTRY_UNAVAILABLE", Some(RETRY_LATER)),
        _ => (Code::FailedPrecondition, "MODEL", None),
    }
}

impl From<ServeError> for Status {
    fn from(error: ServeError) -> Self {
        let (code, reason, retry) = classify(&error);
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, DOMAIN, HashMap::new());
        if let ServeError::Invalid { field, what } = &error {
            details.add_bad_request_violation(*field, what.clone());
        }
        if retry.is_some() {
            details.set_retry_info(retry);
        }
        Status::with_error_details(code, error.to_string(), details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_why_and_when_to_retry() {
        let status = Status::from(ServeError::Overloaded { limit: 8 });
        let details = status.get_error_details();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(
            details.error_info().map(|info| info.reason.as_str()),
            Some("OVERLOADED")
        );
        assert!(details.retry_info().is_some());
    }

    #[test]
    fn a_status_names_the_field_that_is_wrong() {
        let status = Status::from(ServeError::Invalid {
            field: "options.page_size",
            what: "5000: expected at most 1000".into(),
        });
        let details = status.get_error_details();
        assert_eq!(
            details
                .bad_request()
                .map(|bad| bad.field_violations[0].field.as_str()),
            Some("options.page_size")
        );
    }
}

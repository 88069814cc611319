//! Why a request, a version or an administrative call is refused. `services/status.rs` decides
//! which gRPC code each is.

use aisle_models::ModelError;
use std::time::Duration;

/// A refusal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// No version can answer yet.
    #[error(
        "no version of a model is loaded yet: {why}; retry, or publish one with \
         `aisle-train fit --alias {alias}`"
    )]
    NotReady {
        /// What the server waits for.
        why: String,
        /// The alias that the server follows.
        alias: String,
    },
    /// The request names a model that this server does not serve.
    #[error(
        "this server serves the model '{served}', the request names '{requested}': leave `model` \
         empty or name '{served}'"
    )]
    UnknownModel {
        /// The name in the request.
        requested: String,
        /// The name of the model that is served.
        served: String,
    },
    /// The request names an alias that does not exist, or whose version is refused.
    #[error(
        "alias '{alias}' has no version that can be served; there are: {}",
        list_or_none(known)
    )]
    UnknownAlias {
        /// The alias in the request.
        alias: String,
        /// The aliases that lead to a version.
        known: Vec<String>,
    },
    /// The request names a version that is not in service.
    #[error(
        "version '{version}' is not loaded here: call ModelService.LoadVersion first, or name an \
         alias; loaded are: {}",
        list_or_none(loaded)
    )]
    NotLoaded {
        /// The version in the request.
        version: String,
        /// The versions in service.
        loaded: Vec<String>,
    },
    /// A field of the request cannot be used.
    #[error("{field}: {what}")]
    Invalid {
        /// The path of the field.
        field: &'static str,
        /// What was found and what was expected.
        what: String,
    },
    /// There are too many requests at once.
    #[error(
        "{limit} requests are being answered already, which is what the processor keeps up with: \
         retry after a moment"
    )]
    Overloaded {
        /// How many requests may be answered at once, by the time that answers take and by
        /// `max_concurrent_requests`.
        limit: usize,
    },
    /// The deadline leaves less time than the requests before this one take.
    #[error(
        "the deadline leaves {left:.1?}, and the requests before this one take {wait:.1?}: retry \
         after a moment, or allow more time"
    )]
    TooLate {
        /// The time that the deadline leaves.
        left: Duration,
        /// The time that the requests before this one take.
        wait: Duration,
    },
    /// The deadline of the request passed.
    #[error("no answer within {allowed:.1?}, the deadline of this request: allow more time")]
    DeadlineExceeded {
        /// The time that the request was given.
        allowed: Duration,
    },
    /// An alias moved in the registry, and this server cannot follow it.
    #[error(
        "alias '{alias}' now points at {version}, which this server cannot serve: {why}; what \
         served before keeps serving here"
    )]
    NotServed {
        /// The alias.
        alias: String,
        /// The version that it points at.
        version: String,
        /// Why this server refuses the version.
        why: String,
    },
    /// A version needs more memory than is free.
    #[error(
        "version {version} needs about {needed} MiB and {free} MiB are free: the version before \
         keeps serving"
    )]
    NoMemory {
        /// The version.
        version: String,
        /// What it needs by its manifest, in MiB.
        needed: u64,
        /// What the system can give, in MiB.
        free: u64,
    },
    /// There are more new items than versions take.
    #[error(
        "{found} items would be new to the versions in service: expected at most {most}; publish \
         a version that knows them"
    )]
    TooManyNewItems {
        /// How many there would be with this request.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// The registry or a version failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A fault of this program.
    #[error("internal fault: {0}")]
    Internal(String),
}

fn list_or_none(names: &[String]) -> String {
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}

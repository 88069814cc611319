//! Why a request is refused. `status.rs` says which gRPC code each is.

use aisle_models::ModelError;
use std::time::Duration;

/// A refusal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// No version is loaded yet.
    #[error("no version of a model is loaded yet: {why}; retry, or publish one with `aisle-train fit --alias {alias}`")]
    NotReady {
        /// What the server waits for.
        why: String,
        /// The alias that it follows.
        alias: String,
    },
    /// The request names a model that this server does not serve.
    #[error("this server serves the model '{served}', the request names '{asked}': leave `model` empty or name '{served}'")]
    UnknownModel {
        /// The name in the request.
        asked: String,
        /// The name here.
        served: String,
    },
    /// The request names an alias that does not exist or has no version that verifies.
    #[error("alias '{alias}' has no version that can be served; there are: {}", if known.is_empty() { "none".to_string() } else { known.join(", ") })]
    UnknownAlias {
        /// The alias.
        alias: String,
        /// Those that answer.
        known: Vec<String>,
    },
    /// The request pins a version that is not loaded.
    #[error("version '{version}' is not loaded here: call ModelService.LoadVersion first, or name an alias; loaded are: {}", loaded.join(", "))]
    NotLoaded {
        /// The version.
        version: String,
        /// Those that are.
        loaded: Vec<String>,
    },
    /// A field of the request cannot be used.
    #[error("{field}: {what}")]
    Invalid {
        /// The field's path.
        field: &'static str,
        /// What was found and what was expected.
        what: String,
    },
    /// Too many requests at once.
    #[error("{limit} requests are being answered already, which is what the processor keeps up with: retry after a moment")]
    Overloaded {
        /// The limit, as the time that answers take sets it, and max_concurrent_requests.
        limit: usize,
    },
    /// The deadline leaves less time than the requests before this one take.
    #[error(
        "the deadline leaves {left:.1?}, and the requests before this one take {wait:.1?}: retry after a moment, or allow more time"
    )]
    TooLate {
        /// What is left.
        left: Duration,
        /// What the queue takes.
        wait: Duration,
    },
    /// The client's deadline passed.
    #[error("no answer within {allowed:.1?}, the deadline of this request: allow more time")]
    DeadlineExceeded {
        /// The time that the request was given.
        allowed: Duration,
    },
    /// An alias moved in the registry, and this server cannot follow.
    #[error(
        "alias '{alias}' now points at {version}, which this server cannot serve: {why}; what served before keeps serving here"
    )]
    NotServed {
        /// The alias.
        alias: String,
        /// The version it points at.
        version: String,
        /// Why it is refused here.
        why: String,
    },
    /// A version needs more memory than is free.
    #[error("version {version} needs about {needed} MiB and {free} MiB are free: the version before keeps serving")]
    NoMemory {
        /// The version.
        version: String,
        /// MiB by its manifest.
        needed: u64,
        /// MiB that the system can give.
        free: u64,
    },
    /// More new items than a version takes in.
    #[error("{found} items would be new to the versions in service: expected at most {most}; publish a version that knows them")]
    TooManyNewItems {
        /// With this request.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// The registry or a version refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A fault of this program.
    #[error("internal fault: {0}")]
    Internal(String),
}

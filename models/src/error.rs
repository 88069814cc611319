//! What can go wrong between the data and a served version. Each error says what the caller can do.

use std::path::PathBuf;

/// A failure to fit, write, read or verify a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A hyperparameter is outside its range.
    #[error("{name} = {found}: expected {expected}")]
    Hyperparameter {
        /// The name of the hyperparameter.
        name: String,
        /// The value found.
        found: String,
        /// The range of values that would do.
        expected: String,
    },
    /// A rule is not valid.
    #[error("rule '{rule}': {detail}")]
    Rule {
        /// The name of the rule.
        rule: String,
        /// What was found and what was expected.
        detail: String,
    },
    /// There is no earlier revision of the rules to go back to.
    #[error("model '{model}' had no rules before those that stand")]
    NoEarlierRules {
        /// The name of the model.
        model: String,
    },
    /// The rules changed after the client read them.
    #[error(
        "the rules are at revision {found}, expected {expected}: read them again and change those"
    )]
    RulesChanged {
        /// The current revision.
        found: u64,
        /// The revision that the change was made from.
        expected: u64,
    },
    /// The condition of a named segment is not valid.
    #[error("segment '{name}': {fault}")]
    Segment {
        /// The name of the segment.
        name: String,
        /// What is wrong with the condition, and where.
        fault: crate::condition::ConditionError,
    },
    /// The data hold nothing that the model could learn from.
    #[error("{model} cannot be fitted: {why}")]
    NothingToLearn {
        /// The name of the algorithm.
        model: &'static str,
        /// What is missing.
        why: String,
    },
    /// A number of a fit became infinite or NaN.
    #[error("{model} diverged in iteration {iteration} (a factor is not finite): {advice}")]
    Diverged {
        /// The name of the algorithm.
        model: &'static str,
        /// The iteration, from 1.
        iteration: usize,
        /// What to change.
        advice: String,
    },
    /// A device cannot be used.
    #[error(transparent)]
    Device(#[from] aisle_retrieval::RetrievalError),
    /// The operating system could not read or write a file.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What failed, such as "cannot open".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A version on disk is not what its manifest says.
    #[error(
        "version at {} is damaged: {what}: found {found}, expected {expected}; publish it again or \
         remove the folder",
        path.display()
    )]
    Damaged {
        /// The folder or file of the version.
        path: PathBuf,
        /// The damaged part.
        what: String,
        /// What was found there.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A version was written by a newer Aisle.
    #[error(
        "version at {} has format {found}; this build reads up to {supported}: upgrade Aisle or \
         fit again",
        path.display()
    )]
    TooNew {
        /// The folder of the version.
        path: PathBuf,
        /// The format of the version.
        found: u32,
        /// The highest format that this build reads.
        supported: u32,
    },
    /// A version was written by an older Aisle.
    #[error(
        "version at {} has format {found}; this build reads {supported}: fit it again",
        path.display()
    )]
    TooOld {
        /// The folder of the version.
        path: PathBuf,
        /// The format of the version.
        found: u32,
        /// The format that this build reads.
        supported: u32,
    },
    /// A version does not give the answers that it gave when it was made.
    #[error(
        "version {version} answers golden request {request} differently: found {found}, expected \
         {expected}; it is not served"
    )]
    GoldenMismatch {
        /// The name of the version.
        version: String,
        /// The request, as task and ids.
        request: String,
        /// The answer now.
        found: String,
        /// The answer when the version was made.
        expected: String,
    },
    /// A model, version or alias does not exist.
    #[error(
        "no {what} '{name}' in {place}; there are: {}",
        if known.is_empty() { "none".to_string() } else { known.join(", ") }
    )]
    NotFound {
        /// "model", "version" or "alias".
        what: &'static str,
        /// The name that was looked for.
        name: String,
        /// Where it was looked for.
        place: String,
        /// The names that exist there.
        known: Vec<String>,
    },
    /// A name could lead out of the registry's folder or confuse a reader.
    #[error(
        "{what} name '{name}' cannot be used: expected 1 to 64 of a-z A-Z 0-9 . _ - and no leading \
         dot"
    )]
    BadName {
        /// "model", "version" or "alias".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An alias has no earlier version to go back to.
    #[error("alias '{alias}' of {model} has no earlier version to go back to")]
    NoEarlierVersion {
        /// The name of the alias.
        alias: String,
        /// The name of the model.
        model: String,
    },
    /// A table or the weights of a version cannot be read or written.
    #[error("table {}: {detail}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The error of the library that reads or writes it.
        detail: String,
    },
    /// Data cannot be read.
    #[error(transparent)]
    Data(#[from] aisle_data::DataError),
}

impl From<aisle_data::AtomicWriteError> for ModelError {
    fn from(error: aisle_data::AtomicWriteError) -> Self {
        ModelError::Io {
            doing: error.doing,
            path: error.path,
            source: error.source,
        }
    }
}

impl From<candle_core::Error> for ModelError {
    fn from(error: candle_core::Error) -> Self {
        ModelError::Device(error.into())
    }
}

impl ModelError {
    /// Makes an [`ModelError::Io`] of the operating system's error, where `doing` says what failed.
    pub(crate) fn io(
        doing: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> ModelError {
        let path = path.to_path_buf();
        move |source| ModelError::Io {
            doing,
            path,
            source,
        }
    }
}

/// The result of this crate's functions.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

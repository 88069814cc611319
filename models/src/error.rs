//! What can go wrong between a matrix and a served version, told by what the caller can do about it.

use std::path::PathBuf;

/// A failure to fit, write, read or verify a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A hyperparameter is outside its range.
    #[error("{name} = {found}: expected {expected}")]
    Hyperparameter {
        /// Its name.
        name: String,
        /// The value found.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A rule cannot be meant as it is written.
    #[error("rule '{rule}': {detail}")]
    Rule {
        /// Its name.
        rule: String,
        /// What was found and what was expected.
        detail: String,
    },
    /// There are no rules to go back to.
    #[error("model '{model}' had no rules before those that stand")]
    NoEarlierRules {
        /// The model.
        model: String,
    },
    /// The rules changed since they were read.
    #[error("the rules are at revision {found}, expected {expected}: read them again and change those")]
    RulesChanged {
        /// The revision that stands.
        found: u64,
        /// The one that the change was made from.
        expected: u64,
    },
    /// The condition of a segment is not one.
    #[error("segment '{name}': {fault}")]
    Segment {
        /// The segment.
        name: String,
        /// What is wrong with it, and where.
        fault: crate::condition::ConditionError,
    },
    /// The data hold nothing for this model.
    #[error("{model} cannot be fitted: {why}")]
    NothingToLearn {
        /// The algorithm.
        model: &'static str,
        /// What is missing.
        why: String,
    },
    /// The fit left the numbers.
    #[error("{model} diverged in iteration {iteration} (a factor is not finite): {advice}")]
    Diverged {
        /// The algorithm.
        model: &'static str,
        /// The iteration, from 1.
        iteration: usize,
        /// What to change.
        advice: String,
    },
    /// CUDA was asked of a build that does not have it.
    #[error(
        "device 'cuda' was asked of a build for the CPU: build with --features cuda where the CUDA toolkit is, or use --device cpu"
    )]
    NoCuda,
    /// The processor that a model was to be fitted on refused.
    #[error("the device cannot compute: {detail}; if memory ran out, lower batch or negatives, else try --device cpu")]
    Device {
        /// What the library said.
        detail: String,
    },
    /// The operating system refused.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A version on disk is not what its manifest says.
    #[error("version at {} is damaged: {what}: found {found}, expected {expected}; publish it again or remove the folder", path.display())]
    Damaged {
        /// The version's folder or file.
        path: PathBuf,
        /// The part.
        what: String,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A version was written by a newer Aisle.
    #[error("version at {} has format {found}; this build reads up to {supported}: upgrade Aisle or fit again", path.display())]
    TooNew {
        /// The version's folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The highest format known here.
        supported: u32,
    },
    /// A version was written by an older Aisle.
    #[error("version at {} has format {found}; this build reads {supported}: fit it again", path.display())]
    TooOld {
        /// The version's folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format known here.
        supported: u32,
    },
    /// The version answers differently from when it was made.
    #[error("version {version} answers golden request {request} differently: found {found}, expected {expected}; it is not served")]
    GoldenMismatch {
        /// The version.
        version: String,
        /// Which request.
        request: String,
        /// The answer now.
        found: String,
        /// The answer then.
        expected: String,
    },
    /// No such model, version or alias.
    #[error("no {what} '{name}' in {place}; there are: {}", if known.is_empty() { "none".to_string() } else { known.join(", ") })]
    NotFound {
        /// model, version or alias.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        place: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A name that could leave the registry or confuse a reader.
    #[error("{what} name '{name}' cannot be used: expected 1 to 64 of a-z A-Z 0-9 . _ - and no leading dot")]
    BadName {
        /// model, version or alias.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An alias has no earlier version.
    #[error("alias '{alias}' of {model} has no earlier version to go back to")]
    NoEarlierVersion {
        /// The alias.
        alias: String,
        /// The model.
        model: String,
    },
    /// Reading or writing the tables of a version.
    #[error("table {}: {detail}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What the Parquet library said.
        detail: String,
    },
    /// The data layer refused.
    #[error(transparent)]
    Data(#[from] aisle_data::DataError),
}

impl ModelError {
    pub(crate) fn device(error: candle_core::Error) -> Self {
        // Only the first line: the rest may be a backtrace.
        ModelError::Device { detail: error.to_string().lines().next().unwrap_or_default().into() }
    }

    pub(crate) fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> ModelError {
        let path = path.to_path_buf();
        move |source| ModelError::Io { doing, path, source }
    }
}

/// The crate's result.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

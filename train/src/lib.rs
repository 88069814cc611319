//! Fits, measures, exports and administers product recommendation models.
//!
//! [`cli`] reads the command line, [`settings`] the config; each command has a file of its own. What a fit leaves behind is a
//! version in the registry, and a server needs nothing else.

pub mod batch;
pub mod cli;
pub mod evaluate;
pub mod fit;
pub mod inspect;
pub mod leakage;
pub mod progress;
pub mod report;
pub mod segments;
pub mod settings;
pub mod tune;
pub mod versions;

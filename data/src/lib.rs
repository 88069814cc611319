//! Interaction logs and catalogues from Parquet, validated, as what models learn from.
//!
//! The way of a row: [`Source`] finds and guards the files, [`Dataset::read`] interns and checks every row into
//! an [`EventLog`] and a [`Catalog`], [`Split`] cuts past from future, and [`Interactions`] and [`Orders`] are the
//! sparse matrix and the baskets that the models take. Nothing here knows a model or a server.

mod catalog;
mod column;
mod config;
mod dataset;
mod error;
mod generate;
mod id_map;
mod inspect;
mod interactions;
mod log;
mod orders;
mod prefixes;
mod relations;
mod sessions;
mod set_aside;
mod source;
mod split;
mod split_mix;

pub use catalog::{Catalog, Labels, NONE, NewItem, cut, tidy};
pub use config::{Clean, Columns, DataConfig, DropRule, EventRole, EventRule, ItemColumns, OneOrMore, UserColumns};
pub use dataset::{Dataset, Input, Tables};
pub use error::{DataError, Result};
pub use generate::Generator;
pub use id_map::IdMap;
pub use inspect::{CatalogFacts, ContextFacts, Inspection, OrderFacts, TaskFacts, TypeFacts};
pub use interactions::{Csr, Interactions};
pub use log::{ContextColumn, EventLog, EventType, ReadReport, memory_available};
pub use orders::{GroupedBy, Orders};
pub use prefixes::{PREFIX, Prefix, TARGET, read_prefixes};
pub use relations::{Related, Relation, read_relations};
pub use sessions::Sessions;
pub use set_aside::{Count, Reason, SetAside};
pub use source::{Source, Table, TableFile};
pub use split::{Fold, Split, day_of, folds, moment_of, parse_moment, stamp_of};
pub use split_mix::{SplitMix, mix};

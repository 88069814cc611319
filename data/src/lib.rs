#![doc = include_str!("../README.md")]

mod atomic_write;
mod canonical_order;
mod catalog;
mod category;
mod column;
mod column_hint;
mod config;
mod dataset;
mod decoder_guard;
mod drop_rules;
mod error;
mod event_fields;
mod event_log;
mod folds;
mod generate;
mod id_map;
mod input_files;
mod inspection;
mod interactions;
mod labels;
mod memory;
mod orders;
mod prefixes;
mod read_events;
mod read_ids;
mod read_items;
mod read_users;
mod relations;
mod sessions;
mod set_aside;
mod source;
mod split;
mod task_facts;
mod time;

pub use atomic_write::{AtomicWriteError, StagedFile, sync_folder, write_atomically};
pub use catalog::{Catalog, NewItem};
pub use category::{category_depth, category_levels, category_prefix, normalize_path};
pub use config::{
    Clean, Columns, DataConfig, DropRule, EventRole, EventRule, ItemColumns, OneOrMore, UserColumns,
};
pub use dataset::{Dataset, Tables};
pub use error::{DataError, Result};
pub use event_log::{ContextColumn, EventLog, EventType, shopper_key};
pub use folds::{Fold, folds};
pub use generate::Generator;
pub use id_map::{IdMap, NONE};
pub use input_files::Input;
pub use inspection::{CatalogFacts, ContextFacts, Inspection, OrderFacts, TypeFacts};
pub use interactions::Interactions;
pub use labels::Labels;
pub use memory::memory_available;
pub use orders::{GroupedBy, Orders};
pub use prefixes::{PREFIX, Prefix, TARGET, read_prefixes};
pub use read_events::ReadReport;
pub use relations::{Related, Relation, read_relations};
pub use sessions::Sessions;
pub use set_aside::{Count, Reason, SetAside};
pub use source::{Source, Table, TableFile};
pub use split::Split;
pub use task_facts::TaskFacts;
pub use time::{
    DAY_MILLIS, day_number, days_to_millis, format_compact, format_day, format_rfc3339,
    millis_to_days, parse_time,
};

//! The Parquet file that keeps the trials of a search.

use super::Trial;
use crate::atomic::stage_table;
use anyhow::{Context, Result, bail};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Writes all trials: a search that is interrupted loses at most the trial it was at.
///
/// # Errors
/// Names the file that cannot be written.
pub(super) fn write(path: &Path, question: &str, trials: &[Trial]) -> Result<()> {
    let texts = |text: &dyn Fn(&Trial) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(trials.iter().map(text)))
    };
    let numbers = |number: &dyn Fn(&Trial) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(trials.iter().map(number)))
    };
    let columns = vec![
        ("search".into(), texts(&|_| question.to_string())),
        ("settings".into(), texts(&|trial| trial.pairs.join(" "))),
        ("value".into(), numbers(&|trial| trial.value)),
        ("fit_seconds".into(), numbers(&|trial| trial.fit_seconds)),
    ];
    stage_table(path, columns)?.publish()?;
    Ok(())
}

/// Reads the trials of an earlier search.
///
/// # Errors
/// A file that is no history, or the history of another search.
pub(super) fn read(path: &Path, question: &str) -> Result<Vec<Trial>> {
    let unusable = || {
        format!(
            "{} is not a history of aisle-train tune: give another --history",
            path.display()
        )
    };
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .with_context(unusable)?
        .build()?;
    let mut trials = Vec::new();
    for batch in reader {
        let batch = batch.with_context(unusable)?;
        let columns = Columns::of(&batch).with_context(unusable)?;
        for row in 0..batch.num_rows() {
            let found = columns.search.value(row);
            if found != question {
                bail!(
                    "{} is the history of another search (found: {found}; this one: {question}): \
                     give another --history",
                    path.display(),
                );
            }
            let pairs = columns.settings.value(row).split(' ');
            trials.push(Trial {
                pairs: pairs.map(str::to_string).collect(),
                value: columns.value.value(row),
                fit_seconds: columns.fit_seconds.value(row),
            });
        }
    }
    Ok(trials)
}

/// The columns of a history.
struct Columns<'a> {
    search: &'a StringArray,
    settings: &'a StringArray,
    value: &'a Float64Array,
    fit_seconds: &'a Float64Array,
}

impl<'a> Columns<'a> {
    /// `None` if one is missing or has another type.
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let column = |name: &str| Some(batch.column_by_name(name)?.as_any());
        Some(Self {
            search: column("search")?.downcast_ref()?,
            settings: column("settings")?.downcast_ref()?,
            value: column("value")?.downcast_ref()?,
            fit_seconds: column("fit_seconds")?.downcast_ref()?,
        })
    }
}

//! The `[[clean.drop_items]]` and `[[clean.drop_events]]` rules, applied to the rows of a batch.

use crate::column::StringColumn;
use crate::config::DropRule;
use crate::error::Result;
use crate::source::TableFile;
use arrow_array::RecordBatch;

/// Drop rules of the config, each with the column of one batch that it looks at.
pub(crate) struct BatchDropRules<'a>(Vec<(&'a DropRule, StringColumn)>);

impl<'a> BatchDropRules<'a> {
    /// Opens the column of each rule.
    pub(crate) fn open(
        rules: &'a [DropRule],
        file: &TableFile,
        batch: &RecordBatch,
    ) -> Result<Self> {
        let with_column =
            |rule: &'a DropRule| Ok((rule, StringColumn::open(file, batch, &rule.column)?));
        Ok(Self(rules.iter().map(with_column).collect::<Result<_>>()?))
    }

    /// Whether any rule drops the row. `buffer` is scratch space.
    pub(crate) fn drop_row(&self, row: usize, buffer: &mut String) -> bool {
        self.0.iter().any(|(rule, column)| {
            column
                .text(row, buffer)
                .is_some_and(|text| rule.matches(text))
        })
    }
}

//! One column of a batch, read as what a field needs: texts, numbers, times, or yes and no.
//!
//! Whatever the file's own type (dictionary, large strings, views, decimals, any timestamp unit),
//! a column is cast once per batch to one canonical array.

use crate::category::SEPARATOR;
use crate::config::EpochUnit;
use crate::error::{DataError, Result};
use crate::source::TableFile;
use crate::time::parse_day;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, LargeStringArray, RecordBatch,
    TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, TimeUnit};
use std::fmt::Write;
use std::sync::Arc;

/// Ids and texts: strings as they are, integers in decimal, whole floats as integers.
pub(crate) enum StringColumn {
    /// The same text in every row: the value of a Hive partition.
    Constant(String),
    Text(LargeStringArray),
    Int(Int64Array),
    Float(Float64Array),
}

impl StringColumn {
    /// The column of this batch, or the file's partition value where the file has no such column.
    pub(crate) fn open(file: &TableFile, batch: &RecordBatch, column: &str) -> Result<Self> {
        let Some(array) = batch.column_by_name(column) else {
            let value = file.partition(column).unwrap_or_default();
            return Ok(StringColumn::Constant(value.into()));
        };
        let cast_to = |to| cast(file, column, array, &to);
        let found = array.data_type();
        Ok(match value_type(found) {
            _ if is_text(found) => {
                StringColumn::Text(cast_to(DataType::LargeUtf8)?.as_string().clone())
            }
            DataType::UInt64 | DataType::Decimal128(..) | DataType::Boolean => {
                StringColumn::Text(cast_to(DataType::LargeUtf8)?.as_string().clone())
            }
            integer if integer.is_integer() => {
                let array = cast_to(DataType::Int64)?;
                StringColumn::Int(array.as_primitive::<Int64Type>().clone())
            }
            float if float.is_floating() => {
                let array = cast_to(DataType::Float64)?;
                StringColumn::Float(array.as_primitive::<Float64Type>().clone())
            }
            DataType::Null => StringColumn::Int(Int64Array::new_null(array.len())),
            other => return Err(wrong_type(file, column, other, "strings or integers")),
        })
    }

    /// The text of a row; `None` where it is null or empty. Numbers are written into `buffer`.
    pub(crate) fn text<'a>(&'a self, row: usize, buffer: &'a mut String) -> Option<&'a str> {
        buffer.clear();
        match self {
            StringColumn::Constant(text) => Some(text.as_str()),
            StringColumn::Text(array) if array.is_valid(row) => Some(array.value(row)),
            StringColumn::Int(array) if array.is_valid(row) => {
                buffer.push_str(itoa::Buffer::new().format(array.value(row)));
                Some(buffer.as_str())
            }
            StringColumn::Float(array) if array.is_valid(row) && !array.value(row).is_nan() => {
                let _ = write!(buffer, "{}", array.value(row));
                Some(buffer.as_str())
            }
            _ => None,
        }
        .filter(|text| !text.is_empty())
    }
}

/// Numbers of any numeric type, as `f64`.
pub(crate) struct NumberColumn(Float64Array);

impl NumberColumn {
    /// The column of this batch, or the file's partition value where the file has no such column.
    pub(crate) fn open(file: &TableFile, batch: &RecordBatch, column: &str) -> Result<Self> {
        let Some(array) = batch.column_by_name(column) else {
            let value = file
                .partition(column)
                .and_then(|text| text.parse::<f64>().ok());
            let rows = vec![value; batch.num_rows()];
            return Ok(NumberColumn(Float64Array::from(rows)));
        };
        let found = value_type(array.data_type());
        if !(found.is_numeric() || found == &DataType::Null) {
            return Err(wrong_type(file, column, found, "numbers"));
        }
        let array = cast(file, column, array, &DataType::Float64)?;
        Ok(NumberColumn(array.as_primitive::<Float64Type>().clone()))
    }

    /// The number of a row; `None` where it is null.
    pub(crate) fn number(&self, row: usize) -> Option<f64> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

/// Times, in milliseconds since 1970-01-01 UTC.
pub(crate) enum TimeColumn {
    /// A timestamp or date type.
    Timestamp(TimestampMillisecondArray),
    /// Numbers of a unit that the config declares, and the milliseconds in one of that unit.
    Epoch(Float64Array, f64),
}

impl TimeColumn {
    /// The column of this batch, or midnight of the file's partition value (a day such as
    /// `2017-11-12`) where the file has no such column. `unit` is that of integer timestamps.
    pub(crate) fn open(
        file: &TableFile,
        batch: &RecordBatch,
        column: &str,
        unit: Option<EpochUnit>,
    ) -> Result<Self> {
        let Some(array) = batch.column_by_name(column) else {
            let day = file.partition(column).and_then(parse_day);
            let rows = vec![day; batch.num_rows()];
            return Ok(TimeColumn::Timestamp(rows.into()));
        };
        let in_milliseconds = |zone| -> Result<Self> {
            let to = DataType::Timestamp(TimeUnit::Millisecond, zone);
            let array = cast(file, column, array, &to)?;
            let array = array.as_primitive::<TimestampMillisecondType>().clone();
            Ok(TimeColumn::Timestamp(array))
        };
        match value_type(array.data_type()) {
            DataType::Timestamp(_, zone) => in_milliseconds(zone.clone()),
            DataType::Date32 | DataType::Date64 => in_milliseconds(None),
            DataType::Null => Ok(TimeColumn::Timestamp(TimestampMillisecondArray::new_null(
                array.len(),
            ))),
            number if number.is_integer() || number.is_floating() => {
                let Some(unit) = unit else {
                    let expected = "a timestamp, or an integer whose unit the config declares: \
                                    [columns] timestamp_unit = \"s\" (or ms, us, ns)";
                    return Err(wrong_type(file, column, number, expected));
                };
                let array = cast(file, column, array, &DataType::Float64)?;
                let array = array.as_primitive::<Float64Type>().clone();
                Ok(TimeColumn::Epoch(array, unit.millis()))
            }
            other => Err(wrong_type(
                file,
                column,
                other,
                "a timestamp, a date, or an integer with [columns] timestamp_unit",
            )),
        }
    }

    /// The time of a row; `None` where it is null, not finite, or 10^15 milliseconds (31,700 years)
    /// or more from 1970.
    pub(crate) fn millis(&self, row: usize) -> Option<i64> {
        match self {
            TimeColumn::Timestamp(array) => array.is_valid(row).then(|| array.value(row)),
            TimeColumn::Epoch(array, unit_millis) => {
                let millis = array
                    .is_valid(row)
                    .then(|| array.value(row) * unit_millis)?;
                (millis.is_finite() && millis.abs() < 1e15).then_some(millis as i64)
            }
        }
    }
}

/// Whether each item of a batch is available; a null is yes, because an item is for sale unless
/// the file says otherwise.
pub(crate) fn availability(
    file: &TableFile,
    batch: &RecordBatch,
    column: &str,
) -> Result<Vec<bool>> {
    let texts = StringColumn::open(file, batch, column)?;
    let mut buffer = String::new();
    (0..batch.num_rows())
        .map(|row| {
            let Some(text) = texts.text(row, &mut buffer) else {
                return Ok(true);
            };
            match text.to_lowercase().as_str() {
                "true" | "1" | "yes" | "y" | "t" | "in_stock" | "in stock" | "available" => {
                    Ok(true)
                }
                "false" | "0" | "no" | "n" | "f" | "out_of_stock" | "out of stock"
                | "unavailable" => Ok(false),
                other => Err(DataError::WrongType {
                    path: file.path().to_path_buf(),
                    column: column.into(),
                    found: format!("the value '{other}'"),
                    expected: "a boolean, 0 or 1, yes or no, in_stock or out_of_stock".into(),
                }),
            }
        })
        .collect()
}

/// The rows of a column of lists of ids; a null is an empty list.
pub(crate) fn id_lists(
    file: &TableFile,
    batch: &RecordBatch,
    column: &str,
) -> Result<Vec<Vec<String>>> {
    if let Some(lists) = text_lists(file, batch, column)? {
        return Ok(lists.into_iter().map(Option::unwrap_or_default).collect());
    }
    let found = match batch.column_by_name(column) {
        Some(array) => array.data_type(),
        None => &DataType::Null,
    };
    Err(wrong_type(file, column, found, "a list of ids"))
}

/// The category path of each row: a string `A > B > C` as it is, or a list of levels joined.
pub(crate) fn category_paths(
    file: &TableFile,
    batch: &RecordBatch,
    column: &str,
) -> Result<Vec<Option<String>>> {
    if let Some(lists) = text_lists(file, batch, column)? {
        let join_levels = |levels: Vec<String>| {
            let levels: Vec<&str> = levels
                .iter()
                .map(|level| level.trim())
                .filter(|level| !level.is_empty())
                .collect();
            (!levels.is_empty()).then(|| levels.join(SEPARATOR))
        };
        return Ok(lists
            .into_iter()
            .map(|levels| levels.and_then(join_levels))
            .collect());
    }
    let texts = StringColumn::open(file, batch, column)?;
    let mut buffer = String::new();
    Ok((0..batch.num_rows())
        .map(|row| texts.text(row, &mut buffer).map(str::to_string))
        .collect())
}

/// One list of texts for each row, `None` for a null row.
type TextLists = Vec<Option<Vec<String>>>;

/// The rows of a column of lists of texts; `None` if the column does not hold lists.
fn text_lists(file: &TableFile, batch: &RecordBatch, column: &str) -> Result<Option<TextLists>> {
    let Some(array) = batch.column_by_name(column) else {
        return Ok(None);
    };
    let (DataType::List(_)
    | DataType::LargeList(_)
    | DataType::FixedSizeList(..)
    | DataType::ListView(_)) = array.data_type()
    else {
        return Ok(None);
    };
    let element = Arc::new(Field::new("item", DataType::LargeUtf8, true));
    let array = cast(file, column, array, &DataType::LargeList(element))?;
    let lists = array.as_list::<i64>();
    let texts_of_row = |row: usize| {
        let texts = lists.value(row);
        let texts = texts.as_string::<i64>().iter().flatten();
        texts.map(str::to_string).collect()
    };
    let rows = 0..batch.num_rows();
    Ok(Some(
        rows.map(|row| lists.is_valid(row).then(|| texts_of_row(row)))
            .collect(),
    ))
}

fn wrong_type(file: &TableFile, column: &str, found: &DataType, expected: &str) -> DataError {
    DataError::WrongType {
        path: file.path().to_path_buf(),
        column: column.into(),
        found: found.to_string(),
        expected: expected.into(),
    }
}

fn cast(file: &TableFile, column: &str, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    arrow_cast::cast(array, to).map_err(|error| DataError::Unreadable {
        path: file.path().to_path_buf(),
        detail: format!("column '{column}': {error}"),
    })
}

/// The type of a column's values: for a dictionary that of its values, else the type itself.
fn value_type(found: &DataType) -> &DataType {
    match found {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

fn is_text(found: &DataType) -> bool {
    matches!(
        value_type(found),
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

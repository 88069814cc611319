//! One column of a batch as what we mean by it: ids, texts, numbers, moments, yes or no.
//!
//! Whatever the file's own type (dictionary, large strings, views, decimals, any timestamp unit),
//! it is cast once per batch to one canonical array.

use crate::config::EpochUnit;
use crate::source::TableFile;
use crate::{DataError, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, LargeStringArray, RecordBatch, TimestampMillisecondArray};
use arrow_schema::{DataType, TimeUnit};
use std::fmt::Write;

fn wrong(file: &TableFile, column: &str, found: &DataType, expected: &str) -> DataError {
    DataError::WrongType {
        path: file.path().to_path_buf(),
        column: column.into(),
        found: found.to_string(),
        expected: expected.into(),
    }
}

fn cast(file: &TableFile, column: &str, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    arrow_cast::cast(array, to)
        .map_err(|error| DataError::Unreadable { path: file.path().to_path_buf(), detail: format!("column '{column}': {error}") })
}

/// The value type behind a dictionary.
fn plain(kind: &DataType) -> &DataType {
    match kind {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(
        plain(kind),
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

/// Ids and texts: strings as they are, integers in decimal, whole floats as integers.
pub(crate) enum Texts {
    Same(String),
    Text(LargeStringArray),
    Int(Int64Array),
    Float(Float64Array),
}

impl Texts {
    /// The column of this batch, or the file's partition value.
    pub(crate) fn of(file: &TableFile, batch: &RecordBatch, column: &str) -> Result<Self> {
        let Some(array) = batch.column_by_name(column) else {
            return Ok(Texts::Same(file.partition(column).unwrap_or_default().into()));
        };
        let kind = array.data_type();
        Ok(match plain(kind) {
            _ if is_text(kind) => Texts::Text(cast(file, column, array, &DataType::LargeUtf8)?.as_string::<i64>().clone()),
            DataType::UInt64 | DataType::Decimal128(..) | DataType::Boolean => {
                Texts::Text(cast(file, column, array, &DataType::LargeUtf8)?.as_string::<i64>().clone())
            }
            whole if whole.is_integer() => {
                Texts::Int(cast(file, column, array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            float if float.is_floating() => {
                Texts::Float(cast(file, column, array, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            DataType::Null => Texts::Int(Int64Array::new_null(array.len())),
            other => return Err(wrong(file, column, other, "strings or integers")),
        })
    }

    /// The text at `row`, written into `buffer`; `None` for null and empty.
    pub(crate) fn at<'a>(&'a self, row: usize, buffer: &'a mut String) -> Option<&'a str> {
        buffer.clear();
        match self {
            Texts::Same(text) => Some(text.as_str()),
            Texts::Text(array) if array.is_valid(row) => Some(array.value(row)),
            Texts::Int(array) if array.is_valid(row) => {
                buffer.push_str(itoa::Buffer::new().format(array.value(row)));
                Some(buffer.as_str())
            }
            Texts::Float(array) if array.is_valid(row) && !array.value(row).is_nan() => {
                let _ = write!(buffer, "{}", array.value(row));
                Some(buffer.as_str())
            }
            _ => None,
        }
        .filter(|text| !text.is_empty())
    }
}

/// Numbers as f64; null is NaN with `is_null` true.
pub(crate) struct Numbers(Float64Array);

impl Numbers {
    pub(crate) fn of(file: &TableFile, batch: &RecordBatch, column: &str) -> Result<Self> {
        let Some(array) = batch.column_by_name(column) else {
            let value = file.partition(column).and_then(|text| text.parse::<f64>().ok());
            return Ok(Numbers(Float64Array::from(vec![value; batch.num_rows()])));
        };
        let kind = plain(array.data_type());
        if !(kind.is_numeric() || kind == &DataType::Null) {
            return Err(wrong(file, column, kind, "numbers"));
        }
        Ok(Numbers(cast(file, column, array, &DataType::Float64)?.as_primitive::<Float64Type>().clone()))
    }

    pub(crate) fn at(&self, row: usize) -> Option<f64> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

/// Moments in milliseconds since 1970-01-01 UTC.
pub(crate) enum Moments {
    Stamp(TimestampMillisecondArray),
    Epoch(Float64Array, f64),
}

impl Moments {
    pub(crate) fn of(file: &TableFile, batch: &RecordBatch, column: &str, unit: Option<EpochUnit>) -> Result<Self> {
        let Some(array) = batch.column_by_name(column) else {
            let day = file.partition(column).and_then(crate::split::parse_day);
            return Ok(Moments::Stamp(TimestampMillisecondArray::from(vec![day; batch.num_rows()])));
        };
        let kind = plain(array.data_type());
        match kind {
            DataType::Timestamp(_, zone) => {
                let to = DataType::Timestamp(TimeUnit::Millisecond, zone.clone());
                Ok(Moments::Stamp(cast(file, column, array, &to)?.as_primitive::<TimestampMillisecondType>().clone()))
            }
            DataType::Date32 | DataType::Date64 => {
                let to = DataType::Timestamp(TimeUnit::Millisecond, None);
                Ok(Moments::Stamp(cast(file, column, array, &to)?.as_primitive::<TimestampMillisecondType>().clone()))
            }
            DataType::Null => Ok(Moments::Stamp(TimestampMillisecondArray::new_null(array.len()))),
            number if number.is_integer() || number.is_floating() => {
                let Some(unit) = unit else {
                    let expected = "a timestamp, or an integer whose unit the config declares: [columns] timestamp_unit = \"s\" (or ms, us, ns)";
                    return Err(wrong(file, column, number, expected));
                };
                let millis = match unit {
                    EpochUnit::Seconds => 1e3,
                    EpochUnit::Millis => 1.0,
                    EpochUnit::Micros => 1e-3,
                    EpochUnit::Nanos => 1e-6,
                };
                let array = cast(file, column, array, &DataType::Float64)?.as_primitive::<Float64Type>().clone();
                Ok(Moments::Epoch(array, millis))
            }
            other => Err(wrong(file, column, other, "a timestamp, a date, or an integer with [columns] timestamp_unit")),
        }
    }

    /// `None` for null and for what no clock could have shown.
    pub(crate) fn at(&self, row: usize) -> Option<i64> {
        match self {
            Moments::Stamp(array) => array.is_valid(row).then(|| array.value(row)),
            Moments::Epoch(array, millis) => {
                let value = array.is_valid(row).then(|| array.value(row) * millis)?;
                (value.is_finite() && value.abs() < 1e15).then_some(value as i64)
            }
        }
    }
}

/// Yes or no; null is yes (an item is for sale unless somebody says otherwise).
pub(crate) fn flags(file: &TableFile, batch: &RecordBatch, column: &str) -> Result<Vec<bool>> {
    let texts = Texts::of(file, batch, column)?;
    let mut buffer = String::new();
    (0..batch.num_rows())
        .map(|row| match texts.at(row, &mut buffer).map(str::to_lowercase).as_deref() {
            None | Some("true" | "1" | "yes" | "y" | "t" | "in_stock" | "in stock" | "available") => Ok(true),
            Some("false" | "0" | "no" | "n" | "f" | "out_of_stock" | "out of stock" | "unavailable") => Ok(false),
            Some(other) => Err(DataError::WrongType {
                path: file.path().to_path_buf(),
                column: column.into(),
                found: format!("the value '{other}'"),
                expected: "a boolean, 0 or 1, yes or no, in_stock or out_of_stock".into(),
            }),
        })
        .collect()
}

/// Texts of a list column, row by row; null is an empty list.
pub(crate) fn lists(file: &TableFile, batch: &RecordBatch, column: &str) -> Result<Vec<Vec<String>>> {
    match list_column(file, batch, column)? {
        Some(lists) => Ok(lists.into_iter().map(Option::unwrap_or_default).collect()),
        None => {
            let found = batch.column_by_name(column).map_or(&DataType::Null, |array| array.data_type());
            Err(wrong(file, column, found, "a list of ids"))
        }
    }
}

/// The rows of a list column; `None` if it is none.
fn list_column(file: &TableFile, batch: &RecordBatch, column: &str) -> Result<Option<Vec<Option<Vec<String>>>>> {
    let Some(array) = batch.column_by_name(column) else { return Ok(None) };
    let (DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::ListView(_)) = array.data_type()
    else {
        return Ok(None);
    };
    let text = std::sync::Arc::new(arrow_schema::Field::new("item", DataType::LargeUtf8, true));
    let lists = cast(file, column, array, &DataType::LargeList(text))?;
    let lists = lists.as_list::<i64>();
    let texts = |row: usize| lists.value(row).as_string::<i64>().iter().flatten().map(str::to_string).collect();
    Ok(Some((0..batch.num_rows()).map(|row| lists.is_valid(row).then(|| texts(row))).collect()))
}

/// Category paths of a batch: a string `A > B > C`, or a list of levels.
pub(crate) fn paths(file: &TableFile, batch: &RecordBatch, column: &str) -> Result<Vec<Option<String>>> {
    if let Some(lists) = list_column(file, batch, column)? {
        let path = |levels: Vec<String>| {
            let levels: Vec<&str> = levels.iter().map(|level| level.trim()).filter(|level| !level.is_empty()).collect();
            (!levels.is_empty()).then(|| levels.join(" > "))
        };
        return Ok(lists.into_iter().map(|levels| levels.and_then(path)).collect());
    }
    let texts = Texts::of(file, batch, column)?;
    let mut buffer = String::new();
    Ok((0..batch.num_rows()).map(|row| texts.at(row, &mut buffer).map(str::to_string)).collect())
}

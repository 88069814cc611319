//! Columns of a users or items file as texts, read with the checks of [`Source`]: for questions
//! about ids that need no log.

use aisle_data::{DataError, Result, Source};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

/// The names of a file's columns.
pub(super) fn names(path: &str) -> Result<Vec<String>> {
    Ok(Source::find(path)?.open()?.column_names())
}

/// Some columns of a file, row by row; a null is `None`. The caller checks that the file has them.
pub(super) fn read(path: &str, columns: &[&str]) -> Result<Vec<Vec<Option<String>>>> {
    let mut read: Vec<Vec<Option<String>>> = vec![Vec::new(); columns.len()];
    for file in Source::find(path)?.open()?.files() {
        file.scan(columns, |batch, _| {
            for (texts, &column) in read.iter_mut().zip(columns) {
                match batch.column_by_name(column) {
                    None => texts.extend(vec![
                        file.partition(column).map(str::to_string);
                        batch.num_rows()
                    ]),
                    Some(array) => {
                        texts.extend(texts_of(array).ok_or_else(|| DataError::WrongType {
                            path: file.path().to_path_buf(),
                            column: column.into(),
                            found: array.data_type().to_string(),
                            expected: "texts, numbers or booleans".into(),
                        })?)
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(read)
}

/// An array as texts: texts as they are, whole numbers in decimal, booleans as true and false;
/// `None` for a type that is no id.
fn texts_of(array: &ArrayRef) -> Option<Vec<Option<String>>> {
    macro_rules! shown {
        ($values:expr) => {
            $values
                .iter()
                .map(|value| value.map(|value| value.to_string()))
                .collect()
        };
    }
    Some(match array.data_type() {
        DataType::Utf8 => shown!(array.as_string::<i32>()),
        DataType::LargeUtf8 => shown!(array.as_string::<i64>()),
        DataType::Utf8View => shown!(array.as_string_view()),
        DataType::Boolean => shown!(array.as_boolean()),
        DataType::Int8 => shown!(array.as_primitive::<Int8Type>()),
        DataType::Int16 => shown!(array.as_primitive::<Int16Type>()),
        DataType::Int32 => shown!(array.as_primitive::<Int32Type>()),
        DataType::Int64 => shown!(array.as_primitive::<Int64Type>()),
        DataType::UInt8 => shown!(array.as_primitive::<UInt8Type>()),
        DataType::UInt16 => shown!(array.as_primitive::<UInt16Type>()),
        DataType::UInt32 => shown!(array.as_primitive::<UInt32Type>()),
        DataType::UInt64 => shown!(array.as_primitive::<UInt64Type>()),
        // A whole float is shown without a point, as everywhere an id is read.
        DataType::Float32 => shown!(array.as_primitive::<Float32Type>()),
        DataType::Float64 => shown!(array.as_primitive::<Float64Type>()),
        DataType::Null => vec![None; array.len()],
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary_opt()?;
            let values = texts_of(dictionary.values())?;
            if values.is_empty() {
                return Some(vec![None; array.len()]);
            }
            let keys = dictionary.normalized_keys();
            (0..array.len())
                .map(|row| {
                    if array.is_null(row) {
                        None
                    } else {
                        values[keys[row]].clone()
                    }
                })
                .collect()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{
        BooleanArray, DictionaryArray, Float64Array, Int64Array, StringViewArray,
        TimestampSecondArray,
    };
    use std::sync::Arc;

    #[test]
    fn an_id_or_answer_is_the_same_text_in_every_type() {
        let texts = |array: ArrayRef| {
            texts_of(&array).map(|texts| {
                texts
                    .into_iter()
                    .map(Option::unwrap_or_default)
                    .collect::<Vec<_>>()
            })
        };
        let some = |expected: [&str; 3]| Some(expected.map(String::from).to_vec());
        assert_eq!(
            texts(Arc::new(Int64Array::from(vec![Some(7), None, Some(-1)]))),
            some(["7", "", "-1"])
        );
        assert_eq!(
            texts(Arc::new(Float64Array::from(vec![
                Some(7.0),
                None,
                Some(0.5)
            ]))),
            some(["7", "", "0.5"])
        );
        assert_eq!(
            texts(Arc::new(BooleanArray::from(vec![
                Some(true),
                None,
                Some(false)
            ]))),
            some(["true", "", "false"])
        );
        assert_eq!(
            texts(Arc::new(StringViewArray::from(vec![
                Some("yes"),
                None,
                Some("no")
            ]))),
            some(["yes", "", "no"])
        );
        let dictionary: DictionaryArray<Int32Type> =
            [Some("yes"), None, Some("yes")].into_iter().collect();
        assert_eq!(texts(Arc::new(dictionary)), some(["yes", "", "yes"]));
        let blank: DictionaryArray<Int32Type> = [None::<&str>; 3].into_iter().collect();
        assert_eq!(texts(Arc::new(blank)), some(["", "", ""]));
        assert_eq!(texts(Arc::new(TimestampSecondArray::from(vec![0]))), None);
    }
}

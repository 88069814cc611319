//! What is known of items and users, as rows of an embedding table.

use crate::error::{ModelError, Result};
use aisle_data::{Labels, category_levels};
use aisle_math::sparse::Csr;
use std::collections::BTreeMap;

/// Number of buckets of a numeric feature, each with as many different items.
const BUCKETS: usize = 10;

/// A column that describes items or users. Each of its values becomes a row of the table.
pub(super) enum Feature<'a> {
    /// Paths, of which each level is a value of its own, so that siblings share what their parent
    /// learned.
    Path(&'a Labels),
    /// Texts.
    Text(&'a Labels),
    /// Numbers, in ten buckets of equal size; NaN where unknown.
    Number(&'a [f32]),
}

impl Feature<'_> {
    /// Appends the values of one item or user, as texts.
    fn values(&self, borders: &[f32], row: u32, out: &mut Vec<String>) {
        match self {
            Feature::Path(labels) => {
                let levels = labels.get(row).into_iter().flat_map(category_levels);
                out.extend(levels.map(str::to_string));
            }
            Feature::Text(labels) => out.extend(labels.get(row).map(str::to_string)),
            Feature::Number(numbers) => {
                let number = numbers[row as usize];
                if number.is_finite() {
                    let bucket = borders.partition_point(|&border| border < number);
                    out.push(bucket.to_string());
                }
            }
        }
    }

    /// Returns the inner borders of the buckets of a number; none of other features.
    fn borders(&self) -> Vec<f32> {
        let Feature::Number(numbers) = self else {
            return Vec::new();
        };
        let mut known: Vec<f32> = numbers
            .iter()
            .copied()
            .filter(|number| number.is_finite())
            .collect();
        known.sort_unstable_by(f32::total_cmp);
        let mut borders: Vec<f32> = (1..BUCKETS)
            .filter_map(|bucket| known.get(known.len() * bucket / BUCKETS).copied())
            .collect();
        borders.dedup();
        borders
    }
}

/// For each item (or user) the rows of the embedding table that describe it: its own row, if there
/// is one, then one for each value of its features.
pub(super) struct FeatureBags {
    /// One row for each item; all values are 1.
    pub bags: Csr,
    /// Number of rows of the table.
    pub table_rows: usize,
}

impl FeatureBags {
    /// Numbers the rows of a table for `count` items that each have a row of their own.
    pub fn with_own_rows(count: usize, features: &[Feature]) -> Self {
        let own_rows = (0..count as u32).map(Some);
        Self::of(own_rows, count, features)
    }

    /// Numbers the rows of a table for `count` items that are described by their features alone.
    pub fn of_features(count: usize, features: &[Feature]) -> Self {
        Self::of(std::iter::repeat_n(None, count), 0, features)
    }

    /// Adds to the `first_rows` rows of the table one for each value of the features. `own_rows`
    /// gives the own row of each item.
    fn of(
        own_rows: impl Iterator<Item = Option<u32>>,
        first_rows: usize,
        features: &[Feature],
    ) -> Self {
        let borders: Vec<Vec<f32>> = features.iter().map(Feature::borders).collect();
        let mut row_of_value: BTreeMap<(usize, String), u32> = BTreeMap::new();
        let mut table_rows = first_rows;
        let mut bags = Csr {
            offsets: vec![0],
            ..Csr::default()
        };
        let mut values = Vec::new();
        for (item, own_row) in (0..).zip(own_rows) {
            bags.indices.extend(own_row);
            for (number, (feature, borders)) in features.iter().zip(&borders).enumerate() {
                feature.values(borders, item, &mut values);
                for value in values.drain(..) {
                    let row = *row_of_value.entry((number, value)).or_insert_with(|| {
                        table_rows += 1;
                        table_rows as u32 - 1
                    });
                    bags.indices.push(row);
                }
            }
            bags.offsets.push(bags.indices.len());
        }
        bags.values = vec![1.0; bags.indices.len()];
        Self { bags, table_rows }
    }
}

/// Returns the features that a setting names, in its order.
///
/// # Errors
/// [`ModelError::Hyperparameter`] for a name that is not `known` or appears twice.
pub(super) fn select_features<'a>(
    setting: &str,
    names: &[String],
    known: Vec<(&str, Feature<'a>)>,
) -> Result<Vec<Feature<'a>>> {
    let known_names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let listed = known_names.join(", ");
    let mut known: BTreeMap<&str, Feature> = known.into_iter().collect();
    let take = |name: &String| {
        known
            .remove(name.as_str())
            .ok_or_else(|| ModelError::Hyperparameter {
                name: setting.into(),
                found: format!("'{name}'"),
                expected: if listed.is_empty() {
                    "none: nothing is known of them".into()
                } else {
                    format!("some of: {listed}, each at most once")
                },
            })
    };
    names.iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Labels {
        let mut paths = Labels::default();
        [Some("a > b"), Some("a > c"), None]
            .into_iter()
            .for_each(|path| paths.push(path));
        paths
    }

    #[test]
    fn every_level_of_a_path_is_a_row() {
        let paths = paths();
        let made = FeatureBags::with_own_rows(3, &[Feature::Path(&paths)]);
        let rows = |item: usize| made.bags.columns(item);
        assert_eq!((rows(0).len(), rows(1).len(), rows(2)), (3, 3, &[2u32][..]));
        assert_eq!(rows(0)[1], rows(1)[1], "the shared parent");
        assert!(rows(0)[2] != rows(1)[2]);
        assert_eq!(made.table_rows, 3 + 3);
    }

    #[test]
    fn every_bucket_of_a_number_is_a_row() {
        let prices = [1.0, 100.0, f32::NAN];
        let made = FeatureBags::with_own_rows(3, &[Feature::Number(&prices)]);
        let rows = |item: usize| made.bags.columns(item);
        assert_eq!((rows(0).len(), rows(1).len(), rows(2)), (2, 2, &[2u32][..]));
        assert!(rows(0)[1] != rows(1)[1]);
        assert_eq!(made.table_rows, 3 + 2);
    }

    #[test]
    fn rows_of_different_features_differ() {
        let paths = paths();
        let prices = [1.0, 100.0, f32::NAN];
        let features = [Feature::Path(&paths), Feature::Number(&prices)];
        let made = FeatureBags::with_own_rows(3, &features);
        let rows = |item: usize| made.bags.columns(item);
        assert_eq!((rows(0).len(), rows(1).len(), rows(2)), (4, 4, &[2u32][..]));
        assert!(rows(0)[3] != rows(1)[3]);
        assert_eq!(made.table_rows, 3 + 3 + 2);
    }
}

//! The content of the items as a sparse matrix of binary features.

use aisle_data::{Catalog, category_levels};
use aisle_math::sparse::Csr;
use std::collections::BTreeMap;

/// Fewest priced items of a category whose prices are divided into quantiles.
const MIN_PRICED_ITEMS: usize = 20;
/// Price quantiles of a category.
const QUANTILES: usize = 5;
/// Length of a word stem, in characters.
const STEM_LENGTH: usize = 5;

/// The kinds of features. Features of different kinds are different, even of the same text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FeatureKind {
    /// A prefix of the category path.
    Category,
    Brand,
    /// Brand and category path together.
    BrandInCategory,
    TitleWord,
    /// The first letters of a longer word of the title.
    TitleStem,
    /// A price quantile within a category.
    PriceQuantile,
    /// A value of the catalogue's attribute with this number.
    Attribute(usize),
}

/// For each feature the items that have it, ascending.
#[derive(Default)]
struct ItemsByFeature(BTreeMap<(FeatureKind, String), Vec<u32>>);

impl ItemsByFeature {
    /// Notes that an item has a feature. Items come in ascending order.
    fn add(&mut self, kind: FeatureKind, text: String, item: u32) {
        let items = self.0.entry((kind, text)).or_default();
        if items.last() != Some(&item) {
            items.push(item);
        }
    }
}

/// The features of each item: an items × features matrix of ones. Features of a single item, of all
/// items, or of no item with events teach nothing and are left out.
pub struct ContentFeatures {
    matrix: Csr,
    count: usize,
}

impl ContentFeatures {
    /// Reads the features of a catalogue. `attributes` names the further columns to use, and
    /// `known` says whether an item has events. O(text of the catalogue).
    pub fn of(catalog: &Catalog, attributes: &[String], known: impl Fn(u32) -> bool) -> Self {
        let mut items_by_feature = ItemsByFeature::default();
        let quantiles = price_quantiles(catalog);
        for item in 0..catalog.len() as u32 {
            add_features(catalog, attributes, item, &mut items_by_feature);
            if let Some((path, quantile)) = &quantiles[item as usize] {
                let text = format!("{path} > {quantile}");
                items_by_feature.add(FeatureKind::PriceQuantile, text, item);
            }
        }
        let mut triples = Vec::new();
        let mut count = 0;
        for items in items_by_feature.0.into_values() {
            if items.len() > 1
                && items.len() < catalog.len()
                && items.iter().any(|&item| known(item))
            {
                triples.extend(items.into_iter().map(|item| (item, count, 1.0)));
                count += 1;
            }
        }
        Self {
            matrix: Csr::from_triples(catalog.len(), triples),
            count: count as usize,
        }
    }

    /// Returns the numbers of an item's features, ascending.
    pub fn item(&self, item: u32) -> &[u32] {
        self.matrix.columns(item as usize)
    }

    /// Returns the number of items.
    pub(super) fn items(&self) -> usize {
        self.matrix.rows()
    }

    /// Returns the number of features.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns whether there are no features at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Adds all features of an item but its price quantile.
fn add_features(
    catalog: &Catalog,
    attributes: &[String],
    item: u32,
    features: &mut ItemsByFeature,
) {
    let path = catalog.category.get(item);
    for level in path.into_iter().flat_map(category_levels) {
        features.add(FeatureKind::Category, level.into(), item);
    }
    if let Some(brand) = catalog.brand.get(item) {
        features.add(FeatureKind::Brand, brand.into(), item);
        if let Some(path) = path {
            let text = format!("{brand} > {path}");
            features.add(FeatureKind::BrandInCategory, text, item);
        }
    }
    for word in catalog.title.get(item).into_iter().flat_map(words) {
        let stem: String = word.chars().take(STEM_LENGTH).collect();
        if stem.len() < word.len() {
            features.add(FeatureKind::TitleStem, stem, item);
        }
        features.add(FeatureKind::TitleWord, word, item);
    }
    for (number, (name, labels)) in catalog.attributes.iter().enumerate() {
        let text = labels.get(item).filter(|_| attributes.contains(name));
        if let Some(text) = text {
            features.add(FeatureKind::Attribute(number), text.into(), item);
        }
    }
}

/// Returns the words of a title of two characters or more, in lower case.
fn words(title: &str) -> impl Iterator<Item = String> + '_ {
    title
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().count() > 1)
        .map(str::to_lowercase)
}

/// Returns, for each priced item, the deepest of its categories with enough prices (the empty path
/// stands for the whole catalogue), and the quantile of the item's price among them.
fn price_quantiles(catalog: &Catalog) -> Vec<Option<(String, usize)>> {
    let paths_upwards = |item: u32| {
        let path = catalog.category.get(item).unwrap_or_default();
        category_levels(path).rev().chain([""])
    };
    let mut prices: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    let is_priced = |item: &u32| catalog.price[*item as usize].is_finite();
    for item in (0..catalog.len() as u32).filter(is_priced) {
        for path in paths_upwards(item) {
            let price = catalog.price[item as usize];
            prices.entry(path).or_default().push(price);
        }
    }
    prices
        .values_mut()
        .for_each(|prices| prices.sort_by(f32::total_cmp));
    let quantile = |item: u32| {
        let (path, prices) = paths_upwards(item)
            .filter_map(|path| Some((path, prices.get(path)?)))
            .find(|(_, prices)| prices.len() >= MIN_PRICED_ITEMS)?;
        let lower = prices.partition_point(|&price| price < catalog.price[item as usize]);
        Some((path.to_string(), lower * QUANTILES / prices.len()))
    };
    (0..catalog.len() as u32)
        .map(|item| is_priced(&item).then(|| quantile(item)).flatten())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::NewItem;

    fn catalog(items: &[(&str, Option<f32>)]) -> Catalog {
        let mut catalog = Catalog::unknown(0);
        for &(category, price) in items {
            let item = NewItem {
                category: Some(category.into()),
                ..NewItem::default()
            };
            catalog.push(&item, price);
        }
        catalog
    }

    #[test]
    fn items_of_sibling_categories_share_the_feature_of_their_parent() {
        let catalog = catalog(&[("A > B", None), ("A > C", None), ("D", None)]);
        let features = ContentFeatures::of(&catalog, &[], |_| true);
        assert_eq!(features.item(0), [0]);
        assert_eq!(features.item(0), features.item(1));
    }

    #[test]
    fn a_feature_of_no_item_with_events_is_left_out() {
        let catalog = catalog(&[("A", None), ("A", None), ("B", None)]);
        assert!(ContentFeatures::of(&catalog, &[], |item| item == 2).is_empty());
    }

    #[test]
    fn prices_are_divided_within_the_deepest_category_with_enough_of_them() {
        let mut items = vec![("A > B", Some(1.0)); 19];
        items.push(("A > C", Some(2.0)));
        let quantiles = price_quantiles(&catalog(&items));
        assert_eq!(quantiles[0], Some(("A".to_string(), 0)));
        assert_eq!(quantiles[19], Some(("A".to_string(), 4)));
    }
}

//! Indexes over a catalogue: which items a filter keeps, which groups an item is in, and which
//! quantities its title states.
//!
//! In: a [`Catalog`]. Out: [`CatalogIndexes`], made once and shared by all versions with the same
//! catalogue. Nothing here knows a shopper. A new kind of filter is a set in `facets.rs`; a new
//! kind of group is a place in the arrays of `item_groups.rs`.

pub(crate) mod facets;
pub(crate) mod item_groups;
pub(crate) mod title_quantities;

use aisle_data::Catalog;
use aisle_retrieval::bitmap::Bitmap;
use facets::Facets;
use item_groups::ItemGroups;
use std::collections::BTreeMap;
use title_quantities::TitleQuantities;

/// The indexes of a catalogue.
#[derive(Default)]
pub struct CatalogIndexes {
    /// The items of each category, price range and currency.
    pub(crate) facets: Facets,
    /// The groups of each item.
    pub(crate) groups: ItemGroups,
    /// The quantities that titles state.
    pub(crate) quantities: TitleQuantities,
    /// For each item the median price of its category path; NaN where nothing of the path is
    /// priced.
    pub(crate) median_prices: Vec<f32>,
    /// Levels of a path that make a category for cross-selling; 0 = the whole path.
    category_levels: usize,
}

impl CatalogIndexes {
    /// The indexes of a catalogue. The first `category_levels` levels of a path make a category for
    /// cross-selling; 0 = the whole path. O(items · log items).
    pub fn of(catalog: &Catalog, category_levels: usize) -> Self {
        let groups = ItemGroups::of(catalog, category_levels);
        Self {
            facets: Facets::of(catalog),
            quantities: TitleQuantities::of(catalog),
            median_prices: median_prices(catalog, &groups),
            groups,
            category_levels,
        }
    }

    /// Levels of a path that make a category for cross-selling; 0 = the whole path.
    pub fn category_levels(&self) -> usize {
        self.category_levels
    }

    /// The items of a category path and of those below it, ascending; empty for an unknown path.
    pub fn in_category(&self, path: &str) -> &[u32] {
        self.facets.category(path).unwrap_or(&[])
    }

    /// Whether an item is in a category path or below it.
    pub fn has_category(&self, path: &str) -> bool {
        self.facets.category(path).is_some()
    }

    /// Removes the items of an item's category, as cross-selling sees it, from a set.
    pub(crate) fn remove_category_of(&self, item: u32, catalog: &Catalog, allowed: &mut Bitmap) {
        if let Some(category) = catalog.category_at(item, self.category_levels) {
            self.facets.drop_category(category, allowed);
        }
    }
}

/// For each item the median price of its category path, of two prices in the middle the higher one;
/// NaN where nothing of the path is priced.
fn median_prices(catalog: &Catalog, groups: &ItemGroups) -> Vec<f32> {
    let mut priced: Vec<(u32, f32)> = (0..catalog.len() as u32)
        .map(|item| (groups.path_of(item), catalog.price[item as usize]))
        .filter(|pair| !pair.1.is_nan())
        .collect();
    priced.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let medians: BTreeMap<u32, f32> = priced
        .chunk_by(|a, b| a.0 == b.0)
        .map(|of_path| (of_path[0].0, of_path[of_path.len() / 2].1))
        .collect();
    (0..catalog.len() as u32)
        .map(|item| {
            medians
                .get(&groups.path_of(item))
                .copied()
                .unwrap_or(f32::NAN)
        })
        .collect()
}

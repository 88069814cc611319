//! Groups of items: by category path, by category as cross-selling sees it, by brand, and by path
//! and brand together.

use aisle_data::{Catalog, NONE};

/// How many kinds of groups there are: whole category path, category as cross-selling sees it,
/// brand, and whole path and brand together, in this order.
pub(crate) const GROUP_KINDS: usize = 4;

/// The groups that each item belongs to, as numbers: items of one group have the same number, and
/// an item without a group of that kind has [`NONE`].
#[derive(Default)]
pub struct ItemGroups {
    /// For each item its group of each kind.
    pub(crate) of_item: Vec<[u32; GROUP_KINDS]>,
    /// For each kind one more than its largest group number.
    pub(crate) counts: [usize; GROUP_KINDS],
}

impl ItemGroups {
    /// The groups of a catalogue. Cross-selling sees the first `category_levels` levels of a path
    /// as the category; 0 = the whole path. O(items · log items).
    pub fn of(catalog: &Catalog, category_levels: usize) -> Self {
        let paths = catalog.category_codes(0);
        let categories = catalog.category_codes(category_levels);
        let brands: Vec<u32> = (0..catalog.len() as u32)
            .map(|item| catalog.brand.code(item))
            .collect();
        let mut paths_with_brands: Vec<(u32, u32)> =
            paths.iter().copied().zip(brands.iter().copied()).collect();
        paths_with_brands.sort_unstable();
        paths_with_brands.dedup();
        let path_and_brand = |item: usize| {
            paths_with_brands
                .binary_search(&(paths[item], brands[item]))
                .map_or(NONE, |at| at as u32)
        };
        let of_item: Vec<[u32; GROUP_KINDS]> = (0..catalog.len())
            .map(|item| {
                [
                    paths[item],
                    categories[item],
                    brands[item],
                    path_and_brand(item),
                ]
            })
            .collect();
        let largest = |kind: usize| {
            of_item
                .iter()
                .map(|groups| groups[kind])
                .filter(|&group| group != NONE)
                .max()
        };
        let counts =
            std::array::from_fn(|kind| largest(kind).map_or(0, |group| group as usize + 1));
        Self { of_item, counts }
    }

    /// The number of an item's whole category path; [`NONE`] = it has none.
    pub fn path_of(&self, item: u32) -> u32 {
        self.of_item[item as usize][0]
    }

    /// The number of an item's category as cross-selling sees it; [`NONE`] = it has none.
    pub fn category_of(&self, item: u32) -> u32 {
        self.of_item[item as usize][1]
    }
}

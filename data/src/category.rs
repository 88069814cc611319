//! Category paths, `A > B > C` from coarse to fine.

/// Separates the levels of a path.
pub(crate) const SEPARATOR: &str = " > ";

/// The number of levels of a path; 0 for an empty path.
pub fn category_depth(path: &str) -> usize {
    if path.is_empty() {
        0
    } else {
        path.matches(SEPARATOR).count() + 1
    }
}

/// The first `levels` levels of a path; 0 = all of it.
pub fn category_prefix(path: &str, levels: usize) -> &str {
    if levels == 0 {
        return path;
    }
    match path.match_indices(SEPARATOR).nth(levels - 1) {
        Some((end, _)) => &path[..end],
        None => path,
    }
}

/// The prefixes of a path, the coarsest first and the path itself last; an empty path has none.
pub fn category_levels(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    (1..=category_depth(path)).map(move |level| category_prefix(path, level))
}

/// A path with exactly one space around each `>` and without empty levels.
pub fn normalize_path(path: &str) -> String {
    let levels: Vec<&str> = path
        .split('>')
        .map(str::trim)
        .filter(|level| !level.is_empty())
        .collect();
    levels.join(SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_from_its_coarse_end() {
        assert_eq!(category_prefix("A > B > C", 0), "A > B > C");
        assert_eq!(category_prefix("A > B > C", 1), "A");
        assert_eq!(category_prefix("A > B > C", 2), "A > B");
        assert_eq!(category_prefix("A", 3), "A");
        assert_eq!(normalize_path(" A>B >  C "), "A > B > C");
    }

    #[test]
    fn levels_go_from_coarse_to_fine() {
        assert_eq!(
            category_levels("A > B > C").collect::<Vec<_>>(),
            ["A", "A > B", "A > B > C"]
        );
        assert_eq!(category_levels("").count(), 0);
        assert_eq!(
            (
                category_depth(""),
                category_depth("A"),
                category_depth("A > B")
            ),
            (0, 1, 2)
        );
    }
}

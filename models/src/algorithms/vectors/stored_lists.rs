//! The inverted lists of item vectors as arrays of a version.

use crate::error::Result;
use crate::weights::{Tensor, Weights};
use aisle_retrieval::inverted_lists::InvertedLists;

/// Takes the inverted lists of `items` vectors out of a version; `None` if it stores none.
///
/// # Errors
/// [`crate::ModelError::Damaged`] if they are not what [`list_tensors`] would have written.
pub(crate) fn load_lists(
    items: usize,
    depth: usize,
    weights: &mut Weights,
) -> Result<Option<InvertedLists>> {
    if !weights.has("lists.probes") {
        return Ok(None);
    }
    let (centroids, _) = weights.some_matrix("lists.centroids", depth)?;
    let probes = weights.numbers("lists.probes", 1)?;
    // Items that came after the fit are in the first list until they have a vector.
    let list_of_item = weights.rows("lists.items", items, centroids.len() / depth.max(1))?;
    match InvertedLists::from_parts(depth, centroids, list_of_item, probes) {
        Ok(lists) => Ok(Some(lists)),
        Err(error) => Err(weights.damaged(
            &format!("lists.{}", error.part),
            error.found,
            error.expected,
        )),
    }
}

/// Returns the arrays that [`load_lists`] reads.
pub(super) fn list_tensors(lists: &InvertedLists) -> [Tensor<'_>; 3] {
    let depth = lists.centroids().len() / lists.len();
    [
        Tensor::f32("lists.centroids", &[lists.len(), depth], lists.centroids()),
        Tensor::u32("lists.items", lists.items()),
        Tensor::u64("lists.probes", lists.stored_probes()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::random::normal_matrix;
    use crate::weights;
    use aisle_math::kernels::dot;
    use aisle_retrieval::exact::Exact;
    use aisle_retrieval::index::SearchBuffer;
    use std::path::Path;

    const ITEMS: usize = 10_000;
    const DEPTH: usize = 8;

    /// Vectors of length 1 around the axes.
    fn unit_vectors(rows: usize, seed: u64) -> Vec<f32> {
        let mut values = normal_matrix((rows, DEPTH), 0.3, seed);
        for (row, vector) in values.chunks_mut(DEPTH).enumerate() {
            vector[row % DEPTH] += 1.0;
            let length = dot(vector, vector).sqrt();
            vector.iter_mut().for_each(|value| *value /= length);
        }
        values
    }

    fn queries() -> Vec<f32> {
        unit_vectors(200, 2)
    }

    fn lists() -> InvertedLists {
        let exact = Exact::new(unit_vectors(ITEMS, 1).into(), DEPTH);
        let queries = queries();
        let queries: Vec<&[f32]> = queries.chunks(DEPTH).collect();
        InvertedLists::of(&exact, &queries).unwrap().0
    }

    /// What a version says whose centroids and probes were changed.
    fn refusal(lists: &InvertedLists, centroids: &[f32], probes: &[u64]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let tensors = vec![
            Tensor::f32("lists.centroids", &[lists.len(), DEPTH], centroids),
            Tensor::u32("lists.items", lists.items()),
            Tensor::u64("lists.probes", probes),
        ];
        weights::write(&path, tensors).unwrap();
        let mut written = Weights::open(&path).unwrap();
        load_lists(ITEMS, DEPTH, &mut written)
            .err()
            .unwrap()
            .to_string()
    }

    /// Writes lists and reads them as those of two more items.
    fn reread(path: &Path, lists: &InvertedLists) -> InvertedLists {
        weights::write(path, list_tensors(lists).into()).unwrap();
        let mut written = Weights::open(path).unwrap().grow(ITEMS, ITEMS + 2);
        let read = load_lists(ITEMS + 2, DEPTH, &mut written).unwrap().unwrap();
        written.finish().unwrap();
        read
    }

    #[test]
    fn lists_come_back_from_a_version() {
        let (lists, queries) = (lists(), queries());
        let folder = tempfile::tempdir().unwrap();
        let read = reread(&folder.path().join("weights.safetensors"), &lists);
        assert_eq!(read.items()[..ITEMS], *lists.items());
        let mut found = [SearchBuffer::default(), SearchBuffer::default()];
        for (lists, found) in [&lists, &read].into_iter().zip(&mut found) {
            lists.nearest_lists(
                &queries[..DEPTH],
                lists.probes(20, ITEMS - 3, ITEMS - 3),
                found,
            );
        }
        assert!(found[0].items == found[1].items && found[0].items.len() == lists.min_probes());
    }

    #[test]
    fn items_that_came_after_the_fit_are_in_the_first_list() {
        let folder = tempfile::tempdir().unwrap();
        let read = reread(&folder.path().join("weights.safetensors"), &lists());
        assert_eq!(read.items()[ITEMS..], [0, 0]);
    }

    #[test]
    fn a_centroid_that_is_not_of_length_1_is_refused() {
        let lists = lists();
        let mut centroids = lists.centroids().to_vec();
        centroids[3] = 1e38;
        let text = refusal(&lists, &centroids, lists.stored_probes());
        assert!(
            text.contains("lists.centroids") && text.contains("vectors of length 1"),
            "{text}"
        );
    }

    #[test]
    fn more_probes_than_lists_are_refused() {
        let lists = lists();
        let text = refusal(&lists, lists.centroids(), &[lists.len() as u64 + 1]);
        assert!(
            text.contains("lists.probes") && text.contains(&format!("1 to {}", lists.len())),
            "{text}"
        );
    }
}

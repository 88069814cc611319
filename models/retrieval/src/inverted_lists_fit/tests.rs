use super::*;
use aisle_math::random::SplitMix;

const ITEMS: usize = 20_000;
const DEPTH: usize = 16;

/// Vectors of length 1 around some directions, or around none.
fn vectors_around(count: usize, depth: usize, directions: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix(7);
    let centres: Vec<f64> = (0..directions.max(1) * depth)
        .map(|_| f64::from(random.normal()))
        .collect();
    let mut random = SplitMix(seed);
    let around = |at: usize, random: &mut SplitMix| -> Vec<f64> {
        let centre = at * 31 % directions.max(1) * depth;
        let weight = if directions == 0 { 0.0 } else { 1.0 };
        (0..depth)
            .map(|d| weight * centres[centre + d] + 0.5 * f64::from(random.normal()))
            .collect()
    };
    (0..count)
        .flat_map(|at| unit(around(at, &mut random).into_iter()))
        .collect()
}

/// An index of vectors in clusters, of which one in five has no vector, and queries like them.
struct Clusters {
    exact: Exact,
    queries: Vec<f32>,
}

impl Clusters {
    fn new() -> Self {
        let mut vectors = vectors_around(ITEMS, DEPTH, 90, 1);
        vectors
            .chunks_mut(DEPTH)
            .step_by(5)
            .for_each(|vector| vector.fill(0.0));
        Self {
            exact: Exact::new(vectors.into(), DEPTH),
            queries: vectors_around(400, DEPTH, 90, 2),
        }
    }

    fn queries(&self) -> Vec<&[f32]> {
        self.queries.chunks(DEPTH).collect()
    }

    fn fit(&self) -> (InvertedLists, Retrieval) {
        InvertedLists::of(&self.exact, &self.queries()).unwrap()
    }

    /// The index with its lists.
    fn listed(&self) -> (Exact, Retrieval) {
        let (lists, retrieval) = self.fit();
        let rows = self.exact.rows().to_vec();
        let listed = Exact::with_lists(rows.into(), DEPTH, Some(lists));
        (listed, retrieval)
    }

    /// The share of the `k` best that the index with lists finds for the queries that measure
    /// recall.
    fn recall_of(&self, listed: &Exact, k: usize, allowed: &Bitmap) -> f64 {
        let (mut best, mut found) = (SearchBuffer::default(), SearchBuffer::default());
        let mut hits = 0;
        for query in self.queries().iter().skip(1).step_by(2) {
            self.exact
                .search(query, k, Eligible::new(allowed), &mut best);
            listed.search(query, k, Eligible::new(allowed), &mut found);
            hits += found
                .items
                .iter()
                .filter(|scored| best.items.contains(scored))
                .count();
        }
        hits as f64 / (200 * k) as f64
    }
}

/// The items that have a vector.
fn all_with_vector() -> Bitmap {
    Bitmap::of(ITEMS, |item| item % 5 != 0)
}

#[test]
fn clusters_are_worth_lists() {
    let clusters = Clusters::new();
    assert_eq!(clusters.exact.items_with_direction(), 16_000);
    let (_, retrieval) = clusters.fit();
    assert!(
        retrieval.is_worthwhile() && retrieval.shoppers == 200,
        "{retrieval:?}"
    );
}

#[test]
fn items_without_a_vector_do_not_change_what_is_measured() {
    let clusters = Clusters::new();
    let (_, with_others) = clusters.fit();
    let rows: Vec<f32> = clusters
        .exact
        .rows()
        .chunks(DEPTH)
        .filter(|vector| vector[0] != 0.0)
        .flatten()
        .copied()
        .collect();
    let alone = Exact::new(rows.into(), DEPTH);
    let (_, alone) = InvertedLists::of(&alone, &clusters.queries()).unwrap();
    assert_eq!(
        (alone.lists, alone.probes, alone.share),
        (with_others.lists, with_others.probes, with_others.share)
    );
}

#[test]
fn the_measured_recall_is_that_of_searches() {
    let clusters = Clusters::new();
    let (listed, retrieval) = clusters.listed();
    let all = all_with_vector();
    let recall = clusters.recall_of(&listed, MEASURED_K, &all);
    assert!(
        (recall - retrieval.recall).abs() < 1e-9,
        "{recall} of {retrieval:?}"
    );
    let mut buffer = SearchBuffer::default();
    for query in clusters.queries().iter().skip(1).step_by(2) {
        listed.search(query, MEASURED_K, Eligible::new(&all), &mut buffer);
        assert_eq!(buffer.items.len(), MEASURED_K);
    }
}

#[test]
fn filters_and_more_results_do_not_lower_recall() {
    let clusters = Clusters::new();
    let (listed, _) = clusters.listed();
    let all = all_with_vector();
    let tenth = Bitmap::of(ITEMS, |item| item % 5 != 0 && item / 5 % 10 == 3);
    let most = Bitmap::of(ITEMS, |item| item % 5 > 1);
    for (k, allowed) in [
        (20, &tenth),
        (100, &tenth),
        (100, &most),
        (300, &all),
        (300, &most),
    ] {
        let recall = clusters.recall_of(&listed, k, allowed);
        assert!(
            recall > 0.98,
            "{recall} of the {k} best of {}",
            allowed.count()
        );
    }
}

#[test]
fn a_search_returns_as_many_eligible_items_as_there_are() {
    let clusters = Clusters::new();
    let (listed, _) = clusters.listed();
    let queries = clusters.queries();
    let all = all_with_vector();
    let few = Bitmap::of(ITEMS, |item| item % 11 == 3);
    let mut buffer = SearchBuffer::default();
    for (k, allowed) in [(1000, &all), (20, &few), (5000, &few)] {
        let eligible = Eligible::without(allowed, &[3, 14]);
        listed.search(queries[0], k, eligible, &mut buffer);
        assert_eq!(buffer.items.len(), k.min(eligible.count()));
        let mut items = buffer.items.iter();
        assert!(items.all(|scored| eligible.contains(scored.item)));
        let batch = listed.search_batch(&queries[..3], k, &[eligible; 3]);
        assert_eq!(batch[0], buffer.items, "one by one and in a batch");
    }
}

#[test]
fn lists_do_not_pay_where_vectors_point_everywhere() {
    let exact = Exact::new(vectors_around(ITEMS, 32, 0, 1).into(), 32);
    let queries = vectors_around(200, 32, 0, 2);
    let queries: Vec<&[f32]> = queries.chunks(32).collect();
    let (_, retrieval) = InvertedLists::of(&exact, &queries).unwrap();
    assert!(!retrieval.is_worthwhile(), "{retrieval:?}");
}

#[test]
fn too_few_queries_with_a_direction_measure_nothing() {
    let clusters = Clusters::new();
    let queries = clusters.queries();
    assert!(InvertedLists::of(&clusters.exact, &queries[..MIN_QUERIES - 1]).is_none());
    let without_direction = [
        vec![0.0; DEPTH],
        vec![f32::NAN; DEPTH],
        vec![f32::MAX; DEPTH],
    ];
    let some: Vec<&[f32]> = queries[1..MIN_QUERIES]
        .iter()
        .copied()
        .chain(without_direction.iter().map(Vec::as_slice))
        .collect();
    assert!(InvertedLists::of(&clusters.exact, &some).is_none());
}

#[test]
fn vectors_without_a_direction_have_no_lists() {
    let zeros = Exact::new(vec![0.0; ITEMS * DEPTH].into(), DEPTH);
    let clusters = Clusters::new();
    assert!(InvertedLists::of(&zeros, &clusters.queries()).is_none());
}

use super::*;
use proptest::prelude::*;

/// The best by inner products in double precision.
fn best_in_f64(vectors: &[f32], query: &[f32], k: usize, eligible: Eligible) -> Vec<(u32, f64)> {
    let product = |vector: &[f32]| {
        let products = vector.iter().zip(query);
        let sum: f64 = products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        // Minus zero becomes zero.
        sum + 0.0
    };
    let mut all: Vec<(u32, f64)> = (0..)
        .zip(vectors.chunks(query.len()))
        .filter(|&(item, _)| eligible.contains(item))
        .map(|(item, vector)| (item, product(vector)))
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

proptest! {
    #[test]
    fn ties_and_scales_are_those_of_double_precision(
        items in 1usize..150,
        depth in 1usize..9,
        seed in prop::collection::vec(-2i8..3, 150 * 9),
        query in prop::collection::vec(-2i8..3, 9),
        k in 1usize..30,
        keep in prop::collection::vec(any::<bool>(), 150),
        except in prop::collection::btree_set(0u32..150, 0..10),
        powers in prop::collection::vec(prop_oneof![Just(0i32), -3i32..4, -90i32..30], 151),
    ) {
        // Sums of small whole numbers are exact, so ties are real ties. They stay when a whole
        // vector is scaled by a power of two, however large or small.
        let scaled = |value: i8, power: i32| f32::from(value) * 2f32.powi(power);
        let vectors: Vec<f32> = (0..items * depth)
            .map(|at| scaled(seed[at], powers[at / depth]))
            .collect();
        let query: Vec<f32> = query[..depth]
            .iter()
            .map(|&value| scaled(value, -powers[150]))
            .collect();
        let allowed = Bitmap::of(items, |item| keep[item as usize]);
        let except: Vec<u32> = except.into_iter().collect();
        let eligible = Eligible::without(&allowed, &except);
        let index = Exact::new(vectors.clone().into(), depth);
        let mut buffer = SearchBuffer::default();
        index.search(&query, k, eligible, &mut buffer);
        let expected = best_in_f64(&vectors, &query, k, eligible);
        prop_assert_eq!(buffer.items.len(), k.min(eligible.count()));
        let mut pairs = buffer.items.iter().zip(&expected);
        let is_same = pairs.all(|(a, b)| a.item == b.0 && f64::from(a.score) == b.1);
        prop_assert!(is_same, "{:?} {:?}", buffer.items, expected);
        let batch = index.search_batch(&[&query, &query, &query], k, &[eligible; 3]);
        prop_assert!(batch.iter().all(|found| *found == buffer.items));
    }
}

#[test]
fn an_infinite_or_nan_vector_is_never_returned() {
    let vectors = [f32::NAN, 1.0, f32::INFINITY, 2.0, 0.5];
    let index = Exact::new(vectors.to_vec().into(), 1);
    let all = Bitmap::filled(5, true);
    let mut buffer = SearchBuffer::default();
    index.search(&[1.0], 5, Eligible::new(&all), &mut buffer);
    let items: Vec<u32> = buffer.items.iter().map(|scored| scored.item).collect();
    assert_eq!(items, [3, 1, 4]);
}

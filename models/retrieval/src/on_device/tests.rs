use super::*;
use aisle_math::random::SplitMix;

/// The cores, and a GPU where a build has CUDA and the machine a GPU: everything but the processor
/// is the same on both.
fn devices() -> Vec<Device> {
    let mut devices = vec![Device::Cpu];
    if !cfg!(feature = "cuda") {
        eprintln!("skipped: a build without the feature cuda compares no GPU");
        return devices;
    }
    match Device::Cuda(0).open() {
        Ok(_) => devices.push(Device::Cuda(0)),
        Err(error) => eprintln!("skipped: no GPU to compare with: {error}"),
    }
    devices
}

fn vector(kind: &str, depth: usize, number: usize, random: &mut SplitMix) -> Vec<f32> {
    let mut vector: Vec<f32> = (0..depth).map(|_| random.normal()).collect();
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    match kind {
        "falling" if number > 700 => vector.fill(0.0),
        "falling" => vector
            .iter_mut()
            .for_each(|value| *value *= 20.0 / (number + 1) as f32),
        "unit" => vector.iter_mut().for_each(|value| *value /= length),
        "copies" => {
            (0..depth).for_each(|d| vector[d] = ((number % 7 * 5 + d * 3) % 11) as f32 - 5.0)
        }
        "extreme" => vector
            .iter_mut()
            .for_each(|value| *value *= [1.0, 1e-30, 1e25, f32::MAX][number % 4]),
        _ => {}
    }
    vector
}

/// Asserts that batches on every device give the answers of the exact index.
fn assert_same_answers(kind: &str, items: usize, depth: usize) {
    let mut random = SplitMix(3);
    let rows: Vec<f32> = (0..items)
        .flat_map(|number| vector(kind, depth, number, &mut random))
        .collect();
    let queries: Vec<Vec<f32>> = (0..9)
        .map(|number| vector(kind, depth, number, &mut random))
        .collect();
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let exact = Arc::new(Exact::new(rows.into(), depth));
    let all = Bitmap::filled(items, true);
    let some = Bitmap::of(items, |item| item % 5 == 2);
    for device in devices() {
        let index = OnDevice::new(exact.clone(), device).unwrap();
        for (k, except) in [
            (1, vec![]),
            (20, vec![0, 2, 7, 12]),
            (100, vec![3]),
            (items + 3, vec![1]),
        ] {
            // Two filters in turn, so that blocks end where they change.
            let eligible: Vec<Eligible> = (0..9)
                .map(|at| Eligible::without(if at % 4 < 2 { &all } else { &some }, &except))
                .collect();
            let expected = exact.search_batch(&queries, k, &eligible);
            let found = index.search_batch(&queries, k, &eligible);
            assert_eq!(found, expected, "{kind}, k {k}, {device:?}");
        }
    }
}

#[test]
fn usual_vectors_have_the_answers_of_the_index() {
    assert_same_answers("normal", 1000, 24);
    assert_same_answers("unit", 333, 7);
}

#[test]
fn vectors_of_falling_length_have_the_answers_of_the_index() {
    assert_same_answers("falling", 777, 64);
}

#[test]
fn ties_have_the_answers_of_the_index() {
    assert_same_answers("copies", 200, 5);
    assert_same_answers("copies", 20_000, 3);
}

#[test]
fn one_item_and_several_tiles_have_the_answers_of_the_index() {
    assert_same_answers("one", 1, 3);
    assert_same_answers("long", 70_000, 8);
}

#[test]
fn vectors_without_bounds_have_the_answers_of_the_index() {
    assert_same_answers("extreme", 90, 4);
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    let exact = Arc::new(Exact::new(vec![1.0].into(), 1));
    assert!(matches!(
        OnDevice::new(exact, Device::Cuda(99)),
        Err(RetrievalError::Device { .. } | RetrievalError::NoCuda)
    ));
}

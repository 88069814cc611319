use super::*;

/// What the plain scan in f32 finds by cosine. The longest first is another order by cosine, so
/// every item must be looked at.
fn plain_scan_by_cosine(index: &Exact, query: &[f32], trial: &Trial) -> Vec<Scored> {
    let direction: Vec<f32> = query
        .iter()
        .map(|&value| (f64::from(value) / length_of(query)) as f32)
        .collect();
    let mut all = plain_scan(index, &direction, ITEMS, trial.eligible());
    for scored in &mut all {
        scored.score *= index.inverse_length(scored.item);
    }
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
    all.truncate(trial.k);
    all
}

#[test]
fn a_search_by_cosine_finds_what_the_plain_scan_finds() {
    let mut buffer = SearchBuffer::default();
    for case in cases().filter(|case| !case.name.starts_with("extreme")) {
        for trial in trials(&case) {
            let query = &case.queries[0];
            let expected = plain_scan_by_cosine(&case.index, query, &trial);
            for index in [&case.index, &case.listed] {
                index.search_cosine(query, trial.k, trial.eligible(), &mut buffer);
                assert_eq!(buffer.items, expected, "{}", trial.name);
            }
        }
    }
}

#[test]
fn cosine_ignores_length() {
    let index = Exact::new(vec![10.0, 0.0, 0.6, 0.8, 0.0, 0.0].into(), 2);
    let all = Bitmap::filled(3, true);
    let mut buffer = SearchBuffer::default();
    index.search_cosine(&[0.0, 5.0], 3, Eligible::new(&all), &mut buffer);
    let items: Vec<u32> = buffer.items.iter().map(|scored| scored.item).collect();
    assert_eq!(items, [1, 0, 2]);
    assert!((buffer.items[0].score - 0.8).abs() < 1e-6);
}

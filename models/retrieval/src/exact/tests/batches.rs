use super::*;

#[test]
fn a_batch_finds_what_the_plain_scan_finds() {
    for case in cases() {
        for trial in trials(&case) {
            let queries: Vec<&[f32]> = case.queries.iter().map(Vec::as_slice).collect();
            let expected: Vec<Vec<Scored>> = queries
                .iter()
                .map(|query| plain_scan(&case.index, query, trial.k, trial.eligible()))
                .collect();
            let eligible = vec![trial.eligible(); QUERIES];
            let batch = case.index.search_batch(&queries, trial.k, &eligible);
            assert_eq!(batch, expected, "{}", trial.name);
        }
    }
}

#[test]
fn a_batch_by_cosine_finds_what_single_searches_find() {
    let items = [0, 1, 2, 5, 700, 2999];
    let mut buffer = SearchBuffer::default();
    for case in cases() {
        for trial in trials(&case) {
            for index in [&case.index, &case.listed] {
                let batch = index.nearest(&items, trial.k, trial.eligible());
                for (item, found) in items.into_iter().zip(batch) {
                    index.search_cosine(index.row(item), trial.k, trial.eligible(), &mut buffer);
                    assert_eq!(buffer.items, found, "{}, item {item}", trial.name);
                }
            }
        }
    }
}

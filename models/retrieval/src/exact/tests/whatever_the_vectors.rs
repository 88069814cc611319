use super::*;

#[test]
fn a_search_finds_what_the_plain_scan_finds() {
    let mut buffer = SearchBuffer::default();
    for case in cases() {
        for trial in trials(&case) {
            for query in &case.queries {
                let expected = plain_scan(&case.index, query, trial.k, trial.eligible());
                case.index
                    .search(query, trial.k, trial.eligible(), &mut buffer);
                assert_eq!(buffer.items, expected, "{}", trial.name);
            }
        }
    }
}

#[test]
fn a_search_in_all_lists_finds_what_the_plain_scan_finds() {
    let mut buffer = SearchBuffer::default();
    for case in cases() {
        for trial in trials(&case) {
            for query in &case.queries {
                let expected = plain_scan(&case.index, query, trial.k, trial.eligible());
                case.listed
                    .search(query, trial.k, trial.eligible(), &mut buffer);
                assert_eq!(buffer.items, expected, "{}", trial.name);
            }
        }
    }
}

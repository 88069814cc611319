//! The bundled sample.

use crate::common::{read, read_events};
use aisle_data::{DataConfig, Inspection};

const EVENTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/samples/online_retail/events.parquet"
);
const ITEMS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/samples/online_retail/items.parquet"
);

#[test]
fn the_bundled_sample_is_read_as_it_is() {
    let data = read(EVENTS, Some(ITEMS), &DataConfig::default()).unwrap();
    let facts = Inspection::of(&data);
    assert_eq!(
        (facts.rows, facts.events, facts.users, data.catalog.len()),
        (541_909, 540_571, 4_372, 3_958)
    );
    let events_of_types: Vec<(&str, u64)> = (facts.event_types.iter())
        .map(|kind| (kind.name.as_str(), kind.events))
        .collect();
    assert_eq!(events_of_types, [("purchase", 531_283), ("return", 9_288)]);
    assert!(facts.tasks.iter().all(|task| task.served));
}

#[test]
fn without_a_catalogue_upsell_is_not_served() {
    let facts = Inspection::of(&read_events(EVENTS).unwrap());
    let upsell = facts.tasks.iter().find(|task| task.task == "upsell");
    let upsell = upsell.unwrap();
    assert!(
        !upsell.served && upsell.because.contains("category"),
        "{upsell:?}"
    );
}

//! A small shop of which every row is known, a version of it, and the tables that are written from
//! it.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, TimestampMillisecondType, UInt32Type};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

pub const HOUR: i64 = 3_600_000;
pub const DAY: i64 = 24 * HOUR;
/// 2024-01-01.
pub const BEGIN: i64 = 1_704_067_200_000;
/// The end of the log, 2024-04-10.
pub const NOW: i64 = BEGIN + 100 * DAY;

/// Shopper, item, event type, time, price (0 = none), quantity.
pub type Event = (String, String, &'static str, i64, f64, f64);

pub fn event(user: &str, item: &str, kind: &'static str, time: i64, price: f64) -> Event {
    (user.into(), item.into(), kind, time, price, 1.0)
}

/// Forty shoppers of one order each, so that a model can be fitted; then those that the tests are
/// about.
pub fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for shopper in 0..40i64 {
        for step in [0, 1, 2, 10, 11, 12] {
            let item = format!("i{:02}", step / 10 * 10 + (step % 10 + shopper) % 10);
            events.push(event(
                &format!("b{shopper:02}"),
                &item,
                "purchase",
                BEGIN + shopper * DAY,
                10.0,
            ));
        }
    }
    let before = |hours: i64| NOW - hours * HOUR;
    // Carts. One left idle, with two units of i00; one bought, one still in use, one too old, one
    // emptied.
    events.push(event("left", "i02", "purchase", before(30 * 24), 10.0));
    events.push(("left".into(), "i00".into(), "cart", before(10), 11.0, 2.0));
    events.push(event("left", "i01", "cart", before(9), 0.0));
    events.extend([
        event("bought", "i00", "cart", before(10), 10.0),
        event("bought", "i00", "purchase", before(9), 10.0),
    ]);
    events.extend([
        event("fresh", "i00", "cart", before(10), 10.0),
        event("fresh", "i01", "cart", before(1), 10.0),
    ]);
    events.push(event("old", "i00", "cart", before(20 * 24), 10.0));
    events.extend([
        event("emptied", "i00", "cart", before(10), 10.0),
        event("emptied", "i00", "remove_from_cart", before(9), 10.0),
    ]);
    // Views. Three of i03, one of i04, two of i05, which is out of stock; two that were followed by
    // a purchase.
    events.extend([5, 4, 3].map(|days| event("looker", "i03", "view", before(days * 24), 10.0)));
    events.push(event("looker", "i04", "view", before(48), 10.0));
    events.extend([50, 40].map(|hours| event("looker", "i05", "view", before(hours), 10.0)));
    events.extend([5, 4].map(|days| event("decided", "i03", "view", before(days * 24), 10.0)));
    events.push(event("decided", "i03", "purchase", before(72), 10.0));
    // Prices. i06 costs 8 now and i07 9.50. The last look of one shopper showed 8.20; that of
    // another showed no price.
    events.extend(["i06", "i07"].map(|item| event("watcher", item, "view", before(72), 10.0)));
    events.extend([
        event("late", "i06", "view", before(71), 10.0),
        event("late", "i06", "view", before(2), 8.2),
    ]);
    events.push(event("priceless", "i06", "cart", before(48), 0.0));
    events.push(event(
        "priceless",
        "i06",
        "remove_from_cart",
        before(47),
        0.0,
    ));
    events.extend([
        event("owner", "i06", "purchase", before(20 * 24), 10.0),
        event("owner", "i06", "view", before(48), 10.0),
    ]);
    // Orders, of shoppers with a rhythm.
    events.extend(
        [10, 17, 24, 31].map(|day| event("weekly", "i08", "purchase", BEGIN + day * DAY, 10.0)),
    );
    events.extend(
        [10, 40, 70].map(|day| event("monthly", "i08", "purchase", BEGIN + day * DAY, 10.0)),
    );
    events.extend([60, 90].map(|day| event("twice", "i08", "purchase", BEGIN + day * DAY, 10.0)));
    events.push(event("clock", "i19", "view", NOW, 10.0));
    events
}

pub fn text<'t>(name: &str, values: impl Iterator<Item = Option<&'t str>>) -> (String, ArrayRef) {
    (name.into(), Arc::new(StringArray::from_iter(values)))
}

pub fn write_events(path: &Path, events: &[Event]) {
    let columns: Vec<(String, ArrayRef)> = vec![
        text("user_id", events.iter().map(|event| Some(event.0.as_str()))),
        text("item_id", events.iter().map(|event| Some(event.1.as_str()))),
        text("event_type", events.iter().map(|event| Some(event.2))),
        (
            "timestamp".into(),
            Arc::new(TimestampMillisecondArray::from_iter_values(
                events.iter().map(|event| event.3),
            )),
        ),
        (
            "price".into(),
            Arc::new(Float64Array::from_iter(
                events
                    .iter()
                    .map(|event| (event.4 > 0.0).then_some(event.4)),
            )),
        ),
        (
            "quantity".into(),
            Arc::new(Float64Array::from_iter_values(
                events.iter().map(|event| event.5),
            )),
        ),
    ];
    aisle_models::write_table(path, columns).unwrap();
}

/// Twenty items of two categories at 10 each, but for those named.
pub fn write_items(path: &Path, prices: &[(usize, f64)], unavailable: &[usize]) {
    let ids: Vec<String> = (0..20).map(|item| format!("i{item:02}")).collect();
    let category = |item: usize| if item < 10 { "Cups" } else { "Plates" };
    let price = |item: usize| {
        prices
            .iter()
            .find(|(other, _)| *other == item)
            .map_or(10.0, |(_, price)| *price)
    };
    let columns: Vec<(String, ArrayRef)> = vec![
        text("item_id", ids.iter().map(|id| Some(id.as_str()))),
        text("category", (0..20).map(|item| Some(category(item)))),
        (
            "price".into(),
            Arc::new(Float64Array::from_iter_values((0..20).map(price))),
        ),
        (
            "available".into(),
            Arc::new(BooleanArray::from_iter(
                (0..20).map(|item| Some(!unavailable.contains(&item))),
            )),
        ),
    ];
    aisle_models::write_table(path, columns).unwrap();
}

pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aisle-train"));
    command.current_dir(folder).args(arguments);
    for name in ["AISLE_CONFIG", "AISLE_EVENTS", "AISLE_ITEMS", "AISLE_USERS"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

/// A folder with the shop's files and a version of it.
pub fn shop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_events(&at.join("events.parquet"), &events());
    write_items(&at.join("items.parquet"), &[], &[5]);
    write_items(
        &at.join("now.parquet"),
        &[(0, 12.5), (6, 8.0), (7, 9.5)],
        &[],
    );
    let files = ["--events", "events.parquet", "--items", "items.parquet"];
    let model = [
        "--registry",
        "registry",
        "--model",
        "shop",
        "--alias",
        "stable",
        "--set",
        "factors=8",
    ];
    let output = run(at, &[&["fit"][..], &files, &model].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    folder
}

pub fn arguments<'a>(job: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [
        &[
            "batch",
            "--registry",
            "registry",
            "--model",
            "shop",
            "--job",
            job,
            "--out",
            "out.parquet",
        ][..],
        rest,
    ]
    .concat()
}

/// What a job prints, and the table that it writes.
pub fn batch(folder: &Path, job: &str, rest: &[&str]) -> (String, RecordBatch) {
    let output = run(folder, &arguments(job, rest));
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{job} {rest:?}: {printed}");
    (printed, read(&folder.join("out.parquet")))
}

pub fn fail(folder: &Path, job: &str, rest: &[&str]) -> String {
    let output = run(folder, &arguments(job, rest));
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && !printed.contains("panicked"),
        "{job} {rest:?}: {printed}"
    );
    printed
}

pub fn read(path: &Path) -> RecordBatch {
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    only(&schema, batches)
}

/// The tables here are shorter than one batch of the reader.
fn only(schema: &Arc<arrow_schema::Schema>, mut batches: Vec<RecordBatch>) -> RecordBatch {
    assert!(batches.len() <= 1);
    batches
        .pop()
        .unwrap_or_else(|| RecordBatch::new_empty(schema.clone()))
}

pub fn names(table: &RecordBatch) -> Vec<String> {
    table
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

pub fn texts(table: &RecordBatch, column: &str) -> Vec<String> {
    table
        .column_by_name(column)
        .unwrap()
        .as_string::<i32>()
        .iter()
        .map(|text| text.unwrap().to_string())
        .collect()
}

pub fn numbers(table: &RecordBatch, column: &str) -> Vec<Option<f32>> {
    table
        .column_by_name(column)
        .unwrap()
        .as_primitive::<Float32Type>()
        .iter()
        .collect()
}

pub fn times(table: &RecordBatch, column: &str) -> Vec<i64> {
    table
        .column_by_name(column)
        .unwrap()
        .as_primitive::<TimestampMillisecondType>()
        .values()
        .to_vec()
}

pub fn ranks(table: &RecordBatch) -> Vec<u32> {
    table
        .column_by_name("rank")
        .unwrap()
        .as_primitive::<UInt32Type>()
        .values()
        .to_vec()
}

pub const LOG: [&str; 2] = ["--events", "events.parquet"];
pub const TODAY: [&str; 4] = ["--events", "events.parquet", "--items", "now.parquet"];

//! Real Parquet files, good and bad: every type that a log may come in, and every fault that must be told and not crash.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

use aisle_data::{DataConfig, DataError, Dataset, EventRole, Inspection, Interactions, NONE, Orders, Reason, Split, Tables};
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array, LargeStringArray,
    RecordBatch, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) -> String {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path.to_str().unwrap().to_string()
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn read(events: &str, items: Option<&str>, config: &DataConfig) -> Result<Dataset, DataError> {
    Dataset::read(&Tables { events, items, users: None }, config)
}

fn config(text: &str) -> DataConfig {
    serde_json::from_str(text).unwrap()
}

/// (user, item, type, milliseconds) of every event, as text.
fn rows(data: &Dataset) -> Vec<(String, String, String, i64)> {
    let log = &data.log;
    (0..log.len())
        .map(|event| {
            let user = if log.user_of(event) == NONE { "-".to_string() } else { log.users.id(log.user_of(event)).to_string() };
            (user, log.items.id(log.item[event]).to_string(), log.type_of(event).name.clone(), log.time_of(event))
        })
        .collect()
}

#[test]
fn every_type_of_id_and_time_reads_the_same() {
    let folder = folder();
    let ids: Vec<(&str, ArrayRef)> = vec![
        ("int32", Arc::new(Int32Array::from(vec![7, 8]))),
        ("int64", Arc::new(Int64Array::from(vec![7, 8]))),
        ("uint64", Arc::new(UInt64Array::from(vec![7, 8]))),
        ("float", Arc::new(Float64Array::from(vec![7.0, 8.0]))),
        ("string", texts(&["7", "8"])),
        ("large", Arc::new(LargeStringArray::from(vec!["7", "8"]))),
        ("dictionary", Arc::new(vec!["7", "8"].into_iter().collect::<DictionaryArray<Int32Type>>())),
    ];
    let seconds = [1_500_000_000i64, 1_500_086_400];
    let times: Vec<(&str, ArrayRef, &str)> = vec![
        ("s", Arc::new(TimestampSecondArray::from(seconds.to_vec())), "{}"),
        ("us", Arc::new(TimestampMicrosecondArray::from(seconds.map(|s| s * 1_000_000).to_vec()).with_timezone("UTC")), "{}"),
        ("ns", Arc::new(TimestampNanosecondArray::from(seconds.map(|s| s * 1_000_000_000).to_vec())), "{}"),
        ("epoch s", Arc::new(Int64Array::from(seconds.to_vec())), r#"{"columns": {"timestamp_unit": "s"}}"#),
        ("epoch ms", Arc::new(Int64Array::from(seconds.map(|s| s * 1000).to_vec())), r#"{"columns": {"timestamp_unit": "ms"}}"#),
    ];
    for (id, column) in &ids {
        for (unit, time, settings) in &times {
            let path = write(
                &folder.path().join("e.parquet"),
                vec![
                    ("user_id", column.clone()),
                    ("item_id", column.clone()),
                    ("event_type", texts(&["view", "buy"])),
                    ("timestamp", time.clone()),
                ],
            );
            let data = read(&path, None, &config(settings)).unwrap();
            let expected = [
                ("7".to_string(), "7".to_string(), "view".to_string(), seconds[0] * 1000),
                ("8".to_string(), "8".to_string(), "buy".to_string(), seconds[1] * 1000),
            ];
            assert_eq!(rows(&data), expected, "{id} {unit}");
            assert_eq!(data.log.types.iter().map(|kind| kind.role).collect::<Vec<_>>(), [EventRole::Purchase, EventRole::View]);
        }
    }
    let days: ArrayRef = Arc::new(Date32Array::from(vec![17_000, 17_001]));
    let path = write(
        &folder.path().join("d.parquet"),
        vec![("user_id", ids[0].1.clone()), ("item_id", ids[0].1.clone()), ("timestamp", days)],
    );
    assert_eq!(read(&path, None, &DataConfig::default()).unwrap().log.time[0], 17_000 * 86_400_000);
}

#[test]
fn a_file_a_folder_a_glob_and_partitions_read_the_same() {
    let folder = folder();
    let one = folder.path().join("one.parquet");
    let path = write(
        &one,
        vec![
            ("user_id", texts(&["a", "b", "c"])),
            ("item_id", texts(&["x", "y", "x"])),
            ("event_type", texts(&["buy", "view", "view"])),
        ],
    );
    let whole = read(&path, None, &DataConfig::default()).unwrap();

    let tree = folder.path().join("tree");
    write(&tree.join("event_type=view/2.parquet"), vec![("user_id", texts(&["c", "b"])), ("item_id", texts(&["x", "y"]))]);
    write(&tree.join("event_type=buy/1.parquet"), vec![("user_id", texts(&["a"])), ("item_id", texts(&["x"]))]);
    let glob = format!("{}/*/*.parquet", tree.display());
    for given in [tree.to_str().unwrap(), glob.as_str()] {
        assert_eq!(rows(&read(given, None, &DataConfig::default()).unwrap()), rows(&whole), "{given}");
    }
    assert!(matches!(read("no/such/*.parquet", None, &DataConfig::default()), Err(DataError::NotFound { .. })));
}

#[test]
fn a_missing_column_shows_those_there_are_and_the_line_to_add() {
    let folder = folder();
    let path = write(&folder.path().join("e.parquet"), vec![("visitorid", texts(&["a"])), ("product", texts(&["x"]))]);
    let error = read(&path, None, &DataConfig::default()).unwrap_err().to_string();
    assert!(error.contains("visitorid, product") && error.contains("[columns]\n    item_id = \"product\""), "{error}");
    let mapped = config(r#"{"columns": {"item_id": "product"}}"#);
    let error = read(&path, None, &mapped).unwrap_err().to_string();
    assert!(error.contains("user_id, order_id, session_id"), "{error}");
    let mapped = config(r#"{"columns": {"item_id": "product", "user_id": "visitorid"}}"#);
    assert_eq!(read(&path, None, &mapped).unwrap().log.len(), 1);
    let typo = config(r#"{"columns": {"item_id": "product", "user_id": "visitor"}}"#);
    assert!(matches!(read(&path, None, &typo), Err(DataError::MissingColumn { .. })));
}

#[test]
fn wrong_types_are_told_with_what_would_do() {
    let folder = folder();
    let path = folder.path().join("e.parquet");
    let base = |extra: (&'static str, ArrayRef)| write(&path, vec![("user_id", texts(&["a"])), ("item_id", texts(&["x"])), extra]);
    for (extra, expected) in [
        (("timestamp", Arc::new(Int64Array::from(vec![1_500_000_000])) as ArrayRef), "timestamp_unit"),
        (("timestamp", texts(&["2017-01-01"])), "a timestamp, a date"),
        (("price", texts(&["cheap"])), "expected numbers"),
        (("quantity", Arc::new(BooleanArray::from(vec![true])) as ArrayRef), "expected numbers"),
    ] {
        let error = read(&base(extra), None, &DataConfig::default()).unwrap_err();
        assert!(matches!(error, DataError::WrongType { .. }) && error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn faulty_rows_are_counted_by_reason_and_limited() {
    let folder = folder();
    let future = 4_000_000_000i64;
    let good = 1_500_000_000i64;
    let strings = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let columns = |rows: usize| {
        // Rows 0 to 6 are faulty, each in its own way; the rest are good.
        let many =
            |fault: usize, bad: f64, good: f64| (0..rows).map(|row| if row == fault { bad } else { good }).collect::<Vec<f64>>();
        vec![
            ("user_id", strings((0..rows).map(|row| if row == 1 { None } else { Some("u") }).collect())),
            ("item_id", strings((0..rows).map(|row| if row == 0 { None } else { Some("x") }).collect())),
            (
                "timestamp",
                Arc::new(TimestampSecondArray::from_iter((0..rows).map(|row| match row {
                    2 => None,
                    3 => Some(future),
                    _ => Some(good),
                }))) as ArrayRef,
            ),
            (
                "price",
                Arc::new(Float64Array::from(
                    (0..rows)
                        .map(|row| match row {
                            4 => f64::NAN,
                            5 => -1.0,
                            _ => 2.0,
                        })
                        .collect::<Vec<_>>(),
                )) as ArrayRef,
            ),
            ("quantity", Arc::new(Float64Array::from(many(6, -3.0, 1.0))) as ArrayRef),
        ]
    };
    let path = write(&folder.path().join("e.parquet"), columns(20));
    let data = read(&path, None, &DataConfig::default()).unwrap();
    let counted: Vec<(Reason, u64, u64)> =
        data.report.set_aside.iter().map(|(reason, count)| (reason, count.rows, count.first_row)).collect();
    let expected = [
        (Reason::NullItem, 1, 0),
        (Reason::NullOwner, 1, 1),
        (Reason::NullTimestamp, 1, 2),
        (Reason::Future, 1, 3),
        (Reason::NanPrice, 1, 4),
        (Reason::NegativePrice, 1, 5),
        (Reason::BadQuantity, 1, 6),
    ];
    assert_eq!(counted, expected);
    assert_eq!(data.log.len(), 13);

    let path = write(&folder.path().join("e.parquet"), columns(10));
    let error = read(&path, None, &DataConfig::default()).unwrap_err();
    assert!(matches!(error, DataError::TooManySetAside { bad: 7, total: 10, .. }), "{error}");
    assert!(error.to_string().contains("max_set_aside") && error.to_string().contains("negative price"), "{error}");
    assert!(read(&path, None, &config(r#"{"clean": {"max_set_aside": 0.8}}"#)).is_ok());

    let path = write(&folder.path().join("e.parquet"), columns(0));
    assert!(matches!(read(&path, None, &DataConfig::default()), Err(DataError::Empty { .. })));
}

#[test]
fn the_catalogue_reads_paths_lists_and_says_what_repeats() {
    let folder = folder();
    let events = write(&folder.path().join("e.parquet"), vec![("user_id", texts(&["u", "u"])), ("item_id", texts(&["b", "z"]))]);
    let prices: ArrayRef = Arc::new(Float32Array::from(vec![Some(1.0), Some(-2.0), None]));
    let columns = vec![
        ("item_id", texts(&["b", "a", "b"])),
        ("title", texts(&["Bee", "Ay", "Bee again"])),
        ("category", texts(&["Home>Kitchen", " Home > Bath ", "Home"])),
        ("price", prices),
        ("available", texts(&["yes", "no", "yes"])),
        ("colour", texts(&["red", "blue", "red"])),
    ];
    let items = write(&folder.path().join("i.parquet"), columns);
    let data = read(&events, Some(&items), &DataConfig::default()).unwrap();
    let row = |id: &str| data.log.items.get(id).unwrap();
    assert_eq!(data.log.items.len(), 3, "a and b from the catalogue, z from the log");
    assert_eq!(data.catalog.title.get(row("b")), Some("Bee"));
    assert_eq!(data.catalog.category.get(row("a")), Some("Home > Bath"));
    assert_eq!(data.catalog.category_at(row("b"), 1), Some("Home"));
    assert!(data.catalog.price[row("a") as usize].is_nan() && data.catalog.price[row("b") as usize] == 1.0);
    assert!(!data.catalog.available[row("a") as usize] && data.catalog.available[row("z") as usize]);
    assert_eq!(data.catalog.attributes[0].1.get(row("a")), Some("blue"));
    let aside: Vec<Reason> = data.items_report.as_ref().unwrap().1.iter().map(|(reason, _)| reason).collect();
    assert_eq!(aside, [Reason::DuplicateItem, Reason::BadCatalogPrice]);
}

#[test]
fn a_category_may_be_a_list() {
    let folder = folder();
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("Home"), Some("Kitchen")]);
    lists.append_null();
    let events = write(&folder.path().join("e.parquet"), vec![("user_id", texts(&["u"])), ("item_id", texts(&["a"]))]);
    let items =
        write(&folder.path().join("i.parquet"), vec![("item_id", texts(&["a", "b"])), ("category", Arc::new(lists.finish()))]);
    let data = read(&events, Some(&items), &DataConfig::default()).unwrap();
    assert_eq!(data.catalog.category.get(0), Some("Home > Kitchen"));
    assert_eq!(data.catalog.category.get(1), None);
}

#[test]
fn cleaning_is_by_config() {
    let folder = folder();
    let events =
        write(&folder.path().join("e.parquet"), vec![("user_id", texts(&["u", "u", "u"])), ("item_id", texts(&["a", "b", "c"]))]);
    let items =
        write(&folder.path().join("i.parquet"), vec![("item_id", texts(&["a", "b"])), ("department", texts(&["FUEL", "FOOD"]))]);
    let clean = config(r#"{"clean": {"drop_unknown_items": true, "drop_items": [{"column": "department", "values": ["FUEL"]}]}}"#);
    let data = read(&events, Some(&items), &clean).unwrap();
    assert_eq!(rows(&data).iter().map(|row| row.1.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(data.report.set_aside.faults(), 0, "what the config drops is no fault");
    assert!(read(&events, None, &clean).is_err(), "cleaning by a catalogue that is not given");
}

#[test]
fn orders_hold_distinct_items_and_returns_take_away() {
    let folder = folder();
    let columns = vec![
        ("user_id", texts(&["u", "u", "u", "v", "u"])),
        ("item_id", texts(&["a", "b", "a", "a", "a"])),
        ("order_id", texts(&["1", "1", "1", "2", "3"])),
        ("event_type", texts(&["purchase", "purchase", "purchase", "purchase", "return"])),
    ];
    let data = read(&write(&folder.path().join("e.parquet"), columns), None, &DataConfig::default()).unwrap();
    let orders = Orders::of(&data.log);
    assert_eq!((0..orders.len()).map(|order| orders.order(order).len()).collect::<Vec<_>>(), [2, 1]);
    let matrix = Interactions::of(&data.log);
    let user = data.log.users.get("u").unwrap() as usize;
    assert_eq!(matrix.by_user.row(user).1, [1.0, 1.0], "two of a, one returned; one of b");
}

#[test]
fn splits_share_no_event_and_do_not_look_ahead() {
    let folder = folder();
    let n = 100;
    let users: Vec<String> = (0..n).map(|i| format!("u{}", i % 7)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", Arc::new(StringArray::from_iter_values(&users))),
        ("item_id", Arc::new(Int32Array::from_iter_values((0..n).map(|i| i % 13)))),
        ("order_id", Arc::new(Int32Array::from_iter_values((0..n).map(|i| i / 2 * 7 + i % 7)))),
        ("timestamp", Arc::new(TimestampSecondArray::from_iter_values((0..n).map(|i| 1_500_000_000 + 86_400 * i64::from(i / 2))))),
    ];
    let data = read(&write(&folder.path().join("e.parquet"), columns), None, &DataConfig::default()).unwrap();
    for split in ["time:0.8", "time:2017-08-20", "last-order"] {
        let (train, test) = split.parse::<Split>().unwrap().apply(&data.log).unwrap();
        assert!(train.len() + test.len() <= n as usize && !test.is_empty(), "{split}");
        for user in 0..data.log.users.len() as u32 {
            let times = |log: &aisle_data::EventLog| {
                (0..log.len()).filter(|&e| log.user_of(e) == user).map(|e| log.time[e]).collect::<Vec<_>>()
            };
            if let (Some(last), Some(first)) = (times(&train).into_iter().max(), times(&test).into_iter().min()) {
                assert!(last < first, "{split}: a shopper's training events come before the test events");
            }
        }
    }
    assert!("time:2030-01-01".parse::<Split>().unwrap().apply(&data.log).is_err());
}

#[test]
fn hostile_files_are_refused_and_nothing_panics() {
    let hostile = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile");
    let mut tried = 0;
    for entry in
        std::fs::read_dir(hostile).unwrap().flatten().filter(|entry| entry.path().extension().is_none_or(|ext| ext != "md"))
    {
        let path = entry.path();
        let path = path.to_str().unwrap();
        // Map each column in turn, so that its pages are really decoded.
        let first = read(path, None, &DataConfig::default()).unwrap_err();
        let columns = match &first {
            DataError::MissingColumn { found, .. } => found.clone(),
            DataError::Oversized { .. } | DataError::Unreadable { .. } => Vec::new(),
            other => panic_with(other),
        };
        for column in columns {
            let name = serde_json::to_string(&column).unwrap();
            let _ = read(path, None, &config(&format!(r#"{{"columns": {{"item_id": {name}, "order_id": {name}}}}}"#)));
        }
        tried += 1;
    }
    assert!(tried >= 5);
}

fn panic_with(error: &DataError) -> Vec<String> {
    assert!(error.to_string().is_empty(), "an unexpected refusal: {error}");
    Vec::new()
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let folder = folder();
    let zeros = "0".repeat(80 << 20);
    let path = write(&folder.path().join("bomb.parquet"), vec![("user_id", texts(&["u"])), ("item_id", texts(&[&zeros]))]);
    assert!(std::fs::metadata(&path).unwrap().len() < 100_000);
    let error = read(&path, None, &DataConfig::default()).unwrap_err();
    assert!(matches!(error, DataError::Oversized { .. }), "{error}");
}

#[test]
fn cut_and_flipped_files_are_errors_or_harmless() {
    let folder = folder();
    let users: Vec<String> = (0..500).map(|i| format!("user-{}", i % 40)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", Arc::new(StringArray::from_iter_values(&users))),
        ("item_id", Arc::new(Int64Array::from_iter_values((0..500).map(|i| i * 31 % 97)))),
        ("price", Arc::new(Float64Array::from_iter_values((0..500).map(f64::from)))),
    ];
    let path = write(&folder.path().join("whole.parquet"), columns);
    let whole = std::fs::read(&path).unwrap();
    let broken = folder.path().join("broken.parquet");
    for cut in (0..whole.len()).step_by(37) {
        std::fs::write(&broken, &whole[..cut]).unwrap();
        let error = read(broken.to_str().unwrap(), None, &DataConfig::default()).unwrap_err();
        assert!(matches!(error, DataError::Unreadable { .. }), "cut at {cut}: {error}");
    }
    for flip in 0..600 {
        let mut bytes = whole.clone();
        let at = flip * 7919 % bytes.len();
        bytes[at] ^= 1 << (flip % 8);
        std::fs::write(&broken, &bytes).unwrap();
        let _ = read(broken.to_str().unwrap(), None, &DataConfig::default());
    }
    std::fs::write(&broken, "user_id,item_id\n1,2\n").unwrap();
    let error = read(broken.to_str().unwrap(), None, &DataConfig::default()).unwrap_err();
    assert!(error.to_string().contains("not a readable Parquet file"), "{error}");
}

#[test]
fn the_bundled_sample_is_read_as_it_is() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/online_retail");
    let (events, items) = (format!("{sample}/events.parquet"), format!("{sample}/items.parquet"));
    let data = read(&events, Some(&items), &DataConfig::default()).unwrap();
    let facts = Inspection::of(&data);
    assert_eq!((facts.rows, facts.events, facts.users, data.catalog.len()), (541_909, 540_571, 4_372, 3_958));
    assert_eq!(
        facts.event_types.iter().map(|kind| (kind.name.as_str(), kind.events)).collect::<Vec<_>>(),
        [("purchase", 531_283), ("return", 9_288)]
    );
    assert!(facts.tasks.iter().all(|task| task.served));
    let without = Inspection::of(&read(&events, None, &DataConfig::default()).unwrap());
    let upsell = without.tasks.iter().find(|task| task.task == "upsell").unwrap();
    assert!(!upsell.served && upsell.because.contains("category"), "{upsell:?}");
}

#[test]
fn users_without_events_are_kept_where_asked_for() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let events = write(&at("events.parquet"), vec![("user_id", texts(&["b", "d"])), ("item_id", texts(&["x", "y"]))]);
    let users = write(&at("users.parquet"), vec![("user_id", texts(&["a", "b", "c"])), ("age", texts(&["20", "30", "40"]))]);
    let both = Tables { events: &events, items: None, users: Some(&users) };
    let ids = |data: &Dataset| data.log.users.iter().map(str::to_string).collect::<Vec<_>>();
    let data = Dataset::read(&both, &DataConfig::default()).unwrap();
    assert_eq!(ids(&data), ["b", "d"]);
    let keep = config(r#"{"clean": {"keep_new_users": true}}"#);
    let data = Dataset::read(&both, &keep).unwrap();
    assert_eq!(ids(&data), ["a", "b", "c", "d"]);
    let ages: Vec<_> = (0..4).map(|user| data.user_attributes[0].1.get(user)).collect();
    assert_eq!(ages, [Some("20"), Some("30"), Some("40"), None]);
    assert_eq!(data.log.user, [1, 3]);
    let error = Dataset::read(&Tables { users: None, ..both }, &keep).unwrap_err().to_string();
    assert!(error.contains("clean.keep_new_users") && error.contains("--users"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// The same rows in whatever order and number of files give the same log.
    #[test]
    fn files_and_their_order_do_not_matter(rows in prop::collection::vec((0u8..6, 0u8..6, 0i64..4), 2..40), turn in 0usize..40, cut in 1usize..39) {
        let folder = folder();
        let write_rows = |name: &str, rows: &[(u8, u8, i64)]| {
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("user_id", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0.to_string())))),
                ("item_id", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1.to_string())))),
                ("order_id", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| format!("{}-{}", row.0, row.2))))),
                ("timestamp", Arc::new(TimestampSecondArray::from_iter_values(rows.iter().map(|row| 1_500_000_000 + row.2)))),
            ];
            write(&folder.path().join(name), columns)
        };
        let one = read(&write_rows("one.parquet", &rows), None, &DataConfig::default()).unwrap();
        let mut turned = rows.clone();
        turned.rotate_left(turn % rows.len());
        let cut = cut % rows.len();
        write_rows("many/1.parquet", &turned[cut..]);
        write_rows("many/2.parquet", &turned[..cut]);
        let many = folder.path().join("many");
        let two = read(many.to_str().unwrap(), None, &DataConfig::default()).unwrap();
        prop_assert_eq!(&one.log.user, &two.log.user);
        prop_assert_eq!(&one.log.item, &two.log.item);
        prop_assert_eq!(&one.log.order, &two.log.order);
        prop_assert_eq!(&one.log.time, &two.log.time);
    }
}

#[test]
fn circumstances_are_read_tidied_and_carried_along() {
    let folder = folder();
    let device = Arc::new(vec![Some("mobile"), None, Some("desktop"), Some("mobile")].into_iter().collect::<StringArray>());
    let mut nested = ListBuilder::new(StringBuilder::new());
    (0..4).for_each(|_| nested.append(true));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", texts(&["b", "a", "b", "c"])),
        ("item_id", texts(&["x", "y", "z", "x"])),
        ("timestamp", Arc::new(TimestampSecondArray::from(vec![1_500_000_030, 1_500_000_020, 1_500_000_010, 1_500_000_000]))),
        ("ua", device),
        ("location", texts(&["UK>London", "UK > Leeds", "", "UK"])),
        ("traffic_source", Arc::new(nested.finish())),
        ("store_id", Arc::new(Int32Array::from(vec![7, 8, 7, 9]))),
        ("week", Arc::new(Int32Array::from(vec![1, 1, 1, 1]))),
    ];
    let path = write(&folder.path().join("e.parquet"), columns);
    let mapped = config(r#"{"columns": {"device": "ua", "context": ["store_id", "location"]}}"#);
    let data = read(&path, None, &mapped).unwrap();
    let values = |log: &aisle_data::EventLog| -> Vec<Vec<String>> {
        let of = |column: &aisle_data::ContextColumn| {
            (0..log.len()).map(|event| column.value_of(event).unwrap_or("-").to_string()).collect()
        };
        log.context.iter().map(of).collect()
    };
    // By user and time: a, then b's two, then c.
    let expected = [["-", "desktop", "mobile", "mobile"], ["UK > Leeds", "-", "UK > London", "UK"], ["8", "7", "7", "9"]];
    assert_eq!(data.log.context.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["device", "location", "store_id"]);
    assert_eq!(values(&data.log), expected);
    let facts = Inspection::of(&data);
    // A list of texts that nobody asked for is no circumstance, and no reason to stop.
    assert_eq!(facts.other_columns, ["week", "traffic_source"]);
    assert_eq!(facts.context.iter().map(|column| (column.values, column.events)).collect::<Vec<_>>(), [(2, 3), (3, 3), (3, 4)]);

    let (earlier, later) = Split::Share(0.5).apply(&data.log).unwrap();
    assert_eq!(values(&earlier), [["desktop", "mobile"], ["-", "UK"], ["7", "9"]]);
    assert_eq!(values(&later), [["-", "mobile"], ["UK > Leeds", "UK > London"], ["8", "7"]]);
    assert_eq!(values(&data.log.with_min_users(2)), [["mobile", "mobile"], ["UK > London", "UK"], ["7", "9"]]);

    let missing = read(&path, None, &config(r#"{"columns": {"context": ["shop"]}}"#)).unwrap_err();
    assert!(missing.to_string().contains("shop"), "{missing}");
    let nested = read(&path, None, &config(r#"{"columns": {"traffic_source": "traffic_source"}}"#)).unwrap_err();
    assert!(matches!(nested, DataError::WrongType { .. }), "{nested}");
}

#[test]
fn rows_that_differ_in_their_circumstances_alone_read_the_same_in_any_order() {
    let folder = folder();
    let read_rows = |name: &str, devices: &[&str]| {
        let same = vec!["a"; devices.len()];
        let columns = vec![("user_id", texts(&same)), ("item_id", texts(&same)), ("device", texts(devices))];
        let data = read(&write(&folder.path().join(name), columns), None, &DataConfig::default()).unwrap();
        let column = data.log.context.into_iter().next().unwrap();
        (column.values.iter().map(str::to_string).collect::<Vec<_>>(), column.value)
    };
    assert_eq!(read_rows("1.parquet", &["x", "y", "z", "y"]), read_rows("2.parquet", &["y", "z", "y", "x"]));
}

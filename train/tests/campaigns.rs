//! Campaigns by the real binary, on a small shop of which every row is known.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, TimestampMillisecondType, UInt32Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// 2024-01-01.
const BEGIN: i64 = 1_704_067_200_000;
/// The end of the log, 2024-04-10.
const NOW: i64 = BEGIN + 100 * DAY;

/// Shopper, item, event type, moment, price (0 = none), quantity.
type Event = (String, String, &'static str, i64, f64, f64);

fn event(user: &str, item: &str, kind: &'static str, time: i64, price: f64) -> Event {
    (user.into(), item.into(), kind, time, price, 1.0)
}

/// Forty shoppers of one order each, so that a model can be fitted; then those that the tests are about.
fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for shopper in 0..40i64 {
        for step in [0, 1, 2, 10, 11, 12] {
            let item = format!("i{:02}", step / 10 * 10 + (step % 10 + shopper) % 10);
            events.push(event(&format!("b{shopper:02}"), &item, "purchase", BEGIN + shopper * DAY, 10.0));
        }
    }
    let before = |hours: i64| NOW - hours * HOUR;
    // Carts. One left idle, with two units of i00; one bought, one still in use, one too old, one emptied.
    events.push(event("left", "i02", "purchase", before(30 * 24), 10.0));
    events.push(("left".into(), "i00".into(), "cart", before(10), 11.0, 2.0));
    events.push(event("left", "i01", "cart", before(9), 0.0));
    events.extend([event("bought", "i00", "cart", before(10), 10.0), event("bought", "i00", "purchase", before(9), 10.0)]);
    events.extend([event("fresh", "i00", "cart", before(10), 10.0), event("fresh", "i01", "cart", before(1), 10.0)]);
    events.push(event("old", "i00", "cart", before(20 * 24), 10.0));
    events
        .extend([event("emptied", "i00", "cart", before(10), 10.0), event("emptied", "i00", "remove_from_cart", before(9), 10.0)]);
    // Views. Three of i03, one of i04, two of i05, which is out of stock; two that were followed by a purchase.
    events.extend([5, 4, 3].map(|days| event("looker", "i03", "view", before(days * 24), 10.0)));
    events.push(event("looker", "i04", "view", before(48), 10.0));
    events.extend([50, 40].map(|hours| event("looker", "i05", "view", before(hours), 10.0)));
    events.extend([5, 4].map(|days| event("decided", "i03", "view", before(days * 24), 10.0)));
    events.push(event("decided", "i03", "purchase", before(72), 10.0));
    // Prices. i06 costs 8 now and i07 9.50. The last look of one shopper showed 8.20; that of another showed no price.
    events.extend(["i06", "i07"].map(|item| event("watcher", item, "view", before(72), 10.0)));
    events.extend([event("late", "i06", "view", before(71), 10.0), event("late", "i06", "view", before(2), 8.2)]);
    events.push(event("priceless", "i06", "cart", before(48), 0.0));
    events.push(event("priceless", "i06", "remove_from_cart", before(47), 0.0));
    events.extend([event("owner", "i06", "purchase", before(20 * 24), 10.0), event("owner", "i06", "view", before(48), 10.0)]);
    // Habits.
    events.extend([10, 17, 24, 31].map(|day| event("weekly", "i08", "purchase", BEGIN + day * DAY, 10.0)));
    events.extend([10, 40, 70].map(|day| event("monthly", "i08", "purchase", BEGIN + day * DAY, 10.0)));
    events.extend([60, 90].map(|day| event("twice", "i08", "purchase", BEGIN + day * DAY, 10.0)));
    events.push(event("clock", "i19", "view", NOW, 10.0));
    events
}

fn text<'t>(name: &str, values: impl Iterator<Item = Option<&'t str>>) -> (String, ArrayRef) {
    (name.into(), Arc::new(StringArray::from_iter(values)))
}

fn write_events(path: &Path, events: &[Event]) {
    let columns: Vec<(String, ArrayRef)> = vec![
        text("user_id", events.iter().map(|event| Some(event.0.as_str()))),
        text("item_id", events.iter().map(|event| Some(event.1.as_str()))),
        text("event_type", events.iter().map(|event| Some(event.2))),
        ("timestamp".into(), Arc::new(TimestampMillisecondArray::from_iter_values(events.iter().map(|event| event.3)))),
        ("price".into(), Arc::new(Float64Array::from_iter(events.iter().map(|event| (event.4 > 0.0).then_some(event.4))))),
        ("quantity".into(), Arc::new(Float64Array::from_iter_values(events.iter().map(|event| event.5)))),
    ];
    aisle_models::write_table(path, columns).unwrap();
}

/// Twenty items of two categories at 10 each, but for those named.
fn write_items(path: &Path, prices: &[(usize, f64)], unavailable: &[usize]) {
    let ids: Vec<String> = (0..20).map(|item| format!("i{item:02}")).collect();
    let category = |item: usize| if item < 10 { "Cups" } else { "Plates" };
    let price = |item: usize| prices.iter().find(|(other, _)| *other == item).map_or(10.0, |(_, price)| *price);
    let columns: Vec<(String, ArrayRef)> = vec![
        text("item_id", ids.iter().map(|id| Some(id.as_str()))),
        text("category", (0..20).map(|item| Some(category(item)))),
        ("price".into(), Arc::new(Float64Array::from_iter_values((0..20).map(price)))),
        ("available".into(), Arc::new(BooleanArray::from_iter((0..20).map(|item| Some(!unavailable.contains(&item)))))),
    ];
    aisle_models::write_table(path, columns).unwrap();
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aisle-train"));
    command.current_dir(folder).args(arguments);
    for name in ["AISLE_CONFIG", "AISLE_EVENTS", "AISLE_ITEMS", "AISLE_USERS"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

/// A folder with the shop's files and a version of it.
fn shop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_events(&at.join("events.parquet"), &events());
    write_items(&at.join("items.parquet"), &[], &[5]);
    write_items(&at.join("now.parquet"), &[(0, 12.5), (6, 8.0), (7, 9.5)], &[]);
    let files = ["--events", "events.parquet", "--items", "items.parquet"];
    let model = ["--registry", "registry", "--model", "shop", "--alias", "stable", "--set", "factors=8"];
    let output = run(at, &[&["fit"][..], &files, &model].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

fn arguments<'a>(job: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["batch", "--registry", "registry", "--model", "shop", "--job", job, "--out", "out.parquet"][..], rest].concat()
}

/// What is told, and the table.
fn batch(folder: &Path, job: &str, rest: &[&str]) -> (String, RecordBatch) {
    let output = run(folder, &arguments(job, rest));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{job} {rest:?}: {told}");
    (told, read(&folder.join("out.parquet")))
}

fn fail(folder: &Path, job: &str, rest: &[&str]) -> String {
    let output = run(folder, &arguments(job, rest));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && !told.contains("panicked"), "{job} {rest:?}: {told}");
    told
}

fn read(path: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    only(&schema, batches)
}

/// The tables here are shorter than one batch of the reader.
fn only(schema: &Arc<arrow_schema::Schema>, mut batches: Vec<RecordBatch>) -> RecordBatch {
    assert!(batches.len() <= 1);
    batches.pop().unwrap_or_else(|| RecordBatch::new_empty(schema.clone()))
}

fn names(table: &RecordBatch) -> Vec<String> {
    table.schema().fields().iter().map(|field| field.name().clone()).collect()
}

fn texts(table: &RecordBatch, column: &str) -> Vec<String> {
    table.column_by_name(column).unwrap().as_string::<i32>().iter().map(|text| text.unwrap().to_string()).collect()
}

fn numbers(table: &RecordBatch, column: &str) -> Vec<Option<f32>> {
    table.column_by_name(column).unwrap().as_primitive::<Float32Type>().iter().collect()
}

fn moments(table: &RecordBatch, column: &str) -> Vec<i64> {
    table.column_by_name(column).unwrap().as_primitive::<TimestampMillisecondType>().values().to_vec()
}

fn ranks(table: &RecordBatch) -> Vec<u32> {
    table.column_by_name("rank").unwrap().as_primitive::<UInt32Type>().values().to_vec()
}

const LOG: [&str; 2] = ["--events", "events.parquet"];
const TODAY: [&str; 4] = ["--events", "events.parquet", "--items", "now.parquet"];

#[test]
fn a_cart_left_idle_is_written_about_and_a_bought_one_is_not() {
    let folder = shop();
    let (_, carts) = batch(folder.path(), "abandoned-cart", &[&LOG[..], &["--k", "3"]].concat());
    let columns = ["user_id", "item_id", "carted_at", "quantity", "price_then", "price_now", "available", "complements"];
    assert_eq!(names(&carts), columns);
    assert_eq!(
        (texts(&carts, "user_id"), texts(&carts, "item_id")),
        (vec!["left".to_string(); 2], vec!["i01".to_string(), "i00".into()])
    );
    assert_eq!(moments(&carts, "carted_at"), [NOW - 9 * HOUR, NOW - 10 * HOUR]);
    assert_eq!(numbers(&carts, "quantity"), [Some(1.0), Some(2.0)]);
    // The event of i01 has no price, and what the log has of its week came later.
    assert_eq!(numbers(&carts, "price_then"), [None, Some(11.0)]);
    assert_eq!(numbers(&carts, "price_now"), [Some(10.0); 2]);
    assert!(carts.column_by_name("available").unwrap().as_boolean().iter().all(|yes| yes == Some(true)));
    let lists = carts.column_by_name("complements").unwrap().as_list::<i32>();
    let complements =
        |row: usize| -> Vec<String> { lists.value(row).as_string::<i32>().iter().map(|id| id.unwrap().into()).collect() };
    assert!(complements(0).len() == 3 && complements(0) == complements(1));
    assert!(complements(0).iter().all(|id| id.as_str() >= "i10"), "complements are of another category: {:?}", complements(0));

    let (_, all) = batch(folder.path(), "abandoned-cart", &[&TODAY[..], &["--k", "1000"]].concat());
    assert_eq!(all.column_by_name("complements").unwrap().as_list::<i32>().value(0).len(), 10, "as many as are eligible");
    let (_, longer) = batch(folder.path(), "abandoned-cart", &[&LOG[..], &["--window-days", "30", "--idle-hours", "0.5"]].concat());
    assert_eq!(texts(&longer, "user_id"), ["fresh", "fresh", "left", "left", "old"]);
    // Half an hour after it was filled, the cart was in use.
    let (_, earlier) = batch(folder.path(), "abandoned-cart", &[&LOG[..], &["--now", "2024-04-09T15:30"]].concat());
    assert_eq!(earlier.num_rows(), 0);
}

#[test]
fn what_was_looked_at_often_and_not_bought_comes_up_if_it_is_for_sale() {
    let folder = shop();
    let (_, looks) = batch(folder.path(), "browse-abandon", &LOG);
    assert_eq!(names(&looks), ["user_id", "item_id", "views", "viewed_at", "price_then", "price_now"]);
    let who = |table: &RecordBatch| texts(table, "user_id").into_iter().zip(texts(table, "item_id")).collect::<Vec<_>>();
    let pair = |user: &str, item: &str| (user.to_string(), item.to_string());
    assert_eq!(who(&looks), [pair("late", "i06"), pair("looker", "i03")]);
    assert_eq!(looks.column_by_name("views").unwrap().as_primitive::<UInt32Type>().values().to_vec(), [2, 3]);
    assert_eq!(moments(&looks, "viewed_at"), [NOW - 2 * HOUR, NOW - 72 * HOUR]);
    assert_eq!(numbers(&looks, "price_then"), [Some(8.2), Some(10.0)]);
    let (_, restocked) = batch(folder.path(), "browse-abandon", &TODAY);
    assert_eq!(who(&restocked), [pair("late", "i06"), pair("looker", "i03"), pair("looker", "i05")]);
    let (_, once) = batch(folder.path(), "browse-abandon", &[&LOG[..], &["--min-views", "3"]].concat());
    assert_eq!(who(&once), [pair("looker", "i03")]);
}

#[test]
fn a_price_is_compared_with_what_the_shopper_saw() {
    let folder = shop();
    let (_, drops) = batch(folder.path(), "price-drop", &TODAY);
    assert_eq!(names(&drops), ["user_id", "item_id", "seen_at", "price_then", "price_now", "drop"]);
    assert_eq!(
        (texts(&drops, "user_id"), texts(&drops, "item_id")),
        (vec!["priceless".to_string(), "watcher".into()], vec!["i06".to_string(); 2])
    );
    assert_eq!(moments(&drops, "seen_at"), [NOW - 48 * HOUR, NOW - 72 * HOUR]);
    assert_eq!((numbers(&drops, "price_then"), numbers(&drops, "price_now")), (vec![Some(10.0); 2], vec![Some(8.0); 2]));
    assert!(numbers(&drops, "drop").iter().all(|drop| (drop.unwrap() - 0.2).abs() < 1e-6));
    let (_, small) = batch(folder.path(), "price-drop", &[&TODAY[..], &["--min-drop", "0.05"]].concat());
    assert_eq!(texts(&small, "item_id"), ["i06", "i06", "i07"]);
    let (_, smallest) = batch(folder.path(), "price-drop", &[&TODAY[..], &["--min-drop", "0.02", "--bought-days", "10"]].concat());
    assert_eq!(texts(&smallest, "user_id"), ["late", "owner", "priceless", "watcher", "watcher"]);
    let (told, none) = batch(folder.path(), "price-drop", &LOG);
    assert!(none.num_rows() == 0 && names(&none) == names(&drops), "an empty table has its columns");
    assert!(told.contains("0 rows for 0 shoppers") && told.contains("no row: nobody saw") && told.contains("--items"), "{told}");
}

#[test]
fn stock_that_is_back_is_told_to_those_who_saw_it() {
    let folder = shop();
    let (_, back) = batch(folder.path(), "back-in-stock", &TODAY);
    assert_eq!(names(&back), ["user_id", "item_id", "seen_at", "price_then", "price_now"]);
    assert_eq!((texts(&back, "user_id"), texts(&back, "item_id")), (vec!["looker".to_string()], vec!["i05".to_string()]));
    assert_eq!(moments(&back, "seen_at"), [NOW - 40 * HOUR]);
    assert_eq!(batch(folder.path(), "back-in-stock", &LOG).1.num_rows(), 0);
    // As UpdateItems of a server leaves it in the registry.
    std::fs::write(
        folder.path().join("registry/shop/items.json"),
        r#"{"epoch": 1, "items": {"i05": {"available": true, "price": 7.5}}}"#,
    )
    .unwrap();
    let (_, live) = batch(folder.path(), "back-in-stock", &LOG);
    assert_eq!((texts(&live, "item_id"), numbers(&live, "price_now")), (vec!["i05".to_string()], vec![Some(7.5)]));
}

#[test]
fn who_is_silent_for_longer_than_usual_gets_a_list() {
    let folder = shop();
    let (_, lists) = batch(folder.path(), "win-back", &[&LOG[..], &["--k", "4"]].concat());
    let columns = ["user_id", "last_order_at", "usual_gap_days", "silent_days", "rank", "item_id", "score", "reason"];
    assert_eq!(names(&lists), columns);
    assert_eq!((texts(&lists, "user_id"), ranks(&lists)), (vec!["weekly".to_string(); 4], vec![1, 2, 3, 4]));
    assert_eq!(moments(&lists, "last_order_at"), [BEGIN + 31 * DAY; 4]);
    // Three gaps of 7 days and one of everybody's 30.
    let usual = (7f64.powi(3) * 30.0).powf(0.25) as f32;
    assert!(numbers(&lists, "usual_gap_days").iter().all(|gap| (gap.unwrap() - usual).abs() < 1e-4));
    assert_eq!(numbers(&lists, "silent_days"), [Some(69.0); 4]);
    let items = texts(&lists, "item_id");
    assert!(!items.iter().any(|item| item == "i08" || item == "i05"), "neither what they had nor what is not for sale: {items:?}");
    let (_, sooner) = batch(folder.path(), "win-back", &[&LOG[..], &["--lapse", "0.9", "--k", "1"]].concat());
    assert_eq!(texts(&sooner, "user_id"), ["monthly", "weekly"]);
}

#[test]
fn reorders_are_listed_down_to_a_probability() {
    let folder = shop();
    let (_, all) = batch(folder.path(), "buy-again", &["--min-probability", "0", "--k", "4"]);
    assert_eq!(names(&all), ["user_id", "rank", "item_id", "probability", "due_in_days", "orders", "days_since"]);
    let had: BTreeSet<(String, String)> =
        (events().into_iter()).filter(|event| event.2 == "purchase" && event.1 != "i05").map(|event| (event.0, event.1)).collect();
    let per = |user: &str| had.iter().filter(|pair| pair.0 == user).count().min(4);
    let users: BTreeSet<&String> = had.iter().map(|pair| &pair.0).collect();
    assert_eq!(all.num_rows(), users.iter().map(|user| per(user)).sum::<usize>());
    let pairs: Vec<(String, String)> = texts(&all, "user_id").into_iter().zip(texts(&all, "item_id")).collect();
    assert!(pairs.iter().all(|pair| had.contains(pair)));
    let probability = numbers(&all, "probability");
    let cut = probability.iter().flatten().copied().fold(0.0, f32::max) / 2.0;
    let typed = cut.to_string();
    let (_, likely) = batch(folder.path(), "buy-again", &["--min-probability", &typed, "--k", "4"]);
    assert_eq!(likely.num_rows(), probability.iter().flatten().filter(|&&found| found >= cut).count());
    assert!(likely.num_rows() > 0 && likely.num_rows() < all.num_rows());
}

#[test]
fn only_who_agreed_and_was_left_alone_lately_is_written_to_and_some_are_held_out() {
    let folder = shop();
    let at = folder.path();
    // Of b00 to b39 every fourth says no, another says nothing; nobody else is in the file.
    let answers = [Some("yes"), Some("no"), None, Some("1")];
    let ids: Vec<String> = (0..40).map(|shopper| format!("b{shopper:02}")).collect();
    let columns = vec![
        text("user_id", ids.iter().map(|id| Some(id.as_str()))),
        text("newsletter", (0..40).map(|shopper| answers[shopper % 4])),
    ];
    aisle_models::write_table(&at.join("users.parquet"), columns).unwrap();
    // b00 was written to two days ago, b03 twenty days ago, b04 three days ago and the day after now.
    let sent = [("b00", NOW - 2 * DAY), ("b03", NOW - 20 * DAY), ("b04", NOW - 3 * DAY), ("b04", NOW + DAY)];
    let columns = vec![
        text("user_id", sent.iter().map(|line| Some(line.0))),
        ("sent_at".into(), Arc::new(TimestampMillisecondArray::from_iter_values(sent.iter().map(|line| line.1))) as ArrayRef),
    ];
    aisle_models::write_table(&at.join("sent.parquet"), columns).unwrap();

    let written = |rest: &[&str]| -> (String, BTreeSet<String>) {
        let (told, table) = batch(at, "personal", &[&["--k", "1", "--now", "2024-04-10"][..], rest].concat());
        let users = texts(&table, "user_id");
        assert_eq!(table.num_rows(), users.iter().collect::<BTreeSet<_>>().len());
        (told, users.into_iter().collect())
    };
    let consent = ["--users", "users.parquet", "--consent", "newsletter"];
    let agreed: BTreeSet<String> =
        ids.iter().enumerate().filter(|(at, _)| at % 4 == 0 || at % 4 == 3).map(|(_, id)| id.clone()).collect();
    let (everybody, all) = written(&[]);
    assert!(
        all.is_superset(&agreed) && all.contains("b01") && all.contains("left") && !everybody.contains("left out"),
        "{everybody}"
    );
    let (told, users) = written(&consent);
    assert_eq!(users, agreed);
    assert!(told.contains(&format!("left out: {} without consent (newsletter)", all.len() - 20)), "{told}");

    let (told, users) = written(&[&consent[..], &["--sent", "sent.parquet"]].concat());
    assert_eq!(agreed.difference(&users).cloned().collect::<Vec<_>>(), ["b00", "b04"]);
    assert!(told.contains("left out: 2 got 1 or more within 7 days"), "{told}");
    let (_, users) = written(&[&consent[..], &["--sent", "sent.parquet", "--cap", "2"]].concat());
    assert_eq!(agreed.difference(&users).cloned().collect::<Vec<_>>(), ["b04"]);

    assert!(!at.join("out.holdout.parquet").exists());
    let hold = [&consent[..], &["--sent", "sent.parquet", "--holdout", "0.4"]].concat();
    let (told, users) = written(&hold);
    let held: BTreeSet<String> = texts(&read(&at.join("out.holdout.parquet")), "user_id").into_iter().collect();
    assert!(held.len() > 2 && users.len() > 2 && held.is_disjoint(&users), "{held:?} {users:?}");
    assert_eq!(&(&held | &users) | &["b00", "b04"].map(String::from).into(), agreed, "everybody who agreed is somewhere");
    assert!(told.contains(&format!("left out: {} held out → out.holdout.parquet", held.len())), "{told}");
    let bytes = || ["out.parquet", "out.holdout.parquet"].map(|name| std::fs::read(at.join(name)).unwrap());
    let before = bytes();
    assert_eq!((written(&hold).1, bytes() == before), (users, true), "the same shoppers every time");
    let other = written(&[&hold[..], &["--holdout-salt", "spring"]].concat()).1;
    assert_ne!(bytes()[1], before[1], "{other:?}");
    let left: Vec<_> =
        std::fs::read_dir(at).unwrap().flatten().filter(|entry| entry.file_name().to_string_lossy().contains("writing")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_shopper_held_out_of_a_cart_campaign_is_in_the_holdout_alone() {
    let folder = shop();
    let wide = ["--window-days", "30", "--idle-hours", "0", "--holdout", "0.5"];
    let (mut campaign, mut held) = (BTreeSet::new(), BTreeSet::new());
    // Of three shoppers with a cart, some salt holds a part out.
    for salt in ["a", "b", "c", "d", "e", "f"] {
        let (told, carts) = batch(folder.path(), "abandoned-cart", &[&LOG[..], &wide, &["--holdout-salt", salt]].concat());
        campaign = texts(&carts, "user_id").into_iter().collect::<BTreeSet<_>>();
        held = texts(&read(&folder.path().join("out.holdout.parquet")), "user_id").into_iter().collect();
        assert!(campaign.is_disjoint(&held) && campaign.len() + held.len() == 3, "{campaign:?} {held:?}");
        assert!(told.contains(&format!("for {} shoppers", campaign.len())), "{told}");
        if !campaign.is_empty() && !held.is_empty() {
            break;
        }
    }
    assert!(!campaign.is_empty() && !held.is_empty());
    assert_eq!(&campaign | &held, ["fresh", "left", "old"].map(String::from).into());
}

#[test]
fn threads_and_the_order_of_rows_do_not_change_a_byte() {
    let folder = shop();
    let at = folder.path();
    let mut turned = events();
    turned.reverse();
    write_events(&at.join("turned.parquet"), &turned);
    for job in ["abandoned-cart", "browse-abandon", "price-drop", "back-in-stock", "win-back"] {
        let bytes = ["1", "2"].map(|threads| {
            let log = if threads == "1" { "events.parquet" } else { "turned.parquet" };
            let (_, table) = batch(at, job, &["--events", log, "--items", "now.parquet", "--threads", threads]);
            assert!(table.num_rows() > 0, "{job}");
            std::fs::read(at.join("out.parquet")).unwrap()
        });
        assert!(bytes[0] == bytes[1], "{job}");
    }
}

#[test]
fn mistakes_are_told_with_the_way_out() {
    let folder = shop();
    let at = folder.path();
    let columns = vec![text("user_id", ["a"].map(Some).into_iter()), text("opt_in", ["yes"].map(Some).into_iter())];
    aisle_models::write_table(&at.join("users.parquet"), columns).unwrap();
    for (job, rest, hint) in [
        ("abandoned-cart", vec![], "add --events"),
        ("win-back", [&LOG[..], &["--min-drop", "0.2"]].concat(), "--min-drop belongs to price-drop"),
        ("similar", vec!["--holdout", "0.1"], "--holdout is about shoppers"),
        ("personal", vec!["--consent", "newsletter"], "add --users"),
        (
            "personal",
            vec!["--consent", "newsletter", "--users", "users.parquet"],
            "has no column 'newsletter'; it has: user_id, opt_in",
        ),
        ("personal", vec!["--holdout", "1"], "0 to below 1"),
        ("personal", vec!["--sent", "users.parquet"], "has no column 'sent_at'; it has: user_id, opt_in"),
        ("personal", vec!["--items", "items.parquet"], "add --events"),
        ("price-drop", [&LOG[..], &["--now", "2023-01-01"]].concat(), "before the log"),
        ("price-drop", [&LOG[..], &["--now", "tomorrow"]].concat(), "2017-11-12T09:30"),
    ] {
        let told = fail(at, job, &rest);
        assert!(told.contains(hint), "{job} {rest:?}: {told}");
        assert!(!at.join("out.parquet").exists(), "nothing is written");
    }
}

//! How cost grows with the log: generates synthetic shops of the sizes named, reads each, builds
//! its matrix, and times iterations of ALS at d = 64. One row a size; peak memory is that of the
//! process, so name sizes in ascending order.
//!
//! `cargo run --release --example scale -- 1000000 10000000 100000000`

use aisle_data::{DataConfig, Dataset, EventLog, Generator, Interactions, Orders, Tables};
use aisle_math::sparse::Csr;
use aisle_models::{Als, Fit, Progress, Training};
use aisle_train::report::{bytes, count, peak_rss, seconds, table};
use std::sync::Mutex;
use std::time::Instant;

/// Notes when each iteration ended.
struct IterationTimer(Mutex<Vec<Instant>>);

impl Progress for IterationTimer {
    fn step(&self, _: &str, _: usize, _: usize) {
        if let Ok(mut ends) = self.0.lock() {
            ends.push(Instant::now());
        }
    }
}

fn size_of(matrix: &Csr) -> usize {
    std::mem::size_of_val(&matrix.offsets[..])
        + std::mem::size_of_val(&matrix.indices[..])
        + std::mem::size_of_val(&matrix.values[..])
}

fn measure(events: u64) -> anyhow::Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let one_for = |each: u64| (events / each).clamp(1, u64::from(u32::MAX)) as u32;
    let began = Instant::now();
    Generator {
        events,
        users: one_for(50),
        items: one_for(100),
        days: 180,
        seed: 42,
    }
    .write(folder.path())?;
    let generated = began.elapsed().as_secs_f64();

    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (log, items) = (at("events.parquet"), at("items.parquet"));
    let began = Instant::now();
    let data = Dataset::read(
        &Tables {
            events: &log,
            items: Some(&items),
            users: None,
        },
        &DataConfig::default(),
    )?;
    let read = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let interactions = Interactions::of(&data.log);
    let built = began.elapsed().as_secs_f64();
    let each = (size_of(&interactions.by_user) + size_of(&interactions.by_item)) as f64
        / interactions.nnz() as f64;

    // A fit needs the matrix alone.
    let catalog = data.catalog.clone();
    drop(data);
    let (log, orders, timer) = (
        EventLog::default(),
        Orders::of(&EventLog::default()),
        IterationTimer(Mutex::default()),
    );
    let training = Training {
        log: &log,
        interactions: &interactions,
        orders: &orders,
        catalog: &catalog,
        users: &[],
    };
    let model = Als {
        factors: 64,
        iterations: 3,
        ..Als::default()
    }
    .fit(&training, &timer)?;
    drop(model);
    let ends = timer.0.into_inner().unwrap_or_default();
    let epoch = match ends.as_slice() {
        [first, .., last] => (*last - *first).as_secs_f64() / (ends.len() - 1) as f64,
        _ => f64::NAN,
    };
    Ok(vec![
        count(events),
        count(interactions.nnz() as u64),
        count(interactions.users() as u64),
        count(interactions.items() as u64),
        seconds(generated),
        seconds(read),
        count((events as f64 / read) as u64),
        seconds(built),
        format!("{each:.1}"),
        seconds(epoch),
        format!("{:.0} ns", epoch * 1e9 / interactions.nnz() as f64),
        bytes(peak_rss()),
    ])
}

fn main() -> anyhow::Result<()> {
    let sizes: Vec<u64> = std::env::args()
        .skip(1)
        .map(|size| size.parse())
        .collect::<Result<_, _>>()?;
    let sizes = if sizes.is_empty() {
        vec![100_000, 1_000_000]
    } else {
        sizes
    };
    let header = [
        "events",
        "interactions",
        "users",
        "items",
        "generate",
        "read",
        "rows/s",
        "matrix",
        "B/interaction",
        "epoch",
        "per interaction",
        "peak",
    ];
    let mut rows = Vec::new();
    for size in sizes {
        eprintln!("{} events …", count(size));
        rows.push(measure(size)?);
    }
    println!(
        "{} threads\n{}",
        rayon::current_num_threads(),
        table(&header, &rows)
    );
    Ok(())
}

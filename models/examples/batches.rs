//! Times batches of searches on all cores and on a device, and asserts that both find the same.
//!
//! `cargo run --release --example batches -- FOLDER DEPTH K DEVICE`: FOLDER holds `items.f32` and
//! `queries.f32` as for the example `retrieval`. DEVICE is `cpu`, or `cuda` in a build with that
//! feature. Writes `found.u32` (K rows a query), and prints the seconds that all queries took, the
//! shortest of five rounds each.

use aisle_models::{Bitmap, Device, Eligible, Exact, Index, OnDevice, Scored};
use std::io::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// How often all queries are searched.
const ROUNDS: usize = 5;
/// Queries that are searched together, as many as in `aisle-train evaluate`.
const CALL: usize = 4096;

/// Reads little-endian numbers.
fn numbers(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&number| f32::from_le_bytes(number))
        .collect())
}

/// Returns what was found, and the seconds of the fastest round.
fn timed_search(index: &dyn Index, queries: &[&[f32]], k: usize) -> (Vec<Vec<Scored>>, f64) {
    let all = Bitmap::filled(index.len(), true);
    let mut fastest = f64::INFINITY;
    let mut found = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let calls = queries.chunks(CALL);
        found = calls
            .flat_map(|call| index.search_batch(call, k, &vec![Eligible::new(&all); call.len()]))
            .collect();
        fastest = fastest.min(began.elapsed().as_secs_f64());
    }
    (found, fastest)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, depth, k, device] = arguments.as_slice() else {
        return Err(Error::other("expected FOLDER DEPTH K DEVICE"));
    };
    let number = |text: &str| {
        text.parse::<usize>()
            .map_err(|_| Error::other(format!("{text}: expected a whole number")))
    };
    let (folder, depth, k) = (Path::new(folder), number(depth)?, number(k)?);
    let device: Device = device.parse().map_err(Error::other)?;
    let (items, queries) = (
        numbers(&folder.join("items.f32"))?,
        numbers(&folder.join("queries.f32"))?,
    );
    let queries: Vec<&[f32]> = queries.chunks_exact(depth).collect();

    let exact = Arc::new(Exact::new(items.into(), depth));
    let (found, cores) = timed_search(exact.as_ref(), &queries, k);
    let began = Instant::now();
    let on_device = OnDevice::new(exact, device).map_err(Error::other)?;
    let copied = began.elapsed().as_secs_f64();
    let (found_on_device, seconds) = timed_search(&on_device, &queries, k);
    assert_eq!(
        found, found_on_device,
        "the device finds what the cores find"
    );
    let rows = found.iter().flat_map(|found| {
        found
            .iter()
            .map(|scored| scored.item)
            .chain(std::iter::repeat(u32::MAX))
            .take(k)
    });
    std::fs::write(
        folder.join("found.u32"),
        rows.flat_map(u32::to_le_bytes).collect::<Vec<u8>>(),
    )?;
    println!(
        "{{\"cores_seconds\": {cores}, \"device_seconds\": {seconds}, \"copy_seconds\": {copied}}}"
    );
    Ok(())
}

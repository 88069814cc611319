//! Times searches one by one on one thread, and writes what was found, so that it can be compared
//! with the answers of other indexes.
//!
//! `cargo run --release --example retrieval -- FOLDER DEPTH K`: FOLDER holds `items.f32` and
//! `queries.f32`, row-major little-endian numbers, perhaps `allowed.bits`, one bit for each item,
//! the lowest first, and perhaps `sample.f32`, queries that choose lists of items. Writes
//! `found.u32` (K rows a query, padded with `u32::MAX`) and `times.f64` (seconds of each query, the
//! shortest of three rounds), and prints the seconds to build and the bytes beside the vectors.

use aisle_models::{Bitmap, Eligible, Exact, Index, InvertedLists, SearchBuffer};
use std::io::{Error, Result};
use std::path::Path;
use std::time::Instant;

/// How often each query is searched.
const ROUNDS: usize = 3;

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

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, depth, k] = arguments.as_slice() else {
        return Err(Error::other("expected FOLDER DEPTH K"));
    };
    let number = |text: &str| {
        text.parse::<usize>()
            .map_err(|_| Error::other(format!("{text}: expected a whole number")))
    };
    let (folder, depth, k) = (Path::new(folder), number(depth)?, number(k)?);
    let (items, queries) = (
        numbers(&folder.join("items.f32"))?,
        numbers(&folder.join("queries.f32"))?,
    );
    let len = items.len() / depth;
    let allowed = match std::fs::read(folder.join("allowed.bits")) {
        Ok(bits) => Bitmap::of(len, |item| {
            bits.get(item as usize / 8)
                .is_some_and(|byte| byte >> (item % 8) & 1 == 1)
        }),
        Err(_) => Bitmap::filled(len, true),
    };

    let began = Instant::now();
    let mut index = Exact::new(items.into(), depth);
    let mut retrieval = None;
    if let Ok(sample) = numbers(&folder.join("sample.f32")) {
        let sample: Vec<&[f32]> = sample.chunks_exact(depth).collect();
        if let Some((lists, measured)) = InvertedLists::of(&index, &sample) {
            eprintln!("{measured:?}");
            if measured.is_worthwhile() {
                index = Exact::with_lists(index.rows().to_vec().into(), depth, Some(lists));
                retrieval = Some(measured);
            }
        }
    }
    let built = began.elapsed().as_secs_f64();

    let queries: Vec<&[f32]> = queries.chunks_exact(depth).collect();
    let mut times = vec![f64::INFINITY; queries.len()];
    let mut lists = Vec::new();
    let mut buffer = SearchBuffer::default();
    for _ in 0..ROUNDS {
        lists.clear();
        for (query, time) in queries.iter().zip(&mut times) {
            let began = Instant::now();
            index.search(query, k, Eligible::new(&allowed), &mut buffer);
            *time = time.min(began.elapsed().as_secs_f64());
            let rows = buffer
                .items
                .iter()
                .map(|scored| scored.item)
                .chain(std::iter::repeat(u32::MAX))
                .take(k);
            lists.extend(rows.flat_map(u32::to_le_bytes));
        }
    }
    std::fs::write(folder.join("found.u32"), lists)?;
    std::fs::write(
        folder.join("times.f64"),
        times
            .iter()
            .flat_map(|time| time.to_le_bytes())
            .collect::<Vec<u8>>(),
    )?;
    let lists = serde_json::to_string(&retrieval).map_err(Error::other)?;
    let (extra, vectors) = (index.bytes(), len * depth * 4);
    println!(
        "{{\"build_seconds\": {built}, \"extra_bytes\": {extra}, \
         \"vector_bytes\": {vectors}, \"lists\": {lists}}}"
    );
    Ok(())
}

//! What the exact index promises: the answers of the plain scan, whatever the vectors.

mod batches;
mod cosine;
mod small;
mod whatever_the_vectors;

use super::*;
use crate::bitmap::Bitmap;
use crate::top_k::TopK;
use aisle_math::random::SplitMix;

const ITEMS: usize = 3000;
const QUERIES: usize = 6;

/// Vectors of one kind, indexed without lists and with lists that are all searched.
struct Case {
    name: String,
    queries: Vec<Vec<f32>>,
    index: Exact,
    listed: Exact,
}

/// A search that a case is tested with.
struct Trial {
    name: String,
    k: usize,
    allowed: Bitmap,
}

impl Trial {
    fn eligible(&self) -> Eligible<'_> {
        Eligible::without(&self.allowed, &[3, 5, 700])
    }
}

/// Every kind of vectors at every level of instructions that this processor has.
fn cases() -> impl Iterator<Item = Case> {
    let kinds = [
        ("normal", 64),
        ("skewed", 32),
        ("unit", 50),
        ("outliers", 17),
        ("extreme", 8),
        ("copies", 5),
    ];
    let levels = Level::available();
    kinds.into_iter().flat_map(move |(kind, depth)| {
        let mut random = SplitMix(depth as u64);
        let rows: Vec<f32> = (0..ITEMS)
            .flat_map(|number| vector(kind, depth, number, &mut random))
            .collect();
        let queries: Vec<Vec<f32>> = (0..QUERIES)
            .map(|number| vector(kind, depth, number, &mut random))
            .collect();
        levels.clone().into_iter().map(move |level| {
            let lists = InvertedLists::all_searched(ITEMS, depth, 5);
            Case {
                name: format!("{kind}, {level:?}"),
                queries: queries.clone(),
                index: Exact::with_level(rows.clone().into(), depth, None, level),
                listed: Exact::with_level(rows.clone().into(), depth, Some(lists), level),
            }
        })
    })
}

/// Filters that pass all items to one in a hundred, and one result to all.
fn trials(case: &Case) -> Vec<Trial> {
    let mut trials = Vec::new();
    for one_of in [1, 2, 7, 100] {
        for k in [1, 20, 300, ITEMS] {
            trials.push(Trial {
                name: format!("{}, one item of {one_of}, k {k}", case.name),
                k,
                allowed: Bitmap::of(ITEMS, |item| item as usize * 7919 % ITEMS < ITEMS / one_of),
            });
        }
    }
    trials
}

fn vector(kind: &str, depth: usize, number: usize, random: &mut SplitMix) -> Vec<f32> {
    if kind == "copies" {
        let number = number % 7;
        return (0..depth)
            .map(|d| ((number * 5 + d * 3) % 11) as f32 - 5.0)
            .collect();
    }
    let mut vector: Vec<f32> = (0..depth).map(|_| random.normal()).collect();
    let length = length_of(&vector) as f32;
    let scale = match kind {
        // Lengths as those of items whose sales follow Zipf's law, the last ones without a vector.
        "skewed" if number > 2900 => 0.0,
        "skewed" => 30.0 / (number + 1) as f32,
        "extreme" => [1.0, 1e-30, 1e25, 1e-42, 0.0, f32::MAX][number % 6],
        _ => 1.0,
    };
    vector.iter_mut().for_each(|value| *value *= scale);
    match kind {
        "unit" => vector.iter_mut().for_each(|value| *value /= length),
        "outliers" => vector[number % depth] *= 300.0,
        _ => {}
    }
    vector
}

/// What the plain scan in f32 finds.
fn plain_scan(index: &Exact, query: &[f32], k: usize, eligible: Eligible) -> Vec<Scored> {
    let items: Vec<u32> = (0..index.len() as u32).collect();
    let mut scores = vec![0f32; items.len()];
    dot_rows(simd(), index.rows(), &items, query, &mut scores);
    let mut top = TopK::new(k);
    for (item, score) in items.into_iter().zip(scores) {
        if eligible.contains(item) {
            top.offer(item, score);
        }
    }
    top.into_sorted()
}

//! The steps of a GPU on the cores, with sums in another order: to compare with.

use super::block::{Candidates, MAX_CANDIDATES, QueryBlock};
use rayon::prelude::*;

/// Positions of a tile.
const TILE: usize = 128;

/// The vectors by position, row-major.
pub(super) struct Cores {
    pub rows: Vec<f32>,
    pub depth: usize,
}

/// A score and its position.
type ScoredPosition = (f32, u32);

impl Cores {
    /// Finds the candidates of a block of queries, a tile of vectors after the other.
    pub fn candidates(&self, block: &QueryBlock) -> Candidates {
        let mut limits = vec![f32::NEG_INFINITY; block.queries.len()];
        let mut kept: Vec<Option<Vec<ScoredPosition>>> =
            vec![Some(Vec::new()); block.queries.len()];
        for (number, rows) in self.rows.chunks(TILE * self.depth).enumerate() {
            let first = number * TILE;
            if first > 0 && (block.is_done)(first, &limits) {
                break;
            }
            let tile = Tile {
                first: first as u32,
                rows,
                depth: self.depth,
            };
            let of_queries = kept.par_iter_mut().zip(&mut limits).enumerate();
            of_queries.for_each(|(number, (kept, limit))| {
                let Some(positions) = kept else { return };
                let query = Query::of(block, number);
                query.collect(&tile, *limit, positions);
                query.raise_limit(limit, positions);
                if positions.len() > MAX_CANDIDATES {
                    *kept = None;
                }
            });
        }
        let positions =
            |kept: Vec<ScoredPosition>| kept.into_iter().map(|(_, position)| position).collect();
        kept.into_iter().map(|kept| kept.map(positions)).collect()
    }
}

/// Vectors whose scores are computed together.
struct Tile<'a> {
    /// The position of the first vector.
    first: u32,
    rows: &'a [f32],
    depth: usize,
}

/// One query of a block. See [`QueryBlock`].
struct Query<'a> {
    values: &'a [f32],
    needed: usize,
    slack: f32,
    allowed: &'a [u32],
}

impl<'a> Query<'a> {
    fn of(block: &'a QueryBlock, number: usize) -> Self {
        Self {
            values: block.queries[number],
            needed: block.needed[number] as usize,
            slack: block.slack[number],
            allowed: block.allowed,
        }
    }

    fn is_allowed(&self, position: u32) -> bool {
        self.allowed
            .get(position as usize / 32)
            .is_some_and(|word| word >> (position % 32) & 1 == 1)
    }

    /// Adds the allowed positions of a tile that reach the limit.
    fn collect(&self, tile: &Tile, limit: f32, positions: &mut Vec<ScoredPosition>) {
        let lowest = (limit - self.slack).next_down();
        for (position, row) in (tile.first..).zip(tile.rows.chunks(tile.depth)) {
            let products = row.iter().zip(self.values);
            let score: f64 = products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let score = score as f32;
            if self.is_allowed(position) && score >= lowest {
                positions.push((score, position));
            }
        }
    }

    /// Raises the limit to the score that as many positions reach as are needed, and drops the
    /// positions below.
    fn raise_limit(&self, limit: &mut f32, positions: &mut Vec<ScoredPosition>) {
        if positions.len() <= self.needed {
            return;
        }
        positions.select_nth_unstable_by(self.needed - 1, |a, b| b.0.total_cmp(&a.0));
        *limit = positions[self.needed - 1].0;
        let lowest = (*limit - self.slack).next_down();
        positions.retain(|position| position.0 >= lowest);
    }
}

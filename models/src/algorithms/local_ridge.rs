//! Ridge regression of each item on its nearest neighbours.
//!
//! EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019) restricted to the
//! K items that an item occurs together with most: with G = XᵀX and N the neighbours of j, the
//! weights into j solve (G_NN + λI) w = G_Nj, one K × K Cholesky factorisation for each item. A
//! pair of items of a user with n items counts n^-length, so that a few long histories do not drown
//! the rest.

use crate::algorithms::item_item::ItemItemModel;
use crate::algorithms::neighbours::{Neighbours, SparseSums};
use crate::algorithms::recommend::{Fit, Progress, Training, check_range};
use crate::algorithms::scaling::Scaling;
use crate::error::Result;
use aisle_data::NONE;
use aisle_math::kernels::{LANES, simd, solve};
use aisle_math::sparse::Csr;
use aisle_retrieval::top_k::{Scored, TopK};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Items between two reports of progress.
const REPORT_EVERY: usize = 4096;

/// Hyperparameters of local ridge regressions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalRidge {
    /// Number K of neighbours that an item is regressed on, 1 to 2000.
    pub neighbours: usize,
    /// Strength λ of the L2 regularization, 0.001 or more, in units of users who chose both items.
    pub l2: f32,
    /// Exponent from 0 to 1: a pair of items of a user with n items counts n^-length.
    pub length: f32,
    /// Most items of a shopper that count, 2 or more; of a longer history as many are drawn evenly.
    /// Bounds the time that a single robot can cost.
    pub longest: usize,
    /// How summed event weights become confidence.
    pub scaling: Scaling,
}

impl Default for LocalRidge {
    fn default() -> Self {
        Self {
            neighbours: 100,
            l2: 20.0,
            length: 0.5,
            longest: 2000,
            scaling: Scaling::Log,
        }
    }
}

/// The matrix X of confidences that all regressions share.
struct Design {
    by_user: Csr,
    by_item: Csr,
    /// The diagonal of XᵀX: Σ x² of each item.
    diagonal: Vec<f32>,
}

/// One entry of X in the column of a neighbour, linked to the entries of the same user before it.
#[derive(Clone, Copy)]
struct Entry {
    /// Number of the neighbour among those of the item.
    neighbour: u32,
    value: f32,
    /// Place of the user's entry before this one; [`NONE`] if it is the first.
    previous: u32,
}

/// Memory that one thread reuses to build and solve the systems.
struct Scratch {
    sums: SparseSums,
    /// Place of the last entry of each user in `entries`; [`NONE`] if the user has none.
    last_entry: Vec<u32>,
    entries: Vec<Entry>,
    matrix: Vec<f32>,
    right_side: Vec<f32>,
}

impl Scratch {
    fn new(users: usize) -> Self {
        Self {
            sums: SparseSums::default(),
            last_entry: vec![NONE; users],
            entries: Vec::new(),
            matrix: Vec::new(),
            right_side: Vec::new(),
        }
    }
}

impl LocalRidge {
    /// Checks the ranges of the hyperparameters.
    fn validate(&self) -> Result<()> {
        check_range("neighbours", self.neighbours, 1..=2000)?;
        check_range("longest", self.longest, 2..=usize::MAX)?;
        check_range("l2", self.l2, 1e-3..=f32::MAX)?;
        check_range("length", self.length, 0.0..=1.0)
    }

    /// Returns the weights into one item from its neighbours.
    fn weights_into(&self, item: u32, design: &Design, scratch: &mut Scratch) -> Vec<Scored> {
        scratch
            .sums
            .co_occurrences(&design.by_user, &design.by_item, item);
        let neighbours = self.nearest(item, &scratch.sums, &design.diagonal);
        if neighbours.is_empty() {
            return Vec::new();
        }
        let size = neighbours.len().next_multiple_of(LANES);
        scratch.matrix.clear();
        scratch.matrix.resize(size * size, 0.0);
        scratch.right_side.clear();
        scratch.right_side.resize(size, 0.0);
        add_gram(&neighbours, size, design, scratch);
        for (position, &other) in neighbours.iter().enumerate() {
            scratch.matrix[position * size + position] =
                (design.diagonal[other as usize] + self.l2).max(f32::MIN_POSITIVE);
            scratch.right_side[position] = scratch.sums.values[other as usize];
        }
        (neighbours.len()..size).for_each(|pad| scratch.matrix[pad * size + pad] = 1.0);
        if !solve(simd(), size, &mut scratch.matrix, &mut scratch.right_side) {
            return Vec::new();
        }
        neighbours
            .iter()
            .zip(&scratch.right_side)
            .filter(|(_, weight)| weight.is_finite() && **weight != 0.0)
            .map(|(&item, &score)| Scored { item, score })
            .collect()
    }

    /// Returns the items with the largest cosine with `item`, best first. `sums` holds the row of
    /// XᵀX of `item`, whose own length is the same for all of them.
    fn nearest(&self, item: u32, sums: &SparseSums, diagonal: &[f32]) -> Vec<u32> {
        let mut top = TopK::new(self.neighbours);
        for &other in sums.touched.iter().filter(|&&other| other != item) {
            let length = diagonal[other as usize].sqrt().max(f32::MIN_POSITIVE);
            top.offer(other, sums.values[other as usize] / length);
        }
        top.into_sorted()
            .into_iter()
            .map(|scored| scored.item)
            .collect()
    }
}

/// Adds the products of different neighbours to the upper triangle of the matrix of `scratch`. The
/// entries of a user form a chain, and each new entry is multiplied with all those before it.
fn add_gram(neighbours: &[u32], size: usize, design: &Design, scratch: &mut Scratch) {
    let Scratch {
        last_entry,
        entries,
        matrix,
        ..
    } = scratch;
    entries.clear();
    for (position, &other) in neighbours.iter().enumerate() {
        let (users, values) = design.by_item.row(other as usize);
        for (&user, &value) in users.iter().zip(values) {
            let mut at = last_entry[user as usize];
            let previous = std::mem::replace(&mut last_entry[user as usize], entries.len() as u32);
            entries.push(Entry {
                neighbour: position as u32,
                value,
                previous,
            });
            while at != NONE {
                let first = entries[at as usize];
                matrix[first.neighbour as usize * size + position] += first.value * value;
                at = first.previous;
            }
        }
    }
    for &other in neighbours {
        design
            .by_item
            .columns(other as usize)
            .iter()
            .for_each(|&user| last_entry[user as usize] = NONE);
    }
}

impl Fit for LocalRidge {
    type Model = ItemItemModel;

    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<ItemItemModel> {
        self.validate()?;
        let data = training.require_interactions("local-ridge")?;
        let capped = data.by_user.capped(self.longest);
        let by_user = self.scaling.applied_by_length(capped, self.length);
        let by_item = by_user.transposed(data.items());
        let diagonal: Vec<f32> = (0..data.items())
            .map(|item| by_item.row(item).1.iter().map(|value| value * value).sum())
            .collect();
        let design = Design {
            by_user,
            by_item,
            diagonal,
        };
        let done = AtomicUsize::new(0);
        let columns: Vec<Vec<Scored>> = (0..data.items() as u32)
            .into_par_iter()
            .map_init(
                || Scratch::new(data.users()),
                |scratch, item| {
                    let column = self.weights_into(item, &design, scratch);
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(REPORT_EVERY) || done == data.items() {
                        progress.step("local-ridge", done, data.items());
                    }
                    column
                },
            )
            .collect();
        Ok(ItemItemModel::local_ridge(
            Neighbours::from_columns(columns),
            self.scaling,
        ))
    }
}

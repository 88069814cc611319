//! Ridge regression of each item on its nearest neighbours.
//!
//! EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019) restricted to the K items that an item co-occurs
//! with most: with G = XᵀX and N the neighbours of j, the weights into j solve (G_NN + λI) w = G_Nj, one K × K Cholesky
//! an item. A user of n items counts n^-length, so that a few long histories do not drown the rest.

use crate::als::Scaling;
use crate::item_item::ItemItemModel;
use crate::kernels::{LANES, simd, solve};
use crate::neighbours::{Neighbours, Sums};
use crate::recommend::{Fit, Training, Watch, hyperparameter};
use crate::top_k::{Scored, TopK};
use crate::{ModelError, Result};
use aisle_data::{Csr, NONE};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalRidge {
    /// K: neighbours that an item is regressed on, 1 to 2000.
    pub neighbours: usize,
    /// λ of 0.001 or more, in units of users who chose both.
    pub l2: f32,
    /// From 0 to 1: how much a user of n items counts less, n^-length.
    pub length: f32,
    /// Items of a shopper that count, 2 or more: of a longer history as many, drawn evenly. Bounds what one robot can cost.
    pub longest: usize,
    /// Confidence from summed event weights.
    pub scaling: Scaling,
}

impl Default for LocalRidge {
    fn default() -> Self {
        Self { neighbours: 100, l2: 20.0, length: 0.5, longest: 2000, scaling: Scaling::Log }
    }
}

/// What one thread needs to build and solve the systems.
struct Scratch {
    sums: Sums,
    /// For each user the last entry made, `NONE` if none.
    last: Vec<u32>,
    /// Neighbour position, value, and the entry before of the same user.
    entries: Vec<(u32, f32, u32)>,
    matrix: Vec<f32>,
    right: Vec<f32>,
}

impl LocalRidge {
    pub(crate) fn validate(&self) -> Result<()> {
        hyperparameter("neighbours", self.neighbours, 1..=2000)?;
        hyperparameter("longest", self.longest, 2..=usize::MAX)?;
        hyperparameter("l2", self.l2, 1e-3..=f32::MAX)?;
        hyperparameter("length", self.length, 0.0..=1.0)
    }

    /// The weights into one item from its neighbours.
    fn column(&self, item: u32, (by_user, by_item): (&Csr, &Csr), diagonal: &[f32], scratch: &mut Scratch) -> Vec<Scored> {
        scratch.sums.begin(by_item.rows());
        let (holders, values) = by_item.row(item as usize);
        for (&user, &value) in holders.iter().zip(values) {
            let (others, other_values) = by_user.row(user as usize);
            for (&other, &other_value) in others.iter().zip(other_values) {
                scratch.sums.add(other, value * other_value);
            }
        }
        let mut top = TopK::new(self.neighbours);
        for &other in scratch.sums.touched.iter().filter(|&&other| other != item) {
            let length = diagonal[other as usize].sqrt().max(f32::MIN_POSITIVE);
            top.offer(other, scratch.sums.values[other as usize] / length);
        }
        let near: Vec<u32> = top.into_sorted().into_iter().map(|scored| scored.item).collect();
        if near.is_empty() {
            return Vec::new();
        }
        let size = near.len().next_multiple_of(LANES);
        scratch.matrix.clear();
        scratch.matrix.resize(size * size, 0.0);
        scratch.right.clear();
        scratch.right.resize(size, 0.0);
        // Gram of the neighbours: each user's chain of neighbours meets every new one of the same user.
        scratch.entries.clear();
        for (position, &other) in near.iter().enumerate() {
            let (users, values) = by_item.row(other as usize);
            for (&user, &value) in users.iter().zip(values) {
                let mut at = scratch.last[user as usize];
                let before = std::mem::replace(&mut scratch.last[user as usize], scratch.entries.len() as u32);
                scratch.entries.push((position as u32, value, before));
                while at != NONE {
                    let (first, first_value, next) = scratch.entries[at as usize];
                    scratch.matrix[first as usize * size + position] += first_value * value;
                    at = next;
                }
            }
        }
        for &other in &near {
            by_item.columns(other as usize).iter().for_each(|&user| scratch.last[user as usize] = NONE);
        }
        for (position, &other) in near.iter().enumerate() {
            scratch.matrix[position * size + position] = (diagonal[other as usize] + self.l2).max(f32::MIN_POSITIVE);
            scratch.right[position] = scratch.sums.values[other as usize];
        }
        (near.len()..size).for_each(|pad| scratch.matrix[pad * size + pad] = 1.0);
        if !solve(simd(), size, &mut scratch.matrix, &mut scratch.right) {
            return Vec::new();
        }
        let weights = near.iter().zip(&scratch.right).filter(|(_, weight)| weight.is_finite() && **weight != 0.0);
        weights.map(|(&item, &score)| Scored { item, score }).collect()
    }
}

impl Fit for LocalRidge {
    type Model = ItemItemModel;

    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<ItemItemModel> {
        self.validate()?;
        let data = training.interactions;
        if data.nnz() == 0 {
            return Err(ModelError::NothingToLearn { model: "local-ridge", why: "no user has a positive interaction".into() });
        }
        let by_user = weighted(data.by_user.capped(self.longest), self.scaling, self.length);
        let by_item = by_user.transposed(data.items());
        let diagonal: Vec<f32> =
            (0..data.items()).map(|item| by_item.row(item).1.iter().map(|value| value * value).sum()).collect();
        let done = AtomicUsize::new(0);
        let fresh = || Scratch {
            sums: Sums::default(),
            last: vec![NONE; data.users()],
            entries: Vec::new(),
            matrix: Vec::new(),
            right: Vec::new(),
        };
        let columns: Vec<Vec<Scored>> = (0..data.items() as u32)
            .into_par_iter()
            .map_init(fresh, |scratch, item| {
                let column = self.column(item, (&by_user, &by_item), &diagonal, scratch);
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if done.is_multiple_of(4096) || done == data.items() {
                    watch.step("local-ridge", done, data.items());
                }
                column
            })
            .collect();
        Ok(ItemItemModel::local_ridge(Neighbours::from_columns(columns), self.scaling))
    }
}

/// Confidences, each user's divided by n^(length / 2), so that a pair of the user's items counts n^-length.
pub(crate) fn weighted(mut matrix: Csr, scaling: Scaling, length: f32) -> Csr {
    for user in 0..matrix.rows() {
        let range = matrix.offsets[user]..matrix.offsets[user + 1];
        let damp = (range.len().max(1) as f32).powf(-0.5 * length);
        matrix.values[range].iter_mut().for_each(|value| *value = scaling.of(*value) * damp);
    }
    matrix
}

//! EASE: the ridge regression of every item on all others, in closed form.
//!
//! Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (WWW 2019), equation 8: with P = (XᵀX + λI)⁻¹ the weight from i to
//! j is −P_ij / P_jj. The matrix is factored in place, columns of P are solved for in blocks and pruned at once: memory is
//! one items × items matrix in f32, time items³ / 6 for the factor and items³ for the columns. For a catalogue that does
//! not fit, `local-ridge` is the same regression on each item's neighbours.

use crate::als::Scaling;
use crate::dense;
use crate::item_item::ItemItemModel;
use crate::local_ridge::weighted;
use crate::neighbours::Neighbours;
use crate::recommend::{Fit, Training, Watch, hyperparameter};
use crate::top_k::{Scored, TopK};
use crate::{ModelError, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ease {
    /// λ > 0, in units of users who chose both.
    pub l2: f32,
    /// Weights kept an item, those of the largest size, 1 to 100000.
    pub neighbours: usize,
    /// From 0 to 1: how much a user of n items counts less, n^-length.
    pub length: f32,
    /// Items of a shopper that count, 2 or more: of a longer history as many, drawn evenly. Bounds what one robot can cost.
    pub longest: usize,
    /// Confidence from summed event weights.
    pub scaling: Scaling,
}

impl Default for Ease {
    fn default() -> Self {
        Self { l2: 200.0, neighbours: 500, length: 0.0, longest: 2000, scaling: Scaling::Log }
    }
}

impl Ease {
    pub(crate) fn validate(&self) -> Result<()> {
        hyperparameter("l2", self.l2, 1e-3..=f32::MAX)?;
        hyperparameter("longest", self.longest, 2..=usize::MAX)?;
        hyperparameter("neighbours", self.neighbours, 1..=100_000)?;
        hyperparameter("length", self.length, 0.0..=1.0)
    }

    /// Bytes that a fit takes beside the data.
    pub fn memory(&self, items: usize) -> u64 {
        4 * (items as u64).pow(2) + 16 * (items * self.neighbours.min(items)) as u64
    }
}

impl Fit for Ease {
    type Model = ItemItemModel;

    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<ItemItemModel> {
        const COLUMNS: usize = 128;
        self.validate()?;
        let data = training.interactions;
        if data.nnz() == 0 {
            return Err(ModelError::NothingToLearn { model: "ease", why: "no user has a positive interaction".into() });
        }
        // Items without users have no weights: they stay outside the matrix.
        let known: Vec<u32> = (0..data.items() as u32).filter(|&item| !data.by_item.columns(item as usize).is_empty()).collect();
        let mut place = vec![u32::MAX; data.items()];
        known.iter().zip(0u32..).for_each(|(&item, at)| place[item as usize] = at);
        let by_user = weighted(data.by_user.capped(self.longest), self.scaling, self.length);
        let by_item = by_user.transposed(data.items());
        let size = known.len();
        let mut square = vec![0f32; size * size];
        square.par_chunks_mut(size).zip(&known).enumerate().for_each(|(row, (cells, &item))| {
            let (users, values) = by_item.row(item as usize);
            for (&user, &value) in users.iter().zip(values) {
                let (others, other_values) = by_user.row(user as usize);
                others
                    .iter()
                    .zip(other_values)
                    .for_each(|(&other, &weight)| cells[place[other as usize] as usize] += value * weight);
            }
            cells[row] += self.l2;
        });
        watch.step("ease", 1, size + 2);
        if !dense::cholesky(&mut square, size) {
            let advice = format!("raise l2 (now {})", self.l2);
            return Err(ModelError::Diverged { model: "ease", iteration: 1, advice });
        }
        watch.step("ease", 2, size + 2);
        let blocks: Vec<usize> = (0..size).step_by(COLUMNS).collect();
        let columns: Vec<Vec<Vec<Scored>>> = blocks
            .into_par_iter()
            .map(|from| {
                let count = COLUMNS.min(size - from);
                let inverse = dense::inverse_columns(&square, size, from..from + count);
                let prune = |column: usize| {
                    let pivot = inverse[(from + column) * count + column];
                    let mut top = TopK::new(self.neighbours);
                    (0..size).filter(|&row| row != from + column).for_each(|row| {
                        top.offer(row as u32, inverse[row * count + column].abs());
                    });
                    let weight = |row: u32| -inverse[row as usize * count + column] / pivot;
                    let kept = top.into_sorted().into_iter().filter(|scored| scored.score > 0.0);
                    kept.map(|scored| Scored { item: known[scored.item as usize], score: weight(scored.item) }).collect()
                };
                let pruned = (0..count).map(prune).collect();
                watch.step("ease", 2 + from + count, size + 2);
                pruned
            })
            .collect();
        drop(square);
        let mut all: Vec<Vec<Scored>> = vec![Vec::new(); data.items()];
        known.iter().zip(columns.into_iter().flatten()).for_each(|(&item, column)| all[item as usize] = column);
        Ok(ItemItemModel::ease(Neighbours::from_columns(all), self.scaling))
    }
}

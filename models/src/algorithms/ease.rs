//! EASE: the ridge regression of every item on all others, in closed form.
//!
//! Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (WWW 2019), equation 8: with P =
//! (XᵀX + λI)⁻¹ the weight from i to j is −P_ij / P_jj. The matrix is factored in place, and the
//! columns of P are solved for in blocks and pruned at once: memory is one items × items matrix in
//! f32, time items³ / 6 for the factor and items³ for the columns. For a catalogue that does not
//! fit, `local-ridge` is the same regression on the neighbours of each item.

use crate::algorithms::item_item::ItemItemModel;
use crate::algorithms::neighbours::Neighbours;
use crate::algorithms::recommend::{Fit, Progress, Training, check_range};
use crate::algorithms::scaling::Scaling;
use crate::error::{ModelError, Result};
use aisle_data::NONE;
use aisle_math::dense;
use aisle_math::sparse::Csr;
use aisle_retrieval::top_k::{Scored, TopK};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Columns of the inverse that are solved for at once.
const COLUMNS_AT_ONCE: usize = 128;

/// Hyperparameters of EASE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ease {
    /// Strength λ of the L2 regularization, 0.001 or more, in units of users who chose both items.
    pub l2: f32,
    /// Number of weights kept for each item, those of the largest size, 1 to 100000.
    pub neighbours: usize,
    /// Exponent from 0 to 1: a pair of items of a user with n items counts n^-length.
    pub length: f32,
    /// Most items of a shopper that count, 2 or more; of a longer history as many are drawn evenly.
    /// Bounds the time that a single robot can cost.
    pub longest: usize,
    /// How summed event weights become confidence.
    pub scaling: Scaling,
}

impl Default for Ease {
    fn default() -> Self {
        Self {
            l2: 200.0,
            neighbours: 500,
            length: 0.0,
            longest: 2000,
            scaling: Scaling::Log,
        }
    }
}

impl Ease {
    /// Checks the ranges of the hyperparameters.
    fn validate(&self) -> Result<()> {
        check_range("l2", self.l2, 1e-3..=f32::MAX)?;
        check_range("longest", self.longest, 2..=usize::MAX)?;
        check_range("neighbours", self.neighbours, 1..=100_000)?;
        check_range("length", self.length, 0.0..=1.0)
    }

    /// Returns the bytes that a fit takes beside the data.
    pub fn memory(&self, items: usize) -> u64 {
        4 * (items as u64).pow(2) + 16 * (items * self.neighbours.min(items)) as u64
    }

    /// Returns XᵀX + λI over the items `known`, row-major. X is given by user and by item.
    fn regularized_gram(&self, by_user: &Csr, by_item: &Csr, known: &[u32]) -> Vec<f32> {
        let size = known.len();
        let mut column_of_item = vec![NONE; by_item.rows()];
        known
            .iter()
            .zip(0u32..)
            .for_each(|(&item, column)| column_of_item[item as usize] = column);
        let mut gram = vec![0f32; size * size];
        gram.par_chunks_mut(size)
            .zip(known)
            .enumerate()
            .for_each(|(row, (cells, &item))| {
                let (users, values) = by_item.row(item as usize);
                for (&user, &value) in users.iter().zip(values) {
                    let (others, other_values) = by_user.row(user as usize);
                    for (&other, &other_value) in others.iter().zip(other_values) {
                        cells[column_of_item[other as usize] as usize] += value * other_value;
                    }
                }
                cells[row] += self.l2;
            });
        gram
    }

    /// Returns the largest weights into the item of one column, as rows of the gram matrix.
    /// `inverse` holds some columns of P, row-major; `column` is the number of one of them among
    /// these `width`, and `diagonal` its row on the diagonal of P.
    fn largest_weights(
        &self,
        inverse: &[f32],
        (column, width): (usize, usize),
        diagonal: usize,
    ) -> impl Iterator<Item = Scored> {
        let cell = move |row: usize| inverse[row * width + column];
        let mut top = TopK::new(self.neighbours);
        (0..inverse.len() / width)
            .filter(|&row| row != diagonal)
            .for_each(|row| top.offer(row as u32, cell(row).abs()));
        top.into_sorted()
            .into_iter()
            .filter(|scored| scored.score > 0.0)
            .map(move |scored| Scored {
                item: scored.item,
                score: -cell(scored.item as usize) / cell(diagonal),
            })
    }
}

impl Fit for Ease {
    type Model = ItemItemModel;

    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<ItemItemModel> {
        self.validate()?;
        let data = training.require_interactions("ease")?;
        // Items without users have no weights: they stay outside the matrix.
        let known: Vec<u32> = (0..data.items() as u32)
            .filter(|&item| !data.by_item.columns(item as usize).is_empty())
            .collect();
        let capped = data.by_user.capped(self.longest);
        let by_user = self.scaling.applied_by_length(capped, self.length);
        let by_item = by_user.transposed(data.items());
        let size = known.len();
        let mut factor = self.regularized_gram(&by_user, &by_item, &known);
        progress.step("ease", 1, size + 2);
        if !dense::cholesky(&mut factor, size) {
            let advice = format!("raise l2 (now {})", self.l2);
            return Err(ModelError::Diverged {
                model: "ease",
                iteration: 1,
                advice,
            });
        }
        progress.step("ease", 2, size + 2);
        let blocks: Vec<usize> = (0..size).step_by(COLUMNS_AT_ONCE).collect();
        let columns: Vec<Vec<Vec<Scored>>> = blocks
            .into_par_iter()
            .map(|first| {
                let width = COLUMNS_AT_ONCE.min(size - first);
                let inverse = dense::inverse_columns(&factor, size, first..first + width);
                let weights = |column: usize| {
                    self.largest_weights(&inverse, (column, width), first + column)
                        .map(|weight| Scored {
                            item: known[weight.item as usize],
                            score: weight.score,
                        })
                        .collect()
                };
                let block = (0..width).map(weights).collect();
                progress.step("ease", 2 + first + width, size + 2);
                block
            })
            .collect();
        drop(factor);
        let mut all: Vec<Vec<Scored>> = vec![Vec::new(); data.items()];
        known
            .iter()
            .zip(columns.into_iter().flatten())
            .for_each(|(&item, column)| all[item as usize] = column);
        Ok(ItemItemModel::ease(
            Neighbours::from_columns(all),
            self.scaling,
        ))
    }
}

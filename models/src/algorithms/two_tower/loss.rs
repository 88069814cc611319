//! The losses and their gradients by the scores, written out: recording every operation on the
//! scores for automatic differentiation takes three times as long.

use crate::algorithms::two_tower::hyperparameters::{Loss, TwoTower};
use candle_core::{D, DType, Result, Tensor};

/// Added to the logit of a candidate that must not count as a negative.
const EXCLUDED_LOGIT: f32 = -1e4;

/// Some pairs of a batch with their scores; a row is a pair, a column a candidate.
pub(super) struct ScoredPairs<'a> {
    pub tower: &'a TwoTower,
    /// How often each candidate is to be expected in a batch.
    pub expected_counts: &'a [f32],
    /// The place of each pair's item among the candidates.
    pub targets: &'a [u32],
    /// The share of each pair in the loss of the batch.
    pub weights: &'a [f32],
    /// Row by row, whether a candidate counts as a negative of a pair.
    pub is_negative: Vec<bool>,
    /// Inner product of each pair's user with each candidate.
    pub scores: Tensor,
    /// Inner product of each pair's user with the pair's own item, the positive.
    pub positive_scores: Tensor,
}

/// The loss of some pairs, and its gradients.
pub(super) struct LossGradients {
    pub loss: f64,
    /// Gradient by the score of each candidate. Where a loss counts the positive among the
    /// candidates too, that is in here.
    pub by_score: Tensor,
    /// Gradient by the score of the positive as the positive.
    pub by_positive: Tensor,
}

impl ScoredPairs<'_> {
    /// Computes the loss that the hyperparameters name.
    pub fn loss(&self) -> Result<LossGradients> {
        match self.tower.loss {
            Loss::Softmax => self.softmax(),
            Loss::CosineContrastive => self.cosine_contrastive(),
            Loss::Bpr => self.bpr(),
        }
    }

    fn softmax(&self) -> Result<LossGradients> {
        let corrections: Vec<f32> = self
            .expected_counts
            .iter()
            .map(|expected| -self.tower.popularity * expected.ln())
            .collect();
        let corrections_of_targets = self
            .targets
            .iter()
            .map(|&target| corrections[target as usize])
            .collect();
        let corrections_of_positives = self.column(corrections_of_targets)?;
        let corrections = self.matrix(self.softmax_corrections(&corrections))?;
        let weights = self.column(self.weights.to_vec())?;
        let sharpness = f64::from(1.0 / self.tower.temperature);
        // A cosine is at most 1, so after subtracting 1 / temperature no exponential overflows.
        let exponentials = (self.scores.affine(sharpness, -sharpness)? + corrections)?.exp()?;
        let sums = exponentials.sum(D::Minus1)?;
        let positive_logits =
            (self.positive_scores.affine(sharpness, -sharpness)? + corrections_of_positives)?;
        let loss = total(((sums.log()? - positive_logits)? * &weights)?)?;
        let scale = ((&weights * sharpness)? / sums)?.unsqueeze(1)?;
        Ok(LossGradients {
            loss,
            by_score: exponentials.broadcast_mul(&scale)?,
            by_positive: (weights * -sharpness)?,
        })
    }

    /// Returns what is added to each logit: the correction for popularity of negatives and of the
    /// positive, and [`EXCLUDED_LOGIT`] for candidates that do not count.
    fn softmax_corrections(&self, corrections: &[f32]) -> Vec<f32> {
        let mut all = Vec::with_capacity(self.is_negative.len());
        let rows = self.is_negative.chunks(corrections.len());
        for (is_negative, &target) in rows.zip(self.targets) {
            let first = all.len();
            all.extend(
                corrections
                    .iter()
                    .zip(is_negative)
                    .map(|(&correction, &is_negative)| match is_negative {
                        true => correction,
                        false => EXCLUDED_LOGIT,
                    }),
            );
            all[first + target as usize] = corrections[target as usize];
        }
        all
    }

    fn cosine_contrastive(&self) -> Result<LossGradients> {
        let shares = self.matrix(self.negative_shares())?;
        let weights = self.column(self.weights.to_vec())?;
        let shares = (shares * f64::from(self.tower.negative_weight))?;
        let above = (&self.scores - f64::from(self.tower.margin))?.relu()?;
        let by_score = (above.gt(0.0)?.to_dtype(DType::F32)? * &shares)?;
        let positive_loss = (self.positive_scores.affine(-1.0, 1.0)? * &weights)?;
        let loss = total((positive_loss + (above * shares)?.sum(D::Minus1)?)?)?;
        Ok(LossGradients {
            loss,
            by_score,
            by_positive: weights.neg()?,
        })
    }

    fn bpr(&self) -> Result<LossGradients> {
        let shares = self.matrix(self.negative_shares())?;
        // −log σ(−x) = max(0, x) + log(1 + e^−|x|), which overflows nowhere.
        let ahead = self
            .scores
            .broadcast_sub(&self.positive_scores.unsqueeze(1)?)?;
        let losses = (ahead.relu()? + (ahead.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
        let by_score = ((ahead.neg()?.exp()? + 1.0)?.recip()? * &shares)?;
        let loss = total((losses * shares)?.sum(D::Minus1)?)?;
        Ok(LossGradients {
            loss,
            by_positive: by_score.sum(D::Minus1)?.neg()?,
            by_score,
        })
    }

    /// Returns, row by row, the weight of each pair divided evenly among its negatives.
    fn negative_shares(&self) -> Vec<f32> {
        let mut shares = vec![0f32; self.is_negative.len()];
        let columns = self.expected_counts.len();
        for ((shares, is_negative), weight) in shares
            .chunks_mut(columns)
            .zip(self.is_negative.chunks(columns))
            .zip(self.weights)
        {
            let negatives = is_negative.iter().filter(|&&negative| negative).count();
            let share = weight / negatives.max(1) as f32;
            for (cell, &is_negative) in shares.iter_mut().zip(is_negative) {
                *cell = if is_negative { share } else { 0.0 };
            }
        }
        shares
    }

    /// Returns a tensor with one number for each pair and candidate.
    fn matrix(&self, values: Vec<f32>) -> Result<Tensor> {
        let shape = (self.targets.len(), self.expected_counts.len());
        Tensor::from_vec(values, shape, self.scores.device())
    }

    /// Returns a tensor with one number for each pair.
    fn column(&self, values: Vec<f32>) -> Result<Tensor> {
        Tensor::from_vec(values, self.targets.len(), self.scores.device())
    }
}

fn total(losses: Tensor) -> Result<f64> {
    Ok(f64::from(losses.sum_all()?.to_scalar::<f32>()?))
}

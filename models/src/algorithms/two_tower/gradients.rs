//! The loss of a batch and its gradients by everything that is learned.
//!
//! The towers are differentiated by candle, from the gradients by their output vectors, which
//! follow from those by the scores in `loss.rs`.

use crate::algorithms::two_tower::batch::Batch;
use crate::algorithms::two_tower::hyperparameters::TwoTower;
use crate::algorithms::two_tower::loss::{LossGradients, ScoredPairs};
use crate::algorithms::two_tower::parameters::Parameters;
use crate::algorithms::two_tower::tower::{DenseLayout, LENGTH_EPSILON, Side};
use crate::algorithms::two_tower::training_pairs::TrainingPairs;
use candle_core::{D, Device, Result, Tensor, Var};
use rayon::prelude::*;
use std::ops::Range;

/// Most scores that one thread differentiates at a time: as many as fit its cache, and fewer than
/// those from which candle splits an operation among threads of its own, which would get in each
/// other's way. Fixed, so that sums do not depend on the number of threads.
const SHARD_SCORES: usize = (1 << 16) - 1;
/// Fewest pairs that one thread differentiates at a time.
const MIN_SHARD_PAIRS: usize = 8;

/// The loss of a batch, and its gradients by the sums of embeddings and by the dense layers, each
/// row-major.
pub(super) struct Gradients {
    pub loss: f64,
    /// By the sum of each candidate.
    pub items: Vec<f32>,
    /// By the sum of each pair's user.
    pub users: Vec<f32>,
    /// By the mean of each pair's history.
    pub histories: Vec<f32>,
    /// By the dense layers.
    pub dense: Vec<f32>,
}

/// The inputs of the towers, which candle differentiates by.
struct Inputs {
    items: Var,
    users: Var,
    histories: Var,
    dense: Var,
}

impl Inputs {
    fn new(parameters: &Parameters, batch: &Batch, device: &Device) -> Result<Self> {
        let depth = parameters.dense.width;
        let var = |values: Vec<f32>| {
            let rows = values.len() / depth;
            Var::from_vec(values, (rows, depth), device)
        };
        Ok(Self {
            items: var(parameters.items.sums(&batch.item_bags))?,
            users: var(parameters.users.sums(&batch.user_bags))?,
            histories: var(parameters.items.sums(&batch.history_bags))?,
            dense: var(parameters.dense.values.clone())?,
        })
    }

    /// Returns the vectors of the users of the pairs.
    fn user_vectors(&self, tower: &TwoTower) -> Result<Tensor> {
        let mut users = self.users.as_tensor().clone();
        if tower.history > 0 {
            let projection = self.rows(DenseLayout::of(tower).history_projection())?;
            users = (users + self.histories.matmul(&projection)?)?;
        }
        self.apply_tower(tower, Side::User, users)
    }

    /// Returns the vectors of the candidates.
    fn item_vectors(&self, tower: &TwoTower) -> Result<Tensor> {
        self.apply_tower(tower, Side::Item, self.items.as_tensor().clone())
    }

    fn apply_tower(&self, tower: &TwoTower, side: Side, z: Tensor) -> Result<Tensor> {
        let z = match tower.hidden {
            0 => z,
            _ => {
                let layout = DenseLayout::of(tower);
                let inward = self.rows(layout.inward(side))?;
                let outward = self.rows(layout.outward(side))?;
                (&z + z.matmul(&inward.t()?)?.relu()?.matmul(&outward)?)?
            }
        };
        if !tower.has_unit_vectors() {
            return Ok(z);
        }
        let squares = z.sqr()?.sum_keepdim(D::Minus1)?;
        z.broadcast_div(&(squares + f64::from(LENGTH_EPSILON))?.sqrt()?)
    }

    fn rows(&self, rows: Range<usize>) -> Result<Tensor> {
        self.dense.narrow(0, rows.start, rows.len())
    }
}

impl Gradients {
    /// Computes the loss of a batch and its gradients on a device.
    pub fn compute(
        tower: &TwoTower,
        training: &TrainingPairs,
        parameters: &Parameters,
        batch: &Batch,
        device: &Device,
    ) -> Result<Self> {
        let inputs = Inputs::new(parameters, batch, device)?;
        let users = inputs.user_vectors(tower)?;
        let items = inputs.item_vectors(tower)?;
        // The vectors as constants, for what is not differentiated automatically.
        let (user_values, item_values) = (users.detach(), items.detach());
        let targets = batch.targets(training);
        let places = Tensor::from_slice(&targets, targets.len(), device)?;
        let positives = item_values.index_select(&places, 0)?;
        let scored = ScoredBatch {
            scores: user_values.matmul(&item_values.t()?)?,
            positive_scores: (&user_values * &positives)?.sum(D::Minus1)?,
            targets,
            weights: batch.weights(training),
        };
        let LossGradients {
            loss,
            by_score,
            by_positive,
        } = scored.loss(tower, training, batch)?;
        let by_positive = by_positive.unsqueeze(1)?;
        let by_user = (by_score.matmul(&item_values)? + positives.broadcast_mul(&by_positive)?)?;
        let by_item = by_score.t()?.matmul(&user_values)?.index_add(
            &places,
            &user_values.broadcast_mul(&by_positive)?,
            0,
        )?;
        // A scalar whose gradient by the vectors is the one just found, to go on through the
        // towers.
        let scalar = ((users * by_user)?.sum_all()? + (items * by_item)?.sum_all()?)?;
        let gradients = scalar.backward()?;
        let values = |var: &Var| match gradients.get(var) {
            Some(gradient) => gradient.flatten_all()?.to_vec1::<f32>(),
            None => Ok(vec![0.0; var.elem_count()]),
        };
        Ok(Self {
            loss,
            items: values(&inputs.items)?,
            users: values(&inputs.users)?,
            histories: values(&inputs.histories)?,
            dense: values(&inputs.dense)?,
        })
    }
}

/// The scores of a batch.
struct ScoredBatch {
    scores: Tensor,
    positive_scores: Tensor,
    targets: Vec<u32>,
    weights: Vec<f32>,
}

impl ScoredBatch {
    /// Computes the loss and its gradients by the scores: shard by shard on the threads of the
    /// processor, all at once on another device.
    fn loss(
        &self,
        tower: &TwoTower,
        training: &TrainingPairs,
        batch: &Batch,
    ) -> Result<LossGradients> {
        let pairs = batch.pairs.len();
        let shard_pairs = match self.scores.device().is_cpu() {
            true => (SHARD_SCORES / batch.candidates.len()).max(MIN_SHARD_PAIRS),
            false => pairs,
        };
        let shards: Vec<Range<usize>> = (0..pairs)
            .step_by(shard_pairs)
            .map(|first| first..(first + shard_pairs).min(pairs))
            .collect();
        let parts: Vec<LossGradients> = shards
            .into_par_iter()
            .map(|shard| {
                let scores = self.scores.narrow(0, shard.start, shard.len())?;
                let shard_of_batch = &batch.pairs[shard.clone()];
                let scored = ScoredPairs {
                    tower,
                    expected_counts: &batch.expected_counts,
                    targets: &self.targets[shard.clone()],
                    weights: &self.weights[shard.clone()],
                    is_negative: negatives(
                        tower,
                        training,
                        shard_of_batch,
                        &batch.candidates,
                        &scores,
                    )?,
                    positive_scores: self.positive_scores.narrow(0, shard.start, shard.len())?,
                    scores,
                };
                scored.loss()
            })
            .collect::<Result<_>>()?;
        let by_score: Vec<&Tensor> = parts.iter().map(|part| &part.by_score).collect();
        let by_positive: Vec<&Tensor> = parts.iter().map(|part| &part.by_positive).collect();
        Ok(LossGradients {
            loss: parts.iter().map(|part| part.loss).sum(),
            by_score: Tensor::cat(&by_score, 0)?,
            by_positive: Tensor::cat(&by_positive, 0)?,
        })
    }
}

/// Returns, row by row, which candidates are negatives of each pair: those that its user does not
/// have, and of these, where `hard` asks for it, the ones with the highest scores.
fn negatives(
    tower: &TwoTower,
    training: &TrainingPairs,
    pairs: &[u32],
    candidates: &[u32],
    scores: &Tensor,
) -> Result<Vec<bool>> {
    let columns = candidates.len();
    let mut is_negative = vec![true; pairs.len() * columns];
    let scores = match tower.hard {
        0 => Vec::new(),
        _ => scores.flatten_all()?.to_vec1::<f32>()?,
    };
    for (row, (&pair, is_negative)) in pairs
        .iter()
        .zip(is_negative.chunks_mut(columns))
        .enumerate()
    {
        let owned = training.items_of_same_user(pair as usize);
        for_each_common(owned, candidates, |column| is_negative[column] = false);
        if tower.hard > 0 {
            let scores = &scores[row * columns..][..columns];
            keep_hardest(scores, tower.hard, is_negative);
        }
    }
    Ok(is_negative)
}

/// Leaves only the `count` negatives with the highest scores, the first of equals.
fn keep_hardest(scores: &[f32], count: usize, is_negative: &mut [bool]) {
    let mut negatives: Vec<usize> = (0..scores.len())
        .filter(|&column| is_negative[column])
        .collect();
    if negatives.len() <= count {
        return;
    }
    negatives.select_nth_unstable_by(count, |&a, &b| {
        scores[b].total_cmp(&scores[a]).then(a.cmp(&b))
    });
    for &column in &negatives[count..] {
        is_negative[column] = false;
    }
}

/// Calls `found` with the place in `list` of each number that is in both ascending lists.
fn for_each_common(numbers: &[u32], list: &[u32], mut found: impl FnMut(usize)) {
    let mut from = 0;
    for &number in numbers {
        from += list[from..].partition_point(|&other| other < number);
        if list.get(from) == Some(&number) {
            found(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::recommend::Training;
    use crate::algorithms::two_tower::hyperparameters::Loss;
    use crate::algorithms::two_tower::table::EmbeddingTable;
    use aisle_data::{Catalog, EventLog, Interactions, Orders};
    use aisle_math::random::SplitMix;
    use aisle_math::sparse::Csr;

    /// Three users with two items each, and one item that nobody has.
    fn interactions() -> Interactions {
        let triples = vec![
            (0, 0, 1.0),
            (0, 1, 3.0),
            (1, 1, 1.0),
            (1, 2, 2.0),
            (2, 0, 1.0),
            (2, 3, 1.0),
        ];
        let turned = triples
            .iter()
            .map(|&(user, item, value)| (item, user, value))
            .collect();
        Interactions {
            by_user: Csr::from_triples(3, triples),
            by_item: Csr::from_triples(5, turned),
            rows_are_orders: false,
        }
    }

    /// Compares the gradients by the dense layers with differences of the loss.
    fn check_gradients(loss: Loss, hard: usize) {
        const STEP: f32 = 1e-3;
        let data = interactions();
        let log = EventLog::default();
        let (orders, catalog) = (Orders::of(&log), Catalog::unknown(5));
        let training = Training {
            log: &log,
            interactions: &data,
            orders: &orders,
            catalog: &catalog,
            users: &[],
        };
        let tower = TwoTower {
            factors: 4,
            loss,
            hard,
            margin: -0.2,
            negative_weight: 2.0,
            temperature: 0.5,
            negatives: 6,
            hidden: 3,
            epochs: 1,
            ..TwoTower::default()
        };
        let training = TrainingPairs::new(&tower, &training).unwrap();
        // Outward layers of a fit start at zero, where the gradients of the inward ones vanish.
        let mut parameters = Parameters {
            dense: EmbeddingTable::random((DenseLayout::of(&tower).rows(), 4), 0.3, 5),
            items: EmbeddingTable::random((5, 4), 0.5, 6),
            users: EmbeddingTable::random((3, 4), 0.5, 7),
        };
        let pairs: Vec<u32> = (0..6).collect();
        let batch = Batch::draw(&tower, &training, &pairs, &mut SplitMix(1));
        let gradients = |parameters: &Parameters| {
            Gradients::compute(&tower, &training, parameters, &batch, &Device::Cpu).unwrap()
        };
        let found = gradients(&parameters).dense;
        for (at, &found) in found.iter().enumerate() {
            let mut loss_at = |offset: f32| {
                let before = parameters.dense.values[at];
                parameters.dense.values[at] += offset;
                let loss = gradients(&parameters).loss;
                parameters.dense.values[at] = before;
                loss
            };
            let difference = (loss_at(STEP) - loss_at(-STEP)) / f64::from(2.0 * STEP);
            assert!(
                (difference - f64::from(found)).abs() < 2e-3,
                "{at}: {difference} {found}"
            );
        }
    }

    #[test]
    fn gradients_of_softmax_are_differences_of_the_loss() {
        check_gradients(Loss::Softmax, 0);
    }

    #[test]
    fn gradients_of_softmax_with_hard_negatives_are_differences_of_the_loss() {
        check_gradients(Loss::Softmax, 2);
    }

    #[test]
    fn gradients_of_cosine_contrastive_are_differences_of_the_loss() {
        check_gradients(Loss::CosineContrastive, 0);
    }

    #[test]
    fn gradients_of_bpr_are_differences_of_the_loss() {
        check_gradients(Loss::Bpr, 0);
    }

    #[test]
    fn gradients_of_bpr_with_hard_negatives_are_differences_of_the_loss() {
        check_gradients(Loss::Bpr, 1);
    }

    #[test]
    fn common_numbers_of_two_lists() {
        let mut found = Vec::new();
        for_each_common(&[1, 4, 5, 9], &[0, 1, 5, 8, 9, 11], |at| found.push(at));
        assert_eq!(found, [1, 2, 4]);
    }
}

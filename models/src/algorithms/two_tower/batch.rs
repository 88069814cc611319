//! Batches: some training pairs, the items that they are scored against, and the rows to sum up.

use crate::algorithms::two_tower::hyperparameters::TwoTower;
use crate::algorithms::two_tower::training_pairs::TrainingPairs;
use aisle_math::random::SplitMix;
use aisle_math::sparse::Csr;

/// One batch. Bags name rows of the embedding tables, with their weights in the sum.
pub(super) struct Batch {
    /// Numbers of the pairs.
    pub pairs: Vec<u32>,
    /// The items to score: those of the pairs and those drawn at random, ascending.
    pub candidates: Vec<u32>,
    /// How often each candidate is to be expected in a batch.
    pub expected_counts: Vec<f32>,
    /// One bag of the item table for each candidate.
    pub item_bags: Csr,
    /// One bag of the user table for each pair.
    pub user_bags: Csr,
    /// One bag of the item table for each pair: the mean of the history.
    pub history_bags: Csr,
}

impl Batch {
    /// Draws the batch of some pairs.
    pub fn draw(
        tower: &TwoTower,
        training: &TrainingPairs,
        pairs: &[u32],
        random: &mut SplitMix,
    ) -> Self {
        let candidates = draw_candidates(tower, training, pairs, random);
        let drawn_count = tower.negatives as f32 / training.items_with_users.len() as f32;
        let expected_counts = candidates
            .iter()
            .map(|&item| pairs.len() as f32 * training.item_share(item) + drawn_count)
            .collect();
        let mut item_bags = empty_bags();
        for &item in &candidates {
            let rows = training.item_bags.bags.columns(item as usize);
            let drops_own_row = rows.len() > 1 && random.uniform() < tower.dropout;
            item_bags
                .indices
                .extend(&rows[usize::from(drops_own_row)..]);
            item_bags.offsets.push(item_bags.indices.len());
        }
        item_bags.values = vec![1.0; item_bags.indices.len()];
        let (mut user_bags, mut history_bags) = (empty_bags(), empty_bags());
        for &pair in pairs {
            let user = training.users[pair as usize] as usize;
            user_bags
                .indices
                .extend(training.user_bags.bags.columns(user));
            user_bags.offsets.push(user_bags.indices.len());
            add_history(tower, training, pair as usize, random, &mut history_bags);
        }
        user_bags.values = vec![1.0; user_bags.indices.len()];
        Self {
            pairs: pairs.to_vec(),
            candidates,
            expected_counts,
            item_bags,
            user_bags,
            history_bags,
        }
    }

    /// Returns, for each pair, the place of its item among the candidates.
    pub fn targets(&self, training: &TrainingPairs) -> Vec<u32> {
        let place = |item: u32| {
            self.candidates
                .partition_point(|&candidate| candidate < item) as u32
        };
        self.pairs
            .iter()
            .map(|&pair| place(training.item(pair as usize)))
            .collect()
    }

    /// Returns, for each pair, its share in the loss of the batch: its confidence over the sum of
    /// all.
    pub fn weights(&self, training: &TrainingPairs) -> Vec<f32> {
        let mut weights: Vec<f32> = self
            .pairs
            .iter()
            .map(|&pair| training.confidences[pair as usize])
            .collect();
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        weights
    }
}

fn empty_bags() -> Csr {
    Csr {
        offsets: vec![0],
        ..Csr::default()
    }
}

/// Returns the items of the pairs and those drawn at random from all items with users, ascending.
fn draw_candidates(
    tower: &TwoTower,
    training: &TrainingPairs,
    pairs: &[u32],
    random: &mut SplitMix,
) -> Vec<u32> {
    let items = &training.items_with_users;
    let mut candidates: Vec<u32> = pairs
        .iter()
        .map(|&pair| training.item(pair as usize))
        .collect();
    candidates
        .extend((0..tower.negatives).map(|_| items[(random.draw() % items.len() as u64) as usize]));
    candidates.sort_unstable();
    candidates.dedup();
    candidates
}

/// Adds the bag of the mean of what the user of a pair chose beside it, weighted by confidence, at
/// most `history` items of it.
fn add_history(
    tower: &TwoTower,
    training: &TrainingPairs,
    pair: usize,
    random: &mut SplitMix,
    bags: &mut Csr,
) {
    let of_user = training.pairs_of_same_user(pair);
    let others = of_user.len() - 1;
    let count = others.min(tower.history);
    let first_entry = bags.indices.len();
    let mut sum = 0.0;
    for number in 0..count {
        // All others in turn, or as many drawn, with repetition.
        let place = match count < others {
            true => of_user.start + (random.draw() % others as u64) as usize,
            false => of_user.start + number,
        };
        let other = if place >= pair { place + 1 } else { place };
        let weight = training.confidences[other];
        sum += weight;
        let item = training.item(other) as usize;
        let rows = training.item_bags.bags.columns(item);
        bags.indices.extend(rows);
        bags.values.extend(std::iter::repeat_n(weight, rows.len()));
    }
    bags.values[first_entry..]
        .iter_mut()
        .for_each(|weight| *weight /= sum);
    bags.offsets.push(bags.indices.len());
}

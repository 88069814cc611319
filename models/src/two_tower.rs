//! Two towers trained by contrast: what a shopper chose against what others chose and against what nobody showed.
//!
//! item = tower(e_i + Σ features), user = tower(e_u + Σ features + P · mean of the history's items), the item asked about left out of the
//! history. The loss of a batch is one of
//! - `softmax`: −log softmax of cosine / temperature over the batch's items and drawn ones, each logit less the log of the expected count
//!   of its item (Yi et al., "Sampling-Bias-Corrected Neural Modeling", RecSys 2019, equations 2 to 4);
//! - `cosine-contrastive`: 1 − cos(u, i) + w · mean max(0, cos(u, j) − margin) (Mao et al., "SimpleX", CIKM 2021, equation 1);
//! - `bpr`: mean of −log σ(u·i − u·j) (Rendle et al., "BPR", UAI 2009). With `history=0` that is plain matrix factorisation.
//!
//! Only the dense part of a step runs on the device, through candle: the towers, differentiated automatically, and the loss, whose slopes
//! are written out. The sums of rows and their Adagrad steps are done where the tables are, in main memory. Items and users without any event get a vector from their features.

use crate::als::Scaling;
use crate::contrast::Trainer;
use crate::held_out::HeldOut;
use crate::kernels::{add_rows, dot, simd};
use crate::lists::Lists;
use crate::near::Near;
use crate::recommend::{Fit, History, Training, Watch, hyperparameter, strongest};
use crate::vectors::{ByVectors, Vectors};
use crate::weights::{Array, Tensor, Weights};
use crate::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// What a batch is scored by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Sampled softmax of cosines.
    #[default]
    Softmax,
    /// Cosine contrastive loss.
    CosineContrastive,
    /// Bayesian personalised ranking of inner products.
    Bpr,
}

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TwoTower {
    /// Dimension of the vectors, 1 to 1024.
    pub factors: usize,
    /// What is minimised.
    pub loss: Loss,
    /// Passes over the interactions; 0 = until a held-out part gets no better, see [`TwoTower::resolved`].
    pub epochs: usize,
    /// Epochs without a better NDCG after which the search for the number of epochs ends.
    pub patience: usize,
    /// How the part is cut off that the number of epochs is chosen on, as [`aisle_data::Split`] is written.
    pub split: String,
    /// Interactions of one step.
    pub batch: usize,
    /// Items drawn evenly from all as negatives of a whole batch, beside the items of the batch itself.
    pub negatives: usize,
    /// Negatives that count for each interaction, those of the highest scores; 0 = all.
    pub hard: usize,
    /// Share of the popularity correction of the softmax, 0 to 1.
    pub popularity: f32,
    /// Divides the cosines of the softmax, 0.03 to 1.
    pub temperature: f32,
    /// Cosine below which a negative does not count in the cosine contrastive loss.
    pub margin: f32,
    /// Weight of the negatives in the cosine contrastive loss.
    pub negative_weight: f32,
    /// Of Adagrad.
    pub learning_rate: f32,
    /// L2, added to the gradient of the rows that a step touches.
    pub regularization: f32,
    /// Items of the history that a step looks at, drawn anew each time; 0 = users are only what is known of themselves.
    pub history: usize,
    /// Whether each user has a vector of their own. Strangers never have.
    pub users: bool,
    /// Neurons of a hidden layer with a bypass in each tower; 0 = none.
    pub hidden: usize,
    /// What is known of items and used: category, brand, price, or columns of the items file.
    pub item_features: Vec<String>,
    /// Columns of the users file.
    pub user_features: Vec<String>,
    /// How often a step hides an item's own row, so that its features learn to stand for it; 0 to 0.9, only with `item_features`.
    pub dropout: f32,
    /// Items with a vector from which on lists of them are tried, if vectors have length 1. Fewer are read in less time than a network takes
    /// for the answer.
    pub lists_from: usize,
    /// Confidence from summed event weights.
    pub scaling: Scaling,
    /// Of the random start and the draws.
    pub seed: u64,
}

/// Temperature, popularity, history and learning rate are a search's on validation parts of gowalla and an Amazon grocery log, which
/// disagree: the first is best so (NDCG@20 .134, against .118 at temperature 0.15 and popularity 0.8), the second at temperature
/// 0.25 and popularity 0.5 (.027 against .022). Tune them.
impl Default for TwoTower {
    fn default() -> Self {
        Self {
            factors: 64,
            loss: Loss::Softmax,
            epochs: 0,
            patience: 3,
            split: "validation".into(),
            batch: 512,
            negatives: 512,
            hard: 0,
            popularity: 1.0,
            temperature: 0.1,
            margin: 0.5,
            negative_weight: 100.0,
            learning_rate: 0.05,
            regularization: 0.0,
            history: 50,
            users: true,
            hidden: 0,
            item_features: Vec::new(),
            user_features: Vec::new(),
            dropout: 0.1,
            lists_from: 500_000,
            scaling: Scaling::Log,
            seed: 42,
        }
    }
}

/// Most epochs of a search.
const MOST_EPOCHS: usize = 200;
/// Epochs where no part can be held out to search on.
const BLIND_EPOCHS: usize = 20;

impl TwoTower {
    fn validate(&self) -> Result<()> {
        hyperparameter("factors", self.factors, 1..=1024)?;
        hyperparameter("epochs", self.epochs, 0..=10_000)?;
        hyperparameter("patience", self.patience, 1..=100)?;
        hyperparameter("batch", self.batch, 2..=65_536)?;
        hyperparameter("negatives", self.negatives, 0..=65_536)?;
        hyperparameter("popularity", self.popularity, 0.0..=1.0)?;
        hyperparameter("temperature", self.temperature, 0.03..=1.0)?;
        hyperparameter("margin", self.margin, -1.0..=1.0)?;
        hyperparameter("negative_weight", self.negative_weight, 0.0..=f32::MAX)?;
        hyperparameter("learning_rate", self.learning_rate, 1e-6..=10.0)?;
        hyperparameter("regularization", self.regularization, 0.0..=f32::MAX)?;
        hyperparameter("history", self.history, 0..=100_000)?;
        hyperparameter("hidden", self.hidden, 0..=4096)?;
        hyperparameter("dropout", self.dropout, 0.0..=0.9)?;
        if self.history == 0 && !self.users && self.user_features.is_empty() {
            return Err(ModelError::Hyperparameter {
                name: "history".into(),
                found: "0 with users = false and no user_features".into(),
                expected: "one of the three: nothing else tells users apart".into(),
            });
        }
        Ok(())
    }

    /// Whether vectors have length 1.
    pub(crate) fn cosine(&self) -> bool {
        self.loss != Loss::Bpr
    }

    /// With the number of epochs after which NDCG@20 of the held-out part was best: the model is then fitted again, on all data. 20 where
    /// nothing can be held out.
    ///
    /// # Errors
    /// As a fit.
    pub fn resolved(&self, training: &Training, watch: &dyn Watch) -> Result<Self> {
        self.validate()?;
        if self.epochs > 0 {
            return Ok(self.clone());
        }
        let Some(held) = HeldOut::new(training, &self.split)? else { return Ok(Self { epochs: BLIND_EPOCHS, ..self.clone() }) };
        let part = held.training(training);
        let mut trainer = Trainer::new(self, &part, watch, &held.digest())?;
        while trainer.epoch < MOST_EPOCHS && trainer.epoch - trainer.best.1 < self.patience {
            let loss = trainer.pass(watch)?;
            let ndcg = held.mean_ndcg(&trainer.model());
            if ndcg > trainer.best.0 {
                trainer.best = (ndcg, trainer.epoch);
            }
            let (best, at) = trainer.best;
            watch
                .say(&format!("two-tower: epoch {}, loss {loss:.4}, NDCG@20 {ndcg:.4} (best {best:.4} after {at})", trainer.epoch));
            trainer.save(watch);
        }
        Ok(Self { epochs: trainer.best.1.max(1), ..self.clone() })
    }

    /// Bytes that a fit takes beside the data: both tables with their sums of squares, the export, and one step.
    pub fn memory(&self, users: usize, items: usize, interactions: usize) -> u64 {
        let rows = if self.users { users } else { 0 };
        let batch = self.batch.min(interactions);
        let step = 8 * batch * (batch + self.negatives).min(items);
        (4 * self.factors * (2 * (rows + items) + rows + 3 * items) + 4 * step) as u64
    }

    /// Multiply-adds of one epoch.
    pub fn work(&self, interactions: usize) -> f64 {
        // Forward, and backward to both sides; the passes over the scores weigh as much as some thirty factors.
        interactions as f64 * (self.batch + self.negatives) as f64 * (3.0 * self.factors as f64 + 90.0)
    }
}

/// A residual tower's hidden layer: `inward` and `outward`, `hidden × depth` each; empty without one.
#[derive(Default)]
pub(crate) struct Tower {
    pub inward: Array<f32>,
    pub outward: Array<f32>,
}

impl Tower {
    /// z + Wᵀ max(0, A z), of length 1 if `unit`.
    pub fn apply(&self, unit: bool, z: &mut [f32]) {
        if !self.inward.is_empty() {
            let active: Vec<f32> = self.inward.chunks(z.len()).map(|row| dot(row, z).max(0.0)).collect();
            let rows: Vec<u32> = (0..active.len() as u32).collect();
            add_rows(simd(), &self.outward, &rows, &active, z);
        }
        if unit {
            let scale = 1.0 / (dot(z, z) + 1e-12).sqrt();
            z.iter_mut().for_each(|value| *value *= scale);
        }
    }
}

impl Fit for TwoTower {
    type Model = TwoTowerModel;

    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<TwoTowerModel> {
        let settled = self.resolved(training, watch)?;
        let mut trainer = Trainer::new(&settled, training, watch, "fit")?;
        while trainer.epoch < settled.epochs {
            let loss = trainer.pass(watch)?;
            watch.say(&format!("two-tower: epoch {}/{}, loss {loss:.4}", trainer.epoch, settled.epochs));
            trainer.save(watch);
        }
        Ok(trainer.model())
    }
}

/// Fitted vectors.
pub struct TwoTowerModel {
    pub(crate) scaling: Scaling,
    /// Whether vectors have length 1.
    pub(crate) unit: bool,
    /// See [`TwoTower::lists_from`].
    pub(crate) lists_from: usize,
    pub(crate) vectors: Vectors,
    /// What an item adds to the mean of a history; empty if users are only what is known of themselves.
    pub(crate) steps: Array<f32>,
    /// What is known of each user; empty if nothing is.
    pub(crate) users: Array<f32>,
    /// Of the users.
    pub(crate) tower: Tower,
}

impl TwoTowerModel {
    pub(crate) fn load(two_tower: &TwoTower, (rows, items): (usize, usize), weights: &mut Weights) -> Result<Self> {
        two_tower.validate()?;
        let depth = two_tower.factors;
        let mut optional = |name: &str, rows: usize| -> Result<Array<f32>> {
            match weights.has(name) {
                true => Ok(weights.matrix(name, rows, Some(depth))?.0),
                false => Ok(Array::default()),
            }
        };
        let (steps, users) = (optional("two_tower.steps", items)?, optional("two_tower.users", rows)?);
        let tower = Tower {
            inward: optional("two_tower.inward", two_tower.hidden)?,
            outward: optional("two_tower.outward", two_tower.hidden)?,
        };
        let (vectors, _) = weights.matrix("two_tower.item_vectors", items, Some(depth))?;
        let lists = Lists::load(items, depth, weights)?;
        let near = Near::load(Self::NEAR, items, weights)?;
        let vectors = Vectors::with_lists(vectors, depth, lists).fitted_to(weights.learned(items)).with_near(near);
        if tower.inward.len() != two_tower.hidden * depth || tower.outward.len() != tower.inward.len() {
            return Err(weights.damaged(
                "two_tower.inward",
                format!("{} numbers", tower.inward.len()),
                (two_tower.hidden * depth).to_string(),
            ));
        }
        Ok(Self {
            scaling: two_tower.scaling,
            unit: two_tower.cosine(),
            lists_from: two_tower.lists_from,
            vectors,
            steps,
            users,
            tower,
        })
    }

    /// The vector of a history, and of what is known of its user. O(n · d).
    fn fold_in(&self, history: History) -> Option<Vec<f32>> {
        let depth = self.vectors.depth();
        let mut z = vec![0f32; depth];
        if !self.steps.is_empty() && !history.items.is_empty() {
            let weights: Vec<f32> = history.values.iter().map(|&value| self.scaling.of(value)).collect();
            let sum: f32 = weights.iter().sum();
            let weights: Vec<f32> = weights.iter().map(|weight| weight / sum).collect();
            add_rows(simd(), &self.steps, history.items, &weights, &mut z);
        }
        if let Some(user) = history.user.filter(|_| !self.users.is_empty()) {
            z.iter_mut().zip(&self.users[user as usize * depth..][..depth]).for_each(|(sum, value)| *sum += value);
        }
        if z.iter().all(|&value| value == 0.0) {
            return None;
        }
        self.tower.apply(self.unit, &mut z);
        Some(z)
    }
}

impl ByVectors for TwoTowerModel {
    const NEAR: [&'static str; 2] = ["two_tower.near_of", "two_tower.near"];

    fn algorithm(&self) -> &'static str {
        "two-tower"
    }

    fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    fn vectors_mut(&mut self) -> &mut Vectors {
        &mut self.vectors
    }

    fn lists_from(&self) -> Option<usize> {
        self.unit.then_some(self.lists_from)
    }

    fn query(&self, history: History) -> Option<Vec<f32>> {
        self.fold_in(history)
    }

    /// What each item of the history adds to the mean, before the hidden layer.
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        if self.steps.is_empty() {
            return vec![None; items.len()];
        }
        let depth = self.vectors.depth();
        let explain = |&item: &u32| {
            let target = self.vectors.item(item);
            let part = |(&source, &value): (&u32, &f32)| {
                (source, self.scaling.of(value) * dot(&self.steps[source as usize * depth..][..depth], target))
            };
            strongest(history.items.iter().zip(history.values).map(part), item)
        };
        items.iter().map(explain).collect()
    }

    fn knows(&self, item: u32) -> bool {
        self.vectors.item(item).iter().any(|&value| value != 0.0)
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let depth = self.vectors.depth();
        let mut tensors = vec![Tensor::f32("two_tower.item_vectors", &[self.vectors.len(), depth], self.vectors.values())];
        let others = [
            ("two_tower.steps", &self.steps),
            ("two_tower.users", &self.users),
            ("two_tower.inward", &self.tower.inward),
            ("two_tower.outward", &self.tower.outward),
        ];
        for (name, values) in others.into_iter().filter(|(_, values)| !values.is_empty()) {
            tensors.push(Tensor::f32(name, &[values.len() / depth, depth], values));
        }
        tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::random;
    use crate::{Bitmap, Eligible, Found, Recommend, weights};

    #[test]
    fn lists_of_items_are_a_part_of_the_model() {
        let (items, users, settings) = (5000, 300, TwoTower { factors: 8, ..TwoTower::default() });
        let depth = settings.factors;
        let centres = random((40, depth), 1.0, 1);
        let near = |rows: usize, seed: u64| -> Vec<f32> {
            let mut values = random((rows, depth), 0.2, seed);
            for (row, vector) in values.chunks_mut(depth).enumerate() {
                vector.iter_mut().zip(&centres[row % 40 * depth..]).for_each(|(value, centre)| *value += centre);
                let length = dot(vector, vector).sqrt();
                vector.iter_mut().for_each(|value| *value /= length);
            }
            values
        };
        let mut model = TwoTowerModel {
            scaling: settings.scaling,
            unit: settings.cosine(),
            lists_from: settings.lists_from,
            vectors: Vectors::new(near(items, 2).into(), depth),
            steps: Array::default(),
            users: near(users, 3).into(),
            tower: Tower { inward: Array::default(), outward: Array::default() },
        };
        assert!(model.unit);
        let queries: Vec<Vec<f32>> = model.users.chunks(depth).map(<[f32]>::to_vec).collect();
        let measured = model.vectors.partition(&queries).unwrap();
        assert!(measured.pays() && measured.probes < measured.lists / 4, "{measured:?}");
        // And so are the neighbours of some.
        model.store_neighbours(&[7, 3, 4999]);
        let near = |model: &TwoTowerModel| Recommend::tensors(model).iter().any(|tensor| tensor.name() == TwoTowerModel::NEAR[1]);
        assert!(near(&model));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        weights::write(&path, Recommend::tensors(&model)).unwrap();
        let mut written = Weights::open(&path).unwrap();
        let read = TwoTowerModel::load(&settings, (users, items), &mut written).unwrap();
        written.finish().unwrap();
        let all = Bitmap::filled(items, true);
        let (mut before, mut after) = (Found::default(), Found::default());
        for user in 0..users as u32 {
            let history = History { user: Some(user), ..History::default() };
            model.recommend(history, 20, Eligible::new(&all), &mut before);
            read.recommend(history, 20, Eligible::new(&all), &mut after);
            assert!(before.items.len() == 20 && before.items == after.items, "user {user}");
        }
        assert!(near(&read));
        for item in [3, 7, 11] {
            model.similar_items(item, 20, Eligible::new(&all), &mut before);
            read.similar_items(item, 20, Eligible::new(&all), &mut after);
            assert!(before.items.len() == 20 && before.items == after.items, "item {item}");
        }
    }
}

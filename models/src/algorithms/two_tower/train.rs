//! The training loop: epoch after epoch, batch after batch, with a checkpoint after each epoch.

use crate::algorithms::random::stream_seed;
use crate::algorithms::recommend::{Progress, Training};
use crate::algorithms::two_tower::batch::Batch;
use crate::algorithms::two_tower::checkpoint::{Checkpoint, FitState};
use crate::algorithms::two_tower::device_parity::check_device;
use crate::algorithms::two_tower::gradients::Gradients;
use crate::algorithms::two_tower::hyperparameters::TwoTower;
use crate::algorithms::two_tower::model::TwoTowerModel;
use crate::algorithms::two_tower::parameters::Parameters;
use crate::algorithms::two_tower::table::Adagrad;
use crate::algorithms::two_tower::training_pairs::TrainingPairs;
use crate::error::{ModelError, Result};
use aisle_math::random::{SplitMix, mix};
use candle_core::Device;

/// The learning rate of the dense layers over that of the embeddings: every pair moves the dense
/// layers, and only a few move a row.
const DENSE_RATE: f32 = 0.1;

/// A fit on its way.
pub(super) struct Trainer<'a> {
    tower: &'a TwoTower,
    pairs: TrainingPairs<'a>,
    parameters: Parameters,
    device: Device,
    /// Whether the device was compared with the cores.
    is_device_checked: bool,
    checkpoint: Option<Checkpoint>,
    /// How far the fit has come.
    pub state: FitState,
}

impl<'a> Trainer<'a> {
    /// Draws the parameters, or takes them from a checkpoint. `purpose` tells the checkpoints of
    /// different fits of the same data apart.
    ///
    /// # Errors
    /// As [`TrainingPairs::new`], and [`ModelError::Device`] if the device cannot be opened.
    pub fn new(
        tower: &'a TwoTower,
        training: &Training<'a>,
        progress: &dyn Progress,
        purpose: &str,
    ) -> Result<Self> {
        let pairs = TrainingPairs::new(tower, training)?;
        let parameters = Parameters::random(tower, &pairs);
        let device = progress.device().open()?;
        let checkpoint = progress
            .checkpoints()
            .map(|folder| Checkpoint::new(folder, tower, &pairs, purpose));
        let mut trainer = Self {
            tower,
            pairs,
            parameters,
            device,
            is_device_checked: false,
            checkpoint,
            state: FitState::default(),
        };
        trainer.resume(progress);
        Ok(trainer)
    }

    /// Goes through all pairs once, in a new random order. Returns the mean loss.
    ///
    /// # Errors
    /// [`ModelError::Diverged`] if the loss is not finite, [`ModelError::Device`] if the device
    /// fails or computes other numbers than the cores.
    pub fn epoch(&mut self, progress: &dyn Progress) -> Result<f64> {
        self.state.epoch += 1;
        let epoch = self.state.epoch;
        let mut random = SplitMix(stream_seed(self.tower.seed, mix(epoch as u64)));
        let order = shuffled(self.pairs.len(), &mut random);
        let (mut sum, mut count) = (0.0, 0.0);
        let steps = order.len().div_ceil(self.tower.batch);
        for (step, pairs) in order.chunks(self.tower.batch).enumerate() {
            let batch = Batch::draw(self.tower, &self.pairs, pairs, &mut random);
            let gradients = self.gradients(&batch, &self.device)?;
            self.check_device_once(&batch, &gradients)?;
            if !gradients.loss.is_finite() {
                let advice = format!(
                    "lower learning_rate (now {}) or raise temperature",
                    self.tower.learning_rate
                );
                return Err(ModelError::Diverged {
                    model: "two-tower",
                    iteration: epoch,
                    advice,
                });
            }
            self.descend(batch, &gradients);
            sum += gradients.loss * pairs.len() as f64;
            count += pairs.len() as f64;
            progress.step(&format!("two-tower epoch {epoch}"), step + 1, steps);
        }
        Ok(sum / count)
    }

    /// Returns the model as it is now.
    pub fn model(&self) -> TwoTowerModel {
        self.parameters.model(self.tower, &self.pairs)
    }

    /// Writes a checkpoint, if the fit keeps any. A fit goes on without one, and says why there is
    /// none.
    pub fn save(&self, progress: &dyn Progress) {
        let Some(checkpoint) = &self.checkpoint else {
            return;
        };
        if let Err(error) = checkpoint.write(self.state, &self.parameters) {
            let epoch = self.state.epoch;
            progress.message(&format!(
                "two-tower: no checkpoint of epoch {epoch}: {error}"
            ));
        }
    }

    /// Continues from a checkpoint of the same fit, if there is a sound one.
    fn resume(&mut self, progress: &dyn Progress) {
        let Some(checkpoint) = &self.checkpoint else {
            return;
        };
        let last_epoch = match self.tower.epochs {
            0 => usize::MAX,
            epochs => epochs,
        };
        match checkpoint.read(last_epoch, &mut self.parameters) {
            Ok(Some(state)) => {
                self.state = state;
                progress.message(&format!(
                    "two-tower: goes on after epoch {} of {}",
                    state.epoch,
                    checkpoint.path().display()
                ));
            }
            Ok(None) if checkpoint.path().is_file() => progress.message(&format!(
                "two-tower: starts anew, the checkpoint is past epoch {last_epoch}"
            )),
            Ok(None) => {}
            Err(error) => progress.message(&format!(
                "two-tower: starts anew, the checkpoint cannot be used: {error}"
            )),
        }
    }

    fn gradients(&self, batch: &Batch, device: &Device) -> Result<Gradients> {
        Gradients::compute(self.tower, &self.pairs, &self.parameters, batch, device)
            .map_err(ModelError::from)
    }

    /// Compares the gradients of the first batch with those that the cores compute.
    fn check_device_once(&mut self, batch: &Batch, gradients: &Gradients) -> Result<()> {
        let was_checked = std::mem::replace(&mut self.is_device_checked, true);
        // The last bit of a score may decide which negatives are the hardest.
        if was_checked || self.device.is_cpu() || self.tower.hard > 0 {
            return Ok(());
        }
        check_device(gradients, &self.gradients(batch, &Device::Cpu)?)
    }

    /// Takes one step down the gradients.
    fn descend(&mut self, batch: Batch, gradients: &Gradients) {
        let tower = self.tower;
        let adagrad = Adagrad {
            learning_rate: tower.learning_rate,
            regularization: tower.regularization,
        };
        let (mut item_bags, mut item_gradients) = (batch.item_bags, gradients.items.clone());
        if tower.history > 0 {
            let first = item_bags.indices.len();
            let offsets = batch.history_bags.offsets[1..].iter();
            item_bags.offsets.extend(offsets.map(|at| first + at));
            item_bags.indices.extend(batch.history_bags.indices);
            item_bags.values.extend(batch.history_bags.values);
            item_gradients.extend(&gradients.histories);
        }
        let Parameters {
            items,
            users,
            dense,
        } = &mut self.parameters;
        items.descend(&item_bags, &item_gradients, adagrad);
        users.descend(&batch.user_bags, &gradients.users, adagrad);
        if tower.history > 0 || tower.hidden > 0 {
            let adagrad = Adagrad {
                learning_rate: DENSE_RATE * tower.learning_rate,
                regularization: 0.0,
            };
            dense.descend_all(&gradients.dense, adagrad);
        }
    }
}

/// Returns the numbers below `count` in a random order.
fn shuffled(count: usize, random: &mut SplitMix) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, (random.draw() % (at as u64 + 1)) as usize);
    }
    order
}

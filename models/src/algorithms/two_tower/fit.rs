//! The fit of two towers, and the search for the number of its epochs.

use crate::algorithms::held_out::HeldOut;
use crate::algorithms::recommend::{Fit, Progress, Training};
use crate::algorithms::two_tower::hyperparameters::TwoTower;
use crate::algorithms::two_tower::model::TwoTowerModel;
use crate::algorithms::two_tower::train::Trainer;
use crate::error::Result;

/// Most epochs of a search.
const MOST_EPOCHS: usize = 200;
/// Number of epochs where no part of the data can be held out to search on.
const DEFAULT_EPOCHS: usize = 20;

impl TwoTower {
    /// Returns a copy with the number of epochs after which NDCG@20 of the held-out part was
    /// highest: the model is then fitted again, on all data. 20 where nothing can be held out.
    ///
    /// # Errors
    /// The same as a fit.
    pub fn resolved(&self, training: &Training, progress: &dyn Progress) -> Result<Self> {
        self.validate()?;
        if self.epochs > 0 {
            return Ok(self.clone());
        }
        let epochs = match HeldOut::new(training, &self.split)? {
            Some(held_out) => self.search_epochs(&held_out, training, progress)?,
            None => DEFAULT_EPOCHS,
        };
        Ok(Self {
            epochs,
            ..self.clone()
        })
    }

    fn search_epochs(
        &self,
        held_out: &HeldOut,
        training: &Training,
        progress: &dyn Progress,
    ) -> Result<usize> {
        let past = held_out.training(training);
        let mut trainer = Trainer::new(self, &past, progress, &held_out.digest())?;
        while trainer.state.epoch < MOST_EPOCHS
            && trainer.state.epoch - trainer.state.best_epoch < self.patience
        {
            let loss = trainer.epoch(progress)?;
            let ndcg = held_out.mean_ndcg(&trainer.model());
            let state = &mut trainer.state;
            if ndcg > state.best_ndcg {
                (state.best_ndcg, state.best_epoch) = (ndcg, state.epoch);
            }
            let (epoch, best_ndcg, best_epoch) = (state.epoch, state.best_ndcg, state.best_epoch);
            progress.message(&format!(
                "two-tower: epoch {epoch}, loss {loss:.4}, NDCG@20 {ndcg:.4} (best \
                 {best_ndcg:.4} after {best_epoch})"
            ));
            trainer.save(progress);
        }
        Ok(trainer.state.best_epoch.max(1))
    }
}

impl Fit for TwoTower {
    type Model = TwoTowerModel;

    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<TwoTowerModel> {
        let resolved = self.resolved(training, progress)?;
        let mut trainer = Trainer::new(&resolved, training, progress, "fit")?;
        while trainer.state.epoch < resolved.epochs {
            let loss = trainer.epoch(progress)?;
            progress.message(&format!(
                "two-tower: epoch {}/{}, loss {loss:.4}",
                trainer.state.epoch, resolved.epochs
            ));
            trainer.save(progress);
        }
        Ok(trainer.model())
    }
}

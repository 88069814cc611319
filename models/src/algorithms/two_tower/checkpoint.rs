//! Checkpoints: the state of a fit after an epoch, from which a later fit of the same data and
//! hyperparameters continues to the same bits.

use crate::algorithms::digest::short_digest;
use crate::algorithms::two_tower::hyperparameters::TwoTower;
use crate::algorithms::two_tower::parameters::Parameters;
use crate::algorithms::two_tower::training_pairs::TrainingPairs;
use crate::error::{ModelError, Result};
use crate::weights::{self, Tensor, Weights};
use aisle_data::write_atomically;
use aisle_math::array::Array;
use std::path::{Path, PathBuf};

/// Names of the arrays of each table: its values and their squared gradients.
const TABLE_NAMES: [[&str; 2]; 3] = [
    ["items.values", "items.squares"],
    ["users.values", "users.squares"],
    ["dense.values", "dense.squares"],
];

/// How far a fit has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FitState {
    /// Number of epochs completed.
    pub epoch: usize,
    /// The epoch with the highest NDCG so far, when the number of epochs is searched for.
    pub best_epoch: usize,
    /// NDCG after that epoch.
    pub best_ndcg: f64,
}

/// Where the checkpoint of one fit is.
pub(super) struct Checkpoint {
    path: PathBuf,
}

impl Checkpoint {
    /// Names the checkpoint in `folder` after the data and the hyperparameters. `purpose` tells
    /// different fits of the same data apart.
    pub fn new(folder: &Path, tower: &TwoTower, pairs: &TrainingPairs, purpose: &str) -> Self {
        let identity = identity(tower, pairs, purpose);
        Self {
            path: folder.join(format!("two-tower-{identity}.safetensors")),
        }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the state in place of the former one. After a crash there is either the former
    /// checkpoint or this one, never a part of one.
    ///
    /// # Errors
    /// [`ModelError::Io`] if the operating system refuses.
    pub fn write(&self, state: FitState, parameters: &Parameters) -> Result<()> {
        let progress = [
            state.epoch as u64,
            state.best_epoch as u64,
            state.best_ndcg.to_bits(),
        ];
        let mut tensors = vec![Tensor::u64("progress", &progress)];
        for (table, [values, squares]) in parameters.tables().into_iter().zip(TABLE_NAMES) {
            let shape = [table.values.len()];
            tensors.push(Tensor::f32(values, &shape, &table.values));
            tensors.push(Tensor::f32(squares, &shape, &table.squared_gradients));
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(ModelError::io("cannot create", folder))?;
        write_atomically(&self.path, |path| weights::write(path, tensors))
    }

    /// Reads the state, and copies the arrays into `parameters`. `None` if there is no checkpoint,
    /// or if it is past epoch `last_epoch`; an error leaves `parameters` as they were.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] for a file that [`Checkpoint::write`] would not have written.
    pub fn read(&self, last_epoch: usize, parameters: &mut Parameters) -> Result<Option<FitState>> {
        if !self.path.is_file() {
            return Ok(None);
        }
        let mut weights = Weights::open(&self.path)?;
        let progress = weights.numbers("progress", 3)?;
        let state = FitState {
            epoch: progress[0] as usize,
            best_epoch: progress[1] as usize,
            best_ndcg: f64::from_bits(progress[2]),
        };
        let mut arrays: Vec<[Array<f32>; 2]> = Vec::new();
        for (table, [values, squares]) in parameters.tables().into_iter().zip(TABLE_NAMES) {
            let len = table.values.len();
            arrays.push([weights.reals(values, len)?, weights.reals(squares, len)?]);
        }
        if state.epoch > last_epoch {
            return Ok(None);
        }
        for (table, [values, squares]) in parameters.tables_mut().into_iter().zip(arrays) {
            table.values.copy_from_slice(&values);
            table.squared_gradients.copy_from_slice(&squares);
        }
        Ok(Some(state))
    }
}

/// Returns a digest of the data and of all hyperparameters but the number of epochs: a fit of more
/// epochs may continue from a checkpoint of one of fewer.
fn identity(tower: &TwoTower, pairs: &TrainingPairs, purpose: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(purpose.as_bytes());
    let tower = TwoTower {
        epochs: 0,
        ..tower.clone()
    };
    hasher.update(serde_json::to_string(&tower).unwrap_or_default().as_bytes());
    hasher.update(bytemuck::cast_slice(pairs.items()));
    hasher.update(bytemuck::cast_slice(&pairs.confidences));
    hasher.update(bytemuck::cast_slice(&pairs.users));
    for bags in [&pairs.item_bags.bags, &pairs.user_bags.bags] {
        hasher.update(bytemuck::cast_slice(&bags.offsets));
        hasher.update(bytemuck::cast_slice(&bags.indices));
    }
    short_digest(&hasher)
}

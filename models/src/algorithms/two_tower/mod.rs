//! Two towers trained by contrast: the items that a shopper chose against the items of others in
//! the same batch, and against items drawn at random.
//!
//! In: interactions, attributes of items and users, and [`TwoTower`] hyperparameters, or the arrays
//! of a version. Out: [`TwoTowerModel`], a vector for each item and a way to a vector for any
//! shopper.
//!
//! item = tower(e_i + Σ features), user = tower(e_u + Σ features + P · mean of the history's
//! items), the item of the training pair left out of the history. The loss of a batch is one of
//! - `softmax`: −log softmax of cosine / temperature over the items of the batch and drawn ones,
//!   each logit less the log of the expected count of its item (Yi et al., "Sampling-Bias-Corrected
//!   Neural Modeling", RecSys 2019, equations 2 to 4);
//! - `cosine-contrastive`: 1 − cos(u, i) + w · mean max(0, cos(u, j) − margin) (Mao et al.,
//!   "SimpleX", CIKM 2021, equation 1);
//! - `bpr`: mean of −log σ(u·i − u·j) (Rendle et al., "BPR", UAI 2009). With `history=0` that is
//!   plain matrix factorisation.
//!
//! Only the dense part of a step runs on the device, through candle: the towers, differentiated
//! automatically, and the loss, whose gradients are written out. The sums of rows and their Adagrad
//! steps are done where the tables are, in main memory. Items and users without any event get a
//! vector from their features.
//!
//! The way of a fit: `training_pairs.rs` reads the data, `parameters.rs` draws what is learned,
//! `batch.rs` draws batches, `loss.rs` and `gradients.rs` differentiate, `train.rs` goes through
//! the epochs with `checkpoint.rs`, `device_parity.rs` compares a device with the cores, and
//! `fit.rs` decides how many epochs there are.
//!
//! What may be changed here: sums and random draws keep their order, so that a fit gives the same
//! bits at any number of threads, and the same after an interruption.

mod batch;
mod checkpoint;
mod device_parity;
mod features;
mod fit;
mod gradients;
mod hyperparameters;
mod loss;
mod model;
mod parameters;
mod table;
mod tower;
mod train;
mod training_pairs;

pub use hyperparameters::{Loss, TwoTower};
pub use model::TwoTowerModel;

//! Every algorithm, with hyperparameters that fit tiny data fast.

use crate::common::logs::TrainingData;
use aisle_models::{
    Als, Blend, Ease, Fit, ItemKnn, LinearFilter, LocalRidge, Loss, LowPass, Measure, Personal,
    Popular, Recommend, TwoTower,
};

pub fn als() -> Als {
    Als {
        factors: 8,
        iterations: 6,
        ..Als::default()
    }
}

pub fn low_pass() -> LowPass {
    // Users and items of the tests fall into two halves that do not meet: two frequencies are low,
    // all others are alike.
    LowPass {
        factors: 2,
        ..LowPass::default()
    }
}

pub fn local_ridge() -> LocalRidge {
    LocalRidge {
        neighbours: 30,
        l2: 5.0,
        ..LocalRidge::default()
    }
}

pub fn two_tower() -> TwoTower {
    TwoTower {
        factors: 8,
        epochs: 30,
        batch: 64,
        negatives: 16,
        hidden: 4,
        ..TwoTower::default()
    }
}

pub fn blend() -> Blend {
    let members = vec![
        Personal::LowPass(low_pass()),
        Personal::LocalRidge(local_ridge()),
    ];
    Blend {
        members,
        weights: vec![1.0, 0.5],
        split: "validation".into(),
        candidates: 20,
    }
}

/// One of each algorithm that is fitted in no time: all but two towers.
pub fn fast_algorithms() -> Vec<Personal> {
    vec![
        Personal::Als(als()),
        Personal::LowPass(low_pass()),
        Personal::LinearFilter(LinearFilter::default()),
        Personal::ItemKnn(ItemKnn::default()),
        Personal::LocalRidge(local_ridge()),
        Personal::Ease(Ease::default()),
        Personal::Blend(blend()),
        Personal::Popular(Popular::default()),
    ]
}

/// Every algorithm and every kind of it, for the suite that all of them must pass: with more
/// dimensions than items, each loss of two towers, each measure of item neighbours.
pub fn every_algorithm() -> Vec<Personal> {
    let more_factors_than_items = Als {
        factors: 40,
        ..als()
    };
    let ease = Ease {
        l2: 5.0,
        ..Ease::default()
    };
    let mut algorithms = vec![
        Personal::Als(als()),
        Personal::Popular(Popular::default()),
        Personal::LinearFilter(LinearFilter::default()),
        Personal::Als(more_factors_than_items),
        Personal::LowPass(low_pass()),
        Personal::LocalRidge(local_ridge()),
        Personal::Ease(ease),
        Personal::Blend(blend()),
    ];
    let losses = [Loss::Softmax, Loss::CosineContrastive, Loss::Bpr];
    algorithms.extend(losses.map(|loss| {
        Personal::TwoTower(TwoTower {
            loss,
            ..two_tower()
        })
    }));
    let measures = [
        Measure::Cosine,
        Measure::Bm25,
        Measure::TfIdf,
        Measure::Jaccard,
        Measure::Llr,
    ];
    algorithms.extend(measures.map(|measure| {
        Personal::ItemKnn(ItemKnn {
            measure,
            ..ItemKnn::default()
        })
    }));
    algorithms
}

/// A fitted model with the hyperparameters that it was fitted with, for messages.
pub struct NamedModel {
    pub name: String,
    pub algorithm: &'static str,
    pub model: Box<dyn Recommend>,
}

/// Fits every algorithm.
pub fn every_model(data: &TrainingData) -> Vec<NamedModel> {
    let fit = |personal: Personal| NamedModel {
        name: format!("{personal:?}"),
        algorithm: personal.algorithm(),
        model: personal.fit(&data.training(), &()).unwrap(),
    };
    every_algorithm().into_iter().map(fit).collect()
}

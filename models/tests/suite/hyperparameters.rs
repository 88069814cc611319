//! Hyperparameters out of range and data without anything to learn are refused, with what was
//! found and what was expected.

use crate::common::algorithms::{als, blend};
use crate::common::logs::{TrainingData, checkerboard, purchases};
use aisle_models::{
    Als, Blend, Complements, Ease, Fit, ItemKnn, LinearFilter, LocalRidge, LowPass, ModelError,
    Personal, Upsell,
};

/// Fits each of some settings and checks that it is refused as a hyperparameter out of range.
fn assert_refused(settings: impl IntoIterator<Item = Personal>) {
    let data = checkerboard(6);
    for personal in settings {
        let refused = personal.fit(&data.training(), &()).err();
        let is_out_of_range = matches!(refused, Some(ModelError::Hyperparameter { .. }));
        assert!(is_out_of_range, "{personal:?}: {refused:?}");
    }
}

#[test]
fn als_refuses_hyperparameters_out_of_range() {
    let wrong = [
        Als {
            factors: 0,
            ..als()
        },
        Als {
            alpha: -1.0,
            ..als()
        },
        Als {
            regularization: f32::NAN,
            ..als()
        },
        Als {
            iterations: 0,
            ..als()
        },
    ];
    assert_refused(wrong.map(Personal::Als));
}

#[test]
fn low_pass_refuses_zero_factors() {
    assert_refused([Personal::LowPass(LowPass {
        factors: 0,
        ..LowPass::default()
    })]);
}

#[test]
fn the_linear_filter_refuses_an_exponent_above_one() {
    assert_refused([Personal::LinearFilter(LinearFilter {
        popularity: 2.0,
        ..LinearFilter::default()
    })]);
}

#[test]
fn local_ridge_refuses_a_penalty_that_is_no_number() {
    assert_refused([Personal::LocalRidge(LocalRidge {
        l2: f32::NAN,
        ..LocalRidge::default()
    })]);
}

#[test]
fn ease_refuses_a_penalty_of_zero() {
    assert_refused([Personal::Ease(Ease {
        l2: 0.0,
        ..Ease::default()
    })]);
}

#[test]
fn a_blend_refuses_the_same_member_twice() {
    assert_refused([Personal::Blend(Blend {
        members: vec![Personal::Als(als()), Personal::Als(als())],
        ..blend()
    })]);
}

#[test]
fn a_blend_refuses_weights_of_zero_alone() {
    assert_refused([Personal::Blend(Blend {
        weights: vec![0.0, 0.0],
        ..blend()
    })]);
}

#[test]
fn a_blend_refuses_a_blend_as_a_member() {
    assert_refused([Personal::Blend(Blend {
        members: vec![Personal::Blend(blend()), Personal::Als(als())],
        ..blend()
    })]);
}

#[test]
fn item_knn_refuses_zero_neighbours() {
    let wrong = ItemKnn {
        neighbours: 0,
        ..ItemKnn::default()
    };
    assert!(wrong.fit(&checkerboard(6).training(), &()).is_err());
}

#[test]
fn upsell_refuses_prices_below_that_of_the_item() {
    let wrong = Upsell {
        min_ratio: 0.5,
        ..Upsell::default()
    };
    assert!(wrong.fit(&checkerboard(6).training(), &()).is_err());
}

#[test]
fn complements_refuse_a_support_of_no_shopper() {
    let wrong = Complements {
        min_shoppers: 0,
        ..Complements::default()
    };
    assert!(wrong.fit(&checkerboard(6).training(), &()).is_err());
}

#[test]
fn an_empty_log_leaves_nothing_to_learn() {
    let empty = TrainingData::of(purchases(3, 3, &[]));
    let refused = als().fit(&empty.training(), &()).err();
    assert!(matches!(refused, Some(ModelError::NothingToLearn { .. })));
}

//! ALS: the vector of a new history, its closed form, and the explanation of a recommendation.

use crate::common::algorithms::als;
use crate::common::logs::checkerboard;
use aisle_models::{Als, Fit, History, Recommend, Scaling};

fn history<'a>(items: &'a [u32], values: &'a [f32]) -> History<'a> {
    History {
        items,
        values,
        user: None,
    }
}

#[test]
fn folding_in_a_history_gives_the_bits_that_training_gave() {
    let data = checkerboard(40);
    let model = als().fit(&data.training(), &()).unwrap();
    for user in 0..40 {
        let folded_in = model.fold_in(data.history(user)).unwrap();
        assert_eq!(folded_in, model.user_factor(user).unwrap(), "user {user}");
    }
}

#[test]
fn an_empty_history_has_no_vector() {
    let model = als().fit(&checkerboard(40).training(), &()).unwrap();
    assert!(model.fold_in(History::default()).is_none());
}

/// The closed form of the paper, in 64 bits and by Gaussian elimination, against the solve.
#[test]
fn a_vector_minimises_the_published_loss() {
    const FACTORS: usize = 5;
    let (l2, alpha, nu) = (0.02, 0.3, 0.7);
    let settings = Als {
        factors: FACTORS,
        iterations: 3,
        regularization: l2 as f32,
        alpha: alpha as f32,
        nu: nu as f32,
        scaling: Scaling::Linear,
        seed: 3,
    };
    let model = settings.fit(&checkerboard(30).training(), &()).unwrap();
    let (items, values) = ([1u32, 4, 6], [1.0f32, 0.5, 2.0]);
    // One row of the normal equations a factor, its right-hand side last.
    let mut equations = vec![vec![0f64; FACTORS + 1]; FACTORS];
    let mut add = |item: u32, weight: f64, target: f64| {
        let factor = model.item_factor(item);
        for row in 0..FACTORS {
            for column in 0..FACTORS {
                let product = f64::from(factor[row]) * f64::from(factor[column]);
                equations[row][column] += weight * product;
            }
            equations[row][FACTORS] += target * f64::from(factor[row]);
        }
    };
    (0..30).for_each(|item| add(item, alpha, 0.0));
    for (&item, &value) in items.iter().zip(&values) {
        add(item, f64::from(value), f64::from(value));
    }
    let penalty = l2 * (3.0 + alpha * 30.0f64).powf(nu);
    (0..FACTORS).for_each(|row| equations[row][row] += penalty);
    eliminate(&mut equations);
    let found = model.fold_in(history(&items, &values)).unwrap();
    for (row, &found) in found.iter().enumerate() {
        let expected = equations[row][FACTORS] / equations[row][row];
        let error = (expected - f64::from(found)).abs();
        assert!(error < 1e-3 * (1.0 + expected.abs()), "{expected} {found}");
    }
}

/// Gauss-Jordan elimination in place: only the diagonal and the last column remain.
fn eliminate(equations: &mut [Vec<f64>]) {
    for pivot in 0..equations.len() {
        let from = equations[pivot].clone();
        for (row, equation) in equations.iter_mut().enumerate() {
            if row == pivot {
                continue;
            }
            let factor = equation[pivot] / from[pivot];
            let cells = equation.iter_mut().zip(&from);
            cells.for_each(|(cell, value)| *cell -= factor * value);
        }
    }
}

/// A row is solved by its own length or by the dimension, whichever is smaller; both give the
/// closed form above. A history one item longer than the dimension is solved the other way, and if
/// that item counts next to nothing the vector is nearly the same.
#[test]
fn the_two_ways_to_solve_a_row_agree() {
    let settings = Als {
        factors: 12,
        ..als()
    };
    let model = settings.fit(&checkerboard(60).training(), &()).unwrap();
    let items: Vec<u32> = (0..13).map(|number| 2 * number).collect();
    let mut values = vec![1.0f32; 13];
    values[12] = 1e-4;
    let longer = model.fold_in(history(&items, &values)).unwrap();
    let shorter = model.fold_in(history(&items[..12], &values[..12])).unwrap();
    for (a, b) in longer.iter().zip(&shorter) {
        assert!((a - b).abs() < 0.02 * (1.0 + b.abs()), "{a} {b}");
    }
}

#[test]
fn an_explanation_names_an_item_of_the_history_that_is_alike() {
    let data = checkerboard(30);
    let model = als().fit(&data.training(), &()).unwrap();
    let history = data.history(3);
    for item in [3u32, 9] {
        let cause = model.explain(history, &[item])[0].unwrap();
        let is_alike = cause != item && cause % 2 == 1;
        assert!(
            history.items.contains(&cause) && is_alike,
            "{item}: {cause}"
        );
    }
}

#[test]
fn a_history_of_one_item_explains_everything_by_it() {
    let model = als().fit(&checkerboard(30).training(), &()).unwrap();
    assert_eq!(
        model.explain(history(&[5], &[1.0]), &[7, 9]),
        [Some(5), Some(5)]
    );
}

#[test]
fn an_empty_history_explains_nothing() {
    let model = als().fit(&checkerboard(30).training(), &()).unwrap();
    assert_eq!(model.explain(History::default(), &[7]), [None]);
}

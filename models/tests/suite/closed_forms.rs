//! Algorithms with a closed form, against their published definitions in 64 bits and against each
//! other.

use crate::common::home_and_tools::training_data;
use aisle_data::Interactions;
use aisle_models::{Ease, Fit, LinearFilter, LocalRidge, LowPass, Recommend, Scaling};

/// Items of each half of the shop; those of different halves never meet.
const HALF: u32 = 10;
/// Items that somebody buys.
const BOUGHT: u32 = 2 * HALF;

/// A ridge regression on all items is EASE: with as many neighbours as there are items the two
/// agree. Items that never meet are no neighbours; those in one half of the shop all meet.
#[test]
fn local_ridge_with_all_items_as_neighbours_is_ease() {
    let data = training_data();
    let local_ridge = LocalRidge {
        neighbours: 100,
        l2: 3.0,
        length: 0.5,
        ..LocalRidge::default()
    };
    let ease = Ease {
        l2: 3.0,
        length: 0.5,
        ..Ease::default()
    };
    let local_ridge = local_ridge.fit(&data.training(), &()).unwrap();
    let ease = ease.fit(&data.training(), &()).unwrap();
    for a in 0..BOUGHT {
        for b in (0..BOUGHT).filter(|b| b / HALF == a / HALF && *b != a) {
            let (found, expected) = (local_ridge.similarity(a, b), ease.similarity(a, b));
            let error = (found - expected).abs();
            assert!(error < 2e-3, "{a} {b}: {found} {expected}");
        }
    }
}

/// The users × items matrix with all its zeros.
fn dense(interactions: &Interactions) -> Vec<Vec<f64>> {
    let mut matrix = vec![vec![0f64; interactions.items()]; interactions.users()];
    for (user, row) in matrix.iter_mut().enumerate() {
        let (items, values) = interactions.by_user.row(user);
        for (&item, &value) in items.iter().zip(values) {
            row[item as usize] = f64::from(value);
        }
    }
    matrix
}

fn item_degrees(matrix: &[Vec<f64>]) -> Vec<f64> {
    let degree = |item: usize| matrix.iter().map(|row| row[item]).sum();
    (0..matrix[0].len()).map(degree).collect()
}

#[test]
fn the_linear_filter_is_a_random_walk_from_item_to_user_to_item() {
    let data = training_data();
    let filter = LinearFilter {
        scaling: Scaling::Linear,
        ..LinearFilter::default()
    };
    let filter = filter.fit(&data.training(), &()).unwrap();
    let matrix = dense(&data.interactions);
    let user_degrees: Vec<f64> = matrix.iter().map(|row| row.iter().sum()).collect();
    let item_degrees = item_degrees(&matrix);
    for a in 0..BOUGHT as usize {
        for b in (0..BOUGHT as usize).filter(|&b| b != a) {
            let rows = matrix.iter().zip(&user_degrees);
            let steps = rows.map(|(row, degree)| row[a] / item_degrees[a] * row[b] / degree);
            let expected: f64 = steps.sum();
            let found = f64::from(filter.similarity(a as u32, b as u32));
            assert!(
                (expected - found).abs() < 1e-5,
                "{a} {b}: {found} {expected}"
            );
        }
    }
}

/// The two leading singular vectors of the normalised matrix are √degree on either half of the
/// shop, so a low-pass of two factors scores every item of a shopper's own half by its degree, and
/// those of the other half by nothing.
#[test]
fn the_low_pass_of_two_factors_scores_items_of_a_half_by_their_degree() {
    let data = training_data();
    let low_pass = LowPass {
        factors: 2,
        scaling: Scaling::Linear,
        ..LowPass::default()
    };
    let low_pass = low_pass.fit(&data.training(), &()).unwrap();
    let degrees = item_degrees(&dense(&data.interactions));
    let items: Vec<u32> = (0..BOUGHT).collect();
    for user in [0u32, 1] {
        let history = data.history(user);
        let scores = low_pass.score(history, &items);
        let is_in_own_half = |item: u32| item / HALF == user % 2;
        let own_half = items.iter().filter(|&&item| is_in_own_half(item));
        let total_degree: f64 = own_half.map(|&item| degrees[item as usize]).sum();
        let seen: f64 = history.values.iter().map(|&value| f64::from(value)).sum();
        for &item in &items {
            let expected = match is_in_own_half(item) {
                true => seen * degrees[item as usize] / total_degree,
                false => 0.0,
            };
            let found = f64::from(scores[item as usize].unwrap());
            let error = (found - expected).abs();
            assert!(
                error < 1e-3 * (1.0 + expected),
                "{user} {item}: {found} {expected}"
            );
        }
    }
}

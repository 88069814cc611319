use super::*;
use crate::random::SplitMix;

const TRUE_WEIGHTS: [f32; 3] = [1.5, -0.7, 0.0];

/// Draws 6000 choices among 40 alternatives by [`TRUE_WEIGHTS`], of which only the chosen one and
/// `kept` others are pushed; all of them if `kept` is `None`. Asserts that the weights are found.
fn assert_weights_are_found(outside: bool, kept: Option<usize>) {
    let mut random = SplitMix(9);
    let mut choices = Choices::new(3, outside);
    let mut chose_nothing = 0;
    for _ in 0..6000 {
        let rows: Vec<f32> = (0..120)
            .map(|at| if at % 3 == 1 { 3.0 } else { 1.0 } * random.normal())
            .collect();
        let utilities = rows.chunks(3).map(|row| dot(row, &TRUE_WEIGHTS));
        let mut probabilities: Vec<f32> = utilities.collect();
        softmax(&mut probabilities, outside);
        let mut draw = random.uniform();
        let chosen = probabilities.iter().position(|&probability| {
            draw -= probability;
            draw < 0.0
        });
        chose_nothing += usize::from(chosen.is_none());
        match (chosen, kept) {
            (None, _) if !outside => {}
            (Some(chosen), Some(kept)) => {
                let mut some = rows[chosen * 3..][..3].to_vec();
                let others = (0..40).filter(|&row| row != chosen).take(kept);
                some.extend(others.flat_map(|row| &rows[row * 3..][..3]));
                choices.push(&some, Some(0));
            }
            _ => choices.push(&rows, chosen),
        }
    }
    assert_eq!(chose_nothing > 5, outside, "{chose_nothing}");
    let found = choices.fit(1e-3).unwrap();
    let mut pairs = found.iter().zip(TRUE_WEIGHTS);
    assert!(
        pairs.all(|(found, weight)| (found - weight).abs() < 0.06),
        "{found:?}"
    );
}

#[test]
fn known_weights_are_found_where_something_must_be_chosen() {
    assert_weights_are_found(false, None);
}

#[test]
fn known_weights_are_found_where_nothing_may_be_chosen() {
    assert_weights_are_found(true, None);
}

#[test]
fn known_weights_are_found_from_some_of_the_alternatives() {
    assert_weights_are_found(false, Some(8));
}

#[test]
fn without_choices_there_are_no_weights() {
    assert!(Choices::new(2, false).fit(1.0).is_none());
}

#[test]
fn a_constant_feature_has_no_weight() {
    let mut choices = Choices::new(2, false);
    choices.push(&[1.0, 5.0, 0.0, 5.0], Some(0));
    let weights = choices.fit(1.0).unwrap();
    assert!(weights[0] > 0.0 && weights[1].abs() < 1e-3, "{weights:?}");
}

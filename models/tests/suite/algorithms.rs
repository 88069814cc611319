//! The suite that every algorithm must pass.

use crate::common::algorithms::{NamedModel, every_model};
use crate::common::logs::{TrainingData, checkerboard};
use aisle_models::{Bitmap, Eligible, History, Recommend, Scored, SearchBuffer};
use std::sync::LazyLock;

/// Users and items of the checkerboard.
const SIZE: u32 = 50;

/// Every algorithm on one checkerboard, fitted once for all tests of this file.
static FITTED: LazyLock<(TrainingData, Vec<NamedModel>)> = LazyLock::new(|| {
    let data = checkerboard(SIZE);
    let models = every_model(&data);
    (data, models)
});

fn everything() -> Bitmap {
    Bitmap::filled(SIZE as usize, true)
}

/// The best `k` eligible items for a history, which come best first.
fn recommend(model: &dyn Recommend, history: History, k: usize, eligible: Eligible) -> Vec<Scored> {
    let mut found = SearchBuffer::default();
    model.recommend(history, k, eligible, &mut found);
    let is_sorted = |pair: &[Scored]| pair[0].score >= pair[1].score;
    assert!(found.items.windows(2).all(is_sorted), "best first");
    found.items
}

fn items_of(answer: &[Scored]) -> Vec<u32> {
    answer.iter().map(|scored| scored.item).collect()
}

/// The models that know taste: all but best sellers.
fn models_of_taste() -> impl Iterator<Item = &'static NamedModel> {
    let models = FITTED.1.iter();
    models.filter(|model| model.algorithm != "popular")
}

#[test]
fn the_item_that_is_missing_on_the_diagonal_comes_out_on_top() {
    let everything = everything();
    for NamedModel { name, model, .. } in models_of_taste() {
        for user in 0..SIZE {
            let history = FITTED.0.history(user);
            let eligible = Eligible::without(&everything, history.items);
            let found = recommend(model.as_ref(), history, 1, eligible);
            assert_eq!(items_of(&found), [user], "{name}");
        }
    }
}

#[test]
fn similar_items_are_those_that_the_same_users_buy() {
    let everything = everything();
    for NamedModel { name, model, .. } in models_of_taste() {
        for item in 0..SIZE {
            let mut similar = SearchBuffer::default();
            let itself = [item];
            let eligible = Eligible::without(&everything, &itself);
            model.similar_items(item, 10, eligible, &mut similar);
            assert_eq!(similar.items.len(), 10, "{name}");
            let has_equal_parity = |scored: &Scored| scored.item % 2 == item % 2;
            assert!(
                similar.items.iter().all(has_equal_parity),
                "{name}, item {item}"
            );
        }
    }
}

#[test]
fn a_batch_is_answered_as_one_history_at_a_time() {
    let everything = everything();
    let histories: Vec<History> = (0..SIZE).map(|user| FITTED.0.history(user)).collect();
    let eligible: Vec<Eligible> = histories
        .iter()
        .map(|history| Eligible::without(&everything, history.items))
        .collect();
    for NamedModel { name, model, .. } in &FITTED.1 {
        let batch = model.recommend_batch(&histories, 7, &eligible);
        assert_eq!(batch.len(), histories.len(), "{name}");
        for (user, answer) in batch.iter().enumerate() {
            let alone = recommend(model.as_ref(), histories[user], 7, eligible[user]);
            assert_eq!(*answer, alone, "{name}, user {user}");
        }
    }
}

#[test]
fn only_eligible_items_are_recommended() {
    let every_third = Bitmap::of(SIZE as usize, |item| item % 3 == 0);
    let eligible = Eligible::without(&every_third, &[0, 3, 6]);
    for NamedModel { name, model, .. } in &FITTED.1 {
        for user in 0..SIZE {
            let history = FITTED.0.history(user);
            let found = recommend(model.as_ref(), history, SIZE as usize, eligible);
            let is_eligible = |item: &u32| item.is_multiple_of(3) && *item > 6;
            assert!(
                items_of(&found).iter().all(is_eligible),
                "{name}, user {user}"
            );
        }
    }
}

#[test]
fn models_fitted_on_one_and_on_four_threads_answer_the_same_bits() {
    let data = checkerboard(60);
    let everything = Bitmap::filled(60, true);
    let answers_on = |threads: usize| -> Vec<Vec<Vec<Scored>>> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let answers = |named: NamedModel| {
                let answer = |user| {
                    let eligible = Eligible::new(&everything);
                    recommend(named.model.as_ref(), data.history(user), 60, eligible)
                };
                (0..60).map(answer).collect()
            };
            every_model(&data).into_iter().map(answers).collect()
        })
    };
    assert_eq!(answers_on(1), answers_on(4));
}

/// Events fade with age. The whole history of one user and a single event of another have faded to
/// almost nothing.
#[test]
fn events_that_faded_to_nothing_break_no_fit() {
    const FADED: f32 = 1e-12;
    let mut data = checkerboard(40);
    let by_user = &mut data.interactions.by_user;
    let (whole, single) = (by_user.offsets[0]..by_user.offsets[1], by_user.offsets[3]);
    by_user.values[whole].fill(FADED);
    by_user.values[single] = FADED;
    data.interactions.by_item = data.interactions.by_user.transposed(40);
    let everything = Bitmap::filled(40, true);
    for NamedModel {
        name,
        algorithm,
        model,
    } in every_model(&data)
    {
        let history = data.history(5);
        let eligible = Eligible::without(&everything, history.items);
        let found = items_of(&recommend(model.as_ref(), history, 3, eligible));
        let is_missing_item = found.first() == Some(&5);
        assert!(
            algorithm == "popular" || is_missing_item,
            "{name}: {found:?}"
        );
    }
}

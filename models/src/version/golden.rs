//! Golden requests: questions with the answers that a version gave when it was made, asked again at
//! every load.

use crate::error::{ModelError, Result};
use crate::fitted_models::FittedModels;
use crate::pipeline::calls;
use crate::pipeline::live_state::LiveState;
use crate::pipeline::request::{
    CartRequest, ItemRequest, ReorderRequest, SessionRequest, UserRequest,
};
use crate::version::manifest::GoldenRequest;

/// Requests of each task.
const REQUESTS: usize = 8;
/// Items of each answer.
const K: usize = 10;
/// What scores may differ by between processors, as a share of 1 + the score.
const TOLERANCE: f32 = 1e-4;

/// Requests that touch every model, chosen evenly over users and items, with their answers.
pub(crate) fn record(models: &FittedModels) -> Vec<GoldenRequest> {
    let live = LiveState::unchanged(models);
    let evenly = |count: usize| {
        let requests = REQUESTS.min(count);
        (0..requests).map(move |step| (step * count / requests) as u32)
    };
    let user_ids =
        || evenly(models.users.len()).map(|user| vec![models.users.id(user).to_string()]);
    let recommendable: Vec<u32> = models.recommendable().iter().collect();
    let items: Vec<u32> = evenly(recommendable.len())
        .map(|at| recommendable[at as usize])
        .collect();
    let ids = |items: &[u32]| {
        items
            .iter()
            .map(|&item| models.items.id(item).to_string())
            .collect()
    };
    let single_items = || items.chunks(1).map(ids);
    let requests = user_ids().map(|ids| ("personal", ids));
    let requests = requests.chain(single_items().map(|ids| ("similar", ids)));
    let requests = requests.chain(items.chunks(2).map(|cart| ("cross-sell", ids(cart))));
    let requests = requests.chain(single_items().map(|ids| ("upsell", ids)));
    let requests = requests.chain(single_items().map(|ids| ("session", ids)));
    let requests = requests.chain(user_ids().map(|ids| ("buy-again", ids)));
    let recorded = requests.map(|(task, ids)| {
        let expect = answer(models, &live, task, (&ids, K));
        GoldenRequest {
            task: task.into(),
            ids,
            expect,
        }
    });
    recorded.collect()
}

/// Asks recorded requests again. Scores may differ by rounding between processors, ranks only where
/// scores nearly tie.
///
/// # Errors
/// [`ModelError::GoldenMismatch`] with the first answer that differs.
pub(crate) fn replay(
    models: &FittedModels,
    recorded: &[GoldenRequest],
    version: &str,
) -> Result<()> {
    let live = LiveState::unchanged(models);
    for golden in recorded {
        let found = answer(
            models,
            &live,
            &golden.task,
            (&golden.ids, golden.expect.len().max(1)),
        );
        if !is_same(&found, &golden.expect) {
            return Err(ModelError::GoldenMismatch {
                version: version.into(),
                request: format!("{} for {}", golden.task, golden.ids.join(", ")),
                found: format!("{found:?}"),
                expected: format!("{:?}", golden.expect),
            });
        }
    }
    Ok(())
}

fn is_same(found: &[(String, f32)], expected: &[(String, f32)]) -> bool {
    let last = expected.last().map(|(_, score)| *score);
    let same =
        |((item, score), (expected_item, expected_score)): (&(String, f32), &(String, f32))| {
            let tolerance = TOLERANCE * (1.0 + expected_score.abs());
            // Another processor may round a near-tie the other way, at the last rank even with an
            // item that is not listed.
            let ties_with_last = last.is_some_and(|last| (last - score).abs() <= 2.0 * tolerance);
            let ties_with_own = || {
                expected
                    .iter()
                    .any(|(other, known)| other == item && (known - score).abs() <= 2.0 * tolerance)
            };
            (score - expected_score).abs() <= tolerance
                && (item == expected_item || ties_with_last || ties_with_own())
        };
    found.len() == expected.len() && found.iter().zip(expected).all(same)
}

/// Ids and scores of an answer; nothing for a task that this build does not know.
fn answer(
    models: &FittedModels,
    live: &LiveState,
    task: &str,
    (ids, k): (&[String], usize),
) -> Vec<(String, f32)> {
    let items: Vec<u32> = ids.iter().filter_map(|id| models.items.get(id)).collect();
    let first = items.first().copied();
    let user = ids.first().and_then(|id| models.users.get(id));
    let answer = match task {
        "personal" => {
            let request = UserRequest {
                user,
                k,
                exclude_purchased: true,
                ..UserRequest::default()
            };
            Some(calls::recommend_for_user(models, live, &request))
        }
        "buy-again" => {
            let request = ReorderRequest {
                user,
                k,
                ..ReorderRequest::default()
            };
            Some(calls::buy_again(models, live, &request))
        }
        "similar" => first.map(|item| {
            calls::similar_items(
                models,
                live,
                &ItemRequest {
                    item,
                    k,
                    ..ItemRequest::default()
                },
            )
        }),
        "cross-sell" => {
            let request = CartRequest {
                cart: items,
                k,
                ..CartRequest::default()
            };
            Some(calls::cross_sell(models, live, &request))
        }
        "session" => {
            let request = SessionRequest {
                clicks: items,
                k,
                ..SessionRequest::default()
            };
            Some(calls::recommend_for_session(models, live, &request))
        }
        "upsell" => first.map(|item| {
            calls::upsell(
                models,
                live,
                &ItemRequest {
                    item,
                    k,
                    ..ItemRequest::default()
                },
            )
        }),
        _ => None,
    };
    let ranked = answer.into_iter().flat_map(|answer| answer.items);
    ranked
        .map(|ranked| (models.items.id(ranked.item).to_string(), ranked.score))
        .collect()
}

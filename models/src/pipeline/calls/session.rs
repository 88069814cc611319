//! What comes next in a visit.

use crate::algorithms::recommend::History;
use crate::fitted_models::FittedModels;
use crate::pipeline::calls::above_privacy_floor;
use crate::pipeline::fallback::{AnswerBuilder, DEADLINE_FALLBACK, ResponseOptions};
use crate::pipeline::filter::EligibleItems;
use crate::pipeline::live_state::LiveState;
use crate::pipeline::request::{RepeatPolicy, SessionRequest};
use crate::pipeline::rerank::answer_with_rules;
use crate::pipeline::response::{Answer, CandidateSource, Reason};
use crate::pipeline::rules::fields::RuleContext;
use aisle_retrieval::index::search_top_k;

/// What comes next in a visit: visits like this one, then the personal model with the clicks as
/// history, then best sellers.
pub fn recommend_for_session(
    models: &FittedModels,
    live: &LiveState,
    request: &SessionRequest,
) -> Answer {
    let clicks = &request.clicks;
    let mut except = Vec::new();
    match request.repeats {
        RepeatPolicy::None => except.extend(clicks),
        RepeatPolicy::AllButLast => except.extend(clicks.last()),
        RepeatPolicy::All => {}
    }
    let anchor = clicks.last().copied();
    let asked = RuleContext {
        call: "session",
        context: &request.context,
        user: request.user,
        anchor,
    };
    let mut eligible = EligibleItems::new(models, live, &request.filter, except);
    let rules = eligible.apply_rules(models, live, &asked);
    let options = ResponseOptions::new(&request.context, request.k);
    answer_with_rules(
        models,
        &eligible,
        (&rules, options),
        &|eligible, options| {
            let mut builder =
                AnswerBuilder::new(models, eligible, options, CandidateSource::Session);
            if request.popular_only {
                return builder.fill_with_popular(DEADLINE_FALLBACK);
            }
            let mut visits = Vec::new();
            let next = search_top_k(|found| {
                visits = models
                    .session
                    .next(clicks, options.k, eligible.all(), found)
            });
            builder.add(&next, |rank, _| {
                vec![Reason::InVisits {
                    visits: above_privacy_floor(visits[rank]),
                }]
            });
            let missing = options.k.saturating_sub(next.len());
            if missing > 0 && !clicks.is_empty() {
                let mut distinct = clicks.clone();
                distinct.sort_unstable();
                distinct.dedup();
                let values = vec![1.0; distinct.len()];
                let mut remaining = eligible.recommendable(models);
                next.iter().for_each(|scored| remaining.remove(scored.item));
                let history = History {
                    items: &distinct,
                    values: &values,
                    user: None,
                };
                let within = eligible.within(&remaining);
                let more = search_top_k(|found| {
                    models.personal().recommend(history, missing, within, found)
                });
                builder.add_from(CandidateSource::Personal, &more);
            }
            builder.fill_with_popular(match clicks.is_empty() {
                true => "no known item was clicked",
                false => "too few visits are like this one",
            })
        },
    )
}

//! Items like one item.

use crate::fitted_models::FittedModels;
use crate::pipeline::fallback::{AnswerBuilder, DEADLINE_FALLBACK, ResponseOptions};
use crate::pipeline::filter::EligibleItems;
use crate::pipeline::live_state::LiveState;
use crate::pipeline::request::ItemRequest;
use crate::pipeline::rerank::answer_with_rules;
use crate::pipeline::response::{Answer, CandidateSource, Reason};
use crate::pipeline::rules::fields::RuleContext;
use aisle_retrieval::index::search_top_k;

/// Items like one item: the personal model's similarity, then best sellers.
pub fn similar_items(models: &FittedModels, live: &LiveState, request: &ItemRequest) -> Answer {
    let item = request.item;
    let anchor = Some(item);
    let asked = RuleContext {
        call: "similar",
        context: &request.context,
        user: request.user,
        anchor,
    };
    let mut eligible = EligibleItems::new(models, live, &request.filter, vec![item]);
    let rules = eligible.apply_rules(models, live, &asked);
    let options = ResponseOptions::new(&request.context, request.k);
    answer_with_rules(
        models,
        &eligible,
        (&rules, options),
        &|eligible, options| {
            let mut builder =
                AnswerBuilder::new(models, eligible, options, CandidateSource::Similar);
            if request.popular_only {
                return builder.fill_with_popular(DEADLINE_FALLBACK);
            }
            let recommendable = eligible.recommendable(models);
            let within = eligible.within(&recommendable);
            let found = search_top_k(|found| {
                models
                    .personal()
                    .similar_items(item, options.k, within, found)
            });
            builder.add(&found, |_, scored| {
                vec![Reason::Like {
                    item,
                    similarity: scored.score,
                }]
            });
            builder.fill_with_popular("nothing is known to be like this item")
        },
    )
}

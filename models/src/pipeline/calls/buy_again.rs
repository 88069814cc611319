//! What a shopper may buy again.

use crate::fitted_models::FittedModels;
use crate::pipeline::fallback::ResponseOptions;
use crate::pipeline::filter::EligibleItems;
use crate::pipeline::live_state::LiveState;
use crate::pipeline::request::ReorderRequest;
use crate::pipeline::rerank::answer_with_rules;
use crate::pipeline::response::{Answer, CandidateSource, RankedItem, Reason};
use crate::pipeline::rules::fields::RuleContext;
use aisle_retrieval::top_k::{Scored, TopK};

/// What a shopper may buy again, by the probability that they do. Only what they bought before
/// comes back, so the answer may be empty.
pub fn buy_again(models: &FittedModels, live: &LiveState, request: &ReorderRequest) -> Answer {
    let asked = RuleContext {
        call: "buy-again",
        context: &request.context,
        user: request.user,
        anchor: None,
    };
    let mut eligible = EligibleItems::new(models, live, &request.filter, Vec::new());
    let rules = eligible.apply_rules(models, live, &asked);
    let days = request.days.unwrap_or_else(|| models.buy_again.horizon());
    let parts = models.buy_again_parts();
    let mut due = request
        .user
        .map(|user| parts.reorder_candidates(user, request.now, days))
        .unwrap_or_default();
    due.retain(|due| eligible.all().contains(due.item));
    eligible.keep(due.iter().map(|due| due.item));
    let options = ResponseOptions::new(&request.context, request.k);
    answer_with_rules(
        models,
        &eligible,
        (&rules, options),
        &|eligible, options| {
            let mut top = TopK::new(options.k);
            let allowed = due.iter().filter(|due| eligible.allowed.contains(due.item));
            allowed.for_each(|due| top.offer(due.item, due.probability));
            let ranked = |Scored { item, score }| {
                let due = due
                    .binary_search_by_key(&item, |due| due.item)
                    .ok()
                    .map(|at| due[at])?;
                let reason = Reason::Due {
                    orders: due.orders,
                    days: due.days_since as u32,
                    due_in: due.days_until_due as i32,
                };
                let reasons = options.reasons.then_some(reason).into_iter().collect();
                Some(RankedItem {
                    item,
                    score,
                    source: CandidateSource::BuyAgain,
                    reasons,
                    substitute: 0.0,
                })
            };
            Answer {
                items: top.into_sorted().into_iter().filter_map(ranked).collect(),
                eligible: due.len(),
                ..Answer::empty(CandidateSource::BuyAgain)
            }
        },
    )
}

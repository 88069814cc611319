//! What a shopper would like, and a shopper's order of given items.

use crate::algorithms::recommend::History;
use crate::fitted_models::FittedModels;
use crate::pipeline::fallback::{AnswerBuilder, DEADLINE_FALLBACK, ResponseOptions};
use crate::pipeline::filter::EligibleItems;
use crate::pipeline::live_state::LiveState;
use crate::pipeline::request::UserRequest;
use crate::pipeline::rerank::answer_with_rules;
use crate::pipeline::response::{Answer, CandidateSource, Reason};
use crate::pipeline::rules::fields::RuleContext;
use aisle_retrieval::index::search_top_k;
use aisle_retrieval::top_k::TopK;
use std::collections::BTreeMap;

/// A shopper's stored history and recent events as one.
struct CurrentHistory {
    items: Vec<u32>,
    values: Vec<f32>,
    /// The shopper's row, if the history is the stored one unchanged: a model may then use what it
    /// stored for them.
    user: Option<u32>,
}

impl CurrentHistory {
    fn of(models: &FittedModels, request: &UserRequest) -> Self {
        let stored = request
            .user
            .map(|user| models.history(user))
            .unwrap_or_default();
        if request.recent.is_empty() {
            return Self {
                items: stored.items.to_vec(),
                values: stored.values.to_vec(),
                user: request.user,
            };
        }
        let mut sums: BTreeMap<u32, f32> = stored
            .items
            .iter()
            .copied()
            .zip(stored.values.iter().copied())
            .collect();
        for &(item, value) in &request.recent {
            *sums.entry(item).or_insert(0.0) += value;
        }
        sums.retain(|_, value| *value > 0.0);
        Self {
            items: sums.keys().copied().collect(),
            values: sums.values().copied().collect(),
            user: None,
        }
    }

    fn get(&self) -> History<'_> {
        History {
            items: &self.items,
            values: &self.values,
            user: self.user,
        }
    }
}

/// What a shopper would like: the personal model on stored history and recent events, then best
/// sellers.
pub fn recommend_for_user(
    models: &FittedModels,
    live: &LiveState,
    request: &UserRequest,
) -> Answer {
    let history = CurrentHistory::of(models, request);
    let mut except = Vec::new();
    if request.exclude_purchased {
        except.extend(request.user.map_or(&[][..], |user| models.purchased(user)));
        except.extend(request.recent.iter().map(|&(item, _)| item));
    }
    let asked = RuleContext {
        call: "personal",
        context: &request.context,
        user: request.user,
        anchor: None,
    };
    let mut eligible = EligibleItems::new(models, live, &request.filter, except);
    let rules = eligible.apply_rules(models, live, &asked);
    let options = ResponseOptions::new(&request.context, request.k);
    let why = match history.items.is_empty() {
        true => "no history of this shopper",
        false => "the personal model ranks fewer items than asked",
    };
    answer_with_rules(
        models,
        &eligible,
        (&rules, options),
        &|eligible, options| {
            let mut builder =
                AnswerBuilder::new(models, eligible, options, CandidateSource::Personal);
            if request.popular_only {
                return builder.fill_with_popular(DEADLINE_FALLBACK);
            }
            let recommendable = eligible.recommendable(models);
            let within = eligible.within(&recommendable);
            let personal = models.personal();
            let found =
                search_top_k(|found| personal.recommend(history.get(), options.k, within, found));
            let items: Vec<u32> = found.iter().map(|scored| scored.item).collect();
            let causes = match options.reasons {
                false => Vec::new(),
                true => personal.explain(history.get(), &items),
            };
            let reason = |rank: usize| {
                Some(Reason::BecauseOf {
                    item: (*causes.get(rank)?)?,
                })
            };
            builder.add(&found, |rank, _| reason(rank).into_iter().collect());
            builder.fill_with_popular(why)
        },
    )
}

/// Given items, best first for a shopper. Those that are not eligible are left out; of the others
/// up to `request.k` come back, those without a personal score last, by sales.
pub fn rank_items(
    models: &FittedModels,
    live: &LiveState,
    request: &UserRequest,
    items: &[u32],
) -> Answer {
    let history = CurrentHistory::of(models, request);
    let asked = RuleContext {
        call: "rank",
        context: &request.context,
        user: request.user,
        anchor: None,
    };
    let mut eligible = EligibleItems::new(models, live, &request.filter, Vec::new());
    eligible.keep(items.iter().copied());
    let rules = eligible.apply_rules(models, live, &asked);
    let options = ResponseOptions::new(&request.context, request.k);
    answer_with_rules(
        models,
        &eligible,
        (&rules, options),
        &|eligible, options| {
            let items: Vec<u32> = eligible.all().iter().collect();
            let mut top = TopK::new(options.k);
            for (&item, score) in items
                .iter()
                .zip(models.personal().score(history.get(), &items))
            {
                if let Some(score) = score.filter(|_| models.recommendable().contains(item)) {
                    top.offer(item, score);
                }
            }
            let mut builder =
                AnswerBuilder::new(models, eligible, options, CandidateSource::Personal);
            builder.add(&top.into_sorted(), |_, _| Vec::new());
            builder.fill_with_popular(match history.items.is_empty() {
                true => "no history of this shopper",
                false => "some items are new to the personal model",
            })
        },
    )
}

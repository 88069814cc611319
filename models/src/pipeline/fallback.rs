//! Builds an answer from candidates and fills what they leave of `k` with best sellers.
//!
//! The ranking of best sellers contains every item, so it can always fill an answer to exactly
//! min(k, eligible) items.

use crate::fitted_models::FittedModels;
use crate::pipeline::filter::EligibleItems;
use crate::pipeline::request::RequestContext;
use crate::pipeline::response::{Answer, AppliedRules, CandidateSource, RankedItem, Reason};
use crate::tasks::context_popularity::ContextualItem;
use aisle_retrieval::top_k::Scored;

/// `fallback_reason` when the deadline leaves time only for best sellers.
pub(crate) const DEADLINE_FALLBACK: &str = "the deadline leaves no time for more than best sellers";

/// What an answer is to hold.
#[derive(Clone, Copy)]
pub(crate) struct ResponseOptions<'a> {
    /// Where the answer is shown, to whom and when.
    pub context: &'a RequestContext,
    /// How many items.
    pub k: usize,
    /// Whether each item says why it is in the answer.
    pub reasons: bool,
}

impl<'a> ResponseOptions<'a> {
    pub fn new(context: &'a RequestContext, k: usize) -> Self {
        Self {
            context,
            k,
            reasons: !context.omit_reasons,
        }
    }
}

/// An answer in the making: candidates source by source, then best sellers.
pub(crate) struct AnswerBuilder<'a> {
    models: &'a FittedModels,
    eligible: &'a EligibleItems,
    options: ResponseOptions<'a>,
    /// The source of the candidates that are added next.
    source: CandidateSource,
    items: Vec<RankedItem>,
}

impl<'a> AnswerBuilder<'a> {
    pub fn new(
        models: &'a FittedModels,
        eligible: &'a EligibleItems,
        options: ResponseOptions<'a>,
        source: CandidateSource,
    ) -> Self {
        Self {
            models,
            eligible,
            options,
            source,
            items: Vec::with_capacity(options.k.min(1024)),
        }
    }

    /// Adds candidates, best first; `reasons` tells why, by rank among them.
    pub fn add(&mut self, candidates: &[Scored], reasons: impl Fn(usize, Scored) -> Vec<Reason>) {
        let ranked = candidates
            .iter()
            .enumerate()
            .map(|(rank, &scored)| RankedItem {
                item: scored.item,
                score: scored.score,
                source: self.source,
                reasons: if self.options.reasons {
                    reasons(rank, scored)
                } else {
                    Vec::new()
                },
                substitute: 0.0,
            });
        self.items.extend(ranked);
    }

    /// Adds candidates of another source, without reasons.
    pub fn add_from(&mut self, source: CandidateSource, candidates: &[Scored]) {
        let own = std::mem::replace(&mut self.source, source);
        self.add(candidates, |_, _| Vec::new());
        self.source = own;
    }

    /// Fills the answer with best sellers as they sell in the request's context, and as they sell
    /// anywhere where nothing is known of it. `why` becomes the fallback reason if any are needed.
    pub fn fill_with_popular(mut self, why: &'static str) -> Answer {
        let mut fallback_reason = None;
        if self.items.len() < self.options.k {
            let mut remaining = self.eligible.allowed.clone();
            self.items
                .iter()
                .for_each(|ranked| remaining.remove(ranked.item));
            let values = &self.options.context.values;
            let missing = self.options.k - self.items.len();
            let eligible = self.eligible.within(&remaining);
            let context = &self.models.context;
            for found in context.ranked(values, &self.models.popular, missing, eligible) {
                fallback_reason = Some(why);
                let reasons = self.popular_reason(&found).into_iter().collect();
                let ContextualItem { item, score, .. } = found;
                let source = CandidateSource::Popular;
                self.items.push(RankedItem {
                    item,
                    score,
                    source,
                    reasons,
                    substitute: 0.0,
                });
            }
        }
        Answer {
            eligible: self.eligible.all().count(),
            source: self.items.first().map_or(self.source, |first| first.source),
            fallback_reason,
            items: self.items,
            rules: AppliedRules::default(),
        }
    }

    fn popular_reason(&self, found: &ContextualItem) -> Option<Reason> {
        if !self.options.reasons || found.score <= 0.0 {
            return None;
        }
        let context = &self.models.context;
        let here = found.dimension.and_then(|dimension| {
            let value = context.value(&self.options.context.values, dimension)?;
            let place = format!("{}: {value}", context.dimension(dimension));
            Some(Reason::PopularHere {
                place,
                lift: found.lift,
            })
        });
        Some(here.unwrap_or(Reason::BestSeller))
    }
}

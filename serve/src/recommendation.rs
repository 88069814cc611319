//! `RecommendationService`: pick one version, ask it, answer. Nothing here outlives a request.

use crate::ask::{self, check_len, required};
use crate::error::ServeError;
use crate::live::{Chosen, Live};
use crate::reply::respond;
use crate::status::code_name;
use aisle_models::{Answer, ForCart, ForItem, ForUser, Rung};
use aisle_proto::recommendation_service_server::RecommendationService;
use aisle_proto::{
    CrossSellRequest, ModelSelector, RankItemsRequest, RecommendForUserRequest, RecommendResponse, SimilarItemsRequest,
    UpsellRequest, model_selector::Target,
};
use metrics::{counter, histogram};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// The service.
pub struct Recommendations {
    live: Arc<Live>,
    /// Permits at the door: what finds none is refused at once, so that overload is an error and not a queue.
    permits: Semaphore,
    limit: usize,
}

/// A request's choice of version.
struct Choice<'a> {
    model: &'a str,
    selector: Option<&'a ModelSelector>,
    user: &'a str,
}

impl Recommendations {
    /// Answers from the versions in service, at most `limit` requests at once.
    pub fn new(live: Arc<Live>, limit: usize) -> Self {
        Self { live, permits: Semaphore::new(limit), limit }
    }

    /// The way of every request: a permit, a version, an answer, a measurement.
    fn answer(
        &self,
        rpc: &'static str,
        choice: Choice,
        ask: impl FnOnce(&Chosen) -> Result<RecommendResponse, ServeError>,
    ) -> Result<Response<RecommendResponse>, Status> {
        let began = Instant::now();
        let outcome = self.permits.try_acquire().map_err(|_| ServeError::Overloaded { limit: self.limit }).and_then(|_permit| {
            if !choice.model.is_empty() {
                self.live.check_model(choice.model)?;
            }
            let (alias, version) = match choice.selector.and_then(|selector| selector.target.as_ref()) {
                None => (None, None),
                Some(Target::Alias(alias)) => (Some(alias.as_str()), None),
                Some(Target::Version(version)) => (None, Some(version.as_str())),
            };
            ask(&self.live.choose(alias, version, choice.user)?)
        });
        histogram!("aisle_request_seconds", "rpc" => rpc).record(began.elapsed().as_secs_f64());
        match outcome {
            Ok(response) => {
                counter!("aisle_requests_total", "rpc" => rpc, "code" => "Ok").increment(1);
                Ok(Response::new(response))
            }
            Err(error) => {
                let status = Status::from(error);
                counter!("aisle_requests_total", "rpc" => rpc, "code" => code_name(status.code())).increment(1);
                Err(status)
            }
        }
    }
}

/// The answer to a question about an item that the version does not know: nothing, and the id among the unknown.
fn nothing(rung: Rung) -> Answer {
    Answer { items: Vec::new(), eligible: 0, rung, fallback: None }
}

#[tonic::async_trait]
impl RecommendationService for Recommendations {
    async fn recommend_for_user(&self, request: Request<RecommendForUserRequest>) -> Result<Response<RecommendResponse>, Status> {
        let request = request.into_inner();
        let choice = Choice { model: &request.model, selector: request.selector.as_ref(), user: &request.user_id };
        self.answer("RecommendForUser", choice, |chosen| {
            check_len("history", request.history.len())?;
            let bundle = &chosen.bundle;
            let mut unknown = Vec::new();
            let user = bundle.users.get(&request.user_id);
            let ask = ForUser {
                user,
                recent: ask::history(bundle, &request.history, &mut unknown),
                k: ask::page_size(request.page_size)?,
                filter: ask::filter(bundle, request.filter.as_ref())?,
                exclude_bought: request.exclude_purchased,
            };
            Ok(respond(chosen, &bundle.for_user(&ask), unknown, user.is_some()))
        })
    }

    async fn similar_items(&self, request: Request<SimilarItemsRequest>) -> Result<Response<RecommendResponse>, Status> {
        let request = request.into_inner();
        let choice = Choice { model: &request.model, selector: request.selector.as_ref(), user: &request.user_id };
        self.answer("SimilarItems", choice, |chosen| {
            required("item_id", &request.item_id)?;
            let bundle = &chosen.bundle;
            let k = ask::page_size(request.page_size)?;
            let user = bundle.users.get(&request.user_id);
            let filter = ask::filter_for(bundle, request.filter.as_ref(), user.filter(|_| request.exclude_purchased))?;
            let known = ask::known(bundle, [request.item_id.as_str()]);
            let answer = match known.rows.first() {
                Some(&item) => bundle.similar(&ForItem { item, k, filter, band: None }),
                None => nothing(Rung::Similar),
            };
            Ok(respond(chosen, &answer, known.unknown, user.is_some()))
        })
    }

    async fn cross_sell(&self, request: Request<CrossSellRequest>) -> Result<Response<RecommendResponse>, Status> {
        let request = request.into_inner();
        let choice = Choice { model: &request.model, selector: request.selector.as_ref(), user: &request.user_id };
        self.answer("CrossSell", choice, |chosen| {
            check_len("cart_item_ids", request.cart_item_ids.len())?;
            let bundle = &chosen.bundle;
            let k = ask::page_size(request.page_size)?;
            let user = bundle.users.get(&request.user_id);
            let filter = ask::filter_for(bundle, request.filter.as_ref(), user.filter(|_| request.exclude_purchased))?;
            let mut known = ask::known(bundle, request.cart_item_ids.iter().map(String::as_str));
            known.rows.sort_unstable();
            known.rows.dedup();
            let ask = ForCart { cart: known.rows, k, filter, same_category: request.include_cart_categories };
            Ok(respond(chosen, &bundle.cross_sell(&ask), known.unknown, user.is_some()))
        })
    }

    async fn upsell(&self, request: Request<UpsellRequest>) -> Result<Response<RecommendResponse>, Status> {
        let request = request.into_inner();
        let choice = Choice { model: &request.model, selector: request.selector.as_ref(), user: &request.user_id };
        self.answer("Upsell", choice, |chosen| {
            required("item_id", &request.item_id)?;
            let bundle = &chosen.bundle;
            let k = ask::page_size(request.page_size)?;
            let user = bundle.users.get(&request.user_id);
            let filter = ask::filter_for(bundle, request.filter.as_ref(), user.filter(|_| request.exclude_purchased))?;
            let band = ask::band(bundle, request.min_price_ratio, request.max_price_ratio)?;
            let known = ask::known(bundle, [request.item_id.as_str()]);
            let answer = match known.rows.first() {
                Some(&item) => bundle.upsell(&ForItem { item, k, filter, band }),
                None => nothing(Rung::Upsell),
            };
            Ok(respond(chosen, &answer, known.unknown, user.is_some()))
        })
    }

    async fn rank_items(&self, request: Request<RankItemsRequest>) -> Result<Response<RecommendResponse>, Status> {
        let request = request.into_inner();
        let choice = Choice { model: &request.model, selector: request.selector.as_ref(), user: &request.user_id };
        self.answer("RankItems", choice, |chosen| {
            check_len("history", request.history.len())?;
            check_len("item_ids", request.item_ids.len())?;
            let bundle = &chosen.bundle;
            let mut known = ask::known(bundle, request.item_ids.iter().map(String::as_str));
            let user = bundle.users.get(&request.user_id);
            let ask = ForUser {
                user,
                recent: ask::history(bundle, &request.history, &mut known.unknown),
                k: known.rows.len(),
                filter: ask::filter_for(bundle, request.filter.as_ref(), user.filter(|_| request.exclude_purchased))?,
                exclude_bought: false,
            };
            Ok(respond(chosen, &bundle.rank(&ask, &known.rows), known.unknown, user.is_some()))
        })
    }
}

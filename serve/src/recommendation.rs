//! `RecommendationService`: a version, an answer. Nothing here outlives a request.
//!
//! An answer is made on a thread that moves bytes, one of as many as there are cores: it takes some tens of microseconds, about what
//! handing it to another thread and back would cost. Only as many as there are threads are in their queue at once, the others wait in line:
//! so reading, refusing and writing wait for half a millisecond of answers at most.

use crate::admission::{Entry, RECOMMENDATIONS};
use crate::ask::{self, check_len, required};
use crate::error::ServeError;
use crate::live::{Chosen, Live};
use crate::reply::{About, Encoded, page, respond};
use crate::status::code_name;
use aisle_models::{Again, Answer, Applied, ForAgain, ForCart, ForItem, ForSession, ForUser, Rung};
use aisle_proto::{
    BuyAgainRequest, CrossSellRequest, ModelSelector, RankItemsRequest, RecommendForSessionRequest, RecommendForUserRequest,
    RecommendPageRequest, SimilarItemsRequest, UpsellRequest, model_selector::Target, page_slot,
};
use hyper::body::Incoming;
use metrics::{counter, histogram};
use prost::Message;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// Bytes of the longest request: a thousand ids of a hundred bytes, ten times.
pub const MESSAGE: usize = 1 << 20;
/// Microseconds of answers in a row before what else there is to do goes first: each such look costs some, and refusals wait for it.
const LOOK: u64 = 500;

/// The service.
#[derive(Clone)]
pub struct Recommendations {
    live: Arc<Live>,
    /// One for each thread.
    turns: Arc<Semaphore>,
    /// Microseconds from `opened` to when answers last made way.
    looked: Arc<AtomicU64>,
    opened: Instant,
}

/// What all requests have: a choice of version.
trait Asks: Message + Default + Send + 'static {
    const RPC: &'static str;
    fn model(&self) -> &str;
    fn selector(&self) -> Option<&ModelSelector>;
    fn user(&self) -> &str;
    /// The answer of one version.
    fn answer(&self, chosen: &Chosen, way: Way) -> Result<Encoded, ServeError>;
}

/// How an answer is made.
#[derive(Clone, Copy, Default)]
struct Way<'a> {
    /// A cheap one.
    hurry: bool,
    /// Rows of items that are on the page already.
    shown: &'a [u32],
}

impl Recommendations {
    /// Answers from the versions in service, so many at a time.
    pub fn new(live: Arc<Live>, threads: usize) -> Self {
        Self { live, turns: Arc::new(Semaphore::new(threads)), looked: Arc::default(), opened: Instant::now() }
    }

    /// The way of every request.
    async fn serve<R: Asks>(self, request: Request<R>) -> Result<Response<Encoded>, Status> {
        let began = Instant::now();
        let entry = request.extensions().get::<Entry>().cloned();
        let turn = self.turns.acquire().await;
        let now = self.opened.elapsed().as_micros() as u64;
        if entry.as_ref().is_some_and(Entry::is_crowded) && now > self.looked.load(Ordering::Relaxed) + LOOK {
            // What waits to be read, refused or written goes before this answer, and others wait for their turn until it is made.
            tokio::task::yield_now().await;
            self.looked.store(self.opened.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
        let outcome = self.score(entry.as_ref(), request.get_ref());
        drop(turn);
        histogram!("aisle_request_seconds", "rpc" => R::RPC).record(began.elapsed().as_secs_f64());
        match outcome {
            Ok(response) => {
                counter!("aisle_requests_total", "rpc" => R::RPC, "code" => "Ok").increment(1);
                Ok(Response::new(response))
            }
            Err(error) => {
                let status = Status::from(error);
                counter!("aisle_requests_total", "rpc" => R::RPC, "code" => code_name(status.code())).increment(1);
                Err(status)
            }
        }
    }

    fn score<R: Asks>(&self, entry: Option<&Entry>, request: &R) -> Result<Encoded, ServeError> {
        if !request.model().is_empty() {
            self.live.check_model(request.model())?;
        }
        let (alias, version) = match request.selector().and_then(|selector| selector.target.as_ref()) {
            None => (None, None),
            Some(Target::Alias(alias)) => (Some(alias.as_str()), None),
            Some(Target::Version(version)) => (None, Some(version.as_str())),
        };
        let chosen = self.live.choose(alias, version, request.user())?;
        let began = Instant::now();
        // A fault in one answer is an INTERNAL to its client, not the end of its connection.
        let answer = catch_unwind(AssertUnwindSafe(|| {
            request.answer(&chosen, Way { hurry: entry.is_some_and(Entry::is_hurried), shown: &[] })
        }));
        if let Some(entry) = entry {
            entry.worked(began.elapsed());
        }
        answer.unwrap_or_else(|_| {
            tracing::error!(rpc = R::RPC, "an answer panicked; its request gets INTERNAL");
            Err(ServeError::Internal("making the answer failed".into()))
        })
    }
}

/// The answer to a question about an item that the version does not know: nothing, and the id among the unknown.
fn nothing(rung: Rung) -> Answer {
    Answer { items: Vec::new(), eligible: 0, rung, fallback: None, rules: Applied::default() }
}

/// What surrounds the question of a request that has the usual fields.
macro_rules! scene {
    ($request:expr, $bundle:expr, $user:expr) => {
        ask::scene(
            $bundle,
            &ask::Setting {
                placement: &$request.placement,
                context: $request.context.as_ref(),
                controls: $request.controls.as_ref(),
                user_id: &$request.user_id,
                user: $user,
                omit_reasons: $request.omit_reasons,
            },
        )?
    };
}

macro_rules! asks {
    ($request:ty, $rpc:literal, |$this:ident, $chosen:ident, $way:ident| $answer:block) => {
        impl Asks for $request {
            const RPC: &'static str = $rpc;

            fn model(&self) -> &str {
                &self.model
            }

            fn selector(&self) -> Option<&ModelSelector> {
                self.selector.as_ref()
            }

            fn user(&self) -> &str {
                &self.user_id
            }

            fn answer(&self, $chosen: &Chosen, $way: Way) -> Result<Encoded, ServeError> {
                let $this = self;
                $answer
            }
        }
    };
}

asks!(RecommendForUserRequest, "RecommendForUser", |request, chosen, way| {
    check_len("history", request.history.len())?;
    let bundle = &chosen.version.bundle;
    let mut unknown = Vec::new();
    let user = bundle.users.get(&request.user_id);
    let ask = ForUser {
        user,
        recent: ask::history(bundle, &request.history, &mut unknown),
        k: ask::page_size(request.page_size)?,
        filter: ask::filter(bundle, request.filter.as_ref(), None, way.shown, &mut unknown)?,
        exclude_bought: request.exclude_purchased,
        hurry: way.hurry,
        scene: scene!(request, bundle, user),
    };
    Ok(respond(chosen, &bundle.for_user(&ask), About::of(unknown, user, request.omit_reasons)))
});

asks!(SimilarItemsRequest, "SimilarItems", |request, chosen, way| {
    required("item_id", &request.item_id)?;
    let bundle = &chosen.version.bundle;
    let k = ask::page_size(request.page_size)?;
    let user = bundle.users.get(&request.user_id);
    let mut known = ask::known(bundle, [request.item_id.as_str()]);
    let without = user.filter(|_| request.exclude_purchased);
    let filter = ask::filter(bundle, request.filter.as_ref(), without, way.shown, &mut known.unknown)?;
    let answer = match known.rows.first() {
        Some(&item) => {
            let scene = scene!(request, bundle, user);
            bundle.similar(&ForItem { item, k, filter, user, hurry: way.hurry, scene, ..ForItem::default() })
        }
        None => nothing(Rung::Similar),
    };
    Ok(respond(chosen, &answer, About::of(known.unknown, user, request.omit_reasons)))
});

asks!(CrossSellRequest, "CrossSell", |request, chosen, way| {
    check_len("cart_item_ids", request.cart_item_ids.len())?;
    let bundle = &chosen.version.bundle;
    let k = ask::page_size(request.page_size)?;
    let user = bundle.users.get(&request.user_id);
    let mut known = ask::known(bundle, request.cart_item_ids.iter().map(String::as_str));
    let without = user.filter(|_| request.exclude_purchased);
    let mut filter = ask::filter(bundle, request.filter.as_ref(), without, way.shown, &mut known.unknown)?;
    ask::closing(&mut filter, &request.spend_gap)?;
    let ask = ForCart {
        cart: known.rows,
        k,
        filter,
        same_category: request.include_cart_categories,
        user,
        now: ask::moment(bundle, request.request_time.as_ref())?,
        exclude_bought: request.exclude_purchased,
        hurry: way.hurry,
        scene: scene!(request, bundle, user),
    };
    Ok(respond(chosen, &bundle.cross_sell(&ask), About::of(known.unknown, user, request.omit_reasons)))
});

asks!(UpsellRequest, "Upsell", |request, chosen, way| {
    required("item_id", &request.item_id)?;
    let bundle = &chosen.version.bundle;
    let k = ask::page_size(request.page_size)?;
    let band = ask::band(bundle, request.min_price_ratio, request.max_price_ratio)?;
    let user = bundle.users.get(&request.user_id);
    let mut known = ask::known(bundle, [request.item_id.as_str()]);
    let without = user.filter(|_| request.exclude_purchased);
    let filter = ask::filter(bundle, request.filter.as_ref(), without, way.shown, &mut known.unknown)?;
    let answer = match known.rows.first() {
        Some(&item) => {
            let now = ask::moment(bundle, request.request_time.as_ref())?;
            let scene = scene!(request, bundle, user);
            bundle.upsell(&ForItem { item, k, filter, band, user, now, hurry: false, scene })
        }
        None => nothing(Rung::Upsell),
    };
    Ok(respond(chosen, &answer, About::of(known.unknown, user, request.omit_reasons)))
});

asks!(RankItemsRequest, "RankItems", |request, chosen, way| {
    check_len("history", request.history.len())?;
    check_len("item_ids", request.item_ids.len())?;
    let bundle = &chosen.version.bundle;
    let user = bundle.users.get(&request.user_id);
    let mut known = ask::known(bundle, request.item_ids.iter().map(String::as_str));
    let recent = ask::history(bundle, &request.history, &mut known.unknown);
    let without = user.filter(|_| request.exclude_purchased);
    let filter = ask::filter(bundle, request.filter.as_ref(), without, way.shown, &mut known.unknown)?;
    let scene = scene!(request, bundle, user);
    let ask = ForUser { user, recent, k: known.rows.len(), filter, scene, ..ForUser::default() };
    Ok(respond(chosen, &bundle.rank(&ask, &known.rows), About::of(known.unknown, user, request.omit_reasons)))
});

asks!(RecommendForSessionRequest, "RecommendForSession", |request, chosen, way| {
    check_len("clicked_item_ids", request.clicked_item_ids.len())?;
    let bundle = &chosen.version.bundle;
    let k = ask::page_size(request.page_size)?;
    let user = bundle.users.get(&request.user_id);
    let mut known = ask::known(bundle, request.clicked_item_ids.iter().map(String::as_str));
    let without = user.filter(|_| request.exclude_purchased);
    let filter = ask::filter(bundle, request.filter.as_ref(), without, way.shown, &mut known.unknown)?;
    let again = if request.exclude_clicked { Again::Nothing } else { Again::Earlier };
    let scene = scene!(request, bundle, user);
    let answer = bundle.for_session(&ForSession { clicks: known.rows, k, filter, again, user, hurry: way.hurry, scene });
    Ok(respond(chosen, &answer, About::of(known.unknown, user, request.omit_reasons)))
});

asks!(BuyAgainRequest, "BuyAgain", |request, chosen, way| {
    required("user_id", &request.user_id)?;
    let bundle = &chosen.version.bundle;
    let mut unknown = Vec::new();
    let days = match request.horizon_days {
        0 => None,
        days @ 1..=365 => Some(days as f32),
        days => {
            return Err(ServeError::Invalid {
                field: "horizon_days",
                what: format!("{days}: expected 1 to 365, or 0 for the model's"),
            });
        }
    };
    let user = bundle.users.get(&request.user_id);
    let ask = ForAgain {
        user,
        k: ask::page_size(request.page_size)?,
        filter: ask::filter(bundle, request.filter.as_ref(), None, way.shown, &mut unknown)?,
        now: ask::moment(bundle, request.request_time.as_ref())?,
        days,
        scene: scene!(request, bundle, user),
    };
    Ok(respond(chosen, &bundle.buy_again(&ask), About::of(unknown, ask.user, request.omit_reasons)))
});

/// Names of the calls.
pub const CALLS: [&str; 8] = [
    RecommendForUserRequest::RPC,
    SimilarItemsRequest::RPC,
    CrossSellRequest::RPC,
    UpsellRequest::RPC,
    RankItemsRequest::RPC,
    RecommendForSessionRequest::RPC,
    BuyAgainRequest::RPC,
    RecommendPageRequest::RPC,
];

/// Placements of a page.
const MAX_SLOTS: usize = 20;

asks!(RecommendPageRequest, "RecommendPage", |request, chosen, way| {
    if request.slots.len() > MAX_SLOTS {
        let what = format!("{} entries: expected at most {MAX_SLOTS}", request.slots.len());
        return Err(ServeError::Invalid { field: "slots", what });
    }
    let mut shown: Vec<u32> = Vec::new();
    let mut slots = Vec::with_capacity(request.slots.len());
    for slot in &request.slots {
        let answer = match &slot.ask {
            Some(page_slot::Ask::ForUser(ask)) => ask.answer(chosen, Way { shown: &shown, ..way }),
            Some(page_slot::Ask::SimilarItems(ask)) => ask.answer(chosen, Way { shown: &shown, ..way }),
            Some(page_slot::Ask::CrossSell(ask)) => ask.answer(chosen, Way { shown: &shown, ..way }),
            Some(page_slot::Ask::Upsell(ask)) => ask.answer(chosen, Way { shown: &shown, ..way }),
            Some(page_slot::Ask::ForSession(ask)) => ask.answer(chosen, Way { shown: &shown, ..way }),
            Some(page_slot::Ask::BuyAgain(ask)) => ask.answer(chosen, Way { shown: &shown, ..way }),
            None => {
                Err(ServeError::Invalid { field: "slots.ask", what: format!("nothing asked for placement '{}'", slot.placement) })
            }
        }?;
        shown.extend_from_slice(&answer.items);
        slots.push((slot.placement.clone(), answer));
    }
    Ok(page(slots))
});

/// One of the calls, as tonic runs it.
struct Call<R> {
    recommendations: Recommendations,
    asks: PhantomData<R>,
}

impl<R: Asks> UnaryService<R> for Call<R> {
    type Response = Encoded;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Encoded>, Status>> + Send>>;

    fn call(&mut self, request: Request<R>) -> Self::Future {
        Box::pin(self.recommendations.clone().serve(request))
    }
}

/// An HTTP response on its way.
pub type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Recommendations {
    /// The way of a request to its call, or `otherwise` if its path is none of them. The generated service does the same for responses that are
    /// built first and encoded then, and through one more boxed future.
    pub fn route(
        &self,
        request: http::Request<Incoming>,
        otherwise: impl FnOnce(http::Request<Incoming>) -> Answering,
    ) -> Answering {
        match request.uri().path().strip_prefix(RECOMMENDATIONS) {
            Some(RecommendForUserRequest::RPC) => self.unary::<RecommendForUserRequest>(request),
            Some(SimilarItemsRequest::RPC) => self.unary::<SimilarItemsRequest>(request),
            Some(CrossSellRequest::RPC) => self.unary::<CrossSellRequest>(request),
            Some(UpsellRequest::RPC) => self.unary::<UpsellRequest>(request),
            Some(RankItemsRequest::RPC) => self.unary::<RankItemsRequest>(request),
            Some(RecommendForSessionRequest::RPC) => self.unary::<RecommendForSessionRequest>(request),
            Some(BuyAgainRequest::RPC) => self.unary::<BuyAgainRequest>(request),
            Some(RecommendPageRequest::RPC) => self.unary::<RecommendPageRequest>(request),
            _ => otherwise(request),
        }
    }

    fn unary<R: Asks>(&self, request: http::Request<Incoming>) -> Answering {
        let call = Call::<R> { recommendations: self.clone(), asks: PhantomData };
        Box::pin(async move {
            let codec = ProstCodec::<Encoded, R>::default();
            let mut grpc = Grpc::new(codec).apply_max_message_size_config(Some(MESSAGE), None);
            Ok(grpc.unary(call, request).await)
        })
    }
}

//! `RecommendationService`: from an HTTP request to an encoded answer. Nothing here outlives a
//! request.
//!
//! An answer is made on a thread that also reads and writes, one of as many as there are cores: it
//! takes some tens of microseconds, about as long as handing it to another thread and back. Only as
//! many answers as there are threads are in these threads' queue at once, the others wait for their
//! turn: so reading, refusing and writing wait for at most half a millisecond of answers.

use crate::error::ServeError;
use crate::services::RECOMMENDATION_PATH;
use crate::services::calls::{Call, CallInput};
use crate::services::codec::EncodedResponseCodec;
use crate::services::convert::response::EncodedResponse;
use crate::telemetry::code_label;
use crate::transport::admission::Permit;
use crate::versions::{VersionTarget, Versions};
use aisle_proto::model_selector::Target;
use aisle_proto::{
    BuyAgainRequest, CrossSellRequest, RankItemsRequest, RecommendForSessionRequest,
    RecommendForUserRequest, RecommendPageRequest, RequestOptions, SimilarItemsRequest,
    UpsellRequest,
};
use hyper::body::Incoming;
use metrics::{counter, histogram};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

/// The longest request in bytes: room for a thousand ids of a hundred bytes, ten times.
pub const MAX_REQUEST_BYTES: usize = 1 << 20;
/// How long answers are made in a row before other work of the threads goes first. Each such change
/// costs some time, and refusals wait until then.
const ANSWERS_IN_A_ROW: Duration = Duration::from_micros(500);

/// An HTTP response in the making.
pub type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// The service.
#[derive(Clone)]
pub struct Recommendations {
    versions: Arc<Versions>,
    /// One for each thread.
    turns: Arc<Semaphore>,
    /// Microseconds from `started` to when answers last let other work go first.
    last_yield_micros: Arc<AtomicU64>,
    started: Instant,
}

impl Recommendations {
    /// Answers by the versions in service, `threads` requests at a time.
    pub fn new(versions: Arc<Versions>, threads: usize) -> Self {
        Self {
            versions,
            turns: Arc::new(Semaphore::new(threads)),
            last_yield_micros: Arc::default(),
            started: Instant::now(),
        }
    }

    /// Answers an HTTP request, or passes it to `otherwise` if its path is none of the calls. The
    /// generated service would build a response before it encodes it.
    pub fn route(
        &self,
        request: http::Request<Incoming>,
        otherwise: impl FnOnce(http::Request<Incoming>) -> ResponseFuture,
    ) -> ResponseFuture {
        match request.uri().path().strip_prefix(RECOMMENDATION_PATH) {
            Some(RecommendForUserRequest::NAME) => self.unary::<RecommendForUserRequest>(request),
            Some(SimilarItemsRequest::NAME) => self.unary::<SimilarItemsRequest>(request),
            Some(CrossSellRequest::NAME) => self.unary::<CrossSellRequest>(request),
            Some(UpsellRequest::NAME) => self.unary::<UpsellRequest>(request),
            Some(RankItemsRequest::NAME) => self.unary::<RankItemsRequest>(request),
            Some(RecommendForSessionRequest::NAME) => {
                self.unary::<RecommendForSessionRequest>(request)
            }
            Some(BuyAgainRequest::NAME) => self.unary::<BuyAgainRequest>(request),
            Some(RecommendPageRequest::NAME) => self.unary::<RecommendPageRequest>(request),
            _ => otherwise(request),
        }
    }

    /// Reads the message of a request, answers it, and writes the response.
    fn unary<R: Call>(&self, request: http::Request<Incoming>) -> ResponseFuture {
        let service = CallService::<R> {
            recommendations: self.clone(),
            call: PhantomData,
        };
        Box::pin(async move {
            let mut grpc = Grpc::new(EncodedResponseCodec::<R>::default())
                .apply_max_message_size_config(Some(MAX_REQUEST_BYTES), None);
            Ok(grpc.unary(service, request).await)
        })
    }

    /// Answers a request when it is its turn, and counts it.
    async fn serve<R: Call>(
        self,
        request: Request<R>,
    ) -> Result<Response<EncodedResponse>, Status> {
        let began = Instant::now();
        let permit = request.extensions().get::<Permit>().cloned();
        let turn = self.turns.acquire().await;
        if permit.as_ref().is_some_and(Permit::is_crowded) && self.should_yield() {
            // Let this thread read, refuse or write other requests first; this one keeps its turn.
            tokio::task::yield_now().await;
            let micros = self.started.elapsed().as_micros() as u64;
            self.last_yield_micros.store(micros, Ordering::Relaxed);
        }
        let outcome = self.answer(permit.as_ref(), request.get_ref());
        drop(turn);
        let elapsed = began.elapsed().as_secs_f64();
        histogram!("aisle_request_seconds", "rpc" => R::NAME).record(elapsed);
        let outcome = outcome.map_err(Status::from);
        match &outcome {
            Ok(_) => counter!("aisle_requests_total", "rpc" => R::NAME, "code" => "Ok"),
            Err(status) => {
                let code = code_label(status.code());
                counter!("aisle_requests_total", "rpc" => R::NAME, "code" => code)
            }
        }
        .increment(1);
        outcome.map(Response::new)
    }

    fn should_yield(&self) -> bool {
        let now = self.started.elapsed().as_micros() as u64;
        let last = self.last_yield_micros.load(Ordering::Relaxed);
        u128::from(now) > u128::from(last) + ANSWERS_IN_A_ROW.as_micros()
    }

    fn answer<R: Call>(
        &self,
        permit: Option<&Permit>,
        request: &R,
    ) -> Result<EncodedResponse, ServeError> {
        let defaults = RequestOptions::default();
        let options = request.options().unwrap_or(&defaults);
        self.versions.check_model(&options.model)?;
        let routed = self.versions.router().route(version_target(options))?;
        let input = CallInput {
            routed: &routed,
            options,
            popular_only: permit.is_some_and(Permit::is_short_of_time),
            taken: &[],
        };
        let began = Instant::now();
        // A panic in one answer is INTERNAL to its client, and not the end of its connection.
        let answer = catch_unwind(AssertUnwindSafe(|| request.answer(&input)));
        if let Some(permit) = permit {
            permit.record_answer_time(began.elapsed());
        }
        answer.unwrap_or_else(|_| {
            tracing::error!(
                rpc = R::NAME,
                "an answer panicked; its request gets INTERNAL"
            );
            Err(ServeError::Internal("making the answer failed".into()))
        })
    }
}

/// Which version a request asks for.
fn version_target(options: &RequestOptions) -> VersionTarget<'_> {
    let selector = options.selector.as_ref();
    match selector.and_then(|selector| selector.target.as_ref()) {
        Some(Target::Alias(alias)) => VersionTarget::Alias(alias),
        Some(Target::Version(version)) => VersionTarget::Version(version),
        None => VersionTarget::SplitByUser(&options.user_id),
    }
}

/// One of the calls, as tonic runs it.
struct CallService<R> {
    recommendations: Recommendations,
    call: PhantomData<R>,
}

impl<R: Call> UnaryService<R> for CallService<R> {
    type Response = EncodedResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Response<EncodedResponse>, Status>> + Send>>;

    fn call(&mut self, request: Request<R>) -> Self::Future {
        Box::pin(self.recommendations.clone().serve(request))
    }
}

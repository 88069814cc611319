//! The gRPC services: what clients call.
//!
//! In: admitted HTTP requests. Out: HTTP responses with encoded messages or a gRPC status. They
//! read and change versions through [`Versions`] and hold no state of their own.
//!
//! - `calls.rs`: the calls that recommend.
//! - `recommendation.rs`: how these calls are read, take turns, and are written.
//! - `model.rs`, `rule.rs`: administration.
//! - `status.rs`: the one place that decides which gRPC code an error gets.
//! - `codec.rs`: responses that are encoded already.
//! - `convert/`: between messages and the requests and answers of `aisle-models`.
//!
//! What may be changed here: the contract of `aisle-proto`, with the conversions that follow it.

mod calls;
mod codec;
mod convert;
mod model;
mod recommendation;
mod rule;
mod status;

use crate::error::ServeError;
use crate::versions::{LoadingPool, Versions};
use aisle_proto::model_service_server::ModelServiceServer;
use aisle_proto::rule_service_server::RuleServiceServer;
use anyhow::{Context as _, Result};
pub use calls::CALLS;
use http::{Request, Response};
use hyper::body::Incoming;
use model::Models;
use recommendation::{MAX_REQUEST_BYTES, Recommendations, ResponseFuture};
use rule::Rules;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::service::Routes;
use tower_service::Service;

/// The name of the service that recommends.
pub const RECOMMENDATION_SERVICE: &str = "aisle.v1.RecommendationService";
/// The start of the paths of its calls.
pub const RECOMMENDATION_PATH: &str = "/aisle.v1.RecommendationService/";
/// The start of the paths of all calls of Aisle's own services.
pub const AISLE_PATH: &str = "/aisle.v1.";

/// All services of the server. Recommendations are routed here and not by the router, which would
/// cost more than decoding their requests.
#[derive(Clone)]
pub struct Services {
    recommendations: Recommendations,
    others: Routes,
}

impl Services {
    /// Serves the versions in service, `threads` recommendations at a time. `others` holds services
    /// of the caller, for example health.
    ///
    /// # Errors
    /// If the compiled contract cannot be read by reflection.
    pub fn new(
        versions: &Arc<Versions>,
        pool: Arc<LoadingPool>,
        threads: usize,
        others: Routes,
    ) -> Result<Self> {
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(aisle_proto::DESCRIPTORS)
        };
        let models = ModelServiceServer::new(Models::new(versions.clone(), pool));
        let rules = RuleServiceServer::new(Rules::new(versions.clone()));
        let others = others
            .add_service(reflection().build_v1().context("starting reflection")?)
            .add_service(
                reflection()
                    .build_v1alpha()
                    .context("starting reflection")?,
            )
            .add_service(models.max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(rules.max_decoding_message_size(MAX_REQUEST_BYTES));
        Ok(Self {
            recommendations: Recommendations::new(versions.clone(), threads),
            others: others.prepare(),
        })
    }
}

impl Service<Request<Incoming>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.recommendations
            .route(request, |request| Box::pin(self.others.call(request)))
    }
}

/// Runs work that blocks on the registry's files beside the threads that answer requests.
async fn run_blocking<T: Send + 'static>(
    versions: &Arc<Versions>,
    work: impl FnOnce(&Versions) -> Result<T, ServeError> + Send + 'static,
) -> Result<T, ServeError> {
    let versions = versions.clone();
    tokio::task::spawn_blocking(move || work(&versions))
        .await
        .unwrap_or_else(|error| Err(ServeError::Internal(error.to_string())))
}

//! The server: sockets, services, the task that follows the registry, and the way down.

use crate::admission::Admission;
use crate::background::{Background, PATIENCE};
use crate::config::Config;
use crate::door;
use crate::live::Live;
use crate::model_service::Models;
use crate::recommendation::{Answering, MESSAGE, Recommendations};
use crate::rule_service::Rules;
use aisle_models::Registry;
use aisle_proto::model_service_server::ModelServiceServer;
use aisle_proto::rule_service_server::RuleServiceServer;
use anyhow::{Context as _, Result};
use http::{Request, Response};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower_service::Service;
use tracing::info;

/// Longest wait for requests in flight when the server goes down.
const DRAIN: Duration = Duration::from_secs(10);

/// Sets the health of the server and of its service.
async fn tell(health: &HealthReporter, ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    health.set_service_status("", status).await;
    health.set_service_status("aisle.v1.RecommendationService", status).await;
}

/// Does what has no end until the server stops.
async fn until(mut stop: watch::Receiver<bool>, endless: impl Future<Output = ()>) {
    tokio::select! {
        () = endless => {}
        _ = stop.changed() => {}
    }
}

/// What panics must not end the following.
fn ended<E: std::fmt::Display>(outcome: Result<(), E>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "looking at the registry failed");
    }
}

/// Follows the aliases of the registry, and tells the health.
async fn follow(live: Arc<Live>, background: Arc<Background>, health: HealthReporter, poll: Duration) {
    let mut ready = live.is_ready();
    let sweeping = Arc::new(Semaphore::new(1));
    loop {
        tokio::time::sleep(poll).await;
        let preparing = live.clone();
        ended(background.run(PATIENCE, move || preparing.prepare()).await);
        let applying = live.clone();
        ended(tokio::task::spawn_blocking(move || applying.apply()).await);
        if live.is_ready() != ready {
            ready = live.is_ready();
            tell(&health, ready).await;
        }
        // Nobody waits for memory.
        if live.has_retired()
            && let Ok(turn) = sweeping.clone().try_acquire_owned()
        {
            let (live, background) = (live.clone(), background.clone());
            tokio::spawn(async move {
                ended(background.run(PATIENCE, move || live.sweep()).await);
                drop(turn);
            });
        }
        if live.freed() {
            background.tidy();
        }
    }
}

/// All services. Recommendations have a way of their own: going through the router costs more than decoding their request.
#[derive(Clone)]
struct Services {
    recommendations: Recommendations,
    others: Routes,
}

impl Service<Request<Incoming>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.recommendations.route(request, |request| Box::pin(self.others.call(request)))
    }
}

/// A server that answers.
pub struct Running {
    address: SocketAddr,
    live: Arc<Live>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Running {
    /// Loads what the registry has, binds the address, and answers. A registry without a version is no error: health says
    /// NOT_SERVING, requests get UNAVAILABLE, and the first version published is served.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn start(config: &Config) -> Result<Self> {
        let registry = Registry::new(&config.registry);
        let live = Arc::new(
            Live::new(registry, config.model.clone(), config.alias.clone(), config.split.clone()).with_rules(config.rules.clone()),
        );
        let first = live.clone();
        tokio::task::spawn_blocking(move || first.refresh()).await.context("loading the first version")?;
        let background = Arc::new(Background::new().context("starting the loading threads")?);

        let listener = TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr().context("reading the bound address")?;
        let (health, health_service) = tonic_health::server::health_reporter();
        let (stop, stopped) = watch::channel(false);
        tell(&health, live.is_ready()).await;

        let poll = config.poll;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let admission = Arc::new(Admission::new(threads, config.max_concurrent_requests, config.default_deadline));
        let (watched, looking) = (admission.clone(), live.clone());
        tokio::spawn(until(stopped.clone(), async move {
            loop {
                tokio::time::sleep(poll).await;
                watched.publish();
                let live = looking.clone();
                ended(tokio::task::spawn_blocking(move || live.look()).await);
            }
        }));
        let following = until(stopped.clone(), follow(live.clone(), background.clone(), health.clone(), poll));
        tokio::spawn(async move {
            following.await;
            // Balancers look away first, then the connections are told to go.
            tell(&health, false).await;
        });

        let reflection =
            |set: &'static [u8]| tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(set);
        let recommendations = Recommendations::new(live.clone(), threads);
        let others = Routes::new(health_service)
            .add_service(reflection(aisle_proto::DESCRIPTORS).build_v1().context("reflection")?)
            .add_service(reflection(aisle_proto::DESCRIPTORS).build_v1alpha().context("reflection")?)
            .add_service(ModelServiceServer::new(Models::new(live.clone(), background)).max_decoding_message_size(MESSAGE))
            .add_service(RuleServiceServer::new(Rules::new(live.clone())).max_decoding_message_size(MESSAGE))
            .prepare();
        let services = Services { recommendations, others };
        let limits = door::Limits { connections: config.max_connections, ..door::Limits::default() };
        let serving = tokio::spawn(door::serve(listener, services, admission, limits, stopped));
        info!(%address, registry = %config.registry.display(), "listening");
        Ok(Self { address, live, stop, serving })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The versions in service.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Stops accepting, lets requests in flight finish, and returns.
    ///
    /// # Errors
    /// If requests are still running after ten seconds.
    pub async fn stop(self) -> Result<()> {
        let _ = self.stop.send(true);
        match tokio::time::timeout(DRAIN, self.serving).await {
            Ok(ended) => ended.context("the serving task"),
            Err(_) => anyhow::bail!("connections were still open after {} s and were cut", DRAIN.as_secs()),
        }
    }
}

//! The server: it starts what the other modules provide, and ends it again.

use crate::config::Config;
use crate::services::{AISLE_PATH, CALLS, RECOMMENDATION_PATH, RECOMMENDATION_SERVICE, Services};
use crate::transport::activity::ConnectionLimits;
use crate::transport::admission::{Admission, AdmissionConfig};
use crate::transport::connection;
use crate::versions::{LoadingPool, Versions, VersionsConfig, follow_aliases, follow_changes};
use aisle_models::Registry;
use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::info;

/// How long requests in flight may take to end when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that answers.
pub struct Server {
    address: SocketAddr,
    versions: Arc<Versions>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Loads what the registry has, binds the address, and answers. A registry without a version is
    /// no error: health says NOT_SERVING, requests get UNAVAILABLE, and the first version that is
    /// published is served.
    ///
    /// # Errors
    /// If the address cannot be bound, or the loading threads cannot be started.
    pub async fn start(config: &Config) -> Result<Self> {
        let versions = load_versions(config).await?;
        let pool = Arc::new(LoadingPool::new().context("starting the loading threads")?);
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr().context("reading the bound address")?;
        let (health, health_service) = tonic_health::server::health_reporter();
        let (stop, stopped) = watch::channel(false);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let admission = Arc::new(Admission::new(AdmissionConfig {
            threads,
            max_requests: config.max_concurrent_requests,
            default_deadline: config.default_deadline,
            slot_path: RECOMMENDATION_PATH,
            slot_calls: &CALLS,
            deadline_path: AISLE_PATH,
        }));

        let (ready, ready_changes) = watch::channel(versions.router().is_ready());
        set_health(&health, *ready.borrow()).await;
        let poll = config.poll;
        tokio::spawn(until(
            stopped.clone(),
            publish_metrics(admission.clone(), poll),
        ));
        tokio::spawn(until(
            stopped.clone(),
            follow_changes(versions.clone(), poll),
        ));
        tokio::spawn(until(
            stopped.clone(),
            follow_aliases(versions.clone(), pool.clone(), poll, ready),
        ));
        tokio::spawn(report_health(health, ready_changes));

        let services = Services::new(&versions, pool, threads, Routes::new(health_service))?;
        let limits = ConnectionLimits {
            connections: config.max_connections,
            ..ConnectionLimits::default()
        };
        let serving = connection::serve(listener, services, admission, limits, stopped);
        let serving = tokio::spawn(serving);
        info!(%address, registry = %config.registry.display(), "listening");
        Ok(Self {
            address,
            versions,
            stop,
            serving,
        })
    }

    /// The address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The versions in service.
    pub fn versions(&self) -> &Arc<Versions> {
        &self.versions
    }

    /// Accepts no more connections, lets requests in flight end, and returns.
    ///
    /// # Errors
    /// If requests are still running after ten seconds.
    pub async fn stop(self) -> Result<()> {
        let _ = self.stop.send(true);
        match tokio::time::timeout(DRAIN_TIMEOUT, self.serving).await {
            Ok(ended) => ended.context("the serving task failed"),
            Err(_) => anyhow::bail!(
                "connections were still open after {} s and were cut",
                DRAIN_TIMEOUT.as_secs()
            ),
        }
    }
}

/// Loads the versions that the registry asks for. The server does not listen yet, so this may use
/// every core.
async fn load_versions(config: &Config) -> Result<Arc<Versions>> {
    let versions = Arc::new(Versions::new(VersionsConfig {
        registry: Registry::new(&config.registry),
        model: config.model.clone(),
        alias: config.alias.clone(),
        split: config.split.clone(),
        rules: config.rules.clone(),
    }));
    let loading = versions.clone();
    tokio::task::spawn_blocking(move || loading.refresh())
        .await
        .context("loading the first version")?;
    Ok(versions)
}

/// Runs work that has no end until the server stops.
async fn until(mut stop: watch::Receiver<bool>, endless: impl Future<Output = ()>) {
    tokio::select! {
        () = endless => {}
        _ = stop.changed() => {}
    }
}

async fn publish_metrics(admission: Arc<Admission>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        admission.publish_metrics();
    }
}

/// Reports whether the server can answer, until nothing follows the registry any more because the
/// server stops. Load balancers then send no more requests before their connections are closed.
async fn report_health(health: HealthReporter, mut ready: watch::Receiver<bool>) {
    while ready.changed().await.is_ok() {
        let is_ready = *ready.borrow();
        set_health(&health, is_ready).await;
    }
    set_health(&health, false).await;
}

/// Sets the health of the server as a whole and of the service that recommends.
async fn set_health(health: &HealthReporter, is_ready: bool) {
    let status = if is_ready {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    for service in ["", RECOMMENDATION_SERVICE] {
        health.set_service_status(service, status).await;
    }
}

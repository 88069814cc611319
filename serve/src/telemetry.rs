//! Logs and metrics.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use std::io::IsTerminal;
use std::net::SocketAddr;
use tracing_subscriber::EnvFilter;

/// Latency buckets in seconds: from what a scan takes to what a shopper notices.
const BUCKETS: [f64; 12] = [0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0];

/// Starts logging to standard error; `RUST_LOG` chooses what.
pub fn start_logs(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A second start, in a test say, keeps the first.
    let _ = if json { logs.json().try_init() } else { logs.try_init() };
}

/// Serves Prometheus metrics at `http://ADDRESS/metrics`. Needs a tokio runtime.
///
/// # Errors
/// If the address cannot be bound.
pub fn start_metrics(address: SocketAddr) -> anyhow::Result<()> {
    PrometheusBuilder::new()
        .with_http_listener(address)
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)?
        .install()
        .map_err(|error| anyhow::anyhow!("cannot serve metrics on {address}: {error}"))
}

//! Logs and metrics: how they are started, and labels that several places use.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use std::io::IsTerminal;
use std::net::SocketAddr;
use tonic::Code;
use tracing_subscriber::EnvFilter;

/// The latency buckets in seconds: from what an answer takes to what a shopper notices.
const BUCKETS: [f64; 12] = [
    0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0,
];

/// Starts logging to standard error, as text or as JSON. `RUST_LOG` chooses the levels; without it
/// they are `info` and above.
pub fn start_logs(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A second start, for example in a test, keeps the first.
    let _ = if json {
        logs.json().try_init()
    } else {
        logs.try_init()
    };
}

/// Serves Prometheus metrics at `http://ADDRESS/metrics`. It needs a running tokio runtime.
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

/// The name of a gRPC code as metrics show it: that of the specification in camel case.
pub fn code_label(code: Code) -> String {
    format!("{code:?}")
}

//! The tables that measurements print, in Markdown.

use crate::outcomes::{Outcome, Run};
use crate::process::Process;
use anyhow::Result;
use std::time::Duration;

const COLUMNS: [&str; 10] = [
    "what",
    "sent a second",
    "answered a second",
    "refused",
    "failed",
    "p50 µs",
    "p90 µs",
    "p99 µs",
    "p99.9 µs",
    "server core",
];
/// The quantiles of the latency columns.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// Prints the head of the table of runs.
pub fn print_head() {
    println!(
        "| {} |\n{}|",
        COLUMNS.join(" | "),
        "| --- ".repeat(COLUMNS.len())
    );
}

/// Prints the row of a run that was sent at `rate`, and the first failure if there was one. `busy`
/// is the share of a core that the server used.
pub fn print_row(what: &str, rate: f64, run: &Run, busy: Option<f64>) {
    let latencies =
        QUANTILES.map(|quantile| format!("{:.0}", run.latency(Outcome::Answered, quantile)));
    let busy = busy.map_or(String::new(), |busy| format!("{:.0} %", 100.0 * busy));
    let (refused, failed) = (run.count(Outcome::Refused), run.count(Outcome::Failed));
    let answered = run.per_second(Outcome::Answered);
    let latencies = latencies.join(" | ");
    println!(
        "| {what} | {rate:.0} | {answered:.0} | {refused} | {failed} | {latencies} | {busy} |"
    );
    if let Some(failure) = &run.failure {
        println!("  the first failure: {failure}");
    }
}

/// Measures which share of a core a server uses.
pub struct BusyMeter {
    server: Option<Process>,
    before: Option<f64>,
}

impl BusyMeter {
    /// Starts to measure; measures nothing without a process.
    pub fn start(server: Option<Process>) -> Result<Self> {
        Ok(Self {
            server,
            before: server.map(Process::busy).transpose()?,
        })
    }

    /// The share since the start, `time` ago.
    pub fn share(&self, time: Duration) -> Result<Option<f64>> {
        let (Some(server), Some(before)) = (self.server, self.before) else {
            return Ok(None);
        };
        Ok(Some((server.busy()? - before) / time.as_secs_f64()))
    }
}

/// Bytes as MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

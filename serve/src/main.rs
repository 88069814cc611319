//! The program `aisle-serve`: reads its config, serves, and stops at a signal.

use aisle_serve::config::{Cli, Config};
use aisle_serve::{Server, shutdown, telemetry};
use clap::Parser;
use std::process::ExitCode;
use tracing::info;

/// Answers are made of many small allocations on every thread, which mimalloc handles faster than
/// the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// After how many steps of tasks a thread looks at its sockets. The default of 61 may be as many
/// answers under load.
const EVENT_INTERVAL: u32 = 8;

async fn serve(config: Config) -> anyhow::Result<()> {
    if let Some(address) = config.metrics {
        telemetry::start_metrics(address)?;
        info!(%address, "metrics");
    }
    let server = Server::start(&config).await?;
    let signal = shutdown::wait_for_signal().await?;
    info!(signal, "stopping: requests in flight are finished");
    tokio::select! {
        stopped = server.stop() => stopped?,
        _ = shutdown::wait_for_signal() => {
            anyhow::bail!("a second signal came: requests in flight were cut")
        }
    }
    info!("stopped");
    Ok(())
}

fn run() -> anyhow::Result<()> {
    let config = Config::read(Cli::parse())?;
    telemetry::start_logs(config.log_json);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()?
        .block_on(serve(config))
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! `aisle-serve`.

use aisle_serve::config::{Cli, Config};
use aisle_serve::{Running, memory, shutdown, telemetry};
use clap::Parser;
use std::process::ExitCode;
use tracing::info;

/// Answers are made of many small pieces on every thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sockets are looked at after so many steps of tasks: by default 61, which under load may be as many answers.
const EVENTS: u32 = 8;

async fn serve(config: Config) -> anyhow::Result<()> {
    if let Some(address) = config.metrics {
        telemetry::start_metrics(address)?;
        info!(%address, "metrics");
    }
    let running = Running::start(&config).await?;
    let signal = shutdown::asked_to_stop().await?;
    info!(signal, "going down: finishing what is in flight");
    tokio::select! {
        stopped = running.stop() => stopped?,
        _ = shutdown::asked_to_stop() => anyhow::bail!("asked twice: requests in flight were cut"),
    }
    info!("stopped");
    Ok(())
}

fn main() -> ExitCode {
    let run = || -> anyhow::Result<()> {
        let config = Config::read(Cli::parse())?;
        telemetry::start_logs(config.log_json);
        if !config.huge_pages {
            memory::small_pages();
        }
        tokio::runtime::Builder::new_multi_thread().enable_all().event_interval(EVENTS).build()?.block_on(serve(config))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! An open-loop load generator: requests leave at the times that were intended, whether or not
//! answers come, and an answer's latency counts from its intended time. So a stall of the server
//! shows in every request that it delays, not in one.
//!
//! Run the server and this on separate cores, for example under `taskset`; `benches/README.md` has
//! the commands.

mod calls;
mod driver;
mod outcomes;
mod process;
mod report;
mod scenarios;

use anyhow::Result;
use calls::{Call, Requests};
use clap::{Parser, Subcommand};
use driver::Driver;
use process::Process;
use scenarios::Bench;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Measure a running aisle-serve.
#[derive(Parser)]
#[command(name = "aisle-load", version, max_term_width = 100)]
struct Cli {
    /// The gRPC address of the server.
    #[arg(long, default_value = "127.0.0.1:50051")]
    target: SocketAddr,
    /// The registry that it serves, to draw shoppers and items from.
    #[arg(long)]
    registry: PathBuf,
    /// The model that it serves.
    #[arg(long)]
    model: String,
    /// The number of the server's process, to measure its memory and processor time.
    #[arg(long)]
    pid: Option<u32>,
    /// Connections to open.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Ask for answers without reasons.
    #[arg(long)]
    omit_reasons: bool,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Each call beside an empty one: requests a second when saturated, and latency at half of
    /// that.
    Steady {
        /// Seconds a measurement.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Only these calls: RecommendForUser, CrossSell, Upsell, SimilarItems.
        #[arg(long)]
        only: Vec<String>,
    },
    /// Moves the alias between two versions while requests are sent.
    Swap {
        /// How many times.
        #[arg(long, default_value_t = 1000)]
        swaps: usize,
        /// Load as a share of capacity.
        #[arg(long, default_value_t = 0.7)]
        load: f64,
    },
    /// More requests than the server can answer.
    Overload {
        /// Only these calls.
        #[arg(long)]
        only: Vec<String>,
        /// Multiples of capacity.
        #[arg(long, default_values_t = [2.0, 5.0, 10.0])]
        times: Vec<f64>,
        /// Seconds each.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// A long time at half of capacity: does memory grow?
    Soak {
        /// Seconds.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    // One thread that never sleeps: requests leave on time.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(1)
        .build()?
        .block_on(measure(cli))
}

async fn measure(cli: Cli) -> Result<()> {
    let requests = Requests::draw(&cli.registry, &cli.model, cli.omit_reasons)?;
    let driver = Driver::connect(cli.target, cli.connections, requests).await?;
    let bench = Bench {
        driver,
        server: cli.pid.map(Process),
    };
    match cli.scenario {
        Scenario::Steady { seconds, only } => {
            bench
                .steady(&Call::named(&only), Duration::from_secs(seconds))
                .await
        }
        Scenario::Swap { swaps, load } => {
            bench.swap(&cli.registry, &cli.model, (swaps, load)).await
        }
        Scenario::Overload {
            only,
            times,
            seconds,
        } => {
            bench
                .overload(&Call::named(&only), &times, Duration::from_secs(seconds))
                .await
        }
        Scenario::Soak { seconds } => bench.soak(Duration::from_secs(seconds)).await,
    }
}

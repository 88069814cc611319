//! An open-loop load generator: requests leave at the times that were intended, whether or not answers come, and an answer's latency
//! counts from its intended time. So a stall of the server shows in every request that it delays, not in one.
//!
//! Run the server and this on separate cores, for example under `taskset`; `benches/README.md` has the commands.

mod calls;
mod drive;
mod process;

use anyhow::{Context, Result, bail};
use calls::{Call, Questions};
use clap::{Parser, Subcommand};
use drive::{Driver, Outcome, Run};
use process::Process;
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
    /// The model.
    #[arg(long)]
    model: String,
    /// The server's process, for its memory and processor time.
    #[arg(long)]
    pid: Option<u32>,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Ask for answers without reasons.
    #[arg(long)]
    omit_reasons: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Each call beside an empty one: requests a second when pressed, and latency at half of that.
    Steady {
        /// Seconds a measurement.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Only these calls, beside the empty one: RecommendForUser, CrossSell, Upsell, SimilarItems.
        #[arg(long)]
        only: Vec<String>,
    },
    /// Moves the alias between two versions while requests come.
    Swap {
        /// How many times.
        #[arg(long, default_value_t = 1000)]
        swaps: usize,
        /// Load as a share of capacity.
        #[arg(long, default_value_t = 0.7)]
        load: f64,
    },
    /// More than the server can answer.
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
    tokio::runtime::Builder::new_current_thread().enable_all().event_interval(1).build()?.block_on(measure(cli))
}

async fn measure(cli: Cli) -> Result<()> {
    let questions = Questions::draw(&cli.registry, &cli.model, cli.omit_reasons)?;
    let server = cli.pid.map(Process);
    let driver = Driver::connect(cli.target, cli.connections, questions).await?;
    match cli.what {
        What::Steady { seconds, only } => steady(&driver, server, &only, Duration::from_secs(seconds)).await,
        What::Swap { swaps, load } => swap(&driver, server, (&cli.registry, &cli.model), (swaps, load)).await,
        What::Overload { only, times, seconds } => {
            overload(&driver, server, (&Call::chosen(&only), &times), Duration::from_secs(seconds)).await
        }
        What::Soak { seconds } => soak(&driver, server, Duration::from_secs(seconds)).await,
    }
}

const HEAD: &str =
    "| what | asked a second | answered a second | refused | failed | p50 µs | p90 µs | p99 µs | p99.9 µs | server core |";

/// A row of the table.
fn row(what: &str, rate: f64, run: &Run, busy: Option<f64>) -> String {
    let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|share| run.latency(Outcome::Answered, share));
    let busy = busy.map_or(String::new(), |busy| format!("{:.0} %", 100.0 * busy));
    let (refused, failed) = (run.count(Outcome::Refused), run.count(Outcome::Failed));
    let answered = run.per_second(Outcome::Answered);
    format!("| {what} | {rate:.0} | {answered:.0} | {refused} | {failed} | {p50:.0} | {p90:.0} | {p99:.0} | {p999:.0} | {busy} |")
}

/// Prints the row of a run, and what went wrong in it.
fn show(what: &str, rate: f64, run: &Run, busy: Option<f64>) {
    println!("{}", row(what, rate, run, busy));
    if let Some(failure) = &run.failure {
        println!("  the first failure: {failure}");
    }
}

fn rule() {
    println!("{HEAD}\n{}", "| --- ".repeat(10) + "|");
}

/// How often a call is asked beside an empty one.
const ROUNDS: usize = 5;
/// The quantiles that are compared.
const SHARES: [f64; 3] = [0.5, 0.9, 0.99];

async fn steady(driver: &Driver, server: Option<Process>, only: &[String], time: Duration) -> Result<()> {
    println!(
        "Latency counts from the intended time, at half of what the server answers when pressed, beside an empty call at the same rate.\n"
    );
    rule();
    let (mut most, mut ratios) = (None, Vec::new());
    for call in [Call::Empty].into_iter().chain(Call::chosen(only)) {
        driver.press(&[call], Duration::from_secs(2)).await?;
        let began = server.map(|server| server.busy()).transpose()?;
        let pressed = driver.press(&[call], time).await?;
        let busy = |since: Option<f64>, time: Duration| -> Result<Option<f64>> {
            let (Some(server), Some(since)) = (server, since) else { return Ok(None) };
            Ok(Some((server.busy()? - since) / time.as_secs_f64()))
        };
        let capacity = pressed.per_second(Outcome::Answered);
        show(&format!("{}, pressed", call.name()), capacity, &pressed, busy(began, time)?);
        let most = *most.get_or_insert(capacity);
        if call == Call::Empty {
            continue;
        }
        answered(capacity, call.name())?;
        // In turns, so that a noisy minute of the machine meets both; and the middle one of the ratios counts.
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = server.map(|server| server.busy()).transpose()?;
            let half = driver.open(&[call], capacity / 2.0, time / 2).await?;
            show(&format!("{}, half load", call.name()), capacity / 2.0, &half, busy(began, time / 2)?);
            let began = server.map(|server| server.busy()).transpose()?;
            let floor = driver.open(&[Call::Empty], capacity / 2.0, time / 2).await?;
            show("empty, the same rate", capacity / 2.0, &floor, busy(began, time / 2)?);
            times.push(SHARES.map(|share| half.latency(Outcome::Answered, share) / floor.latency(Outcome::Answered, share)));
        }
        let middle = |at: usize| {
            let mut of: Vec<f64> = times.iter().map(|times| times[at]).collect();
            of.sort_unstable_by(f64::total_cmp);
            of[of.len() / 2]
        };
        ratios.push((call, capacity / most, [middle(0), middle(1), middle(2)]));
    }
    println!("\n| beside an empty call | requests a second × | p50 × | p90 × | p99 × |\n| --- | --- | --- | --- | --- |");
    for (call, rate, [p50, p90, p99]) in ratios {
        println!("| {} | {rate:.2} | {p50:.2} | {p90:.2} | {p99:.2} |", call.name());
    }
    Ok(())
}

/// What the server answers a second when pressed with a mix of calls.
/// An error where nothing came back.
fn answered(rate: f64, calls: &str) -> Result<()> {
    if rate == 0.0 {
        bail!("the server answered none of {calls}: does it serve this model? Its log says why not");
    }
    Ok(())
}

async fn capacity(driver: &Driver, calls: &[Call]) -> Result<f64> {
    driver.press(calls, Duration::from_secs(2)).await?;
    let capacity = driver.press(calls, Duration::from_secs(5)).await?.per_second(Outcome::Answered);
    let names: Vec<&str> = calls.iter().map(|call| call.name()).collect();
    answered(capacity, &names.join(", "))?;
    println!("Capacity for {}: {capacity:.0} a second.\n", names.join(", "));
    Ok(capacity)
}

async fn swap(
    driver: &Driver,
    server: Option<Process>,
    (root, model): (&PathBuf, &str),
    (swaps, load): (usize, f64),
) -> Result<()> {
    let registry = aisle_models::Registry::new(root);
    let versions = registry.version_names(model)?;
    let [.., a, b] = versions.as_slice() else { bail!("{model} has {} version: swapping takes two", versions.len()) };
    let rate = load * capacity(driver, &Call::ASKED).await?;
    rule();
    let time = Duration::from_secs(20);
    show("steady", rate, &driver.open(&Call::ASKED, rate, time).await?, None);
    let before = server.map(|server| server.memory()).transpose()?;
    let during = {
        let versions = [a, b];
        let swapping = driver.swap(&versions, swaps);
        driver.open_until(&Call::ASKED, rate, swapping).await?
    };
    show(&format!("{swaps} swaps in {:.0} s", during.seconds), rate, &during, None);
    let known = [a.as_str(), b.as_str()];
    let strange: Vec<&String> = during.versions.keys().filter(|version| !known.contains(&version.as_str())).collect();
    println!("\nAnswers looked at, by version: {:?}; of any other version: {}", during.versions, strange.len());
    tokio::time::sleep(Duration::from_secs(5)).await;
    if let (Some(server), Some(before)) = (server, before) {
        let after = server.memory()?;
        println!(
            "Memory: {:.0} MiB before, {:.0} MiB after ({:+.1} %)",
            mib(before),
            mib(after),
            100.0 * (after as f64 / before as f64 - 1.0)
        );
    }
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

async fn overload(driver: &Driver, server: Option<Process>, (calls, times): (&[Call], &[f64]), time: Duration) -> Result<()> {
    let capacity = capacity(driver, calls).await?;
    rule();
    show("0.8 ×", 0.8 * capacity, &driver.open(calls, 0.8 * capacity, time).await?, None);
    let before = server.map(|server| server.memory()).transpose()?;
    let mut notes = Vec::new();
    for &times in times {
        let health = driver.watch_health();
        let run = driver.open(calls, times * capacity, time).await?;
        let worst = health.stop().await;
        show(&format!("{times} ×"), times * capacity, &run, None);
        let again = driver.open(calls, 0.8 * capacity, Duration::from_secs(5)).await?;
        show(&format!("after {times} ×"), 0.8 * capacity, &again, None);
        let sent = run.per_second(Outcome::Answered) + run.per_second(Outcome::Refused) + run.per_second(Outcome::Failed);
        notes.push(format!(
            "{times} ×: goodput {:.2} of capacity; refusals p50 {:.1} and p99 {:.1} ms; slowest health check {:.1} ms; the generator sent {:.1} × capacity, {:.1} ms late at p99",
            run.per_second(Outcome::Answered) / capacity,
            run.latency(Outcome::Refused, 0.5) / 1000.0,
            run.latency(Outcome::Refused, 0.99) / 1000.0,
            worst.as_secs_f64() * 1000.0,
            sent / capacity,
            run.late[1].as_secs_f64() * 1000.0
        ));
    }
    println!("\n{}", notes.join("\n"));
    if let (Some(server), Some(before)) = (server, before) {
        println!("Memory: {:.0} MiB before, {:.0} MiB after", mib(before), mib(server.memory()?));
    }
    Ok(())
}

async fn soak(driver: &Driver, server: Option<Process>, time: Duration) -> Result<()> {
    let server = server.context("a soak watches the server's memory: give --pid")?;
    let rate = capacity(driver, &Call::ASKED).await? / 2.0;
    rule();
    let mut memory = Vec::new();
    let parts = (time.as_secs() / 30).max(2);
    for part in 1..=parts {
        let run = driver.open(&Call::ASKED, rate, time / parts as u32).await?;
        memory.push(mib(server.memory()?));
        show(&format!("part {part} of {parts}: {:.0} MiB", memory[memory.len() - 1]), rate, &run, None);
    }
    // The slope of a line through the second half, when all memory that will be used once has been.
    let half = &memory[memory.len() / 2..];
    let middle = (half.len() - 1) as f64 / 2.0;
    let mean = half.iter().sum::<f64>() / half.len() as f64;
    let up: f64 = half.iter().enumerate().map(|(at, value)| (at as f64 - middle) * (value - mean)).sum();
    let square: f64 = (0..half.len()).map(|at| (at as f64 - middle).powi(2)).sum();
    let minutes = time.as_secs_f64() / 60.0 / parts as f64;
    println!("\nMemory grows by {:.2} MiB a minute over the second half.", up / square.max(1e-9) / minutes);
    Ok(())
}

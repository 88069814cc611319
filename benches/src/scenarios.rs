//! What is measured: steady load, swaps of versions, overload, and a long time at half load.

use crate::calls::Call;
use crate::driver::Driver;
use crate::outcomes::{Outcome, Run};
use crate::process::Process;
use crate::report::{BusyMeter, mib, print_head, print_row};
use aisle_models::Registry;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::Duration;

/// How often each call is measured beside an empty one.
const ROUNDS: usize = 5;
/// The latency quantiles that are compared with those of an empty call.
const COMPARED: [f64; 3] = [0.5, 0.9, 0.99];
/// How long the server is saturated before anything is measured.
const WARM_UP: Duration = Duration::from_secs(2);
/// The share of its capacity that a server is measured at before and after an overload.
const COMFORTABLE: f64 = 0.8;

/// A server under measurement.
pub struct Bench {
    /// Connections and requests.
    pub driver: Driver,
    /// The server's process, if it is known.
    pub server: Option<Process>,
}

/// What a call costs beside an empty call at the same rate.
struct Ratios {
    call: Call,
    /// Requests a second when saturated.
    rate: f64,
    /// Latencies at half load, in the order of [`COMPARED`].
    latencies: [f64; 3],
}

impl Bench {
    /// Each call beside an empty one: requests a second when saturated, and latency at half of
    /// that.
    pub async fn steady(&self, calls: &[Call], time: Duration) -> Result<()> {
        println!(
            "Latency counts from the intended time, at half of what the server answers when \
             saturated, beside an empty call at the same rate.\n"
        );
        print_head();
        let empty = self.saturated(Call::Empty, time).await?;
        let mut ratios = Vec::new();
        for &call in calls {
            let capacity = self.saturated(call, time).await?;
            expect_answers(capacity, call.name())?;
            let latencies = self.latency_ratios(call, capacity / 2.0, time / 2).await?;
            ratios.push(Ratios {
                call,
                rate: capacity / empty,
                latencies,
            });
        }
        println!(
            "\n| beside an empty call | requests a second × | p50 × | p90 × | p99 × |\n\
             | --- | --- | --- | --- | --- |"
        );
        for Ratios {
            call,
            rate,
            latencies: [p50, p90, p99],
        } in ratios
        {
            println!(
                "| {} | {rate:.2} | {p50:.2} | {p90:.2} | {p99:.2} |",
                call.name()
            );
        }
        Ok(())
    }

    /// Answers a second of one call when the server is saturated.
    async fn saturated(&self, call: Call, time: Duration) -> Result<f64> {
        self.driver.saturate(&[call], WARM_UP).await?;
        let busy = BusyMeter::start(self.server)?;
        let run = self.driver.saturate(&[call], time).await?;
        let capacity = run.per_second(Outcome::Answered);
        print_row(
            &format!("{}, saturated", call.name()),
            capacity,
            &run,
            busy.share(time)?,
        );
        Ok(capacity)
    }

    /// The median ratios of a call's latencies to those of an empty call. The two are measured in
    /// turns, so that a noisy minute of the machine meets both.
    async fn latency_ratios(&self, call: Call, rate: f64, time: Duration) -> Result<[f64; 3]> {
        let mut rounds: Vec<[f64; 3]> = Vec::new();
        for _ in 0..ROUNDS {
            let mut runs: Vec<Run> = Vec::new();
            for (what, call) in [
                (format!("{}, half load", call.name()), call),
                ("empty".into(), Call::Empty),
            ] {
                let busy = BusyMeter::start(self.server)?;
                let run = self.driver.at_rate(&[call], rate, time).await?;
                print_row(&what, rate, &run, busy.share(time)?);
                runs.push(run);
            }
            rounds.push(COMPARED.map(|quantile| {
                let latency = |run: &Run| run.latency(Outcome::Answered, quantile);
                latency(&runs[0]) / latency(&runs[1])
            }));
        }
        Ok(std::array::from_fn(|at| {
            let mut ratios: Vec<f64> = rounds.iter().map(|round| round[at]).collect();
            ratios.sort_unstable_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        }))
    }

    /// Answers a second of a mix of calls when the server is saturated.
    async fn capacity(&self, calls: &[Call]) -> Result<f64> {
        self.driver.saturate(calls, WARM_UP).await?;
        let run = self.driver.saturate(calls, Duration::from_secs(5)).await?;
        let capacity = run.per_second(Outcome::Answered);
        let names: Vec<&str> = calls.iter().map(|call| call.name()).collect();
        let names = names.join(", ");
        expect_answers(capacity, &names)?;
        println!("Capacity for {names}: {capacity:.0} a second.\n");
        Ok(capacity)
    }

    /// Moves the alias between the two newest versions while requests are sent at a share of the
    /// capacity.
    pub async fn swap(
        &self,
        registry: &Path,
        model: &str,
        (swaps, load): (usize, f64),
    ) -> Result<()> {
        let versions = Registry::new(registry).version_names(model)?;
        let [.., a, b] = versions.as_slice() else {
            bail!(
                "model '{model}' has {} version: swapping needs two",
                versions.len()
            )
        };
        let calls = &Call::RECOMMENDING;
        let rate = load * self.capacity(calls).await?;
        print_head();
        let steady = self
            .driver
            .at_rate(calls, rate, Duration::from_secs(20))
            .await?;
        print_row("steady", rate, &steady, None);
        let before = self.server.map(Process::memory).transpose()?;
        let pair = [a, b];
        let swapping = self.driver.swap(&pair, swaps);
        let during = self.driver.at_rate_until(calls, rate, swapping).await?;
        print_row(
            &format!("{swaps} swaps in {:.0} s", during.seconds),
            rate,
            &during,
            None,
        );
        let is_other = |version: &&String| *version != a && *version != b;
        let others = during.versions.keys().filter(is_other).count();
        println!(
            "\nChecked answers by version: {:?}; other versions: {others}",
            during.versions
        );
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.print_memory(before)
    }

    /// Prints the server's memory now and before; nothing if its process is not known.
    fn print_memory(&self, before: Option<u64>) -> Result<()> {
        if let (Some(server), Some(before)) = (self.server, before) {
            let after = server.memory()?;
            let growth = 100.0 * (after as f64 / before as f64 - 1.0);
            let (before, after) = (mib(before), mib(after));
            println!("Memory: {before:.0} MiB before, {after:.0} MiB after ({growth:+.1} %)");
        }
        Ok(())
    }

    /// Sends multiples of what the server can answer.
    pub async fn overload(&self, calls: &[Call], times: &[f64], time: Duration) -> Result<()> {
        let capacity = self.capacity(calls).await?;
        let comfortable = COMFORTABLE * capacity;
        print_head();
        let steady = self.driver.at_rate(calls, comfortable, time).await?;
        print_row("0.8 ×", comfortable, &steady, None);
        let before = self.server.map(Process::memory).transpose()?;
        let mut summaries = Vec::new();
        for &times in times {
            let health = self.driver.check_health();
            let run = self.driver.at_rate(calls, times * capacity, time).await?;
            let slowest = health.stop().await;
            print_row(&format!("{times} ×"), times * capacity, &run, None);
            let after = self
                .driver
                .at_rate(calls, comfortable, Duration::from_secs(5))
                .await?;
            print_row(&format!("after {times} ×"), comfortable, &after, None);
            let outcomes = [Outcome::Answered, Outcome::Refused, Outcome::Failed];
            let sent: f64 = outcomes.map(|outcome| run.per_second(outcome)).iter().sum();
            let refusal = |quantile| run.latency(Outcome::Refused, quantile) / 1000.0;
            summaries.push(format!(
                "{times} ×: goodput {:.2} of capacity; refusals p50 {:.1} and p99 {:.1} ms; \
                 slowest health check {:.1} ms; the generator sent {:.1} × capacity, {:.1} ms late \
                 at p99",
                run.per_second(Outcome::Answered) / capacity,
                refusal(0.5),
                refusal(0.99),
                slowest.as_secs_f64() * 1000.0,
                sent / capacity,
                run.late_p99.as_secs_f64() * 1000.0
            ));
        }
        println!("\n{}", summaries.join("\n"));
        self.print_memory(before)
    }

    /// Half load for a long time: does memory grow?
    pub async fn soak(&self, time: Duration) -> Result<()> {
        let server = self
            .server
            .context("a soak watches the server's memory: give --pid")?;
        let rate = self.capacity(&Call::RECOMMENDING).await? / 2.0;
        print_head();
        let parts = (time.as_secs() / 30).max(2);
        let mut memory = Vec::new();
        for part in 1..=parts {
            let time = time / parts as u32;
            let run = self.driver.at_rate(&Call::RECOMMENDING, rate, time).await?;
            let now = mib(server.memory()?);
            memory.push(now);
            print_row(
                &format!("part {part} of {parts}: {now:.0} MiB"),
                rate,
                &run,
                None,
            );
        }
        // In the first half the server still touches memory that it will use only once.
        let minutes = time.as_secs_f64() / 60.0 / parts as f64;
        let growth = slope(&memory[memory.len() / 2..]) / minutes;
        println!("\nMemory grows by {growth:.2} MiB a minute over the second half.");
        Ok(())
    }
}

/// The slope of the least-squares line through values at 0, 1, 2, …
fn slope(values: &[f64]) -> f64 {
    let middle = (values.len() - 1) as f64 / 2.0;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let offsets = || (0..values.len()).map(|at| at as f64 - middle);
    let covariance: f64 = offsets()
        .zip(values)
        .map(|(at, value)| at * (value - mean))
        .sum();
    let variance: f64 = offsets().map(|at| at.powi(2)).sum();
    covariance / variance.max(1e-9)
}

/// An error if the server answered nothing.
fn expect_answers(rate: f64, calls: &str) -> Result<()> {
    if rate == 0.0 {
        bail!(
            "the server answered none of {calls}: does it serve this model? Its log says why not"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn the_slope_of_a_line_is_its_rise() {
        assert_eq!(slope(&[1.0, 3.0, 5.0, 7.0]), 2.0);
        assert_eq!(slope(&[4.0, 4.0]), 0.0);
    }
}

//! Sends requests over real sockets, at a rate or as many as the server answers.

use crate::calls::{Call, Requests};
use crate::outcomes::{Run, latency_histogram};
use aisle_proto::SetAliasRequest;
use aisle_proto::model_service_client::ModelServiceClient;
use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes};
use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt;

/// Requests in flight when the server is saturated.
const SATURATING: usize = 64;
/// Requests that each lane of a saturated server repeats.
const REPEATED: usize = 500;
/// Requests in flight beyond which the generator stops sending: then the generator is the slow
/// part, and the run says so.
const MAX_IN_FLIGHT: usize = 20_000;
/// Requests sent before answers are read.
const BURST: usize = 8;
/// How long requests may still be in flight after the last one was sent.
const DRAIN: Duration = Duration::from_secs(30);
/// What a failed health check counts as.
const FAILED_CHECK: Duration = Duration::from_secs(3600);

/// A codec that passes bytes through: encoding and decoding are not measured.
#[derive(Clone, Copy, Default)]
struct PassThrough;

impl Codec for PassThrough {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = PassThrough;
    type Decoder = PassThrough;

    fn encoder(&mut self) -> PassThrough {
        PassThrough
    }

    fn decoder(&mut self) -> PassThrough {
        PassThrough
    }
}

impl Encoder for PassThrough {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for PassThrough {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Connections to a server, and the requests to send.
pub struct Driver {
    channels: Vec<Channel>,
    /// A connection for administration and health checks alone.
    admin: Channel,
    requests: Requests,
}

/// A running series of health checks, one every 10 ms.
pub struct HealthChecks {
    stop: tokio::sync::oneshot::Sender<()>,
    slowest: tokio::task::JoinHandle<Duration>,
}

impl HealthChecks {
    /// Stops the checks and returns how long the slowest took; one that failed counts as an hour.
    pub async fn stop(self) -> Duration {
        let _ = self.stop.send(());
        self.slowest.await.unwrap_or(FAILED_CHECK)
    }
}

async fn send(channel: Channel, call: Call, request: Bytes) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(grpc
        .unary(Request::new(request), call.path(), PassThrough)
        .await?
        .into_inner())
}

/// How long a refusal asks the client to wait.
fn retry_delay(answer: &Result<Bytes, Status>) -> Option<Duration> {
    answer.as_ref().err()?.get_details_retry_info()?.retry_delay
}

async fn connect(target: SocketAddr) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{target}"))?.tcp_nodelay(true);
    endpoint
        .connect()
        .await
        .with_context(|| format!("nothing answers on {target}"))
}

impl Driver {
    /// Opens the connections.
    pub async fn connect(
        target: SocketAddr,
        connections: usize,
        requests: Requests,
    ) -> Result<Self> {
        let mut channels = Vec::new();
        for _ in 0..connections.max(1) {
            channels.push(connect(target).await?);
        }
        Ok(Self {
            channels,
            admin: connect(target).await?,
            requests,
        })
    }

    fn channel(&self, at: usize) -> Channel {
        self.channels[at % self.channels.len()].clone()
    }

    /// Sends as many requests as the server answers: each lane sends its next request when the one
    /// before is answered or, where it was refused, after the time that the server asked for.
    pub async fn saturate(&self, calls: &[Call], time: Duration) -> Result<Run> {
        let run = Rc::new(RefCell::new(Run::new()?));
        let began = Instant::now();
        let lanes = LocalSet::new();
        for lane in 0..SATURATING {
            let (run, channel) = (run.clone(), self.channel(lane));
            let request = |at: usize| {
                let call = calls[(lane + at) % calls.len()];
                (call, self.requests.get(call, lane + at * SATURATING))
            };
            let requests: Vec<(Call, Bytes)> = (0..REPEATED).map(request).collect();
            lanes.spawn_local(async move {
                for (call, request) in requests.into_iter().cycle() {
                    let sent = Instant::now();
                    if sent - began > time {
                        break;
                    }
                    let answer = send(channel.clone(), call, request).await;
                    let delay = retry_delay(&answer);
                    run.borrow_mut().note(call, answer, sent.elapsed());
                    if let Some(delay) = delay {
                        tokio::time::sleep(delay).await;
                    }
                }
            });
        }
        lanes.await;
        let mut run = run.replace(Run::new()?);
        run.seconds = began.elapsed().as_secs_f64();
        Ok(run)
    }

    /// Sends requests at a rate, in requests a second, for a time.
    pub async fn at_rate(&self, calls: &[Call], rate: f64, time: Duration) -> Result<Run> {
        let sleep = async {
            tokio::time::sleep(time).await;
            Ok(())
        };
        self.at_rate_until(calls, rate, sleep).await
    }

    /// Sends requests at a rate until a future is done.
    pub async fn at_rate_until(
        &self,
        calls: &[Call],
        rate: f64,
        done: impl Future<Output = Result<()>>,
    ) -> Result<Run> {
        let run = Rc::new(RefCell::new(Run::new()?));
        let in_flight = LocalSet::new();
        let sending = self.send_at_rate(calls, rate, &run, done);
        let time = in_flight.run_until(sending).await?;
        // Requests that are still in flight count too.
        tokio::time::timeout(DRAIN, in_flight)
            .await
            .context("requests were still in flight 30 s after the last one")?;
        let mut run = run.replace(Run::new()?);
        run.seconds = time.as_secs_f64();
        Ok(run)
    }

    async fn send_at_rate(
        &self,
        calls: &[Call],
        rate: f64,
        run: &Rc<RefCell<Run>>,
        done: impl Future<Output = Result<()>>,
    ) -> Result<Duration> {
        let mut done = pin!(done);
        let began = Instant::now();
        let intended = |number: usize| began + Duration::from_secs_f64(number as f64 / rate);
        let mut late = latency_histogram()?;
        let in_flight = Rc::new(RefCell::new(0usize));
        let mut sent = 0usize;
        loop {
            // The future is polled without waiting for it: sending must not wait for anything.
            let polled = std::future::poll_fn(|context| Poll::Ready(done.as_mut().poll(context)));
            if let Poll::Ready(ended) = polled.await {
                ended?;
                break;
            }
            let mut burst = 0;
            let has_room = || *in_flight.borrow() < MAX_IN_FLIGHT;
            while burst < BURST && intended(sent) <= Instant::now() && has_room() {
                let call = calls[sent % calls.len()];
                let request = self.requests.get(call, sent);
                let (run, in_flight) = (run.clone(), in_flight.clone());
                let (channel, due) = (self.channel(sent), intended(sent));
                late.saturating_record(due.elapsed().as_nanos() as u64);
                *in_flight.borrow_mut() += 1;
                tokio::task::spawn_local(async move {
                    let answer = send(channel, call, request).await;
                    *in_flight.borrow_mut() -= 1;
                    run.borrow_mut().note(call, answer, due.elapsed());
                });
                sent += 1;
                burst += 1;
            }
            tokio::task::yield_now().await;
        }
        run.borrow_mut().late_p99 = Duration::from_nanos(late.value_at_quantile(0.99));
        Ok(began.elapsed())
    }

    /// Moves the alias `stable` to the given versions in turn.
    pub async fn swap(&self, versions: &[&String], swaps: usize) -> Result<()> {
        let mut models = ModelServiceClient::new(self.admin.clone());
        for at in 0..swaps {
            let version = versions[at % versions.len()].clone();
            let alias = "stable".into();
            let request = SetAliasRequest {
                alias,
                version,
                ..Default::default()
            };
            models
                .set_alias(request)
                .await
                .with_context(|| format!("swap {at}"))?;
        }
        Ok(())
    }

    /// Starts health checks on a connection that no measured request uses.
    pub fn check_health(&self) -> HealthChecks {
        let channel = self.admin.clone();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let slowest = tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            let mut every = tokio::time::interval(Duration::from_millis(10));
            while stopped.try_recv().is_err() {
                every.tick().await;
                let began = Instant::now();
                let answer = send(channel.clone(), Call::Empty, Bytes::new()).await;
                let took = if answer.is_ok() {
                    began.elapsed()
                } else {
                    FAILED_CHECK
                };
                slowest = slowest.max(took);
            }
            slowest
        });
        HealthChecks { stop, slowest }
    }
}

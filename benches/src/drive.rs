//! Sends requests and notes what became of them.

use crate::calls::{Call, Questions};
use aisle_proto::RecommendResponse;
use aisle_proto::SetAliasRequest;
use aisle_proto::model_service_client::ModelServiceClient;
use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// One answer in so many is decoded and looked at.
const LOOK: usize = 16;
/// Requests under way at once when the server is pressed.
const PRESSURE: usize = 64;
/// Requests under way at once beyond which the generator stops sending: then it is the generator that is slow, and the run says so.
const MOST: usize = 20_000;

/// Bytes as they are: encoding and decoding are not what is measured.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// It was refused with RESOURCE_EXHAUSTED.
    Refused,
    /// Anything else.
    Failed,
}

/// What became of many.
#[derive(Default)]
pub struct Run {
    latencies: [Vec<Duration>; 3],
    /// Seconds that requests were sent.
    pub seconds: f64,
    /// How late the generator itself was, the median and the 99th percentile.
    pub late: [Duration; 2],
    /// The first failure.
    pub failure: Option<String>,
    /// Answers looked at, by the version they name.
    pub versions: BTreeMap<String, usize>,
    asked: usize,
}

impl Run {
    /// How many requests had an outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.latencies[outcome as usize].len()
    }

    /// How many a second had it.
    pub fn per_second(&self, outcome: Outcome) -> f64 {
        self.count(outcome) as f64 / self.seconds
    }

    /// A quantile of the latency, in microseconds; 0 where nothing was measured.
    pub fn latency(&self, outcome: Outcome, share: f64) -> f64 {
        let all = &self.latencies[outcome as usize];
        let at = ((all.len() as f64 * share) as usize).min(all.len().saturating_sub(1));
        all.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }

    fn note(&mut self, call: Call, answer: Result<Bytes, Status>, latency: Duration) {
        self.asked += 1;
        let outcome = match answer {
            Ok(bytes) if call == Call::Empty || !self.asked.is_multiple_of(LOOK) => {
                if call != Call::Empty && bytes.is_empty() {
                    Outcome::Failed
                } else {
                    Outcome::Answered
                }
            }
            Ok(bytes) => match look(call, bytes) {
                Ok(version) => {
                    *self.versions.entry(version).or_default() += 1;
                    Outcome::Answered
                }
                Err(what) => {
                    self.failure.get_or_insert(what);
                    Outcome::Failed
                }
            },
            Err(status) if status.code() == Code::ResourceExhausted => Outcome::Refused,
            Err(status) => {
                self.failure.get_or_insert(format!("{status}"));
                Outcome::Failed
            }
        };
        self.latencies[outcome as usize].push(latency);
    }

    fn finish(mut self, time: Duration) -> Self {
        self.seconds = time.as_secs_f64();
        self.latencies.iter_mut().for_each(|all| all.sort_unstable());
        self
    }
}

/// Whether an answer is what was asked for: 20 items, or for an upsell at most so many, each once. Returns its version.
fn look(call: Call, bytes: Bytes) -> Result<String, String> {
    let answer = RecommendResponse::decode(bytes).map_err(|error| format!("an answer does not decode: {error}"))?;
    let serving = answer.serving.ok_or("an answer names no version")?;
    let expected = crate::calls::K.min(serving.eligible_count) as usize;
    if answer.items.len() != expected {
        return Err(format!("{}: {} items, expected {expected}", call.name(), answer.items.len()));
    }
    let mut ids: Vec<&str> = answer.items.iter().map(|item| item.item_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != expected {
        return Err(format!("{}: an item twice", call.name()));
    }
    Ok(serving.model_version)
}

/// Connections to a server, and what to ask it.
pub struct Driver {
    channels: Vec<Channel>,
    /// A connection that nothing else uses.
    aside: Channel,
    questions: Questions,
}

/// The slowest of health checks every 10 ms.
pub struct HealthWatch {
    stop: tokio::sync::oneshot::Sender<()>,
    worst: tokio::task::JoinHandle<Duration>,
}

impl HealthWatch {
    /// Stops, and tells the slowest; a check that fails counts as an hour.
    pub async fn stop(self) -> Duration {
        let _ = self.stop.send(());
        self.worst.await.unwrap_or(Duration::from_secs(3600))
    }
}

async fn ask(channel: Channel, call: Call, question: Bytes) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(grpc.unary(Request::new(question), call.path(), Raw).await?.into_inner())
}

impl Driver {
    /// Opens the connections.
    pub async fn connect(target: SocketAddr, connections: usize, questions: Questions) -> Result<Self> {
        let connect = async || {
            let endpoint = Endpoint::from_shared(format!("http://{target}"))?.tcp_nodelay(true);
            endpoint.connect().await.with_context(|| format!("nothing answers on {target}"))
        };
        let mut channels = Vec::new();
        for _ in 0..connections.max(1) {
            channels.push(connect().await?);
        }
        Ok(Self { channels, aside: connect().await?, questions })
    }

    fn channel(&self, at: usize) -> Channel {
        self.channels[at % self.channels.len()].clone()
    }

    /// As many requests as the server answers: the next one leaves when one comes back, or where it was refused, when the server said.
    pub async fn press(&self, calls: &[Call], time: Duration) -> Result<Run> {
        let run = Rc::new(RefCell::new(Run::default()));
        let began = Instant::now();
        let local = LocalSet::new();
        for lane in 0..PRESSURE {
            let (run, channel) = (run.clone(), self.channel(lane));
            let asked: Vec<(Call, Bytes)> = (0..500)
                .map(|at| (calls[(lane + at) % calls.len()], lane + at * PRESSURE))
                .map(|(call, at)| (call, self.questions.get(call, at)))
                .collect();
            local.spawn_local(async move {
                for (call, question) in asked.into_iter().cycle() {
                    let sent = Instant::now();
                    if sent - began > time {
                        break;
                    }
                    let answer = ask(channel.clone(), call, question).await;
                    let later = answer.as_ref().err().and_then(|status| status.get_details_retry_info()?.retry_delay);
                    run.borrow_mut().note(call, answer, sent.elapsed());
                    if let Some(later) = later {
                        tokio::time::sleep(later).await;
                    }
                }
            });
        }
        local.await;
        Ok(run.take().finish(began.elapsed()))
    }

    /// Requests at a rate, for a time.
    pub async fn open(&self, calls: &[Call], rate: f64, time: Duration) -> Result<Run> {
        self.open_until(calls, rate, async {
            tokio::time::sleep(time).await;
            Ok(())
        })
        .await
    }

    /// Requests at a rate, until something is done.
    pub async fn open_until(&self, calls: &[Call], rate: f64, done: impl Future<Output = Result<()>>) -> Result<Run> {
        let run = Rc::new(RefCell::new(Run::default()));
        let local = LocalSet::new();
        let sending = local.run_until(async {
            let mut done = pin!(done);
            let (began, mut sent) = (Instant::now(), 0usize);
            let mut late = Vec::new();
            let waiting = Rc::new(RefCell::new(0usize));
            loop {
                // Looked at without waiting: sending must not wait for anything.
                if let std::task::Poll::Ready(ended) = futures_poll(&mut done).await {
                    ended?;
                    break;
                }
                while began + Duration::from_secs_f64(sent as f64 / rate) <= Instant::now() && *waiting.borrow() < MOST {
                    let intended = began + Duration::from_secs_f64(sent as f64 / rate);
                    let call = calls[sent % calls.len()];
                    let (run, waiting, channel, question) =
                        (run.clone(), waiting.clone(), self.channel(sent), self.questions.get(call, sent));
                    *waiting.borrow_mut() += 1;
                    late.push(intended.elapsed());
                    tokio::task::spawn_local(async move {
                        let answer = ask(channel, call, question).await;
                        *waiting.borrow_mut() -= 1;
                        run.borrow_mut().note(call, answer, intended.elapsed());
                    });
                    sent += 1;
                    // Answers are read between any two requests.
                    if sent.is_multiple_of(8) {
                        break;
                    }
                }
                tokio::task::yield_now().await;
            }
            late.sort_unstable();
            let at = |share: f64| late.get((late.len() as f64 * share) as usize).copied().unwrap_or_default();
            run.borrow_mut().late = [at(0.5), at(0.99)];
            anyhow::Ok(began.elapsed())
        });
        let time = sending.await?;
        // What is still under way counts too.
        tokio::time::timeout(Duration::from_secs(30), local)
            .await
            .context("requests were still under way 30 s after the last one")?;
        Ok(run.take().finish(time))
    }

    /// Moves the alias `stable` to the versions in turn.
    pub async fn swap(&self, versions: &[&String], swaps: usize) -> Result<()> {
        let mut models = ModelServiceClient::new(self.aside.clone());
        for at in 0..swaps {
            let request =
                SetAliasRequest { alias: "stable".into(), version: versions[at % versions.len()].clone(), ..Default::default() };
            models.set_alias(request).await.with_context(|| format!("swap {at}"))?;
        }
        Ok(())
    }

    /// Asks for the health on a connection of its own.
    pub fn watch_health(&self) -> HealthWatch {
        let channel = self.aside.clone();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let worst = tokio::spawn(async move {
            let mut worst = Duration::ZERO;
            let mut every = tokio::time::interval(Duration::from_millis(10));
            while stopped.try_recv().is_err() {
                every.tick().await;
                let began = Instant::now();
                let healthy = ask(channel.clone(), Call::Empty, Bytes::new()).await.is_ok();
                worst = worst.max(if healthy { began.elapsed() } else { Duration::from_secs(3600) });
            }
            worst
        });
        HealthWatch { stop, worst }
    }
}

/// Polls a future once.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|context| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context))).await
}

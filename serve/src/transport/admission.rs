//! What every request passes before its body is read: its deadline, and a free slot.
//!
//! The time that a client allows is kept to the millisecond, and DEADLINE_EXCEEDED is answered when
//! it is over; a deadline that cannot be read is INVALID_ARGUMENT. A request for recommendations
//! gets a slot or is refused at once, before its body is decoded. There are as many slots as the
//! threads answer in [`MAX_BURST_WAIT`], by the time that answers took recently (Little's law), and
//! no request is admitted whose deadline would pass while it waits. A queue that lasts is no burst:
//! after it was longer than [`MAX_QUEUE_WAIT`] for [`MAX_BURST`], there are only as many slots as
//! are answered in that time, until the queue was shorter (after Maurer, "Fail at Scale", ACM Queue
//! 2015, and Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012).

use crate::error::ServeError;
use crate::telemetry::code_label;
use crate::transport::deadline::grpc_timeout;
use bytes::Buf;
use http::{HeaderMap, Request, Response};
use http_body::Body as HttpBody;
use metrics::{counter, gauge};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

/// The longest time that a request should wait for a thread where more requests come than the
/// threads can answer.
const MAX_QUEUE_WAIT: Duration = Duration::from_millis(5);
/// The longest time that a request waits for a thread during a burst.
const MAX_BURST_WAIT: Duration = Duration::from_millis(20);
/// How long a burst may last.
const MAX_BURST: Duration = Duration::from_millis(100);
/// The time of a thread that a request takes beside its answer: to be read, decoded, encoded and
/// written.
const TRANSPORT_COST: Duration = Duration::from_micros(40);
/// How much time of a thread one refusal may take. If more refusals come than fit, they wait, and
/// with them the streams of their connections: beyond some point it is better to slow a client down
/// than to refuse it, because each refusal costs a fifth of an answer.
const REFUSAL_COST: Duration = Duration::from_micros(50);
/// How many refusals may come at once without waiting.
const REFUSAL_BURST: u32 = 400;
/// How long the rest of a refused request may take to arrive.
const MAX_BODY_WAIT: Duration = Duration::from_secs(1);
/// How many bytes of the rest of a refused request are read.
const MAX_REFUSED_BODY: usize = 64 << 10;
/// The deadline of an administrative call that names none: it may verify a large version.
const ADMINISTRATION_DEADLINE: Duration = Duration::from_secs(300);
/// The longest time that one answer counts with in the average, in nanoseconds.
const MAX_ANSWER_NANOS: u64 = 1_000_000_000;
/// How many answers the average is over.
const AVERAGED_ANSWERS: u64 = 32;

/// Which calls need a slot, and how many slots there may be.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionConfig {
    /// How many threads make answers.
    pub threads: usize,
    /// The most slots at any time.
    pub max_requests: usize,
    /// The deadline of a call that needs a slot and names no deadline.
    pub default_deadline: Duration,
    /// The start of the paths of calls that need a slot; the name of the call follows.
    pub slot_path: &'static str,
    /// The names of the calls that need a slot, as metrics show them.
    pub slot_calls: &'static [&'static str],
    /// The start of the paths of all calls that have a deadline if they name none. Others, which
    /// are health's and reflection's, may be streams without an end.
    pub deadline_path: &'static str,
}

/// Counts the requests in slots, and measures how long their answers take.
pub struct Admission {
    config: AdmissionConfig,
    /// Requests that have a slot.
    in_flight: AtomicUsize,
    /// How long making an answer takes, in nanoseconds: a moving average.
    answer_nanos: AtomicU64,
    /// Microseconds from `started` to the last time that the queue was shorter than half of
    /// [`MAX_QUEUE_WAIT`].
    short_queue_micros: AtomicU64,
    /// Nanoseconds from `started` to the time at which the refusals so far are paid for.
    refusals_paid_nanos: AtomicU64,
    started: Instant,
}

/// The permit of a request that was admitted. Its slot is free when the last clone is dropped.
#[derive(Clone)]
pub struct Permit {
    /// When the client stops waiting.
    deadline: Instant,
    slot: Arc<Slot>,
}

struct Slot(Arc<Admission>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Permit {
    /// Adds to the average how long making this request's answer took.
    pub fn record_answer_time(&self, took: Duration) {
        let average = &self.slot.0.answer_nanos;
        let before = average.load(Ordering::Relaxed);
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Of two answers that end together one may be lost, which an average can bear.
        let now =
            before - before / AVERAGED_ANSWERS + took.min(MAX_ANSWER_NANOS) / AVERAGED_ANSWERS;
        average.store(now, Ordering::Relaxed);
    }

    /// Whether more requests have a slot than there are threads.
    pub fn is_crowded(&self) -> bool {
        self.slot.0.is_crowded()
    }

    /// Whether too little time is left for an answer of the usual cost.
    pub fn is_short_of_time(&self) -> bool {
        self.deadline.saturating_duration_since(Instant::now()) < 2 * self.slot.0.request_cost()
    }
}

/// The deadline of a request: how much time it was given, and when that ends.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    allowed: Duration,
    at: Instant,
}

impl Admission {
    /// Starts with no requests, and answers that take a tenth of a millisecond.
    pub fn new(config: AdmissionConfig) -> Self {
        Self {
            config: AdmissionConfig {
                threads: config.threads.max(1),
                max_requests: config.max_requests.max(1),
                ..config
            },
            in_flight: AtomicUsize::new(0),
            answer_nanos: AtomicU64::new(100_000),
            short_queue_micros: AtomicU64::new(0),
            refusals_paid_nanos: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    /// Whether more requests have a slot than there are threads.
    pub fn is_crowded(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > self.config.threads
    }

    /// The time of a thread that a request takes.
    fn request_cost(&self) -> Duration {
        TRANSPORT_COST + Duration::from_nanos(self.answer_nanos.load(Ordering::Relaxed))
    }

    /// How many requests the threads answer in a time.
    fn capacity(&self, time: Duration) -> usize {
        let threads = self.config.threads;
        let capacity = threads as u128 * time.as_nanos() / self.request_cost().as_nanos();
        usize::try_from(capacity)
            .unwrap_or(usize::MAX)
            .max(2 * threads)
            .min(self.config.max_requests)
    }

    /// How many slots there are now, where `in_flight` are taken.
    fn limit(&self, in_flight: usize, now: Instant) -> usize {
        let queue_limit = self.capacity(MAX_QUEUE_WAIT);
        let elapsed = now.saturating_duration_since(self.started);
        // Half of it, because where the queue is cut it is always about to be short enough.
        if 2 * in_flight < queue_limit {
            let micros = elapsed.as_micros() as u64;
            self.short_queue_micros.store(micros, Ordering::Relaxed);
        }
        let short_at = Duration::from_micros(self.short_queue_micros.load(Ordering::Relaxed));
        if elapsed.saturating_sub(short_at) > MAX_BURST {
            queue_limit
        } else {
            self.capacity(MAX_BURST_WAIT)
        }
    }

    /// How long a refusal has to wait: not at all while refusals are few, otherwise for its turn (a
    /// generic cell rate algorithm).
    fn refusal_wait(&self, now: Instant) -> Duration {
        let cost = REFUSAL_COST / u32::try_from(self.config.threads).unwrap_or(1);
        let now = now.saturating_duration_since(self.started).as_nanos() as u64;
        let paid = |before: u64| before.max(now) + cost.as_nanos() as u64;
        let before = self
            .refusals_paid_nanos
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
                Some(paid(before))
            })
            .unwrap_or(now);
        Duration::from_nanos(paid(before) - now).saturating_sub(cost * REFUSAL_BURST)
    }

    /// Takes a slot for a request, or says why there is none.
    fn admit(self: &Arc<Self>, deadline: Instant, now: Instant) -> Result<Permit, ServeError> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let limit = self.limit(before, now);
        let slot = Arc::new(Slot(self.clone()));
        if before >= limit {
            return Err(ServeError::Overloaded { limit });
        }
        let rounds = u32::try_from(before / self.config.threads).unwrap_or(u32::MAX);
        let wait = self.request_cost() * rounds;
        let left = deadline.saturating_duration_since(now);
        if left < wait {
            return Err(ServeError::TooLate { left, wait });
        }
        Ok(Permit { deadline, slot })
    }

    /// Passes a request to a service, or refuses it. Its slot is taken before this returns, so
    /// requests that wait for their turn are counted.
    pub fn serve<S, B>(
        self: &Arc<Self>,
        mut service: S,
        mut request: Request<B>,
    ) -> impl Future<Output = Response<Body>> + use<S, B>
    where
        S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
        B: HttpBody,
    {
        let now = Instant::now();
        let call = self.slot_call(request.uri().path());
        let admitted = self
            .deadline(request.uri().path(), request.headers(), now)
            .and_then(|deadline| {
                let permit = match (deadline, call) {
                    (Some(deadline), Some(_)) => Some(self.admit(deadline.at, now)?),
                    _ => None,
                };
                Ok((deadline, permit))
            });
        let refusal_wait = match &admitted {
            Err(ServeError::Overloaded { .. } | ServeError::TooLate { .. }) => {
                self.refusal_wait(now)
            }
            _ => Duration::ZERO,
        };
        async move {
            let (deadline, permit) = match admitted {
                Ok(admitted) => admitted,
                Err(error) => {
                    read_rest(request.into_body()).await;
                    if !refusal_wait.is_zero() {
                        tokio::time::sleep(refusal_wait).await;
                    }
                    return refuse(error, call);
                }
            };
            if let Some(permit) = permit {
                request.extensions_mut().insert(permit);
            }
            let response = service.call(request);
            let Some(Deadline { allowed, at }) = deadline else {
                let Ok(response) = response.await;
                return response;
            };
            match tokio::time::timeout_at(at.into(), response).await {
                Ok(Ok(response)) => response,
                Err(_) => refuse(ServeError::DeadlineExceeded { allowed }, call),
            }
        }
    }

    /// The name of a call that needs a slot as a label; `None` for other calls. A name that a
    /// client made up is "unknown", so that no client creates labels.
    fn slot_call(&self, path: &str) -> Option<&'static str> {
        let name = path.strip_prefix(self.config.slot_path)?;
        let known = self.config.slot_calls.iter().find(|call| **call == name);
        Some(known.copied().unwrap_or("unknown"))
    }

    /// The deadline of a request; `None` if it may last for ever.
    fn deadline(
        &self,
        path: &str,
        headers: &HeaderMap,
        now: Instant,
    ) -> Result<Option<Deadline>, ServeError> {
        let requested = grpc_timeout(headers).map_err(|found| ServeError::Invalid {
            field: "grpc-timeout",
            what: format!(
                "{found:?}: expected up to 8 digits and one of H, M, S, m, u, n, for example 50m"
            ),
        })?;
        let default = if path.starts_with(self.config.slot_path) {
            Some(self.config.default_deadline)
        } else if path.starts_with(self.config.deadline_path) {
            Some(ADMINISTRATION_DEADLINE)
        } else {
            None
        };
        match requested.or(default) {
            Some(allowed) if allowed.is_zero() => Err(ServeError::DeadlineExceeded { allowed }),
            allowed => Ok(allowed.and_then(|allowed| {
                let at = now.checked_add(allowed)?;
                Some(Deadline { allowed, at })
            })),
        }
    }

    /// Publishes how many slots there are and how many are taken as metrics.
    pub fn publish_metrics(&self) {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        gauge!("aisle_admission_limit").set(self.limit(in_flight, Instant::now()) as f64);
        gauge!("aisle_requests_in_flight").set(in_flight as f64);
    }
}

/// The response of a refusal, which is counted if the call needs a slot.
fn refuse(error: ServeError, call: Option<&'static str>) -> Response<Body> {
    let status = Status::from(error);
    if let Some(call) = call {
        let code = code_label(status.code());
        counter!("aisle_requests_total", "rpc" => call, "code" => code).increment(1);
    }
    status.into_http()
}

/// Reads and forgets the rest of a request that is refused. If it were answered before its end, its
/// stream would be reset, and HTTP/2 ends a connection on which that happens often.
async fn read_rest<B: HttpBody>(body: B) {
    let mut body = pin!(body);
    let mut left = MAX_REFUSED_BODY;
    let rest = async {
        while let Some(Ok(frame)) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
            left -= frame
                .data_ref()
                .map_or(0, |data| data.remaining().min(left));
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(MAX_BODY_WAIT, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_admission(threads: usize, max_requests: usize) -> Arc<Admission> {
        Arc::new(Admission::new(AdmissionConfig {
            threads,
            max_requests,
            default_deadline: Duration::from_secs(1),
            slot_path: "/aisle.v1.RecommendationService/",
            slot_calls: &[],
            deadline_path: "/aisle.v1.",
        }))
    }

    #[test]
    fn slow_answers_make_room_for_fewer() {
        let admission = new_admission(2, 200);
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let permit = admission.admit(later, now).unwrap();
        assert_eq!(admission.capacity(MAX_QUEUE_WAIT), 71);
        (0..500).for_each(|_| permit.record_answer_time(Duration::from_micros(1)));
        assert_eq!(admission.capacity(MAX_QUEUE_WAIT), 200, "max_requests");
        (0..500).for_each(|_| permit.record_answer_time(Duration::from_micros(960)));
        assert!(
            (10..=11).contains(&admission.capacity(MAX_QUEUE_WAIT)),
            "{}",
            admission.capacity(MAX_QUEUE_WAIT)
        );
        let in_flight: Vec<Permit> =
            std::iter::from_fn(|| admission.admit(later, now).ok()).collect();
        assert!((38..=42).contains(&in_flight.len()), "{}", in_flight.len());
        assert!(matches!(
            admission.admit(later, now),
            Err(ServeError::Overloaded { .. })
        ));
        drop(in_flight);
        drop(permit);
        assert_eq!(admission.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_burst_is_let_in_and_a_queue_that_stays_is_cut() {
        let admission = new_admission(1, 1000);
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let (short, long) = (
            admission.capacity(MAX_QUEUE_WAIT),
            admission.capacity(MAX_BURST_WAIT),
        );
        let admit = |after: u64| {
            admission.admit(
                start + Duration::from_millis(after) + second,
                start + Duration::from_millis(after),
            )
        };
        let mut in_flight: Vec<Permit> = std::iter::from_fn(|| admit(0).ok()).collect();
        assert_eq!(in_flight.len(), long);
        in_flight.truncate(short + 5);
        assert!(admit(90).is_ok(), "a burst may last a while");
        assert!(matches!(admit(150), Err(ServeError::Overloaded { limit }) if limit == short));
        in_flight.truncate(short / 2 - 1);
        in_flight.push(admit(160).unwrap());
        in_flight.push(admit(170).unwrap());
        in_flight.extend(std::iter::from_fn(|| admit(180).ok()));
        assert_eq!(
            in_flight.len(),
            long,
            "the queue was short, so the next burst is admitted"
        );
    }

    #[test]
    fn refusals_beyond_what_a_thread_should_spend_on_them_wait() {
        let admission = new_admission(2, 1000);
        let now = Instant::now();
        let waits: Vec<Duration> = (0..1000).map(|_| admission.refusal_wait(now)).collect();
        assert!(waits[..100].iter().all(Duration::is_zero));
        assert_eq!(
            waits[999] - waits[899],
            50 * REFUSAL_COST,
            "two threads pay for two at a time"
        );
        assert!(
            admission
                .refusal_wait(now + Duration::from_secs(1))
                .is_zero(),
            "paid by then"
        );
    }

    #[test]
    fn a_deadline_that_would_pass_in_the_queue_is_refused() {
        let admission = new_admission(1, 400);
        let now = Instant::now();
        let first: Vec<Permit> = (0..20)
            .map(|_| admission.admit(now + Duration::from_secs(1), now).unwrap())
            .collect();
        let refused = admission.admit(now + Duration::from_micros(500), now);
        assert!(matches!(refused, Err(ServeError::TooLate { .. })));
        assert!(
            admission
                .admit(now + Duration::from_millis(10), now)
                .is_ok()
        );
        drop(first);
    }
}

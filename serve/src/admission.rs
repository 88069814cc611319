//! What every request passes before it is read: its deadline, and room for it.
//!
//! The time that a client allows is honoured to the millisecond, and told as DEADLINE_EXCEEDED; a deadline that cannot be read is
//! INVALID_ARGUMENT. A request for recommendations takes a place or is refused at once, before its body is decoded: as many are let in as
//! the threads finish in [`BURST`], by the time that answers took lately (Little's law), and none whose deadline would pass while it waits.
//! A queue that stays is no burst: once it was longer than [`QUEUE`] for [`PATIENCE`], that is the limit until it was shorter (after
//! Maurer, "Fail at Scale", ACM Queue 2015, and Nichols and Jacobson's CoDel, 2012).

use crate::error::ServeError;
use crate::status::code_name;
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

/// The longest that a request should wait for a thread while there is more than the threads can do.
const QUEUE: Duration = Duration::from_millis(5);
/// The longest that it waits for the end of a burst.
const BURST: Duration = Duration::from_millis(20);
/// How long a burst may last.
const PATIENCE: Duration = Duration::from_millis(100);
/// What a request takes beside its answer: to be read, decoded, encoded and written.
const TRANSPORT: Duration = Duration::from_micros(40);
/// Of a thread's time, what refusing may take: this long for each refusal. Where more come, they wait, and with them the streams of their
/// connections: beyond some point a client is better slowed down than refused, for each refusal costs a fifth of an answer.
const REFUSAL: Duration = Duration::from_micros(50);
/// How many refusals may come at once all the same.
const REFUSALS: u32 = 400;
/// How long the rest of a refused request may take.
const REST: Duration = Duration::from_secs(1);
/// The calls that take a place.
pub const RECOMMENDATIONS: &str = "/aisle.v1.RecommendationService/";
/// A call to `ModelService` without a deadline: verifying a large version takes a while.
const MODEL_CALL: Duration = Duration::from_secs(300);

/// How many requests are inside, and how long their answers take.
pub struct Admission {
    inside: AtomicUsize,
    /// Nanoseconds of work an answer takes: a moving average.
    work: AtomicU64,
    /// Microseconds from `opened` to the last time that the queue was shorter than half of [`QUEUE`].
    short: AtomicU64,
    /// Nanoseconds from `opened` to when the refusals so far are paid for.
    refused: AtomicU64,
    opened: Instant,
    threads: usize,
    ceiling: usize,
    default_deadline: Duration,
}

/// A request that was let in. Its place is free again when the last copy is dropped.
#[derive(Clone)]
pub struct Entry {
    /// When its client stops waiting.
    pub deadline: Instant,
    place: Arc<Place>,
}

struct Place(Arc<Admission>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Entry {
    /// Tells how long the work for an answer took.
    pub fn worked(&self, took: Duration) {
        let work = &self.place.0.work;
        let before = work.load(Ordering::Relaxed);
        // Two answers at once may lose one of the two: it is an average.
        let now = before - before / 32 + u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).min(1_000_000_000) / 32;
        work.store(now, Ordering::Relaxed);
    }

    /// Whether more requests are inside than there are threads.
    pub fn is_crowded(&self) -> bool {
        self.place.0.is_crowded()
    }

    /// Whether too little time is left for an answer of the usual cost.
    pub fn is_hurried(&self) -> bool {
        self.deadline.saturating_duration_since(Instant::now()) < 2 * self.place.0.cost()
    }
}

impl Admission {
    /// For so many threads; never more than `ceiling` requests inside, and `default_deadline` for those that name none.
    pub fn new(threads: usize, ceiling: usize, default_deadline: Duration) -> Self {
        let work = AtomicU64::new(100_000);
        Self {
            inside: AtomicUsize::new(0),
            work,
            short: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            opened: Instant::now(),
            threads: threads.max(1),
            ceiling: ceiling.max(1),
            default_deadline,
        }
    }

    /// Whether more requests are inside than there are threads.
    pub fn is_crowded(&self) -> bool {
        self.inside.load(Ordering::Relaxed) > self.threads
    }

    /// What a request takes of a thread.
    fn cost(&self) -> Duration {
        TRANSPORT + Duration::from_nanos(self.work.load(Ordering::Relaxed))
    }

    /// How many requests are answered in a time.
    fn fit(&self, time: Duration) -> usize {
        let fit = self.threads as u128 * time.as_nanos() / self.cost().as_nanos();
        usize::try_from(fit).unwrap_or(usize::MAX).max(2 * self.threads).min(self.ceiling)
    }

    /// How many requests may be inside now, where so many are.
    fn limit(&self, inside: usize, now: Instant) -> usize {
        let short = self.fit(QUEUE);
        let since = now.saturating_duration_since(self.opened);
        // Half, for where it is cut the queue is always about to be short enough.
        if 2 * inside < short {
            self.short.store(since.as_micros() as u64, Ordering::Relaxed);
        }
        let stays = since.saturating_sub(Duration::from_micros(self.short.load(Ordering::Relaxed))) > PATIENCE;
        if stays { short } else { self.fit(BURST) }
    }

    /// How long a refusal waits: none while they are few, else its turn (a generic cell rate algorithm).
    fn refusal(&self, now: Instant) -> Duration {
        let cost = REFUSAL / u32::try_from(self.threads).unwrap_or(1);
        let now = now.saturating_duration_since(self.opened).as_nanos() as u64;
        let paid = |before: u64| before.max(now) + cost.as_nanos() as u64;
        let before = self.refused.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| Some(paid(before))).unwrap_or(now);
        Duration::from_nanos(paid(before) - now).saturating_sub(cost * REFUSALS)
    }

    /// A place for a request, or why there is none.
    fn enter(self: &Arc<Self>, deadline: Instant, now: Instant) -> Result<Entry, ServeError> {
        let before = self.inside.fetch_add(1, Ordering::Relaxed);
        let limit = self.limit(before, now);
        let place = Arc::new(Place(self.clone()));
        if before >= limit {
            return Err(ServeError::Overloaded { limit });
        }
        let wait = self.cost() * u32::try_from(before / self.threads).unwrap_or(u32::MAX);
        let left = deadline.saturating_duration_since(now);
        if left < wait {
            return Err(ServeError::TooLate { left, wait });
        }
        Ok(Entry { deadline, place })
    }

    /// Takes a request through to the services. Its place is taken before this returns: requests that wait their turn are counted.
    pub fn pass<S, B>(
        self: &Arc<Self>,
        mut services: S,
        mut request: Request<B>,
    ) -> impl Future<Output = Response<Body>> + use<S, B>
    where
        S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
        B: HttpBody,
    {
        let now = Instant::now();
        let rpc = request.uri().path().strip_prefix(RECOMMENDATIONS).map(known_rpc);
        let admitted = self.deadline(request.uri().path(), request.headers(), now).and_then(|deadline| {
            let entry = match (deadline, rpc) {
                (Some((_, deadline)), Some(_)) => Some(self.enter(deadline, now)?),
                _ => None,
            };
            Ok((deadline, entry))
        });
        let wait = match &admitted {
            Err(ServeError::Overloaded { .. } | ServeError::TooLate { .. }) => self.refusal(now),
            _ => Duration::ZERO,
        };
        let refuse = move |error: ServeError| {
            let status = Status::from(error);
            if let Some(rpc) = rpc {
                counter!("aisle_requests_total", "rpc" => rpc, "code" => code_name(status.code())).increment(1);
            }
            status.into_http()
        };
        async move {
            let (deadline, entry) = match admitted {
                Ok(admitted) => admitted,
                Err(error) => {
                    take_rest(request.into_body()).await;
                    if !wait.is_zero() {
                        tokio::time::sleep(wait).await;
                    }
                    return refuse(error);
                }
            };
            if let Some(entry) = entry {
                request.extensions_mut().insert(entry);
            }
            let answer = services.call(request);
            let Some((allowed, deadline)) = deadline else {
                let Ok(response) = answer.await;
                return response;
            };
            match tokio::time::timeout_at(deadline.into(), answer).await {
                Ok(Ok(response)) => response,
                Err(_) => refuse(ServeError::DeadlineExceeded { allowed }),
            }
        }
    }

    /// What a request is allowed and when that ends; `None` without an end.
    fn deadline(&self, path: &str, headers: &HeaderMap, now: Instant) -> Result<Option<(Duration, Instant)>, ServeError> {
        let asked = grpc_timeout(headers).map_err(|found| {
            let what = format!("{found:?}: expected up to 8 digits and one of H, M, S, m, u, n, for example 50m");
            ServeError::Invalid { field: "grpc-timeout", what }
        })?;
        // Streams, which are health's and reflection's, may last.
        let own = match (path.starts_with(RECOMMENDATIONS), path.starts_with("/aisle.v1.")) {
            (true, _) => Some(self.default_deadline),
            (false, true) => Some(MODEL_CALL),
            (false, false) => None,
        };
        match asked.or(own) {
            Some(allowed) if allowed.is_zero() => Err(ServeError::DeadlineExceeded { allowed }),
            allowed => Ok(allowed.and_then(|allowed| Some((allowed, now.checked_add(allowed)?)))),
        }
    }

    /// Publishes the limit and what is inside.
    pub fn publish(&self) {
        let inside = self.inside.load(Ordering::Relaxed);
        gauge!("aisle_admission_limit").set(self.limit(inside, Instant::now()) as f64);
        gauge!("aisle_requests_inside").set(inside as f64);
    }
}

/// Reads and forgets the body of a request that is refused: answered before its end, it would be reset, and HTTP/2 ends a connection on
/// which that happens often.
async fn take_rest<B: HttpBody>(body: B) {
    let mut body = pin!(body);
    let mut left = 64 << 10;
    let rest = async {
        while let Some(Ok(frame)) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
            left -= frame.data_ref().map_or(0, |data| data.remaining().min(left));
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(REST, rest).await;
}

/// The name of a call as a label: what a client makes up is not one.
fn known_rpc(name: &str) -> &'static str {
    crate::recommendation::CALLS.into_iter().find(|known| *known == name).unwrap_or("unknown")
}

/// The time that a client allows; `Err` with what was found if it cannot be read.
fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, String> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let found = || String::from_utf8_lossy(value.as_bytes()).chars().take(32).collect::<String>();
    let text = value.to_str().map_err(|_| found())?;
    let (Some(unit), digits) = (text.chars().last(), &text[..text.len().saturating_sub(1)]) else { return Err(found()) };
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(found());
    }
    let number: u64 = digits.parse().map_err(|_| found())?;
    Ok(Some(match unit {
        'H' => Duration::from_secs(3600 * number),
        'M' => Duration::from_secs(60 * number),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return Err(found()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_the_protocol_says() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            grpc_timeout(&headers)
        };
        assert_eq!(grpc_timeout(&HeaderMap::new()), Ok(None));
        assert_eq!(read("50m"), Ok(Some(Duration::from_millis(50))));
        assert_eq!(read("0n"), Ok(Some(Duration::ZERO)));
        assert_eq!(read("1u"), Ok(Some(Duration::from_micros(1))));
        assert_eq!(read("99999999H"), Ok(Some(Duration::from_secs(3600 * 99_999_999))));
        for bad in ["", "m", "50", "5 m", "-5m", "+5m", "123456789m", "5.0S", "5s"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn slow_answers_make_room_for_fewer() {
        let admission = Arc::new(Admission::new(2, 200, Duration::from_secs(1)));
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let entry = admission.enter(later, now).unwrap();
        assert_eq!(admission.fit(QUEUE), 71);
        (0..500).for_each(|_| entry.worked(Duration::from_micros(1)));
        assert_eq!(admission.fit(QUEUE), 200, "the ceiling");
        (0..500).for_each(|_| entry.worked(Duration::from_micros(960)));
        assert!((10..=11).contains(&admission.fit(QUEUE)), "{}", admission.fit(QUEUE));
        let inside: Vec<Entry> = std::iter::from_fn(|| admission.enter(later, now).ok()).collect();
        assert!((38..=42).contains(&inside.len()), "{}", inside.len());
        assert!(matches!(admission.enter(later, now), Err(ServeError::Overloaded { .. })));
        drop(inside);
        drop(entry);
        assert_eq!(admission.inside.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_burst_is_let_in_and_a_queue_that_stays_is_cut() {
        let admission = Arc::new(Admission::new(1, 1000, Duration::from_secs(1)));
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let (short, long) = (admission.fit(QUEUE), admission.fit(BURST));
        let enter =
            |after: u64| admission.enter(start + Duration::from_millis(after) + second, start + Duration::from_millis(after));
        let mut inside: Vec<Entry> = std::iter::from_fn(|| enter(0).ok()).collect();
        assert_eq!(inside.len(), long);
        inside.truncate(short + 5);
        assert!(enter(90).is_ok(), "a burst may last a while");
        assert!(matches!(enter(150), Err(ServeError::Overloaded { limit }) if limit == short));
        inside.truncate(short / 2 - 1);
        inside.push(enter(160).unwrap());
        inside.push(enter(170).unwrap());
        inside.extend(std::iter::from_fn(|| enter(180).ok()));
        assert_eq!(inside.len(), long, "the queue was short, so the next burst is welcome");
    }

    #[test]
    fn refusals_beyond_what_a_thread_should_spend_on_them_wait() {
        let admission = Admission::new(2, 1000, Duration::from_secs(1));
        let now = Instant::now();
        let waits: Vec<Duration> = (0..1000).map(|_| admission.refusal(now)).collect();
        assert!(waits[..100].iter().all(Duration::is_zero));
        assert_eq!(waits[999] - waits[899], 50 * REFUSAL, "two threads pay for two at a time");
        assert!(admission.refusal(now + Duration::from_secs(1)).is_zero(), "paid by then");
    }

    #[test]
    fn a_deadline_that_would_pass_in_the_queue_is_refused() {
        let admission = Arc::new(Admission::new(1, 400, Duration::from_secs(1)));
        let now = Instant::now();
        let first: Vec<Entry> = (0..20).map(|_| admission.enter(now + Duration::from_secs(1), now).unwrap()).collect();
        let refused = admission.enter(now + Duration::from_micros(500), now);
        assert!(matches!(refused, Err(ServeError::TooLate { .. })));
        assert!(admission.enter(now + Duration::from_millis(10), now).is_ok());
        drop(first);
    }
}

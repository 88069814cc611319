//! What happens on a connection, and whether it may stay.

use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tonic::body::Body;

/// The limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// How many may be open at once; more are closed as they come.
    pub connections: usize,
    /// How many requests one connection may have at once.
    pub streams: u32,
    /// After so long without a request, a connection is closed gracefully.
    pub idle: Duration,
    /// A connection is cut if it sent no request so long after it opened, or if its client takes
    /// nothing of its responses for so long.
    pub stalled: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            streams: 256,
            idle: Duration::from_secs(300),
            stalled: Duration::from_secs(10),
        }
    }
}

/// What happens on one connection.
pub struct Activity {
    opened: Instant,
    /// How many requests it had so far.
    requests: AtomicUsize,
    /// How many requests are being answered.
    active: AtomicUsize,
    /// How many of these wait for the client to take more of the response.
    blocked: AtomicUsize,
    /// Milliseconds from `opened` to the last thing that happened.
    last_millis: AtomicU64,
}

/// What to do with a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The connection stays.
    Keep,
    /// It was idle too long: its client gets a GOAWAY, and requests in flight end.
    CloseGracefully,
    /// Its client stands still: it is ended at once.
    Cut,
}

impl Activity {
    /// Starts with a connection that just opened.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            requests: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            blocked: AtomicUsize::new(0),
            last_millis: AtomicU64::new(0),
        })
    }

    /// Notes that something happened now.
    fn touch(&self) {
        let millis = self.opened.elapsed().as_millis() as u64;
        self.last_millis.store(millis, Ordering::Relaxed);
    }

    /// How many requests are being answered.
    pub fn active_requests(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Decides whether the connection may stay.
    pub fn verdict(&self, limits: ConnectionLimits) -> Verdict {
        let last = Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
        let quiet = self.opened.elapsed().saturating_sub(last);
        let is_mute = self.requests.load(Ordering::Relaxed) == 0;
        let is_blocked = self.blocked.load(Ordering::Relaxed) > 0;
        if (is_mute || is_blocked) && quiet >= limits.stalled {
            Verdict::Cut
        } else if self.active_requests() == 0 && quiet >= limits.idle {
            Verdict::CloseGracefully
        } else {
            Verdict::Keep
        }
    }
}

/// Counts a request as active until its response is taken.
pub struct ActiveRequest(Arc<Activity>);

impl ActiveRequest {
    /// Counts a request that begins.
    pub fn new(activity: &Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.active.fetch_add(1, Ordering::Relaxed);
        activity.touch();
        Self(activity.clone())
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

/// The body of a response. It shows whether a client has stopped reading or the service has
/// nothing to send yet.
pub struct ObservedBody {
    body: Body,
    /// Whether the client has to take something before more can be sent.
    is_blocked: bool,
    request: ActiveRequest,
}

impl ObservedBody {
    /// Observes the body of the response to a request.
    pub fn new(body: Body, request: ActiveRequest) -> Self {
        let mut this = Self {
            body,
            is_blocked: false,
            request,
        };
        this.set_blocked(true);
        this
    }

    fn set_blocked(&mut self, is_blocked: bool) {
        let blocked = &self.request.0.blocked;
        match (self.is_blocked, is_blocked) {
            (false, true) => _ = blocked.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = blocked.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        self.is_blocked = is_blocked;
    }
}

impl Drop for ObservedBody {
    fn drop(&mut self) {
        self.set_blocked(false);
    }
}

impl HttpBody for ObservedBody {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.request.0.touch();
        self.set_blocked(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

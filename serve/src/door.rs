//! Connections: how many, how long, and when they are cut.

use crate::admission::Admission;
use crate::gather::Gathered;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics::{counter, gauge};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tonic::body::Body;
use tower_service::Service;
use tracing::{debug, warn};

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open at once; more are closed as they come.
    pub connections: usize,
    /// Requests at once on one connection.
    pub streams: u32,
    /// A connection without a request for so long is told to go.
    pub idle: Duration,
    /// One that has not asked anything so long after it opened, or takes nothing of its answers for so long, is cut.
    pub stuck: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, streams: 256, idle: Duration::from_secs(300), stuck: Duration::from_secs(10) }
    }
}

/// Bytes of the headers of a request.
const HEADERS: u32 = 16 << 10;
/// How often a silent peer is asked whether it is there, and how long it may take to answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// What happens on one connection.
struct Traffic {
    opened: Instant,
    /// Requests that came at all.
    seen: AtomicUsize,
    /// Answers under way, and those of them that wait for the client to take more.
    active: AtomicUsize,
    blocked: AtomicUsize,
    /// Milliseconds from `opened` to the last thing that happened.
    last: AtomicU64,
}

/// What to do with a connection.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    TellToGo,
    Cut,
}

impl Traffic {
    fn new() -> Arc<Self> {
        let none = || AtomicUsize::new(0);
        Arc::new(Self { opened: Instant::now(), seen: none(), active: none(), blocked: none(), last: AtomicU64::new(0) })
    }

    fn touch(&self) {
        self.last.store(self.opened.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn judge(&self, limits: Limits) -> Verdict {
        let quiet = self.opened.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)));
        let active = self.active.load(Ordering::Relaxed);
        if (self.seen.load(Ordering::Relaxed) == 0 || self.blocked.load(Ordering::Relaxed) > 0) && quiet >= limits.stuck {
            Verdict::Cut
        } else if active == 0 && quiet >= limits.idle {
            Verdict::TellToGo
        } else {
            Verdict::Keep
        }
    }
}

/// A request on its way, until its answer is taken.
struct Active(Arc<Traffic>);

impl Active {
    fn new(traffic: &Arc<Traffic>) -> Self {
        traffic.seen.fetch_add(1, Ordering::Relaxed);
        traffic.active.fetch_add(1, Ordering::Relaxed);
        traffic.touch();
        Self(traffic.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

/// The body of an answer, watched: a client that does not take it is told from a service that has nothing to say yet.
struct Watched {
    body: Body,
    blocked: bool,
    active: Active,
}

impl Watched {
    fn new(body: Body, active: Active) -> Self {
        let mut this = Self { body, blocked: false, active };
        this.mark(true);
        this
    }

    fn mark(&mut self, blocked: bool) {
        match (self.blocked, blocked) {
            (false, true) => _ = self.active.0.blocked.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.active.0.blocked.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        self.blocked = blocked;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.mark(false);
    }
}

impl HttpBody for Watched {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.active.0.touch();
        self.mark(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What answers requests.
pub trait Services:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Services for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// Accepts connections and serves them until `stop` says so; returns once the last one has ended.
pub async fn serve<S: Services>(
    listener: TcpListener,
    services: S,
    admission: Arc<Admission>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    let mut refused_at: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => break,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or the peer is gone already: others go on.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            counter!("aisle_connections_refused_total").increment(1);
            if refused_at.is_none_or(|at| at.elapsed() > Duration::from_secs(10)) {
                warn!(limit = limits.connections, "connections are refused: as many are open as max_connections allows");
                refused_at = Some(Instant::now());
            }
            continue;
        };
        gauge!("aisle_connections").set((limits.connections - room.available_permits()) as f64);
        open.spawn(connection(stream, services.clone(), (admission.clone(), limits), stop.clone(), place));
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn connection<S: Services>(
    stream: TcpStream,
    services: S,
    (admission, limits): (Arc<Admission>, Limits),
    mut stop: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    // Without it a reply waits up to 40 ms for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection was gone before it began");
        return;
    }
    let traffic = Traffic::new();
    let (watched, crowd) = (traffic.clone(), admission.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let active = Active::new(&watched);
        let passing = admission.pass(services.clone(), request);
        async move { Ok::<Response<Watched>, Infallible>(passing.await.map(|body| Watched::new(body, active))) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(HEADERS)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    let socket = Gathered::new(stream);
    let mut served = pin!(builder.serve_connection(TokioIo::new(socket.clone()), service));
    let mut look = tokio::time::interval(limits.stuck.min(limits.idle) / 4);
    let mut going = false;
    let mut waited = false;
    loop {
        tokio::select! {
            ended = poll_fn(|context| {
                waited = !waited && crowd.is_crowded() && traffic.active.load(Ordering::Relaxed) > 1;
                if waited {
                    // Behind answers that are being made: what they have to say leaves together.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let ended = served.as_mut().poll(context);
                // An error is the connection's to find, at its next read.
                let _ = socket.send(context);
                ended
            }) => {
                if let Err(error) = ended {
                    debug!(%error, "a connection broke");
                }
                return;
            }
            _ = stop.changed(), if !going => {
                going = true;
                served.as_mut().graceful_shutdown();
            }
            _ = look.tick() => match traffic.judge(limits) {
                Verdict::Keep => {}
                Verdict::TellToGo if going => return,
                Verdict::TellToGo => {
                    going = true;
                    served.as_mut().graceful_shutdown();
                }
                Verdict::Cut => {
                    counter!("aisle_connections_cut_total").increment(1);
                    debug!("a connection was cut: it asked nothing, or took nothing of its answers");
                    return;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use hyper::body::Bytes;
    use hyper::client::conn::http2 as client;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;
    use tonic::service::Routes;

    const SOON: Duration = Duration::from_secs(5);

    /// A server with the health service alone.
    async fn start(limits: Limits) -> (SocketAddr, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_, health) = tonic_health::server::health_reporter();
        let (stop, stopped) = watch::channel(false);
        let admission = Arc::new(Admission::new(1, 10, Duration::from_secs(1)));
        let serving = tokio::spawn(serve(listener, Routes::new(health).prepare(), admission, limits, stopped));
        (address, stop, serving)
    }

    fn short() -> Limits {
        Limits { idle: Duration::from_millis(400), stuck: Duration::from_millis(200), ..Limits::default() }
    }

    /// A health check as raw HTTP/2, by a client that takes so many bytes of each answer.
    async fn check(
        address: SocketAddr,
        window: u32,
    ) -> (Result<String, hyper::Error>, tokio::task::JoinHandle<Result<(), hyper::Error>>) {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut builder = client::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).initial_stream_window_size(window);
        let (mut send, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::post("http://shop/grpc.health.v1.Health/Check")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from_static(&[0; 5])))
            .unwrap();
        let answer = async {
            let body = send.send_request(request).await?.into_body().collect().await?;
            let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
            Ok(status.map(|status| status.to_str().unwrap().to_string()).unwrap_or_default())
        };
        let answer = timeout(SOON, answer).await.expect("neither an answer nor the end of the connection");
        // The sender goes, and the connection stays with its task.
        std::mem::forget(send);
        (answer, connection)
    }

    #[tokio::test]
    async fn a_connection_that_asks_nothing_is_cut() {
        let (address, _stop, _serving) = start(short()).await;
        for hello in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(hello).await.unwrap();
            let mut rest = Vec::new();
            timeout(SOON, stream.read_to_end(&mut rest)).await.expect("the connection was kept").ok();
        }
    }

    #[tokio::test]
    async fn an_idle_connection_is_told_to_go_after_its_answer() {
        let (address, _stop, _serving) = start(short()).await;
        let (answer, connection) = check(address, 65_535).await;
        assert_eq!(answer.unwrap(), "0");
        assert!(timeout(SOON, connection).await.expect("the connection was kept").unwrap().is_ok(), "no farewell was said");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut() {
        let (address, _stop, _serving) = start(short()).await;
        assert!(check(address, 0).await.0.is_err());
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_closed_and_others_stay() {
        let (address, stop, serving) = start(Limits { connections: 1, ..Limits::default() }).await;
        let (answer, first) = check(address, 65_535).await;
        assert_eq!(answer.unwrap(), "0");
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut rest = Vec::new();
        timeout(SOON, second.read_to_end(&mut rest)).await.expect("the second connection was kept").ok();
        assert!(rest.is_empty() && !first.is_finished());
        // Going down says farewell to the first.
        stop.send(true).unwrap();
        timeout(SOON, serving).await.unwrap().unwrap();
        timeout(SOON, first).await.unwrap().unwrap().unwrap();
    }
}

//! Connections: how many there may be, how long they last, and when they are ended.

use crate::transport::activity::{
    ActiveRequest, Activity, ConnectionLimits, ObservedBody, Verdict,
};
use crate::transport::admission::Admission;
use crate::transport::write_coalescing::CoalescingSocket;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics::{counter, gauge};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tonic::body::Body;
use tower_service::Service;
use tracing::{debug, warn};

/// The longest headers of a request, in bytes.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// After how long a silent client gets a ping.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long a client may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long accepting pauses after an error, for example because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often at most a log line says that connections are refused.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A service that answers HTTP requests.
pub trait HttpService:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// What every connection of a server shares.
#[derive(Clone)]
struct Shared<S> {
    service: S,
    admission: Arc<Admission>,
    limits: ConnectionLimits,
    stop: watch::Receiver<bool>,
}

/// Accepts connections and serves them until `stop` changes; returns when the last one has ended.
pub async fn serve<S: HttpService>(
    listener: TcpListener,
    service: S,
    admission: Arc<Admission>,
    limits: ConnectionLimits,
    mut stop: watch::Receiver<bool>,
) {
    let shared = Shared {
        service,
        admission,
        limits,
        stop: stop.clone(),
    };
    let free = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    let mut last_refusal_log: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => break,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // No file descriptor is left, or the client is gone already: others go on.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = free.clone().try_acquire_owned() else {
            counter!("aisle_connections_refused_total").increment(1);
            if last_refusal_log.is_none_or(|at| at.elapsed() > REFUSAL_LOG_INTERVAL) {
                let limit = limits.connections;
                warn!(
                    limit,
                    "connections are refused: as many are open as max_connections allows"
                );
                last_refusal_log = Some(Instant::now());
            }
            continue;
        };
        gauge!("aisle_connections").set((limits.connections - free.available_permits()) as f64);
        open.spawn(serve_connection(stream, shared.clone(), place));
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// Serves one connection to its end. Its place is free for another when this returns.
async fn serve_connection<S: HttpService>(
    stream: TcpStream,
    shared: Shared<S>,
    _place: OwnedSemaphorePermit,
) {
    let Shared {
        service,
        admission,
        limits,
        mut stop,
    } = shared;
    // Otherwise a response waits up to 40 ms for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection was gone before it began");
        return;
    }
    let activity = Activity::new();
    let socket = CoalescingSocket::new(stream);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let observed = {
        let (activity, admission) = (activity.clone(), admission.clone());
        service_fn(move |request: Request<Incoming>| {
            let active = ActiveRequest::new(&activity);
            let response = admission.serve(service.clone(), request);
            async move {
                let observe = |body| ObservedBody::new(body, active);
                Ok::<_, Infallible>(response.await.map(observe))
            }
        })
    };
    let mut served = pin!(builder.serve_connection(TokioIo::new(socket.clone()), observed));
    let mut check = tokio::time::interval(limits.stalled.min(limits.idle) / 4);
    let mut is_closing = false;
    let mut did_wait = false;
    loop {
        tokio::select! {
            ended = poll_fn(|context| {
                let has_several = activity.active_requests() > 1;
                did_wait = !did_wait && has_several && admission.is_crowded();
                if did_wait {
                    // The answers that are being made go first, so that their responses leave
                    // together.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let ended = served.as_mut().poll(context);
                // The connection finds an error itself at its next read.
                let _ = socket.send(context);
                ended
            }) => {
                if let Err(error) = ended {
                    debug!(%error, "a connection broke");
                }
                return;
            }
            _ = stop.changed(), if !is_closing => {
                is_closing = true;
                served.as_mut().graceful_shutdown();
            }
            _ = check.tick() => match activity.verdict(limits) {
                Verdict::Keep => {}
                Verdict::CloseGracefully if is_closing => return,
                Verdict::CloseGracefully => {
                    is_closing = true;
                    served.as_mut().graceful_shutdown();
                }
                Verdict::Cut => {
                    counter!("aisle_connections_cut_total").increment(1);
                    debug!("a connection was cut: it sent no request, or took no response");
                    return;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::admission::AdmissionConfig;
    use http_body_util::{BodyExt, Full};
    use hyper::body::Bytes;
    use hyper::client::conn::http2 as client;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;
    use tonic::service::Routes;

    const SOON: Duration = Duration::from_secs(5);

    /// A server with the health service alone.
    async fn start(
        limits: ConnectionLimits,
    ) -> (SocketAddr, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_, health) = tonic_health::server::health_reporter();
        let (stop, stopped) = watch::channel(false);
        let admission = Arc::new(Admission::new(AdmissionConfig {
            threads: 1,
            max_requests: 10,
            default_deadline: Duration::from_secs(1),
            slot_path: "/aisle.v1.RecommendationService/",
            slot_calls: &[],
            deadline_path: "/aisle.v1.",
        }));
        let serving = tokio::spawn(serve(
            listener,
            Routes::new(health).prepare(),
            admission,
            limits,
            stopped,
        ));
        (address, stop, serving)
    }

    fn short() -> ConnectionLimits {
        ConnectionLimits {
            idle: Duration::from_millis(400),
            stalled: Duration::from_millis(200),
            ..ConnectionLimits::default()
        }
    }

    /// A health check as raw HTTP/2, by a client that takes so many bytes of each answer.
    async fn check(
        address: SocketAddr,
        window: u32,
    ) -> (
        Result<String, hyper::Error>,
        tokio::task::JoinHandle<Result<(), hyper::Error>>,
    ) {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut builder = client::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(window);
        let (mut send, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::post("http://shop/grpc.health.v1.Health/Check")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from_static(&[0; 5])))
            .unwrap();
        let answer = async {
            let body = send
                .send_request(request)
                .await?
                .into_body()
                .collect()
                .await?;
            let status = body
                .trailers()
                .and_then(|trailers| trailers.get("grpc-status"));
            Ok(status
                .map(|status| status.to_str().unwrap().to_string())
                .unwrap_or_default())
        };
        let answer = timeout(SOON, answer)
            .await
            .expect("neither an answer nor the end of the connection");
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
            timeout(SOON, stream.read_to_end(&mut rest))
                .await
                .expect("the connection was kept")
                .ok();
        }
    }

    #[tokio::test]
    async fn an_idle_connection_is_told_to_go_after_its_answer() {
        let (address, _stop, _serving) = start(short()).await;
        let (answer, connection) = check(address, 65_535).await;
        assert_eq!(answer.unwrap(), "0");
        assert!(
            timeout(SOON, connection)
                .await
                .expect("the connection was kept")
                .unwrap()
                .is_ok(),
            "no farewell was said"
        );
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut() {
        let (address, _stop, _serving) = start(short()).await;
        assert!(check(address, 0).await.0.is_err());
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_closed_and_others_stay() {
        let (address, stop, serving) = start(ConnectionLimits {
            connections: 1,
            ..ConnectionLimits::default()
        })
        .await;
        let (answer, first) = check(address, 65_535).await;
        assert_eq!(answer.unwrap(), "0");
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut rest = Vec::new();
        timeout(SOON, second.read_to_end(&mut rest))
            .await
            .expect("the second connection was kept")
            .ok();
        assert!(rest.is_empty() && !first.is_finished());
        // Going down says farewell to the first.
        stop.send(true).unwrap();
        timeout(SOON, serving).await.unwrap().unwrap();
        timeout(SOON, first).await.unwrap().unwrap().unwrap();
    }
}

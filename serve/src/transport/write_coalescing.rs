//! Coalesces the writes of a connection: responses that are ready together leave in one system
//! call.
//!
//! Under HTTP/2 every response ends in frames of its own, and the library writes each longer frame
//! by itself. On a busy connection that system call, and the packet that it makes, are a quarter of
//! what an answer costs.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How many bytes are buffered before they are sent without waiting for more. A connection keeps a
/// buffer of this size.
const BUFFER_BYTES: usize = 64 << 10;

struct BufferedSocket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How many bytes of the buffer were sent.
    sent: usize,
}

impl BufferedSocket {
    /// Sends what is buffered.
    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.buffer.len() {
            let rest = &self.buffer[self.sent..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Makes room in the buffer, by sending it if it is full.
    fn make_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.buffer.len() < BUFFER_BYTES {
            Poll::Ready(Ok(()))
        } else {
            self.send(context)
        }
    }
}

/// A socket whose writes are buffered until [`CoalescingSocket::send`]. Clones share the socket.
#[derive(Clone)]
pub struct CoalescingSocket(Arc<Mutex<BufferedSocket>>);

impl CoalescingSocket {
    /// Buffers the writes to a stream.
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(BufferedSocket {
            stream,
            buffer: Vec::new(),
            sent: 0,
        })))
    }

    /// Sends what was written since the last call. Whoever drives the connection calls it when the
    /// connection has nothing more to write.
    pub fn send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().send(context)
    }

    fn socket(&self) -> MutexGuard<'_, BufferedSocket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for CoalescingSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket().stream).poll_read(context, into)
    }
}

impl AsyncWrite for CoalescingSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut socket = self.socket();
        ready!(socket.make_room(context))?;
        socket.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut socket = self.socket();
        ready!(socket.make_room(context))?;
        for part in parts {
            socket.buffer.extend_from_slice(part);
        }
        Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Returns at once, because [`CoalescingSocket::send`] is what sends.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = self.socket();
        ready!(socket.send(context))?;
        Pin::new(&mut socket.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    async fn pair() -> (CoalescingSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        (
            CoalescingSocket::new(listener.accept().await.unwrap().0),
            peer,
        )
    }

    #[tokio::test]
    async fn writes_wait_until_they_are_sent() {
        let (mut socket, mut peer) = pair().await;
        socket.write_all(b"a few ").await.unwrap();
        let parts = [IoSlice::new(b"wor"), IoSlice::new(b"ds")];
        assert_eq!(socket.write_vectored(&parts).await.unwrap(), 5);
        socket.flush().await.unwrap();
        let mut read = [0; 11];
        let early = timeout(Duration::from_millis(50), peer.read(&mut read)).await;
        assert!(early.is_err(), "nothing was to be sent yet");
        poll_fn(|context| socket.send(context)).await.unwrap();
        peer.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"a few words");
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_stops_the_writer_and_nothing_is_lost() {
        let (mut socket, mut peer) = pair().await;
        let written: Vec<u8> = (0..32 << 20).map(|at: u32| (at % 251) as u8).collect();
        let all = written.clone();
        let mut writer = tokio::spawn(async move {
            socket.write_all(&all).await.unwrap();
            socket.shutdown().await.unwrap();
        });
        assert!(
            timeout(Duration::from_millis(200), &mut writer)
                .await
                .is_err(),
            "all of it was taken"
        );
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        writer.await.unwrap();
        assert!(read == written, "{} bytes of {}", read.len(), written.len());
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_an_error() {
        let (mut socket, peer) = pair().await;
        drop(peer);
        let refused = async {
            loop {
                socket.write_all(&[0; 1000]).await.unwrap();
                if poll_fn(|context| socket.send(context)).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(5), refused)
            .await
            .expect("no error came");
    }
}

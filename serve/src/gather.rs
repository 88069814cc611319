//! Writes of a connection, gathered: what it has to say at one time leaves in one call of the kernel.
//!
//! Under HTTP/2 every answer ends in frames of its own, and the library writes each frame of some length by itself. On a busy connection that
//! call, and the packet it makes, are a quarter of what an answer costs.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// From so many bytes on, what is held back leaves before more comes; and memory that a connection keeps.
const MOST: usize = 64 << 10;

struct Socket {
    stream: TcpStream,
    held: Vec<u8>,
    /// How many of the bytes held are sent.
    sent: usize,
}

impl Socket {
    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.held.len() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held[self.sent..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        self.held.clear();
        self.held.shrink_to(MOST);
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Makes room for what is to be held, sending what is held if there is none.
    fn room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.len() < MOST { Poll::Ready(Ok(())) } else { self.send(context) }
    }
}

/// A socket whose writes wait for [`Gathered::send`]; copies share it.
#[derive(Clone)]
pub struct Gathered(Arc<Mutex<Socket>>);

impl Gathered {
    /// Holds back what is written to a socket.
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(Socket { stream, held: Vec::new(), sent: 0 })))
    }

    /// Sends what was written since the last time. Whoever drives the connection calls it when the connection has nothing more to do.
    pub fn send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().send(context)
    }

    fn socket(&self) -> MutexGuard<'_, Socket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Gathered {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket().stream).poll_read(context, into)
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = self.socket();
        ready!(socket.room(context))?;
        socket.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut socket = self.socket();
        ready!(socket.room(context))?;
        parts.iter().for_each(|part| socket.held.extend_from_slice(part));
        Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Done at once: see [`Gathered::send`].
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

    async fn pair() -> (Gathered, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Gathered::new(listener.accept().await.unwrap().0), peer)
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
        assert!(timeout(Duration::from_millis(200), &mut writer).await.is_err(), "all of it was taken");
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
        timeout(Duration::from_secs(5), refused).await.expect("no error came");
    }
}

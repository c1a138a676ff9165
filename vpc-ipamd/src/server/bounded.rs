//! Limits on HTTP connections: how many, and for how long.

use std::{
    fmt,
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

/// Connections at a time. A scraper, a probe and a few people use one each.
const CONNECTIONS_MAX: usize = 32;
/// How long a connection may live. It carries one request, which is answered from memory; the
/// reference allows 5 s for each direction.
const LIFETIME: Duration = Duration::from_secs(10);

/// A listener that accepts no more than so many connections, each for so long.
pub(super) struct Bounded<L> {
    listener: L,
    permits: Arc<Semaphore>,
    lifetime: Duration,
}

impl<L> Bounded<L> {
    pub(super) fn new(listener: L) -> Self {
        Self::with_limits(listener, CONNECTIONS_MAX, LIFETIME)
    }

    fn with_limits(listener: L, connections_max: usize, lifetime: Duration) -> Self {
        Self { listener, permits: Arc::new(Semaphore::new(connections_max)), lifetime }
    }
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // Fails on a closed semaphore only, and nobody closes it.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let (io, address) = self.listener.accept().await;
        let deadline = Box::pin(sleep(self.lifetime));
        (Connection { io, deadline, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// One connection; an error once its time is over.
pub(super) struct Connection<I> {
    io: I,
    deadline: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<I> fmt::Debug for Connection<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl<I> Connection<I> {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Connection<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Connection<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let patience = Duration::from_secs(20);
        let ended = runtime.block_on(async { tokio::time::timeout(patience, test).await });
        ended.expect("the connection does not end");
    }

    #[test]
    fn a_silent_connection_ends_and_makes_room_for_the_next() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut bounded = Bounded::with_limits(listener, 1, Duration::from_millis(20));
            let _silent = TcpStream::connect(address).await.unwrap();
            let mut talking = TcpStream::connect(address).await.unwrap();
            talking.write_all(b"x").await.unwrap();
            let (mut first, _) = Listener::accept(&mut bounded).await;
            assert_eq!(bounded.permits.available_permits(), 0);
            let error = first.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            drop(first);
            let (mut second, _) = Listener::accept(&mut bounded).await;
            assert_eq!(second.read_u8().await.unwrap(), b'x');
        });
    }
}

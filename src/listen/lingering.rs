//! A request that is refused before its body was read ends its connection. What the client is still sending is taken and thrown away for a while, or the system would
//! reset the connection, and the client would never see why it was refused.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// Longest time, and most bytes, for which a client that was refused is listened to.
const LINGER_MAX: Duration = Duration::from_secs(3);
const LINGER_BYTES_MAX: usize = 34 << 20;
/// Thrown away at a time.
const PIECE: usize = 16 << 10;

/// Whether the request that came last has a body of which something was not read.
#[derive(Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, is_so: bool) {
        self.0.store(is_so, Ordering::Relaxed);
    }

    /// The body of a request, which is watched from now on.
    pub(super) fn watch<B: http_body::Body>(&self, body: B) -> Watched<B> {
        self.set(!body.is_end_stream());
        Watched { body, unread: self.clone() }
    }
}

/// A body that remembers whether all of it was read.
pub(super) struct Watched<B> {
    body: B,
    unread: Unread,
}

impl<B: http_body::Body + Unpin> http_body::Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.unread.set(false);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that closes gently where a body was not read.
pub(super) struct Lingering<S> {
    socket: S,
    unread: Unread,
    /// Set once our own side is closed.
    until: Option<Pin<Box<Sleep>>>,
    bytes: usize,
}

impl<S> Lingering<S> {
    pub(super) fn new(socket: S, unread: Unread) -> Self {
        Self { socket, unread, until: None, bytes: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.until.is_none() {
            ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
            if !this.unread.is_so() {
                return Poll::Ready(Ok(()));
            }
        }
        let until = this.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_MAX)));
        let mut piece = [0; PIECE];
        while until.as_mut().poll(context).is_pending() && this.bytes < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut piece);
            let read = ready!(Pin::new(&mut this.socket).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            this.bytes += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_client_that_goes_on_sending_is_listened_to_for_a_while() {
        let (socket, mut client) = tokio::io::duplex(1 << 10);
        let unread = Unread::default();
        let mut lingering = Lingering::new(socket, unread.clone());
        unread.set(true);
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            while client.write_all(&[0; 100]).await.is_ok() {
                sent += 100;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            sent
        });
        let began = tokio::time::Instant::now();
        lingering.shutdown().await.unwrap();
        assert!((2..6).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        drop(lingering);
        assert!(sending.await.unwrap() > 2_000);
    }

    #[tokio::test]
    async fn nobody_is_waited_for_who_is_done() {
        for is_unread in [false, true] {
            let (socket, mut client) = tokio::io::duplex(1 << 10);
            let unread = Unread::default();
            let mut lingering = Lingering::new(socket, unread.clone());
            unread.set(is_unread);
            let began = tokio::time::Instant::now();
            let client = tokio::spawn(async move {
                client.write_all(&[0; 5_000]).await.ok();
                client.shutdown().await.ok();
                client.read_to_end(&mut Vec::new()).await
            });
            lingering.shutdown().await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(1), "{is_unread}");
            drop(lingering);
            client.await.unwrap().unwrap();
        }
    }
}

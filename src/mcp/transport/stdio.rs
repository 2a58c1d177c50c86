//! stdio: one client, JSON-RPC on stdin and stdout, nothing else ever on stdout.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use rmcp::{service::serve_server, transport::stdio_pipes};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use super::{
    asked_to_stop,
    channel::{Channel, QUEUE},
    lines::Lines,
    message::Incoming,
};
use crate::mcp::LavaMcp;

/// How long calls in flight may still run after the client has gone. With what it takes to settle them, the process ends within two seconds.
const GRACE: Duration = Duration::from_millis(500);
/// How long the last words may take after that. A client that reads nothing does not keep the process.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// How often it is looked, while a client reads nothing, whether it is there at all.
const LOOK: Duration = Duration::from_millis(250);

/// Serves until the client closes its end. Calls in flight get a moment to finish; the caller settles what is left.
///
/// # Errors
/// When the streams fail, or the client speaks something else.
pub async fn serve(server: LavaMcp) -> io::Result<()> {
    let (input, output) = stdio_pipes();
    let ended = CancellationToken::new();
    let input = WatchedInput { input, ended: ended.clone() };
    let (is_stuck, stuck) = watch::channel(false);
    let output = WatchedOutput { output, is_stuck };
    tokio::spawn(look_while_stuck(stuck, ended.clone()));
    // One message waits while another is looked at: each can be large.
    let (to_server, from_client) = mpsc::channel(1);
    let (to_client, from_server) = mpsc::channel(QUEUE);
    tokio::spawn(read(input, to_server));
    let written = tokio::spawn(write(output, from_server));
    let transport = Channel::new(from_client, to_client);
    let stop = ended.clone();
    tokio::spawn(async move {
        asked_to_stop().await;
        stop.cancel();
    });
    let (begun, cancel) = (ended.clone(), CancellationToken::new());
    let cancelled = cancel.clone();
    let served = async move {
        let running = match serve_server(server, transport).await {
            Ok(running) => running,
            // A client that leaves before it has said anything is no failure.
            Err(_) if begun.is_cancelled() => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        };
        let inner = running.cancellation_token();
        tokio::spawn(async move {
            cancelled.cancelled().await;
            inner.cancel();
        });
        let ended = running.waiting().await.map(|_| ()).map_err(io::Error::other);
        // The connection is gone, and with it whoever could say more.
        let _ = written.await;
        ended
    };
    tokio::pin!(served);
    tokio::select! {
        served = &mut served => return served,
        () = ended.cancelled() => {}
    }
    if let Ok(served) = tokio::time::timeout(GRACE, &mut served).await {
        return served;
    }
    cancel.cancel();
    tokio::time::timeout(LAST_WORDS, served).await.unwrap_or(Ok(()))
}

async fn read(input: impl AsyncRead + Unpin, to_server: mpsc::Sender<Incoming>) {
    let mut lines = Lines::new(input);
    while let Some(incoming) = lines.next().await {
        if to_server.send(incoming).await.is_err() {
            return;
        }
    }
}

async fn write(mut output: impl AsyncWrite + Unpin, mut from_server: mpsc::Receiver<String>) {
    while let Some(mut text) = from_server.recv().await {
        text.push('\n');
        if output.write_all(text.as_bytes()).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}

/// Input that tells when it has ended. A client that is gone leaves no other sign on some systems.
struct WatchedInput<R> {
    input: R,
    ended: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for WatchedInput<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.input).poll_read(context, buffer));
        if read.is_err() || (buffer.filled().len() == before && buffer.remaining() > 0) {
            self.ended.cancel();
        }
        Poll::Ready(read)
    }
}

/// Output that notices when the client does not take it.
struct WatchedOutput<W> {
    output: W,
    is_stuck: watch::Sender<bool>,
}

impl<W> WatchedOutput<W> {
    fn watch<T>(&self, poll: Poll<T>) -> Poll<T> {
        let is_stuck = poll.is_pending();
        self.is_stuck.send_if_modified(|was_stuck| std::mem::replace(was_stuck, is_stuck) != is_stuck);
        poll
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for WatchedOutput<W> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.output).poll_write(context, bytes);
        self.watch(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.output).poll_flush(context);
        self.watch(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_shutdown(context)
    }
}

/// A client that takes nothing may have closed its end, and what it sent before may not be read any more: then the end of the input is not seen by reading.
async fn look_while_stuck(mut stuck: watch::Receiver<bool>, ended: CancellationToken) {
    while stuck.wait_for(|is_stuck| *is_stuck).await.is_ok() {
        tokio::time::sleep(LOOK).await;
        if *stuck.borrow() && is_hung_up() {
            return ended.cancel();
        }
    }
}

/// Whether nobody can write to stdin any more.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_hung_up() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let input = io::stdin();
    let mut input = [PollFd::new(&input, PollFlags::empty())];
    poll(&mut input, Some(&Timespec::default())).is_ok() && input[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Elsewhere a stuck client is left to the signal that it sends, or to its own end.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const fn is_hung_up() -> bool {
    false
}

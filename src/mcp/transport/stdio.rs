//! stdio: one client, JSON-RPC on stdin and stdout, nothing else ever on stdout.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use rmcp::{
    RoleServer,
    service::serve_server,
    transport::{async_rw::AsyncRwTransport, stdio_pipes},
};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::asked_to_stop;
use crate::mcp::LavaMcp;

/// How long calls in flight may still run after the client has gone. With what it takes to settle them, the process ends within two seconds.
const GRACE: Duration = Duration::from_millis(500);
/// Longest message. Above the gateway's limit for a body, so that a body over it is answered and not dropped.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Serves until the client closes its end. Calls in flight get a moment to finish; the caller settles what is left.
///
/// # Errors
/// When the streams fail, or the client speaks something else.
pub async fn serve(server: LavaMcp) -> io::Result<()> {
    let (input, output) = stdio_pipes();
    let ended = CancellationToken::new();
    let input = WatchedInput { input, ended: ended.clone() };
    let transport = AsyncRwTransport::<RoleServer, _, _>::new(input, output).with_max_line_length(LINE_BYTES_MAX);
    let running = match serve_server(server, transport).await {
        Ok(running) => running,
        // A client that leaves before it has said anything is no failure.
        Err(_) if ended.is_cancelled() => return Ok(()),
        Err(error) => return Err(io::Error::other(error)),
    };
    let cancel = running.cancellation_token();
    tokio::spawn(async move {
        tokio::select! {
            () = ended.cancelled() => {}
            () = asked_to_stop() => {}
        }
        tokio::time::sleep(GRACE).await;
        cancel.cancel();
    });
    running.waiting().await.map(|_| ()).map_err(io::Error::other)
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

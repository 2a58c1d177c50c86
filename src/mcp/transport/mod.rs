//! How clients connect.

mod accept;
mod batch;
mod card;
mod channel;
mod envelope;
mod guard;
mod handshake;
pub mod http;
mod lines;
mod message;
mod replay;
mod sessions;
mod sse;
pub mod stdio;
mod streamable;
mod wire;

pub use guard::{Guard, KnowsKey};
pub(super) use sessions::session_id;

/// The log target whose warnings quote the errors that clients were sent, and those can quote what the client had sent.
pub const QUOTING: &str = "rmcp::service";

/// Whether the client of this request cannot be asked anything before its answer.
pub(in crate::mcp) fn hears_only_answers(extensions: &rmcp::model::Extensions) -> bool {
    let parts = extensions.get::<::http::request::Parts>();
    parts.is_some_and(|parts| parts.extensions.get::<streamable::OnlyAnswers>().is_some())
}

/// Resolves when the process is told to end: by Ctrl-C, by SIGTERM, or because its terminal is gone. Some clients do that instead of closing stdin.
pub async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
        let mut hang_up = if is_hang_up_ignored() { None } else { signal(SignalKind::hangup()).ok() };
        let hang_up = async {
            match &mut hang_up {
                Some(hang_up) => drop(hang_up.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
            () = hang_up => {}
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
}

/// Whether whoever started the process wants it to outlive its terminal, as `nohup` does. Looked up once, before there is a handler of our own. Elsewhere than on
/// Linux that cannot be asked for, and SIGHUP does what the system does with it.
#[cfg(unix)]
fn is_hang_up_ignored() -> bool {
    use std::sync::OnceLock;
    static IS_IGNORED: OnceLock<bool> = OnceLock::new();
    let look = || {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        // The lowest bit is the first signal, and that is SIGHUP.
        Some(u64::from_str_radix(ignored.trim(), 16).ok()? & 1 == 1)
    };
    *IS_IGNORED.get_or_init(|| look().unwrap_or(true))
}

//! How clients connect.

mod card;
mod guard;
pub mod http;
mod sessions;
mod sse;
pub mod stdio;
mod wire;

pub use guard::{Guard, KnowsKey};

/// Resolves when the process is told to end. Some clients do that instead of closing stdin.
pub async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
}

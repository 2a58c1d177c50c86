//! Model servers on this machine. Their usual ports are asked on demand what models they have; they are offered at price zero.
//!
//! Any user of the machine can listen on such a port and read what is asked there. So a server is used without being named in the config file only where it belongs to the
//! same user, to root, or to a system account; where a system does not show it (all but Linux), every program on the port is believed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::{
    lengths::check_name,
    upstream::{Upstream, body_of},
};
use crate::listen::is_of_trusted_account;

/// Name and usual port of each server; all speak the OpenAI dialect below `/v1`.
pub(super) const USUAL: [(&str, u16); 4] = [("ollama", 11_434), ("lmstudio", 1_234), ("llamacpp", 8_080), ("vllm", 8_000)];
/// Their names.
pub(super) const IDS: [&str; 4] = [USUAL[0].0, USUAL[1].0, USUAL[2].0, USUAL[3].0];
const PROBE_TIMEOUT: Duration = Duration::from_millis(400);
/// Most bytes of a list of models, and most models of it.
const LIST_BYTES_MAX: usize = 1 << 20;
const MODELS_MAX: usize = 500;
/// How long an answer is believed, so that a burst of requests asks once.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// A server that answered.
#[derive(Clone, Debug)]
pub(super) struct LocalServer {
    pub(super) id: &'static str,
    pub(super) base_url: Url,
    pub(super) models: Vec<String>,
}

pub(super) struct LocalServers {
    enabled: bool,
    /// Whoever comes while the ports are asked waits for the same answer.
    seen: Mutex<Option<(Instant, Arc<Vec<LocalServer>>)>>,
}

#[derive(Deserialize)]
struct ModelList {
    data: Vec<ModelEntry>,
}

#[derive(Deserialize)]
struct ModelEntry {
    id: String,
}

impl LocalServers {
    pub(super) const fn new(enabled: bool) -> Self {
        Self { enabled, seen: Mutex::const_new(None) }
    }

    /// The servers that answer now.
    pub(super) async fn find(&self, upstream: &Upstream) -> Arc<Vec<LocalServer>> {
        if !self.enabled {
            return Arc::default();
        }
        let mut seen = self.seen.lock().await;
        if let Some((at, servers)) = &*seen
            && at.elapsed() < FRESH_FOR
        {
            return servers.clone();
        }
        let probes = USUAL.map(|(id, port)| probe(upstream, id, port));
        let servers = Arc::new(futures_util::future::join_all(probes).await.into_iter().flatten().collect::<Vec<_>>());
        *seen = Some((Instant::now(), servers.clone()));
        servers
    }
}

impl LocalServer {
    /// Whether what listens there now may be asked.
    pub(super) async fn is_trusted(&self) -> bool {
        match self.base_url.port() {
            Some(port) => is_of_trusted_account(port).await,
            None => false,
        }
    }
}

async fn probe(upstream: &Upstream, id: &'static str, port: u16) -> Option<LocalServer> {
    if !is_of_trusted_account(port).await {
        return None;
    }
    let base_url = Url::parse(&format!("http://127.0.0.1:{port}/v1")).ok()?;
    let models = tokio::time::timeout(PROBE_TIMEOUT, models_at(upstream, &base_url)).await.ok()??;
    Some(LocalServer { id, base_url, models })
}

async fn models_at(upstream: &Upstream, base_url: &Url) -> Option<Vec<String>> {
    let response = upstream.private().ok()?.get(format!("{base_url}/models")).send().await.ok()?.error_for_status().ok()?;
    models_of(&body_of(response, LIST_BYTES_MAX).await?)
}

fn models_of(body: &[u8]) -> Option<Vec<String>> {
    let list: ModelList = serde_json::from_slice(body).ok()?;
    let ids = list.data.into_iter().map(|entry| entry.id).filter(|id| !id.is_empty() && check_name("model", id).is_ok());
    Some(ids.take(MODELS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use serde_json::json;

    use super::*;
    use crate::gateway::Network;

    #[test]
    fn a_list_of_models_has_an_end() {
        let ids = |names: Vec<String>| {
            let data: Vec<_> = names.into_iter().map(|id| json!({"id": id})).collect();
            models_of(json!({"data": data}).to_string().as_bytes()).unwrap()
        };
        assert_eq!(ids(vec!["a".into(), "b".repeat(257), String::new(), "c".repeat(256)]), ["a".to_owned(), "c".repeat(256)]);
        assert_eq!(ids((0..1_000).map(|n| n.to_string()).collect()).len(), MODELS_MAX);
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_no_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 1_000]);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"data\": [");
            while let Ok(count) = socket.write(&[b' '; 65_536]) {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        });
        let upstream = Upstream::new(Network::default());
        assert!(probe(&upstream, "vllm", port).await.is_none());
        assert!(sent.load(Ordering::Relaxed) < 64 << 20, "{sent:?}");
    }
}

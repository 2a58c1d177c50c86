//! Model servers on this machine. Their usual ports are asked on demand what models they have; they are offered at price zero.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use url::Url;

use super::upstream::Upstream;

/// Name and usual port of each server; all speak the OpenAI dialect below `/v1`.
pub(super) const USUAL: [(&str, u16); 4] = [("ollama", 11_434), ("lmstudio", 1_234), ("llamacpp", 8_080), ("vllm", 8_000)];
/// Their names.
pub(super) const IDS: [&str; 4] = [USUAL[0].0, USUAL[1].0, USUAL[2].0, USUAL[3].0];
const PROBE_TIMEOUT: Duration = Duration::from_millis(400);
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
        Self { enabled, seen: Mutex::new(None) }
    }

    /// The servers that answer now.
    pub(super) async fn find(&self, upstream: &Upstream) -> Arc<Vec<LocalServer>> {
        if !self.enabled {
            return Arc::default();
        }
        if let Some((at, servers)) = &*self.seen.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < FRESH_FOR
        {
            return servers.clone();
        }
        let probes = USUAL.map(|(id, port)| probe(upstream, id, port));
        let servers = Arc::new(futures_util::future::join_all(probes).await.into_iter().flatten().collect::<Vec<_>>());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), servers.clone()));
        servers
    }
}

async fn probe(upstream: &Upstream, id: &'static str, port: u16) -> Option<LocalServer> {
    let base_url = Url::parse(&format!("http://127.0.0.1:{port}/v1")).ok()?;
    let request = upstream.private().ok()?.get(format!("{base_url}/models")).timeout(PROBE_TIMEOUT).send();
    let body = request.await.ok()?.error_for_status().ok()?.bytes().await.ok()?;
    let list: ModelList = serde_json::from_slice(&body).ok()?;
    Some(LocalServer { id, base_url, models: list.data.into_iter().map(|entry| entry.id).collect() })
}

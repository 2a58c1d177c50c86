//! Looking into the catalog: off the async threads, because a search takes milliseconds and the first one unpacks everything, and only a few at a time, so that nobody
//! can fill the threads that others need.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::error::GatewayError;
use crate::catalog::Catalog;

/// Searches of everybody, and those for callers with a key: strangers do not make these wait.
static OPEN: Semaphore = Semaphore::const_new(2);
static KEYED: Semaphore = Semaphore::const_new(2);
/// Whoever waits longer for a place is told to come again.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    Anybody,
    Keyholder,
}

/// Does work that looks into the catalog.
pub(super) async fn look_up<T: Send + 'static>(asker: Asker, work: impl FnOnce() -> T + Send + 'static) -> Result<T, GatewayError> {
    let places = match asker {
        Asker::Anybody => &OPEN,
        Asker::Keyholder => &KEYED,
    };
    let Ok(Ok(_place)) = tokio::time::timeout(WAIT_MAX, places.acquire()).await else { return Err(GatewayError::Busy) };
    tokio::task::spawn_blocking(work).await.map_err(|_| GatewayError::Busy)
}

/// Unpacks the catalog, unless that has been done; what follows then finds a model's name at once.
pub(super) async fn load_catalog() {
    static IS_LOADED: AtomicBool = AtomicBool::new(false);
    if IS_LOADED.load(Ordering::Acquire) {
        return;
    }
    let _ = tokio::task::spawn_blocking(Catalog::embedded).await;
    IS_LOADED.store(true, Ordering::Release);
}

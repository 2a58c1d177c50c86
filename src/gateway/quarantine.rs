//! Models that billed more than their prices allow. The ledger refuses to sell them to keys with a limit; who looks for a seller takes another one.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Gateway;
use crate::{domain::SpendKey, store::StoreError};

/// As old may be what a request chooses its seller by: the ledger has the last word, so a request only pays with a refusal for what is older.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// (provider, model) of each.
type Models = Vec<(String, String)>;

/// The list as it was last read.
#[derive(Default)]
pub(super) struct Quarantine {
    read: Mutex<Option<(Instant, Models)>>,
}

impl Quarantine {
    /// Looks again next time: the list has changed.
    pub(super) fn forget(&self) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Gateway {
    /// The models that a key (or a key with a limit, where none was shown) cannot buy because they are quarantined, as (provider, model).
    pub(super) fn quarantined_for(&self, key: Option<&SpendKey>, is_sandbox: bool) -> Result<Models, StoreError> {
        let models = if is_sandbox { Models::new() } else { self.read_quarantined()? };
        self.of_them_for(models, key, is_sandbox)
    }

    /// The same, as it was a second ago at most: every request asks that names a model.
    pub(super) fn lately_quarantined_for(&self, key: &SpendKey, is_sandbox: bool) -> Result<Models, StoreError> {
        if is_sandbox {
            return Ok(Models::new());
        }
        let mut read = self.quarantine.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.as_ref().is_none_or(|(at, _)| at.elapsed() > FRESH_FOR) {
            *read = Some((Instant::now(), self.read_quarantined()?));
        }
        let models = read.as_ref().map(|(_, models)| models.clone()).unwrap_or_default();
        drop(read);
        self.of_them_for(models, Some(key), is_sandbox)
    }

    fn read_quarantined(&self) -> Result<Models, StoreError> {
        Ok(self.store.mispriced()?.into_iter().map(|model| (model.provider, model.model)).collect())
    }

    fn of_them_for(&self, models: Models, key: Option<&SpendKey>, is_sandbox: bool) -> Result<Models, StoreError> {
        let has_limit = key.is_none_or(|key| key.settings.spend_limit.is_some());
        if models.is_empty() || !(has_limit || self.store.account(is_sandbox)?.limit.is_some()) {
            return Ok(Models::new());
        }
        Ok(models)
    }
}

//! Where keys are kept, settled before a command that keeps one: as the settings say, else in the keyring. Where there is none, the person at the terminal is asked once
//! whether a file will do; a script says so with `--store file`. Either is remembered in the data folder, where later runs and MCP servers find it.

use super::{Failure, keyboard, serve::provider_vault};
use crate::{
    config::{CredentialStore, Mode, Settings},
    session::{SessionError, Vault},
};

/// Remembers the flag, or asks.
pub(super) async fn settle(settings: &Settings, flag: Option<CredentialStore>) -> Result<(), Failure> {
    let folder = &settings.data_dir;
    let choose = |is_file| Vault::choose(folder, is_file).map_err(SessionError::from);
    if let Some(store) = flag {
        return Ok(choose(store == CredentialStore::File)?);
    }
    // A sandbox needs nobody's word, and who brings a key keeps none.
    let is_sandbox = settings.sandbox && settings.mode == Mode::Embedded;
    let is_settled = settings.credential_store.is_some() || settings.spend_key.is_some() || is_sandbox;
    if is_settled || !keyboard::is_there() || !provider_vault(settings).is_missing().await {
        return Ok(());
    }
    let file = Vault::file_in(folder);
    let question = format!("No keyring was found here. Keep keys in a file only you can read ({})? [Y/n] ", file.display());
    match keyboard::line(&question).await?.as_deref().map(str::trim) {
        Some(text) if ["", "y", "yes"].contains(&&*text.to_ascii_lowercase()) => Ok(choose(true)?),
        _ => Err(Failure::Cancelled(
            "no place to keep a key was found: start a keyring (a Secret Service such as gnome-keyring on Linux), or give keys in variables: LAVA_SPEND_KEY, or a provider's such as OPENAI_API_KEY"
                .to_owned(),
        )),
    }
}

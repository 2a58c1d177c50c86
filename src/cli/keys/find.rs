//! The spend key that is meant by a name or an id.

use crate::{
    cli::{Failure, known},
    client::{Client, ClientError, PageQuery, SpendKeyObject},
    domain::Secret,
};

/// How the ids of our gateway begin.
const ID_BEGINS: &str = "spk_";
/// How spend keys begin.
const KEY_BEGINS: &str = "lava_sk_";
/// So many keys are looked through, a hundred at a time.
const PAGES_MAX: usize = 100;

/// What a key is looked for for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be looked at; a revoked one too, by its id.
    Show,
    /// To be changed.
    Change,
}

/// All keys that were not revoked, newest first.
pub(super) async fn all(client: &Client, secret: &Secret) -> Result<Vec<SpendKeyObject>, Failure> {
    let mut keys = Vec::new();
    let mut page = PageQuery { limit: Some(100), cursor: None };
    for _ in 0..PAGES_MAX {
        let found = client.spend_keys(secret, &page).await?;
        keys.extend(found.data);
        page.cursor = found.next_cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    Ok(keys)
}

/// The key with this id or, if there is none, this name. A name that several keys have is an error that shows their ids.
pub(super) async fn find(client: &Client, secret: &Secret, text: &str, purpose: Purpose) -> Result<SpendKeyObject, Failure> {
    if text.starts_with(KEY_BEGINS) && !text.ends_with("****") {
        return Err(Failure::Error("this is the key itself: give its name or its id, which `lava-mcp keys list` shows".to_owned()));
    }
    if text.starts_with(ID_BEGINS) {
        match client.spend_key_or_revoked(secret, text).await {
            Ok(key) if key.status == "revoked" && purpose == Purpose::Change => {
                return Err(Failure::Error(format!("{} (\"{}\") is revoked, which cannot be undone", key.spend_key_id, key.name)));
            }
            Ok(key) => return Ok(key),
            // Somebody may have called a key so.
            Err(ClientError::Refused { status: 404, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let keys = all(client, secret).await?;
    if let Some(key) = keys.iter().find(|key| key.spend_key_id == text || key.key_preview == text) {
        return Ok(key.clone());
    }
    let exact: Vec<&SpendKeyObject> = keys.iter().filter(|key| key.name == text).collect();
    let folded = text.trim().to_lowercase();
    let same: Vec<&SpendKeyObject> = match exact.is_empty() {
        true => keys.iter().filter(|key| key.name.trim().to_lowercase() == folded).collect(),
        false => exact,
    };
    match same.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let near = known::nearest(text, keys.iter().map(|key| (key.name.as_str(), key.name.as_str())));
            let near: Vec<String> = near.into_iter().map(|name| format!("\"{name}\"")).collect();
            let near = known::did_you_mean(&near);
            let hint = if near.is_empty() { "; `lava-mcp keys list` shows the keys" } else { &near };
            Err(Failure::Error(format!("no spend key is called \"{text}\"{hint}")))
        }
        several => {
            let ids = several.iter().map(|key| format!("{} ({}, made {})", key.spend_key_id, key.status, day(&key.created_at)));
            let ids = ids.collect::<Vec<_>>().join(", ");
            Err(Failure::Error(format!("{} keys are called \"{text}\"; give an id: {ids}", several.len())))
        }
    }
}

fn day(time: &str) -> &str {
    time.split('T').next().unwrap_or(time)
}

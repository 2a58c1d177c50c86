//! Why a vault cannot be used, and what a person can do about it.

/// The vault cannot be used; the text says why.
#[derive(Clone, Debug, thiserror::Error)]
pub struct VaultError {
    kind: &'static str,
    reason: String,
    is_missing: bool,
}

impl std::fmt::Display for VaultError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.is_missing {
            true => write!(f, "no keyring was found here: {}", self.reason),
            false => write!(f, "the {} cannot be used: {}", self.kind, self.reason),
        }
    }
}

impl VaultError {
    pub(super) fn unavailable(kind: &'static str, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), is_missing: false }
    }

    /// The keyring refused, or there is none.
    pub(super) const fn of_keyring(reason: String, is_missing: bool) -> Self {
        Self { kind: "keyring", reason, is_missing }
    }

    /// Whether this machine has no keyring at all, other than one that is locked or silent.
    pub const fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// `keyring` or `file`.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// What a person can do about it who wants to log in.
    pub fn hint(&self) -> String {
        self.hint_with("login", "set LAVA_SPEND_KEY to a key you have")
    }

    /// The same for somebody whose command keeps another key; `instead` is another way to give that key, such as a variable.
    pub fn hint_with(&self, command: &str, instead: &str) -> String {
        match (self.kind, self.is_missing) {
            (_, true) => format!(
                "`lava-mcp {command} --store file` keeps keys, from then on, in a file only you can read; so does LAVA_CREDENTIAL_STORE=file in the \
                 environment. Or {instead}."
            ),
            ("keyring", _) => format!(
                "Unlock or start the system's keyring (a Secret Service such as gnome-keyring on Linux) and try again; or set \
                 LAVA_CREDENTIAL_STORE=file to keep keys in a file only you can read; or {instead}."
            ),
            _ => format!("The file and its folder must be yours, to read and to write. Or {instead}."),
        }
    }
}

//! Ids. Those of the ledger are ULIDs, so that they sort by the time they were made; those that leave the process carry a prefix that says what they name. Others are
//! random bytes or digests.

use std::fmt;

use ulid::Ulid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Wraps an id that was read from the ledger or a request; it is not checked, an unknown id is simply not found.
            pub fn from_text(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Names a spend key; safe to log and to show.
    KeyId
);
id!(
    /// Names one request, on every answer as `x-lava-request-id`.
    RequestId
);
id!(
    /// Names one hold: one attempt of a request at one upstream.
    HoldId
);

impl KeyId {
    /// A new id.
    pub fn generate() -> Self {
        Self(format!("spk_{}", Ulid::generate()))
    }
}

impl RequestId {
    /// A new id; requests at a sandbox gateway say so, as Lava's do.
    pub fn generate(test: bool) -> Self {
        Self(format!("{}{}", if test { "req_test_" } else { "req_" }, Ulid::generate()))
    }
}

impl HoldId {
    /// A new id.
    pub fn generate() -> Self {
        Self(format!("hold_{}", Ulid::generate()))
    }
}

/// Random bytes or a digest as an id: hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

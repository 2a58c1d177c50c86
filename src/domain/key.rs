//! Keys: how they look, how they are made, and the digest that is all a ledger ever keeps of them.
//!
//! A key is a prefix, 43 base62 characters from 32 random bytes, and 6 base62 characters of CRC-32 over all before. The checksum refuses typos and
//! random text with no look-up; it is not security. The digest is HMAC-SHA-256 under a pepper that lives outside the ledger, so a stolen
//! ledger file can neither verify nor mint keys.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Secret;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;
/// Characters of a key that may be shown after its prefix.
const PREVIEW_CHARS: usize = 8;

/// What a key is for; the prefix tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `lava_sk_`: pays for requests within its limits.
    Spend,
    /// `aks_live_`: manages spend keys.
    SecretLive,
    /// `aks_test_`: manages spend keys that only ever reach the sandbox.
    SecretTest,
}

impl KeyKind {
    /// The characters a key of this kind begins with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Spend => "lava_sk_",
            Self::SecretLive => "aks_live_",
            Self::SecretTest => "aks_test_",
        }
    }
}

/// A key in the clear. It exists where it is made or presented, and is never stored by the ledger.
#[derive(Clone)]
pub struct PlainKey {
    kind: KeyKind,
    text: Secret,
}

/// Why a text is not one of our keys. All of these look the same to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of this gateway")]
pub struct NotAKey;

impl PlainKey {
    /// Makes a key from the operating system's randomness.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate(kind: KeyKind) -> Result<Self, getrandom::Error> {
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random)?;
        let mut text = format!("{}{}", kind.prefix(), base62(&random, RANDOM_CHARS));
        let check = base62(&crc32fast::hash(text.as_bytes()).to_be_bytes(), CHECK_CHARS);
        text.push_str(&check);
        Ok(Self { kind, text: Secret::new(text) })
    }

    /// Reads a presented key; checks prefix, length, alphabet and checksum.
    ///
    /// # Errors
    /// [`NotAKey`], without saying which check failed.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let kinds = [KeyKind::Spend, KeyKind::SecretLive, KeyKind::SecretTest];
        let kind = kinds.into_iter().find(|kind| text.starts_with(kind.prefix())).ok_or(NotAKey)?;
        let rest = &text[kind.prefix().len()..];
        if rest.len() != RANDOM_CHARS + CHECK_CHARS || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(NotAKey);
        }
        let (body, check) = text.split_at(text.len() - CHECK_CHARS);
        if base62(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECK_CHARS) != check {
            return Err(NotAKey);
        }
        Ok(Self { kind, text: Secret::new(text) })
    }

    /// What the key is for.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key itself.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// The key as a secret that can be handed on.
    pub fn into_secret(self) -> Secret {
        self.text
    }

    /// What may be shown: prefix, eight characters, four stars.
    pub fn preview(&self) -> String {
        let shown = self.kind.prefix().len() + PREVIEW_CHARS;
        format!("{}****", &self.text.expose()[..shown])
    }

    /// The digest the ledger knows the key by.
    pub fn hash(&self, pepper: &Pepper) -> KeyHash {
        let mut mac = pepper.0.clone();
        mac.update(self.text.expose().as_bytes());
        KeyHash(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainKey({})", self.preview())
    }
}

/// The secret that turns keys into digests.
#[derive(Clone)]
pub struct Pepper(Hmac<Sha256>);

impl Pepper {
    /// Length of a pepper in bytes.
    pub const BYTES: usize = 32;

    /// Takes pepper bytes as stored. HMAC pads a key shorter than a block with zeros, so this is HMAC under those 32 bytes.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block[..Self::BYTES].copy_from_slice(bytes);
        Self(Hmac::new(&block))
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(****)")
    }
}

/// The digest of a key. Two digests are compared in constant time.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// A digest read from the ledger.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyHash {}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(****)")
    }
}

/// Writes bytes as a number in base 62, left-padded to `width` characters.
fn base62(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *digit = BASE62[remainder as usize];
    }
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_does_not_print() {
        for kind in [KeyKind::Spend, KeyKind::SecretLive, KeyKind::SecretTest] {
            let key = PlainKey::generate(kind).unwrap();
            let read = PlainKey::parse(key.expose()).unwrap();
            assert_eq!(read.kind(), kind);
            assert_eq!(read.expose(), key.expose());
            assert!(!format!("{key:?}").contains(&key.expose()[20..]));
            assert_eq!(key.preview().len(), kind.prefix().len() + 12);
        }
    }

    #[test]
    fn one_wrong_character_is_refused() {
        let key = PlainKey::generate(KeyKind::Spend).unwrap();
        let text = key.expose();
        for at in 0..text.len() {
            let mut wrong = text.as_bytes().to_vec();
            wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
            assert!(PlainKey::parse(std::str::from_utf8(&wrong).unwrap()).is_err(), "character {at}");
        }
        for text in ["", "lava_sk_", "sk-proj-abc", &text[..text.len() - 1], &format!("{text}0"), "lava_sk_ü"] {
            assert!(PlainKey::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_digest_depends_on_the_pepper() {
        let key = PlainKey::generate(KeyKind::Spend).unwrap();
        let (one, two) = (Pepper::from_bytes(&[1; 32]), Pepper::from_bytes(&[2; 32]));
        assert_eq!(key.hash(&one), key.hash(&one));
        assert_ne!(key.hash(&one), key.hash(&two));
    }
}

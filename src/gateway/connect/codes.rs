//! One-time codes: what travels through the browser to the program that asked, and is changed there into a secret key.
//!
//! They live in the memory of this process, as digests, for a minute. The key itself is made when a code comes back, so one that nobody fetches leaves nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::domain::KeyHash;

/// How long a code can be changed into a key, as at Lava.
const AGE_MAX: SignedDuration = SignedDuration::from_secs(60);
/// Most codes at a time; a person gave each of them.
const CODES_MAX: usize = 1_024;
/// Longer texts are no codes.
const CODE_BYTES_MAX: usize = 128;

/// What a person agreed to.
#[derive(Debug)]
pub(super) struct Grant {
    /// What the key will be called.
    pub(super) name: String,
    /// Whether the key only reaches the sandbox.
    pub(super) test: bool,
    /// The secret key with which they showed that they may.
    pub(super) shown: Option<KeyHash>,
    pub(super) given_at: Timestamp,
}

impl Grant {
    fn is_open(&self, now: Timestamp) -> bool {
        // A clock that was set back does not make a code last.
        (SignedDuration::ZERO..=AGE_MAX).contains(&now.duration_since(self.given_at))
    }
}

#[derive(Default)]
pub(super) struct Codes(Mutex<HashMap<[u8; 32], Grant>>);

impl Codes {
    /// A new code for this; `None` when too many are open.
    pub(super) fn issue(&self, grant: Grant) -> Result<Option<String>, getrandom::Error> {
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random)?;
        let code = URL_SAFE_NO_PAD.encode(random);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, other| other.is_open(grant.given_at));
        if open.len() >= CODES_MAX {
            return Ok(None);
        }
        open.insert(digest(&code), grant);
        Ok(Some(code))
    }

    /// Takes a code for good. Of two who come at once with the same one, one finds it.
    pub(super) fn redeem(&self, code: &str, now: Timestamp) -> Option<Grant> {
        if code.len() > CODE_BYTES_MAX {
            return None;
        }
        let grant = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(code));
        grant.filter(|grant| grant.is_open(now))
    }
}

fn digest(code: &str) -> [u8; 32] {
    Sha256::digest(code.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn grant(given_at: Timestamp) -> Grant {
        Grant { name: "login".to_owned(), test: false, shown: None, given_at }
    }

    #[test]
    fn a_code_works_once_and_for_a_minute() {
        let codes = Codes::default();
        let issue = || codes.issue(grant(at(0))).unwrap().unwrap();
        let (one, other) = (issue(), issue());
        assert_ne!(one, other);
        assert_eq!(one.len(), 43, "256 bits");
        assert!(codes.redeem(&one[1..], at(1)).is_none());
        assert!(codes.redeem(&one, at(60)).is_some());
        assert!(codes.redeem(&one, at(60)).is_none());
        assert!(codes.redeem(&other, at(61)).is_none());
        let early = issue();
        assert!(codes.redeem(&early, at(-1)).is_none(), "the clock was set back");
    }

    #[test]
    fn memory_is_bounded_and_old_codes_make_room() {
        let codes = Codes::default();
        for _ in 0..CODES_MAX {
            assert!(codes.issue(grant(at(0))).unwrap().is_some());
        }
        assert!(codes.issue(grant(at(60))).unwrap().is_none());
        assert!(codes.issue(grant(at(61))).unwrap().is_some());
        assert_eq!(codes.0.lock().unwrap().len(), 1);
    }
}

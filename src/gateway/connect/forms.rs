//! The token in a login page's form: made by this process, for exactly what the page shows, good once and for a few minutes.
//!
//! It is a keyed digest and not a row in a table, so pages that are asked for and never answered take no memory. What is remembered are the answers.

use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

use super::asker::Asker;

/// A page that stands open for longer is shown anew.
const AGE_MAX: SignedDuration = SignedDuration::from_mins(10);
/// Nobody reads in less: a click that comes sooner was meant for what stood there before.
const AGE_MIN: SignedDuration = SignedDuration::from_millis(700);
/// Most answers that are remembered. One that finds no room is refused, since it could be given twice.
const ANSWERS_MAX: usize = 16_384;

type Nonce = [u8; 16];

/// Why a form's answer does not count.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Not made by this process for what the form says.
    Foreign,
    TooSoon,
    TooLate,
    Answered,
    Crowded,
}

/// A form whose token is right. What was decided on it counts once it is [`Forms::close`]d.
#[derive(Debug)]
pub(super) struct Form(Nonce);

#[derive(Default)]
pub(super) struct Forms {
    key: OnceLock<Hmac<Sha256>>,
    answered: Mutex<HashMap<Nonce, Timestamp>>,
}

impl Forms {
    /// A token for a page that is made now.
    pub(super) fn token(&self, asker: &Asker, now: Timestamp) -> Result<String, getrandom::Error> {
        let mut nonce = Nonce::default();
        getrandom::fill(&mut nonce)?;
        let made_at = now.as_microsecond().to_be_bytes();
        let digest = self.digest(&nonce, made_at, asker)?.finalize().into_bytes();
        Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &made_at, &digest].concat()))
    }

    /// Checks the token that came back with a form.
    pub(super) fn check(&self, token: &str, asker: &Asker, now: Timestamp) -> Result<Form, Unfit> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Unfit::Foreign)?;
        let (nonce, rest) = bytes.split_first_chunk::<16>().ok_or(Unfit::Foreign)?;
        let (made_at, digest) = rest.split_first_chunk::<8>().ok_or(Unfit::Foreign)?;
        let expected = self.digest(nonce, *made_at, asker).map_err(|_| Unfit::Foreign)?;
        expected.verify_slice(digest).map_err(|_| Unfit::Foreign)?;
        let made_at = Timestamp::from_microsecond(i64::from_be_bytes(*made_at)).map_err(|_| Unfit::Foreign)?;
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.contains_key(nonce) {
            return Err(Unfit::Answered);
        }
        match now.duration_since(made_at) {
            age if age < AGE_MIN => Err(Unfit::TooSoon),
            age if age > AGE_MAX => Err(Unfit::TooLate),
            _ => Ok(Form(*nonce)),
        }
    }

    /// Takes the answer to a form; a second one does not count.
    pub(super) fn close(&self, Form(nonce): Form, now: Timestamp) -> Result<(), Unfit> {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        // A token is too old by then, so what was done with it need not be known any more.
        if answered.len() >= ANSWERS_MAX {
            answered.retain(|_, at| now.duration_since(*at) <= AGE_MAX);
        }
        if answered.contains_key(&nonce) {
            return Err(Unfit::Answered);
        }
        if answered.len() >= ANSWERS_MAX {
            return Err(Unfit::Crowded);
        }
        answered.insert(nonce, now);
        Ok(())
    }

    fn digest(&self, nonce: &Nonce, made_at: [u8; 8], asker: &Asker) -> Result<Hmac<Sha256>, getrandom::Error> {
        let mut mac = self.key()?.clone();
        mac.update(nonce);
        mac.update(&made_at);
        for (_, value) in asker.fields() {
            // With its length, so that nothing moves from one field to the next.
            mac.update(&(value.len() as u64).to_be_bytes());
            mac.update(value.as_bytes());
        }
        Ok(mac)
    }

    fn key(&self) -> Result<&Hmac<Sha256>, getrandom::Error> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
        getrandom::fill(&mut key)?;
        Ok(self.key.get_or_init(|| Hmac::new(&key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(client: &str, machine: &str) -> Asker {
        let name = |text: &str| Some(text.to_owned());
        Asker { state: "0123456789abcdef".to_owned(), port: 5_000, client: name(client), machine: name(machine), limit: None }
    }

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
    }

    #[test]
    fn a_token_is_good_once_for_what_it_was_made_for() {
        let forms = Forms::default();
        let asks = asker("ab", "c");
        let token = forms.token(&asks, at(0)).unwrap();
        for other in
            [asker("a", "bc"), asker("ab", "d"), Asker { port: 5_001, ..asker("ab", "c") }, Asker { client: None, ..asker("ab", "c") }]
        {
            assert_eq!(forms.check(&token, &other, at(1_000)).unwrap_err(), Unfit::Foreign);
        }
        for wrong in ["", "AAAA", &token[1..], &token.replace(&token[..4], "AAAA"), "%"] {
            assert_eq!(forms.check(wrong, &asks, at(1_000)).unwrap_err(), Unfit::Foreign);
        }
        assert_eq!(Forms::default().check(&token, &asks, at(1_000)).unwrap_err(), Unfit::Foreign, "another process");
        let (form, twin) = (forms.check(&token, &asks, at(1_000)).unwrap(), forms.check(&token, &asks, at(1_000)).unwrap());
        assert_eq!(forms.close(form, at(1_000)), Ok(()));
        assert_eq!(forms.close(twin, at(1_000)), Err(Unfit::Answered));
        assert_eq!(forms.check(&token, &asks, at(2_000)).unwrap_err(), Unfit::Answered);
    }

    #[test]
    fn a_token_has_its_time() {
        let (forms, asks) = (Forms::default(), asker("a", "b"));
        let token = forms.token(&asks, at(0)).unwrap();
        for (milliseconds, unfit) in
            [(-5_000, Some(Unfit::TooSoon)), (699, Some(Unfit::TooSoon)), (700, None), (600_000, None), (600_001, Some(Unfit::TooLate))]
        {
            assert_eq!(forms.check(&token, &asks, at(milliseconds)).err(), unfit, "{milliseconds}");
        }
    }

    #[test]
    fn answers_take_bounded_memory_and_make_room_with_time() {
        let forms = Forms::default();
        let form = |n: u64| Form([n.to_be_bytes(), n.to_be_bytes()].concat().try_into().unwrap());
        for n in 0..ANSWERS_MAX as u64 {
            forms.close(form(n), at(0)).unwrap();
        }
        let next = ANSWERS_MAX as u64;
        assert_eq!(forms.close(form(next), at(600_000)), Err(Unfit::Crowded));
        assert_eq!(forms.close(form(next), at(600_001)), Ok(()));
        assert_eq!(forms.answered.lock().unwrap().len(), 1);
    }
}

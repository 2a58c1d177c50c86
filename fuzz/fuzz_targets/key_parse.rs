//! Reading a key never panics; what is read is the very text, and reads the same again; one wrong character is refused.

#![no_main]

use lava_mcp::domain::{PlainKey, key::KeyKind};
use libfuzzer_sys::fuzz_target;

const KINDS: [KeyKind; 3] = [KeyKind::Spend, KeyKind::SecretLive, KeyKind::SecretTest];
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(text);
    }
    // The same bytes as a key with a right checksum.
    let Some((&[kind, at, other], body)) = bytes.split_first_chunk::<3>() else { return };
    let random: String = (0..43).map(|place| char::from(BASE62[usize::from(*body.get(place).unwrap_or(&0)) % 62])).collect();
    let mut text = format!("{}{random}", KINDS[usize::from(kind) % 3].prefix());
    text.push_str(&checksum(&text));
    assert!(check(&text), "{text}");
    let (at, other) = (usize::from(at) % text.len(), char::from(other));
    if !text[at..].starts_with(other) {
        text.replace_range(at..=at, &other.to_string());
        assert!(!check(&text), "{text}");
    }
});

/// Whether it is a key. If it is, it must be the same key again.
fn check(text: &str) -> bool {
    let Ok(key) = PlainKey::parse(text) else { return false };
    assert_eq!(key.expose(), text);
    let again = PlainKey::parse(key.expose()).unwrap();
    assert_eq!((again.kind(), again.expose()), (key.kind(), text));
    let shown = key.preview();
    assert!(text.starts_with(shown.trim_end_matches('*')) && shown.len() == key.kind().prefix().len() + 12);
    assert!(!format!("{key:?}").contains(&text[shown.len()..]));
    true
}

fn checksum(text: &str) -> String {
    let mut number = crc32fast::hash(text.as_bytes());
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(number % 62) as usize];
        number /= 62;
    }
    digits.map(char::from).iter().collect()
}

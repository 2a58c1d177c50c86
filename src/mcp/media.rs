//! Images, sound and files in answers: found in the usual places of a JSON answer, and told apart by what they are, not by what they are called.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde_json::{Map, Value};

const BINARY: &str = "application/octet-stream";
/// Base64 as providers write it, with padding or without.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Something that is not text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    /// Such as `image/png`.
    pub(super) kind: &'static str,
    pub(super) bytes: Bytes,
}

/// Media types, with how their files end and how their bytes begin. A client shows those of images and sound.
const KINDS: [(&str, &str, &[u8]); 13] = [
    ("image/png", "png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", "jpg", b"\xff\xd8\xff"),
    ("image/gif", "gif", b"GIF8"),
    ("image/webp", "webp", b"RIFF....WEBP"),
    ("audio/wav", "wav", b"RIFF....WAVE"),
    ("audio/ogg", "ogg", b"OggS"),
    ("audio/flac", "flac", b"fLaC"),
    ("audio/mpeg", "mp3", b"ID3"),
    ("audio/mpeg", "mp3", b"\xff\xfb"),
    ("audio/mpeg", "mp3", b"\xff\xf3"),
    ("video/mp4", "mp4", b"....ftyp"),
    ("application/pdf", "pdf", b"%PDF-"),
    ("application/zip", "zip", b"PK\x03\x04"),
];
/// What is kept beside those.
const OTHERS: [(&str, &str); 3] = [("text/plain", "txt"), ("application/json", "json"), (BINARY, "bin")];

/// How the file of a media type ends.
pub(crate) fn extension(kind: &str) -> &'static str {
    let known = KINDS.iter().map(|(kind, extension, _)| (*kind, *extension)).chain(OTHERS);
    known.into_iter().find(|(one, _)| *one == kind).map_or("bin", |(_, extension)| extension)
}

/// The media type of a file, by how its name ends.
pub(super) fn kind_of_file(extension: &str) -> Option<&'static str> {
    let known = KINDS.iter().map(|(kind, extension, _)| (*kind, *extension)).chain(OTHERS);
    known.into_iter().find(|(_, one)| *one == extension).map(|(kind, _)| kind)
}

/// What the bytes are, by how they begin; a point stands for any byte. A wrong name must not reach a client: some break off a conversation at an image that is none.
pub(crate) fn kind_of(bytes: &[u8]) -> Option<&'static str> {
    let begins = |mark: &[u8]| bytes.len() >= mark.len() && mark.iter().zip(bytes).all(|(mark, byte)| *mark == b'.' || mark == byte);
    KINDS.iter().find(|(_, _, mark)| begins(mark)).map(|(kind, _, _)| *kind)
}

/// A body that is not text.
pub(super) fn of_body(content_type: Option<&str>, body: &Bytes) -> Option<Media> {
    kind_of_body(content_type, body).map(|kind| Media { kind, bytes: body.clone() })
}

/// What a body is that is not text: known from its type, or from its bytes.
pub(crate) fn kind_of_body(content_type: Option<&str>, body: &[u8]) -> Option<&'static str> {
    let named = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = named.starts_with("text/")
        || ["json", "xml", "javascript", "x-www-form-urlencoded", "yaml"].iter().any(|word| named.ends_with(word));
    let is_binary = !is_text && (kind_of(body).is_some() || ["image/", "audio/", "video/"].iter().any(|family| named.starts_with(family)));
    let is_media = !body.is_empty() && (is_binary || std::str::from_utf8(body).is_err());
    is_media.then(|| kind_of(body).unwrap_or(BINARY))
}

/// The images and sound in a JSON answer, wherever providers put them, with the JSON pointers to their places.
pub(super) fn find(value: &Value) -> Vec<(String, Media)> {
    let mut found = Vec::new();
    look(value, &mut String::new(), &mut found);
    found
}

fn look(value: &Value, at: &mut String, found: &mut Vec<(String, Media)>) {
    let mut below = |name: &str, value: &Value, found: &mut Vec<(String, Media)>| {
        let length = at.len();
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        look(value, at, found);
        at.truncate(length);
    };
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| below(&index.to_string(), item, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                below(name, value, found);
            }
            for (name, holds) in named(fields) {
                let media = fields.get(name).and_then(Value::as_str).and_then(|text| decode(text, holds));
                found.extend(media.map(|media| (format!("{at}/{name}"), media)));
            }
        }
        Value::String(text) => found.extend(of_data_url(text).map(|media| (at.clone(), media))),
        _ => {}
    }
}

/// Whether a field that holds base64 may hold anything, or only what is recognised.
#[derive(Clone, Copy)]
enum Holds {
    Anything,
    KnownMedia,
}

/// Fields of an object whose text is base64: of images (`b64_json`), of sound (`data` beside a `transcript` or an `id`), and of whatever stands beside its type.
fn named(fields: &Map<String, Value>) -> Vec<(&'static str, Holds)> {
    let has = |name: &str| fields.contains_key(name);
    let mut found = Vec::new();
    if has("b64_json") {
        found.push(("b64_json", Holds::Anything));
    }
    if has("data") && (has("transcript") || has("media_type") || has("mime_type") || has("mimeType")) {
        found.push(("data", Holds::Anything));
    } else if has("data") && has("format") {
        found.push(("data", Holds::KnownMedia));
    }
    found
}

fn decode(text: &str, holds: Holds) -> Option<Media> {
    let bytes = Bytes::from(BASE64.decode(text).ok().filter(|bytes| !bytes.is_empty())?);
    match (kind_of(&bytes), holds) {
        (Some(kind), _) => Some(Media { kind, bytes }),
        (None, Holds::Anything) => Some(Media { kind: BINARY, bytes }),
        (None, Holds::KnownMedia) => None,
    }
}

/// `data:image/png;base64,…`, where that is the whole text.
fn of_data_url(text: &str) -> Option<Media> {
    let (head, data) = text.strip_prefix("data:")?.split_once(',')?;
    head.strip_suffix(";base64")?;
    decode(data, Holds::Anything)
}

/// Bytes as base64, as the protocol carries them.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

    #[test]
    fn a_body_is_what_its_bytes_are() {
        let kind =
            |content_type: Option<&str>, body: &'static [u8]| of_body(content_type, &Bytes::from_static(body)).map(|media| media.kind);
        assert_eq!(kind(Some("image/png"), PNG), Some("image/png"));
        assert_eq!(kind(Some("image/jpeg"), PNG), Some("image/png"), "its name is wrong");
        assert_eq!(kind(Some("image/png"), b"<html>"), Some(BINARY), "not shown as an image");
        assert_eq!(kind(None, b"RIFF\0\0\0\0WAVEfmt "), Some("audio/wav"));
        assert_eq!(kind(Some("application/json; charset=utf-8"), b"{}"), None);
        assert_eq!(kind(Some("application/json"), b"\xff\xfe\x00"), Some(BINARY));
        assert_eq!(kind(Some("image/svg+xml"), b"<svg/>"), None, "it is text");
        assert_eq!(kind(Some("text/plain"), b"PK\x03\x04"), None);
        assert_eq!(kind(Some("image/png"), b""), None);
    }

    #[test]
    fn media_are_found_where_providers_put_them() {
        let data = to_base64(PNG);
        let mut answer = json!({
            "data": [{"b64_json": data, "revised_prompt": "a cat"}],
            "choices": [{"message": {
                "images": [{"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}}],
                "audio": {"id": "a", "data": to_base64(b"ID3..."), "transcript": "Hi"},
            }}],
            "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}],
            "parts": [{"inlineData": {"mimeType": "image/png", "data": data}}],
            "a/b~c": format!("data:image/png;base64,{data}"),
            "none": [{"data": "not base64!", "transcript": "x"}, {"data": "aGVsbG8", "format": "text"}, "data:,hello", {"b64_json": 5}],
        });
        let found = find(&answer);
        let of = |kind: &str| found.iter().filter(|(_, media)| media.kind == kind).count();
        assert_eq!((of("image/png"), of("audio/mpeg"), found.len()), (5, 1, 6), "{found:?}");
        for (place, _) in found {
            *answer.pointer_mut(&place).unwrap() = Value::Null;
        }
        assert!(!answer.to_string().contains(&data), "{answer}");
    }

    #[test]
    fn a_kind_and_its_file_belong_together() {
        for (kind, extension) in KINDS.iter().map(|(kind, extension, _)| (*kind, *extension)).chain(OTHERS) {
            assert_eq!((super::extension(kind), kind_of_file(extension)), (extension, Some(kind)));
        }
        assert_eq!((extension("x/y"), kind_of_file("exe")), ("bin", None));
    }
}

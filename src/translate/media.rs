//! Media types as RFC 9110 has them: without regard to case, and with parameters that change nothing about what a body is.

/// Server-sent events.
pub const EVENT_STREAM: &str = "text/event-stream";

/// Whether a `Content-Type` names this type, which is written in lower case.
pub fn is_type(content_type: &[u8], wanted: &str) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
}

/// Whether a `Content-Encoding` names anything but the body as it is.
pub fn is_packed(content_encoding: &[u8]) -> bool {
    content_encoding
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_parameters_do_not_matter() {
        for (written, is_stream) in [
            ("text/event-stream", true),
            ("text/event-stream; charset=utf-8", true),
            ("Text/Event-Stream; charset=UTF-8", true),
            ("TEXT/EVENT-STREAM;charset=utf-8", true),
            (" text/event-stream ;x=y", true),
            ("text/event-streams", false),
            ("application/json", false),
            ("application/json; not=text/event-stream", false),
            ("", false),
        ] {
            assert_eq!(is_type(written.as_bytes(), EVENT_STREAM), is_stream, "{written}");
        }
    }

    #[test]
    fn what_is_packed_says_so() {
        for (written, packed) in [
            ("", false),
            ("identity", false),
            ("Identity", false),
            (" identity , IDENTITY ", false),
            ("gzip", true),
            ("GZip", true),
            ("identity, gzip", true),
            ("gzip, identity", true),
            ("br", true),
        ] {
            assert_eq!(is_packed(written.as_bytes()), packed, "{written}");
        }
    }
}

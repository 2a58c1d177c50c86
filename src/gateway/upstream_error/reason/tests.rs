//! The shapes of errors as providers send them, each with what must be read in it.

mod wrapped;

use serde_json::json;

use super::*;
use crate::gateway::upstream_error::document::parse;

fn read(body: &[u8], is_markup: bool) -> Reason {
    Reason::read(body, parse(body).as_ref(), is_markup, str::to_owned)
}

#[test]
fn every_shape_of_an_error_is_read() {
    // message, code, type, param
    type Row = (Value, &'static str, Value, Option<&'static str>, Option<&'static str>);
    let none = Value::Null;
    let table: Vec<Row> = vec![
        (
            json!({"error": {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}}),
            "too long",
            json!("context_length_exceeded"),
            Some("invalid_request_error"),
            Some("messages"),
        ),
        (json!({"error": {"message": "no credits", "code": 402}}), "no credits", json!(402), None, None),
        (json!({"error": {"message": "m", "type": null, "param": null, "code": null}}), "m", none.clone(), None, None),
        (json!({"error": "out of memory"}), "out of memory", none.clone(), None, None),
        (json!({"error": "bad", "error_type": "validation"}), "bad", none.clone(), Some("validation"), None),
        (json!({"message": "no such model"}), "no such model", none.clone(), None, None),
        (json!({"Message": "Input is too long"}), "Input is too long", none.clone(), None, None),
        (
            json!({"statusCode": 400, "message": ["a is wrong", "b too"], "error": "Bad Request"}),
            "Bad Request: a is wrong; b too",
            none.clone(),
            None,
            None,
        ),
        (
            json!({"object": "error", "message": "over the maximum", "type": "BadRequestError", "param": null, "code": 400}),
            "over the maximum",
            json!(400),
            Some("BadRequestError"),
            None,
        ),
        (json!({"detail": "Not authenticated"}), "Not authenticated", none.clone(), None, None),
        (
            json!({"detail": [{"loc": ["body", "temperature"], "msg": "must be at most 2", "type": "value_error"}, {"loc": ["body", "n", 0], "msg": "is no number"}]}),
            "temperature: must be at most 2; n.0: is no number",
            none.clone(),
            Some("value_error"),
            Some("temperature"),
        ),
        (json!({"detail": {"status": "quota_exceeded", "message": "used up"}}), "used up", none.clone(), Some("quota_exceeded"), None),
        (json!({"detail": {"error": "no such voice"}}), "no such voice", none.clone(), None, None),
        (
            json!({"object": "error", "type": "invalid_request_error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}}),
            "stream_options: Extra inputs are not permitted",
            none.clone(),
            Some("invalid_request_error"),
            Some("stream_options"),
        ),
        (
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}),
            "Overloaded",
            none.clone(),
            Some("overloaded_error"),
            None,
        ),
        (
            json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded", "details": [{"reason": "X"}]}}),
            "Quota exceeded",
            json!(429),
            Some("RESOURCE_EXHAUSTED"),
            None,
        ),
        (
            json!([{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "bad"}}]),
            "bad",
            json!(400),
            Some("INVALID_ARGUMENT"),
            None,
        ),
        (json!({"id": "x", "message": "invalid request: too many tokens"}), "invalid request: too many tokens", none.clone(), None, None),
        (
            json!({"type": "https://example.com/out", "title": "Out of credit", "detail": "Your balance is 3.", "status": 403}),
            "Out of credit: Your balance is 3.",
            none.clone(),
            Some("https://example.com/out"),
            None,
        ),
        (json!({"type": "about:blank", "title": "Gone"}), "Gone", none.clone(), None, None),
        (
            json!({"__type": "com.amazon.coral.validate#ValidationException", "message": "1 validation error"}),
            "1 validation error",
            none.clone(),
            Some("ValidationException"),
            None,
        ),
        (json!({"success": false, "errors": [{"code": 7003, "message": "Could not route"}]}), "Could not route", json!(7003), None, None),
        (json!({"errors": ["one", "two"]}), "one; two", none.clone(), None, None),
        (
            json!({"code": "InvalidParameter", "message": "Range of input length"}),
            "Range of input length",
            json!("InvalidParameter"),
            None,
            None,
        ),
        (
            json!({"code": "Client specified an invalid argument", "error": "no such model"}),
            "no such model",
            json!("Client specified an invalid argument"),
            None,
            None,
        ),
        (
            json!({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "{\"error\":{\"message\":\"tools: too many\"}}"}}}),
            "Provider returned error: tools: too many",
            json!(400),
            None,
            None,
        ),
        (json!({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}), "login fail", json!(1004), None, None),
        (json!("just a text"), "just a text", none.clone(), None, None),
        (json!({"odd": {"x": 1}}), r#"{"odd":{"x":1}}"#, none.clone(), None, None),
        (json!({"error": {"message": ""}}), r#"{"error":{"message":""}}"#, none.clone(), None, None),
        (json!({}), "", none.clone(), None, None),
    ];
    for (body, message, code, kind, param) in table {
        let read = read(body.to_string().as_bytes(), false);
        let code = Some(code).filter(|code| !code.is_null());
        let expected = Reason { message: message.to_owned(), code, kind: kind.map(str::to_owned), param: param.map(str::to_owned) };
        assert_eq!(read, expected, "{body}");
    }
}

#[test]
fn a_text_and_a_page_are_read() {
    for (body, message) in [
        ("temperature must be below 2\n", "temperature must be below 2"),
        ("line one\r\nline\ttwo\u{7}", "line one line two"),
        ("", ""),
        (" \n", ""),
        (
            "<html><head><title>502 Bad Gateway</title><style>a{}</style></head><body><center><h1>502 Bad Gateway</h1></center><hr>nginx</body></html>",
            "502 Bad Gateway: nginx",
        ),
        ("<!DOCTYPE html><title>Gone</title>", "Gone"),
        ("<html><body><script>if (1 < 2) {}</script><!-- a > b --><p>Fish &amp; chips &lt;1&gt;</p></body></html>", "Fish & chips <1>"),
        ("<p>no end <b", "no end"),
        ("<header>seen</header>", "seen"),
        ("<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>", "AccessDenied Access Denied"),
        ("data: {\"error\": {\"message\": \"in a stream\"}}\n\ndata: [DONE]\n\n", "in a stream"),
        ("event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"in a stream\"}}\n\n", "in a stream"),
        ("\u{feff}{\"error\":\"marked\"}", "marked"),
        ("{\"error\": {\"message\": \"cut o", "{\"error\": {\"message\": \"cut o"),
    ] {
        assert_eq!(read(body.as_bytes(), false).message, message, "{body}");
    }
    let broken = b"{\"error\":{\"message\":\"caf\xe9 \\ud83d\",\"code\":\"c\",\"type\":\"t\",\"param\":\"p\",\"score\":NaN}} and more";
    let (text, name) = ("caf\u{fffd} \u{fffd}".to_owned(), |name: &str| Some(name.to_owned()));
    assert_eq!(read(broken, false), Reason { message: text, code: Some(json!("c")), kind: name("t"), param: name("p") });
    assert_eq!(read(b"not \xff text", false).message, "not \u{fffd} text");
    assert_eq!(read(b"Busy<br>Come again", true).message, "Busy Come again");
}

#[test]
fn what_is_cut_says_so_and_hides_a_key_first() {
    let long = "x".repeat(490);
    let message =
        |value: &Value| Reason::read(value.to_string().as_bytes(), Some(value), false, |text| text.replace("secret", "****")).message;
    assert_eq!(
        message(&json!({"error": {"message": format!("{long} the reason is at the end")}})),
        format!("{long} the reason is at the end")
    );
    let cut = message(&json!({"message": "y".repeat(5_000)}));
    assert_eq!((cut.chars().count(), cut.ends_with('…')), (MESSAGE_CHARS_MAX + 1, true));
    let text = format!("{}secret and more than fits{long}", "x".repeat(497));
    let cut = Reason::read(text.as_bytes(), None, false, |text| text.replace("secret", "****")).message;
    assert!(cut.ends_with("x***…"), "{cut}");
    let nested = (0..100).fold(json!("deep"), |value, _| json!({"message": value}));
    assert!(message(&nested).starts_with("{\"message\""), "a message that nobody finds is shown as it is");
}

proptest::proptest! {
    /// Whatever comes, there is a message where there is a word, and none is longer than it may be.
    #[test]
    fn no_body_is_too_odd(body in "\\PC{0,80}|<[a-z!/<> -]{0,60}|[{\\[\"a-z:,}\\]0-9]{0,60}") {
        let message = read(body.as_bytes(), false).message;
        proptest::prop_assert!(message.chars().count() <= MESSAGE_CHARS_MAX + 1);
    }
}

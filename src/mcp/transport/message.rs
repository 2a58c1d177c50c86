//! What a client has sent, told apart by its form: a message to hand on, a batch of them, or one that is answered here. Every transport reads through this, so that
//! the same bytes get the same answer everywhere, under the id that they have.

use http::StatusCode;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json, value::RawValue};

use super::{
    envelope::{Envelope, Id},
    handshake,
};

/// Largest message: as much as the gateway reads, and a little for the envelope.
pub(super) const MESSAGE_BYTES_MAX: usize = 33 << 20;
/// Most messages of a batch.
const BATCH_MAX: usize = 1_000;
/// What some programs begin a text with.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Where a request of the era without sessions says what its client can do.
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// What was sent.
#[derive(Clone, Debug)]
pub(super) enum Incoming {
    /// A message, and its bytes where they had to be changed.
    Message { message: Box<ClientJsonRpcMessage>, rewritten: Option<Vec<u8>> },
    /// Several, as the revision 2025-03-26 allows; none of them is a batch.
    Batch(Vec<Incoming>),
    /// What cannot be handed on, and is answered.
    Refused(Refusal),
    /// What cannot be handed on either, but is not a request: nobody waits for an answer.
    Ignored(ErrorData),
}

/// An answer that says what is wrong.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// Of the request, or `null` where it cannot be told.
    pub(super) id: Value,
    pub(super) error: ErrorData,
    is_too_large: bool,
}

impl Refusal {
    pub(super) fn new(id: Value, code: ErrorCode, text: impl Into<String>) -> Self {
        Self { id, error: ErrorData::new(code, text.into(), None), is_too_large: false }
    }

    /// The status over HTTP.
    pub(super) const fn status(&self) -> StatusCode {
        if self.is_too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST }
    }

    /// For a message that is not read to its end.
    pub(super) fn too_large(id: Id) -> Self {
        let text = format!("The message is larger than {} MiB.", MESSAGE_BYTES_MAX >> 20);
        Self { is_too_large: true, ..Self::new(id.into_value(), ErrorCode::INVALID_REQUEST, text) }
    }

    /// For an id that another request has.
    pub(super) fn taken(id: Value) -> Self {
        let text = format!("The id {id} belongs to a request that has not been answered yet. Each request needs its own id.");
        Self::new(id, ErrorCode::INVALID_REQUEST, text)
    }

    /// For `initialize` in the company of other messages.
    pub(super) fn not_in_a_batch(id: Value) -> Self {
        Self::new(id, ErrorCode::INVALID_REQUEST, "initialize must not be part of a batch: send it by itself, and first.")
    }

    pub(super) fn to_value(&self) -> Value {
        json!({"jsonrpc": "2.0", "id": self.id, "error": self.error})
    }
}

/// Why a batch is not taken.
pub(super) const NO_BATCHES: &str =
    "Only revision 2025-03-26 of MCP has batches, and this connection uses another one, or none yet. Send each message by itself.";

impl Incoming {
    /// The id of a request, as it was sent; `null` for anything else.
    pub(super) fn id(&self) -> Value {
        match self {
            Self::Message { message, .. } => match &**message {
                ClientJsonRpcMessage::Request(request) => request.id.clone().into_json_value(),
                _ => Value::Null,
            },
            Self::Refused(refusal) => refusal.id.clone(),
            Self::Batch(_) | Self::Ignored(_) => Value::Null,
        }
    }

    /// Whether it begins a session.
    pub(super) fn is_initialize(&self) -> bool {
        let Self::Message { message, .. } = self else { return false };
        matches!(&**message, ClientJsonRpcMessage::Request(request) if matches!(request.request, ClientRequest::InitializeRequest(_)))
    }
}

/// The members of a message that mean something. One that stands there twice is an error.
#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow, default, deserialize_with = "there")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "there")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "there")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "there")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "there")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "there")]
    error: Option<&'a RawValue>,
}

/// A `null` is there, too.
fn there<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads what came as one line, or as one body.
pub(super) fn read(bytes: &[u8]) -> Incoming {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).trim_ascii();
    if !bytes.starts_with(b"[") {
        return one(bytes);
    }
    match serde_json::from_slice::<Vec<&RawValue>>(bytes) {
        Err(error) => with_broken_characters(bytes).unwrap_or_else(|| Incoming::Refused(not_json(Value::Null, &error))),
        Ok(items) if items.is_empty() => {
            Incoming::Refused(Refusal::new(Value::Null, ErrorCode::INVALID_REQUEST, "A batch needs at least one message."))
        }
        Ok(items) if items.len() > BATCH_MAX => {
            let text = format!("A batch has at most {BATCH_MAX} messages; this one has {}.", items.len());
            Incoming::Refused(Refusal::new(Value::Null, ErrorCode::INVALID_REQUEST, text))
        }
        Ok(items) => Incoming::Batch(items.into_iter().map(|item| one(item.get().as_bytes())).collect()),
    }
}

/// A batch in which some bytes are not UTF-8: the messages with those are refused one by one.
fn with_broken_characters(bytes: &[u8]) -> Option<Incoming> {
    let error = std::str::from_utf8(bytes).err()?;
    let text = String::from_utf8_lossy(bytes);
    let items = serde_json::from_str::<Vec<&RawValue>>(&text).ok().filter(|items| items.len() <= BATCH_MAX)?;
    let read = |item: &RawValue| match one(item.get().as_bytes()) {
        Incoming::Message { .. } if item.get().contains(char::REPLACEMENT_CHARACTER) => {
            let id = Envelope::id_in(item.get().as_bytes()).into_value();
            Incoming::Refused(Refusal::new(id, ErrorCode::PARSE_ERROR, format!("The message is not JSON that can be read: {error}")))
        }
        read => read,
    };
    Some(Incoming::Batch(items.into_iter().map(read).collect()))
}

fn not_json(id: Value, error: &serde_json::Error) -> Refusal {
    let mut text = format!("The message is not JSON that can be read: {error}");
    if text.contains("hex escape") || text.contains("surrogate") {
        text.push_str(". Half of a surrogate pair is missing: a text was cut in the middle of a character");
    }
    Refusal::new(id, ErrorCode::PARSE_ERROR, text)
}

fn one(bytes: &[u8]) -> Incoming {
    let top = match serde_json::from_slice::<Top>(bytes) {
        Ok(top) if bytes.starts_with(b"{") => top,
        read => {
            let id = || Envelope::id_in(bytes).into_value();
            return Incoming::Refused(match (serde_json::from_slice::<Value>(bytes), read.err()) {
                (Err(error), _) => not_json(id(), &error),
                (Ok(Value::Object(_)), Some(error)) => {
                    Refusal::new(id(), ErrorCode::INVALID_REQUEST, format!("The message is not a JSON-RPC 2.0 message: {error}"))
                }
                _ => Refusal::new(Value::Null, ErrorCode::INVALID_REQUEST, "Send a JSON-RPC message, which is an object."),
            });
        }
    };
    let id = top.id.map_or(Id::Missing, |id| Id::parse(id.get().as_bytes()));
    let Some(method) = top.method else { return answer(&top, id, bytes) };
    let no = |code, text: String| Incoming::Refused(Refusal::new(id.clone().into_value(), code, text));
    let invalid = |text: &str| no(ErrorCode::INVALID_REQUEST, text.to_owned());
    if top.jsonrpc.is_none_or(|version| version.get() != "\"2.0\"") {
        return invalid("This is not a JSON-RPC 2.0 message: it needs the member \"jsonrpc\" with the value \"2.0\".");
    }
    if top.id.is_some() && !is_usable(&id) {
        return invalid("The id of a request must be a string or a whole number of 64 bits; a notification has none.");
    }
    let method = match serde_json::from_str::<String>(method.get()) {
        Ok(method) => method,
        Err(error) if method.get().starts_with('"') => return Incoming::Refused(not_json(id.into_value(), &error)),
        Err(_) => return invalid("\"method\" must be a string."),
    };
    if top.result.is_some() || top.error.is_some() {
        return invalid("A message has either a \"method\" or a \"result\" or an \"error\".");
    }
    let is_request = top.id.is_some();
    let params = match Params::read(top.params, &method, is_request) {
        Ok(params) => params,
        Err(text) if is_request => return no(ErrorCode::INVALID_PARAMS, text),
        Err(text) => return Incoming::Ignored(ErrorData::invalid_params(text, None)),
    };
    let rewritten = params.changed.and_then(|params| {
        let message = json!({"jsonrpc": "2.0", "id": id.clone().into_value(), "method": method, "params": params});
        serde_json::to_vec(&message).ok()
    });
    match serde_json::from_slice::<ClientJsonRpcMessage>(rewritten.as_deref().unwrap_or(bytes)) {
        Ok(message) => Incoming::Message { message: Box::new(message), rewritten },
        Err(error) => match serde_json::from_slice::<Value>(bytes) {
            Err(error) => Incoming::Refused(not_json(id.into_value(), &error)),
            Ok(_) if is_request => no(ErrorCode::INVALID_PARAMS, format!("{method}: the params have the wrong form.")),
            Ok(_) => Incoming::Ignored(ErrorData::invalid_params(error.to_string(), None)),
        },
    }
}

/// A response of the client, which is never answered; or what has no `method` and is none either.
fn answer(top: &Top, id: Id, bytes: &[u8]) -> Incoming {
    let text = "This is not a JSON-RPC 2.0 message: it has \"jsonrpc\": \"2.0\", and a \"method\" with its \"params\" as an object, or a \"result\" or an \"error\".";
    if top.result.is_none() && top.error.is_none() {
        // What is skipped is not read: that it is JSON is still to be seen.
        if let Err(error) = serde_json::from_slice::<Value>(bytes) {
            return Incoming::Refused(not_json(id.into_value(), &error));
        }
        return Incoming::Refused(Refusal::new(id.into_value(), ErrorCode::INVALID_REQUEST, text));
    }
    match serde_json::from_slice(bytes) {
        Ok(message) => Incoming::Message { message: Box::new(message), rewritten: None },
        Err(_) => Incoming::Ignored(ErrorData::invalid_request(text, None)),
    }
}

/// Whether a request can have this id, as MCP says.
fn is_usable(id: &Id) -> bool {
    match id {
        Id::Known(Value::Number(number)) => {
            // Above that, not every whole number can be written as a float.
            let is_whole = |float: f64| float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0;
            number.is_i64() || (!number.is_u64() && number.as_f64().is_some_and(is_whole))
        }
        Id::Known(_) => true,
        Id::Missing | Id::Unreadable => false,
    }
}

/// The params of a message, where they were looked into.
struct Params {
    /// As they are handed on, where that is not as they were sent.
    changed: Option<Value>,
}

impl Params {
    fn read(params: Option<&RawValue>, method: &str, is_request: bool) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Within<'a> {
            #[serde(borrow, rename = "_meta")]
            meta: Option<&'a RawValue>,
            #[serde(borrow)]
            cursor: Option<&'a RawValue>,
        }
        let text = params.map_or("null", RawValue::get);
        if !text.starts_with('{') && text != "null" {
            return Err(format!("{method}: params must be an object."));
        }
        let is_initialize = method == "initialize" && is_request;
        // What is no JSON after all is found later.
        let within = serde_json::from_str::<Option<Within>>(text).ok().flatten();
        // rmcp takes a cursor of another form for none.
        let cursor = within.as_ref().and_then(|within| within.cursor).filter(|_| method.ends_with("/list"));
        if cursor.is_some_and(|cursor| !cursor.get().starts_with('"')) {
            return Err(format!("{method}: params.cursor must be a string."));
        }
        let meta = within.and_then(|within| within.meta).map_or("null", RawValue::get);
        if !meta.starts_with('{') && meta != "null" {
            return Err(format!("{method}: params._meta must be an object."));
        }
        let says_what_it_can = meta.contains(CAPABILITIES);
        // Where each request says what its client can, there is no such method.
        let is_initialize = is_initialize && !says_what_it_can;
        let (true, Ok(mut params)) = (is_initialize || says_what_it_can, serde_json::from_str::<Value>(text)) else {
            return Ok(Self { changed: None });
        };
        let is_changed = match is_initialize {
            true => handshake::check(&mut params)?,
            false => params["_meta"][CAPABILITIES].as_object_mut().is_some_and(handshake::keep_known),
        };
        Ok(Self { changed: is_changed.then_some(params) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_told_apart() {
        let initialize = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{params}}}"#);
        let deep = format!(r#"{{"jsonrpc":"2.0","id":8,"method":"ping","params":{{"a":{}1{}}}}}"#, "[".repeat(300), "]".repeat(300));
        for (text, id, code, says) in [
            (r#"{"jsonrpc": "#, json!(null), -32_700, "not JSON"),
            ("", json!(null), -32_700, "not JSON"),
            ("7", json!(null), -32_600, "object"),
            ("[]", json!(null), -32_600, "batch"),
            (r#"{"jsonrpc": "2.0"}"#, json!(null), -32_600, "method"),
            (r#"{"id":5,"method":"ping"}"#, json!(5), -32_600, "jsonrpc"),
            (r#"{"jsonrpc":"2.0","id":7.5,"method":"ping"}"#, json!(7.5), -32_600, "id"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, json!(null), -32_600, "id"),
            (r#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#, json!(null), -32_600, "id"),
            (r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"ping"}"#, json!(18_446_744_073_709_551_615_u64), -32_600, "64 bits"),
            (r#"{"jsonrpc":"2.0","id":4,"method":"ping","method":"ping"}"#, json!(4), -32_600, "duplicate field `method`"),
            (r#"{"jsonrpc":"2.0","id":4,"method":"ping","params":[]}"#, json!(4), -32_602, "params must be an object"),
            (r#"{"jsonrpc":"2.0","id":4,"method":"tools/list","params":{"_meta":5}}"#, json!(4), -32_602, "_meta"),
            (r#"{"jsonrpc":"2.0","id":4,"method":"tools/list","params":{"cursor":5}}"#, json!(4), -32_602, "params.cursor"),
            (r#"{"jsonrpc":"2.0","id":4,"method":5}"#, json!(4), -32_600, "method"),
            (r#"{"jsonrpc":"2.0","id":4,"method":"ping","result":{}}"#, json!(4), -32_600, "either"),
            (r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"a":"hi \ud83d"}}"#, json!(5), -32_700, "surrogate"),
            (r#"{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"a":1e400}}"#, json!(6), -32_700, "out of range"),
            (deep.as_str(), json!(8), -32_700, "recursion"),
            (initialize(r#"{"protocolVersion":"2025-06-18"}"#).as_str(), json!(1), -32_602, "capabilities is missing"),
        ] {
            let Incoming::Refused(refusal) = read(text.as_bytes()) else { panic!("{text} is taken") };
            assert_eq!((&refusal.id, refusal.error.code.0), (&id, code), "{text}: {}", refusal.error.message);
            assert!(refusal.error.message.contains(says), "{text}: {}", refusal.error.message);
        }
    }

    #[test]
    fn what_is_a_message_is_handed_on_and_what_nobody_waits_for_is_not_answered() {
        let is_message = |text: &str| matches!(read(text.as_bytes()), Incoming::Message { rewritten: None, .. });
        assert!(is_message(" {\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"ping\"}\r"));
        assert!(is_message("\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1.0,\"method\":\"no/such\",\"params\":null}"));
        assert!(is_message(r#"{"jsonrpc":"2.0","id":44,"result":{}}"#));
        assert!(is_message(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#));
        for text in [
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":{},"error":{"code":-32700,"message":"x"}}"#,
            r#"{"id":44,"result":{}}"#,
        ] {
            assert!(matches!(read(text.as_bytes()), Incoming::Ignored(_)), "{text}");
        }
        let capabilities = format!(r#"{{"_meta":{{"{CAPABILITIES}":{{"experimental":{{"x":true}}}}}}}}"#);
        for params in
            [r#"{"protocolVersion":"x","capabilities":{"experimental":{"x":true}},"clientInfo":{"name":"t","version":"1"}}"#, &capabilities]
        {
            let method = if params.contains("clientInfo") { "initialize" } else { "tools/list" };
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
            let Incoming::Message { rewritten: Some(rewritten), .. } = read(text.as_bytes()) else { panic!("{text}") };
            assert!(!String::from_utf8(rewritten).unwrap().contains("true"));
        }
        let Incoming::Batch(items) = read(br#"[{"jsonrpc":"2.0","id":1,"method":"ping"},[],7]"#) else { panic!() };
        assert!(matches!(&items[..], [Incoming::Message { .. }, Incoming::Refused(_), Incoming::Refused(_)]));
    }
}

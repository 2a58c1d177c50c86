//! Finds the id of a message in its bytes as they come, whatever else is wrong with them: whoever sent a request that cannot be read still waits for an answer to it.
//!
//! A parser gives up at the first fault; this looks on, and keeps nothing but the id, so that a message may be of any length.

use serde_json::Value;

/// Longest id, and longest name of a member, that is looked at.
const TOKEN_BYTES_MAX: usize = 1_024;

/// What is known of a message's id.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Id {
    Missing,
    /// It is there, and is neither text nor a number that can be told.
    Unreadable,
    Known(Value),
}

impl Id {
    /// As an answer has it: `null` where nothing is known.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Known(id) => id,
            Self::Missing | Self::Unreadable => Value::Null,
        }
    }

    /// Reads the text of an id.
    pub(super) fn parse(json: &[u8]) -> Self {
        match serde_json::from_slice(json) {
            Ok(id @ (Value::String(_) | Value::Number(_))) => Self::Known(id),
            _ => Self::Unreadable,
        }
    }
}

/// What comes next among the members of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Name,
    Colon,
    Value,
    Comma,
}

/// Reads a message byte by byte.
#[derive(Debug)]
pub(super) struct Envelope {
    depth: usize,
    /// Whether the outermost value is an object; unknown before it has begun.
    is_object: Option<bool>,
    is_over: bool,
    in_text: bool,
    is_escaped: bool,
    next: Next,
    /// Whether the member at hand is the id.
    is_id: bool,
    /// The name or the id that is being read, as JSON.
    token: Option<Vec<u8>>,
    id: Id,
}

impl Default for Envelope {
    fn default() -> Self {
        Self {
            depth: 0,
            is_object: None,
            is_over: false,
            in_text: false,
            is_escaped: false,
            next: Next::Name,
            is_id: false,
            token: None,
            id: Id::Missing,
        }
    }
}

impl Envelope {
    /// The id in a message that is there as a whole.
    pub(super) fn id_in(message: &[u8]) -> Id {
        let mut envelope = Self::default();
        envelope.feed(message);
        envelope.id()
    }

    /// The id, as far as it has been read. Of one that stands there twice it is the last, as in most parsers.
    pub(super) fn id(self) -> Id {
        self.id
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.is_over {
                return;
            }
            self.take(*byte);
        }
    }

    fn take(&mut self, byte: u8) {
        if self.in_text {
            self.keep(byte);
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => {
                    self.in_text = false;
                    self.end_token();
                }
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_text = true;
                if self.is_token_wanted() {
                    self.token = Some(vec![byte]);
                }
            }
            b'{' | b'[' => self.open(byte),
            b'}' | b']' => self.close(),
            b':' if self.depth == 1 => self.next = Next::Value,
            b',' if self.depth == 1 => {
                self.end_token();
                (self.next, self.is_id) = (Next::Name, false);
            }
            b' ' | b'\t' | b'\r' | b'\n' => self.end_token(),
            // A number, true, false or null; or a byte that has no place here.
            _ => {
                if self.token.is_none() && self.next == Next::Value && self.is_token_wanted() {
                    self.token = Some(Vec::new());
                }
                self.keep(byte);
            }
        }
    }

    /// Whether what begins here is a name, or the id.
    fn is_token_wanted(&self) -> bool {
        let is_wanted = self.next == Next::Name || (self.next == Next::Value && self.is_id);
        self.depth == 1 && self.is_object == Some(true) && is_wanted
    }

    fn keep(&mut self, byte: u8) {
        if let Some(token) = &mut self.token
            && token.len() <= TOKEN_BYTES_MAX
        {
            token.push(byte);
        }
    }

    fn open(&mut self, byte: u8) {
        self.is_object.get_or_insert(byte == b'{');
        if self.depth == 1 && self.next == Next::Value {
            if self.is_id {
                self.id = Id::Unreadable;
            }
            self.next = Next::Comma;
        }
        self.depth += 1;
    }

    fn close(&mut self) {
        self.end_token();
        self.depth = self.depth.saturating_sub(1);
        self.is_over = self.depth == 0;
    }

    fn end_token(&mut self) {
        let Some(token) = self.token.take() else { return };
        if self.next == Next::Name {
            // Names can be written with escapes.
            self.is_id = serde_json::from_slice::<String>(&token).is_ok_and(|name| name == "id");
            self.next = Next::Colon;
        } else {
            self.id = if token.len() > TOKEN_BYTES_MAX { Id::Unreadable } else { Id::parse(&token) };
            self.next = Next::Comma;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_id_is_found_whatever_is_wrong_around_it() {
        let deep = format!("{{\"params\": {}, \"id\": 9}}", "[".repeat(5_000) + &"]".repeat(5_000));
        let long = format!("{{\"id\": \"{}\"}}", "x".repeat(2_000));
        for (message, id) in [
            (&b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"caf\xc3\"}"[..], Id::Known(json!(5))),
            (b"{\"a\": \"\\ud83d\", \"id\" : \"x\\\"y\"", Id::Known(json!("x\"y"))),
            (b"{\"id\":1e400,\"method\":\"ping\"}", Id::Unreadable),
            (b"{\"limit\":1e400,\"id\":7.5}", Id::Known(json!(7.5))),
            (b"{\"params\":{\"id\":1,\"b\":[{\"id\":2}]},\"id\":3", Id::Missing),
            (b"{\"params\":{\"id\":1,\"b\":[{\"id\":2}]},\"id\":3}", Id::Known(json!(3))),
            (b"{\"\\u0069d\": 4 , \"method\": \"id\"", Id::Known(json!(4))),
            (b"{\"id\":[1],\"method\":\"x\"}", Id::Unreadable),
            (b"{\"id\":null}", Id::Unreadable),
            (b"{\"id\":1,\"id\":2}", Id::Known(json!(2))),
            (b"{\"method\":\"id\",\"a\":\"id\"}", Id::Missing),
            (b"[{\"id\":1}]", Id::Missing),
            (b"\"id\": 5", Id::Missing),
            (b"\xef\xbb\xbf {\"id\":6} {\"id\":7}", Id::Known(json!(6))),
            (b"", Id::Missing),
            (deep.as_bytes(), Id::Known(json!(9))),
            (long.as_bytes(), Id::Unreadable),
        ] {
            assert_eq!(Envelope::id_in(message), id, "{}", String::from_utf8_lossy(&message[..message.len().min(80)]));
            let mut pieces = Envelope::default();
            message.chunks(3).for_each(|piece| pieces.feed(piece));
            assert_eq!(pieces.id(), id, "in pieces");
        }
    }
}

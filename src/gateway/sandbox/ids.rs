//! Ids in the forms that the providers give them, and the fingerprint of what answers.

/// What says in OpenAI's dialect which backend answered. It is said also where the text is cut short.
pub(super) const FINGERPRINT: &str = "fp_sandbox";
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// An id of a chat completion.
pub(super) fn completion() -> String {
    format!("chatcmpl-{}", letters(29))
}

/// An id of a tool call in OpenAI's dialect.
pub(super) fn call() -> String {
    format!("call_{}", letters(24))
}

/// An id of a message of Anthropic's dialect.
pub(super) fn message() -> String {
    format!("msg_01{}", letters(22))
}

/// An id of a use of a tool in Anthropic's dialect.
pub(super) fn tool_use() -> String {
    format!("toolu_01{}", letters(22))
}

/// An id of a refused request in Anthropic's dialect.
pub(super) fn request() -> String {
    format!("req_01{}", letters(22))
}

fn letters(count: usize) -> String {
    let mut bytes = vec![0; count];
    if getrandom::fill(&mut bytes).is_err() {
        // An id need not be secret.
        bytes = ulid::Ulid::generate().to_string().into_bytes().into_iter().cycle().take(count).collect();
    }
    bytes.into_iter().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

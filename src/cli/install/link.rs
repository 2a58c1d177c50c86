//! Links that open a client with the server filled in.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::client::Client;

/// The links of this client, the best first.
pub(crate) fn links(client: Client, name: &str, entry: &Map<String, Value>) -> Result<Vec<String>, String> {
    match client {
        Client::Cursor => {
            let config = percent(&STANDARD.encode(Value::Object(entry.clone()).to_string()));
            Ok(vec![
                format!("cursor://anysphere.cursor-deeplink/mcp/install?name={name}&config={config}"),
                format!("https://cursor.com/install-mcp?name={name}&config={config}"),
            ])
        }
        Client::Vscode => {
            let mut whole = Map::from_iter([("name".to_owned(), json!(name))]);
            whole.extend(entry.clone());
            Ok(vec![format!("vscode:mcp/install?{}", percent(&Value::Object(whole).to_string()))])
        }
        other => Err(format!("{} has no links for servers; Cursor and VS Code do.", other.title())),
    }
}

/// As JavaScript's `encodeURIComponent` does it, which is what the clients undo.
fn percent(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
        out
    })
}

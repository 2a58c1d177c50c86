//! The body of a call: what `--data` says, the file it names, or what is piped in.

use std::{
    io::{self, IsTerminal, Read},
    time::Duration,
};

use serde_json::{Map, Value};

use crate::cli::{Failure, output};

/// The largest body that a gateway takes, in bytes.
const BYTES_MAX: u64 = 32 << 20;
/// How messages call the standard input.
const PIPE: &str = "what was piped in";
/// After so long a person hears what is waited for: a program may have left its end of the pipe open.
const QUIET: Duration = Duration::from_secs(2);

/// The body that `--data` says.
pub(super) async fn given(data: &str) -> Result<Map<String, Value>, Failure> {
    match data.strip_prefix('@').unwrap_or(data) {
        "-" => parse(PIPE, &piped().await?),
        path if data.starts_with('@') => parse(path, &of_file(path)?),
        json => parse("--data", json).map_err(|failure| if is_file(json) { forgot_at(json) } else { failure }),
    }
}

/// The body that is piped in, if one is.
pub(super) async fn piped_in() -> Result<Option<Map<String, Value>>, Failure> {
    if io::stdin().is_terminal() {
        return Ok(None);
    }
    let text = piped().await?;
    if text.trim().is_empty() { Ok(None) } else { parse(PIPE, &text).map(Some) }
}

/// Whether somebody may have meant a file. JSON begins with a bracket.
fn is_file(data: &str) -> bool {
    !data.trim_start().starts_with(['{', '[']) && std::path::Path::new(data).is_file()
}

fn forgot_at(path: &str) -> Failure {
    Failure::coded("bad_body", format!("--data is not a JSON object, but the name of a file\nhint: `-d @{path}` sends what is in it"))
}

fn parse(from: &str, text: &str) -> Result<Map<String, Value>, Failure> {
    let wrong = |why: String| Failure::coded("bad_body", format!("{from} is not a JSON object: {why}"));
    match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) => Err(wrong("it is JSON of another kind".to_owned())),
        Err(_) if text.trim().is_empty() => Err(wrong("it is empty".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn of_file(path: &str) -> Result<String, Failure> {
    let cannot = |error: io::Error| Failure::coded("bad_file", format!("{path} cannot be read: {error}"));
    let file = std::fs::File::open(path).map_err(cannot)?;
    text(file, path)
}

async fn piped() -> Result<String, Failure> {
    let reading = tokio::task::spawn_blocking(|| text(io::stdin(), PIPE));
    tokio::pin!(reading);
    let read = match tokio::time::timeout(QUIET, &mut reading).await {
        Ok(read) => read,
        Err(_) => {
            output::complain("Reading the body from stdin; it ends when stdin is closed (Ctrl-D at a terminal).");
            reading.await
        }
    };
    read.map_err(|error| Failure::Error(format!("stdin cannot be read: {error}")))?
}

fn text(from: impl Read, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let cannot = |error: io::Error| Failure::coded("bad_file", format!("{name} cannot be read: {error}"));
    from.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Failure::coded("bad_body", format!("{name} is larger than {} MiB, the most that can be sent", BYTES_MAX >> 20)));
    }
    String::from_utf8(bytes).map_err(|_| Failure::coded("bad_body", format!("{name} is not text in UTF-8")))
}

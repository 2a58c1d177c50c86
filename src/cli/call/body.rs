//! The body of a call: what `--data` says, the file it names, or what is piped in.

use std::{
    io::{self, IsTerminal, Read},
    time::Duration,
};

use serde_json::{Map, Value};

use crate::cli::{Failure, output};

/// The largest body that a gateway takes, in bytes.
const BYTES_MAX: u64 = 32 << 20;
/// After so long a person hears what is waited for: a program may have left its end of the pipe open.
const QUIET: Duration = Duration::from_secs(2);

/// Reads the body; `None` where there is none. Without `--data` a pipe is read, unless the call has no body anyway.
pub(super) async fn read(data: Option<&str>, takes_pipe: bool) -> Result<Option<Map<String, Value>>, Failure> {
    let (from, text) = match data {
        Some("-") => ("what was piped in".to_owned(), piped().await?),
        Some(data) => match data.strip_prefix('@') {
            Some("-") => ("what was piped in".to_owned(), piped().await?),
            Some(path) => (path.to_owned(), of_file(path)?),
            None => ("--data".to_owned(), data.to_owned()),
        },
        None if !takes_pipe || io::stdin().is_terminal() => return Ok(None),
        None => match piped().await? {
            text if text.trim().is_empty() => return Ok(None),
            text => ("what was piped in".to_owned(), text),
        },
    };
    let wrong = |why: String| Failure::coded("bad_body", format!("{from} is not a JSON object: {why}"));
    match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(body)) => Ok(Some(body)),
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
    let reading = tokio::task::spawn_blocking(|| text(io::stdin(), "what was piped in"));
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

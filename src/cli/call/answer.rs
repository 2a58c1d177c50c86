//! What an API answered, as it is shown: text as it is, JSON about it for scripts, and what is not text in a file or a pipe, but never on a terminal.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::header;
use serde_json::json;

use crate::{
    cli::{Failure, output},
    client::{Forwarded, RequestReport},
    domain::text::counted,
    mcp::{media_extension, media_kind_of_body},
    platform::private_file,
};

/// A file for the answer, opened before anything is paid. Where no answer comes, things are left as they were.
pub(super) struct Destination {
    path: PathBuf,
    file: File,
    is_new: bool,
    is_written: bool,
}

impl Destination {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: io::Error| Failure::coded("bad_file", format!("{} cannot be written: {error}", path.display()));
        if path.is_dir() {
            return Err(Failure::coded("bad_file", format!("{} is a folder; name a file in it", path.display())));
        }
        let is_new = !path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(cannot)?;
        Ok(Self { path: path.to_owned(), file, is_new, is_written: false })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.is_written = true;
        // A device or a pipe has no length.
        let cut = if self.file.metadata().is_ok_and(|facts| facts.is_file()) { self.file.set_len(0) } else { Ok(()) };
        cut.and_then(|()| self.file.write_all(bytes)).map_err(|error| {
            Failure::coded("bad_file", format!("the answer was paid for, and {} cannot be written: {error}", self.path.display()))
        })
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if self.is_new && !self.is_written {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Shows an answer; `is_printed` where that was done as it came.
pub(super) fn show(
    answer: &Forwarded,
    report: Option<&RequestReport>,
    destination: Option<Destination>,
    is_printed: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let content_type = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = media_kind_of_body(content_type, &answer.body);
    let (cost, remaining) = (report.and_then(RequestReport::cost), report.and_then(RequestReport::remaining));
    let written_to = match destination {
        Some(mut destination) => {
            if let Err(failure) = destination.write(&answer.body) {
                // It was paid for.
                keep(media.unwrap_or("text"), answer)?;
                return Err(failure);
            }
            Some(destination.path.clone())
        }
        None => None,
    };
    if as_json {
        let mut shown = json!({"status": answer.status, "cost": cost, "remaining": remaining, "request_id": answer.request_id});
        match (&written_to, media) {
            (Some(path), _) => shown["output"] = json!({"file": path, "bytes": answer.body.len(), "content_type": content_type}),
            (None, Some(kind)) => {
                shown["content_type"] = kind.into();
                shown["body_base64"] = STANDARD.encode(&answer.body).into();
            }
            (None, None) => {
                shown["body"] = serde_json::from_slice(&answer.body).unwrap_or_else(|_| String::from_utf8_lossy(&answer.body).into());
            }
        }
        return output::print_json(&shown);
    }
    match (&written_to, media) {
        (Some(path), _) => output::complain(&format!("{} written to {}", counted(answer.body.len(), "byte"), path.display())),
        (None, _) if is_printed => {
            if !answer.body.ends_with(b"\n") {
                output::say("");
            }
        }
        (None, Some(kind)) if output::is_terminal() => keep(kind, answer)?,
        (None, Some(_)) => output::bytes(&answer.body),
        (None, None) => output::say(&String::from_utf8_lossy(&answer.body)),
    }
    output::complain(&format!(
        "HTTP {}, cost {} USD, {} USD left",
        answer.status,
        cost.as_deref().unwrap_or("unknown"),
        remaining.as_deref().unwrap_or("unlimited")
    ));
    Ok(())
}

/// What cannot be shown or put where it should go was paid for all the same, so it is kept.
fn keep(kind: &str, answer: &Forwarded) -> Result<(), Failure> {
    let path = std::env::temp_dir().join(format!("lava-mcp-{}.{}", ulid::Ulid::generate(), media_extension(kind)));
    private_file::write_new(&path, &answer.body)
        .map_err(|error| Failure::Error(format!("the answer ({kind}) is lost: {} cannot be written: {error}", path.display())))?;
    output::complain(&format!(
        "The answer is {kind} ({}), and is kept in {}. Use --output FILE to choose the place.",
        counted(answer.body.len(), "byte"),
        path.display()
    ));
    Ok(())
}

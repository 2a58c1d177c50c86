//! What a person asks: words of the command line, what is piped in, and files, put together into the messages of a chat.

use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    cli::{Failure, keyboard},
    mcp::media_kind,
};

/// The largest file that is sent along, in bytes; providers refuse larger pictures.
const FILE_BYTES_MAX: u64 = 20 << 20;
/// Pictures that models read.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const HOW_TO_ASK: &str = "write it after the model, as in `lava-mcp prompt gpt-4o-mini \"Hello\"`, or pipe it in";

/// What a person asks.
pub(super) struct Asked {
    /// The messages of a chat.
    pub(super) messages: Value,
    pub(super) has_pictures: bool,
}

/// Puts it together.
pub(super) async fn read(words: &[String], system: Option<&str>, files: &[PathBuf]) -> Result<Asked, Failure> {
    let mut texts = Vec::new();
    let argument = words.join(" ");
    let is_stdin_named = argument.trim() == "-";
    if !is_stdin_named {
        texts.push(argument);
    }
    let is_typed = io::stdin().is_terminal() && keyboard::is_there() && (is_stdin_named || (words.is_empty() && files.is_empty()));
    if is_typed {
        let how = "Type your prompt, and end it with Ctrl-D on a line of its own; Ctrl-C stops.";
        texts.push(keyboard::text(how).await?);
    } else if is_stdin_named || !io::stdin().is_terminal() {
        texts.push(piped()?);
    }
    texts.retain(|text| !text.trim().is_empty());
    let mut pictures = Vec::new();
    for file in files {
        match read_file(file)? {
            Content::Text(text) => texts.push(format!("<file name=\"{}\">\n{}\n</file>", name_of(file), text.trim_end())),
            Content::Picture(url) => pictures.push(json!({"type": "image_url", "image_url": {"url": url}})),
        }
    }
    if texts.is_empty() && pictures.is_empty() {
        return Err(Failure::coded("empty_prompt", format!("there is nothing to ask: {HOW_TO_ASK}")));
    }
    let (text, has_pictures) = (texts.join("\n\n"), !pictures.is_empty());
    let content: Value = match (pictures.is_empty(), text.is_empty()) {
        (true, _) => text.into(),
        (false, true) => pictures.into(),
        (false, false) => [vec![json!({"type": "text", "text": text})], pictures].concat().into(),
    };
    let system = system.filter(|text| !text.trim().is_empty()).map(|text| json!({"role": "system", "content": text}));
    let messages = system.into_iter().chain([json!({"role": "user", "content": content})]).collect();
    Ok(Asked { messages, has_pictures })
}

fn piped() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(|error| Failure::Error(format!("stdin cannot be read: {error}")))?;
    String::from_utf8(bytes)
        .map_err(|_| Failure::coded("not_text", "what was piped in is not text in UTF-8; a picture goes along with --file"))
}

enum Content {
    Text(String),
    /// As a `data:` URL.
    Picture(String),
}

fn read_file(file: &Path) -> Result<Content, Failure> {
    let shown = file.display();
    let cannot = |error: io::Error| Failure::coded("bad_file", format!("{shown} cannot be read: {error}"));
    let wrong = |reason: String| Failure::coded("bad_file", format!("{shown} {reason}"));
    let facts = fs::metadata(file).map_err(cannot)?;
    if facts.is_dir() {
        return Err(wrong("is a folder; name the files in it one by one".to_owned()));
    }
    let mut bytes = Vec::new();
    fs::File::open(file).and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("is larger than {} MiB, the most that can be sent along", FILE_BYTES_MAX >> 20)));
    }
    match media_kind(&bytes) {
        Some(kind) if PICTURES.contains(&kind) => Ok(Content::Picture(format!("data:{kind};base64,{}", STANDARD.encode(&bytes)))),
        Some(kind) => Err(wrong(format!("is {kind}; text in UTF-8 and pictures (PNG, JPEG, GIF, WebP) can be sent along"))),
        None => match String::from_utf8(bytes) {
            Ok(text) if text.trim().is_empty() => Err(wrong("is empty".to_owned())),
            Ok(text) if !text.contains('\0') => Ok(Content::Text(text)),
            _ => Err(wrong("is neither text in UTF-8 nor a picture (PNG, JPEG, GIF, WebP)".to_owned())),
        },
    }
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().replace('"', "'")
}

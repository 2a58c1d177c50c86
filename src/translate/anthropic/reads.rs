//! What a model reads of a messages request.

use std::cell::OnceCell;

use serde_json::value::RawValue;

use super::tools;
use crate::translate::{
    BadRequest,
    bounds::{Readable, Reader, Walk},
    members::Members,
    raw::RawObject,
    rendering::longest,
};

/// Fields that the model does not read. Source: Anthropic's Messages API reference.
const NOT_READ: [&str; 16] = [
    "cache_control",
    "diagnostics",
    "inference_geo",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "safeguards",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "top_k",
    "top_p",
];
/// Fields that are part of every template, whatever they say.
const READ: [&str; 2] = ["context_management", "thinking"];
/// Members of a message and of its blocks that say what it costs.
const MESSAGE: [&str; 3] = ["content", "role", "type"];
const BLOCK: [&str; 9] = ["content", "data", "id", "input", "name", "source", "text", "thinking", "type"];
/// Most tokens that the provider adds for one tool it knows by its type (bash, text editor, computer use). The largest figure published is 735.
const TOKENS_PER_TYPED_TOOL: u64 = 2_000;
/// How deep blocks may nest before they count as unreadable.
const DEPTH_MAX: usize = 8;

/// The messages dialect.
pub(super) struct Messages;

impl Readable for Messages {
    fn read<R: Reader>(body: &RawObject, walk: &mut Walk<'_, R>) -> Result<(), BadRequest> {
        const MESSAGES: BadRequest = BadRequest::Field { field: "messages", expected: "must be an array of messages" };
        let messages = body.get("messages").map_or("[]", RawValue::get);
        // Written out once, however often it is referred to.
        let size = OnceCell::new();
        let largest = &|| *size.get_or_init(|| tools::largest(body).map_or(0, |tool| longest(tool.get())));
        for message in serde_json::from_str::<Vec<&RawValue>>(messages).map_err(|_| MESSAGES)? {
            walk.piece();
            let Some(members) = walk.members(message, &MESSAGE)? else {
                walk.json(message);
                continue;
            };
            for (name, raw) in members.iter().filter(|(_, raw)| raw.get() != "null") {
                match name {
                    "role" => walk.text_or_json(raw),
                    "content" => read_content(raw, false, 0, largest, walk)?,
                    _ => walk.member(name, raw),
                }
            }
        }
        if let Some(system) = body.get("system").filter(|raw| raw.get() != "null") {
            walk.features().system = true;
            read_content(system, false, 0, largest, walk)?;
        }
        for (name, raw) in body.fields().filter(|(name, raw)| raw.get() != "null" && NOT_READ.binary_search(name).is_err()) {
            match name {
                "tools" => {
                    walk.tools(raw)?;
                    walk.added(tools::typed_count(body) * TOKENS_PER_TYPED_TOOL);
                }
                "tool_choice" => walk.tool_choice(raw),
                "output_config" | "output_format" => {
                    walk.features().form = true;
                    walk.json(raw);
                }
                _ if READ.contains(&name) => walk.json(raw),
                _ => {
                    walk.features().is_special = true;
                    walk.member(name, raw);
                }
            }
        }
        Ok(())
    }
}

/// A text, or blocks. What a tool has returned counts in its longest form. A reference to a tool counts as the `largest` of them.
fn read_content<R: Reader>(
    content: &RawValue,
    is_result: bool,
    depth: usize,
    largest: &dyn Fn() -> u64,
    walk: &mut Walk<'_, R>,
) -> Result<(), BadRequest> {
    let json = content.get();
    if json.starts_with('"') {
        if is_result {
            walk.json(content)
        } else {
            walk.text_or_json(content)
        }
        return Ok(());
    }
    let blocks = serde_json::from_str::<Vec<&RawValue>>(json).ok().filter(|_| depth < DEPTH_MAX);
    let Some(blocks) = blocks else {
        walk.unbounded();
        walk.json(content);
        return Ok(());
    };
    for block in blocks {
        walk.piece();
        read_block(block, is_result, depth, largest, walk)?;
    }
    Ok(())
}

fn read_block<R: Reader>(
    block: &RawValue,
    is_result: bool,
    depth: usize,
    largest: &dyn Fn() -> u64,
    walk: &mut Walk<'_, R>,
) -> Result<(), BadRequest> {
    let Some(members) = walk.members(block, &BLOCK)? else {
        walk.json(block);
        return Ok(());
    };
    match members.text("type").as_deref() {
        Some("text" | "thinking") if !is_result => {
            members.iter().for_each(|(name, raw)| match name {
                "type" | "cache_control" => {}
                "text" | "thinking" => walk.text_or_json(raw),
                _ => walk.member(name, raw),
            });
        }
        Some("text" | "thinking" | "tool_use" | "redacted_thinking") => walk.json(block),
        // The tool is written out where it is first used.
        Some("tool_reference" | "tool_addition" | "tool_removal") => {
            walk.json(block);
            let defined = tools::defined_count(block).map(|tools| longest(block.get()) + tools * TOKENS_PER_TYPED_TOOL);
            walk.added(defined.unwrap_or_else(largest));
        }
        Some("image") if is_image(&members) => {
            walk.image();
            let beside = members.iter().filter(|(name, _)| !matches!(*name, "cache_control" | "source" | "type"));
            beside.for_each(|(name, raw)| walk.member(name, raw));
        }
        Some("tool_result" | "search_result") => {
            for (name, raw) in members.iter().filter(|(_, raw)| raw.get() != "null") {
                match name {
                    "type" | "cache_control" => {}
                    "content" => read_content(raw, true, depth + 1, largest, walk)?,
                    _ => walk.member(name, raw),
                }
            }
        }
        // Pages of a document are read as pictures too; the bytes of a compressed file say little about its tokens.
        _ => {
            walk.unbounded();
            walk.json(block);
        }
    }
    Ok(())
}

/// Minutes of video have more tokens than an image.
fn is_image(block: &Members<'_>) -> bool {
    let source = block.get("source").and_then(|source| serde_json::from_str::<Members<'_>>(source.get()).ok());
    source.and_then(|source| source.text("media_type").map(|kind| kind.starts_with("image/"))).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_so_that_names_are_found() {
        assert!(NOT_READ.is_sorted() && READ.is_sorted() && MESSAGE.is_sorted() && BLOCK.is_sorted());
    }
}

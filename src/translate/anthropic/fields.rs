//! Which fields of a messages request leave its cost to tokens, which are sold at a price of their own, and what happens to the others.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::tools::{self, CONTAINER_FEE, DATE, ROUNDS_MAX};
use crate::translate::{
    BadRequest, field,
    members::look_alike,
    raw::RawObject,
    screening::{Groups, HostedTools, Screened, is_in, is_name, names_of},
};

/// Fields that choose how the model writes. Those whose values matter are looked at below.
const HARMLESS: &Groups = &[
    (
        "docs.claude.com/en/api/messages",
        &[
            "cache_control",
            "context_management",
            "inference_geo",
            "max_tokens",
            "messages",
            "metadata",
            "model",
            "output_config",
            "output_format",
            "service_tier",
            "stop_sequences",
            "stream",
            "system",
            "temperature",
            "thinking",
            "tool_choice",
            "tools",
            "top_k",
            "top_p",
        ],
    ),
    ("sent by Claude Code with the betas cache-diagnosis and dangerous-tool-use; neither changes the bill", &["diagnostics", "safeguards"]),
];
/// Fields that the provider sells: a faster service, code that runs there, tools of other servers, a summary of the conversation. `speed: "standard"` is the usual service.
const PRICED: &Groups = &[
    ("docs.claude.com/en/docs/build-with-claude/fast-mode", &["speed"]),
    ("docs.claude.com/en/docs/agents-and-tools/tool-use/code-execution-tool", &["container"]),
    ("docs.claude.com/en/docs/agents-and-tools/mcp-connector", &["mcp_servers"]),
    ("docs.claude.com/en/docs/build-with-claude/compaction", &[COMPACTION]),
];
const COMPACTION: &str = "compaction";
/// Edits that only shorten the input. Source: docs.claude.com/en/docs/build-with-claude/context-editing.
const CLEARING: [&str; 2] = ["clear_thinking_", "clear_tool_uses_"];
/// By these fields another model answers, so nobody gets them; the header `x-lava-fallbacks` does the same for models that the key allows.
const NEVER_SENT: [&str; 2] = ["fallback", "fallbacks"];
/// A conversation that the provider keeps: what the model reads of it is not in the request.
const THREAD: &str = "thread";
/// Refuses what would change at any provider who answers: a field, or a name that a reader takes for one that counts.
pub(super) fn check_names(body: &RawObject) -> Result<(), BadRequest> {
    const MODELS: &str = "models";
    for (name, raw) in body.fields() {
        if name == MODELS && raw.get() != "null" {
            let expected = "name one model, as \"model\", and others in the header x-lava-fallbacks";
            return Err(BadRequest::Field { field: MODELS, expected });
        }
        let all = || names_of(HARMLESS).chain(names_of(PRICED)).chain(NEVER_SENT).chain([MODELS]);
        if let Some(meant) = look_alike(name, all) {
            return Err(BadRequest::look_alike(name, meant));
        }
    }
    Ok(())
}

/// The body without what no provider gets, and the names of that. `None` when there is nothing of it.
pub(super) fn without_fallbacks(body: &RawObject) -> Option<(RawObject, Vec<&'static str>)> {
    let mut without = body.clone();
    let taken: Vec<&'static str> = NEVER_SENT.into_iter().filter(|name| without.remove(name)).collect();
    (!taken.is_empty()).then_some((without, taken))
}

/// What is sent of a request, and what that can cost.
pub(super) fn screen(body: &RawObject, hosted: HostedTools) -> Result<Screened, BadRequest> {
    let mut screened = Screened::default();
    screened.drop_unknown(body, |name| is_in(HARMLESS, name) || is_in(PRICED, name));
    if hosted == HostedTools::Free {
        return Ok(screened);
    }
    if body.get(THREAD).is_some_and(|thread| thread.get().contains("previous_message_id")) {
        let expected = "what the model reads of a thread has no upper bound; send the whole conversation as messages";
        return Err(BadRequest::Field { field: THREAD, expected });
    }
    screen_service(body, &mut screened)?;
    screen_servers(body, hosted, &mut screened)?;
    screen_edits(body, hosted, &mut screened)?;
    screen_compaction(body, hosted, &mut screened)?;
    tools::check_definitions(body)?;
    tools::screen(body, hosted, &mut screened)?;
    screened.hosted.rounds = screened.hosted.rounds.min(ROUNDS_MAX - 1);
    Ok(screened)
}

fn has(body: &RawObject, name: &str) -> bool {
    body.get(name).is_some_and(|raw| raw.get() != "null")
}

/// A service above the list price: the usual one is asked for instead, but for a place, which is a promise to somebody.
fn screen_service(body: &RawObject, screened: &mut Screened) -> Result<(), BadRequest> {
    let text = |name, expected| field::<String>(body, name, expected);
    if text("inference_geo", "must be a string such as \"global\"")?.is_some_and(|geo| geo != "global") {
        let expected = "any place but \"global\" is billed above the list price; leave it out";
        return Err(BadRequest::Field { field: "inference_geo", expected });
    }
    if text("service_tier", "must be \"auto\" or \"standard_only\"")?.is_some_and(|tier| !matches!(&*tier, "auto" | "standard_only")) {
        screened.drop_field(body, "service_tier");
    }
    if text("speed", "must be \"standard\" or \"fast\"")?.is_some_and(|speed| speed != "standard") {
        screened.drop_field(body, "speed");
    }
    Ok(())
}

fn screen_servers(body: &RawObject, hosted: HostedTools, screened: &mut Screened) -> Result<(), BadRequest> {
    let servers: Vec<&RawValue> = field(body, "mcp_servers", "must be an array of servers")?.unwrap_or_default();
    if !servers.is_empty() {
        if hosted == HostedTools::Refused {
            return Err(BadRequest::Hosted { field: "mcp_servers", what: "tools of these servers run at the provider".to_owned() });
        }
        screened.hosted.rounds = ROUNDS_MAX;
    }
    if has(body, "container") {
        if hosted == HostedTools::Refused {
            screened.drop_field(body, "container");
        } else {
            screened.hosted.fee = CONTAINER_FEE;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Edit<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
}

/// An edit that clears only shortens the input; one that summarises lets the model run once more.
fn screen_edits(body: &RawObject, hosted: HostedTools, screened: &mut Screened) -> Result<(), BadRequest> {
    const FIELD: &str = "context_management";
    const EXPECTED: &str = "must be an object with edits";
    const WRONG: BadRequest = BadRequest::Field { field: FIELD, expected: EXPECTED };
    let Some(management) = field::<RawObject>(body, FIELD, EXPECTED)? else { return Ok(()) };
    let edits: Vec<&RawValue> = management.read("edits").map_err(|_| WRONG)?.unwrap_or_default();
    let mut kept: Vec<&RawValue> = Vec::with_capacity(edits.len());
    for edit in &edits {
        let Edit { kind } = serde_json::from_str(edit.get()).map_err(|_| WRONG)?;
        match kind.as_deref().unwrap_or_default() {
            kind if CLEARING.iter().any(|known| is_name(kind, known, DATE)) => kept.push(edit),
            kind if is_name(kind, "compact_", DATE) && hosted == HostedTools::Bounded => {
                screened.hosted.rounds += 1;
                kept.push(edit);
            }
            kind => screened.dropped.push(format!("{FIELD}.edits:{kind}")),
        }
    }
    if kept.len() < edits.len() {
        let mut changed = management.clone();
        changed.set("edits", &kept);
        screened.body_mut(body).set(FIELD, &changed);
    }
    Ok(())
}

/// A request that only summarises. Without the field it would be an ordinary one, and its answer would take the place of the conversation, so it is never taken out.
fn screen_compaction(body: &RawObject, hosted: HostedTools, screened: &mut Screened) -> Result<(), BadRequest> {
    if !has(body, COMPACTION) {
        return Ok(());
    }
    if hosted == HostedTools::Refused {
        return Err(BadRequest::Hosted { field: COMPACTION, what: "the provider summarises the conversation".to_owned() });
    }
    screened.hosted.rounds += 1;
    Ok(())
}

#[cfg(test)]
mod tests;

//! The tools of a messages request: which the caller runs, which the provider runs, and what those can cost.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    domain::Money,
    translate::{
        BadRequest,
        raw::RawObject,
        screening::{HostedTools, Screened, ToolHead, is_name, tools},
        shown,
    },
};

/// The date that types end in.
pub(super) const DATE: &str = "00000000";
/// Tools that the caller runs and the provider knows by their type: they cost tokens only. Each with the beginning of its type, or the whole of it, and the tools that the
/// provider describes to the model for it. Source: `BetaToolUnionParam` in the official SDK; the members of a toolset are the keys of its `configs`.
const RUN_BY_THE_CALLER: [(&str, u64); 6] = [
    ("bash_", 1),
    ("browser_toolset_20260801", 31),
    ("computer_", 1),
    ("computer_toolset_20260801", 17),
    ("memory_", 1),
    ("text_editor_", 1),
];
/// Tools that run at the provider, by the beginnings of their types, or the whole of one that has no date.
const HOSTED: [(&str, Runs, &str); 9] = [
    ("advisor_", Runs::Advisor, "a second model, at that model's price"),
    ("code_execution_", Runs::Container, "docs.claude.com/en/docs/agents-and-tools/tool-use/code-execution-tool: 0.05 USD an hour"),
    ("mcp_toolset", Runs::Loop, "docs.claude.com/en/docs/agents-and-tools/mcp-connector"),
    ("tool_search_tool_bm25", Runs::Loop, TOOL_SEARCH),
    ("tool_search_tool_bm25_", Runs::Loop, TOOL_SEARCH),
    ("tool_search_tool_regex", Runs::Loop, TOOL_SEARCH),
    ("tool_search_tool_regex_", Runs::Loop, TOOL_SEARCH),
    ("web_fetch_", Runs::Fetch, "docs.claude.com/en/docs/agents-and-tools/tool-use/web-fetch-tool: tokens only"),
    ("web_search_", Runs::Search, "docs.claude.com/en/docs/agents-and-tools/tool-use/web-search-tool: a price for each search"),
];
const TOOL_SEARCH: &str = "docs.claude.com/en/docs/agents-and-tools/tool-use/tool-search-tool";
/// Versions of searching and fetching that hand each result to the model as it is; later ones let it run code over them.
const UNFILTERED: [&str; 2] = ["web_search_20250305", "web_fetch_20250910"];
/// The type of a tool's definition within a message.
const DEFINITION: &str = "tool_definition";
/// How often the provider lets the model run for one answer. Source: "server-side sampling loop", docs.claude.com/en/docs/agents-and-tools/tool-use/server-tools.
pub(super) const ROUNDS_MAX: u64 = 10;
/// How often a hosted tool may be used where the caller did not say.
const USES_DEFAULT: u64 = 5;
/// An hour of a container, which no answer outlasts.
pub(super) const CONTAINER_FEE: Money = Money::from_nanos(50_000_000);

/// What a hosted tool does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runs {
    Search,
    Fetch,
    Container,
    Advisor,
    Loop,
}

/// Who runs a tool.
enum Tool {
    Caller,
    Provider(Runs),
    Unknown,
}

fn whose(kind: Option<&str>) -> Tool {
    let Some(kind) = kind.filter(|kind| *kind != "custom") else { return Tool::Caller };
    if RUN_BY_THE_CALLER.iter().any(|(known, _)| is_name(kind, known, DATE)) {
        return Tool::Caller;
    }
    HOSTED.iter().find(|(known, ..)| is_name(kind, known, DATE)).map_or(Tool::Unknown, |(_, runs, _)| Tool::Provider(*runs))
}

/// The tool that takes the most bytes.
pub(super) fn largest(body: &RawObject) -> Option<&RawValue> {
    tools(body).unwrap_or_default().into_iter().max_by_key(|tool| tool.get().len())
}

/// Models that tools ask beside the one that answers.
pub(super) fn advisors(body: &RawObject) -> Vec<String> {
    let heads = tools(body).unwrap_or_default().into_iter().filter_map(|tool| ToolHead::read(tool).ok());
    heads.filter(|head| matches!(whose(head.kind.as_deref()), Tool::Provider(Runs::Advisor))).filter_map(|head| head.model).collect()
}

/// How many tools the provider describes to the model by itself; a toolset is as many as it has members.
pub(super) fn typed_count(body: &RawObject) -> u64 {
    let kinds = tools(body).unwrap_or_default().into_iter().filter_map(|tool| ToolHead::read(tool).ok()?.kind);
    kinds.filter(|kind| kind != "custom").map(|kind| described_by(&kind)).sum()
}

/// The same for the tools that a part of a message defines, each of which is one at least; `None` where it defines none.
pub(super) fn defined_count(part: &RawValue) -> Option<u64> {
    let Ok(part) = serde_json::from_str::<Value>(part.get()) else { return Some(1) };
    let mut tools = Vec::new();
    defined(&part, &mut tools);
    let count = |tool: &&Value| kind_of(tool).map_or(1, described_by);
    (!tools.is_empty()).then(|| tools.iter().map(count).sum())
}

fn described_by(kind: &str) -> u64 {
    RUN_BY_THE_CALLER.iter().find(|(known, _)| is_name(kind, known, DATE)).map_or(1, |(_, members)| *members)
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    name: Option<String>,
}

/// Limits what the provider runs, or takes it out; refuses it where nothing sensible would be left.
pub(super) fn screen(body: &RawObject, hosted: HostedTools, screened: &mut Screened) -> Result<(), BadRequest> {
    let sent = tools(body)?;
    let heads: Vec<ToolHead> = sent.iter().map(|tool| ToolHead::read(tool)).collect::<Result<_, _>>()?;
    let refuse = |head: &ToolHead| BadRequest::Hosted {
        field: "tools",
        what: format!("a tool of the type \"{}\" runs at the provider", shown(head.kind.as_deref().unwrap_or_default())),
    };
    if let Some(head) = heads.iter().find(|head| matches!(whose(head.kind.as_deref()), Tool::Unknown)) {
        return Err(BadRequest::unknown_tool(head.kind.as_deref().unwrap_or_default()));
    }
    let of_provider = |head: &ToolHead| if let Tool::Provider(runs) = whose(head.kind.as_deref()) { Some(runs) } else { None };
    if !heads.iter().any(|head| of_provider(head).is_some()) {
        return Ok(());
    }
    let mut kept: Vec<RawObject> = Vec::with_capacity(sent.len());
    let forced = body.read::<Choice>("tool_choice").ok().flatten().and_then(|choice| choice.name);
    let mut is_search_dropped = false;
    for (raw, head) in sent.iter().zip(&heads) {
        let mut object = RawObject::parse(raw.get().as_bytes()).map_err(|error| BadRequest::NotJson(error.to_string()))?;
        match of_provider(head) {
            None => {}
            Some(runs) if hosted == HostedTools::Bounded => add(runs, head, &mut object, screened)?,
            Some(_) if forced.is_some() && head.name == forced => return Err(refuse(head)),
            Some(runs) => {
                is_search_dropped |= runs == Runs::Loop;
                screened.dropped.push(format!("tools:{}", head.kind.as_deref().unwrap_or_default()));
                continue;
            }
        }
        kept.push(object);
    }
    if kept.is_empty() {
        return heads.iter().find(|head| of_provider(head).is_some()).map_or(Ok(()), |head| Err(refuse(head)));
    }
    if is_search_dropped {
        // Nobody would find the tools that wait for it.
        kept.iter_mut().for_each(|tool| {
            tool.remove("defer_loading");
        });
    }
    screened.body_mut(body).set("tools", &kept);
    Ok(())
}

/// Refuses a message that defines a tool which the provider runs: those are limited among the `tools` only.
///
/// Source: `tool_definition`, in the blocks `tool_addition` and `compaction` of Anthropic's API reference.
pub(super) fn check_definitions(body: &RawObject) -> Result<(), BadRequest> {
    let messages = body.get("messages").map_or("[]", RawValue::get);
    // Letters may be written as escapes.
    if ![DEFINITION, "\\u005", "\\u006", "\\u007"].iter().any(|part| messages.contains(part)) {
        return Ok(());
    }
    let messages: Value = serde_json::from_str(messages).map_err(|error| BadRequest::NotJson(error.to_string()))?;
    let mut tools = Vec::new();
    defined(&messages, &mut tools);
    match tools.into_iter().filter_map(kind_of).find(|kind| !matches!(whose(Some(kind)), Tool::Caller)) {
        Some(kind) => {
            let kind = shown(kind);
            Err(BadRequest::Member(format!("a tool of the type \"{kind}\" runs at the provider; define it in \"tools\", not in a message")))
        }
        None => Ok(()),
    }
}

fn kind_of(tool: &Value) -> Option<&str> {
    tool.get("type")?.as_str()
}

/// The tools that are defined anywhere in a value.
fn defined<'a>(value: &'a Value, tools: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| defined(value, tools)),
        Value::Object(members) => {
            if members.get("type").is_some_and(|kind| kind == DEFINITION) {
                tools.extend(members.get("definition"));
            }
            // What a tool was called with is the caller's own.
            members.iter().filter(|(name, _)| *name != "input").for_each(|(_, value)| defined(value, tools));
        }
        _ => {}
    }
}

/// Counts what a hosted tool can cost, and limits its uses where the caller did not.
fn add(runs: Runs, head: &ToolHead, tool: &mut RawObject, screened: &mut Screened) -> Result<(), BadRequest> {
    let hosted = &mut screened.hosted;
    let mut uses = || {
        head.max_uses.unwrap_or_else(|| {
            tool.set("max_uses", &USES_DEFAULT);
            screened.max_uses = Some(USES_DEFAULT);
            USES_DEFAULT
        })
    };
    let is_unfiltered = head.kind.as_deref().is_some_and(|kind| UNFILTERED.contains(&kind));
    let rounds = match runs {
        Runs::Search | Runs::Fetch => {
            let uses = uses();
            hosted.searches = hosted.searches.saturating_add(if runs == Runs::Search { uses } else { 0 });
            if is_unfiltered { uses } else { ROUNDS_MAX }
        }
        Runs::Advisor => {
            let uses = uses();
            let model =
                head.model.clone().ok_or(BadRequest::Field { field: "tools", expected: "an advisor needs its model, as a string" })?;
            hosted.models.push((model, uses));
            uses
        }
        Runs::Container => {
            hosted.fee = CONTAINER_FEE;
            ROUNDS_MAX
        }
        Runs::Loop => ROUNDS_MAX,
    };
    hosted.rounds = hosted.rounds.saturating_add(rounds);
    Ok(())
}

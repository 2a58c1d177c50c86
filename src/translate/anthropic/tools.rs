//! The tools of a messages request: which the caller runs, which the provider runs, and what those can cost.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    domain::Money,
    translate::{
        BadRequest,
        raw::RawObject,
        screening::{HostedTools, Screened, ToolHead, tools},
        shown,
    },
};

/// Tools that the caller runs and the provider knows by their type: they cost tokens only.
const RUN_BY_THE_CALLER: [&str; 4] = ["bash_", "computer_", "memory_", "text_editor_"];
/// Tools that run at the provider, by the beginnings of their types.
const HOSTED: [(&str, Runs, &str); 6] = [
    ("advisor_", Runs::Advisor, "a second model, at that model's price"),
    ("code_execution_", Runs::Container, "docs.claude.com/en/docs/agents-and-tools/tool-use/code-execution-tool: 0.05 USD an hour"),
    ("mcp_toolset", Runs::Loop, "docs.claude.com/en/docs/agents-and-tools/mcp-connector"),
    ("tool_search_tool_", Runs::Loop, "docs.claude.com/en/docs/agents-and-tools/tool-use/tool-search-tool"),
    ("web_fetch_", Runs::Fetch, "docs.claude.com/en/docs/agents-and-tools/tool-use/web-fetch-tool: tokens only"),
    ("web_search_", Runs::Search, "docs.claude.com/en/docs/agents-and-tools/tool-use/web-search-tool: a price for each search"),
];
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
    if RUN_BY_THE_CALLER.iter().any(|known| kind.starts_with(known)) {
        return Tool::Caller;
    }
    HOSTED.iter().find(|(known, ..)| kind.starts_with(known)).map_or(Tool::Unknown, |(_, runs, _)| Tool::Provider(*runs))
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

/// How many tools the provider describes to the model by itself.
pub(super) fn typed_count(body: &RawObject) -> u64 {
    let kinds = tools(body).unwrap_or_default().into_iter().filter_map(|tool| ToolHead::read(tool).ok()?.kind);
    kinds.filter(|kind| kind != "custom").count() as u64
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
    let mut kinds = Vec::new();
    defined(&messages, &mut kinds);
    match kinds.into_iter().find(|kind| !matches!(whose(Some(kind)), Tool::Caller)) {
        Some(kind) => {
            let kind = shown(kind);
            Err(BadRequest::Member(format!("a tool of the type \"{kind}\" runs at the provider; define it in \"tools\", not in a message")))
        }
        None => Ok(()),
    }
}

/// The types of tools that are defined anywhere in a value.
fn defined<'a>(value: &'a Value, kinds: &mut Vec<&'a str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| defined(value, kinds)),
        Value::Object(members) => {
            if members.get("type").is_some_and(|kind| kind == DEFINITION) {
                kinds.extend(members.get("definition").and_then(|tool| tool.get("type")?.as_str()));
            }
            members.values().for_each(|value| defined(value, kinds));
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
            let model = head.model.clone().ok_or(BadRequest::Field { field: "tools", expected: "an advisor needs its model, as text" })?;
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

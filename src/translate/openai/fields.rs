//! Which fields of a chat request leave its cost to tokens, which are sold at a price of their own, and what happens to the others.
//!
//! A provider may know fields that we do not: another model to fall back to, a search for a fee, a faster and more expensive service. Such a field could make the bound on
//! the cost untrue, so only fields that are listed are sent to a provider of which the price list is all that is known.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    domain::Money,
    translate::{
        BadRequest, field,
        members::{Members, look_alike},
        raw::RawObject,
        screening::{Groups, HostedTools, Screened, ToolHead, is_in, is_name, names_of, tools},
    },
};

/// Fields that choose how the model writes, and nothing that is billed apart. Those whose values matter are looked at below.
const HARMLESS: &Groups = &[
    (
        "platform.openai.com/docs/api-reference/chat/create",
        &[
            "audio",
            "frequency_penalty",
            "function_call",
            "functions",
            "logit_bias",
            "logprobs",
            "max_completion_tokens",
            "max_tokens",
            "messages",
            "metadata",
            "modalities",
            "model",
            "n",
            "parallel_tool_calls",
            "presence_penalty",
            "prompt_cache_key",
            "prompt_cache_retention",
            "reasoning_effort",
            "response_format",
            "safety_identifier",
            "seed",
            "service_tier",
            "stop",
            "store",
            "stream",
            "stream_options",
            "temperature",
            "tool_choice",
            "tools",
            "top_logprobs",
            "top_p",
            "user",
            "verbosity",
        ],
    ),
    (
        "openrouter.ai/docs/api-reference: sampling, reasoning, and what narrows the choice of a seller",
        &["include_reasoning", "min_p", "provider", "reasoning", "repetition_penalty", "session_id", "top_a", "top_k", "usage"],
    ),
    (
        "docs.vllm.ai, OpenAI-compatible server: sampling and the template's own switches",
        &[
            "chat_template_kwargs",
            "guided_choice",
            "guided_grammar",
            "guided_json",
            "guided_regex",
            "ignore_eos",
            "length_penalty",
            "min_tokens",
            "skip_special_tokens",
            "stop_token_ids",
        ],
    ),
    ("docs.mistral.ai/api", &["random_seed", "safe_prompt"]),
    ("console.groq.com/docs/reasoning", &["reasoning_format"]),
    ("the references of Alibaba, DeepSeek and Z.AI", &["enable_thinking", "thinking", "thinking_budget"]),
];
/// Fields by which the provider does something at a price of its own.
const PRICED: &Groups = &[("platform.openai.com/docs/guides/tools-web-search: a fee for each request", &[WEB_SEARCH])];
const WEB_SEARCH: &str = "web_search_options";
/// The highest price of a search through that field, in any size of context. Source: platform.openai.com/docs/pricing (0.05 USD), docs.perplexity.ai (0.014 USD).
const SEARCH_FEE: Money = Money::from_nanos(50_000_000);
/// Members of OpenRouter's `provider` that narrow the choice of a seller. Source: openrouter.ai/docs/features/provider-routing.
const NARROWING: [&str; 11] = [
    "allow_fallbacks",
    "data_collection",
    "enforce_distillable_text",
    "ignore",
    "max_price",
    "only",
    "order",
    "quantizations",
    "require_parameters",
    "sort",
    "zdr",
];
/// Tools that run at a provider; OpenAI's have variants that end in a date (`web_search_preview_2025_03_11`). Source: the references of OpenAI, OpenRouter, Groq, Mistral and xAI.
const HOSTED: [&str; 16] = [
    "browser_search",
    "code_execution",
    "code_interpreter",
    "collections_search",
    "connector",
    "datetime",
    "document_library",
    "file_search",
    "image_generation",
    "live_search",
    "mcp",
    "web_fetch",
    "web_search",
    "web_search_premium",
    "web_search_preview",
    "x_search",
];
/// Tiers that cost the list price or less.
pub(super) const TIERS: [&str; 6] = ["auto", "default", "flex", "on_demand", "standard", "standard_only"];

/// Fields that no provider gets: by them another model answers, or one answer is paid several times, or the caller writes the text around the messages.
const REFUSED: [(&str, &str); 4] = [
    ("best_of", "all of its answers are billed, and only one is returned; ask with n"),
    ("chat_template", "the cost of a custom template has no upper bound; leave it out"),
    ("fallbacks", "name one model here, and others in the header x-lava-fallbacks"),
    ("models", "name one model, as \"model\", and others in the header x-lava-fallbacks"),
];

/// Refuses what would change at any provider who answers or what is paid: by a field, or by a name that a reader takes for one that counts.
pub(super) fn check_names(body: &RawObject) -> Result<(), BadRequest> {
    check_names_of(body, || names_of(HARMLESS).chain(names_of(PRICED)))
}

/// The same for embeddings.
pub(super) fn check_embeddings(body: &RawObject) -> Result<(), BadRequest> {
    check_names_of(body, || EMBEDDINGS.into_iter())
}

/// The fields of an embeddings request. Source: platform.openai.com/docs/api-reference/embeddings.
const EMBEDDINGS: [&str; 5] = ["dimensions", "encoding_format", "input", "model", "user"];

fn check_names_of<I: Iterator<Item = &'static str>>(body: &RawObject, known: impl Fn() -> I) -> Result<(), BadRequest> {
    for (name, raw) in body.fields() {
        if let Some((field, expected)) = REFUSED.iter().find(|(field, _)| *field == name).filter(|_| raw.get() != "null") {
            return Err(BadRequest::Field { field, expected });
        }
        if let Some(meant) = look_alike(name, || known().chain(REFUSED.iter().map(|(name, _)| *name))) {
            return Err(BadRequest::look_alike(name, meant));
        }
    }
    Ok(())
}

/// What is sent of a request, and what that can cost.
pub(super) fn screen(body: &RawObject, hosted: HostedTools) -> Result<Screened, BadRequest> {
    let mut screened = Screened::default();
    screened.drop_unknown(body, |name| is_in(HARMLESS, name) || is_in(PRICED, name));
    let tier: Option<Cow<'_, str>> = field(body, "service_tier", "must be a string such as \"default\"")?;
    if tier.is_some_and(|tier| !TIERS.contains(&&*tier)) {
        screened.drop_field(body, "service_tier");
    }
    if let Some(provider) = body.get("provider").filter(|raw| raw.get() != "null") {
        let members: Members<'_> = serde_json::from_str(provider.get()).unwrap_or_default();
        let narrows = members.iter().next().is_some() && members.iter().all(|(name, _)| NARROWING.contains(&name));
        if !narrows {
            screened.drop_field(body, "provider");
        }
    }
    if body.get(WEB_SEARCH).is_some_and(|raw| raw.get() != "null") {
        if hosted == HostedTools::Bounded {
            // What it finds is read as input, in each of the answers.
            screened.hosted.rounds = 1;
            let answers = field::<u64>(body, "n", "must be a whole number of at least 1")?.unwrap_or(1);
            screened.hosted.fee = SEARCH_FEE.times(answers);
        } else {
            screened.drop_field(body, WEB_SEARCH);
        }
    }
    screen_tools(body, &mut screened)?;
    Ok(screened)
}

/// Whether a request leaves its tier to what the account is set to.
pub(super) fn leaves_tier(body: &RawObject) -> bool {
    body.read::<Cow<'_, str>>("service_tier").is_ok_and(|tier| tier.is_none_or(|tier| tier == "auto"))
}

fn is_hosted(kind: &str) -> bool {
    let kind = kind.strip_prefix("openrouter:").unwrap_or(kind);
    HOSTED.iter().any(|known| kind.strip_prefix(known).is_some_and(|rest| rest.is_empty() || is_name(rest, "_", "0000_00_00")))
}

/// Which tool the model must call.
#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
}

/// In this dialect a tool is run by the caller. One of another type runs at the provider for a fee that has no bound, and is taken out where others remain.
fn screen_tools(body: &RawObject, screened: &mut Screened) -> Result<(), BadRequest> {
    let sent = tools(body)?;
    let mut kept: Vec<&RawValue> = Vec::with_capacity(sent.len());
    let mut last = None;
    let forced = body.read::<Choice<'_>>("tool_choice").ok().flatten().and_then(|choice| choice.kind);
    for raw in &sent {
        let kind = ToolHead::read(raw)?.kind.unwrap_or_default();
        match kind.as_str() {
            "" | "function" | "custom" => kept.push(raw),
            kind if is_hosted(kind) && forced.as_deref() != Some(kind) => {
                screened.dropped.push(format!("tools:{kind}"));
                last = Some(kind.to_owned());
            }
            kind => return Err(BadRequest::unknown_tool(kind)),
        }
    }
    if kept.len() == sent.len() {
        return Ok(());
    }
    if let Some(kind) = last.filter(|_| kept.is_empty()) {
        return Err(BadRequest::unknown_tool(&kind));
    }
    screened.body_mut(body).set("tools", &kept);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(more: &Value) -> RawObject {
        let mut body = json!({"model": "m", "messages": []});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        RawObject::parse(body.to_string().as_bytes()).unwrap()
    }

    /// What is dropped of a request, and the body that is sent, without the fields that every request has.
    fn sent(more: &Value, hosted: HostedTools) -> Result<(Vec<String>, Value), String> {
        let body = body(more);
        let screened = screen(&body, hosted).map_err(|error| error.to_string())?;
        let mut sent: Value = serde_json::from_slice(&screened.body_or(&body).to_bytes()).unwrap();
        sent.as_object_mut().unwrap().retain(|name, _| name != "model" && name != "messages");
        Ok((screened.dropped, sent))
    }

    #[test]
    fn what_costs_tokens_only_passes_and_the_rest_is_taken_out_by_name() {
        let function = json!({"type": "function", "function": {"name": "f"}});
        for more in [
            json!({"temperature": 1, "seed": 5, "tools": [function], "service_tier": "flex", "metadata": null}),
            json!({"usage": {"include": true}, "session_id": "s", "provider": {"order": ["anthropic"], "allow_fallbacks": false}}),
        ] {
            assert_eq!(sent(&more, HostedTools::Refused), Ok((Vec::new(), more)));
        }
        for (more, dropped, left) in [
            (json!({"plugins": [{"id": "web"}]}), "plugins", json!({})),
            (json!({"search_parameters": {}, "seed": 1}), "search_parameters", json!({"seed": 1})),
            (json!({"prediction": {"type": "content"}}), "prediction", json!({})),
            (json!({"prediction": null}), "prediction", json!({})),
            (json!({"web_search_options": {}}), "web_search_options", json!({})),
            (json!({"service_tier": "priority"}), "service_tier", json!({})),
            (json!({"provider": {"order": ["a"], "from_the_future": 1}}), "provider", json!({})),
            (json!({"provider": "azure"}), "provider", json!({})),
            (json!({"tools": [function, {"type": "web_search"}]}), "tools:web_search", json!({"tools": [function]})),
            (
                json!({"tools": [function, {"type": "web_search_preview_2025_03_11"}]}),
                "tools:web_search_preview_2025_03_11",
                json!({"tools": [function]}),
            ),
            (json!({"tools": [{"type": "web_search_2025_08_26"}, function]}), "tools:web_search_2025_08_26", json!({"tools": [function]})),
            (json!({"tools": [function, {"type": "openrouter:web_search"}]}), "tools:openrouter:web_search", json!({"tools": [function]})),
        ] {
            assert_eq!(sent(&more, HostedTools::Refused), Ok((vec![dropped.to_owned()], left)), "{more}");
        }
    }

    #[test]
    fn a_tool_without_a_bound_is_refused_where_nothing_else_remains() {
        let function = json!({"type": "function", "function": {"name": "f"}});
        for more in [
            json!({"tools": [{"type": "web_search"}]}),
            json!({"tools": [function, {"type": "from_the_future"}]}),
            json!({"tools": [function, {"type": "web_search_from_the_future"}]}),
            json!({"tools": [function, {"type": "web_search_2025_08_26_future"}]}),
            json!({"tools": [function, {"type": "web_search"}], "tool_choice": {"type": "web_search"}}),
        ] {
            let error = sent(&more, HostedTools::Bounded).unwrap_err();
            assert!(error.starts_with("tools: ") && (error.contains("web_search") || error.contains("future")), "{error}");
        }
    }

    #[test]
    fn a_search_is_paid_for_where_the_key_allows_it() {
        let search = body(&json!({"web_search_options": {}}));
        let screened = screen(&search, HostedTools::Bounded).unwrap();
        assert_eq!((screened.dropped.len(), screened.hosted.fee, screened.hosted.rounds), (0, SEARCH_FEE, 1));
    }

    #[test]
    fn no_field_is_listed_twice() {
        let mut all: Vec<&str> = names_of(HARMLESS).chain(names_of(PRICED)).chain(REFUSED.map(|(name, _)| name)).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_name_that_decides_who_answers_or_what_is_paid_goes_to_no_provider() {
        let check = |more: &str| check_names(&RawObject::parse(format!(r#"{{"model":"m","messages":[],{more}}}"#).as_bytes()).unwrap());
        for (more, says) in [
            (r#""models":["expensive"]"#, "models: "),
            (r#""chat_template":"{{ 1 }}""#, "chat_template: "),
            (r#""best_of":5"#, "best_of: "),
            (r#""Model":"expensive""#, "\"model\""),
            (r#""MAX_TOKENS":10000"#, "\"max_tokens\""),
            (r#""maxCompletionTokens":10000"#, "\"max_completion_tokens\""),
            (r#""Models":["expensive"]"#, "\"models\""),
            (r#""N":50"#, "\"n\""),
        ] {
            let error = check(more).unwrap_err().to_string();
            assert!(error.contains(says), "{more}: {error}");
        }
        for more in [r#""models":null"#, r#""documents":[]"#, r#""max_tokens":5"#] {
            assert!(check(more).is_ok(), "{more}");
        }
    }
}

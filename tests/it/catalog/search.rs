//! What a question finds.

use std::collections::BTreeSet;

use lava_mcp::catalog::{Capability, Item, Kind, Mode, Model, Query};

use super::catalog;

#[derive(serde::Deserialize)]
struct Asked {
    query: String,
    #[serde(default)]
    kind: Wanted,
    /// What belongs in the first three answers, as `provider/id` or `@provider`.
    #[serde(default)]
    expect: Vec<String>,
    /// What is true of each of the first three answers.
    each: Option<Each>,
}

/// [`Kind`] as the list writes it.
#[derive(Clone, Copy, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    #[default]
    Any,
    Model,
    Service,
}

impl From<Wanted> for Kind {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Any => Self::Any,
            Wanted::Model => Self::Model,
            Wanted::Service => Self::Service,
        }
    }
}

/// What a question demands. Names change with every refresh of the data; what was asked for does not.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Each {
    mode: Mode,
    #[serde(default)]
    can: Vec<Capability>,
    provider: Option<String>,
    /// The price of a million tokens in and a million tokens out together, in cents.
    cents_max: Option<u64>,
    cents_min: Option<u64>,
    context_min: Option<u64>,
    /// Sold by a lab, not by a reseller.
    #[serde(default)]
    lab: bool,
    /// Of a family that anybody may run.
    #[serde(default)]
    open: bool,
}

impl Each {
    /// What is not as demanded.
    fn faults(&self, model: &Model) -> Vec<String> {
        // Some chats are served through the responses endpoint only; who asks for a chat does not care.
        let mode = if model.mode == Mode::Responses { Mode::Chat } else { model.mode };
        let picos = model.prices().map(|prices| prices.rates.input.picos() + prices.rates.output.picos());
        let open = ["llama", "qwen", "gemma", "deepseek", "mistral", "ministral", "gpt-oss", "phi", "glm", "kimi", "minimax"];
        let id = model.id.to_lowercase();
        let lab = || catalog().provider(&model.provider).is_some_and(|provider| provider.first_party);
        let mut faults: Vec<String> =
            self.can.iter().filter(|one| !model.capabilities.has(**one)).map(|one| format!("no {one:?}")).collect();
        for (holds, fault) in [
            (!model.retired, "retired"),
            (mode == self.mode, "another mode"),
            (self.provider.as_ref().is_none_or(|provider| **provider == *model.provider), "another provider"),
            (self.cents_max.is_none_or(|cents| picos.is_some_and(|picos| picos <= cents * 10_000)), "too dear"),
            (self.cents_min.is_none_or(|cents| picos.is_some_and(|picos| picos >= cents * 10_000)), "too cheap"),
            (self.context_min.is_none_or(|least| model.context.is_some_and(|context| context >= least)), "too short"),
            (!self.lab || lab(), "a reseller"),
            (!self.open || open.iter().any(|family| id.contains(family)), "not open"),
        ] {
            if !holds {
                faults.push(fault.to_owned());
            }
        }
        faults
    }
}

fn golden() -> Vec<Asked> {
    serde_json::from_str(include_str!("../../fixtures/search_golden.json")).unwrap()
}

fn find(text: &str, kind: Kind) -> Vec<String> {
    let hits = catalog().find(&Query { text, kind, provider: None, ready: &|_| false }).hits;
    hits.iter().map(|hit| label(&hit.item)).collect()
}

fn label(item: &Item<'_>) -> String {
    match item {
        Item::Model(model) => format!("{}/{}", model.provider, model.id),
        Item::Provider(provider) => format!("@{}", provider.id),
    }
}

#[test]
fn questions_find_what_a_person_would_pick() {
    let golden = golden();
    assert!(golden.len() >= 60, "{} questions", golden.len());
    let (mut found, mut wanted, mut misses) = (0, 0, Vec::new());
    for asked in &golden {
        let first: Vec<String> = find(&asked.query, asked.kind.into()).into_iter().take(3).collect();
        for expected in &asked.expect {
            wanted += 1;
            if first.contains(expected) {
                found += 1;
            } else {
                misses.push(format!("{}: {expected} is not in {first:?}", asked.query));
            }
        }
    }
    assert!(found * 100 >= wanted * 94, "{found} of {wanted} found\n{}", misses.join("\n"));
}

#[test]
fn what_is_asked_for_is_true_of_every_first_answer() {
    let mut faults = Vec::new();
    let golden = golden();
    let demanding: Vec<(&Asked, &Each)> = golden.iter().filter_map(|asked| asked.each.as_ref().map(|each| (asked, each))).collect();
    assert!(demanding.len() >= 35, "{} questions", demanding.len());
    for (asked, each) in demanding {
        let hits = catalog().find(&Query { text: &asked.query, kind: asked.kind.into(), provider: None, ready: &|_| false }).hits;
        assert!(!hits.is_empty(), "{}", asked.query);
        for hit in hits.iter().take(3) {
            let Item::Model(model) = hit.item else { panic!("{}: not a model", asked.query) };
            let wrong = each.faults(model);
            if !wrong.is_empty() {
                faults.push(format!("{}: {} {wrong:?}", asked.query, label(&hit.item)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_name_beats_every_wish() {
    for question in
        ["gpt-4o-mini", "gpt 4o mini", "gpt4o mini", "GPT-4o mini", "openai/gpt-4o-mini", "cheap gpt-4o-mini", "best gpt-4o-mini"]
    {
        assert_eq!(find(question, Kind::Model)[0], "openai/gpt-4o-mini", "{question}");
    }
    assert_eq!(find("claude haiku 4.5", Kind::Model)[0], "anthropic/claude-haiku-4-5");
}

#[test]
fn a_wish_is_granted_by_the_provider_that_was_named() {
    for provider in ["openrouter", "darkbloom", "anthropic"] {
        let hits =
            catalog().find(&Query { text: "best model with tools", kind: Kind::Model, provider: Some(provider), ready: &|_| false }).hits;
        assert!(!hits.is_empty(), "{provider}");
        assert!(hits.iter().all(|hit| label(&hit.item).starts_with(provider)), "{provider}");
    }
    let free = catalog().find(&Query { text: "free model", kind: Kind::Any, provider: None, ready: &|_| false }).hits;
    assert!(free.len() > 5, "the provider of that name is not all there is");
}

#[test]
fn a_demand_that_nothing_meets_still_has_an_answer() {
    for question in [
        "free video generation on groq",
        "cheap embedding model with vision and tools",
        "9m context",
        "cheap model for xyzzyq",
        &"tools ".repeat(300),
    ] {
        assert!(!find(question, Kind::Model).is_empty(), "{question}");
    }
}

#[test]
fn a_model_is_one_answer_and_its_resellers_are_beside_it() {
    let hits = catalog().find(&Query { text: "gpt-oss-120b", kind: Kind::Model, provider: None, ready: &|_| false }).hits;
    assert!(hits[0].others.len() > 5);
    let resellers: BTreeSet<&str> = hits[0].others.iter().map(|model| &*model.provider).collect();
    assert!(resellers.len() > 5);
    let ready = catalog().find(&Query { text: "gpt-oss-120b", kind: Kind::Model, provider: None, ready: &|id| id == "fireworks" }).hits;
    assert!(label(&ready[0].item).starts_with("fireworks/"), "{}", label(&ready[0].item));
    let one = catalog().find(&Query { text: "gpt-oss-120b", kind: Kind::Model, provider: Some("groq"), ready: &|_| false }).hits;
    assert_eq!(label(&one[0].item), "groq/openai/gpt-oss-120b");
    assert!(one.iter().all(|hit| label(&hit.item).starts_with("groq/")));
}

#[test]
fn an_empty_question_lists_a_provider_or_nothing() {
    let ask = |provider, kind| catalog().find(&Query { text: " ", kind, provider, ready: &|_| false }).hits.len();
    assert_eq!(ask(None, Kind::Any), 0);
    let groq = catalog().models().iter().filter(|model| &*model.provider == "groq").count();
    assert_eq!(ask(Some("groq"), Kind::Model), groq);
    assert_eq!(ask(Some("groq"), Kind::Any), groq + 1);
    assert_eq!(ask(Some("groq"), Kind::Service), 1);
    assert_eq!(ask(Some("no-such-provider"), Kind::Any), 0);
    assert!(catalog().find(&Query { text: "!?", kind: Kind::Any, provider: None, ready: &|_| false }).hits.is_empty());
}

#[test]
fn a_slip_of_the_pen_finds_the_model() {
    for (slip, meant) in [
        ("gpt4o-mini", "gpt-4o-mini"),
        ("gtp-4o", "gpt-4o"),
        ("claude-sonet-4-5", "claude-sonnet-4-5"),
        ("gemini-2.5-falsh", "gemini-2.5-flash"),
        ("mistral-lage-latest", "mistral-large-latest"),
        ("deepseek-chatt", "deepseek-chat"),
        ("text-embeding-3-small", "text-embedding-3-small"),
    ] {
        let near = catalog().nearest_models(slip, 3);
        assert!(near.iter().any(|model| &*model.id == meant), "{slip}: {:?}", near.iter().map(|model| &model.id).collect::<Vec<_>>());
        let distinct: BTreeSet<&str> = near.iter().map(|model| &*model.id).collect();
        assert_eq!(distinct.len(), near.len());
    }
    assert!(catalog().nearest_models("qqqqqqqqqqqq", 3).is_empty());
    let sonnet = catalog().nearest_models("claude-sonet-4", 3);
    assert!(sonnet.iter().any(|model| model.names().any(|name| name == "claude-sonnet-4")));
}

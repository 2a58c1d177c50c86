//! What a question finds.

use std::collections::BTreeSet;

use lava_mcp::catalog::{Item, Kind, Query};

use super::catalog;

#[derive(serde::Deserialize)]
struct Asked {
    query: String,
    #[serde(default)]
    kind: String,
    /// What belongs in the first three answers, as `provider/id` or `@provider`.
    expect: Vec<String>,
}

fn find(text: &str, kind: Kind) -> Vec<String> {
    let hits = catalog().find(&Query { text, kind, provider: None, ready: &|_| false });
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
    let golden: Vec<Asked> = serde_json::from_str(include_str!("../../fixtures/search_golden.json")).unwrap();
    assert!(golden.len() >= 60, "{} questions", golden.len());
    let (mut found, mut wanted, mut misses) = (0, 0, Vec::new());
    for asked in &golden {
        let kind = match asked.kind.as_str() {
            "" => Kind::Any,
            "model" => Kind::Model,
            "service" => Kind::Service,
            other => panic!("{other} is no kind"),
        };
        let first: Vec<String> = find(&asked.query, kind).into_iter().take(3).collect();
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
fn a_model_is_one_answer_and_its_resellers_are_beside_it() {
    let hits = catalog().find(&Query { text: "gpt-oss-120b", kind: Kind::Model, provider: None, ready: &|_| false });
    assert!(hits[0].others.len() > 5);
    let resellers: BTreeSet<&str> = hits[0].others.iter().map(|model| &*model.provider).collect();
    assert!(resellers.len() > 5);
    let ready = catalog().find(&Query { text: "gpt-oss-120b", kind: Kind::Model, provider: None, ready: &|id| id == "fireworks" });
    assert!(label(&ready[0].item).starts_with("fireworks/"), "{}", label(&ready[0].item));
    let one = catalog().find(&Query { text: "gpt-oss-120b", kind: Kind::Model, provider: Some("groq"), ready: &|_| false });
    assert_eq!(label(&one[0].item), "groq/openai/gpt-oss-120b");
    assert!(one.iter().all(|hit| label(&hit.item).starts_with("groq/")));
}

#[test]
fn an_empty_question_lists_a_provider_or_nothing() {
    let ask = |provider, kind| catalog().find(&Query { text: " ", kind, provider, ready: &|_| false }).len();
    assert_eq!(ask(None, Kind::Any), 0);
    let groq = catalog().models().iter().filter(|model| &*model.provider == "groq").count();
    assert_eq!(ask(Some("groq"), Kind::Model), groq);
    assert_eq!(ask(Some("groq"), Kind::Any), groq + 1);
    assert_eq!(ask(Some("groq"), Kind::Service), 1);
    assert_eq!(ask(Some("no-such-provider"), Kind::Any), 0);
    assert!(catalog().find(&Query { text: "!?", kind: Kind::Any, provider: None, ready: &|_| false }).is_empty());
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

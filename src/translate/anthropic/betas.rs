//! The betas of Anthropic's API (the header `anthropic-beta`), and what they do to the price. A beta that is not listed is not sent.

use crate::translate::screening::{HostedTools, is_name};

/// What a beta changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// What is said, and not what a token costs.
    Harmless,
    /// It allows a tool that runs at the provider, whose cost has a bound.
    Hosted,
    /// It allows something without a bound here: a faster and more expensive service, or another model that answers.
    Unbounded,
}
use Class::{Harmless, Hosted, Unbounded};

const DOCS: &str = "docs.claude.com/en/api/beta-headers";
const TOOLS: &str = "docs.claude.com/en/docs/agents-and-tools";
const CONTEXT: &str = "docs.claude.com/en/docs/build-with-claude/context-windows: models of a million tokens have one price for all of them; for those of 200,000 \
     it has been without effect since 2026-04-30";
const CLAUDE_CODE: &str = "sent by Claude Code with requests that are billed by their tokens";
const SDK: &str =
    "the types of the official SDK (`anthropic_beta_param`): it changes what a message may say, which is billed by its tokens";

/// The date that their names end in.
const DATE: &str = "0000-00-00";
/// The beginnings of their names, and the whole of one that ends otherwise; each with its source.
const BETAS: &[(&str, Class, &str)] = &[
    ("advanced-tool-use-", Harmless, TOOLS),
    ("advisor-tool-", Hosted, "a tool that asks a second model, at that model's price"),
    ("afk-mode-", Harmless, CLAUDE_CODE),
    ("auto-mode-classifier-", Harmless, CLAUDE_CODE),
    ("cache-diagnosis-", Harmless, CLAUDE_CODE),
    ("ccr-byoc-", Harmless, CLAUDE_CODE),
    ("claude-code-20250219", Harmless, CLAUDE_CODE),
    ("code-execution-", Hosted, TOOLS),
    ("code-execution-web-tools-", Hosted, TOOLS),
    ("compact-", Hosted, "docs.claude.com/en/docs/build-with-claude/compaction: the model runs once more"),
    ("computer-use-", Harmless, TOOLS),
    ("context-1m-", Harmless, CONTEXT),
    ("context-hint-", Harmless, CLAUDE_CODE),
    ("context-management-", Harmless, "docs.claude.com/en/docs/build-with-claude/context-editing"),
    ("dangerous-tool-use-", Harmless, CLAUDE_CODE),
    ("effort-", Harmless, "docs.claude.com/en/docs/build-with-claude/effort"),
    ("extended-cache-ttl-", Harmless, "docs.claude.com/en/docs/build-with-claude/prompt-caching"),
    ("fallback-credit-", Unbounded, "another model answers"),
    ("fast-mode-", Unbounded, "docs.claude.com/en/docs/build-with-claude/fast-mode: six times the list price and more"),
    ("files-api-", Harmless, "docs.claude.com/en/docs/build-with-claude/files: file operations are free, their content is input"),
    ("fine-grained-tool-streaming-", Harmless, TOOLS),
    ("inline-tools-", Harmless, "a message defines a tool; one that runs at the provider is refused there"),
    ("interleaved-thinking-", Harmless, "docs.claude.com/en/docs/build-with-claude/extended-thinking"),
    ("mcp-client-", Hosted, "docs.claude.com/en/docs/agents-and-tools/mcp-connector"),
    ("mid-conversation-output-config-", Harmless, SDK),
    ("mid-conversation-system-", Harmless, CLAUDE_CODE),
    ("mid-conversation-system-clear-at-", Harmless, SDK),
    ("mid-conversation-tool-changes-", Harmless, CLAUDE_CODE),
    ("model-context-window-exceeded-", Harmless, DOCS),
    ("oauth-", Harmless, CLAUDE_CODE),
    ("output-128k-", Harmless, DOCS),
    ("output-300k-", Harmless, DOCS),
    ("pdfs-", Harmless, "docs.claude.com/en/docs/build-with-claude/pdf-support"),
    ("per-turn-control-", Harmless, CLAUDE_CODE),
    ("program-use-case-ids-", Harmless, CLAUDE_CODE),
    ("prompt-caching-", Harmless, "docs.claude.com/en/docs/build-with-claude/prompt-caching"),
    ("prompt-caching-scope-", Harmless, CLAUDE_CODE),
    ("redact-thinking-", Harmless, CLAUDE_CODE),
    ("server-side-fallback-", Unbounded, "another model answers"),
    ("skills-", Hosted, "docs.claude.com/en/docs/agents-and-tools/agent-skills: skills run as code"),
    ("structured-outputs-", Harmless, "docs.claude.com/en/docs/build-with-claude/structured-outputs"),
    ("summarize-connector-text-", Harmless, CLAUDE_CODE),
    ("task-budgets-", Harmless, "docs.claude.com/en/docs/build-with-claude/task-budgets"),
    ("thinking-binding-controls-", Harmless, CLAUDE_CODE),
    ("thinking-display-updates-", Harmless, CLAUDE_CODE),
    ("thinking-token-count-", Harmless, CLAUDE_CODE),
    ("timing-", Harmless, CLAUDE_CODE),
    ("token-counting-", Harmless, "docs.claude.com/en/docs/build-with-claude/token-counting"),
    ("token-efficient-tools-", Harmless, TOOLS),
    ("tool-examples-", Harmless, TOOLS),
    ("tool-provenance-", Harmless, CLAUDE_CODE),
    ("tool-search-tool-", Harmless, TOOLS),
    ("web-fetch-", Hosted, TOOLS),
    ("web-search-", Hosted, TOOLS),
];

/// Whether a beta is sent to a provider of which only the price list is known.
pub fn is_sent(beta: &str, hosted: HostedTools) -> bool {
    let class = BETAS.iter().find(|(known, ..)| is_name(beta, known, DATE)).map(|(_, class, _)| *class);
    match (class, hosted) {
        (Some(Harmless), _) | (Some(_), HostedTools::Free) | (Some(Hosted), HostedTools::Bounded) => true,
        (Some(Hosted | Unbounded) | None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_goes_by_the_price_and_by_the_key() {
        use HostedTools::{Bounded, Free, Refused};
        for (beta, sent_to) in [
            ("claude-code-20250219", &[Refused, Bounded, Free][..]),
            ("context-1m-2025-08-07", &[Refused, Bounded, Free]),
            ("inline-tools-2026-09-15", &[Refused, Bounded, Free]),
            ("thinking-token-count-2026-05-13", &[Refused, Bounded, Free]),
            ("advisor-tool-2026-03-01", &[Bounded, Free]),
            ("compact-2026-01-12", &[Bounded, Free]),
            ("fast-mode-2026-02-01", &[Free]),
            ("server-side-fallback-2026-06-01", &[Free]),
            ("fallback-credit-2026-06-01", &[Free]),
            ("mid-conversation-output-config-2026-07-01", &[Refused, Bounded, Free]),
            ("mid-conversation-system-2026-04-07", &[Refused, Bounded, Free]),
            ("mid-conversation-system-clear-at-2026-08-21", &[Refused, Bounded, Free]),
            ("prompt-caching-2024-07-31", &[Refused, Bounded, Free]),
            ("prompt-caching-scope-2026-01-05", &[Refused, Bounded, Free]),
            ("code-execution-web-tools-2026-02-09", &[Bounded, Free]),
            ("from-the-future-2030-01-01", &[]),
            // What follows a beginning that is known is a date and nothing else.
            ("effort-", &[]),
            ("effort-2025", &[]),
            ("effort-20251124", &[]),
            ("effort-2025-11-24-fast", &[]),
            ("effort-fast-2025-11-24", &[]),
            ("effort-2025-11-2\u{661}", &[]),
            ("effort-2025/11/24", &[]),
            ("effort-2025-11-24 fast-mode-2026-02-01", &[]),
            ("effort-2025-11-24;fast-mode-2026-02-01", &[]),
            ("effort-2025-11-24\tfast-mode-2026-02-01", &[]),
            ("\"effort-2025-11-24\"", &[]),
            ("Effort-2025-11-24", &[]),
            ("claude-code-20250219-fast", &[]),
            ("claude-code-2025-02-19", &[]),
            ("", &[]),
        ] {
            for hosted in [Refused, Bounded, Free] {
                assert_eq!(is_sent(beta, hosted), sent_to.contains(&hosted), "{beta} {hosted:?}");
            }
        }
        assert!(BETAS.is_sorted_by_key(|(name, ..)| *name) && BETAS.iter().all(|(.., source)| !source.is_empty()));
    }
}

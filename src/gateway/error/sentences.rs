//! What a refusal says, where that takes more than a format string.

use crate::domain::{
    Money, invocation,
    ledger::{Shortfall, Whose},
};

/// Shows charges that nobody can prove.
pub(super) fn holds_command() -> String {
    invocation::command("keys holds")
}

/// For a key it begins with Lava's own sentence, which its clients look for.
pub(super) fn budget_sentence(shortfall: &Shortfall, affordable_output: Option<u64>) -> String {
    let limit = shortfall.limit;
    let whose = match shortfall.whose {
        Whose::Key => "Service key",
        Whose::Account => "Account",
    };
    let left = shortfall.available();
    let fits = match affordable_output {
        Some(tokens) if tokens > 0 => format!(" It would fit with max_tokens of at most {tokens}."),
        _ => String::new(),
    };
    format!(
        "{whose} spend limit exceeded. {left} of {} USD ({}) is left, this request may cost up to {} USD.{fits}{}{}",
        limit.amount,
        limit.cycle.as_str(),
        shortfall.asked,
        unverified_sentence(shortfall.unverified),
        resets_sentence(shortfall.resets_at),
    )
}

/// Money that a person may get back.
fn unverified_sentence(unverified: Money) -> String {
    if unverified == Money::ZERO {
        return String::new();
    }
    format!(
        " {unverified} USD of the limit are unverified charges, for answers that never came and may not have been billed: `{}` shows them.",
        holds_command()
    )
}

pub(super) fn breaker_sentence(provider: &str, wait_s: u64, is_for_all: bool) -> String {
    let why = if is_for_all {
        format!("{provider} could not be reached, or did not finish its answers to several keys")
    } else {
        format!("The last answers of {provider} to this key did not come or did not say what they cost, and each was charged in full")
    };
    format!("{why}, so nothing is bought there for another {wait_s} s; use another provider, or try again then.")
}

pub(super) fn resets_sentence(resets_at: Option<jiff::Timestamp>) -> String {
    resets_at.map_or_else(|| " It does not reset.".to_owned(), |at| format!(" It resets at {at}."))
}

pub(super) fn nearest_sentence(nearest: &[String]) -> String {
    if nearest.is_empty() { " Search shows what is available.".to_owned() } else { format!(" Nearest: {}.", nearest.join(", ")) }
}

pub(super) fn how_to_set(provider: &str, env: &[String]) -> String {
    let command = format!("lava-mcp providers set {provider}");
    if env.is_empty() { format!("Run `{command}`.") } else { format!("Set {} or run `{command}`.", env.join(" or ")) }
}

/// What a provider said beside a status, if anything.
pub(super) fn reason_sentence(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

pub(super) fn bodies_sentence(is_own: bool) -> String {
    let whose = if is_own { "of this key" } else { "of all callers" };
    format!(
        "The requests {whose} in progress use all the memory there is for bodies. Send this one again in a moment, or send fewer at a time."
    )
}

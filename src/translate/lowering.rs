//! Lowering along with an output cap what a provider refuses above it: the budgets of hidden reasoning, and the least length of an answer.

use super::{RawObject, members::Members};

/// The least budget of reasoning that a provider takes. Source: docs.claude.com/en/docs/build-with-claude/extended-thinking.
pub(super) const THINKING_MIN: u64 = 1_024;
/// Room for the answer itself; less would cut it to pieces.
pub(super) const ANSWER_MIN: u64 = 256;

/// A number that is a member of an object, if both are there.
pub(super) fn member(body: &RawObject, name: &str, member: &str) -> Option<u64> {
    let members: Members<'_> = body.read(name).ok().flatten()?;
    serde_json::from_str(members.get(member)?.get()).ok()
}

/// Lowers a field that is a budget of reasoning.
pub(super) fn lower(body: &mut RawObject, name: &str, cap: u64, asked: u64) {
    if let Ok(Some(budget)) = body.read::<u64>(name) {
        body.set(name, &lowered(budget, cap, asked));
    }
}

/// Lowers a field to what may be written at most.
pub(super) fn at_most(body: &mut RawObject, name: &str, cap: u64) {
    if body.read::<u64>(name).is_ok_and(|least| least.is_some_and(|least| least > cap)) {
        body.set(name, &cap);
    }
}

/// Lowers a member that is a budget of reasoning.
pub(super) fn lower_member(body: &mut RawObject, name: &str, inner: &str, cap: u64, asked: u64) {
    let Some(budget) = member(body, name, inner) else { return };
    if let Ok(Some(mut object)) = body.read::<RawObject>(name) {
        object.set(inner, &lowered(budget, cap, asked));
        body.set(name, &object);
    }
}

/// The same share of the new cap as it was of the old one, within what providers take.
fn lowered(budget: u64, cap: u64, asked: u64) -> u64 {
    let share = u64::try_from(u128::from(budget) * u128::from(cap) / u128::from(asked.max(1))).unwrap_or(cap);
    share.max(THINKING_MIN.min(budget)).min(cap.saturating_sub(ANSWER_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_keeps_its_share_and_stays_below_the_cap() {
        for (budget, cap, asked, expected) in
            [(32_000, 16_000, 64_000, 8_000), (63_999, 2_000, 64_000, 1_744), (2_000, 1_280, 64_000, 1_024), (10, 1_280, 64_000, 10)]
        {
            assert_eq!(lowered(budget, cap, asked), expected, "{budget} {cap} {asked}");
        }
    }

    #[test]
    fn only_a_budget_that_is_there_is_lowered() {
        let text = r#"{"thinking":{"type":"enabled","budget_tokens":32000},"reasoning":{"effort":"low"}}"#;
        let mut body = RawObject::parse(text.as_bytes()).unwrap();
        lower_member(&mut body, "thinking", "budget_tokens", 16_000, 64_000);
        lower_member(&mut body, "reasoning", "max_tokens", 16_000, 64_000);
        lower(&mut body, "thinking_budget", 16_000, 64_000);
        assert_eq!(body.to_bytes(), text.replace("32000", "8000").as_bytes());
    }

    #[test]
    fn the_least_length_is_no_more_than_the_cap() {
        for (least, sent) in [("500", "100"), ("100", "100"), ("7", "7"), ("null", "null"), ("\"500\"", "\"500\"")] {
            let mut body = RawObject::parse(format!("{{\"min_tokens\":{least}}}").as_bytes()).unwrap();
            at_most(&mut body, "min_tokens", 100);
            assert_eq!(body.to_bytes(), format!("{{\"min_tokens\":{sent}}}").as_bytes());
        }
        let mut body = RawObject::parse(b"{}").unwrap();
        at_most(&mut body, "min_tokens", 100);
        assert_eq!(body.to_bytes(), b"{}");
    }
}

//! Prompts: what a person can pick from a menu instead of typing it.

use rmcp::{
    ErrorData,
    model::{GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role},
};

use super::text;

/// As much of an argument is taken, in characters.
const ARGUMENT_CHARS_MAX: usize = 4_000;
const BUDGET_DEFAULT: &str = "0.05";

/// All prompts, always in this order.
pub(super) fn list() -> Vec<Prompt> {
    let argument = |name: &str, about: &str, is_needed: bool| PromptArgument::new(name).with_description(about).with_required(is_needed);
    vec![
        Prompt::new(
            "compare_models",
            Some("Asks several models the same question and compares answers, speed and cost"),
            Some(vec![
                argument("question", "What to ask them", true),
                argument("models", "Which models, separated by commas; left out, three are picked by ability and price", false),
                argument("budget", "US dollars for all of it; 0.05 if left out", false),
            ]),
        )
        .with_title("Compare models"),
        Prompt::new("spend_report", Some("Shows what this session has spent, on what, and what is left"), None).with_title("Spend report"),
    ]
}

/// A prompt with its arguments filled in.
pub(super) fn get(name: &str, arguments: &JsonObject) -> Result<GetPromptResult, ErrorData> {
    let argument = |name: &str| {
        let given = arguments.get(name).and_then(|value| value.as_str()).map(|given| text::visible(given.trim()));
        given.filter(|given| !given.is_empty()).map(|given| text::shorten(&given, ARGUMENT_CHARS_MAX).0)
    };
    let (about, words) = match name {
        "compare_models" => {
            let question = argument("question").ok_or_else(|| ErrorData::invalid_params("question: say what to ask the models", None))?;
            let models = argument("models").map_or_else(
                || "Pick three chat models with search: a cheap one, a strong one, and one in between, whose credentials are ready.".to_owned(),
                |models| format!("Use these models: {models}. Look each up with search, to know its id and price."),
            );
            let budget = argument("budget").unwrap_or_else(|| BUDGET_DEFAULT.to_owned());
            let words = format!(
                "Compare AI models with the lava tools, for at most {budget} USD in all.\n\n1. Call login if that has not been done.\n2. {models}\n3. Ask each the question \
                 below with prompt, once, with the same max_tokens, and with a max_cost such that all together stay within the budget. If one is refused, say so and go on.\n\
                 4. Show a table of model, cost in USD, tokens, and how good the answer is, with one sentence for each; then say which you would take, and what the comparison \
                 cost.\n\nThe question:\n{question}"
            );
            ("Asks several models the same question and compares them", words)
        }
        "spend_report" => (
            "Shows what this session has spent",
            "Call the lava tool usage with {\"limit\": 50}. Say in a few lines what this session has spent, its limit, what is left and when it resets; then show which models \
             the money went to, most expensive first, and point out what failed or was unusually expensive."
                .to_owned(),
        ),
        other => {
            let names: Vec<String> = list().into_iter().map(|prompt| prompt.name).collect();
            return Err(ErrorData::invalid_params(format!("no prompt is called \"{}\"; the prompts are {}", text::one_line(other, super::NAME_CHARS_MAX), names.join(", ")), None));
        }
    };
    Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, words)]).with_description(about))
}

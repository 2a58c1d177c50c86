//! What a tool gives back, and what reaches the client of it: structured content, the same in words, and whatever else there is to see or hear.

use std::sync::Arc;

use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, InputRequiredResult};
use serde::Serialize;
use serde_json::Value;

use super::{error::ToolError, text};
use crate::{client::ClientError, session::SessionError};

/// The most a result has, in characters: its structured content as JSON, and its words, each by itself. Clients cut what is longer, and say less about it.
pub(super) const CHARS_MAX: usize = 20_000;

/// A result. What others wrote in it is safe to show from here on.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    structured: Value,
    content: Vec<ContentBlock>,
}

impl Answer {
    /// A result with its words.
    pub(super) fn new(output: &impl Serialize, words: &str) -> Self {
        let structured = text::visible_value(serde_json::to_value(output).unwrap_or_default());
        Self { structured, content: vec![ContentBlock::text(text::visible(words))] }
    }

    /// The result with what else belongs to it.
    pub(super) fn with(mut self, blocks: Vec<ContentBlock>) -> Self {
        self.content.extend(blocks);
        self
    }

    /// About how many bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let block = |block: &ContentBlock| match block {
            ContentBlock::Text(text) => text.text.len(),
            ContentBlock::Image(image) => image.data.len(),
            ContentBlock::Audio(audio) => audio.data.len(),
            _ => 500,
        };
        // The structured content and the first block say the same.
        self.content.iter().map(block).sum::<usize>() + self.content.first().map_or(0, block)
    }
}

/// Why there is no result.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// It failed.
    Failed(ToolError),
    /// A person is to be asked first; the client sends the call again with the answer.
    Ask(Arc<InputRequiredResult>),
}

impl From<ToolError> for Stop {
    fn from(error: ToolError) -> Self {
        Self::Failed(error)
    }
}

impl From<SessionError> for Stop {
    fn from(error: SessionError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Failed(error.into())
    }
}

/// A plain result with the words for it.
pub(super) fn in_words<T: Serialize>(result: Result<T, ToolError>, words: impl FnOnce(&T) -> String) -> Result<Answer, Stop> {
    Ok(result.map(|output| Answer::new(&output, &words(&output)))?)
}

/// The result as it is sent.
pub(super) fn respond(result: Result<Answer, Stop>) -> CallToolResponse {
    match result {
        Ok(Answer { structured, content }) => {
            let mut answer = CallToolResult::structured(structured);
            answer.content = content;
            answer.into()
        }
        Err(Stop::Failed(error)) => {
            let mut answer = CallToolResult::structured_error(text::visible_value(error.to_structured()));
            answer.content = vec![ContentBlock::text(text::visible(&error.to_text()))];
            answer.into()
        }
        Err(Stop::Ask(question)) => Arc::unwrap_or_clone(question).into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_hidden_leaves_by_any_door() {
        let hidden = "a\u{202e}b\u{200b}c";
        let error = || Err(Stop::Failed(ToolError::new(hidden, hidden, hidden)));
        for result in [Ok(Answer::new(&json!({hidden: [hidden]}), hidden)), error()] {
            let CallToolResponse::Complete(result) = respond(result) else { panic!("a result") };
            let shown = serde_json::to_string(&result).unwrap();
            assert!(shown.contains("abc") && !shown.contains(['\u{202e}', '\u{200b}']), "{shown}");
        }
    }

    #[test]
    fn an_image_is_counted_in_memory() {
        let answer = Answer::new(&json!({}), "words").with(vec![ContentBlock::image("x".repeat(1_000), "image/png")]);
        assert!((1_000..2_000).contains(&answer.bytes()), "{}", answer.bytes());
    }
}

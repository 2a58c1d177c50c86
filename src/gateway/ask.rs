//! What is asked of a provider, in whichever dialect it is asked. The rest of the journey does not look into bodies.

use bytes::Bytes;

use super::{
    providers::{listed_tier, output_cap_field},
    route::Route,
};
use crate::{
    domain::RequestShape,
    translate::{
        BadRequest, Seen, anthropic,
        anthropic::MessagesRequest,
        bounds::Features,
        is_object, openai,
        openai::{ChatRequest, EmbeddingsRequest, Terms},
        screening::{Hosted, HostedTools, Screened},
    },
};

/// A request of which the gateway has read what it needs.
#[derive(Debug)]
pub(super) enum Ask {
    /// `chat/completions` of the OpenAI dialect.
    Chat(ChatRequest),
    /// `messages` of the Anthropic dialect.
    Messages(MessagesRequest),
    Embeddings(EmbeddingsRequest),
    /// `messages/count_tokens`, which costs nothing.
    CountTokens(MessagesRequest),
    /// Another request that costs nothing, such as a list of models.
    Free,
}

impl Ask {
    /// The family of the endpoint: how answers, errors and headers look.
    pub(super) const fn shape(&self) -> RequestShape {
        match self {
            Self::Messages(_) | Self::CountTokens(_) => RequestShape::Anthropic,
            Self::Chat(_) | Self::Embeddings(_) | Self::Free => RequestShape::Openai,
        }
    }

    /// The model as the caller named it; empty where there is none.
    pub(super) fn model(&self) -> &str {
        match self {
            Self::Chat(chat) => chat.model(),
            Self::Messages(messages) | Self::CountTokens(messages) => messages.model(),
            Self::Embeddings(embeddings) => embeddings.model(),
            Self::Free => "",
        }
    }

    /// The endpoint below a provider's base address.
    pub(super) const fn endpoint(&self) -> &'static str {
        match self {
            Self::Chat(_) => "chat/completions",
            Self::Messages(_) => "messages",
            Self::CountTokens(_) => "messages/count_tokens",
            Self::Embeddings(_) => "embeddings",
            Self::Free => "models",
        }
    }

    pub(super) const fn is_streamed(&self) -> bool {
        match self {
            Self::Chat(chat) => chat.is_streamed(),
            Self::Messages(messages) => messages.is_streamed(),
            Self::Embeddings(_) | Self::CountTokens(_) | Self::Free => false,
        }
    }

    /// Whether providers do not bill it.
    pub(super) const fn is_free(&self) -> bool {
        matches!(self, Self::CountTokens(_) | Self::Free)
    }

    /// How many answers are asked for.
    pub(super) const fn choices(&self) -> u64 {
        if let Self::Chat(chat) = self { chat.choices() } else { 1 }
    }

    /// The output cap the caller set, in tokens an answer; zero where there is no output to pay for.
    pub(super) const fn output_cap(&self) -> Option<u64> {
        match self {
            Self::Chat(chat) => chat.output_cap(),
            Self::Messages(messages) => messages.output_cap(),
            Self::Embeddings(_) | Self::CountTokens(_) | Self::Free => Some(0),
        }
    }

    /// The least output cap with which the answer is of use.
    pub(super) fn least_cap(&self) -> u64 {
        match self {
            Self::Chat(chat) => chat.least_cap(),
            Self::Messages(messages) => messages.least_cap(),
            Self::Embeddings(_) | Self::CountTokens(_) | Self::Free => 0,
        }
    }

    /// Decides what is sent to a provider of which only the price list is known.
    ///
    /// # Errors
    /// [`BadRequest`] for what cannot be sent there.
    pub(super) fn screen(&mut self, hosted: HostedTools) -> Result<Option<&Screened>, BadRequest> {
        match self {
            Self::Chat(chat) => chat.screen(hosted).map(Some),
            Self::Messages(messages) => messages.screen(hosted).map(Some),
            // It is not billed, so there is nothing to bound.
            Self::CountTokens(messages) => messages.screen(HostedTools::Free).map(Some),
            Self::Embeddings(_) | Self::Free => Ok(None),
        }
    }

    /// Fields that no provider gets.
    pub(super) fn taken(&self) -> &[&'static str] {
        match self {
            Self::Messages(messages) | Self::CountTokens(messages) => messages.taken(),
            Self::Chat(_) | Self::Embeddings(_) | Self::Free => &[],
        }
    }

    /// Models that a tool of it asks beside the one that answers.
    pub(super) fn advisors(&self) -> Vec<String> {
        if let Self::Messages(messages) = self { messages.advisors() } else { Vec::new() }
    }

    /// What hosted tools can add to its cost.
    pub(super) const fn hosted(&self) -> Option<&Hosted> {
        match self {
            Self::Chat(chat) => Some(chat.hosted()),
            Self::Messages(messages) => Some(messages.hosted()),
            Self::Embeddings(_) | Self::CountTokens(_) | Self::Free => None,
        }
    }

    /// A true upper bound of the input in tokens without the template; `None` when there is none without the model's context window.
    pub(super) fn input_tokens_max(&self, context_window: Option<u64>) -> Option<u64> {
        match self {
            Self::Chat(chat) => chat.bound().tokens(context_window),
            Self::Messages(messages) => messages.bound().tokens(context_window),
            Self::Embeddings(embeddings) => Some(embeddings.input_tokens_max()),
            Self::CountTokens(_) | Self::Free => Some(0),
        }
    }

    /// What decides about the chat template; `None` where there is no template.
    pub(super) const fn features(&self) -> Option<Features> {
        match self {
            Self::Chat(chat) => Some(chat.bound().features),
            Self::Messages(messages) => Some(messages.bound().features),
            Self::Embeddings(_) | Self::CountTokens(_) | Self::Free => None,
        }
    }

    /// The input in tokens by an exact count of its texts, without the template, where it is nothing but text.
    pub(super) fn count_tokens(&self, count: impl Fn(&str) -> u64) -> Option<u64> {
        match self {
            Self::Chat(chat) => chat.count_tokens(count),
            Self::Messages(messages) => messages.count_tokens(count),
            Self::Embeddings(_) | Self::CountTokens(_) | Self::Free => None,
        }
    }

    /// Whether the usage chunk of a stream is asked for on the gateway's own account: a caller who did not ask for it does not get it.
    pub(super) const fn hides_usage(&self) -> bool {
        matches!(self, Self::Chat(chat) if !chat.wants_usage())
    }

    /// The body to send to a provider.
    pub(super) fn upstream_body(&self, route: &Route, cap: Option<u64>) -> Bytes {
        let model = route.model.as_str();
        match self {
            Self::Chat(chat) => {
                let terms = Terms {
                    cap_field: output_cap_field(&route.provider),
                    takes_stream_options: route.takes_stream_options,
                    tier: listed_tier(&route.provider).filter(|_| !route.is_own()),
                    is_own: route.is_own(),
                };
                chat.upstream_body(model, cap, &terms)
            }
            Self::Messages(messages) | Self::CountTokens(messages) => messages.upstream_body(model, cap, route.is_own()),
            Self::Embeddings(embeddings) => embeddings.upstream_body(model),
            Self::Free => Bytes::new(),
        }
    }

    /// Looks into an answer or an event of a stream; `None` when it cannot be read.
    pub(super) fn inspect(&self, payload: &[u8]) -> Option<Seen> {
        match self.shape() {
            RequestShape::Openai => openai::inspect(payload),
            RequestShape::Anthropic => anthropic::inspect(payload),
        }
    }

    /// Whether a body can be a whole answer: those of the dialects are JSON objects, and what other endpoints send is their business.
    pub(super) fn may_be_answer(&self, body: &[u8]) -> bool {
        match self {
            Self::Chat(_) | Self::Messages(_) | Self::CountTokens(_) => is_object(body),
            Self::Embeddings(_) | Self::Free => true,
        }
    }

    /// A whole answer as the events of the stream that was asked for.
    pub(super) fn as_events(&self, answer: &[u8]) -> Option<Bytes> {
        match self {
            Self::Chat(chat) => openai::as_events(answer, chat.wants_usage()),
            Self::Messages(_) => anthropic::as_events(answer),
            Self::Embeddings(_) | Self::CountTokens(_) | Self::Free => None,
        }
    }

    /// The events of a stream as the whole answer that was asked for.
    pub(super) fn as_whole(&self, stream: &[u8]) -> Option<Bytes> {
        match self {
            Self::Chat(_) => openai::from_events(stream),
            Self::Messages(_) => anthropic::from_events(stream),
            Self::Embeddings(_) | Self::CountTokens(_) | Self::Free => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::route::Reach;

    #[test]
    fn the_tier_of_the_price_list_is_asked_for_where_an_account_can_have_another() {
        let sent = |provider: &str, reach: Reach, more: &str| {
            let body = format!(r#"{{"model":"m","messages":[],"max_tokens":5{more}}}"#);
            let mut ask = Ask::Chat(ChatRequest::parse(&Bytes::from(body)).unwrap());
            ask.screen(HostedTools::Refused).unwrap();
            let sent = ask.upstream_body(&Route::example(provider, "m", reach), Some(5));
            serde_json::from_slice::<serde_json::Value>(&sent).unwrap().get("service_tier").cloned()
        };
        for (more, tier) in [
            ("", "default"),
            (r#","service_tier":null"#, "default"),
            (r#","service_tier":"auto""#, "default"),
            (r#","service_tier":"priority""#, "default"),
            (r#","service_tier":"fast""#, "default"),
            (r#","service_tier":"default""#, "default"),
            (r#","service_tier":"flex""#, "flex"),
        ] {
            assert_eq!(sent("openai", Reach::Public, more), Some(tier.into()), "{more}");
        }
        for (provider, reach) in
            [("azure", Reach::Public), ("groq", Reach::Public), ("openrouter", Reach::Public), ("openai", Reach::Private)]
        {
            assert_eq!(sent(provider, reach, ""), None, "{provider}");
            assert_eq!(sent(provider, reach, r#","service_tier":"auto""#), Some("auto".into()), "{provider}");
        }
    }
}

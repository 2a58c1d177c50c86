//! Why something cannot be bought: one reason for the search that shows it and for the request that is refused.

use super::{authorise::check_seller, error::GatewayError, providers::Registry};
use crate::{
    catalog::{Dialect, Mode},
    domain::SpendKey,
};

/// Why something cannot be bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unavailable {
    /// The spend key does not allow it.
    NotAllowed { provider: String, model: String },
    /// Nobody here asks such models, or not through this endpoint.
    OtherMode { model: String, mode: Mode },
    /// The provider speaks another dialect than the endpoint that is asked.
    NotTranslated { model: String, provider: String, spoken: Dialect, asked: Dialect },
    /// The provider speaks a dialect that nothing here speaks.
    NotMetered { provider: String, spoken: Dialect },
    /// There is no price to bound its cost with.
    PriceUnknown { provider: String, model: String },
    /// No model of the provider has a price.
    NoPrices { provider: String },
    /// The provider wants a key, and none is set.
    NoCredential { provider: String, env: Vec<String> },
    /// The address of the provider has a part that is the customer's own.
    AddressMissing { provider: String },
    /// The config file lists the models of this provider, and not this one.
    NotListed { provider: String, model: String },
    /// It billed more than its prices allow, and what pays has a limit.
    Quarantined { provider: String, model: String },
}

impl Unavailable {
    /// Why, and what to do, in one sentence.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::NotAllowed { provider, model } if model.is_empty() => {
                format!("this key does not allow the provider {provider}; use one that `usage` lists, or a key that allows it")
            }
            Self::NotAllowed { provider, model } => {
                format!("this key does not allow {provider}/{model}; use a model that it allows, or a key that allows this one")
            }
            Self::OtherMode { model, mode } => format!("{model} {}", without_endpoint(*mode)),
            Self::NotTranslated { provider, spoken: Dialect::Anthropic, .. } => {
                format!(
                    "{provider} speaks Anthropic's messages, which chat completions are not translated to; send it an Anthropic body with `call`"
                )
            }
            Self::NotTranslated { provider, spoken, asked, .. } => {
                format!(
                    "{provider} speaks the {} dialect, not the {} one; use a provider that sells it in that dialect",
                    spoken.as_str(),
                    asked.as_str()
                )
            }
            Self::NotMetered { provider, spoken } => {
                let spoken = match spoken {
                    Dialect::Custom => "a format of its own",
                    Dialect::Bedrock => "Amazon Bedrock's format",
                    Dialect::Google => "Google's own format",
                    Dialect::Openai | Dialect::Anthropic => "another format",
                };
                format!("{provider} speaks {spoken}, which this version cannot meter; use the same model at another provider")
            }
            Self::PriceUnknown { provider, model } => {
                format!("no price is known for {provider}/{model}; set one under [providers.{provider}] in the config file")
            }
            Self::NoPrices { provider } => {
                format!(
                    "the prices of its models are not known; write base_url and price under [providers.{provider}] into the config file"
                )
            }
            Self::NoCredential { provider, env } if env.is_empty() => {
                format!("no key for {provider} is set; run `lava-mcp providers set {provider}`")
            }
            Self::NoCredential { provider, env } => {
                format!("no key for {provider} is set; set {} or run `lava-mcp providers set {provider}`", env.join(" or "))
            }
            Self::AddressMissing { provider } => {
                format!(
                    "{provider} has a separate address for each customer; write yours into the config file, as base_url with a price under [providers.{provider}]"
                )
            }
            // The request itself is refused by the ledger, with the same sentence.
            Self::Quarantined { provider, model } => {
                let said = GatewayError::Mispriced { provider: provider.clone(), model: model.clone() }.to_string();
                said.trim_end_matches('.').to_owned()
            }
            Self::NotListed { provider, model } => {
                format!("[providers.{provider}] in the config file does not list {model} among its models; add it there")
            }
        }
    }

    /// The refusal of a request. `instead` says what can be bought.
    pub(super) fn into_error(self, key: Option<&SpendKey>, registry: &Registry, name: &str, instead: String) -> GatewayError {
        match self {
            Self::NotAllowed { provider, model } => {
                let refused = key.map(|key| check_seller(registry, key, &provider, &model));
                match refused {
                    Some(Err(error)) => error,
                    _ => GatewayError::ModelNotAllowed { model, allowed: Vec::new() },
                }
            }
            Self::OtherMode { model, mode } => GatewayError::NotTranslated(format!("{model} {}.{instead}", without_endpoint(mode))),
            Self::NotTranslated { model, provider, spoken: Dialect::Anthropic, .. } => GatewayError::NotTranslated(format!(
                "{model} is sold by {provider}, which speaks the anthropic dialect, and this version does not translate chat completions to it. Ask it with `call`, or at \
                 /v1/messages with a key of the anthropic shape.{instead}",
            )),
            Self::NotTranslated { model, provider, spoken, asked } => GatewayError::NotTranslated(format!(
                "{model} is sold by {provider}, which speaks the {} dialect, and this version does not translate {} requests to it. Use a provider that sells it in \
                 that dialect (search for it, then name it as provider/model), a key of the other request shape, or the sandbox.{instead}",
                spoken.as_str(),
                asked.as_str(),
            )),
            Self::NotMetered { ref provider, .. } => {
                GatewayError::NotTranslated(format!("{name} is sold by {provider}, and {}.{instead}", self.reason()))
            }
            Self::PriceUnknown { .. } | Self::NoPrices { .. } => {
                GatewayError::Unpriceable(format!("{}{}", self.reason(), instead.trim_end_matches('.')))
            }
            Self::NoCredential { provider, env } => GatewayError::CredentialsMissing { model: name.to_owned(), provider, env, instead },
            Self::AddressMissing { provider } => GatewayError::AddressMissing { provider, instead },
            Self::Quarantined { provider, model } => GatewayError::Mispriced { provider, model },
            Self::NotListed { provider, model } => {
                let models = registry.custom(&provider).map(|custom| custom.models.as_slice()).unwrap_or_default();
                let nearest = models.iter().take(3).map(|known| format!("{provider}/{known}")).collect();
                GatewayError::ModelNotFound { model: format!("{provider}/{model}"), nearest }
            }
        }
    }
}

/// What a kind of model is for, as the end of a sentence that begins with its name.
fn without_endpoint(mode: Mode) -> String {
    let what = match mode {
        Mode::Chat => return "is a chat model; ask it with `prompt` or at chat/completions".to_owned(),
        Mode::Embedding => {
            return "is not a chat model but one for embeddings; send its example body to the provider's address for embeddings with `call`".to_owned();
        }
        Mode::Completion => "is only served through the older completions API",
        Mode::Responses => "is only served through the Responses API",
        Mode::Image => "is not a chat model but one that makes images",
        Mode::ImageEdit => "is not a chat model but one that edits images",
        Mode::Video => "is not a chat model but one that makes videos",
        Mode::AudioSpeech => "is not a chat model but one that speaks (text to speech)",
        Mode::AudioTranscription => "is not a chat model but one that writes down speech (transcription)",
        Mode::Realtime => "is only served through a realtime connection",
        Mode::Rerank => "is not a chat model but one that ranks documents (rerank)",
        Mode::Ocr => "is not a chat model but one that reads pages (OCR)",
        Mode::Moderation => "is not a chat model but one that judges texts (moderation)",
    };
    format!("{what}, and this version cannot meter that; it can buy chat models and embeddings")
}

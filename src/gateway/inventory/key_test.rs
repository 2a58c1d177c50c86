//! Whether a provider takes its key, by a call that costs nothing: its list of models, or what the catalog names instead. Some lists are open to everybody, so each is also
//! asked for without a key: only where that is refused, an answer says something about the key. Nothing is bought, and nothing is booked.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use url::Url;

use super::{Inventory, Stock, Who};
use crate::{
    catalog::{Auth, Dialect},
    domain::{Secret, text::counted},
    gateway::{
        credentials::KeyNames,
        error::GatewayError,
        lengths::cut,
        providers::custom_auth,
        route::below,
        upstream::{ANTHROPIC_VERSION, Destination, Failure, body_of},
        upstream_error::{Reason, reason_in, without_end},
    },
    translate::anthropic::VERSION,
};

/// How long a provider is waited for, if the settings do not say less.
const TIMEOUT: Duration = Duration::from_secs(10);
const LIST: &str = "models";
const ERROR_BYTES_MAX: usize = 64 << 10;
/// The longest message of a provider that is shown in a report.
const MESSAGE_CHARS_MAX: usize = 160;
/// A status of Cohere's and others' own.
const INVALID_TOKEN: u16 = 498;
const NO_FREE_CALL: &str = "no free call is known";

/// What a provider said to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyTest {
    /// It takes the key.
    Accepted,
    /// It answers, and needs no key.
    Answers,
    /// It does not take the key.
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said, without the key.
        message: String,
        /// Another provider that takes the same key, so that it was meant for that one.
        accepted_by: Option<String>,
    },
    /// It answered something else.
    Failed {
        /// HTTP status.
        status: u16,
        /// What it said, without the key.
        message: String,
    },
    /// It could not be asked, for this reason.
    NotReached(String),
    /// Nothing was learned about the key, for this reason.
    NotTested(String),
}

/// Whom to ask for what.
struct Question<'a> {
    provider: &'a str,
    url: Url,
    auth: Auth,
    key: Option<Secret>,
    is_own: bool,
    dialect: Dialect,
}

struct Answered {
    status: StatusCode,
    reason: Reason,
}

impl Inventory {
    /// Asks all of them at once; the results are in the order of `stock`.
    pub async fn test_keys(&self, stock: &[Stock<'_>]) -> Vec<KeyTest> {
        let tested = join_all(stock.iter().map(|one| async {
            match self.question(one).await {
                Ok(question) => (self.ask(&question).await, question.key),
                Err(test) => (test, None),
            }
        }));
        let tested = tested.await;
        let taken_by = |key: &Secret| {
            let is_taken = |(test, other): &(KeyTest, Option<Secret>)| {
                *test == KeyTest::Accepted && other.as_ref().is_some_and(|other| other.expose() == key.expose())
            };
            tested.iter().position(is_taken).and_then(|at| stock.get(at)).map(|one| one.provider.to_owned())
        };
        let named = |(test, key): &(KeyTest, Option<Secret>)| match (test.clone(), key) {
            (KeyTest::Refused { status, message, .. }, Some(key)) => KeyTest::Refused { status, message, accepted_by: taken_by(key) },
            (test, _) => test,
        };
        tested.iter().map(named).collect()
    }

    async fn question<'a>(&self, stock: &Stock<'a>) -> Result<Question<'a>, KeyTest> {
        let not_tested = |why: &str| KeyTest::NotTested(why.to_owned());
        let provider = stock.provider;
        match stock.who {
            // Its list was read a moment ago.
            Who::Local => Err(KeyTest::Answers),
            Who::Own(custom) => {
                let key = self.key(&custom.key_names()).await?;
                if key.is_none() && custom.api_key_env.is_some() {
                    return Err(not_tested("there is no key"));
                }
                let (url, auth) = (below(&custom.base_url, LIST), custom_auth(custom, key.as_ref()));
                Ok(Question { provider, url, auth, key, is_own: true, dialect: custom.dialect })
            }
            Who::Catalog(known) => {
                let served = self.offers().served(known).map_err(|_| not_tested(NO_FREE_CALL))?;
                if served.base_url.contains('{') {
                    return Err(not_tested("its address is not known"));
                }
                let key = self.key(&self.registry.key_names(served)).await?.ok_or_else(|| not_tested("there is no key"))?;
                let url = match &served.key_check {
                    Some(url) => Url::parse(url),
                    None => Url::parse(&served.base_url).map(|base| below(&base, LIST)),
                };
                let url = url.map_err(|_| not_tested(NO_FREE_CALL))?;
                Ok(Question { provider, url, auth: served.auth.clone(), key: Some(key), is_own: false, dialect: served.dialect })
            }
        }
    }

    async fn key(&self, names: &KeyNames<'_>) -> Result<Option<Secret>, KeyTest> {
        self.registry.credentials.find(names).await.map_err(|error| match error {
            GatewayError::VaultLocked { reason, .. } => KeyTest::NotTested(reason),
            other => KeyTest::NotTested(other.to_string()),
        })
    }

    async fn ask(&self, question: &Question<'_>) -> KeyTest {
        let Some(key) = &question.key else {
            return match self.get(question, None).await {
                Ok(Answered { status, .. }) if status.is_success() => KeyTest::Answers,
                Ok(answered) => answered.otherwise(None),
                Err(test) => test,
            };
        };
        let (with_key, without) = join(self.get(question, Some(key)), self.get(question, None)).await;
        let Answered { status, reason } = match with_key {
            Ok(answered) => answered,
            Err(test) => return test,
        };
        let is_about_the_key = status.is_client_error() && (reason.is_about_the_key() || status.as_u16() == INVALID_TOKEN);
        match status {
            _ if status.is_success() => match without {
                Ok(without) if without.is_for_want_of_a_key() => KeyTest::Accepted,
                Ok(without) if without.status.is_success() => {
                    KeyTest::NotTested(format!("{NO_FREE_CALL}: its list of models is open to everybody"))
                }
                _ => KeyTest::NotTested("it answered, and whether it looked at the key is not known".to_owned()),
            },
            // A key that works can be barred from reading lists.
            StatusCode::FORBIDDEN if reason.message.to_lowercase().contains("scope") => {
                KeyTest::NotTested(format!("the key may not be used for that: {}", shown(&reason, Some(key))))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => refused(status, &reason, key),
            _ if is_about_the_key => refused(status, &reason, key),
            _ => Answered { status, reason }.otherwise(Some(key)),
        }
    }

    async fn get(&self, question: &Question<'_>, key: Option<&Secret>) -> Result<Answered, KeyTest> {
        let patience = TIMEOUT.min(self.registry.waits.silence);
        let to = Destination { provider: question.provider, url: &question.url, auth: &question.auth, key, is_own: question.is_own };
        let mut headers = HeaderMap::new();
        if question.dialect == Dialect::Anthropic {
            headers.insert(ANTHROPIC_VERSION, HeaderValue::from_static(VERSION));
        }
        let answered = async {
            let response = self.upstream.send(&to, Method::GET, headers, Bytes::new(), patience).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            if status.is_success() {
                return Ok(Answered { status, reason: Reason::default() });
            }
            let body = body_of(response, ERROR_BYTES_MAX).await.unwrap_or_default();
            Ok(Answered { status, reason: reason_in(&headers, &body, key) })
        };
        let answered = tokio::time::timeout(patience, answered).await.unwrap_or(Err(Failure::TimedOut));
        answered.map_err(|failure| {
            KeyTest::NotReached(match failure {
                Failure::NotSent(why) | Failure::NotConnected(why) | Failure::NoAnswer(why) | Failure::NoFirstByte(Some(why)) => why,
                Failure::TimedOut | Failure::NoFirstByte(None) | Failure::Dropped => {
                    format!("no answer came within {}", counted(patience.as_secs(), "second"))
                }
            })
        })
    }
}

impl Answered {
    /// Whether a request without a key was refused as one without a key would be.
    fn is_for_want_of_a_key(&self) -> bool {
        let says_nothing = [StatusCode::NOT_FOUND, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        self.status.is_client_error() && !says_nothing.contains(&self.status)
    }

    fn otherwise(&self, key: Option<&Secret>) -> KeyTest {
        match self.status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                KeyTest::NotTested(format!("{NO_FREE_CALL}: it has no list of models"))
            }
            status => KeyTest::Failed { status: status.as_u16(), message: shown(&self.reason, key) },
        }
    }
}

fn refused(status: StatusCode, reason: &Reason, key: &Secret) -> KeyTest {
    KeyTest::Refused { status: status.as_u16(), message: shown(reason, Some(key)), accepted_by: None }
}

/// What a provider said, short, and also without the end of the key, which some repeat.
fn shown(reason: &Reason, key: Option<&Secret>) -> String {
    cut(&without_end(&reason.message, key), MESSAGE_CHARS_MAX)
}

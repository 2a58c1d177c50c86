//! The gateway's side of a login in the browser: a page that asks a person, and a one-time code that the program changes into a secret key.
//!
//! ```text
//! program            browser                                gateway
//!    | opens -----------> GET  /auth/connect?state&port ------> asks
//!    |                    POST /auth/connect (Authorize) -----> 303 with a code
//!    | <- GET 127.0.0.1:port/callback?code&state -|
//!    | ------------------ POST /v1/auth/callback {code} ------> a new secret key
//! ```
//!
//! Who may press Authorize: on loopback, a browser of the user who runs the gateway. Everybody else must show a secret key of the gateway in the same form: a
//! listener that others reach, another user of this machine, and whoever comes through a proxy.

mod asker;
mod codes;
mod forms;
mod page;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    routing::{get, post},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Gateway,
    authorise::{Caller, identify},
    edge::{self, Form, Response, body_of, respond_as, respond_json},
    error::GatewayError,
    manage::manages_test,
    request_body,
};
use crate::{
    domain::{KeyHash, PlainKey, Secret},
    listen::{Ends, is_relayed},
    store::StoreError,
};
use asker::{Asker, Fields};
use codes::{Codes, Grant};
use forms::{Forms, Unfit};
pub(super) use page::refusal;
use page::{Note, Question};

/// Where a person is asked. Lava's clients know the path.
pub(super) const ADDRESS: &str = "/auth/connect";
/// Where a code is changed into a key.
pub(super) const EXCHANGE: &str = "/v1/auth/callback";
const BODY_BYTES_MAX: usize = 1 << 20;
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const FORM: &str = "application/x-www-form-urlencoded";

/// The logins of one listener.
struct Connect {
    gateway: Arc<Gateway>,
    is_local: bool,
    forms: Forms,
    codes: Codes,
}

/// The routes of a login, for a listener on loopback or for one that others can reach.
pub(super) fn routes(gateway: Arc<Gateway>, is_local: bool) -> Router<Arc<Gateway>> {
    let connect = Arc::new(Connect { gateway, is_local, forms: Forms::default(), codes: Codes::default() });
    Router::new().route(ADDRESS, get(ask).post(decide)).route(EXCHANGE, post(exchange)).with_state(connect)
}

/// Whether a request tries a key or a code in its body.
pub(super) fn tries_a_secret(request: &Request) -> bool {
    request.method() == Method::POST && [ADDRESS, EXCHANGE].contains(&request.uri().path())
}

async fn ask(State(connect): State<Arc<Connect>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let page = async {
        is_a_page_of_its_own(&parts.headers)?;
        let asker = Asker::read(parts.uri.query().unwrap_or_default().as_bytes())?;
        connect.question(&asker, connect.needs_key(&parts).await, None, StatusCode::OK)
    };
    respond_as(&Form::page(), page.await)
}

async fn decide(State(connect): State<Arc<Connect>>, request: Request) -> Response {
    respond_as(&Form::page(), connect.decide(request).await)
}

impl Connect {
    async fn decide(&self, request: Request) -> Result<Response, GatewayError> {
        is_a_page_of_its_own(request.headers())?;
        is_from_our_page(request.headers())?;
        let (parts, body) = request_body::read_open(&self.gateway, request, BODY_BYTES_MAX).await?;
        let needs_key = self.needs_key(&parts).await;
        let (fields, asker) = (Fields::read(&body)?, Asker::read(&body)?);
        let again = |note, status| self.question(&asker, needs_key, Some(note), status);
        let form = match self.forms.check(fields.get("token").unwrap_or_default(), &asker, self.now()) {
            Ok(form) => form,
            Err(Unfit::TooSoon) => {
                return again(
                    Note::Plain("That answer came faster than anyone can read. Check which program is asking, then answer."),
                    StatusCode::OK,
                );
            }
            Err(Unfit::TooLate) => {
                return again(Note::Plain("This page was open for a while. If you still want this, answer again."), StatusCode::OK);
            }
            Err(unfit) => return Err(unfit.into()),
        };
        match fields.get("answer") {
            Some("deny") => {
                self.forms.close(form, self.now())?;
                Ok(back(&asker.callback("error=access_denied")))
            }
            Some("authorize") => {
                let right = if needs_key { self.right_of(fields.get("secret_key").unwrap_or_default()) } else { Ok(self.right_of_owner()) };
                match right {
                    Ok(right) => self.let_in(form, &asker, right),
                    Err(error) if is_wrong_key(&error) => {
                        let mut page = again(Note::Wrong(WRONG_KEY), StatusCode::FORBIDDEN)?;
                        edge::mark(&mut page, &error);
                        Ok(page)
                    }
                    Err(error) => Err(error),
                }
            }
            _ => Err(GatewayError::BadRequest("The form says neither authorize nor deny.".to_owned())),
        }
    }

    fn let_in(&self, form: forms::Form, asker: &Asker, Right { test, shown }: Right) -> Result<Response, GatewayError> {
        let now = self.now();
        self.forms.close(form, now)?;
        let grant = Grant { name: asker.key_name(), test, shown, given_at: now };
        let code = self.codes.issue(grant).map_err(no_randomness)?.ok_or(GatewayError::Forbidden(CROWDED))?;
        tracing::info!(port = asker.port, "a person let a program in");
        Ok(back(&asker.callback(&format!("code={code}"))))
    }

    fn question(&self, asker: &Asker, needs_key: bool, note: Option<Note>, status: StatusCode) -> Result<Response, GatewayError> {
        let token = self.forms.token(asker, self.now()).map_err(no_randomness)?;
        Ok(Question { asker, token: &token, sandbox: self.gateway.sandbox, needs_key, note }.response(status))
    }

    /// Whether a person must show a key because nothing else tells that they are the one who runs this gateway.
    async fn needs_key(&self, asked: &Parts) -> bool {
        if !self.is_local || is_relayed(&asked.headers) {
            return true;
        }
        match asked.extensions.get::<Ends>() {
            Some(ends) => !ends.are_of_one_user().await,
            None => true,
        }
    }

    /// What the user who runs this gateway may do: they own its ledger.
    fn right_of_owner(&self) -> Right {
        Right { test: self.gateway.sandbox, shown: None }
    }

    /// What the holder of a secret key may do.
    fn right_of(&self, key: &str) -> Result<Right, GatewayError> {
        let key = Secret::new(key.trim());
        let Caller::Secret(holder) = identify(&self.gateway, Some(&key))? else { return Err(GatewayError::Forbidden(WRONG_KEY)) };
        let shown = PlainKey::parse(key.expose()).ok().map(|key| key.hash(&self.gateway.pepper));
        Ok(Right { test: manages_test(&self.gateway, &holder), shown })
    }

    fn now(&self) -> Timestamp {
        (self.gateway.clock)()
    }
}

/// For what a person may let a program in: nobody gives more than they have.
struct Right {
    /// Only for the sandbox.
    test: bool,
    /// The secret key by which they may.
    shown: Option<KeyHash>,
}

const fn is_wrong_key(error: &GatewayError) -> bool {
    matches!(error, GatewayError::InvalidKey(_) | GatewayError::UnknownKey | GatewayError::Forbidden(_))
}

const WRONG_KEY: &str = "That is not a secret key of this gateway. A secret key begins with aks_; this one may have been deleted.";
const CROWDED: &str = "Too many logins are under way; try again in a minute.";

impl From<Unfit> for GatewayError {
    fn from(unfit: Unfit) -> Self {
        Self::Forbidden(match unfit {
            Unfit::Answered => "This page was answered before; each page takes one answer.",
            Unfit::Crowded => CROWDED,
            Unfit::Foreign | Unfit::TooSoon | Unfit::TooLate => {
                "This form was changed, or it is from before the gateway was restarted, so it does not count."
            }
        })
    }
}

/// Refuses a page inside another one, whose owner could lay something over the buttons.
fn is_a_page_of_its_own(headers: &HeaderMap) -> Result<(), GatewayError> {
    match headers.get(FETCH_DEST) {
        Some(destination) if destination != "document" => {
            Err(GatewayError::Forbidden("This page only works in its own tab, not inside another page or from a script."))
        }
        _ => Ok(()),
    }
}

/// Refuses a form that another site sent. Browsers that tell the site are believed, since a proxy may have changed the host that the origin is compared with.
fn is_from_our_page(headers: &HeaderMap) -> Result<(), GatewayError> {
    let is_ours = match (headers.get(FETCH_SITE), headers.get(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, Some(origin)) => {
            let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
        }
        (None, None) => true,
    };
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM)));
    match (is_ours, is_form) {
        (false, _) => Err(GatewayError::Forbidden("This answer came from another site, so it does not count.")),
        (true, false) => Err(GatewayError::BadRequest(format!("Send a form ({FORM})."))),
        (true, true) => Ok(()),
    }
}

/// Sends the browser to the program that waits.
fn back(address: &str) -> Response {
    let mut response = http::Response::new(body_of(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(address).ok().map(|address| (header::LOCATION, address)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[derive(Deserialize)]
struct Exchange {
    code: String,
}

/// What Lava's SDK reads. This gateway has one account, whose parts need no names of their own.
#[derive(Serialize)]
struct Credentials {
    wallet_id: &'static str,
    secret_key_id: String,
    secret_key: String,
    merchant_id: &'static str,
    account_id: &'static str,
}

/// Changes a code into a secret key, which is made here: a login that nobody finishes leaves none behind.
async fn exchange(State(connect): State<Arc<Connect>>, request: Request) -> Response {
    let exchanged = async {
        let (_, body) = request_body::read_open(&connect.gateway, request, BODY_BYTES_MAX).await?;
        let Exchange { code } = serde_json::from_slice(&body).map_err(|error| GatewayError::BadField {
            field: "code".to_owned(),
            message: format!("code: send a body such as {{\"code\": \"…\"}}, with the code that the browser brought: {error}"),
        })?;
        let gateway = &connect.gateway;
        let grant = connect.codes.redeem(&code, connect.now()).ok_or(GatewayError::LoginCode)?;
        // Whoever lost the right to let programs in does not do so by an older code.
        if let Some(hash) = &grant.shown
            && gateway.store.secret_key_by_hash(hash)?.is_none()
        {
            return Err(GatewayError::LoginCode);
        }
        let (secret_key_id, key) = gateway.make_secret_key(&grant.name, grant.test).await?;
        Ok(Credentials {
            wallet_id: "local",
            secret_key_id,
            secret_key: key.expose().to_owned(),
            merchant_id: "local",
            account_id: "local",
        })
    };
    let mut response = respond_json(StatusCode::OK, exchanged.await);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn no_randomness(error: getrandom::Error) -> GatewayError {
    StoreError::Unavailable(error.to_string()).into()
}

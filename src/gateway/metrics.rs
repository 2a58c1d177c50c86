//! What this process has done since it began, counted without a lock; [`page`] tells it in the text format of Prometheus.
//!
//! Labels are routes, codes, providers and models of the catalog or the config file: never a key, and nothing that a caller makes up.

mod table;
mod text;

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;

use super::{
    Gateway,
    authorise::{Caller, identify},
    credential::key_in,
    edge::{Response, body_of, respond},
    error::GatewayError,
    route::{Reach, Route},
    upstream::{Failure, Sent},
};
use crate::domain::{
    Money, Usage,
    count::{Counter, Histogram},
    ledger::Outcome,
};
use table::Table;

/// Upper bounds of the time until an answer begins, in microseconds.
const REQUEST_US: [u64; 14] =
    [1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 60_000_000];
/// Upper bounds of a provider's times in microseconds, as OpenTelemetry advises for `gen_ai.client.operation.duration`.
const PROVIDER_US: [u64; 14] = [
    10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000, 2_560_000, 5_120_000, 10_240_000, 20_480_000, 40_960_000,
    81_920_000,
];
/// Longer ones first: a path belongs to the first of these that it lies at or below.
const ROUTES: [&str; 13] = [
    "/v1/chat/completions",
    "/v1/messages/count_tokens",
    "/v1/messages",
    "/v1/forward",
    "/v1/models",
    "/v1/spend_keys",
    "/v1/requests",
    "/v1/lava_mcp",
    "/auth/connect",
    "/v1/auth/callback",
    "/healthz",
    "/readyz",
    OTHER,
];
/// Stands for what has no name of its own here.
const OTHER: &str = "other";
/// How an attempt at a provider can end.
const ENDS: [&str; 8] = ["2xx", "3xx", "4xx", "5xx", "unreachable", "no_answer", "timeout", "dropped"];
/// Most series of requests, providers and models; what comes later has no name of its own.
const REQUEST_SERIES: usize = 1_024;
const PROVIDER_SERIES: usize = 512;
const MODEL_SERIES: usize = 1_024;

/// The code of a refusal, kept on its response.
#[derive(Clone, Copy)]
pub(super) struct Code(pub(super) &'static str);

/// Counters of the requests and of what was bought for them.
pub(super) struct Metrics {
    started: Timestamp,
    /// By route, class of status, and code.
    requests: Table<3, Counter>,
    durations: [Histogram; ROUTES.len()],
    providers: Table<1, OfProvider>,
    /// By provider and model.
    models: Table<2, OfModel>,
    open_holds: Counter,
    exceeded: Counter,
}

/// What was bought at one provider.
pub(super) struct OfProvider {
    ends: [Counter; ENDS.len()],
    first_byte_us: Histogram,
    whole_us: Histogram,
    cost_n: Counter,
}

impl Default for OfProvider {
    fn default() -> Self {
        let times = || Histogram::new(&PROVIDER_US);
        Self { ends: std::array::from_fn(|_| Counter::default()), first_byte_us: times(), whole_us: times(), cost_n: Counter::default() }
    }
}

/// What was bought of one model.
#[derive(Default)]
struct OfModel {
    answers: Counter,
    input: Counter,
    output: Counter,
}

/// Counts a hold as open until it is dropped.
pub(super) struct OpenHold<'a>(&'a Counter);

impl Drop for OpenHold<'_> {
    fn drop(&mut self) {
        self.0.take(1);
    }
}

impl Metrics {
    pub(super) fn new(started: Timestamp) -> Self {
        Self {
            started,
            requests: Table::new(REQUEST_SERIES),
            durations: std::array::from_fn(|_| Histogram::new(&REQUEST_US)),
            providers: Table::new(PROVIDER_SERIES),
            models: Table::new(MODEL_SERIES),
            open_holds: Counter::default(),
            exceeded: Counter::default(),
        }
    }

    /// The place of a path in the table of routes.
    pub(super) fn route(path: &str) -> usize {
        let is_at = |route: &&str| path.strip_prefix(*route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        ROUTES.iter().position(is_at).unwrap_or(ROUTES.len() - 1)
    }

    /// The route of a place; what a caller makes up has no name of its own.
    pub(super) fn route_name(place: usize) -> &'static str {
        ROUTES.get(place).copied().unwrap_or(OTHER)
    }

    /// Counts a request whose answer begins now.
    pub(super) fn answered(&self, route: usize, response: &Response, after: Duration) {
        let class = match response.status().as_u16() {
            ..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        let code = response.extensions().get::<Code>().map_or("ok", |code| code.0);
        let (Some(name), Some(durations)) = (ROUTES.get(route), self.durations.get(route)) else { return };
        self.requests.of([name, class, code]).add(1);
        durations.observe(micros(after));
    }

    pub(super) fn open_hold(&self) -> OpenHold<'_> {
        self.open_holds.add(1);
        OpenHold(&self.open_holds)
    }

    pub(super) fn provider(&self, route: &Route) -> &OfProvider {
        self.providers.of([provider_name(route)])
    }

    /// Counts what an attempt was booked as.
    pub(super) fn booked(&self, gateway: &Gateway, route: &Route, held: Money, outcome: &Outcome) {
        let Outcome::Charge { cost, usage, .. } = outcome else { return };
        self.provider(route).cost_n.add(u64::try_from(cost.nanos()).unwrap_or(0));
        if *cost > held {
            self.exceeded.add(1);
        }
        if let Some(Usage { input, output, .. }) = usage {
            let model = self.model(gateway, route);
            model.answers.add(1);
            model.input.add(*input);
            model.output.add(*output);
        }
    }

    fn model(&self, gateway: &Gateway, route: &Route) -> &OfModel {
        let (provider, model) = (provider_name(route), route.model.as_str());
        self.models.find([provider, model]).unwrap_or_else(|| {
            let is_listed = gateway.registry.lists(&route.provider, model);
            self.models.of([provider, if is_listed { model } else { OTHER }])
        })
    }
}

impl OfProvider {
    /// Counts an attempt whose answer, or the lack of one, is known after this time.
    pub(super) fn sent(&self, sent: &Sent, after: Duration) {
        let end = match &sent.result {
            Ok(reply) => {
                self.first_byte_us.observe(micros(after));
                usize::from(reply.status.as_u16() / 100).clamp(2, 5) - 2
            }
            Err(Failure::NotSent(_) | Failure::NotConnected(_)) => 4,
            Err(Failure::NoAnswer(_) | Failure::NoFirstByte(Some(_))) => 5,
            Err(Failure::TimedOut | Failure::NoFirstByte(None)) => 6,
            Err(Failure::Dropped) => 7,
        };
        self.ends.get(end).into_iter().for_each(|count| count.add(1));
    }

    /// Counts an attempt whose answer has ended.
    pub(super) fn ended(&self, after: Duration) {
        self.whole_us.observe(micros(after));
    }
}

/// What the sandbox answers is not the provider's.
fn provider_name(route: &Route) -> &str {
    if route.reach == Reach::Sandbox { "sandbox" } else { &route.provider }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whom the page is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// Every program on this machine.
    ThisMachine,
    /// Whoever shows a secret key: the listener can be reached from elsewhere.
    SecretKeys,
}

/// `GET /metrics`.
pub(super) async fn page(State((gateway, readers)): State<(Arc<Gateway>, Readers)>, headers: HeaderMap) -> Response {
    respond(told(&gateway, readers, &headers))
}

fn told(gateway: &Gateway, readers: Readers, headers: &HeaderMap) -> Result<Response, GatewayError> {
    if readers == Readers::SecretKeys {
        match identify(gateway, key_in(headers)?.as_ref())? {
            Caller::Secret(key) if !key.test || gateway.sandbox => {}
            _ => return Err(GatewayError::Forbidden("Metrics need a secret key.")),
        }
    }
    let mut response = http::Response::new(body_of(text::page(gateway).into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

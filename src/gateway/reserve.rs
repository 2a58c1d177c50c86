//! Sets money aside: the most this attempt can cost, on disk before a byte goes upstream.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::HeaderMap;
use tokio::time::Instant;

use super::{
    Gateway,
    ask::Ask,
    authorise::Authorised,
    error::GatewayError,
    hosted,
    line::WAIT,
    meter::Answer,
    plan::{Means, Plan, Quote, TooDear},
    route::Route,
    settle::{HoldGuard, Tally},
    tokens,
};
use crate::{
    domain::{
        HoldId, KeyId, Money, RequestId, SpendKey,
        ledger::{RateState, Refusal, Reserve, Shortfall, Subject},
    },
    store::{Clock, StoreError},
};

/// How often a request that waits for money looks for it by itself.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often to plan anew when other requests moved the money in between.
const TRIES_MAX: usize = 4;

/// An attempt that may be sent: its money is set aside.
pub(super) struct Held {
    pub(super) guard: HoldGuard,
    pub(super) request: RequestId,
    pub(super) key: KeyId,
    pub(super) route: Arc<Route>,
    pub(super) ask: Arc<Ask>,
    pub(super) headers: HeaderMap,
    /// Headers for the caller that say what was changed in the request.
    pub(super) notes: HeaderMap,
    pub(super) plan: Plan,
    /// Upper bound of the input in tokens, for when no usage is reported.
    pub(super) input_tokens_max: u64,
    /// The same without the chat template.
    pub(super) text_tokens_max: u64,
    /// Where the key's rate limit stands, for the caller.
    pub(super) rate: Option<RateState>,
    /// What dates that a provider names are held against.
    pub(super) clock: Clock,
}

/// Why an attempt did not get its money.
enum NoMoney {
    /// It is not there, or not enough.
    Short(Shortfall),
    /// Counting the input exactly or reading the key anew does not help.
    Final(GatewayError),
    /// The caller's own limit for this call is too low.
    MaxCost { needed: Money, max_cost: Money },
}

/// Sets the money aside, or says why not. A refusal for want of money is a request too, as far as the rate limit goes.
pub(super) async fn reserve(
    gateway: &Gateway,
    call: &Authorised,
    route: &Arc<Route>,
    tally: &Tally,
    answer: &Answer,
) -> Result<Held, GatewayError> {
    let attempt = Attempt { gateway, call, route, tally };
    let held = tokio::select! {
        held = attempt.in_line() => held,
        () = answer.gone() => return Err(GatewayError::ShuttingDown),
        () = gateway.stopping.cancelled() => return Err(GatewayError::ShuttingDown),
    };
    let refusal = match held {
        Err(refusal @ (GatewayError::Budget { .. } | GatewayError::BudgetHeld { .. } | GatewayError::RequestQuota { .. })) => refusal,
        other => return other,
    };
    let Some(limit) = call.key.settings.rate_limit.filter(|_| !tally.is_counted) else { return Err(refusal) };
    match gateway.store.count_refused(call.key.id.clone(), limit).await? {
        Some(too_many) => Err(refused(gateway, &call.key.id, too_many, route)?),
        None => Err(refusal),
    }
}

/// A request at one of its routes, on its way to the money.
struct Attempt<'a> {
    gateway: &'a Gateway,
    call: &'a Authorised,
    route: &'a Arc<Route>,
    tally: &'a Tally,
}

impl Attempt<'_> {
    /// Waits for money that is only set aside, behind those who came before.
    async fn in_line(&self) -> Result<Held, GatewayError> {
        let features = self.call.ask.features();
        let template = features.map_or(0, |features| self.gateway.template_tokens.allowance(self.route, features));
        let extra = hosted::bound(&self.call.ask, self.route)?;
        let mut quote = Quote::new(&self.call.ask, self.route, template, extra)?;
        let (lines, key) = (&self.gateway.lines, &self.call.key.id);
        if quote.is_free() || !lines.has(key) {
            match self.try_to_hold(&mut quote, true, Cow::Borrowed(&self.call.key)).await {
                Err(GatewayError::BudgetHeld { .. }) => {}
                other => return other,
            }
        }
        let Some(place) = lines.join(key) else { return Err(GatewayError::LineFull) };
        let deadline = Instant::now() + WAIT;
        if let Ok(turn) = tokio::time::timeout_at(deadline, place.turn()).await {
            while Instant::now() < deadline {
                match self.try_to_hold(&mut quote, true, self.read_again().await?).await {
                    Err(GatewayError::BudgetHeld { .. }) => {}
                    other => return other,
                }
                // Another process does not tell when it settles.
                let _ = tokio::time::timeout_at(deadline.min(Instant::now() + LOOK_EVERY), turn.money()).await;
            }
        }
        self.try_to_hold(&mut quote, false, self.read_again().await?).await
    }

    /// The key as it is now: while a request waits, money moves. Who has had an answer knows that it is paid.
    async fn read_again(&self) -> Result<Cow<'_, SpendKey>, GatewayError> {
        let Self { gateway, call, .. } = self;
        gateway.store.once_booked().await;
        let key = gateway.store.spend_key(&call.key.id)?;
        key.map(Cow::Owned).ok_or(GatewayError::InvalidKey("This API key was revoked."))
    }

    /// Sets the money aside, or says why that cannot be now. A request that may wait is not cut short for want of money that others hold.
    async fn try_to_hold(&self, quote: &mut Quote, may_wait: bool, mut key: Cow<'_, SpendKey>) -> Result<Held, GatewayError> {
        let Self { gateway, call, route, .. } = self;
        let mut tries = 0;
        // An exact count leaves more of the money to the answer.
        if !quote.is_tight() && quote.is_lowered(self.means(&key, may_wait)) {
            quote.tighten(tokens::count_exactly(&call.ask, route).await);
        }
        loop {
            tries += 1;
            let short = match self.hold(&key, quote, may_wait).await {
                Ok(held) => return Ok(held),
                Err(NoMoney::Final(error)) => return Err(error),
                Err(NoMoney::Short(short)) => Some(short),
                Err(NoMoney::MaxCost { .. }) if !quote.is_tight() => None,
                Err(NoMoney::MaxCost { needed, max_cost }) => return Err(GatewayError::MaxCost { needed, max_cost }),
            };
            // Tight: count the input exactly before saying no.
            if !quote.is_tight() {
                let counted = tokens::count_exactly(&call.ask, route).await;
                if quote.tighten(counted) {
                    continue;
                }
            }
            let Some(short) = short else { continue };
            // The money may have moved since the key was read.
            let fresh = self.read_again().await?;
            if tries < TRIES_MAX && fresh.remaining() != key.remaining() {
                key = fresh;
                continue;
            }
            let affordable = quote.affordable_cap(short.available());
            return Err(over_budget(gateway, &key.id, short, Some(affordable))?);
        }
    }

    /// What may be spent.
    fn means(&self, key: &SpendKey, may_wait: bool) -> Means {
        let Self { gateway, call, route, tally } = self;
        Means {
            remaining: key.remaining(),
            held: key.held_in_the_way(),
            max_cost: call.max_cost.map(|max_cost| max_cost.saturating_sub(tally.charged)),
            usual_output: gateway.habits.p95(&key.id, &route.model),
            may_wait,
            may_lower: key.settings.lower_output_cap,
        }
    }

    async fn hold(&self, key: &SpendKey, quote: &Quote, may_wait: bool) -> Result<Held, NoMoney> {
        let Self { gateway, call, route, tally } = self;
        let plan = quote.plan(self.means(key, may_wait)).map_err(|refusal| match refusal {
            TooDear::MaxCost { needed, max_cost } => NoMoney::MaxCost { needed, max_cost },
            TooDear::Budget { needed } => key.shortfall(needed, (gateway.clock)()).map_or_else(
                || NoMoney::Final(GatewayError::Unpriceable("with this output cap it could cost more than a million dollars".to_owned())),
                NoMoney::Short,
            ),
        })?;
        let reserve = Reserve {
            hold: HoldId::generate(),
            request: call.request.clone(),
            key: key.id.clone(),
            generation: call.key.generation,
            amount: plan.amount,
            // A request counts once, however many attempts it takes.
            counted: !tally.is_counted,
            test: key.test,
            subject: Subject { provider: route.provider.clone(), model: route.model.clone(), endpoint: route.endpoint() },
        };
        let (id, amount) = (reserve.hold.clone(), reserve.amount);
        match gateway.store.reserve(reserve).await {
            Ok(Ok(admitted)) => {
                tracing::debug!(request = call.request.as_str(), hold = id.as_str(), %amount, key = key.id.as_str(), "money is set aside");
                Ok(Held {
                    guard: HoldGuard::new(gateway.store.clone(), id, amount),
                    request: call.request.clone(),
                    key: key.id.clone(),
                    route: (*route).clone(),
                    ask: call.ask.clone(),
                    headers: if route.is_own() { call.headers.clone() } else { call.screened.headers.clone() },
                    notes: if route.is_own() { &call.screened.own_notes } else { &call.screened.notes }.clone(),
                    plan,
                    input_tokens_max: quote.input_tokens_max(),
                    text_tokens_max: quote.text_tokens_max(),
                    rate: admitted.rate,
                    clock: gateway.clock.clone(),
                })
            }
            Ok(Err(Refusal::SpendLimit(short))) => Err(NoMoney::Short(short)),
            Ok(Err(refusal)) => Err(NoMoney::Final(refused(gateway, &key.id, refusal, route).unwrap_or_else(Into::into))),
            Err(error) => Err(NoMoney::Final(error.into())),
        }
    }
}

fn refused(gateway: &Gateway, key: &KeyId, refusal: Refusal, route: &Route) -> Result<GatewayError, StoreError> {
    Ok(match refusal {
        Refusal::KeyGone | Refusal::KeyExpired => {
            GatewayError::InvalidKey("This API key is not known here. It may be expired, revoked or rotated.")
        }
        Refusal::KeyPaused => GatewayError::KeyPaused,
        Refusal::SpendLimit(shortfall) => over_budget(gateway, key, shortfall, None)?,
        Refusal::RequestLimit { limit, resets_at } => GatewayError::RequestQuota { limit, resets_at },
        Refusal::RateLimit { wait_ms, state } => GatewayError::RateLimited { wait_ms, state },
        Refusal::Mispriced => {
            gateway.quarantine.forget();
            GatewayError::Mispriced { provider: route.provider.clone(), model: route.model.clone() }
        }
    })
}

fn over_budget(
    gateway: &Gateway,
    key: &KeyId,
    mut shortfall: Shortfall,
    affordable_output: Option<u64>,
) -> Result<GatewayError, StoreError> {
    shortfall.unverified = gateway.store.unverified_in(key, shortfall.whose, shortfall.limit.cycle)?;
    let shortfall = Box::new(shortfall);
    if shortfall.is_only_held() && shortfall.held > Money::ZERO {
        return Ok(GatewayError::BudgetHeld { shortfall });
    }
    Ok(GatewayError::Budget { shortfall, affordable_output: affordable_output.filter(|tokens| *tokens > 0) })
}

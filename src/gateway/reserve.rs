//! Sets money aside: the most this attempt can cost, on disk before a byte goes upstream.
//!
//! The amount is a true upper bound: the input is bounded by its bytes (or counted exactly when the budget is tight), the output by a cap the provider
//! enforces. A cap the caller set is never lowered. Where none is set, one is put in that the budget can pay for, and a response header says so.

use http::HeaderMap;

use super::{
    Gateway,
    authorise::{Ask, Authorised},
    error::GatewayError,
    providers::output_cap_field,
    route::Route,
    settle::HoldGuard,
    tokens,
};
use crate::{
    catalog::Prices,
    domain::{
        HoldId, Money, RequestId,
        ledger::{Refusal, Reserve, Subject},
    },
};

/// Output cap put in where the caller set none, in tokens: ample for an answer with reasoning.
const OUTPUT_CAP_DEFAULT: u64 = 16_384;
/// A smaller cap would cut answers to pieces; the request is refused instead.
const OUTPUT_CAP_MIN: u64 = 256;
/// How often to plan anew when other requests took the money in between.
const TRIES_MAX: usize = 4;

/// An attempt that may be sent: its money is set aside.
pub(super) struct Held {
    pub(super) guard: HoldGuard,
    pub(super) request: RequestId,
    pub(super) route: Route,
    pub(super) ask: Ask,
    pub(super) headers: HeaderMap,
    /// How much is set aside.
    pub(super) amount: Money,
    /// Upper bound of the input in tokens, for when no usage is reported.
    pub(super) input_tokens_max: u64,
    /// The cap that was put in, if one was.
    pub(super) injected_cap: Option<u64>,
}

/// How much to set aside, and with which cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    amount: Money,
    injected_cap: Option<u64>,
}

/// Sets the money aside, or says why not.
pub(super) async fn reserve(gateway: &Gateway, call: &Authorised, route: &Route) -> Result<Held, GatewayError> {
    let prices = match (&call.ask, &route.prices) {
        (Ask::Free, _) => Prices::free(),
        (_, Some(prices)) => prices.clone(),
        (_, None) => return Err(unpriced(route)),
    };
    if let Ask::Chat(chat) = &call.ask
        && let Some(reason) = chat.unpriceable()
    {
        return Err(GatewayError::Unpriceable(reason.to_owned()));
    }
    let is_first = std::ptr::eq(route, &raw const call.routes[0]);
    let mut input = input_tokens_max(&call.ask, route)?;
    let mut exact = false;
    let mut key = call.key.clone();
    let mut tries = 0;
    loop {
        tries += 1;
        let budget = Budget { remaining: key.remaining(), max_cost: call.max_cost };
        let refusal = match plan(&call.ask, route, &prices, input, &budget) {
            Ok(plan) => {
                let reserve = Reserve {
                    hold: HoldId::generate(),
                    request: call.request.clone(),
                    key: key.id.clone(),
                    generation: call.key.generation,
                    amount: plan.amount,
                    counted: is_first,
                    subject: Subject { provider: route.provider.clone(), model: route.model.clone(), endpoint: route.endpoint() },
                };
                let (hold, amount) = (reserve.hold.clone(), reserve.amount);
                match gateway.store.reserve(reserve).await? {
                    Ok(()) => {
                        return Ok(Held {
                            guard: HoldGuard::new(gateway.store.clone(), hold, amount),
                            request: call.request.clone(),
                            route: route.clone(),
                            ask: call.ask.clone(),
                            headers: call.headers.clone(),
                            amount,
                            input_tokens_max: input,
                            injected_cap: plan.injected_cap,
                        });
                    }
                    Err(refusal) => refusal,
                }
            }
            Err(NotPlanned::MaxCost { needed, max_cost }) => {
                if !exact && tighten(&call.ask, route, &mut input, &mut exact).await {
                    continue;
                }
                return Err(GatewayError::MaxCost { needed, max_cost });
            }
            Err(NotPlanned::Budget { needed }) => match shortfall(&key, needed, gateway) {
                Some(shortfall) => Refusal::SpendLimit(shortfall),
                None => return Err(GatewayError::Unpriceable("the cost does not fit a number".to_owned())),
            },
        };
        let Refusal::SpendLimit(short) = refusal else { return Err(refused(refusal)) };
        // Tight: count the input exactly before saying no.
        if !exact && tighten(&call.ask, route, &mut input, &mut exact).await {
            continue;
        }
        // The money may have moved since the key was read.
        let fresh = gateway.store.spend_key(&key.id)?.ok_or(GatewayError::InvalidKey("This API key was revoked."))?;
        if tries < TRIES_MAX && fresh.remaining() != key.remaining() {
            key = fresh;
            continue;
        }
        let affordable = prices.affordable_output(short.available(), input);
        return Err(over_budget(short, affordable));
    }
}

struct Budget {
    remaining: Option<Money>,
    max_cost: Option<Money>,
}

enum NotPlanned {
    Budget { needed: Money },
    MaxCost { needed: Money, max_cost: Money },
}

/// Chooses amount and cap; pure.
fn plan(ask: &Ask, route: &Route, prices: &Prices, input: u64, budget: &Budget) -> Result<Plan, NotPlanned> {
    let too_large = |_| NotPlanned::Budget { needed: Money::MAX };
    let check = |needed: Money| match (budget.max_cost, budget.remaining) {
        (Some(max_cost), _) if needed > max_cost => Err(NotPlanned::MaxCost { needed, max_cost }),
        (_, Some(remaining)) if needed > remaining => Err(NotPlanned::Budget { needed }),
        _ => Ok(needed),
    };
    let (choices, cap) = match ask {
        Ask::Free => return Ok(Plan { amount: Money::ZERO, injected_cap: None }),
        Ask::Embeddings(_) => (1, Some(0)),
        Ask::Chat(chat) => (chat.choices(), chat.output_cap()),
    };
    let bound = |cap: u64| prices.bound(input, cap.saturating_mul(choices));
    if let Some(cap) = cap {
        let amount = check(bound(cap).map_err(too_large)?)?;
        return Ok(Plan { amount, injected_cap: None });
    }
    let limit = match (budget.remaining, budget.max_cost) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    };
    let wanted = route.max_output.map_or(OUTPUT_CAP_DEFAULT, |max| max.min(OUTPUT_CAP_DEFAULT)).max(1);
    let amount = bound(wanted).map_err(too_large)?;
    if amount == Money::ZERO {
        // A model that costs nothing needs no cap.
        return Ok(Plan { amount, injected_cap: None });
    }
    let Some(limit) = limit else { return Ok(Plan { amount, injected_cap: Some(wanted) }) };
    if amount <= limit {
        return Ok(Plan { amount, injected_cap: Some(wanted) });
    }
    let least = OUTPUT_CAP_MIN.min(wanted);
    let affordable = prices.affordable_output(limit, input).unwrap_or(0) / choices;
    if affordable < least {
        check(bound(least).map_err(too_large)?)?;
    }
    let cap = affordable.clamp(least, wanted);
    let amount = check(bound(cap).map_err(too_large)?)?;
    Ok(Plan { amount, injected_cap: Some(cap) })
}

fn input_tokens_max(ask: &Ask, route: &Route) -> Result<u64, GatewayError> {
    match ask {
        Ask::Free => Ok(0),
        Ask::Embeddings(request) => Ok(request.input_tokens_max()),
        Ask::Chat(chat) => chat.input_tokens_max(route.context).ok_or_else(|| {
            GatewayError::Unpriceable(
                "it refers to content that is not in the request, and the model's context window is not known".to_owned(),
            )
        }),
    }
}

/// Replaces the byte bound by an exact count where the tokenizer is known. Returns whether the bound went down.
async fn tighten(ask: &Ask, route: &Route, input: &mut u64, exact: &mut bool) -> bool {
    *exact = true;
    let Ask::Chat(chat) = ask else { return false };
    let Some(counted) = tokens::count_exactly(chat, route).await else { return false };
    let is_lower = counted < *input;
    *input = counted.min(*input);
    is_lower
}

fn shortfall(key: &crate::domain::SpendKey, asked: Money, gateway: &Gateway) -> Option<crate::domain::ledger::Shortfall> {
    let limit = key.settings.spend_limit?;
    let resets_at = key.resets_at((gateway.clock)());
    Some(crate::domain::ledger::Shortfall { limit, spent: key.current_spend, held: key.held, asked, resets_at })
}

fn refused(refusal: Refusal) -> GatewayError {
    match refusal {
        Refusal::KeyGone | Refusal::KeyExpired => {
            GatewayError::InvalidKey("This API key is not known here. It may be expired, revoked or rotated.")
        }
        Refusal::KeyPaused => GatewayError::KeyPaused,
        Refusal::SpendLimit(shortfall) => over_budget(shortfall, None),
        Refusal::RequestLimit { limit, resets_at } => GatewayError::RequestQuota { limit, resets_at },
        Refusal::RateLimit { wait_ms } => GatewayError::RateLimited { wait_ms },
    }
}

fn over_budget(shortfall: crate::domain::ledger::Shortfall, affordable_output: Option<u64>) -> GatewayError {
    let shortfall = Box::new(shortfall);
    if shortfall.is_only_held() && shortfall.held > Money::ZERO {
        return GatewayError::BudgetHeld { shortfall };
    }
    GatewayError::Budget { shortfall, affordable_output }
}

fn unpriced(route: &Route) -> GatewayError {
    let Route { provider, model, .. } = route;
    GatewayError::Unpriceable(format!("no price is known for {provider}/{model}; set one under [providers.{provider}] in the config file"))
}

/// The request field and value of a cap that was put in.
pub(super) fn cap_to_inject(held: &Held) -> Option<(&'static str, u64)> {
    held.injected_cap.map(|cap| (output_cap_field(&held.route.provider), cap))
}

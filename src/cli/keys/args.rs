//! What can be said about a spend key on the command line.

use clap::{Args, ValueEnum};

use crate::{
    cli::Failure,
    client::{Change, KeyTerms, KeyUpdate, NewKey, SpendKeyObject},
    domain::{RateLimit, RequestLimit, RequestShape, SpendLimit, parse_expiry},
    store::wall_clock,
};

/// Which endpoint family a key may use.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shape {
    Openai,
    Anthropic,
}

#[derive(Debug, Args)]
pub(super) struct Limits {
    /// The most money per cycle, such as 5/day, 50.00/monthly or 20/total; `none` for no limit.
    #[arg(long, alias = "limit", value_name = "AMOUNT/CYCLE", allow_hyphen_values = true, value_parser = or_none(SpendLimit::parse_short))]
    spend_limit: Option<Change<SpendLimit>>,
    /// The most requests per cycle, such as 1000/day; `none` for no limit.
    #[arg(long, value_name = "COUNT/CYCLE", allow_hyphen_values = true, value_parser = or_none(RequestLimit::parse_short))]
    request_limit: Option<Change<RequestLimit>>,
    /// Allow a key without a spend limit and without a request limit.
    #[arg(long)]
    unlimited: bool,
    /// Requests a minute, such as 60, or 60/10 with a burst of 10; `none` for no limit.
    #[arg(long, value_name = "RPM[/BURST]", allow_hyphen_values = true, value_parser = or_none(RateLimit::parse_short))]
    rate_limit: Option<Change<RateLimit>>,
    /// Models it may use, separated by commas; a * at the end matches any ending; `none` for all.
    #[arg(long, value_name = "MODELS", value_parser = or_none(parse_list))]
    pub(super) models: Option<Change<Vec<String>>>,
    /// Providers it may use, separated by commas; `none` for all.
    #[arg(long, value_name = "PROVIDERS", value_parser = or_none(parse_list))]
    pub(super) providers: Option<Change<Vec<String>>>,
    /// When it stops working, such as 30d, 2027-01-31 or 2027-01-31T12:00Z (UTC where no zone is given); `none` for never.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = or_none(|text: &str| parse_expiry(text, wall_clock()())))]
    expires_at: Option<Change<jiff::Timestamp>>,
    /// Which API it speaks.
    #[arg(long)]
    shape: Option<Shape>,
    /// Let it buy what a provider runs for a separate fee, such as web searches; `false` turns that off.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    hosted_tools: Option<bool>,
    /// Lower an output cap that the money left does not cover, such as Claude Code's, instead of refusing the request; `false` turns that off.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    lower_output_cap: Option<bool>,
}

/// A value, or the word `none`.
pub(in crate::cli) fn or_none<T>(parse: impl Fn(&str) -> Result<T, String> + Clone) -> impl Fn(&str) -> Result<Change<T>, String> + Clone {
    move |text| match text.trim().to_ascii_lowercase().as_str() {
        "none" | "unlimited" => Ok(Change::Lift),
        _ => parse(text).map(Change::Set),
    }
}

fn parse_list(text: &str) -> Result<Vec<String>, String> {
    let list: Vec<String> = text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect();
    if list.is_empty() { Err("write 1 to 1000 names, separated by commas, or none for all".to_owned()) } else { Ok(list) }
}

impl From<Shape> for RequestShape {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::Openai => Self::Openai,
            Shape::Anthropic => Self::Anthropic,
        }
    }
}

impl Limits {
    const fn terms(&self) -> KeyTerms {
        KeyTerms { hosted_tools: self.hosted_tools, lower_output_cap: self.lower_output_cap }
    }

    const fn sets_one(&self) -> bool {
        matches!(self.spend_limit, Some(Change::Set(_))) || matches!(self.request_limit, Some(Change::Set(_)))
    }

    /// A limit is one of money or of requests. A rate, lists and an expiry bound nothing by themselves.
    fn check(&self, is_unlimited: bool) -> Result<(), Failure> {
        if self.unlimited && self.sets_one() {
            return Err(Failure::Error("--unlimited is for a key without a limit: leave it out, or the limit".to_owned()));
        }
        if is_unlimited && !self.unlimited {
            let text = "this key would have no limit: give --spend-limit 5.00/daily (or --request-limit 1000/daily), or --unlimited if that is what you want";
            return Err(Failure::Error(text.to_owned()));
        }
        Ok(())
    }

    /// Whether a new key may be made with these.
    pub(super) fn check_new(&self) -> Result<(), Failure> {
        self.check(!self.sets_one())
    }

    pub(super) fn into_new_key(self, name: String) -> NewKey {
        NewKey {
            terms: self.terms(),
            request_shape: self.shape.map_or_else(RequestShape::default, RequestShape::from),
            spend_limit: self.spend_limit.and_then(Change::value),
            request_limit: self.request_limit.and_then(Change::value),
            rate_limit: self.rate_limit.and_then(Change::value),
            allowed_models: self.models.and_then(Change::value),
            allowed_providers: self.providers.and_then(Change::value),
            expires_at: self.expires_at.and_then(Change::value),
            ..NewKey::named(name)
        }
    }

    /// What changes about this key. `--unlimited` alone lifts both limits.
    pub(super) fn into_update(mut self, name: Option<String>, key: &SpendKeyObject) -> Result<KeyUpdate, Failure> {
        if self.unlimited && self.spend_limit.is_none() && self.request_limit.is_none() {
            (self.spend_limit, self.request_limit) = (Some(Change::Lift), Some(Change::Lift));
        }
        let lifts = matches!(self.spend_limit, Some(Change::Lift)) || matches!(self.request_limit, Some(Change::Lift));
        let keeps_money = key.spend_limit.is_some() && self.spend_limit.is_none();
        let keeps_requests = key.request_limit.is_some() && self.request_limit.is_none();
        self.check(lifts && !self.sets_one() && !keeps_money && !keeps_requests)?;
        Ok(KeyUpdate {
            terms: self.terms(),
            name,
            status: None,
            request_shape: self.shape.map(RequestShape::from),
            spend_limit: self.spend_limit.unwrap_or_default(),
            request_limit: self.request_limit.unwrap_or_default(),
            rate_limit: self.rate_limit.unwrap_or_default(),
            allowed_models: self.models.unwrap_or_default(),
            allowed_providers: self.providers.unwrap_or_default(),
            expires_at: self.expires_at.unwrap_or_default(),
        })
    }
}

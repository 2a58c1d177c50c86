//! The ledger's operations and the rules a store must keep.
//!
//! A call that may cost money first sets money aside: a *hold*. The hold is durable before the first byte goes upstream and is an upper bound of
//! the cost, so a crash at any moment can only over-count. Each hold ends exactly once: *settled* (an entry with what it cost) or *voided* (an entry of
//! zero). Entries are only ever added.

use jiff::Timestamp;

use super::{HoldId, KeyId, Money, RateLimit, RequestId, RequestLimit, SpendLimit, Usage};

/// Sets money aside for one attempt of a request at one upstream.
#[derive(Clone, Debug)]
pub struct Reserve {
    /// The hold to open.
    pub hold: HoldId,
    /// The request it belongs to.
    pub request: RequestId,
    /// Which key pays.
    pub key: KeyId,
    /// The key's generation as it was when the caller was authorised; a rotation in between refuses the hold.
    pub generation: i64,
    /// How much to set aside.
    pub amount: Money,
    /// Whether this attempt counts as a request; a fallback attempt does not count again.
    pub counted: bool,
    /// Whether the key belongs to the sandbox: which account's limit counts.
    pub test: bool,
    /// What the money is for.
    pub subject: Subject,
}

/// A hold that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Where the key's rate limit stands now, if it has one.
    pub rate: Option<RateState>,
}

/// Where a rate limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateState {
    /// Requests that may come at once.
    pub limit: u32,
    /// How many of those are left.
    pub remaining: u32,
    /// Microseconds until all of them are back.
    pub reset_us: u64,
    /// When that was so.
    pub at: Timestamp,
}

impl RateState {
    /// The state of a limit whose next request is due (theoretically, in the words of GCRA) at `tat`, microseconds since the epoch.
    pub fn new(limit: RateLimit, tat: i64, at: Timestamp) -> Self {
        let burst = limit.burst.unwrap_or(limit.rpm);
        let ahead = u64::try_from(tat.saturating_sub(at.as_microsecond())).unwrap_or(0);
        let used = ahead.div_ceil((60_000_000 / u64::from(limit.rpm.max(1))).max(1));
        Self { limit: burst, remaining: burst.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX)), reset_us: ahead, at }
    }
}

/// What a hold or an entry is about, for people who read the ledger.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// Provider id.
    pub provider: String,
    /// Model id at that provider; empty for calls without a model.
    pub model: String,
    /// Method and URL called, such as `POST https://api.openai.com/v1/chat/completions`.
    pub endpoint: String,
}

/// Why a hold was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key is unknown, revoked, or was rotated since the caller was authorised.
    KeyGone,
    /// The key is paused.
    KeyPaused,
    /// The key has expired.
    KeyExpired,
    /// The cycle's money does not cover the amount.
    SpendLimit(Shortfall),
    /// The cycle's requests are used up.
    RequestLimit {
        /// The limit.
        limit: RequestLimit,
        /// When counting starts anew.
        resets_at: Option<Timestamp>,
    },
    /// Too many requests a minute.
    RateLimit {
        /// Milliseconds until the next request would be admitted.
        wait_ms: u64,
        /// Where the limit stands.
        state: RateState,
    },
    /// The model has billed more than its prices allow, and the key has a limit to keep.
    Mispriced,
}

/// Whose limit did not cover a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The key's own.
    Key,
    /// That of all keys together.
    Account,
}

/// The state of a spend limit that did not cover a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Whose limit it is.
    pub whose: Whose,
    /// The limit.
    pub limit: SpendLimit,
    /// Booked in this cycle.
    pub spent: Money,
    /// Set aside by calls in flight.
    pub held: Money,
    /// What the refused call asked for.
    pub asked: Money,
    /// Part of what is booked that nobody can prove: charges of a whole hold.
    pub unverified: Money,
    /// When the cycle ends.
    pub resets_at: Option<Timestamp>,
}

impl Shortfall {
    /// What a new hold could still get.
    pub fn available(&self) -> Money {
        self.limit.amount.saturating_sub(self.spent).saturating_sub(self.held)
    }

    /// Whether the call would fit if everything in flight turned out to be free: waiting may help.
    pub fn is_only_held(&self) -> bool {
        self.asked <= self.limit.amount.saturating_sub(self.spent)
    }
}

/// How a hold ends.
#[derive(Clone, Debug)]
pub struct Settle {
    /// The hold that ends.
    pub hold: HoldId,
    /// With what.
    pub outcome: Outcome,
    /// HTTP status the upstream answered with, if it did.
    pub upstream_status: Option<u16>,
    /// How the answer ended.
    pub ending: Ending,
}

/// How the answer to an attempt ended, for people who read the ledger; what it costs is another question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The whole answer came.
    Complete,
    /// The provider accepted the request and broke off, or did not answer.
    Broken,
    /// The provider reported an error in an answer that began well, or with status 200.
    ErrorInAnswer,
    /// The provider did not answer in time, or stopped sending.
    TimedOut,
    /// The provider answered with an error.
    Refused,
    /// There was no connection to the provider.
    Unreachable,
    /// The request never left this machine.
    NotSent,
    /// The caller hung up before the end, and the rest was not read.
    CutByCaller,
    /// The gateway ended before the answer did.
    Stopped,
}

impl Ending {
    /// The word stored in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Broken => "broken",
            Self::ErrorInAnswer => "error_in_answer",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NotSent => "not_sent",
            Self::CutByCaller => "cut_by_caller",
            Self::Stopped => "stopped",
        }
    }
}

/// What became of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It cost this much.
    Charge {
        /// The cost.
        cost: Money,
        /// How the cost is known.
        basis: Basis,
        /// The usage it was computed from, if any.
        usage: Option<Usage>,
    },
    /// It cost nothing. The request count is given back only if the request never left this machine.
    Void {
        /// Whether the request had left this machine.
        dispatched: bool,
    },
}

/// How an entry's amount is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// From the usage the upstream reported.
    Measured,
    /// From what was seen of the answer; an upper estimate.
    Estimated,
    /// The whole hold, because nothing is known.
    Hold,
    /// The whole hold, because the process that held it died.
    Crash,
    /// Nothing was spent.
    Void,
}

impl Basis {
    /// The word stored in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Estimated => "estimated",
            Self::Hold => "hold",
            Self::Crash => "crash",
            Self::Void => "void",
        }
    }
}

/// One attempt of a request at one upstream: an open hold, or the entry that ended it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// `open`, `charge`, `void`, `suspect` or `correction`.
    pub kind: String,
    /// What it was about.
    pub subject: Subject,
    /// What it cost.
    pub cost: Money,
    /// Money still set aside.
    pub held: Money,
    /// How the cost is known.
    pub basis: Option<String>,
    /// Usage as reported or estimated.
    pub usage: Option<Usage>,
    /// HTTP status of the upstream, if it answered.
    pub upstream_status: Option<u16>,
    /// How the answer ended, as [`Ending::as_str`] has it; `None` while it runs, and for what earlier versions booked.
    pub ending: Option<String>,
    /// Why a person corrected it.
    pub note: Option<String>,
    /// When it began.
    pub opened_at: Timestamp,
}

/// One request as people see it: all its attempts, in order. There is at least one.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The request.
    pub request: RequestId,
    /// The key that paid.
    pub key: KeyId,
    /// Whether the request ran in the sandbox.
    pub test: bool,
    /// The attempts, oldest first.
    pub first: Attempt,
    /// The attempts after the first one, oldest first.
    pub rest: Vec<Attempt>,
}

impl RequestRecord {
    /// All attempts, oldest first.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The attempt that decided.
    pub fn last(&self) -> &Attempt {
        self.rest.last().unwrap_or(&self.first)
    }

    /// `pending`, `completed` or `error`.
    pub fn status(&self) -> &'static str {
        let last = self.last();
        match last.kind.as_str() {
            "open" => "pending",
            "charge" => match &last.ending {
                Some(ending) if ending == Ending::Complete.as_str() => "completed",
                Some(_) => "error",
                // Earlier versions did not book how an answer ended.
                None if last.upstream_status.is_some_and(|status| status < 400) => "completed",
                None => "error",
            },
            _ => "error",
        }
    }

    /// What it cost in all.
    pub fn cost(&self) -> Money {
        self.attempts().fold(Money::ZERO, |sum, attempt| sum.saturating_add(attempt.cost))
    }

    /// Money still set aside.
    pub fn held(&self) -> Money {
        self.attempts().fold(Money::ZERO, |sum, attempt| sum.saturating_add(attempt.held))
    }
}

/// A hold that is open.
#[derive(Clone, Debug)]
pub struct OpenHold {
    /// The hold.
    pub hold: HoldId,
    /// Which key pays.
    pub key: KeyId,
    /// The request it belongs to.
    pub request: RequestId,
    /// What is set aside.
    pub amount: Money,
    /// What for.
    pub subject: Subject,
    /// Since when.
    pub opened_at: Timestamp,
}

/// A hold that was charged in full because nobody knows what was billed: the answer did not come, or the process that waited for it died.
#[derive(Clone, Debug)]
pub struct Unverified {
    /// The hold; its amount is what was charged.
    pub charge: OpenHold,
    /// Whether the process died.
    pub is_crash: bool,
}

/// What became of the wish to take an unverified charge back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOff {
    /// The amount is free again, if its cycle still runs.
    Done(Money),
    /// It was taken back before.
    Already,
    /// There is no unverified charge of that name.
    NoSuch,
}

/// A model that billed more than was the most its prices allow.
#[derive(Clone, Debug)]
pub struct Mispriced {
    /// Provider id.
    pub provider: String,
    /// Model id at that provider.
    pub model: String,
    /// The request that showed it.
    pub request: RequestId,
    /// What had been set aside for it.
    pub held: Money,
    /// What it cost by its reported usage.
    pub billed: Money,
    /// When.
    pub at: Timestamp,
}

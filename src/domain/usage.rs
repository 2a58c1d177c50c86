//! What a reply says was used, and how far that can be trusted.

use serde::{Deserialize, Serialize};

/// Counters of one call. The two totals are inclusive: `input` contains the cached and audio input, `output` contains reasoning and
/// audio output. Providers differ here (Anthropic reports cache reads beside its input); whoever reads a reply converts to this form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All input tokens.
    pub input: u64,
    /// Part of `input` that was read from a cache.
    pub cache_read: u64,
    /// Part of `input` that was written to a cache kept for minutes.
    pub cache_write: u64,
    /// Part of `input` that was written to a cache kept for an hour.
    pub cache_write_1h: u64,
    /// Part of `input` that was audio.
    pub audio_input: u64,
    /// All output tokens.
    pub output: u64,
    /// Part of `output` that was hidden reasoning.
    pub reasoning: u64,
    /// Part of `output` that was audio.
    pub audio_output: u64,
}

impl Usage {
    /// Plain text in, plain text out.
    pub const fn text(input: u64, output: u64) -> Self {
        Self { input, output, cache_read: 0, cache_write: 0, cache_write_1h: 0, audio_input: 0, reasoning: 0, audio_output: 0 }
    }

    /// Each counter of both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// Each counter less that of the other, zero at the least.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.each(other, u64::saturating_sub)
    }

    /// Each counter at the larger of both: a stream that reports its usage in parts reports running totals.
    #[must_use]
    pub fn max_each(self, other: Self) -> Self {
        self.each(other, u64::max)
    }

    fn each(self, other: Self, join: fn(u64, u64) -> u64) -> Self {
        Self {
            input: join(self.input, other.input),
            cache_read: join(self.cache_read, other.cache_read),
            cache_write: join(self.cache_write, other.cache_write),
            cache_write_1h: join(self.cache_write_1h, other.cache_write_1h),
            audio_input: join(self.audio_input, other.audio_input),
            output: join(self.output, other.output),
            reasoning: join(self.reasoning, other.reasoning),
            audio_output: join(self.audio_output, other.audio_output),
        }
    }

    /// Input and output together.
    pub const fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// What is known about the usage of a call once it has ended. Only `Exact` may give back more than was surely used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metered {
    /// The upstream reported it.
    Exact(Usage),
    /// Estimated from what was seen; the truth may be higher.
    Estimated(Usage),
    /// Nothing was used: the upstream refused, or was never reached. `dispatched` tells which.
    Nothing {
        /// Whether the request had left this machine.
        dispatched: bool,
    },
    /// The request was sent and nothing came back: it may have been billed in full.
    Unknown,
}

//! How long a provider may be silent, and how often a caller is told meanwhile that the answer is still awaited.

use std::time::Duration;

/// Models that reason can think for minutes before the first byte, and as long in the middle of an answer.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// Proxies and clients commonly give up on a connection that is silent for 30 or 60 seconds.
const PING_EVERY: Duration = Duration::from_secs(15);
/// The longest time that an answer takes once it is being written. Anthropic's SDKs reckon with an hour for 128,000 tokens, the longest answers that are sold.
const WRITING_MAX: Duration = Duration::from_secs(3_600);

/// The waits of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// A provider that sends nothing for this long has hung up, before its first byte as after it.
    pub silence: Duration,
    /// A caller of a stream hears something at least this often.
    pub ping_every: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self { silence: SILENCE_MAX, ping_every: PING_EVERY }
    }
}

impl Waits {
    /// No answer takes longer than this after its head: one long silence, and the writing.
    pub(super) const fn answer(&self) -> Duration {
        self.silence.saturating_add(WRITING_MAX)
    }
}

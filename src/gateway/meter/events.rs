//! What the events of a stream come to: what is counted of them, what is passed on together, and how it ended.

use bytes::{Bytes, BytesMut};

use crate::{
    domain::{Usage, ledger::Ending},
    gateway::reported::Beside,
    translate::Seen,
};

/// Larger events are passed on by themselves.
const JOINED_BYTES_MAX: usize = 64 << 10;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The provider said that it is complete.
    Complete,
    /// The provider stopped without saying so.
    Broken,
    /// The gateway stopped reading, for this reason, and had read all that had come.
    Cut(Ending),
    /// The same, and more had come than it read.
    Behind(Ending),
}

/// What has been counted so far.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) usage: Option<Usage>,
    pub(super) visible_bytes: u64,
    /// Those of them that came after the last usage, which does not have them in it.
    pub(super) after_usage_bytes: u64,
    /// Whether an answer came to its end.
    pub(super) is_finished: bool,
    /// Whether the provider reported an error in the stream.
    pub(super) has_error: bool,
    pub(super) beside: Beside,
}

impl Counted {
    pub(super) fn add(&mut self, seen: &Seen) {
        self.visible_bytes += seen.visible_bytes;
        self.after_usage_bytes = if seen.usage.is_some() { 0 } else { self.after_usage_bytes + seen.visible_bytes };
        self.has_error |= seen.is_error;
        self.is_finished |= seen.is_finish;
        self.usage = match (self.usage, seen.usage) {
            (Some(before), Some(now)) => Some(before.max_each(now)),
            (before, now) => now.or(before),
        };
    }
}

/// What one read from the provider brings the caller. Events that come together go out together: each write costs more than the bytes in it. Large ones are not copied.
pub(super) enum Passed {
    Nothing,
    One(Bytes),
    Many(BytesMut),
    Blocks(Vec<Bytes>),
}

impl Passed {
    pub(super) fn add(&mut self, event: &Bytes) {
        let is_large = event.len() > JOINED_BYTES_MAX;
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Self::One(event.clone()),
            Self::One(first) if is_large || first.len() > JOINED_BYTES_MAX => Self::Blocks(vec![first, event.clone()]),
            Self::One(first) => {
                let mut many = BytesMut::with_capacity(4 * (first.len() + event.len()));
                many.extend_from_slice(&first);
                many.extend_from_slice(event);
                Self::Many(many)
            }
            Self::Many(many) if is_large => Self::Blocks(vec![many.freeze(), event.clone()]),
            Self::Many(mut many) => {
                many.extend_from_slice(event);
                Self::Many(many)
            }
            Self::Blocks(mut blocks) => {
                blocks.push(event.clone());
                Self::Blocks(blocks)
            }
        };
    }

    pub(super) fn into_blocks(self) -> Vec<Bytes> {
        match self {
            Self::Nothing => Vec::new(),
            Self::One(bytes) => vec![bytes],
            Self::Many(bytes) => vec![bytes.freeze()],
            Self::Blocks(blocks) => blocks,
        }
    }
}

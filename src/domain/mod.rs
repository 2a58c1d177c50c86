//! Plain values: money, usage, keys, cycles, limits, and the rules a ledger must keep.
//!
//! Nothing here does I/O or reads a clock; every function takes the time it needs. Everything else in the crate is built on these types,
//! and they import nothing of ours.

pub mod address;
mod cause;
pub mod count;
pub mod cycle;
pub mod decimal;
mod expiry;
pub mod id;
pub mod invocation;
pub mod key;
pub mod ledger;
mod limit_text;
pub mod limits;
pub mod money;
pub mod near;
pub mod secret;
pub mod spend_key;
pub mod text;
pub mod usage;

pub use cause::Cause;
pub use cycle::{Cycle, Window};
pub use expiry::parse_expiry;
pub use id::{HoldId, KeyId, RequestId};
pub use key::{KeyHash, PlainKey};
pub use limits::{RateLimit, RequestLimit, RequestShape, SpendLimit, Status};
pub use money::{Money, Rate};
pub use secret::Secret;
pub use spend_key::{KeySettings, NewSpendKey, SpendKey};
pub use usage::{Metered, Usage};

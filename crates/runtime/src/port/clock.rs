//! Time and fresh ids, injected.

use astradesk_core::{RunId, Timestamp};

/// Where the time and fresh ids come from.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// An id that no other run has.
    fn run_id(&self) -> RunId;
}

/// The machine's clock and randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn run_id(&self) -> RunId {
        RunId::from_uuid(uuid::Uuid::now_v7())
    }
}

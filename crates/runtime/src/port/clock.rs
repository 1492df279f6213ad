//! Time and fresh ids, injected.

use astradesk_core::{RunId, Timestamp};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Where the time and fresh ids come from.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// The time since some moment in the past, which never steps.
    fn elapsed(&self) -> Duration;

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

    fn elapsed(&self) -> Duration {
        static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGUN.elapsed()
    }

    fn run_id(&self) -> RunId {
        RunId::from_uuid(uuid::Uuid::now_v7())
    }
}

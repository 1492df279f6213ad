//! Whether the clock can be trusted: it is held against one that never steps.
//!
//! Deadlines within a process do not depend on the clock; tokens, idempotency keys, leases and records do. So
//! after a step nothing new is begun until the clock has been steady for [`TRUSTED_AFTER`].

use crate::port::Clock;
use astradesk_core::{Code, Error, Result, Timestamp};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What the clock may gain or lose between two looks: more than a time server's slewing ever does.
const TOLERANCE: Duration = Duration::from_secs(5);
/// How long after a step the clock is trusted again.
const TRUSTED_AFTER: Duration = Duration::from_secs(30);

/// Watches the clock.
#[derive(Debug)]
pub(super) struct Steady(Mutex<Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// What both clocks said at the last look.
    wall: Timestamp,
    elapsed: Duration,
    /// The last step: when, and by how many seconds.
    step: Option<(Duration, i64)>,
}

impl Steady {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        Self(Mutex::new(Seen { wall: clock.now(), elapsed: clock.elapsed(), step: None }))
    }

    /// Looks at the clock.
    ///
    /// # Errors
    /// [`Code::ClockStepped`] when it has stepped a short while ago.
    pub(super) fn check(&self, clock: &dyn Clock) -> Result<()> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (wall, elapsed) = (clock.now(), clock.elapsed());
        let gone = elapsed.saturating_sub(seen.elapsed).as_millis() as i64;
        let off = wall.duration_since(seen.wall).as_millis() as i64 - gone;
        if off.unsigned_abs() > TOLERANCE.as_millis() as u64 {
            let seconds = off / 1000;
            tracing::error!(seconds, "the clock has stepped");
            seen.step = Some((elapsed, seconds));
        }
        (seen.wall, seen.elapsed) = (wall, elapsed);
        let Some((at, seconds)) = seen.step else { return Ok(()) };
        let trusted_in = (at + TRUSTED_AFTER).saturating_sub(elapsed);
        if trusted_in.is_zero() {
            seen.step = None;
            return Ok(());
        }
        let message = format!(
            "the clock has stepped by {seconds:+} s; it is trusted again in {} s if it stays steady",
            trusted_in.as_secs().max(1)
        );
        Err(Error::new(Code::ClockStepped, message).with_detail("seconds", seconds))
    }
}

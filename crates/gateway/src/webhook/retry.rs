//! When to try again, and when no more.

use super::post::{Answer, Failure};
use astradesk_core::Timestamp;
use astradesk_runtime::port::Attempted;
use std::time::Duration;

/// How long after each failed attempt, give or take a fifth; after the last of them no further attempt is made.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_mins(30),
    Duration::from_hours(2),
];
/// The longest pause that a receiver may ask for.
const LONGEST: Duration = Duration::from_hours(1);

/// What becomes of an announcement after an attempt, of which `failed` before it did not succeed. `chance` is a
/// number from 0 to 1.
pub(super) fn after(answer: Answer, failed: u32, now: Timestamp, chance: f64) -> Attempted {
    let Failure { error, asked } = match answer {
        Answer::Told => return Attempted::Told,
        Answer::Gone(error) => return Attempted::Dead { error },
        Answer::Failed(failure) => failure,
    };
    let Some(pause) = PAUSES.get(failed as usize) else {
        return Attempted::Dead { error: format!("{error}; it was the last attempt") };
    };
    let pause = pause.mul_f64(0.8 + 0.4 * chance.clamp(0.0, 1.0));
    let pause = asked.map_or(pause, |asked| pause.max(asked.min(LONGEST)));
    Attempted::Again { due_at: now.saturating_add(pause).unwrap_or(now), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(asked: Option<u64>) -> Answer {
        Answer::Failed(Failure { error: "no".into(), asked: asked.map(Duration::from_secs) })
    }

    /// The pause in seconds; none when no further attempt is made.
    fn pause(answer: Answer, failed: u32, chance: f64) -> Option<i64> {
        match after(answer, failed, Timestamp::UNIX_EPOCH, chance) {
            Attempted::Again { due_at, .. } => Some(due_at.as_second()),
            Attempted::Told | Attempted::Dead { .. } => None,
        }
    }

    #[test]
    fn pauses_grow_until_no_further_attempt_is_made() {
        let pauses: Vec<_> = (0..7).map(|n| pause(failed(None), n, 0.5)).collect();
        assert_eq!(
            pauses,
            [Some(5), Some(30), Some(120), Some(600), Some(1800), Some(7200), None],
            "each in the middle of its spread"
        );
        assert_eq!((pause(failed(None), 1, 0.0), pause(failed(None), 1, 1.0)), (Some(24), Some(36)));
        assert_eq!(after(Answer::Told, 3, Timestamp::UNIX_EPOCH, 0.5), Attempted::Told);
        let gone = after(Answer::Gone("gone".into()), 0, Timestamp::UNIX_EPOCH, 0.5);
        assert_eq!(gone, Attempted::Dead { error: "gone".into() });
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_pause_up_to_an_hour() {
        for (asked, expected) in [(1, 5), (60, 60), (3600, 3600), (90_000, 3600)] {
            assert_eq!(pause(failed(Some(asked)), 0, 0.5), Some(expected), "{asked}");
        }
    }
}

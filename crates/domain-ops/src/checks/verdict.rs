//! What became of a condition, from what was measured. Pure.
//!
//! A measurement looks back over a range. Of the time that a condition must last, only those count that look back on
//! nothing before it: the first is a range after its beginning, the last at its end. So what was wrong before a change,
//! and led to it, is not held against it, and everything after it is measured.

use super::condition::Condition;
use crate::prometheus::{Range, Sample};
use std::time::Duration;

/// How far measurements are apart: at most, and at least.
const APART: (f64, f64) = (5.0, 1.0);
/// Into how many parts the time is divided, if they are not too short or too long then.
const PARTS: f64 = 24.0;

/// When there is something to be measured, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) first: f64,
    pub(crate) last: f64,
    pub(crate) step: f64,
    count: usize,
}

impl Schedule {
    /// For a condition that must last so long from a moment on, measured over a range.
    pub(crate) fn new(from: f64, lasting: Duration, range: Duration) -> Self {
        let (first, last) = (from + range.as_secs_f64(), from + lasting.as_secs_f64());
        let apart = (lasting.as_secs_f64() / PARTS).clamp(APART.1, APART.0);
        let steps = ((last - first) / apart).ceil().max(0.0);
        // In whole milliseconds, as it is asked for, and rather a little short of the end than behind it.
        let step = if steps > 0.0 { ((last - first) / steps * 1000.0).floor() / 1000.0 } else { APART.1 };
        Self { first, last, step, count: steps as usize + 1 }
    }

    /// What can be measured by now, if anything can.
    pub(crate) fn by(&self, now: f64) -> Option<Range> {
        (now >= self.first).then(|| Range { start: self.first, end: now.min(self.last), step: self.step })
    }
}

/// What became of a condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// This measurement breaks it.
    Broken(Sample),
    /// It held until the end.
    Held,
    /// Not yet known; or, at the end, not measured: so many of so many measurements.
    Open { measured: usize, of: usize },
}

/// What became of it. It has held when every measurement is as it must be, the last one is there, and no more than half of
/// them are missing.
pub(crate) fn verdict(condition: &Condition, schedule: &Schedule, samples: &[Sample]) -> Verdict {
    let measured = || samples.iter().filter(|sample| !sample.value.is_nan());
    if let Some(broken) = measured().find(|sample| !condition.is_met(sample.value)) {
        return Verdict::Broken(*broken);
    }
    // Times are told to the millisecond.
    let ended = measured().any(|sample| sample.at > schedule.last - schedule.step / 2.0);
    let (measured, of) = (measured().count(), schedule.count);
    if ended && measured * 2 >= of { Verdict::Held } else { Verdict::Open { measured, of } }
}

#[cfg(test)]
mod tests {
    use super::super::condition::tests::parse;
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn only_what_looks_back_on_nothing_before_it_is_measured() {
        for (lasting, range, first, step, count) in [
            (120, 60, 1060.0, 5.0, 13),
            (60, 60, 1060.0, 1.0, 1),
            (6, 3, 1003.0, 1.0, 4),
            (3600, 60, 1060.0, 5.0, 709),
            (100, 30, 1030.0, 4.117, 18),
        ] {
            let schedule = Schedule::new(1000.0, secs(lasting), secs(range));
            let last = 1000.0 + lasting as f64;
            assert_eq!(schedule, Schedule { first, last, step, count });
            let reached = first + step * (count - 1) as f64;
            assert!((0.0..0.02).contains(&(last - reached)), "{schedule:?}");
        }
        let schedule = Schedule::new(1000.0, secs(120), secs(60));
        assert_eq!(schedule.by(1059.9), None);
        assert_eq!(schedule.by(1070.0), Some(Range { start: 1060.0, end: 1070.0, step: 5.0 }));
        assert_eq!(schedule.by(9999.0), schedule.by(1120.0));
    }

    #[test]
    fn a_condition_holds_when_it_was_measured_to_hold_until_the_end() {
        let condition = parse("restarts < 2 for 2m").unwrap();
        let schedule = Schedule::new(0.0, secs(120), secs(60));
        let at = |at: f64, value: f64| Sample { at, value };
        let all = |value: f64| (0..13).map(|n| at(60.0 + 5.0 * f64::from(n), value)).collect::<Vec<_>>();
        let with = |place: usize, value: f64| {
            let mut all = all(1.0);
            all[place].value = value;
            all
        };
        let open = |measured: usize| Verdict::Open { measured, of: 13 };
        let last_ones = |count: usize| all(1.0).split_off(13 - count);
        let cases = [
            ("all as it must be", all(1.0), Verdict::Held),
            ("nothing", Vec::new(), open(0)),
            ("no number", all(f64::NAN), open(0)),
            ("one too high", with(3, 2.0), Verdict::Broken(at(75.0, 2.0))),
            ("one infinite", with(3, f64::INFINITY), Verdict::Broken(at(75.0, f64::INFINITY))),
            ("one missing", with(3, f64::NAN), Verdict::Held),
            ("the last one missing", with(12, f64::NAN), open(12)),
            ("too few", last_ones(6), open(6)),
            ("just enough", last_ones(7), Verdict::Held),
            ("not at the end", all(1.0)[..12].to_vec(), open(12)),
        ];
        for (what, samples, expected) in cases {
            assert_eq!(verdict(&condition, &schedule, &samples), expected, "{what}");
        }
    }
}

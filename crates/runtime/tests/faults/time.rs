//! The world's time: it goes on from life to life, and can be set.

use astradesk_core::{RunId, Timestamp};
use astradesk_runtime::port::Clock;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// When the world begins, in seconds since the epoch.
const BEGINNING: i64 = 1_700_000_000;

#[derive(Debug, Default)]
pub(crate) struct Time(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    passed: Duration,
    /// When the life in progress began, by its runtime's clock.
    since: Option<Instant>,
    stepped: i64,
    ids: u64,
}

impl Time {
    /// A life begins; to be called in its runtime.
    pub(crate) fn begin(&self) {
        self.told().since = Some(Instant::now());
    }

    /// A life ends; to be called in its runtime.
    pub(crate) fn end(&self) {
        let passed = self.elapsed();
        let mut told = self.told();
        (told.passed, told.since) = (passed, None);
    }

    /// Time passes between two lives.
    pub(crate) fn pass(&self, time: Duration) {
        self.told().passed += time;
    }

    /// The clock is set, by so many seconds.
    pub(crate) fn step(&self, seconds: i64) {
        self.told().stepped += seconds;
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }
}

impl Clock for Time {
    fn now(&self) -> Timestamp {
        let stepped = self.told().stepped;
        let beginning = Timestamp::from_second(BEGINNING + stepped).unwrap();
        beginning.saturating_add(self.elapsed()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        let told = self.told();
        told.passed + told.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn run_id(&self) -> RunId {
        let mut told = self.told();
        told.ids += 1;
        RunId::parse(&format!("00000000-0000-7000-8000-{:012x}", told.ids)).unwrap()
    }
}

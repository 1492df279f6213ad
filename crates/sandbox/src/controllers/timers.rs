//! One heap of everything that will happen by itself.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use tokio::time::Instant;

use super::pods::Step;
use crate::storage::Key;

/// What is to happen.
#[derive(Debug)]
pub(super) enum Due {
    Reconcile(Key),
    /// A pod takes its next step, if it is still the same pod.
    Pod {
        key: Key,
        uid: Arc<str>,
        step: Step,
    },
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    count: u64,
}

#[derive(Debug)]
struct Timer {
    at: Instant,
    /// Keeps what is due at the same moment in the order in which it was asked for.
    number: u64,
    due: Due,
}

impl Timers {
    pub(super) fn push(&mut self, at: Instant, due: Due) {
        self.count += 1;
        self.heap.push(Reverse(Timer { at, number: self.count, due }));
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        if self.next_at()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(timer)| timer.due)
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

//! One heap of everything that will happen by itself.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
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
    /// When each object is looked at again next. There is one time for each: a pass that needs another one asks for it.
    next: BTreeMap<Key, Instant>,
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
        if let Due::Reconcile(key) = &due {
            if self.next.get(key).is_some_and(|next| *next <= at) {
                return;
            }
            self.next.insert(key.clone(), at);
        }
        self.count += 1;
        self.heap.push(Reverse(Timer { at, number: self.count, due }));
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        while self.next_at()? <= now {
            let Reverse(timer) = self.heap.pop()?;
            match &timer.due {
                // An earlier one took its place.
                Due::Reconcile(key) if self.next.get(key) != Some(&timer.at) => {}
                Due::Reconcile(key) => {
                    self.next.remove(key);
                    return Some(timer.due);
                }
                Due::Pod { .. } => return Some(timer.due),
            }
        }
        None
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::resource::PODS;

    #[test]
    fn an_object_is_looked_at_again_once_however_often_that_is_asked_for() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let key = |name: &str| Key::new(&PODS, "default", name);
        for (seconds, name) in [(5, "a"), (3, "a"), (3, "a"), (4, "a"), (6, "b")] {
            timers.push(at(seconds), Due::Reconcile(key(name)));
        }
        let mut due = |now| match timers.pop_due(at(now)) {
            Some(Due::Reconcile(key)) => Some(key.name.to_string()),
            Some(Due::Pod { .. }) | None => None,
        };
        let found = [due(2), due(3), due(3), due(5), due(9), due(9)];
        assert_eq!(found, [None, Some("a".into()), None, None, Some("b".into()), None]);
        timers.push(at(10), Due::Reconcile(key("a")));
        assert!(timers.pop_due(at(10)).is_some() && timers.next.is_empty() && timers.heap.is_empty());
    }
}

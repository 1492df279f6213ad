//! What happens by itself: at a time after the start, or once something has happened to an object.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_saphyr::Spanned;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::action::{Action, Rehearsal};
use super::entry::{Entry, Problem};
use crate::behaviour::RESTARTED_AT;
use crate::json::Value;
use crate::object::text;
use crate::server::Shared;
use crate::storage::{Change, Key};
use crate::yaml::{Error, Span};

/// How much may happen.
const ENTRIES: usize = 1_000;
/// What happens to a cluster after its start, by [`super::read`].
#[derive(Debug, Clone, Default)]
pub struct Timeline(Vec<Event>);

/// Something that happens.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) trigger: Trigger,
    pub(super) action: Action,
    /// For people.
    pub(super) title: String,
}

#[derive(Debug, Clone)]
pub(super) enum Trigger {
    /// So long after the start.
    At(Duration),
    /// So long after something has happened to an object.
    Once { what: Seen, object: Pattern, then: Duration },
}

/// What can be seen of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Created,
    Deleted,
    Restarted,
    /// An event about it, by its reason.
    Reason(String),
}

/// One object, or with a `*` at its end those whose names begin so.
#[derive(Debug, Clone)]
pub(super) struct Pattern(pub(super) Key);

impl Timeline {
    /// Checks every entry on a rehearsal.
    pub(super) fn read(entries: Vec<Spanned<Entry>>, rehearsal: &Rehearsal) -> Result<Timeline, Error> {
        let mut events = Vec::new();
        for entry in entries {
            let line = entry.referenced.line();
            let wrong = |what| Error { line, what };
            if events.len() == ENTRIES {
                return Err(wrong(format!("more than {ENTRIES} entries")));
            }
            let event = Event::read(entry.value).map_err(|problem| match problem {
                Problem::Here(what) => wrong(what),
                Problem::Inside(error) => error,
            })?;
            rehearsal.perform(&event.action).map_err(wrong)?;
            events.push(event);
        }
        Ok(Timeline(events))
    }

    /// How many things happen.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing happens.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Trigger {
    /// How long after this change it happens, if this is what it waits for.
    fn after(&self, change: &Change) -> Option<Duration> {
        let Trigger::Once { what, object, then } = self else { return None };
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        let restarted_at = |object: Option<&Value>| {
            object?.pointer("/spec/template/metadata/annotations")?.get(RESTARTED_AT).cloned()
        };
        let seen = match what {
            Seen::Created => object.fits(&change.key) && before.is_none(),
            Seen::Deleted => object.fits(&change.key) && after.is_none(),
            Seen::Restarted => {
                object.fits(&change.key) && after.is_some() && restarted_at(before) != restarted_at(after)
            }
            Seen::Reason(reason) => {
                after.is_some_and(|event| text(event, "/reason") == reason && object.is_regarded(event))
            }
        };
        seen.then_some(*then)
    }
}

impl Pattern {
    fn fits(&self, key: &Key) -> bool {
        self.0.resource == key.resource && self.0.namespace == key.namespace && self.has_name(&key.name)
    }

    fn is_regarded(&self, event: &Value) -> bool {
        self.0.resource.kind == text(event, "/involvedObject/kind")
            && *self.0.namespace == *text(event, "/involvedObject/namespace")
            && self.has_name(text(event, "/involvedObject/name"))
    }

    fn has_name(&self, name: &str) -> bool {
        match self.0.name.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => *name == *self.0.name,
        }
    }
}

/// Lets everything happen, and tells it. Ends when nothing is to happen any more.
pub(crate) async fn run(
    timeline: Timeline,
    shared: Arc<Shared>,
    told: mpsc::Sender<String>,
    stop: CancellationToken,
) {
    let start = Instant::now();
    let mut latest = shared.storage.subscribe();
    let mut cursor = shared.storage.version();
    let mut waiting = Vec::new();
    // By time, and at the same time in the order of the file.
    let mut due: BTreeMap<(Instant, usize), Event> = BTreeMap::new();
    for (number, event) in timeline.0.into_iter().enumerate() {
        match event.trigger {
            Trigger::At(after) => _ = due.insert((start + after, number), event),
            Trigger::Once { .. } => waiting.push((number, event)),
        }
    }
    while !(waiting.is_empty() && due.is_empty()) {
        latest.borrow_and_update();
        let current = shared.storage.version();
        let changes = match shared.storage.changes_since(cursor) {
            Ok(changes) if !waiting.is_empty() => changes,
            Ok(_) => Vec::new(),
            Err(_) => {
                tracing::warn!("the timeline fell behind, and what it waits for may have passed it by");
                Vec::new()
            }
        };
        cursor = changes.last().map_or(current, |change| change.version);
        for change in &changes {
            for (number, event) in waiting.extract_if(.., |(_, event)| event.trigger.after(change).is_some())
            {
                let after = event.trigger.after(change).unwrap_or_default();
                due.insert((Instant::now() + after, number), event);
            }
        }
        let now = Instant::now();
        let rest = due.split_off(&(now, usize::MAX));
        for event in std::mem::replace(&mut due, rest).into_values() {
            let failed = event.action.perform(&shared).err();
            let failed = failed.map(|why| format!(": {why}")).unwrap_or_default();
            let after = Span(Duration::from_secs(start.elapsed().as_secs()));
            tracing::debug!(%after, title = event.title, failed, "the timeline goes on");
            // There is room for all that happens; nobody may be listening.
            _ = told.try_send(format!("+{after} {}{failed}", event.title));
        }
        let wake_at = due.keys().next().map(|(at, _)| *at);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            going_on = latest.changed(), if !waiting.is_empty() => if going_on.is_err() { return },
            () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
        }
    }
}

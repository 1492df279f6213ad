//! Watches: the store's changes after a version, filtered, one JSON document a line.

use std::sync::Arc;
use std::time::Duration;

use crate::json::{Value, json};
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::selector::Selector;
use super::status::Status;
use super::{Call, Shared, table};
use crate::object::set;
use crate::resource::Resource;
use crate::storage::Change;

/// How often a client that asked for bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(15);
/// How long a watch lasts that does not say.
const DEFAULT_TIMEOUT: u64 = 45 * 60;

struct Watch {
    shared: Arc<Shared>,
    latest: watch::Receiver<u64>,
    resource: &'static Resource,
    namespace: String,
    selector: Selector,
    /// As a table, and whether its rows carry whole objects.
    as_table: Option<bool>,
    cursor: u64,
    /// What is sent before the changes: the state at the beginning.
    first: Vec<u8>,
    bookmark_at: Option<Instant>,
    ends_at: Instant,
    ended: bool,
}

/// Begins a watch of a collection.
pub(crate) fn start(
    shared: &Arc<Shared>,
    resource: &'static Resource,
    namespace: &str,
    selector: Selector,
    call: &Call,
) -> Result<Response, Status> {
    let initial_events = call.params.flag("sendInitialEvents");
    if initial_events && call.params.text("resourceVersionMatch") != "NotOlderThan" {
        let why = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(Status::invalid(resource, "", &[("resourceVersionMatch".into(), why.into())]));
    }
    let from = call.params.number("resourceVersion")?.unwrap_or(0);
    let timeout = call.params.number("timeoutSeconds")?.filter(|s| *s > 0).unwrap_or(DEFAULT_TIMEOUT);
    let bookmarks = call.params.flag("allowWatchBookmarks");
    let now = Instant::now();
    let mut watch = Watch {
        latest: shared.storage.subscribe(),
        shared: shared.clone(),
        resource,
        namespace: namespace.to_owned(),
        selector,
        as_table: call.wants_table().then(|| call.wants_whole_rows()),
        cursor: from,
        first: Vec::new(),
        bookmark_at: bookmarks.then(|| now + BOOKMARK_EVERY),
        ends_at: now + Duration::from_secs(timeout.min(DEFAULT_TIMEOUT * 2)),
        ended: false,
    };
    if from == 0 || initial_events {
        watch.send_state(initial_events && bookmarks);
    }
    let lines = futures::stream::unfold(watch, |mut watch| async move {
        let chunk = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), watch))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

impl Watch {
    fn send_state(&mut self, mark_the_end: bool) {
        let snapshot = self.shared.storage.snapshot(self.resource, &self.namespace);
        for object in snapshot.items.iter().filter(|object| self.selector.matches(object)) {
            let line = self.line("ADDED", object);
            self.first.extend(line);
        }
        self.cursor = snapshot.version;
        if mark_the_end {
            let mut bookmark = self.bookmark_object();
            set(&mut bookmark, &["metadata", "annotations", "k8s.io/initial-events-end"], "true");
            self.first.extend(line("BOOKMARK", &bookmark));
        }
    }

    /// The next lines to send, when there are some; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first).into());
        }
        while !self.ended {
            self.latest.borrow_and_update();
            match self.shared.storage.changes_of(self.resource, self.cursor) {
                Err(too_old) => {
                    self.ended = true;
                    let status = Status::expired(self.cursor, too_old.oldest);
                    return Some(line("ERROR", &status.to_value()).into());
                }
                Ok((changes, until)) => {
                    let mut lines = Vec::new();
                    for change in &changes {
                        lines.extend(self.describe(change));
                    }
                    self.cursor = until;
                    if !lines.is_empty() {
                        return Some(lines.into());
                    }
                }
            }
            let wake_at = self.bookmark_at.map_or(self.ends_at, |at| at.min(self.ends_at));
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return None,
                changed = self.latest.changed() => if changed.is_err() { return None },
                () = sleep_until(wake_at) => {
                    self.ended = wake_at == self.ends_at;
                    if self.bookmark_at.is_some() {
                        self.bookmark_at = Some(Instant::now() + BOOKMARK_EVERY);
                        return Some(line("BOOKMARK", &self.bookmark_object()).into());
                    }
                }
            }
        }
        None
    }

    /// A change as this watch sees it: an object that begins or ceases to match comes or goes.
    fn describe(&self, change: &Change) -> Vec<u8> {
        let inside = self.namespace.is_empty() || *change.key.namespace == *self.namespace;
        if !inside {
            return Vec::new();
        }
        let before = change.before.as_ref().filter(|object| self.selector.matches(object));
        let after = change.after.as_ref().filter(|object| self.selector.matches(object));
        match (before, after) {
            (None, Some(after)) => self.line("ADDED", after),
            (Some(_), Some(after)) => self.line("MODIFIED", after),
            (Some(before), None) => {
                let mut last = (**before).clone();
                set(&mut last, &["metadata", "resourceVersion"], change.version.to_string());
                self.line("DELETED", &last)
            }
            (None, None) => Vec::new(),
        }
    }

    fn line(&self, kind: &str, object: &Value) -> Vec<u8> {
        if let Some(whole) = self.as_table {
            return line(kind, &table::of(self.resource, std::iter::once(object), &json!({}), whole));
        }
        line(kind, object)
    }

    fn bookmark_object(&self) -> Value {
        json!({
            "kind": self.resource.kind, "apiVersion": self.resource.api_version(),
            "metadata": { "resourceVersion": self.cursor.to_string(), "creationTimestamp": null },
        })
    }
}

fn line(kind: &str, object: &Value) -> Vec<u8> {
    // Every change goes to every watch: it is not copied on its way.
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into_bytes()
}

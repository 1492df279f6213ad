//! `GET /v1/runs/{id}/events`: a run as it goes, as server-sent events.

use super::wire;
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::extract::{Id, Query, place};
use crate::http::problem::{Answer, Problem};
use crate::http::redact::redact_value;
use astradesk_core::{Code, Error, Principal, Result, RunId};
use astradesk_runtime::port::RunEvent;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use serde::Deserialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// A comment goes out after so long without an event, so that nobody takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Between two questions to the store when another process executes the run.
const PAUSE: Duration = Duration::from_millis(250);
/// After how long a client is to come back when the gateway stops.
const RETRY: Duration = Duration::from_secs(1);

/// Where to begin.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// Only events after this number. `Last-Event-ID` comes first.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_223_372_036_854_775_807_u64)]
    after: Option<String>,
}

/// Watch a run
///
/// Server-sent events: `id` is the event's number, `event` its kind (`state`, `step` or `progress`), `data`
/// the event in JSON. After the run has ended, `event: end` closes the stream.
#[utoipa::path(
    get, path = "/v1/runs/{id}/events", tag = "runs", operation_id = "watch_run",
    params(
        ("id" = String, Path, description = "The run's id", format = "uuid"),
        EventQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "Only events after this number.", minimum = 0, maximum = 9_223_372_036_854_775_807_u64),
    ),
    responses(
        (status = 200, description = "The events", body = wire::StreamedEvent, content_type = "text/event-stream"),
        (status = 404, description = "There is no such run, or it may not be seen by who asks"),
    ),
)]
pub(super) async fn stream(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(id): Id,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Answer {
    let after = begin(&headers, query.after.as_deref())?;
    // Asked before the stream begins, so that a run that may not be seen is a problem and not a stream.
    app.engine.run(&principal, id).await?;
    let Ok(room) = app.streams.clone().try_acquire_owned() else {
        let limit = app.limits.event_streams;
        let message = format!("{limit} event streams are open, which is the limit");
        return Err(Error::new(Code::RequestOverloaded, message).into());
    };
    let watch = Watch::new(app, principal, id, after, room);
    Ok(sse(watch))
}

fn sse(watch: Watch) -> Response {
    let events = stream::unfold(watch, Watch::next);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// The number after which the client wants events.
fn begin(headers: &HeaderMap, after: Option<&str>) -> Result<u64, Problem> {
    let after = after.map_or(Ok(0), |after| place(after, "after"))?;
    let last =
        headers.get("last-event-id").map(|value| place(value.to_str().unwrap_or("?"), "Last-Event-ID"));
    last.unwrap_or(Ok(after))
}

/// A stream under way.
struct Watch {
    app: App,
    principal: Arc<Principal>,
    run: RunId,
    after: u64,
    pending: VecDeque<RunEvent>,
    /// The last events were read: what is pending goes out, then the end.
    finished: bool,
    closed: bool,
    ends_at: Instant,
    _room: OwnedSemaphorePermit,
}

impl Watch {
    fn new(app: App, principal: Arc<Principal>, run: RunId, after: u64, room: OwnedSemaphorePermit) -> Self {
        app.metrics.streams.fetch_add(1, Ordering::Relaxed);
        let ends_at = Instant::now() + Duration::from_secs(app.limits.event_stream_seconds);
        let pending = VecDeque::new();
        Self { app, principal, run, after, pending, finished: false, closed: false, ends_at, _room: room }
    }

    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                self.after = event.seq;
                return Some((Ok(written(event)), self));
            }
            if self.closed {
                return None;
            }
            if self.finished {
                self.closed = true;
                return Some((Ok(Event::default().event("end").data("{}")), self));
            }
            if let Some(last) = self.read().await {
                self.closed = true;
                return Some((Ok(last), self));
            }
        }
    }

    /// Reads more events. Gives the last event instead when the stream has to end before the run does.
    async fn read(&mut self) -> Option<Event> {
        let app = self.app.clone();
        let asked = Instant::now();
        let until = (asked + KEEP_ALIVE).min(self.ends_at);
        let page = tokio::select! {
            page = app.engine.events(&self.principal, self.run, self.after, until) => page,
            () = app.stopping.cancelled() => return Some(come_back()),
        };
        match page {
            Ok(page) => {
                self.finished = page.finished;
                self.pending = page.events.into();
            }
            Err(error) => {
                tracing::warn!(run = %self.run, %error, "an event stream ends");
                return Some(come_back());
            }
        }
        if self.finished || !self.pending.is_empty() {
            return None;
        }
        if Instant::now() >= self.ends_at {
            return Some(come_back());
        }
        tokio::select! {
            () = tokio::time::sleep_until(asked + PAUSE) => None,
            () = app.stopping.cancelled() => Some(come_back()),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.app.metrics.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

fn written(mut event: RunEvent) -> Event {
    redact_value(&mut event.data);
    let data = serde_json::to_string(&event).unwrap_or_default();
    // Kinds are words of the Engine; a line break in one would split the event.
    let kind = event.kind.replace(['\n', '\r'], " ");
    Event::default().id(event.seq.to_string()).event(kind).data(data)
}

/// The stream ends here, and goes on at the next connection.
fn come_back() -> Event {
    Event::default().retry(RETRY).comment("the stream ends here; connect again with Last-Event-ID")
}

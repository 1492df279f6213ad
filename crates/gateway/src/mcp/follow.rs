//! Waiting for a run, and telling how it goes.

use super::asker::Asker;
use super::{Over, Server, Site};
use crate::http::redact::redact_value;
use astradesk_core::{Result, Run, RunId};
use astradesk_runtime::port::RunEvent;
use rmcp::RoleServer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Between two questions to the store when another process executes the run.
const PAUSE: Duration = Duration::from_millis(250);

/// The run as it stands once it has ended, after the wait, or when the gateway stops; none when too many wait, the store cannot be read, or the client has cancelled its call. The run goes on then.
pub(super) async fn follow(
    server: &Server,
    asker: &Asker,
    run: &Run,
    wait: Duration,
    context: &RequestContext<RoleServer>,
) -> Option<Run> {
    let (_room, stopping) = match &server.over {
        Over::Http(Site { app, .. }) => (Some(app.waits.try_acquire().ok()?), app.stopping.clone()),
        Over::Stdio(_) => (None, tokio_util::sync::CancellationToken::new()),
    };
    let until = Instant::now() + wait;
    let ended = async {
        match context.meta.get_progress_token() {
            None => server.engine.wait(&asker.principal, run.id, until).await,
            Some(token) => tell(server, asker, run.id, until, &context.peer, &token).await,
        }
    };
    tokio::select! {
        ended = ended => ended.inspect_err(|error| tracing::warn!(%error, "a call stops waiting")).ok(),
        // As it stands now: it goes on, in this process or in the next one.
        () = stopping.cancelled() => server.engine.run(&asker.principal, run.id).await.ok(),
        () = context.ct.cancelled() => None,
    }
}

/// Tells of each event of the run until it has ended, or `until`. An event's number is the progress.
async fn tell(
    server: &Server,
    asker: &Asker,
    id: RunId,
    until: Instant,
    peer: &Peer<RoleServer>,
    token: &ProgressToken,
) -> Result<Run> {
    let (engine, mut after) = (&server.engine, 0);
    loop {
        let began = Instant::now();
        let page = engine.events(&asker.principal, id, after, until).await?;
        let quiet = page.events.is_empty();
        for event in page.events {
            after = event.seq;
            let told =
                ProgressNotificationParam::new(token.clone(), event.seq as f64).with_message(message(event));
            if peer.notify_progress(told).await.is_err() {
                // Nobody listens; the answer may still find somebody.
                return engine.wait(&asker.principal, id, until).await;
            }
        }
        if page.finished || Instant::now() >= until {
            return engine.run(&asker.principal, id).await;
        }
        if quiet {
            sleep_until((began + PAUSE).min(until)).await;
        }
    }
}

/// The event in a few words.
fn message(mut event: RunEvent) -> String {
    redact_value(&mut event.data);
    let text = |name: &str| event.data.get(name).and_then(Value::as_str);
    if let Some(message) = text("message") {
        return message.to_owned();
    }
    let state = text("state").unwrap_or(&event.kind);
    let steps = event.data.get("steps").and_then(Value::as_array);
    let steps: Vec<&str> = steps.into_iter().flatten().filter_map(Value::as_str).collect();
    if steps.is_empty() { state.to_owned() } else { format!("{state}: step {}", steps.join(", ")) }
}

//! From a request to the Engine's door and back: what `/v1/run` and `/v1/tools/{tool}/runs` share.

use crate::http::App;
use crate::http::prefer;
use crate::http::problem::{Answer, Problem};
use crate::http::redact::redact_preview;
use crate::http::trace;
use astradesk_core::run::State;
use astradesk_core::{Code, Error, Principal, Run, Source};
use astradesk_runtime::engine::{Preview, Request, Submission, Submitted};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::time::Duration;
use tokio::time::Instant;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A run or a preview, with what the answer's head has to say.
pub(super) struct Submitting {
    pub(super) outcome: Submitted,
    waited: Option<Duration>,
}

/// What a client asks for.
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) dry_run: bool,
    pub(super) reason: Option<String>,
    pub(super) break_glass: bool,
}

/// Submits a request and, if the client prefers so, waits for its run.
pub(super) async fn submit(
    app: &App,
    principal: &Principal,
    headers: &HeaderMap,
    asked: Asked,
) -> Answer<Submitting> {
    let Asked { request, dry_run, reason, break_glass } = asked;
    let submission = Submission {
        principal: principal.clone(),
        source: Source::Http,
        dry_run,
        reason,
        break_glass,
        trace: trace::id(headers),
        idempotency_key: idempotency_key(headers)?,
        request,
    };
    let mut outcome = app.engine.submit(submission).await?;
    let mut waited = None;
    match &mut outcome {
        Submitted::Run { run, .. } => {
            tracing::Span::current().record("run", tracing::field::display(run.id));
            if will_end(run)
                && let Some(wait) = prefer::wait(headers)
                && let Some(later) = wait_for(app, principal, run, wait).await?
            {
                **run = later;
                waited = Some(wait);
            }
            if run.state == State::AwaitingApproval {
                app.webhooks.wake();
            }
            app.metrics.run_answered(run);
            app.fit(run);
        }
        Submitted::Preview(preview) => redact_preview(&mut preview.steps),
    }
    Ok(Submitting { outcome, waited })
}

/// Whether it makes sense to wait for the run: not for one that has ended, nor for people.
pub(crate) fn will_end(run: &Run) -> bool {
    !run.state.is_final() && run.state != State::AwaitingApproval
}

/// The run as it stands after the wait, unless so many wait already that this one may not.
async fn wait_for(app: &App, principal: &Principal, run: &Run, wait: Duration) -> Answer<Option<Run>> {
    let Ok(_room) = app.waits.try_acquire() else { return Ok(None) };
    let until = Instant::now() + wait;
    tokio::select! {
        run = app.engine.wait(principal, run.id, until) => Ok(Some(run?)),
        // The run goes on, in this process or in the next one: the client finds it by its `Location`.
        () = app.stopping.cancelled() => Ok(None),
    }
}

/// The `Idempotency-Key`: 1 to 255 visible ASCII characters.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let malformed =
        || Error::new(Code::RequestMalformed, "`Idempotency-Key` is not 1 to 255 visible ASCII characters");
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::new(Code::RequestMalformed, "there is more than one `Idempotency-Key`"));
    }
    let key = value.to_str().map_err(|_| malformed())?;
    if !(1..=255).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(malformed());
    }
    Ok(Some(key.to_owned()))
}

impl Submitting {
    /// The answer: `body` of the run when it succeeded (200) or goes on (202), a problem when it did not.
    pub(super) fn answer(
        self,
        run_body: impl FnOnce(&Run) -> Response,
        preview_body: impl FnOnce(&Preview) -> Response,
    ) -> Response {
        let (run, replayed) = match self.outcome {
            Submitted::Preview(preview) => return preview_body(&preview),
            Submitted::Run { run, replayed } => (run, replayed),
        };
        let mut response = match ending(&run) {
            Some(error) => Problem::of_run(error, run).into_response(),
            None if run.state.is_final() => run_body(&run),
            None => {
                let location = HeaderValue::from_str(&format!("/v1/runs/{}", run.id));
                let mut response = run_body(&run);
                *response.status_mut() = StatusCode::ACCEPTED;
                response.headers_mut().extend(location.ok().map(|location| (header::LOCATION, location)));
                response
            }
        };
        let headers = response.headers_mut();
        if replayed {
            headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        if let Some(waited) = self.waited
            && let Ok(value) = HeaderValue::from_str(&format!("wait={}", waited.as_secs()))
        {
            headers.insert(PREFERENCE_APPLIED, value);
        }
        response
    }
}

/// The error that a run ended with, if it has ended and did not succeed.
pub(crate) fn ending(run: &Run) -> Option<Error> {
    if let Some(error) = run.state.error() {
        return Some(error.clone());
    }
    match &run.state {
        State::Cancelled => Some(Error::new(Code::RunCancelled, format!("run {} was cancelled", run.id))),
        State::Expired => Some(Error::new(
            Code::ApprovalExpired,
            format!("run {} expired, since nobody approved it in time", run.id),
        )),
        State::Submitted
        | State::AwaitingApproval
        | State::Queued
        | State::Running { .. }
        | State::Succeeded
        | State::Failed { .. }
        | State::Denied { .. }
        | State::Rejected { .. }
        | State::OutcomeUnknown { .. } => None,
    }
}

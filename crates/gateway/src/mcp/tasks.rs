//! Runs as tasks (the extension `io.modelcontextprotocol/tasks`): poll, result, cancel.
//!
//! A task's id is its run's, so a task outlives the gateway and is found by any replica; who may not see the run does
//! not see the task.

use super::asker::Asker;
use super::result::{self, object};
use super::{Over, Server, fault};
use astradesk_core::run::{OnFailure, State};
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Run, RunId};
use astradesk_runtime::Engine;
use rmcp::ErrorData;
use rmcp::model::{DetailedTask, ErrorCode, GetTaskResult, Task, TaskPayload, TaskStatus};
use serde_json::json;

/// How often a client should ask, in milliseconds.
const POLL_MILLISECONDS: u64 = 1000;

/// The task of a run that has not ended.
pub(super) fn task(run: &Run) -> Task {
    let (created, updated) = (run.created_at.to_string(), run.updated_at.to_string());
    Task::new(run.id.to_string(), TaskStatus::Working, created, updated)
        .with_status_message(status(run))
        .with_poll_interval_ms(POLL_MILLISECONDS)
}

/// `tasks/get`
pub(super) async fn get(server: &Server, asker: &Asker, id: &str) -> Result<GetTaskResult, ErrorData> {
    let id = parse(id)?;
    let mut run = seen(server, asker, id).await?;
    if !run.state.is_final() && matches!(server.over, Over::Stdio(_)) {
        // Its process may be gone: then somebody has to go on with it, and no gateway does here.
        server.engine.take_up(&asker.principal, id).await.map_err(fault::of)?;
        run = seen(server, asker, id).await?;
    }
    crate::http::redact::fit(&server.engine, &mut run);
    Ok(GetTaskResult::new(detailed(&server.engine, &run)))
}

/// `tasks/update`: no run ever asks its client for anything, so there is nothing to take.
pub(super) async fn update(server: &Server, asker: &Asker, id: &str) -> Result<(), ErrorData> {
    seen(server, asker, parse(id)?).await.map(drop)
}

/// `tasks/cancel`: asks for the run to be cancelled, and leaves an effect that has begun. A task that has ended, or is
/// being cancelled already, stays as it is.
pub(super) async fn cancel(server: &Server, asker: &Asker, id: &str) -> Result<(), ErrorData> {
    let id = parse(id)?;
    let (engine, principal) = (server.engine.clone(), asker.principal.clone());
    // In a task of its own: a client that hangs up must not leave it half-way.
    let cancelling = tokio::spawn(async move { engine.cancel(&principal, id, OnFailure::Leave).await });
    let cancelled =
        cancelling.await.map_err(|error| fault::of(Error::internal(format!("cancelling: {error}"))))?;
    match cancelled {
        Ok(_) => Ok(()),
        Err(error) if error.code == Code::RunStateConflict => Ok(()),
        Err(error) => Err(found(error)),
    }
}

fn parse(id: &str) -> Result<RunId, ErrorData> {
    let unknown = || Error::new(Code::RunNotFound, format!("there is no run `{}`", shown(id, 64)));
    RunId::parse(id).ok_or_else(|| found(unknown()))
}

async fn seen(server: &Server, asker: &Asker, id: RunId) -> Result<Run, ErrorData> {
    server.engine.run(&asker.principal, id).await.map_err(found)
}

/// The extension's word for a task that is not there.
fn found(error: Error) -> ErrorData {
    let not_found = error.code == Code::RunNotFound;
    let mut fault = fault::of(error);
    if not_found {
        fault.code = ErrorCode::INVALID_PARAMS;
    }
    fault
}

/// The task with what belongs to its status. A run that failed is a task that completed, with an error as its result.
fn detailed(engine: &Engine, run: &Run) -> DetailedTask {
    let payload = match &run.state {
        State::Submitted | State::AwaitingApproval | State::Queued | State::Running { .. } => {
            TaskPayload::Working
        }
        State::Cancelled => TaskPayload::Cancelled,
        State::Succeeded
        | State::Failed { .. }
        | State::Denied { .. }
        | State::Rejected { .. }
        | State::Expired
        | State::OutcomeUnknown { .. } => {
            TaskPayload::Completed { result: object(json!(result::of_run(engine, run, false))) }
        }
    };
    DetailedTask::new(task(run), payload)
}

fn status(run: &Run) -> String {
    match (&run.state, &run.approvals) {
        (State::AwaitingApproval, Some(asked)) => format!(
            "awaits {} by a person other than who asked, until {}: `astradesk approvals show {}`",
            asked.required, asked.expires_at, run.id
        ),
        (state, _) if run.cancel_requested && !state.is_final() => {
            format!("{}, being cancelled", state.name())
        }
        (state, _) => state.name().to_owned(),
    }
}

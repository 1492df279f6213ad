//! `POST /v1/run`: a sentence for an agent.

use super::submit::{Asked, submit};
use super::wire;
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::extract::Json;
use crate::http::problem::Answer;
use astradesk_core::run::{State as RunState, StepState};
use astradesk_core::{Arguments, Error, Run, RunId, ToolName};
use astradesk_runtime::engine::{Preview, Request};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an agent is asked to do.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"agent": "ops", "input": "restart webapp"}))]
pub(super) struct RunRequest {
    /// The agent.
    #[schema(pattern = "^[a-z][a-z0-9_]{0,63}$", example = "ops")]
    agent: String,
    /// The sentence.
    #[schema(min_length = 1, max_length = 8192, example = "restart webapp")]
    input: String,
    /// Kept for clients that send it; nothing in it has a meaning, and nothing in it can grant anything.
    #[serde(default, rename = "meta")]
    #[schema(value_type = Option<Object>)]
    _meta: Option<Arguments>,
    /// Plan, decide and preview only.
    #[serde(default)]
    dry_run: bool,
    /// Why, for approvers and for the evidence.
    #[schema(value_type = Option<wire::Why>)]
    reason: Option<String>,
    /// Override guardrails that can be overridden, if policy permits that; it needs a reason.
    #[serde(default)]
    break_glass: bool,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct RunReply<'a> {
    /// What the agent says of it.
    output: String,
    /// The run's id; none for a preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    reasoning_trace_id: Option<RunId>,
    /// The calls that were begun, in order.
    invoked_tools: Vec<InvokedTool<'a>>,
    /// Always empty: a run that failed is answered with a problem.
    #[schema(value_type = Vec<wire::Error>)]
    errors: [Error; 0],
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<wire::Run>)]
    run: Option<&'a Run>,
    /// What would happen, when it was a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<wire::Preview>)]
    preview: Option<&'a Preview>,
}

/// A call that was begun.
#[derive(Serialize, ToSchema)]
pub(super) struct InvokedTool<'a> {
    /// The tool.
    #[schema(value_type = String)]
    name: &'a ToolName,
    /// Its arguments.
    #[schema(value_type = Object)]
    arguments: &'a Arguments,
}

/// Ask an agent
///
/// Plans the sentence and does what it says. A run that succeeded within the wait is answered with 200, one
/// that goes on, or awaits approval, with 202 and its `Location`, and one that did not succeed with the problem
/// that it ended with.
#[utoipa::path(
    post, path = "/v1/run", tag = "runs", operation_id = "run", request_body = RunRequest,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key finds the first one's run.", min_length = 1, max_length = 255, pattern = "^[!-~]{1,255}$"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait N seconds (0 to 600) for the run.", example = "wait=30"),
    ),
    responses(
        (status = 200, description = "The run succeeded, or the preview", body = RunReply),
        (status = 202, description = "The run goes on, or awaits approval", body = RunReply),
        (status = 403, description = "Who asks may not do this"),
        (status = 404, description = "There is no such agent, tool or object"),
        (status = 409, description = "The moment forbids it, or the key was used for another request"),
        (status = 422, description = "The sentence cannot be planned"),
        (status = 502, description = "The run failed, or its outcome is unknown"),
    ),
)]
pub(super) async fn run(
    State(app): State<App>,
    Caller(principal): Caller,
    headers: HeaderMap,
    Json(request): Json<RunRequest>,
) -> Answer {
    let RunRequest { agent, input, dry_run, reason, break_glass, .. } = request;
    let asked = Asked { request: Request::Say { agent, input }, dry_run, reason, break_glass };
    let submitted = submit(&app, &principal, &headers, asked).await?;
    Ok(submitted.answer(
        |run| axum::Json(RunReply::of_run(&app, run)).into_response(),
        |preview| axum::Json(RunReply::of_preview(preview)).into_response(),
    ))
}

impl<'a> RunReply<'a> {
    fn of_run(app: &App, run: &'a Run) -> Self {
        let output = match (&run.state, &run.approvals) {
            (state, _) if state.is_final() => app.engine.reply(run),
            (RunState::AwaitingApproval, Some(approvals)) => {
                format!("run {} awaits {}, until {:.0}", run.id, approvals.required, approvals.expires_at)
            }
            (state, _) => format!("run {} is {}", run.id, state.name()),
        };
        let begun =
            run.steps.iter().filter(|step| !matches!(step.state, StepState::Pending | StepState::Skipped));
        let invoked =
            begun.map(|step| InvokedTool { name: &step.call.tool, arguments: &step.call.arguments });
        Self {
            output,
            reasoning_trace_id: Some(run.id),
            invoked_tools: invoked.collect(),
            errors: [],
            run: Some(run),
            preview: None,
        }
    }

    fn of_preview(preview: &'a Preview) -> Self {
        Self {
            output: "this was a dry run: nothing was done".to_owned(),
            reasoning_trace_id: None,
            invoked_tools: Vec::new(),
            errors: [],
            run: None,
            preview: Some(preview),
        }
    }
}

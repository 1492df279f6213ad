//! `/v1/tools`: what can be done, and doing it directly.

use super::submit::{Asked, submit};
use super::wire;
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::extract::{Json, Segment};
use crate::http::problem::Answer;
use astradesk_core::run::{State as RunState, StepState};
use astradesk_core::{Arguments, Call, Run, ToolName, ToolSpec};
use astradesk_runtime::engine::{Preview, Request};
use astradesk_runtime::registry::Registered;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// The tools that who asks may use.
#[derive(Serialize, ToSchema)]
pub(super) struct Tools {
    /// The tools, by name.
    tools: Vec<Tool>,
}

/// A tool and the pack that it came with.
#[derive(Serialize, ToSchema)]
pub(super) struct Tool {
    /// The tool.
    #[serde(flatten)]
    #[schema(value_type = wire::ToolSpec)]
    spec: Arc<ToolSpec>,
    /// The pack.
    pack: String,
}

impl Tool {
    fn new(tool: &Registered) -> Self {
        Self { spec: tool.spec().clone(), pack: tool.pack.clone() }
    }
}

/// The arguments of a call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"arguments": {"service": "webapp"}}))]
pub(super) struct CallRequest {
    /// The arguments; see the tool's `input_schema`.
    #[schema(value_type = Object)]
    arguments: Arguments,
    /// Decide and preview only.
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
pub(super) struct CallReply<'a> {
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<wire::Run>)]
    run: Option<&'a Run>,
    /// What the tool reports, when the run succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    output: Option<&'a Value>,
    /// What would happen, when it was a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<wire::Preview>)]
    preview: Option<&'a Preview>,
}

/// List the tools
///
/// Those that who asks may use on some target.
#[utoipa::path(
    get, path = "/v1/tools", tag = "tools", operation_id = "list_tools",
    responses((status = 200, description = "The tools", body = Tools)),
)]
pub(super) async fn list(State(app): State<App>, Caller(principal): Caller) -> Response {
    let tools = app.engine.tools(&principal);
    axum::Json(Tools { tools: tools.iter().map(|tool| Tool::new(tool)).collect() }).into_response()
}

/// Show a tool
#[utoipa::path(
    get, path = "/v1/tools/{tool}", tag = "tools", operation_id = "show_tool",
    params(("tool" = String, Path, description = "The tool's name", pattern = "^[a-z][a-z0-9_]{0,63}$", example = "restart_service")),
    responses(
        (status = 200, description = "The tool", body = Tool),
        (status = 404, description = "There is no such tool, or it may not be used by who asks"),
    ),
)]
pub(super) async fn show(
    State(app): State<App>,
    Caller(principal): Caller,
    Segment(name): Segment,
) -> Answer {
    let tool = app.engine.tool(&principal, &name)?;
    Ok(axum::Json(Tool::new(&tool)).into_response())
}

/// Call a tool
///
/// A tool that reads is answered with its output. For one that writes: a run that succeeded within the
/// wait is answered with 200, one that goes on, or awaits approval, with 202 and its `Location`.
#[utoipa::path(
    post, path = "/v1/tools/{tool}/runs", tag = "tools", operation_id = "call_tool", request_body = CallRequest,
    params(
        ("tool" = String, Path, description = "The tool's name", pattern = "^[a-z][a-z0-9_]{0,63}$", example = "restart_service"),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key finds the first one's run.", min_length = 1, max_length = 255, pattern = "^[!-~]{1,255}$"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait N seconds (0 to 600) for the run.", example = "wait=30"),
    ),
    responses(
        (status = 200, description = "The run succeeded, or the preview", body = CallReply),
        (status = 202, description = "The run goes on, or awaits approval", body = CallReply),
        (status = 403, description = "Who asks may not do this"),
        (status = 404, description = "There is no such tool or object"),
        (status = 409, description = "The moment forbids it, or the key was used for another request"),
        (status = 422, description = "The arguments do not fit the tool's schema"),
        (status = 502, description = "The run failed, or its outcome is unknown"),
    ),
)]
pub(super) async fn call(
    State(app): State<App>,
    Caller(principal): Caller,
    Segment(name): Segment,
    headers: HeaderMap,
    Json(request): Json<CallRequest>,
) -> Answer {
    // A name that cannot be one is not found, like one that is not there: the registry says so.
    let tool = match ToolName::parse(name.as_str()) {
        Ok(tool) => tool,
        Err(_) => app.engine.registry().tool(&name)?.spec().name.clone(),
    };
    let CallRequest { arguments, dry_run, reason, break_glass } = request;
    let request = Request::Call(Call { tool, arguments });
    let submitted =
        submit(&app, &principal, &headers, Asked { request, dry_run, reason, break_glass }).await?;
    Ok(submitted.answer(
        |run| axum::Json(CallReply::of_run(run)).into_response(),
        |preview| axum::Json(CallReply::of_preview(preview)).into_response(),
    ))
}

impl<'a> CallReply<'a> {
    fn of_run(run: &'a Run) -> Self {
        let output = run.steps.last().and_then(|step| match (&run.state, &step.state) {
            (RunState::Succeeded, StepState::Succeeded { output, .. }) => Some(output),
            _ => None,
        });
        Self { run: Some(run), output, preview: None }
    }

    const fn of_preview(preview: &'a Preview) -> Self {
        Self { run: None, output: None, preview: Some(preview) }
    }
}

//! `/v1/runs`: what was asked for, and what became of it.

use super::wire::{self, StateName};
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::extract::{Id, OptionalJson, Query, page_size};
use crate::http::problem::{Answer, shown};
use astradesk_core::run::OnFailure;
use astradesk_core::{Code, Error, Run, RunId, ToolName};
use astradesk_runtime::port::{RunFilter, RunPage};
use axum::extract::State;
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which runs are wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RunQuery {
    /// Only those in this state.
    state: Option<StateName>,
    /// Only those with a step of this tool.
    #[param(pattern = "^[a-z][a-z0-9_]{0,63}$", example = "restart_service")]
    tool: Option<String>,
    /// Only one's own.
    mine: Option<bool>,
    /// At most so many. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Where the page starts: `next` of the page before.
    #[param(format = "uuid")]
    cursor: Option<String>,
}

/// Runs, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Runs {
    /// The runs.
    #[schema(value_type = Vec<wire::Run>)]
    runs: Vec<Run>,
    /// Where the next page starts, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    next: Option<RunId>,
}

/// List the runs
///
/// Those that who asks may see, newest first.
#[utoipa::path(
    get, path = "/v1/runs", tag = "runs", operation_id = "list_runs", params(RunQuery),
    responses((status = 200, description = "The runs", body = Runs)),
)]
pub(super) async fn list(
    State(app): State<App>,
    Caller(principal): Caller,
    Query(query): Query<RunQuery>,
) -> Answer {
    let before = query.cursor.as_deref().map(|cursor| {
        RunId::parse(cursor).ok_or_else(|| {
            Error::new(Code::RequestMalformed, format!("`cursor` is `{}`, not a run's id", shown(cursor)))
        })
    });
    let filter = RunFilter {
        principal: query.mine.unwrap_or(false).then(|| principal.id()),
        state: query.state.map(|state| state.as_str().to_owned()),
        tool: query.tool.map(ToolName::parse).transpose()?,
        before: before.transpose()?,
        limit: page_size(query.limit)?,
    };
    let RunPage { mut runs, next } = app.engine.runs(&principal, filter).await?;
    for run in &mut runs {
        app.fit(run);
    }
    Ok(axum::Json(Runs { runs, next }).into_response())
}

/// Show a run
#[utoipa::path(
    get, path = "/v1/runs/{id}", tag = "runs", operation_id = "show_run",
    params(("id" = String, Path, description = "The run's id", format = "uuid")),
    responses(
        (status = 200, description = "The run", body = wire::Run),
        (status = 404, description = "There is no such run, or it may not be seen by who asks"),
    ),
)]
pub(super) async fn show(State(app): State<App>, Caller(principal): Caller, Id(id): Id) -> Answer {
    let mut run = app.engine.run(&principal, id).await?;
    app.fit(&mut run);
    Ok(axum::Json(run).into_response())
}

/// How a run is cancelled.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(example = json!({"on_effect": "undo"}))]
pub(super) struct CancelRequest {
    /// What becomes of an effect that has begun: left to go on unwatched, or undone as a step of its own.
    #[serde(default)]
    #[schema(value_type = wire::OnFailure, default = "leave")]
    on_effect: OnFailure,
}

/// Cancel a run
///
/// A run that waits ends at once; one under way stops at the next point at which that is sound, and the
/// answer has `cancel_requested`. Without a body, an effect that has begun is left as it is.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", tag = "runs", operation_id = "cancel_run",
    request_body = Option<CancelRequest>,
    params(("id" = String, Path, description = "The run's id", format = "uuid")),
    responses(
        (status = 200, description = "The run, cancelled or being cancelled", body = wire::Run),
        (status = 403, description = "Who asks may not cancel this run"),
        (status = 404, description = "There is no such run, or it may not be seen by who asks"),
        (status = 409, description = "The run has ended, is being cancelled already, or has nothing that can be undone"),
    ),
)]
pub(super) async fn cancel(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(id): Id,
    OptionalJson(request): OptionalJson<CancelRequest>,
) -> Answer {
    let engine = app.engine.clone();
    let CancelRequest { on_effect } = request.unwrap_or_default();
    // In a task of its own: a client that hangs up must not leave it half-way.
    let cancelling = tokio::spawn(async move { engine.cancel(&principal, id, on_effect).await });
    let mut run = cancelling.await.map_err(|error| Error::internal(format!("cancelling: {error}")))??;
    app.fit(&mut run);
    Ok(axum::Json(run).into_response())
}

impl StateName {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

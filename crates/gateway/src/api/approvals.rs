//! `/v1/approvals` and what is said to a run that awaits approval: yes, no, and yes taken back.

use super::wire;
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::extract::{Id, Json, Query, page_size};
use crate::http::metrics::Said;
use crate::http::problem::{Answer, shown};
use crate::http::redact::{hide, redact_preview};
use astradesk_core::canonical::Digest;
use astradesk_core::{Code, Error, Result, Run, RunId};
use astradesk_runtime::engine::Awaiting;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use std::future::Future;
use utoipa::ToSchema;

/// Which runs are wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ApprovalQuery {
    /// At most so many. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Where the page starts: `next` of the page before.
    #[param(format = "uuid")]
    cursor: Option<String>,
}

/// Runs that await approval, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct AwaitingRuns {
    /// The runs.
    #[schema(value_type = Vec<wire::Awaiting>)]
    approvals: Vec<Awaiting>,
    /// Where the next page starts, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    next: Option<RunId>,
}

/// What somebody says to a run, and what they saw. Who they are, and with which roles, their token says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct Word {
    /// The digest that they saw: `approvals.digest` of the run.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    digest: Digest,
    /// Why.
    #[schema(value_type = wire::Why)]
    reason: String,
}

/// List what awaits approval
///
/// The runs that who asks may see, oldest first; `refused` says why they may not approve one.
#[utoipa::path(
    get, path = "/v1/approvals", tag = "approvals", operation_id = "list_approvals", params(ApprovalQuery),
    responses((status = 200, description = "The runs", body = AwaitingRuns)),
)]
pub(super) async fn list(
    State(app): State<App>,
    Caller(principal): Caller,
    Query(query): Query<ApprovalQuery>,
) -> Answer {
    let cursor = query.cursor.as_deref().map(|cursor| {
        RunId::parse(cursor).ok_or_else(|| {
            Error::new(Code::RequestMalformed, format!("`cursor` is `{}`, not a run's id", shown(cursor)))
        })
    });
    let limit = page_size(query.limit)?;
    let mut approvals = app.engine.approvals(&principal, cursor.transpose()?, limit).await?;
    for awaiting in &mut approvals {
        fit(&app, awaiting);
    }
    let next = approvals.last().filter(|_| approvals.len() == limit as usize).map(|last| last.run.id);
    Ok(axum::Json(AwaitingRuns { approvals, next }).into_response())
}

/// Show what awaits approval
///
/// With what it would do now, step by step, what there is to think about, and why who asks may not approve it.
#[utoipa::path(
    get, path = "/v1/approvals/{id}", tag = "approvals", operation_id = "show_approval",
    params(("id" = String, Path, description = "The run's id", format = "uuid")),
    responses(
        (status = 200, description = "The run, and what it would do", body = wire::Awaiting),
        (status = 404, description = "There is no such run, or it may not be seen by who asks"),
        (status = 409, description = "The run awaits no approval"),
        (status = 502, description = "What it would do cannot be found out"),
    ),
)]
pub(super) async fn show(State(app): State<App>, Caller(principal): Caller, Id(id): Id) -> Answer {
    let mut awaiting = app.engine.awaiting(&principal, id).await?;
    fit(&app, &mut awaiting);
    Ok(axum::Json(awaiting).into_response())
}

/// Approve a run
///
/// With the last approval that is needed, the run is executed. Never by who asked for it, by any token, nor by
/// an agent for somebody.
#[utoipa::path(
    post, path = "/v1/runs/{id}/approve", tag = "approvals", operation_id = "approve_run", request_body = Word,
    params(("id" = String, Path, description = "The run's id", format = "uuid")),
    responses(
        (status = 200, description = "The run, with the approval", body = wire::Run),
        (status = 403, description = "Who asks may not approve this run"),
        (status = 404, description = "There is no such run, or it may not be seen by who asks"),
        (status = 409, description = "The run awaits no approval, or is not what was seen, or they have approved it already"),
        (status = 422, description = "The reason is none"),
        (status = 502, description = "Whether it is still what was seen cannot be found out"),
    ),
)]
pub(super) async fn approve(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(id): Id,
    Json(Word { digest, reason }): Json<Word>,
) -> Answer {
    let engine = app.engine.clone();
    say(&app, Said::Given, async move { engine.approve(&principal, id, digest, &reason).await }).await
}

/// Reject a run
///
/// It ends. For who may approve it.
#[utoipa::path(
    post, path = "/v1/runs/{id}/reject", tag = "approvals", operation_id = "reject_run", request_body = Word,
    params(("id" = String, Path, description = "The run's id", format = "uuid")),
    responses(
        (status = 200, description = "The run, rejected", body = wire::Run),
        (status = 403, description = "Who asks may not reject this run"),
        (status = 404, description = "There is no such run, or it may not be seen by who asks"),
        (status = 409, description = "The run awaits no approval, or is not what was seen"),
        (status = 422, description = "The reason is none"),
        (status = 502, description = "Whether they may cannot be found out"),
    ),
)]
pub(super) async fn reject(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(id): Id,
    Json(Word { digest, reason }): Json<Word>,
) -> Answer {
    let engine = app.engine.clone();
    say(&app, Said::Rejected, async move { engine.reject(&principal, id, digest, &reason).await }).await
}

/// Revoke one's approval
///
/// Possible until the run has begun. It takes no body.
#[utoipa::path(
    post, path = "/v1/runs/{id}/revoke", tag = "approvals", operation_id = "revoke_approval",
    params(("id" = String, Path, description = "The run's id", format = "uuid")),
    responses(
        (status = 200, description = "The run, without the approval", body = wire::Run),
        (status = 404, description = "There is no such run, or it may not be seen by who asks"),
        (status = 409, description = "They have not approved it, or it has begun or ended"),
    ),
)]
pub(super) async fn revoke(State(app): State<App>, Caller(principal): Caller, Id(id): Id) -> Answer {
    let engine = app.engine.clone();
    say(&app, Said::Revoked, async move { engine.revoke(&principal, id).await }).await
}

/// In a task of its own: a client that hangs up must not leave it half-way.
async fn say(
    app: &App,
    said: Said,
    word: impl Future<Output = Result<Run>> + Send + 'static,
) -> Answer<Response> {
    let mut run = tokio::spawn(word)
        .await
        .map_err(|error| Error::internal(format!("an approver's word: {error}")))??;
    app.metrics.said(said);
    app.fit(&mut run);
    Ok(axum::Json(run).into_response())
}

/// Makes it fit to be shown.
fn fit(app: &App, awaiting: &mut Awaiting) {
    app.fit(&mut awaiting.run);
    awaiting.refused.iter_mut().for_each(hide);
    awaiting.preview.iter_mut().for_each(|steps| redact_preview(steps));
}

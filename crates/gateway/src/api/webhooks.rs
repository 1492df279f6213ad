//! `/v1/webhooks`: what could not be told, and telling it once more.

use super::wire;
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::extract::{Query, Segment, page_size};
use crate::http::problem::Answer;
use astradesk_runtime::port::Announcement;
use axum::extract::State;
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which are wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeadQuery {
    /// At most so many. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// What could not be told, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Dead {
    /// The announcements.
    #[schema(value_type = Vec<wire::Announcement>)]
    announcements: Vec<Announcement>,
}

/// What is told once more.
#[derive(Serialize, ToSchema)]
pub(super) struct Retried {
    /// The announcement's id.
    id: String,
}

/// List what could not be told
#[utoipa::path(
    get, path = "/v1/webhooks/dead", tag = "webhooks", operation_id = "list_dead_announcements", params(DeadQuery),
    responses(
        (status = 200, description = "The announcements of which no further attempt is made", body = Dead),
        (status = 403, description = "Who asks may not read the evidence, which says the same"),
    ),
)]
pub(super) async fn dead(
    State(app): State<App>,
    Caller(principal): Caller,
    Query(query): Query<DeadQuery>,
) -> Answer {
    let announcements = app.engine.dead_announcements(&principal, page_size(query.limit)?).await?;
    Ok(axum::Json(Dead { announcements }).into_response())
}

/// Tell it once more
#[utoipa::path(
    post, path = "/v1/webhooks/dead/{id}/retry", tag = "webhooks", operation_id = "retry_announcement",
    params(("id" = String, Path, description = "The announcement's id")),
    responses(
        (status = 200, description = "It is due again", body = Retried),
        (status = 403, description = "Who asks may not read the evidence"),
        (status = 404, description = "There is no dead announcement with this id"),
    ),
)]
pub(super) async fn retry(State(app): State<App>, Caller(principal): Caller, Segment(id): Segment) -> Answer {
    app.engine.revive_announcement(&principal, &id).await?;
    app.webhooks.wake();
    Ok(axum::Json(Retried { id }).into_response())
}

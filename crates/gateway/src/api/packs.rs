//! `GET /v1/packs`: where the tools come from.

use super::wire;
use crate::http::App;
use crate::http::caller::Caller;
use astradesk_runtime::port::PackStatus;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The packs.
#[derive(Serialize, ToSchema)]
pub(super) struct Packs {
    /// The packs, by name.
    #[schema(value_type = Vec<wire::Pack>)]
    packs: Vec<PackStatus>,
}

/// List the packs
///
/// Those of the tools that who asks may use. Who may read the evidence sees all of them, and why one is not in force as
/// it is now.
#[utoipa::path(
    get, path = "/v1/packs", tag = "packs", operation_id = "list_packs",
    responses((status = 200, description = "The packs", body = Packs)),
)]
pub(super) async fn list(State(app): State<App>, Caller(principal): Caller) -> Response {
    axum::Json(Packs { packs: app.engine.packs(&principal) }).into_response()
}

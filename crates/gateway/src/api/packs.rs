//! `GET /v1/packs`: where the tools come from.

use crate::http::App;
use crate::http::caller::Caller;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The packs.
#[derive(Serialize, ToSchema)]
pub(super) struct Packs {
    /// The packs, by name.
    packs: Vec<Pack>,
}

/// A pack.
#[derive(Serialize, ToSchema)]
pub(super) struct Pack {
    /// The name.
    name: String,
    /// The version.
    version: String,
}

/// List the packs
///
/// Those of the tools that who asks may use.
#[utoipa::path(
    get, path = "/v1/packs", tag = "packs", operation_id = "list_packs",
    responses((status = 200, description = "The packs", body = Packs)),
)]
pub(super) async fn list(State(app): State<App>, Caller(principal): Caller) -> Response {
    let tools = app.engine.tools(&principal);
    let packs = app.engine.registry().packs().into_iter();
    let packs = packs
        .filter(|(name, _)| tools.iter().any(|tool| tool.pack == *name))
        .map(|(name, version)| Pack { name, version });
    axum::Json(Packs { packs: packs.collect() }).into_response()
}

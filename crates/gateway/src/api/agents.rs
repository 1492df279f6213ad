//! `GET /v1/agents`: who can be asked.

use crate::http::App;
use crate::http::caller::Caller;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The agents.
#[derive(Serialize, ToSchema)]
pub(super) struct Agents {
    /// The agents, by name.
    agents: Vec<Agent>,
}

/// An agent.
#[derive(Serialize, ToSchema)]
pub(super) struct Agent {
    /// The name, for `POST /v1/run`.
    name: String,
    /// What it is for.
    description: String,
}

/// List the agents
///
/// For who may use some tool.
#[utoipa::path(
    get, path = "/v1/agents", tag = "agents", operation_id = "list_agents",
    responses((status = 200, description = "The agents", body = Agents)),
)]
pub(super) async fn list(State(app): State<App>, Caller(principal): Caller) -> Response {
    let agents = app.engine.agents(&principal);
    let agents = agents
        .iter()
        .map(|agent| Agent { name: agent.name().to_string(), description: agent.description().to_owned() });
    axum::Json(Agents { agents: agents.collect() }).into_response()
}

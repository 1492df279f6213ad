//! The resources, one file each, and their OpenAPI document.

mod agents;
mod approvals;
mod audit;
mod document;
mod events;
mod mcp;
mod packs;
mod policy;
mod probes;
mod run;
mod runs;
mod submit;
mod tools;
mod webhooks;
mod wire;

pub(crate) use submit::{ending, will_end};

use crate::http::{App, caller, edge};
use crate::mcp::http::Mcp;
use crate::mcp::oauth;
use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes that nobody needs a token for. They name no target and no principal.
fn open() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(probes::healthz))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::metrics))
        .routes(routes!(probes::openapi))
        .routes(routes!(mcp::metadata))
        .routes(routes!(mcp::mcp_metadata))
}

/// The door of agents, which needs a token as well, and says where one is to be had.
fn agents_door() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(mcp::send, mcp::listen, mcp::end))
}

/// The routes that need a token; `router` puts authentication before every one of them.
fn protected() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(run::run))
        .routes(routes!(agents::list))
        .routes(routes!(tools::list))
        .routes(routes!(tools::show))
        .routes(routes!(tools::call))
        .routes(routes!(packs::list))
        .routes(routes!(runs::list))
        .routes(routes!(runs::show))
        .routes(routes!(runs::cancel))
        .routes(routes!(events::stream))
        .routes(routes!(approvals::list))
        .routes(routes!(approvals::show))
        .routes(routes!(approvals::approve))
        .routes(routes!(approvals::reject))
        .routes(routes!(approvals::revoke))
        .routes(routes!(policy::explain))
        .routes(routes!(policy::status))
        .routes(routes!(policy::test))
        .routes(routes!(webhooks::dead))
        .routes(routes!(webhooks::retry))
        .routes(routes!(audit::list))
        .routes(routes!(audit::checkpoint))
        .routes(routes!(audit::checkpoints))
}

/// Everything, behind its layers.
pub(crate) fn router(app: App) -> Router {
    let protected =
        Router::from(protected()).route_layer(from_fn_with_state(app.clone(), caller::authenticate));
    let agents = Router::from(agents_door())
        .route_layer(Extension(Mcp::new(&app)))
        .route_layer(from_fn_with_state(app.clone(), caller::authenticate))
        .route_layer(from_fn_with_state(app.clone(), oauth::challenge));
    Router::from(open())
        .merge(protected)
        .merge(agents)
        .method_not_allowed_fallback(edge::method_not_allowed)
        .fallback(edge::not_found)
        .layer(from_fn_with_state(app.clone(), edge::edge))
        .with_state(app)
}

/// The OpenAPI 3.1 document, made from the code: the answer of `GET /openapi.json`.
pub fn document() -> Value {
    let (_, api) = open().merge(protected()).merge(agents_door()).split_for_parts();
    let mut document = serde_json::to_value(&api).unwrap_or_default();
    document::complete(&mut document);
    document
}

/// Every path with each of its methods, in upper case.
pub(crate) fn paths(document: &Value) -> Vec<(String, String)> {
    let paths: BTreeMap<&String, &Value> =
        document.get("paths").and_then(Value::as_object).into_iter().flatten().collect();
    let methods = paths.into_iter().flat_map(|(path, item)| {
        let operations = item.as_object().into_iter().flat_map(|item| item.keys());
        operations.map(|method| (path.clone(), method.to_uppercase()))
    });
    methods.collect()
}

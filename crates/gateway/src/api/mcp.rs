//! `/mcp`: the MCP server over Streamable HTTP, and where its clients find out whose tokens are taken.

use crate::http::App;
use crate::http::caller::Caller;
use crate::http::problem::Answer;
use crate::mcp::http::Mcp;
use crate::mcp::oauth;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

/// Send a message of the Model Context Protocol
///
/// One JSON-RPC message; see the protocol, versions 2026-07-28 and before. Its own errors are JSON-RPC errors.
#[utoipa::path(
    post, path = "/mcp", tag = "mcp", operation_id = "mcp_send", request_body = Object,
    params(
        ("Mcp-Session-Id" = Option<String>, Header, description = "The session, for versions that have sessions."),
        ("MCP-Protocol-Version" = Option<String>, Header, description = "The version that was agreed on.", example = "2026-07-28"),
    ),
    responses(
        (status = 200, description = "The answer, as JSON or as an event stream", body = Object),
        (status = 202, description = "A notification was taken"),
        (status = 403, description = "`Host` or `Origin` is none that is allowed"),
        (status = 404, description = "There is no such session of who asks, or no such method"),
        (status = 406, description = "The client takes no JSON, or no event stream"),
    ),
)]
pub(super) async fn send(
    State(app): State<App>,
    Caller(principal): Caller,
    Extension(mcp): Extension<Mcp>,
    request: Request,
) -> Answer {
    mcp.answer(&app, &principal, request).await
}

/// Listen to a session of the Model Context Protocol
#[utoipa::path(
    get, path = "/mcp", tag = "mcp", operation_id = "mcp_listen",
    params(
        ("Mcp-Session-Id" = String, Header, description = "The session."),
        ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event."),
    ),
    responses(
        (status = 200, description = "Messages of the server", body = String, content_type = "text/event-stream"),
        (status = 403, description = "`Host` or `Origin` is none that is allowed"),
        (status = 404, description = "There is no such session of who asks"),
        (status = 405, description = "This version has no sessions"),
        (status = 406, description = "The client takes no event stream"),
    ),
)]
pub(super) async fn listen(
    State(app): State<App>,
    Caller(principal): Caller,
    Extension(mcp): Extension<Mcp>,
    request: Request,
) -> Answer {
    mcp.answer(&app, &principal, request).await
}

/// End a session of the Model Context Protocol
#[utoipa::path(
    delete, path = "/mcp", tag = "mcp", operation_id = "mcp_end",
    params(("Mcp-Session-Id" = String, Header, description = "The session.")),
    responses(
        (status = 202, description = "The session has ended"),
        (status = 403, description = "`Host` or `Origin` is none that is allowed"),
        (status = 404, description = "There is no such session of who asks"),
        (status = 405, description = "This version has no sessions"),
    ),
)]
pub(super) async fn end(
    State(app): State<App>,
    Caller(principal): Caller,
    Extension(mcp): Extension<Mcp>,
    request: Request,
) -> Answer {
    mcp.answer(&app, &principal, request).await
}

/// Whose tokens are taken
///
/// The metadata of the protected resource (RFC 9728).
#[utoipa::path(
    get, path = "/.well-known/oauth-protected-resource", tag = "mcp", operation_id = "resource_metadata",
    responses((status = 200, description = "The metadata", body = Object)),
)]
pub(super) async fn metadata(State(app): State<App>) -> Response {
    shown(oauth::metadata(&app, ""))
}

/// Whose tokens `/mcp` takes
#[utoipa::path(
    get, path = "/.well-known/oauth-protected-resource/mcp", tag = "mcp", operation_id = "mcp_metadata",
    responses((status = 200, description = "The metadata", body = Object)),
)]
pub(super) async fn mcp_metadata(State(app): State<App>) -> Response {
    shown(oauth::metadata(&app, "/mcp"))
}

fn shown(metadata: Value) -> Response {
    axum::Json(metadata).into_response()
}

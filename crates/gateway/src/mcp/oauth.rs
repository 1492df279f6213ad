//! Where a client finds out whose tokens are taken (RFC 9728).

use crate::http::App;
use crate::http::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

/// The path of the metadata of the whole gateway; that of `/mcp` is below it.
pub(crate) const METADATA: &str = "/.well-known/oauth-protected-resource";

/// The protected resource's metadata: what tokens are for, and who gives them.
pub(crate) fn metadata(app: &App, path: &str) -> Value {
    let mut metadata = json!({
        "resource": format!("{}{path}", app.public_url),
        "resource_name": "AstraDesk Ops",
        "bearer_methods_supported": ["header"],
    });
    let (issuers, scopes) = (app.auth.authorization_servers(), app.auth.scopes());
    if let Value::Object(members) = &mut metadata {
        if !issuers.is_empty() {
            members.insert("authorization_servers".to_owned(), json!(issuers));
        }
        if !scopes.is_empty() {
            members.insert("scopes_supported".to_owned(), json!(scopes));
        }
    }
    metadata
}

/// The layer of `/mcp`: who is not authenticated, or lacks a scope, is told where the metadata is.
pub(crate) async fn challenge(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let lacking = response.extensions().get::<Problem>().and_then(|problem| problem.detail("scope"));
    let challenge = match (response.status(), lacking) {
        (StatusCode::FORBIDDEN, Some(scope)) => {
            format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\",")
        }
        (StatusCode::UNAUTHORIZED, _) => {
            let before = response.headers().get(header::WWW_AUTHENTICATE);
            let before = before.and_then(|value| value.to_str().ok()).unwrap_or("Bearer");
            format!("{before}{}", if before.contains('=') { "," } else { "" })
        }
        _ => return response,
    };
    let text = format!("{challenge} resource_metadata=\"{}{METADATA}/mcp\"", app.public_url);
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

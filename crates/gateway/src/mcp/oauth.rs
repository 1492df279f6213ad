//! Where a client finds out whose tokens are taken (RFC 9728).

use crate::http::App;
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
    let issuers = app.auth.authorization_servers();
    if let (Value::Object(members), false) = (&mut metadata, issuers.is_empty()) {
        members.insert("authorization_servers".to_owned(), json!(issuers));
    }
    metadata
}

/// The layer of `/mcp`: who is not authenticated is told where the metadata is.
pub(crate) async fn challenge(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        let before = headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let before = before.unwrap_or("Bearer");
        let comma = if before.contains('=') { "," } else { "" };
        let text = format!("{before}{comma} resource_metadata=\"{}{METADATA}/mcp\"", app.public_url);
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
    }
    response
}

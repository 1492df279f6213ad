//! Streamable HTTP: from an authenticated request to `rmcp` and back.

use super::Server;
use super::sessions::{Owner, Sessions};
use crate::http::App;
use crate::http::extract;
use crate::http::problem::Answer;
use astradesk_core::{Code, Error, Principal};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, Method, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::Full;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// The MCP server behind `/mcp`. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mcp {
    service: StreamableHttpService<Server, Sessions>,
    sessions: Arc<Sessions>,
}

impl Mcp {
    pub(crate) fn new(app: &App) -> Self {
        let limits = &app.limits;
        let idle = Duration::from_secs(limits.mcp_session_seconds);
        let sessions = Arc::new(Sessions::new(limits.mcp_sessions, idle));
        let config = StreamableHttpServerConfig::default()
            .with_allowed_hosts(app.allowed.hosts.clone())
            .with_allowed_origins(app.allowed.origins.clone())
            .enforce_origin_validation()
            .with_json_response(true)
            .with_max_request_body_bytes(limits.max_body_bytes)
            .with_cancellation_token(app.drained.clone());
        let server = Server::over_http(app.clone());
        let service = StreamableHttpService::new(move || Ok(server.clone()), sessions.clone(), config);
        Self { service, sessions }
    }

    /// Answers one request of this principal.
    pub(crate) async fn answer(&self, app: &App, principal: &Principal, request: Request) -> Answer {
        self.check_session(principal, &request)?;
        let streams = request.method() == Method::GET;
        let request = self.prepared(app, request).await?;
        if streams {
            return self.stream(app, request).await;
        }
        Ok(self.service.handle(request).await.map(Body::new))
    }

    /// A session is there for who opened it. For anybody else there is none of this id.
    fn check_session(&self, principal: &Principal, request: &Request) -> Answer<()> {
        let Some(id) = request.headers().get(SESSION) else { return Ok(()) };
        if id.to_str().is_ok_and(|id| self.sessions.is_of(id, &Owner::of(principal))) {
            return Ok(());
        }
        let error = Error::new(Code::RequestNotFound, "there is no such session");
        Err(error.with_remedy("initialize again, with the same token").into())
    }

    /// The request with its body read within the limits, and without what nobody else needs to see.
    async fn prepared(&self, app: &App, request: Request) -> Answer<Request<Full<Bytes>>> {
        let has_body = request.method() == Method::POST;
        let opens = has_body && !request.headers().contains_key(SESSION) && self.sessions.are_full();
        let (mut parts, body) = request.into_parts();
        let body = if has_body {
            extract::refuse_other_than_json(&parts.headers)?;
            extract::read(&parts.headers, body, app).await?
        } else {
            Bytes::new()
        };
        if opens && method(&body).is_some_and(|method| method == "initialize") {
            let message = format!("{} sessions are open, which is the limit", app.limits.mcp_sessions);
            return Err(Error::new(Code::RequestOverloaded, message).into());
        }
        parts.headers.remove(header::AUTHORIZATION);
        parts.extensions.insert(tracing::Span::current());
        Ok(Request::from_parts(parts, Full::new(body)))
    }

    /// An event stream, which takes a place among those of runs, and ends like them.
    async fn stream(&self, app: &App, request: Request<Full<Bytes>>) -> Answer {
        let Ok(room) = app.streams.clone().try_acquire_owned() else {
            let limit = app.limits.event_streams;
            let message = format!("{limit} event streams are open, which is the limit");
            return Err(Error::new(Code::RequestOverloaded, message).into());
        };
        let response: Response = self.service.handle(request).await.map(Body::new);
        let open = Open::new(app.clone());
        let (stopping, limit) = (app.stopping.clone(), Duration::from_secs(app.limits.event_stream_seconds));
        let end = async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = tokio::time::sleep(limit) => {}
            }
        };
        Ok(response.map(|body| {
            let kept = body.into_data_stream().take_until(Box::pin(end)).map(move |data| {
                let _held = (&room, &open);
                data
            });
            Body::from_stream(kept)
        }))
    }
}

/// Counts an open event stream.
struct Open(App);

impl Open {
    fn new(app: App) -> Self {
        app.metrics.streams.fetch_add(1, Ordering::Relaxed);
        Self(app)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The method of a JSON-RPC message.
fn method(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Message {
        method: String,
    }
    serde_json::from_slice::<Message>(body).ok().map(|message| message.method)
}

//! Streamable HTTP: from an authenticated request to `rmcp` and back.

use super::Server;
use super::sessions::{Owner, SESSION, Sessions};
use crate::http::App;
use crate::http::extract;
use crate::http::problem::Answer;
use astradesk_core::{Code, Error, Principal};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::Full;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a client sends to be told of changes.
const LISTEN: &str = "subscriptions/listen";

/// Marks the answer that is an event stream: it does not count as a request that is being worked on.
#[derive(Clone)]
pub(crate) struct EventStream;

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
        let sessions = Arc::new(Sessions::new(app.engine.clone(), limits.mcp_sessions, idle));
        let config = StreamableHttpServerConfig::default()
            .with_allowed_hosts(app.allowed.hosts.clone())
            .with_allowed_origins(app.allowed.origins.clone())
            .enforce_origin_validation()
            .with_json_response(true)
            .with_max_request_body_bytes(limits.max_body_bytes)
            .with_cancellation_token(app.drained.clone());
        let server = Server::over_http(app.clone(), sessions.clone());
        let service = StreamableHttpService::new(move || Ok(server.clone()), sessions.clone(), config);
        Self { service, sessions }
    }

    /// Answers one request of this principal.
    pub(crate) async fn answer(&self, app: &App, principal: &Principal, request: Request) -> Answer {
        self.check_session(principal, &request)?;
        let (request, listens) = self.prepared(app, request).await?;
        if listens {
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

    /// The request with its body read within the limits, and without what nobody else needs to see; and whether it
    /// listens: to a session, or to changes.
    async fn prepared(&self, app: &App, request: Request) -> Answer<(Request<Full<Bytes>>, bool)> {
        let has_body = request.method() == Method::POST;
        let listens_to_session = request.method() == Method::GET;
        let is_within = request.headers().contains_key(SESSION);
        let (mut parts, body) = request.into_parts();
        let body = if has_body {
            extract::refuse_other_than_json(&parts.headers)?;
            extract::read(&parts.headers, body, app).await?
        } else {
            Bytes::new()
        };
        let method = method(&body);
        let is = |name: &str| method.as_deref() == Some(name);
        if is("initialize") && !is_within && self.sessions.are_full() {
            let message = format!("{} sessions are open, which is the limit", app.limits.mcp_sessions);
            return Err(Error::new(Code::RequestOverloaded, message).into());
        }
        parts.headers.remove(header::AUTHORIZATION);
        parts.extensions.insert(tracing::Span::current());
        Ok((Request::from_parts(parts, Full::new(body)), listens_to_session || is(LISTEN)))
    }

    /// An event stream, which takes a place among those of runs, and ends like them.
    async fn stream(&self, app: &App, request: Request<Full<Bytes>>) -> Answer {
        let listens_to_session = request.method() == Method::GET;
        let Ok(room) = app.streams.clone().try_acquire_owned() else {
            let limit = app.limits.event_streams;
            let message = format!("{limit} event streams are open, which is the limit");
            return Err(Error::new(Code::RequestOverloaded, message).into());
        };
        let response: Response = self.service.handle(request).await.map(Body::new);
        let open = Open::new(app.clone());
        // A subscription ends by itself then, with a last message.
        let (app, ends) = (app.clone(), listens_to_session);
        let end = async move {
            app.until_streams_end().await;
            if !ends {
                std::future::pending::<()>().await;
            }
        };
        let mut response = response.map(|body| {
            let kept = body.into_data_stream().take_until(Box::pin(end)).map(move |data| {
                let _held = (&room, &open);
                data
            });
            Body::from_stream(kept)
        });
        response.extensions_mut().insert(EventStream);
        Ok(response)
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

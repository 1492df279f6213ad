//! The first and last thing that a request meets.

use super::App;
use super::problem::Problem;
use super::trace;
use crate::mcp::http::EventStream;
use astradesk_core::{Code, Error};
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use tracing::Instrument as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken from a client.
const MAX_REQUEST_ID: usize = 64;

/// Gives the request an id and a span, holds it to the limits, and writes problems on the way back.
pub(crate) async fn edge(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map(MatchedPath::as_str);
    let id = request_id(&request).unwrap_or_else(|| app.request_ids.next());
    let span = tracing::info_span!(
        "request",
        method = method.as_str(),
        route,
        request_id = id.as_str(),
        subject = tracing::field::Empty,
        run = tracing::field::Empty,
        trace = trace::id(request.headers()),
    );

    let work = AssertUnwindSafe(admitted(&app, &method, route, request, next)).catch_unwind();
    let mut response = work.instrument(span.clone()).await.unwrap_or_else(|panic| {
        let text =
            panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        Problem::from(Error::internal(format!("panic: {}", text.unwrap_or("?")))).into_response()
    });

    let _entered = span.enter();
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        app.metrics.refused(problem.code());
        problem.render(&mut response, &id);
    }
    finish(&mut response, &id);
    let elapsed = started.elapsed();
    app.metrics.answered(route, &method, response.status(), elapsed);
    let (status, micros) = (response.status().as_u16(), elapsed.as_micros() as u64);
    match response.status() {
        status_code if status_code.is_server_error() => tracing::warn!(status, micros, "answered"),
        StatusCode::OK => tracing::debug!(status, micros, "answered"),
        _ => tracing::info!(status, micros, "answered"),
    }
    response
}

/// Runs the rest of the gateway, if there is room, and for as long as it may take.
async fn admitted(app: &App, method: &Method, route: Option<&str>, request: Request, next: Next) -> Response {
    // Probes must be answered just when there is too much to do.
    if matches!(route, Some("/healthz" | "/readyz" | "/metrics")) {
        return next.run(request).await;
    }
    let Ok(room) = app.requests.clone().try_acquire_owned() else {
        let limit = app.limits.concurrent_requests;
        let message = format!("{limit} requests are being worked on, which is the limit");
        return Problem::from(Error::new(Code::RequestOverloaded, message)).into_response();
    };
    // A request for a run is bounded by the Engine: by the time limits of its tools, and by its wait.
    if *method == Method::POST && matches!(route, Some("/v1/run" | "/v1/tools/{tool}/runs")) {
        return next.run(request).await;
    }
    // So is an agent's call, whose answer may come as a stream: it counts for as long as it lasts, unless it counts among
    // the event streams.
    if *method == Method::POST && route == Some("/mcp") {
        let response = next.run(request).await;
        if response.extensions().get::<EventStream>().is_some() {
            return response;
        }
        return response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _held = &room;
                frame
            }))
        });
    }
    if let Ok(response) = tokio::time::timeout(app.limits.request_timeout(), next.run(request)).await {
        return response;
    }
    let message = format!("there was no answer within {} s", app.limits.request_seconds);
    Problem::from(Error::new(Code::StoreUnavailable, message)).into_response()
}

fn finish(response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The client's own id for the request, if it is safe to repeat.
fn request_id(request: &Request) -> Option<String> {
    let text = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let safe = (1..=MAX_REQUEST_ID).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    safe.then(|| text.to_owned())
}

/// No route has the path.
pub(crate) async fn not_found() -> Problem {
    Error::new(Code::RequestNotFound, "there is no such path").into()
}

/// The route has another method.
pub(crate) async fn method_not_allowed() -> Problem {
    Error::new(Code::RequestMethodNotAllowed, "the path does not speak this method").into()
}

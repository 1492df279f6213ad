//! `/healthz`, `/readyz`, `/metrics`, `/openapi.json`: for machines, without a token.

use crate::http::App;
use crate::http::problem::{Answer, Problem};
use astradesk_core::{Code, Error};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

/// That the process lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`.
    status: &'static str,
    /// The version.
    version: &'static str,
}

/// Whether requests can be taken.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ready`.
    status: &'static str,
    /// Each check.
    checks: Vec<Check>,
}

/// One thing that is needed.
#[derive(Serialize, ToSchema)]
pub(super) struct Check {
    /// What.
    name: &'static str,
    /// Whether it is sound.
    ok: bool,
    /// How it is.
    detail: String,
}

/// Is the process alive
#[utoipa::path(
    get, path = "/healthz", tag = "probes", operation_id = "healthz",
    responses((status = 200, description = "The process lives", body = Health)),
)]
pub(super) async fn healthz() -> axum::Json<Health> {
    axum::Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Can requests be taken
#[utoipa::path(
    get, path = "/readyz", tag = "probes", operation_id = "readyz",
    responses(
        (status = 200, description = "Requests can be taken; a check that failed has its code", body = Ready),
        (status = 503, description = "They cannot; the problem has each check"),
    ),
)]
pub(super) async fn readyz(State(app): State<App>) -> Answer<axum::Json<Ready>> {
    let engine = app.pulse().await.checks;
    let stopping = app.stopping.is_cancelled();
    let mut checks = vec![Check {
        name: "gateway",
        ok: !stopping,
        detail: if stopping { "is stopping" } else { "takes requests" }.into(),
    }];
    checks.extend(engine.iter().map(|(name, said)| Check {
        name,
        ok: said.is_ok(),
        detail: said.as_ref().err().map_or_else(|| sound(name).to_owned(), |error| failed(name, error.code)),
    }));
    let issuers = app.auth.health();
    // Keys are fetched when they are needed: an issuer that is down does not make the gateway unready.
    checks.push(Check {
        name: "issuers",
        ok: issuers.with_keys > 0,
        detail: format!("the keys of {} of {} are at hand", issuers.with_keys, issuers.issuers),
    });
    // With the policies of before, requests can be taken all the same.
    let wrong = engine.into_iter().find_map(|(name, said)| {
        let code = said.err()?.code;
        (code != Code::PolicySetInvalid).then(|| Error::new(code, format!("{name}: {}", failed(name, code))))
    });
    let wrong = if stopping {
        Some(
            Error::new(Code::StoreUnavailable, "the gateway is stopping")
                .with_remedy("ask again when it is up again"),
        )
    } else {
        wrong
    };
    match wrong {
        Some(error) => Err(Problem::with_member(error, "checks", json!(checks))),
        None => Ok(axum::Json(Ready { status: "ready", checks })),
    }
}

/// How a check of the Engine is when nothing is wrong with it.
fn sound(name: &str) -> &'static str {
    match name {
        "store" => "can write",
        "clock" => "is steady",
        "policy" => "is in force as it is written",
        _ => "is sound",
    }
}

/// The code, and who says more: not a probe, which comes without a token.
fn failed(name: &str, code: Code) -> String {
    let log = "the gateway's log says why";
    if name == "policy" {
        format!("`{code}`; {log}, and so does `GET /v1/policy`")
    } else {
        format!("`{code}`; {log}")
    }
}

/// Metrics for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "probes", operation_id = "metrics",
    responses((status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain")),
)]
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    let (pulse, stats) = (app.pulse().await, app.engine.stats());
    ([(header::CONTENT_TYPE, kind)], app.metrics.render(&pulse, stats, &app.webhooks)).into_response()
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "probes", operation_id = "openapi",
    responses((status = 200, description = "The OpenAPI document", body = Object)),
)]
pub(super) async fn openapi(State(app): State<App>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], app.document.clone()).into_response()
}

//! `/v1/policy` and `/v1/runs/{id}/explanation`: what is in force, what it would say, and why it said what it
//! said.

use super::wire;
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::extract::{Id, Json};
use crate::http::problem::Answer;
use astradesk_core::{Code, Error};
use astradesk_runtime::case::{Case, CaseOutcome};
use astradesk_runtime::port::Explanation;
use axum::extract::State;
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most cases of one request.
const MAX_CASES: usize = 1000;

/// Cases for the policies in force.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(example = json!({"cases": [{
    "name": "an sre restarts a service",
    "principal": {"subject": "ada", "roles": ["sre"]},
    "call": {"tool": "restart_service", "arguments": {"service": "webapp"},
             "targets": ["kubernetes/prod/default/deployment/webapp"]},
    "expect": {"decision": "permit"},
}]}))]
pub(super) struct Cases {
    /// The cases.
    #[schema(value_type = Vec<wire::Case>, max_items = 1000)]
    cases: Vec<Case>,
}

/// What came of the cases.
#[derive(Serialize, ToSchema)]
pub(super) struct Outcomes {
    /// One for each case, in their order.
    #[schema(value_type = Vec<wire::CaseOutcome>)]
    outcomes: Vec<CaseOutcome>,
    /// How many did not come out as they should.
    failed: usize,
}

/// Why policy decides as it does.
#[derive(Serialize, ToSchema)]
pub(super) struct Explanations {
    /// One for each step, in their order.
    #[schema(value_type = Vec<wire::Explanation>)]
    steps: Vec<Explanation>,
}

/// Show the policies in force
#[utoipa::path(
    get, path = "/v1/policy", tag = "policy", operation_id = "show_policy",
    responses(
        (status = 200, description = "What is in force, and what is wrong with it", body = wire::PolicyStatus),
        (status = 403, description = "Who asks may not read the evidence, which tells as much"),
    ),
)]
pub(super) async fn status(State(app): State<App>, Caller(principal): Caller) -> Answer {
    Ok(axum::Json(app.engine.policy(&principal)?).into_response())
}

/// Ask the policies in force about cases
#[utoipa::path(
    post, path = "/v1/policy/test", tag = "policy", operation_id = "test_policy", request_body = Cases,
    responses(
        (status = 200, description = "What policy says to each case, and whether it should", body = Outcomes),
        (status = 403, description = "Who asks may not read the evidence, which tells as much"),
    ),
)]
pub(super) async fn test(
    State(app): State<App>,
    Caller(principal): Caller,
    Json(Cases { cases }): Json<Cases>,
) -> Answer {
    if cases.len() > MAX_CASES {
        let message = format!("there are {} cases, and {MAX_CASES} is the limit", cases.len());
        return Err(Error::new(Code::RequestMalformed, message).into());
    }
    let engine = app.engine.clone();
    // Many cases of many policies take a while.
    let testing = tokio::task::spawn_blocking(move || engine.test_policy(&principal, &cases));
    let outcomes = testing.await.map_err(|error| Error::internal(format!("testing: {error}")))??;
    let failed = outcomes.iter().filter(|outcome| outcome.passed == Some(false)).count();
    Ok(axum::Json(Outcomes { outcomes, failed }).into_response())
}

/// Explain what policy says of a run
///
/// Of each step, now: the decision, the policies that take part in it, and what would change it.
#[utoipa::path(
    get, path = "/v1/runs/{id}/explanation", tag = "policy", operation_id = "explain_run",
    params(("id" = String, Path, description = "The run's id", format = "uuid")),
    responses(
        (status = 200, description = "The explanations", body = Explanations),
        (status = 404, description = "There is no such run, or it may not be seen by who asks"),
        (status = 502, description = "What policy asks about cannot be found out"),
    ),
)]
pub(super) async fn explain(State(app): State<App>, Caller(principal): Caller, Id(id): Id) -> Answer {
    let steps = app.engine.explain_run(&principal, id).await?;
    Ok(axum::Json(Explanations { steps }).into_response())
}

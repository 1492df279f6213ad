//! `/v1/audit`: the evidence, as it can be verified.

use super::wire;
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::extract::{Query, page_size, place};
use crate::http::problem::Answer;
use astradesk_core::Error;
use astradesk_core::canonical::Digest;
use axum::extract::State;
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Which records are wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Only records after this place. Default: 0.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_223_372_036_854_775_807_u64)]
    after: Option<String>,
    /// At most so many. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Records in order.
#[derive(Serialize, ToSchema)]
pub(super) struct Records {
    /// The records.
    records: Vec<Record>,
}

/// A record of the chain.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names are those of the wire")]
pub(super) struct Record {
    /// Its place.
    seq: u64,
    /// SHA-256 of `body`.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    hash: Digest,
    /// The record, to be read.
    #[schema(value_type = Object)]
    record: Box<RawValue>,
    /// The record, to be verified: the exact text that is hashed.
    body: String,
}

/// List the evidence
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", operation_id = "list_evidence", params(AuditQuery),
    responses(
        (status = 200, description = "The records, in order", body = Records),
        (status = 403, description = "Who asks may not read the evidence"),
    ),
)]
pub(super) async fn list(
    State(app): State<App>,
    Caller(principal): Caller,
    Query(query): Query<AuditQuery>,
) -> Answer {
    let after = query.after.map_or(Ok(0), |after| place(&after, "after"))?;
    let records = app.engine.evidence(&principal, after, page_size(query.limit)?).await?;
    let records = records.into_iter().map(|record| {
        let parsed = RawValue::from_string(record.body.clone())
            .map_err(|error| Error::internal(format!("record {} is not JSON: {error}", record.seq)))?;
        Ok(Record { seq: record.seq, hash: record.hash, record: parsed, body: record.body })
    });
    let records = records.collect::<Result<_, Error>>()?;
    Ok(axum::Json(Records { records }).into_response())
}

/// Sign the end of the evidence
#[utoipa::path(
    get, path = "/v1/audit/checkpoint", tag = "audit", operation_id = "checkpoint",
    responses(
        (status = 200, description = "A signed statement on the end of the chain, now", body = wire::Checkpoint),
        (status = 403, description = "Who asks may not read the evidence"),
    ),
)]
pub(super) async fn checkpoint(State(app): State<App>, Caller(principal): Caller) -> Answer {
    Ok(axum::Json(app.engine.checkpoint(&principal).await?).into_response())
}

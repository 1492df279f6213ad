//! `/v1/audit`: the evidence, as it can be verified.

use super::wire;
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::extract::{Query, page_size, place};
use crate::http::problem::{Answer, Problem, shown};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Kind;
use astradesk_core::{Code, Error, RunId, Timestamp};
use astradesk_runtime::evidence::Checkpoint;
use astradesk_runtime::port::EvidenceFilter;
use axum::extract::State;
use axum::response::IntoResponse as _;
use serde::de::value::StrDeserializer;
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
    /// Only records of this run.
    #[param(format = "uuid")]
    run: Option<String>,
    /// Only records of this kind, or of these kinds with commas between.
    #[param(pattern = r"^[a-z]+\.[a-z_]+(,[a-z]+\.[a-z_]+)*$", example = "approval.given,approval.rejected")]
    kind: Option<String>,
    /// Only records from this time on.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Only records before this time.
    #[param(format = DateTime)]
    until: Option<String>,
    /// At most so many. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Records in order.
#[derive(Serialize, ToSchema)]
pub(super) struct Records {
    /// The records.
    records: Vec<Record>,
    /// The signed note of the last record that was removed, if records after `after` were: the chain begins there.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<String>,
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
///
/// A filter leaves records out: only without one is the answer a chain.
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
    let filter = filter(query)?;
    let records = app.engine.evidence(&principal, &filter).await?;
    let cut = app.engine.evidence_cut(&principal).await?.filter(|cut| cut.head.seq > filter.after);
    let records = records.into_iter().map(|record| {
        let parsed = RawValue::from_string(record.body.clone())
            .map_err(|error| Error::internal(format!("record {} is not JSON: {error}", record.seq)))?;
        Ok(Record { seq: record.seq, hash: record.hash, record: parsed, body: record.body })
    });
    let records = records.collect::<Result<_, Error>>()?;
    Ok(axum::Json(Records { records, cut: cut.map(|cut| cut.checkpoint) }).into_response())
}

fn filter(query: AuditQuery) -> Result<EvidenceFilter, Problem> {
    let malformed = |name: &str, value: &str, what: &str| {
        Error::new(Code::RequestMalformed, format!("`{name}` is `{}`, not {what}", shown(value)))
    };
    let run = query.run.map(|run| RunId::parse(&run).ok_or_else(|| malformed("run", &run, "a run's id")));
    let kinds = query.kind.iter().flat_map(|kinds| kinds.split(',')).map(|kind| {
        let known = Kind::deserialize(StrDeserializer::<serde::de::value::Error>::new(kind));
        known.map(|_| kind.to_owned()).map_err(|_| malformed("kind", kind, "a kind of record"))
    });
    let time = |name: &str, value: Option<String>| {
        let time = value.map(|value| {
            value
                .parse::<Timestamp>()
                .map_err(|_| malformed(name, &value, "a time such as `2026-11-23T08:00:00Z`"))
        });
        time.transpose()
    };
    Ok(EvidenceFilter {
        after: query.after.map_or(Ok(0), |after| place(&after, "after"))?,
        up_to: None,
        run: run.transpose()?,
        kinds: kinds.collect::<Result<_, _>>()?,
        since: time("since", query.since)?,
        until: time("until", query.until)?,
        limit: page_size(query.limit)?,
    })
}

/// Which checkpoints are wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CheckpointQuery {
    /// Only those of records after this place. Default: 0.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_223_372_036_854_775_807_u64)]
    after: Option<String>,
    /// At most so many. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Checkpoints in order.
#[derive(Serialize, ToSchema)]
pub(super) struct Checkpoints {
    /// The checkpoints.
    #[schema(value_type = Vec<wire::Checkpoint>)]
    checkpoints: Vec<Checkpoint>,
}

/// List the checkpoints that were kept
#[utoipa::path(
    get, path = "/v1/audit/checkpoints", tag = "audit", operation_id = "list_checkpoints", params(CheckpointQuery),
    responses(
        (status = 200, description = "The signed statements, in the order of their records", body = Checkpoints),
        (status = 403, description = "Who asks may not read the evidence"),
    ),
)]
pub(super) async fn checkpoints(
    State(app): State<App>,
    Caller(principal): Caller,
    Query(query): Query<CheckpointQuery>,
) -> Answer {
    let after = query.after.map_or(Ok(0), |after| place(&after, "after"))?;
    let checkpoints = app.engine.kept_checkpoints(&principal, after, page_size(query.limit)?).await?;
    Ok(axum::Json(Checkpoints { checkpoints }).into_response())
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

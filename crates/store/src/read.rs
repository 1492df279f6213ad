//! Everything that only reads.

use crate::error::{unavailable, unreadable};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Head;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result, Run, RunId, Timestamp};
use astradesk_runtime::port::{RunEvent, RunFilter, RunPage};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, QueryBuilder, Row, Sqlite, SqlitePool, Type};

/// The runs that await approval, found by the index `runs_by_state`.
pub(crate) const AWAITING: &str =
    "SELECT id, body FROM runs WHERE state = 'awaiting_approval' AND id > ? ORDER BY id LIMIT ?";

/// The run.
pub(crate) async fn run(pool: &SqlitePool, id: RunId) -> Result<Option<Run>> {
    let row = sqlx::query("SELECT id, body FROM runs WHERE id = ?").bind(id.to_string());
    row.fetch_optional(pool).await.map_err(refused)?.as_ref().map(run_of).transpose()
}

/// Runs, newest first.
pub(crate) async fn runs(pool: &SqlitePool, filter: &RunFilter) -> Result<RunPage> {
    if filter.limit == 0 {
        return Ok(RunPage { runs: Vec::new(), next: None });
    }
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT id, body FROM runs WHERE 1 = 1");
    if let Some(principal) = &filter.principal {
        sql.push(" AND principal = ").push_bind(principal.clone());
    }
    if let Some(state) = &filter.state {
        sql.push(" AND state = ").push_bind(state.clone());
    }
    if let Some(tool) = &filter.tool {
        sql.push(" AND (tool = ").push_bind(tool.to_string());
        sql.push(" OR id IN (SELECT run FROM run_tools WHERE tool = ").push_bind(tool.to_string()).push("))");
    }
    if let Some(before) = filter.before {
        sql.push(" AND id < ").push_bind(before.to_string());
    }
    // One more than wanted tells whether there is another page.
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(filter.limit) + 1);
    let rows = sql.build().fetch_all(pool).await.map_err(refused)?;

    let wanted = filter.limit as usize;
    let runs: Vec<Run> = rows.iter().take(wanted).map(run_of).collect::<Result<_>>()?;
    let next = if rows.len() > wanted { runs.last().map(|run| run.id) } else { None };
    Ok(RunPage { runs, next })
}

/// The events of a run after number `after`.
pub(crate) async fn events(pool: &SqlitePool, run: RunId, after: u64, limit: u32) -> Result<Vec<RunEvent>> {
    let rows =
        sqlx::query("SELECT seq, at, kind, data FROM events WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?");
    let rows = rows.bind(run.to_string()).bind(number(after)).bind(limit).fetch_all(pool).await;
    rows.map_err(refused)?.iter().map(event_of).collect()
}

/// What an idempotency key stands for at `now`.
pub(crate) async fn idempotency(
    pool: &SqlitePool,
    principal: &str,
    key: &str,
    now: Timestamp,
) -> Result<Option<(RunId, Digest)>> {
    const SELECT: &str =
        "SELECT run, request FROM idempotency WHERE principal = ? AND key = ? AND expires_at > ?";
    let row = sqlx::query(SELECT).bind(principal.to_owned()).bind(key.to_owned()).bind(now.as_microsecond());
    let Some(row) = row.fetch_optional(pool).await.map_err(refused)? else { return Ok(None) };
    let run = RunId::parse(&column::<String>(&row, "run")?).ok_or_else(|| unreadable("the id of a run"))?;
    let request = Digest::parse(&column::<String>(&row, "request")?);
    Ok(Some((run, request.ok_or_else(|| unreadable("the digest of a request"))?)))
}

/// The runs that await approval, oldest first, after this one.
pub(crate) async fn awaiting(pool: &SqlitePool, after: Option<RunId>, limit: u32) -> Result<Vec<Run>> {
    let after = after.map_or_else(String::new, |after| after.to_string());
    let rows = sqlx::query(AWAITING).bind(after).bind(i64::from(limit)).fetch_all(pool).await;
    rows.map_err(refused)?.iter().map(run_of).collect()
}

/// The place and hash of a row of `evidence`.
pub(crate) fn head(row: &SqliteRow) -> Result<Head> {
    let seq = column::<i64>(row, "seq")? as u64;
    Ok(Head { seq, hash: hash(seq, text(row, seq, "hash")?)? })
}

/// The text in this column of a row about record `seq`.
pub(crate) fn text<'r>(row: &'r SqliteRow, seq: u64, name: &str) -> Result<&'r str> {
    row.try_get(name).map_err(|_| {
        let what = if name == "note" { "checkpoint" } else { name };
        Error::new(Code::EvidenceBroken, format!("record {seq}: its {what} is not text in UTF-8"))
            .with_detail("seq", seq)
    })
}

/// The hash of record `seq`.
pub(crate) fn hash(seq: u64, text: &str) -> Result<Digest> {
    Digest::parse(text).ok_or_else(|| {
        Error::new(Code::EvidenceBroken, format!("record {seq}: its hash is not a SHA-256"))
            .with_detail("seq", seq)
    })
}

/// The run in a row with its `id` and `body`.
pub(crate) fn run_of(row: &SqliteRow) -> Result<Run> {
    serde_json::from_str(&column::<String>(row, "body")?).map_err(|_| match column::<String>(row, "id") {
        Ok(id) => unreadable(&format!("run `{}`", shown(&id, 64))),
        Err(error) => error,
    })
}

fn event_of(row: &SqliteRow) -> Result<RunEvent> {
    let at = Timestamp::from_microsecond(column(row, "at")?).map_err(|_| unreadable("an event"))?;
    let data = serde_json::from_str(&column::<String>(row, "data")?).map_err(|_| unreadable("an event"))?;
    Ok(RunEvent { seq: column::<i64>(row, "seq")? as u64, at, kind: column(row, "kind")?, data })
}

/// A place in a sequence; no sequence gets beyond the largest number that the database knows.
pub(crate) fn number(after: u64) -> i64 {
    i64::try_from(after).unwrap_or(i64::MAX)
}

pub(crate) fn column<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(row: &'r SqliteRow, name: &str) -> Result<T> {
    row.try_get(name).map_err(refused)
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to `map_err`")]
pub(crate) fn refused(error: sqlx::Error) -> Error {
    unavailable("read the store", &error)
}

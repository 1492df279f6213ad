//! The chain as it is searched: records, checkpoints, and where it begins.

use crate::read::{self, column, number, refused};
use crate::span::{SPAN, bits};
use astradesk_core::Result;
use astradesk_core::evidence::{Head, Record};
use astradesk_runtime::port::{Cut, EvidenceFilter};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqliteExecutor};

/// Where the records begin that count; what is before it is about to be removed.
pub(crate) const BEGIN: &str = "(SELECT COALESCE(MAX(seq), 0) FROM cut)";

pub(crate) const CUT: &str = "SELECT seq, hash, note FROM cut WHERE id = 1";

/// The end of the chain: its last record, or where it was cut if nothing is behind that.
pub(crate) const LAST: &str = "SELECT seq, hash FROM (SELECT seq, hash FROM evidence ORDER BY seq DESC LIMIT 1) AS newest \
     UNION ALL SELECT seq, hash FROM cut ORDER BY seq DESC LIMIT 1";

/// The records that `filter` wants, in order.
pub(crate) async fn records(db: impl SqliteExecutor<'_>, filter: &EvidenceFilter) -> Result<Vec<Record>> {
    let rows = search(filter).build().fetch_all(db).await.map_err(refused)?;
    rows.iter().map(record).collect()
}

/// Those of a run are found by their index. Those of some kinds or times are found by the spans that may hold
/// any, one span after the other, until there are enough.
pub(crate) fn search(filter: &EvidenceFilter) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("SELECT evidence.seq, evidence.hash, evidence.body FROM ");
    let some = !filter.kinds.is_empty() || filter.since.is_some() || filter.until.is_some();
    let by_span = some && filter.run.is_none();
    if by_span {
        // `CROSS` says which of the two is looked at first.
        sql.push("spans CROSS JOIN evidence WHERE evidence.seq >= spans.span * ").push(SPAN);
        sql.push(" AND evidence.seq < (spans.span + 1) * ").push(SPAN);
        push_spans(&mut sql, filter);
        sql.push(" AND ");
    } else {
        sql.push("evidence WHERE ");
    }
    // In a span, its ends are what to search by: so written, these are only compared.
    let seq = if by_span { "evidence.seq + 0" } else { "evidence.seq" };
    sql.push(seq).push(" > ").push_bind(number(filter.after)).push(" AND ").push(seq).push(" > ").push(BEGIN);
    if let Some(last) = filter.up_to {
        sql.push(" AND ").push(seq).push(" <= ").push_bind(number(last));
    }
    if let Some(run) = filter.run {
        sql.push(" AND evidence.run = ").push_bind(run.to_string());
    }
    if let Some(since) = filter.since {
        sql.push(" AND evidence.at >= ").push_bind(since.as_microsecond());
    }
    if let Some(until) = filter.until {
        sql.push(" AND evidence.at < ").push_bind(until.as_microsecond());
    }
    if !filter.kinds.is_empty() {
        sql.push(" AND evidence.kind IN (");
        let mut list = sql.separated(", ");
        for kind in &filter.kinds {
            list.push_bind(kind.clone());
        }
        sql.push(")");
    }
    sql.push(if by_span { " ORDER BY spans.span, evidence.seq" } else { " ORDER BY evidence.seq" });
    sql.push(" LIMIT ").push_bind(i64::from(filter.limit));
    sql
}

/// Leaves out the spans in which there is nothing that `filter` wants.
fn push_spans(sql: &mut QueryBuilder<Sqlite>, filter: &EvidenceFilter) {
    sql.push(" AND spans.span >= ").push_bind(number(filter.after) / SPAN);
    if let Some(last) = filter.up_to {
        sql.push(" AND spans.span <= ").push_bind(number(last) / SPAN);
    }
    if let Some(since) = filter.since {
        sql.push(" AND spans.last_at >= ").push_bind(since.as_microsecond());
    }
    if let Some(until) = filter.until {
        sql.push(" AND spans.first_at < ").push_bind(until.as_microsecond());
    }
    if !filter.kinds.is_empty() {
        sql.push(" AND (spans.kinds & ").push_bind(bits(&filter.kinds)).push(") <> 0");
    }
}

/// The end of the chain.
pub(crate) async fn last(db: impl SqliteExecutor<'_>) -> Result<Head> {
    let row = sqlx::query(LAST).fetch_optional(db).await.map_err(refused)?;
    row.as_ref().map_or(Ok(Head::EMPTY), read::head)
}

/// Where the chain begins, if old records were removed.
pub(crate) async fn cut(db: impl SqliteExecutor<'_>) -> Result<Option<Cut>> {
    let row = sqlx::query(CUT).fetch_optional(db).await.map_err(refused)?;
    let cut = |row: &SqliteRow| {
        let head = read::head(row)?;
        Ok(Cut { head, checkpoint: read::text(row, head.seq, "note")?.to_owned() })
    };
    row.as_ref().map(cut).transpose()
}

/// The checkpoints of records after number `after` that were not removed, in order.
pub(crate) async fn checkpoints(db: impl SqliteExecutor<'_>, after: u64, limit: u32) -> Result<Vec<String>> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT seq, note FROM checkpoints WHERE seq > ");
    sql.push_bind(number(after)).push(" AND seq >= ").push(BEGIN).push(" ORDER BY seq LIMIT ");
    sql.push_bind(i64::from(limit));
    let rows = sql.build().fetch_all(db).await.map_err(refused)?;
    let note = |row| Ok(read::text(row, column::<i64>(row, "seq")? as u64, "note")?.to_owned());
    rows.iter().map(note).collect()
}

fn record(row: &SqliteRow) -> Result<Record> {
    let Head { seq, hash } = read::head(row)?;
    Ok(Record { seq, hash, body: read::text(row, seq, "body")?.to_owned() })
}

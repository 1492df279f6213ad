//! What is removed when it is old, in steps that no other change waits for long.

use crate::error::unavailable;
use crate::evidence::{self, CUT};
use crate::read::{self, column, refused};
use astradesk_core::{Code, Error, Result, Timestamp};
use astradesk_runtime::port::Cut;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

/// The most records that one step removes.
const RECORDS: i64 = 500;
/// The most runs that one step removes.
pub(crate) const RUNS: usize = 50;

/// Runs that ended before a time, by which no key names them any more either.
pub(crate) const ENDED: &str = "SELECT id FROM runs WHERE id < ?1 AND finished = 1 AND updated_at < ?2 \
     AND NOT EXISTS (SELECT 1 FROM idempotency WHERE idempotency.run = runs.id AND expires_at > ?2) \
     ORDER BY id LIMIT ?3";

/// Remembers where the chain begins from now on: the first step of a removal. From here on, what is before it
/// does not count any more, whether the other steps follow or not.
///
/// Nothing is changed by a cut before the one that there is.
pub(crate) async fn begin(connection: &mut SqliteConnection, cut: &Cut) -> Result<u64> {
    const KEEP: &str = "INSERT INTO cut (id, seq, hash, note) VALUES (1, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET \
                        seq = excluded.seq, hash = excluded.hash, note = excluded.note";
    let seq = cut.head.seq;
    let broken = |what: &str| {
        let message = format!("record {seq} {what}, so nothing was removed");
        Error::new(Code::EvidenceBroken, message).with_detail("seq", seq)
    };
    let row = sqlx::query(CUT).fetch_optional(&mut *connection).await.map_err(refused)?;
    if let Some(earlier) = row.map(|row| read::head(&row)).transpose()? {
        match seq.cmp(&earlier.seq) {
            std::cmp::Ordering::Less => return Ok(0),
            std::cmp::Ordering::Equal if cut.head == earlier => return Ok(0),
            std::cmp::Ordering::Equal => return Err(broken("was removed already, and had another hash")),
            std::cmp::Ordering::Greater => {}
        }
    }
    let row = sqlx::query("SELECT seq, hash FROM evidence WHERE seq = ?").bind(read::number(seq));
    let row = row.fetch_optional(&mut *connection).await.map_err(refused)?;
    match row.map(|row| read::head(&row)).transpose()? {
        Some(head) if head == cut.head => {}
        Some(_) => return Err(broken("has another hash than the checkpoint says")),
        None => return Err(broken("is not in the chain")),
    }
    let keep = sqlx::query(KEEP).bind(read::number(seq)).bind(cut.head.hash.to_string());
    let kept = keep.bind(cut.checkpoint.clone()).execute(connection).await;
    Ok(kept.map_err(|error| unavailable("write to the store", &error))?.rows_affected())
}

/// Removes some of the records before the cut, oldest first, and gives how many; 0 when there are no more.
pub(crate) async fn records(connection: &mut SqliteConnection) -> Result<u64> {
    let failed = |error| unavailable("write to the store", &error);
    let Some(cut) = evidence::cut(&mut *connection).await? else { return Ok(0) };
    let row =
        sqlx::query("SELECT MIN(seq) FROM evidence").fetch_one(&mut *connection).await.map_err(refused)?;
    let first: Option<i64> = row.try_get(0).map_err(refused)?;
    let cut = read::number(cut.head.seq);
    let last = first.map_or(cut, |first| cut.min(first.saturating_add(RECORDS - 1)));
    let delete = sqlx::query("DELETE FROM evidence WHERE seq <= ?").bind(last);
    let removed = delete.execute(&mut *connection).await.map_err(failed)?.rows_affected();
    let delete = sqlx::query("DELETE FROM checkpoints WHERE seq <= ? AND seq < ?").bind(last).bind(cut);
    delete.execute(&mut *connection).await.map_err(failed)?;
    let delete = sqlx::query("DELETE FROM spans WHERE span < ?").bind((last + 1) / crate::span::SPAN);
    delete.execute(connection).await.map_err(failed)?;
    Ok(removed)
}

/// The runs that ended before this time, at most `limit`, oldest first. One whose key had not expired by then
/// stays: a request that is repeated finds it.
///
/// No index is kept for it: ids sort by the time they were made, and nothing ends before it is made. So what
/// is looked at and left are the few that were made before that time and ended after it, or have not ended.
pub(crate) async fn ended(pool: &SqlitePool, before: Timestamp, limit: u32) -> Result<Vec<String>> {
    let made_before = (u128::try_from(before.as_millisecond()).unwrap_or(0) + 1) << 80;
    let rows =
        sqlx::query(ENDED).bind(Uuid::from_u128(made_before).to_string()).bind(before.as_microsecond());
    let rows = rows.bind(i64::from(limit)).fetch_all(pool).await.map_err(refused)?;
    rows.iter().map(|row| column(row, "id")).collect()
}

/// Removes these runs that have ended, with their events and the keys that name them, and gives how many.
///
/// What they took from allowances stays: it counts until its time is over.
pub(crate) async fn runs(connection: &mut SqliteConnection, ids: &[String]) -> Result<u64> {
    let mut removed = 0;
    for delete in [
        "DELETE FROM run_tools WHERE run IN (",
        "DELETE FROM events WHERE run IN (",
        "DELETE FROM idempotency WHERE run IN (",
        "DELETE FROM runs WHERE finished = 1 AND id IN (",
    ] {
        let mut sql = QueryBuilder::<Sqlite>::new(delete);
        let mut list = sql.separated(", ");
        for id in ids {
            list.push_bind(id.clone());
        }
        sql.push(")");
        let done = sql.build().execute(&mut *connection).await;
        removed = done.map_err(|error| unavailable("write to the store", &error))?.rows_affected();
    }
    Ok(removed)
}

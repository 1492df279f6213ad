//! What others are to be told, and how the attempts went.

use crate::error::{unavailable, unreadable};
use crate::read::{column, refused};
use astradesk_core::{Result, Timestamp};
use astradesk_runtime::port::{Announcement, Attempted};
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, SqlitePool};

/// The most dead announcements that are kept: the newest.
const DEAD_KEPT: i64 = 1000;

/// How long one that was given is left to whoever got it, in microseconds.
const LEASE: i64 = 30_000_000;

/// Whether any is due, by the index `outbox_due`: receiver after receiver, of which there are few.
pub(crate) const ANY_DUE: &str = "WITH RECURSIVE receivers (name) AS ( \
         SELECT MIN(receiver) FROM outbox WHERE dead = 0 UNION ALL \
         SELECT (SELECT MIN(receiver) FROM outbox WHERE dead = 0 AND receiver > name) \
         FROM receivers WHERE name IS NOT NULL) \
     SELECT EXISTS (SELECT 1 FROM receivers WHERE EXISTS \
         (SELECT 1 FROM outbox WHERE dead = 0 AND receiver = receivers.name AND due_at <= ?))";

/// Takes those that are due until a later time: of each receiver the oldest, then of each the second, and so on,
/// so that nobody waits behind those of a receiver that is never there.
pub(crate) const LEASED: &str = "WITH RECURSIVE receivers (name) AS ( \
         SELECT MIN(receiver) FROM outbox WHERE dead = 0 UNION ALL \
         SELECT (SELECT MIN(receiver) FROM outbox WHERE dead = 0 AND receiver > name) \
         FROM receivers WHERE name IS NOT NULL), \
     waiting AS (SELECT id, due_at, ROW_NUMBER() OVER (PARTITION BY receiver ORDER BY due_at, id) AS place \
         FROM receivers CROSS JOIN outbox WHERE id IN (SELECT id FROM outbox WHERE dead = 0 \
         AND receiver = receivers.name AND due_at <= ?1 ORDER BY due_at, id LIMIT ?2)) \
     UPDATE outbox SET due_at = ?3 WHERE id IN (SELECT id FROM waiting ORDER BY place, due_at, id LIMIT ?2) \
     RETURNING id, receiver, at, body, attempts, due_at, error, dead";

/// Those that are dead, in the words of the index `outbox_dead`.
pub(crate) const DEAD: &str = "SELECT id, receiver, at, body, attempts, due_at, error, dead FROM outbox \
                               WHERE dead = 1 ORDER BY at DESC, id DESC LIMIT ?";

/// Whether any is due.
pub(crate) async fn is_any_due(pool: &SqlitePool, now: Timestamp) -> Result<bool> {
    let due: i64 =
        sqlx::query_scalar(ANY_DUE).bind(now.as_microsecond()).fetch_one(pool).await.map_err(refused)?;
    Ok(due != 0)
}

/// Takes at most `limit` of those that are due, so that nobody else is given them for a while. Oldest first.
pub(crate) async fn lease(
    connection: &mut SqliteConnection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Announcement>> {
    let now = now.as_microsecond();
    let leased = sqlx::query(LEASED).bind(now).bind(i64::from(limit)).bind(now.saturating_add(LEASE));
    let rows =
        leased.fetch_all(connection).await.map_err(|error| unavailable("write to the store", &error))?;
    let mut given: Vec<Announcement> = rows.iter().map(announcement).collect::<Result<_>>()?;
    given.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
    Ok(given)
}

pub(crate) async fn dead(pool: &SqlitePool, limit: u32) -> Result<Vec<Announcement>> {
    let rows = sqlx::query(DEAD).bind(i64::from(limit)).fetch_all(pool).await;
    rows.map_err(refused)?.iter().map(announcement).collect()
}

/// Notes how an attempt went. One that is gone or dead stays so.
pub(crate) async fn attempted(
    connection: &mut SqliteConnection,
    id: String,
    attempted: Attempted,
) -> Result<u64, sqlx::Error> {
    const AGAIN: &str =
        "UPDATE outbox SET attempts = attempts + 1, due_at = ?, error = ? WHERE id = ? AND dead = 0";
    const DEAD: &str =
        "UPDATE outbox SET attempts = attempts + 1, dead = 1, error = ? WHERE id = ? AND dead = 0";
    const FORGET: &str = "DELETE FROM outbox WHERE dead = 1 AND id IN \
                          (SELECT id FROM outbox WHERE dead = 1 ORDER BY at DESC, id DESC LIMIT 64 OFFSET ?)";
    let done = match attempted {
        Attempted::Told => {
            sqlx::query("DELETE FROM outbox WHERE id = ?").bind(id).execute(connection).await?
        }
        Attempted::Again { due_at, error } => {
            sqlx::query(AGAIN).bind(due_at.as_microsecond()).bind(error).bind(id).execute(connection).await?
        }
        Attempted::Dead { error } => {
            let died = sqlx::query(DEAD).bind(error).bind(id).execute(&mut *connection).await?;
            sqlx::query(FORGET).bind(DEAD_KEPT).execute(connection).await?;
            died
        }
    };
    Ok(done.rows_affected())
}

/// Makes a dead one due, as if nobody had tried.
pub(crate) async fn revive(
    connection: &mut SqliteConnection,
    id: String,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let sql = "UPDATE outbox SET dead = 0, attempts = 0, due_at = ? WHERE id = ? AND dead = 1";
    let done = sqlx::query(sql).bind(now.as_microsecond()).bind(id).execute(connection).await?;
    Ok(done.rows_affected())
}

fn announcement(row: &SqliteRow) -> Result<Announcement> {
    let time = |name| {
        let time = Timestamp::from_microsecond(column(row, name)?);
        time.map_err(|_| unreadable("an announcement"))
    };
    Ok(Announcement {
        id: column(row, "id")?,
        to: column(row, "receiver")?,
        at: time("at")?,
        body: column(row, "body")?,
        attempts: u32::try_from(column::<i64>(row, "attempts")?).unwrap_or(u32::MAX),
        due_at: time("due_at")?,
        error: column(row, "error")?,
        dead: column::<i64>(row, "dead")? != 0,
    })
}

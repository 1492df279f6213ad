//! What others are to be told, and how the attempts went.

use crate::error::unreadable;
use crate::read::{column, refused};
use astradesk_core::{Result, Timestamp};
use astradesk_runtime::port::{Announcement, Attempted};
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, SqlitePool};

/// The most dead announcements that are kept: the newest.
const DEAD_KEPT: i64 = 1000;

/// Those that are due, in the words of the index `outbox_due`.
pub(crate) const DUE: &str = "SELECT id, receiver, at, body, attempts, due_at, error, dead FROM outbox \
                              WHERE dead = 0 AND due_at <= ? ORDER BY due_at, id LIMIT ?";

/// Those that are dead, in the words of the index `outbox_dead`.
pub(crate) const DEAD: &str = "SELECT id, receiver, at, body, attempts, due_at, error, dead FROM outbox \
                               WHERE dead = 1 ORDER BY at DESC, id DESC LIMIT ?";

pub(crate) async fn due(pool: &SqlitePool, now: Timestamp, limit: u32) -> Result<Vec<Announcement>> {
    let rows = sqlx::query(DUE).bind(now.as_microsecond()).bind(i64::from(limit)).fetch_all(pool).await;
    rows.map_err(refused)?.iter().map(announcement).collect()
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

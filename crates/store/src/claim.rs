//! Which runs can be claimed, and which are to be cancelled.

use crate::error::unreadable;
use crate::holder::{Leases, Presence};
use crate::read::{column, refused, run_of};
use astradesk_core::{Result, Run, RunId, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqlitePool};

/// The runs that somebody should execute, in the words of the index `runs_claimable`.
const CLAIMABLE: &str = "finished = 0 AND state NOT IN ('submitted', 'awaiting_approval')";

/// The runs of a holder that are to be cancelled, in the words of the index `runs_to_cancel`.
pub(crate) const CANCELLED: &str =
    "SELECT id FROM runs WHERE finished = 0 AND cancel = 1 AND holder = ? ORDER BY id";

/// How many runs that cannot be read are looked past.
const UNREADABLE: u32 = 64;

/// The most dead holders whose runs are looked for at once; those of the others come next.
const HOLDERS: usize = 10_000;

/// The runs that can be claimed at `now`, or `only` that one, oldest first, at most `limit`.
pub(crate) async fn orphans(
    pool: &SqlitePool,
    presence: &Presence,
    now: Timestamp,
    only: Option<RunId>,
    limit: u32,
) -> Result<Vec<Run>> {
    let holders = holders(pool).await?;
    // Read after the holders, so that one who has just come is not taken for one without a lease.
    let leases = leases(pool).await?;
    let unheld = holders.contains(&None);
    let mut dead: Vec<String> =
        holders.into_iter().flatten().filter(|holder| presence.is_dead(holder, &leases, now)).collect();
    dead.truncate(HOLDERS);
    if dead.is_empty() && !unheld {
        return Ok(Vec::new());
    }
    if only.is_some() {
        let row = held_by(&dead, only, limit).build().fetch_optional(pool).await.map_err(refused)?;
        return row.iter().map(run_of).collect();
    }
    let some = limit.saturating_add(UNREADABLE);
    let rows = held_by(&dead, None, some).build().fetch_all(pool).await.map_err(refused)?;
    // One that this version cannot read must not keep the others from being claimed.
    let readable = rows.iter().filter_map(|row| {
        run_of(row).inspect_err(|error| tracing::error!(%error, "an unfinished run cannot be claimed")).ok()
    });
    Ok(readable.take(limit as usize).collect())
}

/// The unfinished runs of this store's holder that are to be cancelled.
pub(crate) async fn cancelled(pool: &SqlitePool, presence: &Presence) -> Result<Vec<RunId>> {
    let rows =
        sqlx::query(CANCELLED).bind(presence.holder().to_string()).fetch_all(pool).await.map_err(refused)?;
    rows.iter()
        .map(|row| RunId::parse(&column::<String>(row, "id")?).ok_or_else(|| unreadable("the id of a run")))
        .collect()
}

/// Each holder of a run, and none if there is a run that nobody holds.
async fn holders(pool: &SqlitePool) -> Result<Vec<Option<String>>> {
    let rows = holders_of().build().fetch_all(pool).await.map_err(refused)?;
    rows.iter().map(|row| column(row, "holder")).collect()
}

pub(crate) fn holders_of() -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("SELECT DISTINCT holder FROM runs WHERE ");
    sql.push(CLAIMABLE);
    sql
}

async fn leases(pool: &SqlitePool) -> Result<Leases> {
    let rows = sqlx::query("SELECT id, expires_at FROM holders").fetch_all(pool).await.map_err(refused)?;
    let ends = rows.iter().map(|row| Ok((column(row, "id")?, column(row, "expires_at")?)));
    Ok(Leases::new(ends.collect::<Result<_>>()?))
}

/// The runs of nobody and of these holders.
pub(crate) fn held_by(holders: &[String], only: Option<RunId>, limit: u32) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("SELECT id, body FROM runs WHERE ");
    sql.push(CLAIMABLE).push(" AND (holder IS NULL OR holder IN (");
    let mut list = sql.separated(", ");
    for holder in holders {
        list.push_bind(holder.clone());
    }
    sql.push("))");
    if let Some(run) = only {
        sql.push(" AND id = ").push_bind(run.to_string());
    }
    sql.push(" ORDER BY id LIMIT ").push_bind(i64::from(limit));
    sql
}

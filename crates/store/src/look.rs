//! What a group of changes is checked against, read in the transaction that writes it.

use crate::change::Prepared;
use crate::error::{unavailable, unreadable};
use crate::evidence::LAST;
use crate::read;
use crate::spend;
use crate::view::{Key, View};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Head;
use astradesk_core::{Result, RunId};
use astradesk_runtime::port::LockChange;
use sqlx::pool::PoolConnection;
use sqlx::{Column as _, QueryBuilder, Row as _, Sqlite};

/// Groups of more changes than this are rare, and each of another shape: their scripts are not kept prepared.
pub(crate) const KEPT_PREPARED: usize = 32;

/// The most values of one `IN`.
const VALUES: usize = 500;

/// Begins a transaction that may write, and reads in it, in the same round trip, the head of the chain and which
/// versions the runs of `changes` have.
pub(crate) async fn begin<T>(
    connection: &mut PoolConnection<Sqlite>,
    changes: &[(Prepared, T)],
) -> Result<(Head, View)> {
    let mut sql = QueryBuilder::new("BEGIN IMMEDIATE; ");
    sql.push(LAST);
    let ids = runs(changes);
    if let Some(ids) = ids.chunks(VALUES).next() {
        sql.push("; ");
        versions(&mut sql, ids);
    }
    let (mut head, mut view) = (Head::EMPTY, View::default());
    let rows = sql.build().persistent(changes.len() <= KEPT_PREPARED).fetch_all(&mut **connection).await;
    for row in rows.map_err(|error| unavailable("write to the store", &error))? {
        if row.column(0).name() == "seq" {
            head = read::head(&row)?;
        } else {
            view.versions.insert(column(&row, 0)?, column(&row, 1)?);
        }
    }
    Ok((head, view))
}

/// Reads what else `changes` must be checked against, and what [`begin`] has read only of the first `known`.
/// Nothing is read that no change needs.
pub(crate) async fn further<T>(
    connection: &mut PoolConnection<Sqlite>,
    view: &mut View,
    changes: &[(Prepared, T)],
    known: usize,
) -> Result<()> {
    // A lock that its run has left behind is free.
    const HELD: &str = "SELECT locks.target, locks.run FROM locks JOIN runs ON runs.id = locks.run \
                        WHERE runs.finished = 0 AND locks.target IN (";
    let prepared = changes.len() <= KEPT_PREPARED;
    let known = runs(changes.get(..known).unwrap_or_default()).len().min(VALUES);
    for ids in runs(changes).get(known..).unwrap_or_default().chunks(VALUES) {
        let mut sql = QueryBuilder::new("");
        versions(&mut sql, ids);
        for row in fetch(connection, &mut sql, prepared).await? {
            view.versions.insert(column(&row, 0)?, column(&row, 1)?);
        }
    }
    let changes = || changes.iter().map(|(change, _)| change);

    let locks = changes().flat_map(|change| &change.locks);
    let targets: Vec<String> = locks
        .filter_map(|lock| match lock {
            LockChange::Acquire { target, .. } => Some(target.to_string()),
            LockChange::Release { .. } => None,
        })
        .collect();
    for targets in targets.chunks(VALUES) {
        let mut sql = QueryBuilder::new(HELD);
        list(&mut sql, targets);
        for row in fetch(connection, &mut sql, prepared).await? {
            view.locks.insert(column(&row, 0)?, run_id(&row, 1)?);
        }
    }

    let spends: Vec<_> = changes().flat_map(|change| &change.spends).collect();
    for spends in spends.chunks(spend::ASKED) {
        let rows = fetch(connection, &mut spend::count(spends), prepared).await?;
        view.allowances.note(spends, &rows)?;
    }

    let keys: Vec<_> = changes().filter_map(|change| change.key.as_ref()).collect();
    for keys in keys.chunks(VALUES) {
        let select = "SELECT principal, key, request, run, expires_at FROM idempotency WHERE (principal, key) IN (VALUES ";
        let mut sql = QueryBuilder::new(select);
        let mut list = sql.separated(", ");
        for key in keys {
            list.push("(").push_bind_unseparated(key.principal.clone());
            list.push_unseparated(", ").push_bind_unseparated(key.key.clone()).push_unseparated(")");
        }
        sql.push(")");
        for row in fetch(connection, &mut sql, prepared).await? {
            let request = Digest::parse(&column::<String>(&row, 2)?);
            let request = request.ok_or_else(|| unreadable("the digest of a request"))?;
            let key = Key { run: run_id(&row, 3)?, request, expires_at: column(&row, 4)? };
            view.keys.insert((column(&row, 0)?, column(&row, 1)?), key);
        }
    }
    Ok(())
}

/// The runs that the changes are about.
fn runs<T>(changes: &[(Prepared, T)]) -> Vec<String> {
    changes.iter().filter_map(|(change, _)| change.run.as_ref()).map(|run| run.id.clone()).collect()
}

fn versions(sql: &mut QueryBuilder<Sqlite>, ids: &[String]) {
    sql.push("SELECT id, version FROM runs WHERE id IN (");
    list(sql, ids);
}

/// Adds the values, and closes the parenthesis.
fn list(sql: &mut QueryBuilder<Sqlite>, values: &[String]) {
    let mut list = sql.separated(", ");
    for value in values {
        list.push_bind(value.clone());
    }
    sql.push(")");
}

async fn fetch(
    connection: &mut PoolConnection<Sqlite>,
    sql: &mut QueryBuilder<Sqlite>,
    prepared: bool,
) -> Result<Vec<sqlx::sqlite::SqliteRow>> {
    let rows = sql.build().persistent(prepared).fetch_all(&mut **connection).await;
    rows.map_err(|error| unavailable("read the store", &error))
}

fn column<'r, T>(row: &'r sqlx::sqlite::SqliteRow, index: usize) -> Result<T>
where
    T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(index).map_err(|error| unavailable("read the store", &error))
}

fn run_id(row: &sqlx::sqlite::SqliteRow, index: usize) -> Result<RunId> {
    RunId::parse(&column::<String>(row, index)?).ok_or_else(|| unreadable("the id of a run"))
}

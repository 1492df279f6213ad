//! The rows of a group as SQL: one script, so that a group costs one round trip to the database.
//!
//! `ON CONFLICT` is the only word here that is not of every SQL; SQLite and PostgreSQL both have it.

use crate::holder::LEASE_KEPT;
use crate::view::{View, Writes};
use astradesk_core::run::Holder;
use astradesk_runtime::port::Announcement;
use sqlx::{QueryBuilder, Sqlite};

/// The most rows of one `INSERT`: SQLite takes 32,766 parameters, a run has 11.
const ROWS: usize = 500;

/// The most expired keys and spends that one group cleans up.
const CLEANED: i64 = 64;

/// Forgets spends that do not count any more; between the parts stand the time and how many.
pub(crate) const CLEAN_SPENDS: [&str; 3] = [
    "DELETE FROM spends WHERE (key, run, step) IN (SELECT key, run, step FROM spends WHERE expires_at <= ",
    " ORDER BY expires_at LIMIT ",
    ")",
];

/// What proves that the store can write, without a change.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    /// Whether somebody asks.
    pub(crate) probe: bool,
    /// The last beat of the holder.
    pub(crate) beat: Option<Beat>,
}

/// A beat, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beat {
    pub(crate) now: i64,
    pub(crate) until: i64,
}

/// The script that writes `writes` and the `signs` of `holder`, and commits.
pub(crate) fn commit(writes: Writes, view: &View, holder: &Holder, signs: &Signs) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("");
    clean(&mut sql, &writes);
    let mut tools = Vec::new();
    chunks(&mut sql, writes.runs, |sql, rows| {
        sql.push(
            "INSERT INTO runs \
             (id, version, state, principal, tool, created_at, updated_at, finished, holder, cancel, body) ",
        );
        sql.push_values(rows, |mut row, run| {
            tools.extend(run.other_tools.into_iter().map(|tool| (tool, run.id.clone())));
            row.push_bind(run.id).push_bind(run.version).push_bind(run.state).push_bind(run.principal);
            row.push_bind(run.tool).push_bind(run.created_at).push_bind(run.updated_at);
            row.push_bind(i64::from(run.finished)).push_bind(run.holder).push_bind(i64::from(run.cancel));
            row.push_bind(run.body);
        });
        sql.push(
            " ON CONFLICT (id) DO UPDATE SET version = excluded.version, state = excluded.state, \
             updated_at = excluded.updated_at, finished = excluded.finished, holder = excluded.holder, \
             cancel = excluded.cancel, body = excluded.body; ",
        );
    });
    chunks(&mut sql, tools, |sql, rows| {
        sql.push("INSERT INTO run_tools (tool, run) ");
        sql.push_values(rows, |mut row, (tool, run)| {
            row.push_bind(tool).push_bind(run);
        });
        sql.push(" ON CONFLICT (tool, run) DO NOTHING; ");
    });
    chunks(&mut sql, writes.evidence, |sql, rows| {
        sql.push("INSERT INTO evidence (seq, hash, body, kind, run, at) ");
        sql.push_values(rows, |mut row, line| {
            row.push_bind(line.record.seq as i64).push_bind(line.record.hash.to_string());
            row.push_bind(line.record.body).push_bind(line.kind).push_bind(line.run).push_bind(line.at);
        });
        sql.push("; ");
    });
    chunks(&mut sql, writes.events, |sql, rows| {
        sql.push("INSERT INTO events (run, at, kind, data) ");
        sql.push_values(rows, |mut row, event| {
            row.push_bind(event.run).push_bind(event.at).push_bind(event.kind).push_bind(event.data);
        });
        sql.push("; ");
    });
    let held =
        writes.acquired.into_iter().filter_map(|target| view.locks.get(&target).map(|run| (target, *run)));
    chunks(&mut sql, held.collect(), |sql, rows| {
        sql.push("INSERT INTO locks (target, run) ");
        sql.push_values(rows, |mut row, (target, run)| {
            row.push_bind(target).push_bind(run.to_string());
        });
        sql.push(" ON CONFLICT (target) DO UPDATE SET run = excluded.run; ");
    });
    chunks(&mut sql, writes.keys, |sql, rows| {
        sql.push("INSERT INTO idempotency (principal, key, request, run, expires_at) ");
        sql.push_values(rows, |mut row, key| {
            row.push_bind(key.principal).push_bind(key.key).push_bind(key.request.to_string());
            row.push_bind(key.run.to_string()).push_bind(key.expires_at.as_microsecond());
        });
        sql.push(
            " ON CONFLICT (principal, key) DO UPDATE SET request = excluded.request, run = excluded.run, \
             expires_at = excluded.expires_at; ",
        );
    });
    chunks(&mut sql, writes.spends, |sql, rows| {
        sql.push("INSERT INTO spends (key, run, step, at, expires_at) ");
        sql.push_values(rows, |mut row, spend| {
            row.push_bind(spend.key).push_bind(spend.run).push_bind(spend.step);
            row.push_bind(spend.at).push_bind(spend.expires_at);
        });
        sql.push(" ON CONFLICT (key, run, step) DO UPDATE SET at = excluded.at, expires_at = excluded.expires_at; ");
    });
    announce(&mut sql, writes.announcements);
    if let Some(last) = signs.beat {
        beat(&mut sql, holder, last);
    }
    if signs.probe {
        sql.push("INSERT INTO probe (id, n) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = probe.n + 1; ");
    }
    sql.push("COMMIT");
    sql
}

/// Drops the locks of runs that gave them back, and a bounded number of keys and spends that have expired:
/// before the new ones are written, which it must not meet.
fn clean(sql: &mut QueryBuilder<Sqlite>, writes: &Writes) {
    for run in &writes.released {
        sql.push("DELETE FROM locks WHERE run = ").push_bind(run.clone()).push("; ");
    }
    if let Some(now) = writes.spends.iter().map(|spend| spend.at).max() {
        let [before, between, behind] = CLEAN_SPENDS;
        sql.push(before).push_bind(now).push(between).push_bind(CLEANED).push(behind).push("; ");
    }
    let Some(now) = writes.now else { return };
    sql.push("DELETE FROM idempotency WHERE (principal, key) IN ");
    sql.push("(SELECT principal, key FROM idempotency WHERE expires_at <= ");
    sql.push_bind(now).push(" ORDER BY expires_at LIMIT ").push_bind(CLEANED).push("); ");
}

/// What others are to be told. The same once more is the same.
fn announce(sql: &mut QueryBuilder<Sqlite>, announcements: Vec<Announcement>) {
    chunks(sql, announcements, |sql, rows| {
        sql.push("INSERT INTO outbox (id, receiver, at, body, attempts, due_at, error, dead) ");
        sql.push_values(rows, |mut row, one| {
            row.push_bind(one.id).push_bind(one.to).push_bind(one.at.as_microsecond()).push_bind(one.body);
            row.push_bind(i64::from(one.attempts)).push_bind(one.due_at.as_microsecond());
            row.push_bind(one.error).push_bind(i64::from(one.dead));
        });
        sql.push(" ON CONFLICT (id) DO NOTHING; ");
    });
}

/// Writes the lease of a holder, and forgets those that ended long ago.
fn beat(sql: &mut QueryBuilder<Sqlite>, holder: &Holder, beat: Beat) {
    sql.push("INSERT INTO holders (id, beat_at, expires_at) VALUES (").push_bind(holder.to_string());
    sql.push(", ").push_bind(beat.now).push(", ").push_bind(beat.until);
    sql.push(
        ") ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at, expires_at = excluded.expires_at; ",
    );
    let forgotten = beat.now.saturating_sub(LEASE_KEPT.as_micros() as i64);
    sql.push("DELETE FROM holders WHERE expires_at <= ").push_bind(forgotten).push("; ");
}

/// Calls `push` with at most [`ROWS`] rows at a time, and never with none.
fn chunks<T>(
    sql: &mut QueryBuilder<Sqlite>,
    rows: Vec<T>,
    mut push: impl FnMut(&mut QueryBuilder<Sqlite>, Vec<T>),
) {
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        push(sql, rows.by_ref().take(ROWS).collect());
    }
}

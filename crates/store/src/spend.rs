//! What was taken from allowances, and whether there is anything left.

use crate::error::unreadable;
use crate::read::{column, refused};
use astradesk_core::guardrail::Allowance;
use astradesk_core::{Result, RunId, Timestamp};
use astradesk_runtime::port::{CommitError, Spend};
use sqlx::{QueryBuilder, Row, Sqlite, SqlitePool};
use std::collections::HashMap;

/// How many spends are asked about in one query: each is a part of it, and SQLite takes 500 parts.
pub(crate) const ASKED: usize = 100;

/// A row of `spends`.
#[derive(Debug)]
pub(crate) struct SpendRow {
    pub(crate) key: String,
    pub(crate) run: String,
    pub(crate) step: i64,
    pub(crate) at: i64,
    pub(crate) expires_at: i64,
}

/// What the database has of the allowances that the changes of a group take from, and what the changes before
/// have taken.
#[derive(Debug, Default)]
pub(crate) struct Allowances {
    stored: HashMap<Asked, Counted>,
    taken: HashMap<String, Vec<Taken>>,
}

/// What decides about a spend: the key, the run, the step, and since when actions count.
type Asked = (String, RunId, usize, i64);

/// What the database says of a spend.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    /// How many other actions count against it.
    others: i64,
    /// When the first of them was.
    oldest: Option<i64>,
    /// Whether it is stored itself, and counts.
    is_kept: bool,
}

#[derive(Debug)]
struct Taken {
    run: RunId,
    step: usize,
    at: i64,
}

impl SpendRow {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.key, &self.run, self.step) == (&other.key, &other.run, other.step)
    }
}

impl Allowances {
    /// Whether there is an action left for each of `spends`.
    pub(crate) fn check(&self, spends: &[Spend]) -> Result<(), CommitError> {
        for (place, spend) in spends.iter().enumerate() {
            let since = since(spend);
            let counted = self.stored.get(&asked(spend)).copied().unwrap_or_default();
            let taken = self.taken(spend).map(|taken| (taken.run, taken.step, taken.at));
            let before = spends.iter().take(place).filter(|one| one.allowance.key == spend.allowance.key);
            let before = before.map(|one| (one.run, one.step, one.at.as_microsecond()));
            let others = taken.chain(before);
            let others =
                others.filter(|(run, step, at)| (*run, *step) != (spend.run, spend.step) && *at > since);
            let others: Vec<i64> = others.map(|(.., at)| at).collect();
            if counted.others as u64 + others.len() as u64 >= u64::from(spend.allowance.limit) {
                let oldest = others.into_iter().chain(counted.oldest).min().map(Timestamp::from_microsecond);
                let oldest = oldest.and_then(Result::ok).unwrap_or(spend.at);
                return Err(CommitError::Exhausted { allowance: spend.allowance.clone(), oldest });
            }
        }
        Ok(())
    }

    /// Takes `spends`, and gives the rows of those that were not taken before. One that does not count any more is
    /// as good as forgotten: the same counts anew.
    pub(crate) fn take(&mut self, spends: &[Spend]) -> Vec<SpendRow> {
        let mut rows = Vec::new();
        for spend in spends {
            let is_stored = self.stored.get(&asked(spend)).is_some_and(|counted| counted.is_kept);
            let is_same = |taken: &Taken| (taken.run, taken.step) == (spend.run, spend.step);
            let since = since(spend);
            if is_stored || self.taken(spend).any(|taken| is_same(taken) && taken.at > since) {
                continue;
            }
            let at = spend.at.as_microsecond();
            let all = self.taken.entry(spend.allowance.key.clone()).or_default();
            all.retain(|taken| !is_same(taken));
            all.push(Taken { run: spend.run, step: spend.step, at });
            rows.push(SpendRow {
                key: spend.allowance.key.clone(),
                run: spend.run.to_string(),
                step: spend.step as i64,
                at,
                expires_at: at.saturating_add(at.saturating_sub(since)),
            });
        }
        rows
    }

    fn taken(&self, spend: &Spend) -> impl Iterator<Item = &Taken> {
        self.taken.get(&spend.allowance.key).into_iter().flatten()
    }

    /// Notes what the database said of `spends`, asked about by [`count`].
    pub(crate) fn note(&mut self, spends: &[&Spend], rows: &[sqlx::sqlite::SqliteRow]) -> Result<()> {
        for row in rows {
            let place: i64 = row.try_get(0).map_err(refused)?;
            let spend = usize::try_from(place).ok().and_then(|place| spends.get(place));
            let spend = spend.ok_or_else(|| unreadable("a count of actions"))?;
            let counted = Counted {
                others: row.try_get(1).map_err(refused)?,
                oldest: row.try_get(2).map_err(refused)?,
                is_kept: row.try_get::<i64, _>(3).map_err(refused)? > 0,
            };
            self.stored.insert(asked(spend), counted);
        }
        Ok(())
    }
}

/// Asks what the database has of each of `spends`.
pub(crate) fn count(spends: &[&Spend]) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("");
    for (place, spend) in spends.iter().enumerate() {
        let key = &spend.allowance.key;
        sql.push(if place == 0 { "SELECT " } else { " UNION ALL SELECT " }).push_bind(place as i64);
        sql.push(", COUNT(*), MIN(at), (SELECT COUNT(*) FROM spends WHERE key = ").push_bind(key.clone());
        sql.push(" AND run = ").push_bind(spend.run.to_string());
        sql.push(" AND step = ").push_bind(spend.step as i64);
        sql.push(" AND at > ").push_bind(since(spend)).push(") ");
        push_counting(&mut sql, key, since(spend), (spend.run, spend.step));
    }
    sql
}

/// When the oldest of the actions that count against the allowance at `now` happened, if none is left.
pub(crate) async fn exhausted(
    pool: &SqlitePool,
    allowance: &Allowance,
    except: (RunId, usize),
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let mut sql = QueryBuilder::new("SELECT COUNT(*) AS others, MIN(at) AS oldest ");
    push_counting(&mut sql, &allowance.key, allowance.since(now).as_microsecond(), except);
    let row = sql.build().fetch_one(pool).await.map_err(refused)?;
    let oldest: Option<i64> = column(&row, "oldest")?;
    let is_exhausted = column::<i64>(&row, "others")? as u64 >= u64::from(allowance.limit);
    let oldest = oldest.filter(|_| is_exhausted).map(Timestamp::from_microsecond).transpose();
    oldest.map_err(|_| unreadable("the time of an action"))
}

/// The actions that count: later than `since`, and not the same.
fn push_counting(sql: &mut QueryBuilder<Sqlite>, key: &str, since: i64, except: (RunId, usize)) {
    let (run, step) = except;
    sql.push("FROM spends WHERE key = ").push_bind(key.to_owned());
    sql.push(" AND at > ").push_bind(since).push(" AND NOT (run = ").push_bind(run.to_string());
    sql.push(" AND step = ").push_bind(step as i64).push(")");
}

fn asked(spend: &Spend) -> Asked {
    (spend.allowance.key.clone(), spend.run, spend.step, since(spend))
}

fn since(spend: &Spend) -> i64 {
    spend.allowance.since(spend.at).as_microsecond()
}

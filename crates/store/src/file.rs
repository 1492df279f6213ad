//! The evidence of a database file, read without a server: nothing is written or migrated, and a gateway may
//! write to the file meanwhile.

mod columns;
#[cfg(test)]
mod tests;

use crate::error::{CANNOT_OPEN, READ_ONLY, at, primary_code, unavailable};
use crate::evidence::{self, BEGIN};
use crate::read::{self, number, refused};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Head;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::Cut;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for who has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The most records, and about the most bytes, that are read at a time. As nobody knows how long records are
/// before they were read, it begins with a few.
const FIRST_PAGE: u64 = 16;
const PAGE: u64 = 1000;
const PAGE_BYTES: usize = 4 << 20;

/// The length of a hash as it is written.
const HASH: usize = 64;

/// What was kept as evidence, in the order in which it is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A record: the text that is hashed, and its hash.
    Record {
        /// Canonical JSON, unless somebody changed it.
        body: &'a str,
        /// As it is kept.
        hash: Digest,
    },
    /// A signed checkpoint: behind the record that it is of, or behind the last one if that is not there.
    Checkpoint(&'a str),
}

/// The evidence in a database file, for verification offline.
///
/// A page of at most 1,000 records and about 4 MiB is in memory, and another one is being read.
#[derive(Debug)]
pub struct EvidenceFile {
    connection: SqliteConnection,
    /// Whether it was written by a version that knows cuts and checkpoints.
    knows_cuts: bool,
    /// And spans.
    knows_spans: bool,
    /// How many records to read at a time.
    page: u64,
}

/// Some records, one behind the other.
#[derive(Debug)]
struct Page {
    last: u64,
    records: Records,
}

#[derive(Debug)]
enum Records {
    /// So many hashes and bodies in one text, a line each: several times as fast as a row each.
    Joined(SqliteRow, usize),
    /// Where a text has more lines than records, or numbers are missing: somebody changed it.
    Rows(Vec<SqliteRow>),
}

impl EvidenceFile {
    /// Opens the file `path`, which must be there.
    ///
    /// # Errors
    /// `store.unavailable` when it cannot be read, or is no store of astradesk.
    pub async fn open(path: &Path) -> Result<Self> {
        const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table'";
        let failed = |error| at(path, unavailable("open the store", &error));
        let (connection, tables) = match tables(path, false, TABLES).await {
            Err(error) if has_no_place_beside(&error) && is_still(path) => tables(path, true, TABLES).await,
            opened => opened,
        }
        .map_err(failed)?;
        let has = |name| tables.iter().any(|table| table == name);
        if !has("evidence") {
            return Err(at(path, Error::new(Code::StoreUnavailable, "it is not a store of astradesk")));
        }
        let (knows_cuts, knows_spans) = (has("cut") && has("checkpoints"), has("spans"));
        Ok(Self { connection, knows_cuts, knows_spans, page: FIRST_PAGE })
    }

    /// Where the chain begins, if old records were removed.
    ///
    /// # Errors
    /// `store.unavailable`; `evidence.broken` when what is kept is no hash.
    pub async fn cut(&mut self) -> Result<Option<Cut>> {
        if self.knows_cuts { evidence::cut(&mut self.connection).await } else { Ok(None) }
    }

    /// The kept checkpoints of records after number `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// `store.unavailable`.
    pub async fn checkpoints(&mut self, after: u64, limit: u32) -> Result<Vec<String>> {
        if !self.knows_cuts {
            return Ok(Vec::new());
        }
        evidence::checkpoints(&mut self.connection, after, limit).await
    }

    /// Gives `take` the records after number `after` that are there now, each followed by its checkpoint, until it
    /// does not want any more.
    ///
    /// While it looks at a page, the next one is read.
    ///
    /// # Errors
    /// What `take` gives; `store.unavailable`, also when records were removed before they were read; and
    /// `evidence.broken` when a hash is none.
    pub async fn read(&mut self, after: u64, mut take: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        let mut after = after;
        let (end, last_pinned) = self.ends().await?;
        let mut page = self.page(after, end).await?;
        while let Some(current) = page {
            let checkpoints = self.pinned(after, current.last).await?;
            after = current.last;
            let (next, taken) =
                tokio::join!(self.page(after, end), async { current.give(&checkpoints, &mut take) });
            taken?;
            page = next?;
        }
        for (_, note) in self.pinned(after, last_pinned).await? {
            take(Entry::Checkpoint(&note))?;
        }
        Ok(())
    }

    /// The last record, and the last that a checkpoint is of. A gateway may add more before they are reached.
    async fn ends(&mut self) -> Result<(u64, u64)> {
        let ends = if self.knows_cuts {
            "SELECT COALESCE((SELECT MAX(seq) FROM evidence), 0), COALESCE((SELECT MAX(seq) FROM checkpoints), 0)"
        } else {
            "SELECT COALESCE(MAX(seq), 0), 0 FROM evidence"
        };
        let row = sqlx::query(ends).fetch_one(&mut self.connection).await.map_err(refused)?;
        let (end, pinned): (i64, i64) = (row.try_get(0).map_err(refused)?, row.try_get(1).map_err(refused)?);
        Ok((end as u64, pinned as u64))
    }

    /// The records behind `after`, up to `end`.
    async fn page(&mut self, after: u64, end: u64) -> Result<Option<Page>> {
        const JOINED: &str = "SELECT COUNT(*), MIN(seq), MAX(seq), group_concat(hash || body, char(10)) FROM \
                              (SELECT seq, hash, body FROM evidence WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?)";
        let joined = sqlx::query(JOINED).bind(number(after)).bind(number(end)).bind(number(self.page));
        let Ok(row) = joined.fetch_one(&mut self.connection).await else {
            return self.rows(after, end).await;
        };
        let count: i64 = row.try_get(0).map_err(refused)?;
        if count == 0 {
            return self.nothing_removed(after).await.map(|()| None);
        }
        let (first, last): (i64, i64) = (row.try_get(1).map_err(refused)?, row.try_get(2).map_err(refused)?);
        let Ok(text) = row.try_get::<&str, _>(3) else { return self.rows(after, end).await };
        let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
        if first != number(after) + 1 || last - first + 1 != count || lines as i64 != count {
            return self.rows(after, end).await;
        }
        self.page = if text.len() > PAGE_BYTES { (self.page / 2).max(1) } else { (self.page * 2).min(PAGE) };
        Ok(Some(Page { last: last as u64, records: Records::Joined(row, lines) }))
    }

    /// The same, a row each.
    async fn rows(&mut self, after: u64, end: u64) -> Result<Option<Page>> {
        const ROWS: &str =
            "SELECT seq, hash, body FROM evidence WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?";
        let rows = sqlx::query(ROWS).bind(number(after)).bind(number(end)).bind(number(self.page.min(100)));
        let rows = rows.fetch_all(&mut self.connection).await.map_err(refused)?;
        self.nothing_removed(after).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        let last: i64 = last.try_get("seq").map_err(refused)?;
        Ok(Some(Page { last: last as u64, records: Records::Rows(rows) }))
    }

    /// Whether retention has not gone past `after`.
    async fn nothing_removed(&mut self, after: u64) -> Result<()> {
        match self.cut().await? {
            Some(Cut { head: Head { seq, .. }, .. }) if seq > after => {
                let message = format!("the records up to {seq} were removed before they were read");
                Err(Error::new(Code::StoreUnavailable, message).with_remedy("begin again"))
            }
            _ => Ok(()),
        }
    }

    /// The checkpoints of the records behind `after`.
    async fn pinned(&mut self, after: u64, up_to: u64) -> Result<Vec<(u64, String)>> {
        if !self.knows_cuts {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT seq, note FROM checkpoints WHERE seq > ? AND seq <= ? AND seq >= {BEGIN} ORDER BY seq LIMIT {PAGE}"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(number(after)).bind(number(up_to));
        let rows = rows.fetch_all(&mut self.connection).await.map_err(refused)?;
        let pinned = rows.iter().map(|row| {
            let seq: i64 = row.try_get(0).map_err(refused)?;
            Ok((seq as u64, read::text(row, seq as u64, "note")?.to_owned()))
        });
        pinned.collect()
    }
}

impl Page {
    /// Gives `take` each record, and behind it the checkpoint that is of it.
    fn give(
        &self,
        checkpoints: &[(u64, String)],
        take: &mut impl FnMut(Entry<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut checkpoints = checkpoints.iter().peekable();
        let mut give = |seq: u64, hash: &str, body: &str| {
            take(Entry::Record { body, hash: read::hash(seq, hash)? })?;
            while let Some((_, note)) = checkpoints.next_if(|(of, _)| *of <= seq) {
                take(Entry::Checkpoint(note))?;
            }
            Ok(())
        };
        match &self.records {
            Records::Joined(row, count) => {
                let text: &str = row.try_get(3).map_err(refused)?;
                let first = self.last - *count as u64 + 1;
                for (seq, line) in (first..).zip(text.split('\n')) {
                    let (hash, body) = line.split_at_checked(HASH).unwrap_or((line, ""));
                    give(seq, hash, body)?;
                }
                Ok(())
            }
            Records::Rows(rows) => rows.iter().try_for_each(|row| {
                let seq: i64 = row.try_get(0).map_err(refused)?;
                let seq = seq as u64;
                give(seq, read::text(row, seq, "hash")?, read::text(row, seq, "body")?)
            }),
        }
    }
}

/// Opens a file for reading, and says which tables it has.
async fn tables(
    path: &Path,
    is_still: bool,
    query: &'static str,
) -> Result<(SqliteConnection, Vec<String>), sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(is_still)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    let tables = sqlx::query_scalar(query).fetch_all(&mut connection).await?;
    Ok((connection, tables))
}

/// Whether it could be that nothing can be written beside the file.
fn has_no_place_beside(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(READ_ONLY | CANNOT_OPEN))
}

/// Whether all of the file is in itself. Who reads a file in WAL mode needs a place beside it for what its
/// readers share; if there is none, because the folder is read-only, the file does not change either.
fn is_still(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    path.is_file() && std::fs::metadata(PathBuf::from(log)).map_or(true, |log| log.len() == 0)
}

//! [`SqliteStore`]: opening, closing, the port.

use crate::change::Prepared;
use crate::errand::Errand;
use crate::error::{at, closed, unavailable};
use crate::holder::Presence;
use crate::script::Beat;
use crate::writer::{Job, Writer, enqueue};
use crate::{claim, evidence, outbox, prune, read, spend};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Head, Record};
use astradesk_core::guardrail::Allowance;
use astradesk_core::run::Holder;
use astradesk_core::{Code, Error, Result, Run, RunId, Timestamp};
use astradesk_runtime::port::{
    Announcement, Attempted, Change, CommitError, Committed, Cut, EvidenceFilter, RunEvent, RunFilter,
    RunPage, Store,
};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlitePool};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// How large a store's parts are, and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The most changes in one transaction; at least 1.
    pub group: usize,
    /// The most changes that wait to be written; at least 1. One more is refused with `store.unavailable`.
    pub queue: usize,
    /// The most connections that read at the same time; at least 1. Each is opened when it is needed.
    pub readers: u32,
    /// How long to wait for another process that writes to the same file, and for a free connection.
    pub busy_timeout: Duration,
    /// Whether every commit is on disk when it returns (`synchronous=FULL`). Without it, a power cut may
    /// take the last commits, though never the file's soundness: for tests and demonstrations.
    pub durable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { group: 256, queue: 4096, readers: 4, busy_timeout: Duration::from_secs(5), durable: true }
    }
}

/// A [`Store`] in one SQLite file, in WAL mode.
///
/// Several of them, in this process or in others, may have the same file open. Each is a holder of its own:
/// alive while it is open and [`beat`](Store::beat) has told so, with a lease of at most 60 seconds. The
/// store before its first beat, and after its last, is dead to the others.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    presence: Arc<Presence>,
    jobs: mpsc::Sender<Job>,
    pub(crate) readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the store in the file `path`, and creates it if it is not there: the folder with mode 0700, the
    /// file with mode 0600. Beside it stand `path` with `.lock` at its end, which orders those who open it, and
    /// for each that has it open one with `.holder-` and a name, by whose lock the others know that it lives.
    ///
    /// Fails with `store.unavailable` when the file cannot be opened or created, is no SQLite database, or
    /// was made by a newer version.
    pub async fn open(path: &Path, options: Options) -> Result<Self> {
        let _lock = create(path, options.busy_timeout).await?;
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(if options.durable { SqliteSynchronous::Full } else { SqliteSynchronous::Normal })
            .foreign_keys(true)
            .busy_timeout(options.busy_timeout)
            // 16 MiB: a checkpoint costs two fsyncs of its own, so it should be worth it.
            .pragma("wal_autocheckpoint", "4000")
            .pragma("journal_size_limit", "67108864")
            .disable_statement_logging();
        let failed = |error| at(path, unavailable("open the store", &error));
        let pool = |connections| pool(connections, options.busy_timeout);
        let writers = pool(1).connect_with(connect.clone()).await.map_err(failed)?;
        migrate(&writers).await.map_err(|error| at(path, error))?;
        let readers = pool(options.readers.max(1)).connect_lazy_with(connect.pragma("query_only", "ON"));
        let presence = Presence::beside(path).map_err(|error| unopened(path, &error))?;
        Ok(Self::start(writers, readers, false, presence, &options))
    }

    /// A store that is gone when it is dropped, for tests: it reads and writes over one connection.
    pub async fn in_memory() -> Result<Self> {
        let options = Options::default();
        let connect =
            SqliteConnectOptions::new().in_memory(true).foreign_keys(true).disable_statement_logging();
        let only = pool(1, options.busy_timeout).connect_with(connect).await;
        let only = only.map_err(|error| unavailable("open a store in memory", &error))?;
        migrate(&only).await?;
        Ok(Self::start(only.clone(), only, true, Presence::in_memory(), &options))
    }

    pub(crate) fn start(
        writers: SqlitePool,
        readers: SqlitePool,
        shared: bool,
        presence: Presence,
        options: &Options,
    ) -> Self {
        let (sender, jobs) = mpsc::channel(options.queue.max(1));
        let holder = presence.holder().clone();
        tokio::spawn(Writer { pool: writers, shared, holder, jobs, group: options.group.max(1) }.run());
        Self { presence: Arc::new(presence), jobs: sender, readers }
    }

    /// Waits for its place in a full queue, as a beat does.
    async fn run_errand(&self, errand: Errand) -> Result<u64> {
        let (reply, done) = oneshot::channel();
        self.jobs.send(Job::Errand(errand, reply)).await.map_err(|_| closed())?;
        done.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Writes what is waiting, and closes the file. Every commit after this one is refused, and what this store
    /// held can be claimed by others at once; closing twice is closing once.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
        self.presence.leave();
        self.readers.close().await;
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        let change = Prepared::new(change).map_err(CommitError::Unavailable)?;
        let (reply, verdict) = oneshot::channel();
        enqueue(&self.jobs, Job::Commit(Box::new(change), reply)).map_err(CommitError::Unavailable)?;
        verdict.await.unwrap_or_else(|_| Err(CommitError::Unavailable(closed())))
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>> {
        read::run(&self.readers, id).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<RunPage> {
        read::runs(&self.readers, filter).await
    }

    fn holder(&self) -> Holder {
        self.presence.holder().clone()
    }

    /// Waits for its place in a full queue, where a change is refused: a store that has much to do is alive.
    async fn beat(&self, now: Timestamp, until: Timestamp) -> Result<()> {
        let beat = Beat { now: now.as_microsecond(), until: until.as_microsecond() };
        let (reply, written) = oneshot::channel();
        self.jobs.send(Job::Beat(beat, reply)).await.map_err(|_| closed())?;
        written.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn orphans(&self, now: Timestamp, limit: u32) -> Result<Vec<Run>> {
        claim::orphans(&self.readers, &self.presence, now, None, limit).await
    }

    async fn orphan(&self, run: RunId, now: Timestamp) -> Result<Option<Run>> {
        let found = claim::orphans(&self.readers, &self.presence, now, Some(run), 1).await?;
        Ok(found.into_iter().next())
    }

    async fn cancelled(&self) -> Result<Vec<RunId>> {
        claim::cancelled(&self.readers, &self.presence).await
    }

    async fn events(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<RunEvent>> {
        read::events(&self.readers, run, after, limit).await
    }

    async fn idempotency(
        &self,
        principal: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<(RunId, Digest)>> {
        read::idempotency(&self.readers, principal, key, now).await
    }

    async fn exhausted(
        &self,
        allowance: &Allowance,
        except: (RunId, usize),
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        spend::exhausted(&self.readers, allowance, except, now).await
    }

    async fn awaiting(&self, after: Option<RunId>, limit: u32) -> Result<Vec<Run>> {
        read::awaiting(&self.readers, after, limit).await
    }

    async fn announcements(&self, now: Timestamp, limit: u32) -> Result<Vec<Announcement>> {
        if !outbox::is_any_due(&self.readers, now).await? {
            return Ok(Vec::new());
        }
        let (taken, leased) = oneshot::channel();
        self.run_errand(Errand::Lease { now, limit, taken }).await?;
        leased.await.map_err(|_| closed())
    }

    async fn dead_announcements(&self, limit: u32) -> Result<Vec<Announcement>> {
        outbox::dead(&self.readers, limit).await
    }

    async fn attempted(&self, id: &str, attempted: Attempted) -> Result<()> {
        self.run_errand(Errand::Attempted(id.to_owned(), attempted)).await.map(|_| ())
    }

    async fn revive(&self, id: &str, now: Timestamp) -> Result<bool> {
        Ok(self.run_errand(Errand::Revive(id.to_owned(), now)).await? > 0)
    }

    async fn evidence(&self, filter: &EvidenceFilter) -> Result<Vec<Record>> {
        evidence::records(&self.readers, filter).await
    }

    async fn cut(&self) -> Result<Option<Cut>> {
        evidence::cut(&self.readers).await
    }

    /// The cut is kept first, then the records go in small steps. Where it breaks off, the next call goes on.
    async fn prune_evidence(&self, cut: &Cut) -> Result<()> {
        self.run_errand(Errand::Cut(cut.clone())).await?;
        while self.run_errand(Errand::PruneRecords).await? > 0 {}
        Ok(())
    }

    async fn prune_runs(&self, ended_before: Timestamp, limit: u32) -> Result<u32> {
        let ended = prune::ended(&self.readers, ended_before, limit).await?;
        let mut removed = 0;
        for ids in ended.chunks(prune::RUNS) {
            removed += self.run_errand(Errand::PruneRuns(ids.to_vec())).await? as u32;
        }
        Ok(removed)
    }

    async fn keep_checkpoint(&self, seq: u64, at: Timestamp, checkpoint: &str) -> Result<()> {
        let note = checkpoint.to_owned();
        self.run_errand(Errand::Checkpoint { seq, at, note }).await.map(|_| ())
    }

    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<String>> {
        evidence::checkpoints(&self.readers, after, limit).await
    }

    async fn head(&self) -> Result<Head> {
        evidence::last(&self.readers).await
    }

    async fn ready(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        enqueue(&self.jobs, Job::Probe(reply))?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

/// A pool whose connections live until it is closed, and are not asked whether they still do: they are
/// handles of this process, and no network can have dropped them.
fn pool(connections: u32, wait: Duration) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(wait)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

async fn migrate(pool: &SqlitePool) -> Result<()> {
    MIGRATIONS.run(pool).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::VersionMissing(version) => Error::new(
            Code::StoreUnavailable,
            format!("the store has migration {version}, which this version of astradesk does not know"),
        )
        .with_remedy("use the newer version that wrote it"),
        sqlx::migrate::MigrateError::Execute(error)
        | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => unavailable("prepare the store", &error),
        _ => Error::new(
            Code::StoreUnavailable,
            "cannot prepare the store: its migrations are not those of astradesk",
        ),
    })
}

/// Creates the folder and the file, readable by this user alone, and gives the lock that orders those who
/// open it: SQLite cannot wait for its turn to switch a file to WAL.
///
/// The database file is never opened here once it is there: closing it would drop the locks that another
/// store of this process holds on it (<https://www.sqlite.org/howtocorrupt.html>, section 2.2).
async fn create(path: &Path, wait: Duration) -> Result<File> {
    let failed = |error: &io::Error| unopened(path, error);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| failed(&error))?;
    }
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(PathBuf::from(lock))
        .map_err(|error| failed(&error))?;
    let deadline = tokio::time::Instant::now() + wait;
    while let Err(error) = lock.try_lock() {
        match error {
            TryLockError::WouldBlock if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            TryLockError::WouldBlock => return Err(failed(&io::ErrorKind::TimedOut.into())),
            TryLockError::Error(error) => return Err(failed(&error)),
        }
    }
    match fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Ok(_) => Ok(lock),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(lock),
        Err(error) => Err(failed(&error)),
    }
}

fn unopened(path: &Path, error: &io::Error) -> Error {
    at(path, Error::new(Code::StoreUnavailable, format!("cannot open the store: {}", error.kind())))
}

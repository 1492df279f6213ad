//! A store that a test can take down.

use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Head, Record};
use astradesk_core::run::Holder;
use astradesk_core::{Code, Error, Result, Run, RunId, Timestamp};
use astradesk_runtime::port::{Change, CommitError, Committed, RunEvent, RunFilter, RunPage, Store};
use astradesk_store::{Options, SqliteStore};
use async_trait::async_trait;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct TestStore {
    inner: SqliteStore,
    down: AtomicBool,
}

impl TestStore {
    pub async fn in_memory() -> Self {
        Self { inner: SqliteStore::in_memory().await.unwrap(), down: AtomicBool::new(false) }
    }

    /// The store in a file, which others may have open, too.
    pub async fn open(path: &Path) -> Self {
        let inner = SqliteStore::open(path, Options::default()).await.unwrap();
        Self { inner, down: AtomicBool::new(false) }
    }

    /// From now on nothing can be read or written; or again it can.
    pub fn take_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn up(&self) -> Result<&SqliteStore> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::new(Code::StoreUnavailable, "the disk is full"));
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl Store for TestStore {
    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        self.up().map_err(CommitError::Unavailable)?.commit(change).await
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>> {
        self.up()?.run(id).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<RunPage> {
        self.up()?.runs(filter).await
    }

    fn holder(&self) -> Holder {
        self.inner.holder()
    }

    async fn beat(&self, now: Timestamp, until: Timestamp) -> Result<()> {
        self.up()?.beat(now, until).await
    }

    async fn orphans(&self, now: Timestamp, limit: u32) -> Result<Vec<Run>> {
        self.up()?.orphans(now, limit).await
    }

    async fn cancelled(&self) -> Result<Vec<RunId>> {
        self.up()?.cancelled().await
    }

    async fn events(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<RunEvent>> {
        self.up()?.events(run, after, limit).await
    }

    async fn idempotency(
        &self,
        principal: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<(RunId, Digest)>> {
        self.up()?.idempotency(principal, key, now).await
    }

    async fn evidence(&self, after: u64, limit: u32) -> Result<Vec<Record>> {
        self.up()?.evidence(after, limit).await
    }

    async fn head(&self) -> Result<Head> {
        self.up()?.head().await
    }

    async fn ready(&self) -> Result<()> {
        self.up()?.ready().await
    }
}

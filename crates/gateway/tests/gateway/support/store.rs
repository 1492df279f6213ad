//! A store that a test can take down.

use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Head, Record};
use astradesk_core::guardrail::Allowance;
use astradesk_core::run::Holder;
use astradesk_core::{Code, Error, Result, Run, RunId, Timestamp};
use astradesk_runtime::port::{
    Announcement, Attempted, Change, CommitError, Committed, Cut, EvidenceFilter, RunEvent, RunFilter,
    RunPage, Store,
};
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

    async fn exhausted(
        &self,
        allowance: &Allowance,
        step: (RunId, usize),
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        self.up()?.exhausted(allowance, step, now).await
    }

    async fn awaiting(&self, after: Option<RunId>, limit: u32) -> Result<Vec<Run>> {
        self.up()?.awaiting(after, limit).await
    }

    async fn announcements(&self, now: Timestamp, limit: u32) -> Result<Vec<Announcement>> {
        self.up()?.announcements(now, limit).await
    }

    async fn dead_announcements(&self, limit: u32) -> Result<Vec<Announcement>> {
        self.up()?.dead_announcements(limit).await
    }

    async fn attempted(&self, id: &str, attempted: Attempted) -> Result<()> {
        self.up()?.attempted(id, attempted).await
    }

    async fn revive(&self, id: &str, now: Timestamp) -> Result<bool> {
        self.up()?.revive(id, now).await
    }

    async fn evidence(&self, filter: &EvidenceFilter) -> Result<Vec<Record>> {
        self.up()?.evidence(filter).await
    }

    async fn cut(&self) -> Result<Option<Cut>> {
        self.up()?.cut().await
    }

    async fn prune_evidence(&self, cut: &Cut) -> Result<()> {
        self.up()?.prune_evidence(cut).await
    }

    async fn prune_runs(&self, ended_before: Timestamp, limit: u32) -> Result<u32> {
        self.up()?.prune_runs(ended_before, limit).await
    }

    async fn keep_checkpoint(&self, seq: u64, at: Timestamp, checkpoint: &str) -> Result<()> {
        self.up()?.keep_checkpoint(seq, at, checkpoint).await
    }

    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<String>> {
        self.up()?.checkpoints(after, limit).await
    }

    async fn head(&self) -> Result<Head> {
        self.up()?.head().await
    }

    async fn ready(&self) -> Result<()> {
        self.up()?.ready().await
    }
}

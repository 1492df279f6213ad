//! A store that can be cut off, and cut in the middle of things.

use crate::memory::{Data, Memory};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Head, Record};
use astradesk_core::guardrail::Allowance;
use astradesk_core::run::Holder;
use astradesk_core::{Code, Error, Result, Run, RunId, Timestamp};
use astradesk_runtime::port::{
    Announcement, Attempted, Change, CommitError, Committed, Cut as Pruned, EvidenceFilter, RunEvent,
    RunFilter, RunPage, Store,
};
use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Barrier, Semaphore};

/// A store that can be cut off.
pub(crate) struct Cut {
    pub(crate) inner: Memory,
    pub(crate) down: AtomicBool,
    pub(crate) orphan_down: AtomicBool,
    /// Whether old evidence cannot be removed.
    pub(crate) prune_down: AtomicBool,
    pub(crate) slow: AtomicBool,
    /// Orphans that were read before somebody claimed them.
    pub(crate) stale: Mutex<Vec<Run>>,
    /// Counts the commits that were refused.
    pub(crate) refused: Semaphore,
    /// Where whoever commits something waits for others who do so at the same moment.
    pub(crate) together: Mutex<Option<Arc<Barrier>>>,
    /// The same for whoever takes from an allowance.
    pub(crate) spending: Mutex<Option<Arc<Barrier>>>,
}

impl Cut {
    pub(crate) fn open(data: &Arc<Mutex<Data>>, name: &str) -> Arc<Self> {
        Arc::new(Self {
            inner: Memory::open(data, name),
            down: AtomicBool::new(false),
            orphan_down: AtomicBool::new(false),
            prune_down: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            stale: Mutex::default(),
            refused: Semaphore::new(0),
            together: Mutex::default(),
            spending: Mutex::default(),
        })
    }

    fn up(&self) -> Result<()> {
        if self.down.load(Ordering::SeqCst) {
            self.refused.add_permits(1);
            return Err(Error::new(Code::StoreUnavailable, "cut off"));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Cut {
    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        if self.slow.load(Ordering::SeqCst)
            && change.run.as_ref().is_some_and(|run| run.version == 1 && !run.state.is_final())
        {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let mut together = self.together.lock().unwrap().take();
        if !change.spends.is_empty() {
            together = together.or_else(|| self.spending.lock().unwrap().take());
        }
        if let Some(barrier) = together {
            barrier.wait().await;
        }
        self.up().map_err(CommitError::Unavailable)?;
        self.inner.commit(change).await
    }
    async fn run(&self, id: RunId) -> Result<Option<Run>> {
        self.inner.run(id).await
    }
    fn holder(&self) -> Holder {
        self.inner.holder()
    }
    async fn beat(&self, now: Timestamp, until: Timestamp) -> Result<()> {
        self.up()?;
        self.inner.beat(now, until).await
    }
    async fn orphans(&self, now: Timestamp, limit: u32) -> Result<Vec<Run>> {
        self.up()?;
        let stale = std::mem::take(&mut *self.stale.lock().unwrap());
        if stale.is_empty() { self.inner.orphans(now, limit).await } else { Ok(stale) }
    }
    async fn orphan(&self, run: RunId, now: Timestamp) -> Result<Option<Run>> {
        if self.orphan_down.load(Ordering::SeqCst) {
            return Err(Error::new(Code::StoreUnavailable, "no connection became free"));
        }
        Ok(self.inner.orphans(now, u32::MAX).await?.into_iter().find(|o| o.id == run))
    }
    async fn cancelled(&self) -> Result<Vec<RunId>> {
        self.up()?;
        self.inner.cancelled().await
    }
    async fn runs(&self, filter: &RunFilter) -> Result<RunPage> {
        self.inner.runs(filter).await
    }
    async fn events(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<RunEvent>> {
        self.inner.events(run, after, limit).await
    }
    async fn idempotency(
        &self,
        principal: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<(RunId, Digest)>> {
        self.inner.idempotency(principal, key, now).await
    }
    async fn exhausted(
        &self,
        allowance: &Allowance,
        except: (RunId, usize),
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        self.up()?;
        self.inner.exhausted(allowance, except, now).await
    }
    async fn awaiting(&self, after: Option<RunId>, limit: u32) -> Result<Vec<Run>> {
        self.up()?;
        self.inner.awaiting(after, limit).await
    }
    async fn announcements(&self, now: Timestamp, limit: u32) -> Result<Vec<Announcement>> {
        self.inner.announcements(now, limit).await
    }
    async fn dead_announcements(&self, limit: u32) -> Result<Vec<Announcement>> {
        self.inner.dead_announcements(limit).await
    }
    async fn attempted(&self, id: &str, attempted: Attempted) -> Result<()> {
        self.up()?;
        self.inner.attempted(id, attempted).await
    }
    async fn revive(&self, id: &str, now: Timestamp) -> Result<bool> {
        self.up()?;
        self.inner.revive(id, now).await
    }
    async fn evidence(&self, filter: &EvidenceFilter) -> Result<Vec<Record>> {
        self.inner.evidence(filter).await
    }
    async fn cut(&self) -> Result<Option<Pruned>> {
        self.inner.cut().await
    }
    async fn prune_evidence(&self, cut: &Pruned) -> Result<()> {
        if self.prune_down.load(Ordering::SeqCst) {
            return Err(Error::new(Code::StoreUnavailable, "cut off"));
        }
        self.inner.prune_evidence(cut).await
    }
    async fn prune_runs(&self, ended_before: Timestamp, limit: u32) -> Result<u32> {
        self.up()?;
        self.inner.prune_runs(ended_before, limit).await
    }
    async fn keep_checkpoint(&self, seq: u64, at: Timestamp, checkpoint: &str) -> Result<()> {
        self.up()?;
        self.inner.keep_checkpoint(seq, at, checkpoint).await
    }
    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<String>> {
        self.inner.checkpoints(after, limit).await
    }
    async fn head(&self) -> Result<Head> {
        self.inner.head().await
    }
    async fn ready(&self) -> Result<()> {
        self.up()
    }
}

//! The store: state, evidence and events, changed together or not at all.

use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Draft, Head, Record};
use astradesk_core::run::Holder;
use astradesk_core::{Error, Result, Run, RunId, Target, Timestamp, ToolName};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that is to become durable at once.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The run as it is now. Version 1 is inserted; any other replaces the version before it.
    pub run: Option<Run>,
    /// Records for the evidence chain, in order.
    pub evidence: Vec<Draft>,
    /// Events for those who watch the run.
    pub events: Vec<EventDraft>,
    /// Locks to take or give back.
    pub locks: Vec<LockChange>,
    /// The key under which a repeated request finds this run.
    pub idempotency: Option<IdempotencyKey>,
}

/// A change of the target locks. A lock does not fall by itself: it is held until its run is settled.
#[derive(Debug, Clone, PartialEq)]
pub enum LockChange {
    /// Take the lock of `target` for `run`, unless another run holds it.
    Acquire {
        /// What is locked.
        target: Target,
        /// For which run.
        run: RunId,
    },
    /// Give back every lock that `run` holds.
    Release {
        /// Whose locks.
        run: RunId,
    },
}

/// The key of a request that may be repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct IdempotencyKey {
    /// [`Principal::id`](astradesk_core::Principal::id): keys of different principals do not meet.
    pub principal: String,
    /// The key that the client chose.
    pub key: String,
    /// Digest of the request.
    pub request: Digest,
    /// The run that the request made.
    pub run: RunId,
    /// The time now; a key that expired before it is free again.
    pub now: Timestamp,
    /// Until when the key is remembered.
    pub expires_at: Timestamp,
}

/// An event of a run, before it has its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventDraft {
    /// The run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// `state`, `step` or `progress`.
    pub kind: String,
    /// The facts.
    pub data: Value,
}

/// An event of a run, in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Its number: rises in each run, not without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// `state`, `step` or `progress`.
    pub kind: String,
    /// The facts.
    pub data: Value,
}

/// What a commit gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The end of the evidence chain, this change included.
    pub head: Head,
}

/// Why nothing of a change was kept.
#[derive(Debug, Clone, PartialEq)]
pub enum CommitError {
    /// The run has another version by now.
    Stale,
    /// Another run holds a lock.
    Locked {
        /// What is locked.
        target: Target,
        /// By which run.
        holder: RunId,
    },
    /// The idempotency key is taken.
    Duplicate {
        /// The run that the first request made.
        run: RunId,
        /// The digest of the first request.
        request: Digest,
    },
    /// The store cannot write.
    Unavailable(Error),
}

/// Which runs are wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunFilter {
    /// Only those of this [`Principal::id`](astradesk_core::Principal::id).
    pub principal: Option<String>,
    /// Only those in this state, by its name.
    pub state: Option<String>,
    /// Only those with a step of this tool.
    pub tool: Option<ToolName>,
    /// Only those older than this one.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: u32,
}

/// Runs, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<Run>,
    /// Where the next page starts, if there is one: pass it as [`RunFilter::before`].
    pub next: Option<RunId>,
}

/// Keeps runs, evidence, events, locks and idempotency keys.
///
/// [`commit`](Store::commit) may put the changes of several callers into one transaction, but each
/// change is kept whole or not at all, and when it returns, it is on disk.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes a change durable.
    async fn commit(&self, change: Change) -> Result<Committed, CommitError>;

    /// The run.
    async fn run(&self, id: RunId) -> Result<Option<Run>>;

    /// Runs, newest first.
    async fn runs(&self, filter: &RunFilter) -> Result<RunPage>;

    /// Who commits here: a name that no other Engine has, for as long as this store is open. Others tell
    /// that it is alive by [`beat`](Store::beat), and, where the store can, by what ends with its process.
    fn holder(&self) -> Holder;

    /// Says that the holder of this store is alive, at least until `until`.
    async fn beat(&self, now: Timestamp, until: Timestamp) -> Result<()>;

    /// The runs that can be claimed, oldest first, at most `limit`: queued or running, and held by nobody, or
    /// by a holder that is dead at `now`.
    async fn orphans(&self, now: Timestamp, limit: u32) -> Result<Vec<Run>>;

    /// This run, if it can be claimed.
    async fn orphan(&self, run: RunId, now: Timestamp) -> Result<Option<Run>> {
        let orphans = self.orphans(now, u32::MAX).await?;
        Ok(orphans.into_iter().find(|orphan| orphan.id == run))
    }

    /// The unfinished runs of this store's holder that are to be cancelled.
    async fn cancelled(&self) -> Result<Vec<RunId>>;

    /// The events of a run after number `after`, at most `limit`.
    async fn events(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<RunEvent>>;

    /// The run and request digest that an idempotency key stands for.
    async fn idempotency(
        &self,
        principal: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<(RunId, Digest)>>;

    /// The records of the evidence chain after number `after`, at most `limit`.
    async fn evidence(&self, after: u64, limit: u32) -> Result<Vec<Record>>;

    /// The end of the evidence chain.
    async fn head(&self) -> Result<Head>;

    /// Whether the store can write, checked by writing.
    async fn ready(&self) -> Result<()>;
}

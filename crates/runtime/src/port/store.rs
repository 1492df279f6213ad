//! The store: state, evidence and events, changed together or not at all.

use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Draft, Head, Record};
use astradesk_core::guardrail::Allowance;
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
    /// What it takes from cool-downs and budgets.
    pub spends: Vec<Spend>,
    /// What others are to be told.
    pub announcements: Vec<Announcement>,
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

/// An action that counts against an allowance. The same step of the same run counts once.
#[derive(Debug, Clone, PartialEq)]
pub struct Spend {
    /// What it counts against.
    pub allowance: Allowance,
    /// The run.
    pub run: RunId,
    /// The step, from 0.
    pub step: usize,
    /// When.
    pub at: Timestamp,
}

/// Something that others are to be told, kept until they have been.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// Its id, the same in every attempt.
    pub id: String,
    /// Where to: the name of a webhook.
    pub to: String,
    /// When it came to be.
    pub at: Timestamp,
    /// The exact body.
    pub body: String,
    /// Counts the attempts that failed.
    pub attempts: u32,
    /// Not before.
    pub due_at: Timestamp,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether no further attempt is made.
    #[serde(default)]
    pub dead: bool,
}

/// How an attempt to tell went.
#[derive(Debug, Clone, PartialEq)]
pub enum Attempted {
    /// They know.
    Told,
    /// Once more, not before this time.
    Again {
        /// When.
        due_at: Timestamp,
        /// Why it failed.
        error: String,
    },
    /// No more.
    Dead {
        /// Why it failed.
        error: String,
    },
}

/// Which records are wanted, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvidenceFilter {
    /// Only those after this number.
    pub after: u64,
    /// Only those up to this number.
    pub up_to: Option<u64>,
    /// Only those of this run.
    pub run: Option<RunId>,
    /// Only those of these kinds, by their names; empty means all.
    pub kinds: Vec<String>,
    /// Only those from this time on.
    pub since: Option<Timestamp>,
    /// Only those before this time.
    pub until: Option<Timestamp>,
    /// At most so many.
    pub limit: u32,
}

/// Where the chain begins after old records were removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The last record that was removed.
    pub head: Head,
    /// The signed checkpoint that pins it.
    pub checkpoint: String,
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
    /// There are no more actions in an allowance.
    Exhausted {
        /// The allowance.
        allowance: Allowance,
        /// When the first of those that count happened.
        oldest: Timestamp,
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

    /// When the oldest of the actions that count against the allowance at `now` happened, if there are as many
    /// as its limit; the one of this run's step does not count.
    async fn exhausted(
        &self,
        allowance: &Allowance,
        except: (RunId, usize),
        now: Timestamp,
    ) -> Result<Option<Timestamp>>;

    /// The runs that await approval, oldest first, at most `limit`, after this one.
    async fn awaiting(&self, after: Option<RunId>, limit: u32) -> Result<Vec<Run>>;

    /// Takes announcements that are due, oldest first, at most `limit`. Nobody is given them again for 30 seconds,
    /// that is, until the `due_at` that they have now; and those of one webhook do not keep out those of another.
    async fn announcements(&self, now: Timestamp, limit: u32) -> Result<Vec<Announcement>>;

    /// The announcements that are dead, newest first, at most `limit`.
    async fn dead_announcements(&self, limit: u32) -> Result<Vec<Announcement>>;

    /// Says how the attempt to tell an announcement went.
    async fn attempted(&self, id: &str, attempted: Attempted) -> Result<()>;

    /// Makes a dead announcement due again; `false` when there is none with this id.
    async fn revive(&self, id: &str, now: Timestamp) -> Result<bool>;

    /// Records of the evidence chain.
    async fn evidence(&self, filter: &EvidenceFilter) -> Result<Vec<Record>>;

    /// Where the chain begins, if old records were removed.
    async fn cut(&self) -> Result<Option<Cut>>;

    /// Removes the records up to `cut`, and remembers it.
    async fn prune_evidence(&self, cut: &Cut) -> Result<()>;

    /// Removes runs that ended before this time, with their events, at most `limit`; gives how many. A run whose
    /// idempotency key had not expired by this time stays, so that a repeated request still finds it.
    async fn prune_runs(&self, ended_before: Timestamp, limit: u32) -> Result<u32>;

    /// Keeps a signed checkpoint of the record with this number.
    async fn keep_checkpoint(&self, seq: u64, at: Timestamp, checkpoint: &str) -> Result<()>;

    /// The checkpoints of records after number `after`, in order, at most `limit`.
    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<String>>;

    /// The end of the evidence chain.
    async fn head(&self) -> Result<Head>;

    /// Whether the store can write, checked by writing.
    async fn ready(&self) -> Result<()>;
}

//! The store and the policy of a process, behind its gates.

use crate::gate::Process;
use crate::memory::Memory;
use crate::world::World;
use astradesk_core::canonical::Digest;
use astradesk_core::decision::Reason;
use astradesk_core::evidence::{Head, Record};
use astradesk_core::guardrail::Allowance;
use astradesk_core::run::Holder;
use astradesk_core::{Code, Decision, Error, Principal, Result, Run, RunId, Timestamp, ToolSpec};
use astradesk_runtime::port::{
    Announcement, Attempted, Change, CommitError, Committed, Cut, EvidenceFilter, Explanation, Policy,
    PolicyRequest, PolicyStatus, RunEvent, RunFilter, RunPage, Store,
};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) struct GatedStore {
    pub(crate) world: Arc<World>,
    pub(crate) process: Arc<Process>,
    pub(crate) memory: Memory,
}

fn away() -> Error {
    Error::new(Code::StoreUnavailable, "the store does not answer")
}

impl GatedStore {
    /// The memory's futures are done at once, so that a call is one moment.
    async fn gate<T: Send>(&self, label: &str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let down = self.world.store_down.load(Ordering::SeqCst);
        let act = || if down { Err(away()) } else { at_once(call) };
        self.process.through(label, act, || Err(away())).await
    }
}

fn at_once<T>(call: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(call).poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("a store in memory does not wait"),
    }
}

/// What a change is about, for the log.
fn about(change: &Change) -> String {
    let kinds: Vec<_> = change.evidence.iter().map(|draft| json!(draft.kind)).collect();
    let run = change.run.as_ref().map(|run| (run.state.name(), run.version, run.fence));
    format!("store.commit {run:?} {}", json!(kinds))
}

#[async_trait]
impl Store for GatedStore {
    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        let label = about(&change);
        let down = self.world.store_down.load(Ordering::SeqCst);
        let act = || {
            if down { Err(CommitError::Unavailable(away())) } else { self.memory.data().commit(change) }
        };
        self.process.through(&label, act, || Err(CommitError::Unavailable(away()))).await
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>> {
        self.gate("store.run", self.memory.run(id)).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<RunPage> {
        self.gate("store.runs", self.memory.runs(filter)).await
    }

    fn holder(&self) -> Holder {
        self.memory.holder()
    }

    async fn beat(&self, now: Timestamp, until: Timestamp) -> Result<()> {
        self.gate("store.beat", self.memory.beat(now, until)).await
    }

    async fn orphans(&self, now: Timestamp, limit: u32) -> Result<Vec<Run>> {
        self.gate("store.orphans", self.memory.orphans(now, limit)).await
    }

    async fn cancelled(&self) -> Result<Vec<RunId>> {
        self.gate("store.cancelled", self.memory.cancelled()).await
    }

    async fn events(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<RunEvent>> {
        self.gate("store.events", self.memory.events(run, after, limit)).await
    }

    async fn idempotency(
        &self,
        principal: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<(RunId, Digest)>> {
        self.gate("store.idempotency", self.memory.idempotency(principal, key, now)).await
    }

    async fn exhausted(
        &self,
        allowance: &Allowance,
        except: (RunId, usize),
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        self.gate("store.exhausted", self.memory.exhausted(allowance, except, now)).await
    }

    async fn awaiting(&self, after: Option<RunId>, limit: u32) -> Result<Vec<Run>> {
        self.gate("store.awaiting", self.memory.awaiting(after, limit)).await
    }

    async fn announcements(&self, now: Timestamp, limit: u32) -> Result<Vec<Announcement>> {
        self.gate("store.announcements", self.memory.announcements(now, limit)).await
    }

    async fn dead_announcements(&self, limit: u32) -> Result<Vec<Announcement>> {
        self.gate("store.dead_announcements", self.memory.dead_announcements(limit)).await
    }

    async fn attempted(&self, id: &str, attempted: Attempted) -> Result<()> {
        self.gate("store.attempted", self.memory.attempted(id, attempted)).await
    }

    async fn revive(&self, id: &str, now: Timestamp) -> Result<bool> {
        self.gate("store.revive", self.memory.revive(id, now)).await
    }

    async fn evidence(&self, filter: &EvidenceFilter) -> Result<Vec<Record>> {
        self.gate("store.evidence", self.memory.evidence(filter)).await
    }

    async fn cut(&self) -> Result<Option<Cut>> {
        self.gate("store.cut", self.memory.cut()).await
    }

    async fn prune_evidence(&self, cut: &Cut) -> Result<()> {
        self.gate("store.prune_evidence", self.memory.prune_evidence(cut)).await
    }

    async fn prune_runs(&self, ended_before: Timestamp, limit: u32) -> Result<u32> {
        self.gate("store.prune_runs", self.memory.prune_runs(ended_before, limit)).await
    }

    async fn keep_checkpoint(&self, seq: u64, at: Timestamp, checkpoint: &str) -> Result<()> {
        self.gate("store.keep_checkpoint", self.memory.keep_checkpoint(seq, at, checkpoint)).await
    }

    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<String>> {
        self.gate("store.checkpoints", self.memory.checkpoints(after, limit)).await
    }

    async fn head(&self) -> Result<Head> {
        self.gate("store.head", self.memory.head()).await
    }

    async fn ready(&self) -> Result<()> {
        self.gate("store.ready", self.memory.ready()).await
    }
}

pub(crate) struct GatedPolicy(pub(crate) Arc<World>, pub(crate) Arc<Process>);

impl Policy for GatedPolicy {
    fn decide(&self, request: &PolicyRequest<'_>) -> Decision {
        if self.1.pass("policy.decide") && self.0.permits.load(Ordering::SeqCst) {
            return self.0.asked(request);
        }
        Decision::Deny { error: Error::new(Code::PolicyDenied, "no"), reasons: vec![] }
    }

    fn may_break_glass(&self, _: &PolicyRequest<'_>) -> Result<Vec<Reason>> {
        Err(Error::new(Code::PolicyBreakGlassDenied, "no"))
    }

    fn may_approve(&self, _: &Principal, _: &PolicyRequest<'_>) -> bool {
        true
    }

    fn explain(&self, request: &PolicyRequest<'_>) -> Explanation {
        let decision = self.0.asked(request);
        Explanation { decision, policies: vec![], otherwise: vec![], set: Digest::ZERO }
    }

    fn needs_facts(&self) -> bool {
        false
    }

    fn status(&self) -> PolicyStatus {
        PolicyStatus {
            digest: Digest::ZERO,
            policies: 1,
            loaded_at: Timestamp::UNIX_EPOCH,
            problem: None,
            warnings: vec![],
        }
    }

    fn reload(&self) -> Result<bool> {
        Ok(false)
    }

    fn may_use(&self, _: &Principal, _: &ToolSpec) -> bool {
        true
    }

    fn may_see_runs_of_others(&self, _: &Principal) -> bool {
        false
    }

    fn may_read_evidence(&self, _: &Principal) -> bool {
        true
    }
}

//! An Engine with a scripted tool, a switchable policy and store, and a clock that stands still.

use crate::memory::{Data, Memory};
use crate::script::{Script, Switch, TestPack, ada, spec, tool};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Head, Record};
use astradesk_core::run::Holder;
use astradesk_core::{Code, Effect, Error, Result, Run, RunId, Timestamp};
use astradesk_runtime::engine::{Limits, Parts, Submission, Submitted};
use astradesk_runtime::evidence::Signer;
use astradesk_runtime::port::{Change, Clock, CommitError, Committed, RunEvent, RunFilter, RunPage, Store};
use astradesk_runtime::{Engine, ToolRegistry};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A store that can be cut off.
pub(crate) struct Cut {
    pub(crate) inner: Memory,
    pub(crate) down: AtomicBool,
    pub(crate) orphan_down: AtomicBool,
    pub(crate) slow: AtomicBool,
    /// Orphans that were read before somebody claimed them.
    pub(crate) stale: Mutex<Vec<Run>>,
    /// Counts the commits that were refused.
    pub(crate) refused: Semaphore,
}

impl Cut {
    fn open(data: &Arc<Mutex<Data>>, life: usize) -> Arc<Self> {
        let inner = Memory::open(data, &format!("life-{life}"));
        Arc::new(Self {
            inner,
            down: AtomicBool::new(false),
            orphan_down: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            stale: Mutex::default(),
            refused: Semaphore::new(0),
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
    async fn evidence(&self, after: u64, limit: u32) -> Result<Vec<Record>> {
        self.inner.evidence(after, limit).await
    }
    async fn head(&self) -> Result<Head> {
        self.inner.head().await
    }
    async fn ready(&self) -> Result<()> {
        self.up()
    }
}

/// Ids that count, and a time that moves only when it is told.
pub(crate) struct Still {
    next: AtomicUsize,
    wall: AtomicI64,
    steady: AtomicI64,
}

impl Still {
    /// Time passes.
    pub(crate) fn pass(&self, seconds: i64) {
        self.step(seconds);
        self.steady.fetch_add(seconds, Ordering::SeqCst);
    }

    /// The clock is set.
    pub(crate) fn step(&self, seconds: i64) {
        self.wall.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.wall.load(Ordering::SeqCst)).unwrap()
    }
    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.steady.load(Ordering::SeqCst) as u64)
    }
    fn run_id(&self) -> RunId {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        RunId::parse(&format!("00000000-0000-7000-8000-{n:012x}")).unwrap()
    }
}

pub(crate) struct World {
    pub(crate) script: Arc<Script>,
    pub(crate) policy: Arc<Switch>,
    pub(crate) data: Arc<Mutex<Data>>,
    pub(crate) store: Arc<Cut>,
    pub(crate) clock: Arc<Still>,
    pub(crate) registry: Arc<ToolRegistry>,
    pub(crate) engine: Engine,
    lives: usize,
}

impl World {
    pub(crate) fn new() -> Self {
        let script = Arc::new(Script::default());
        let registry = Arc::new(ToolRegistry::default());
        let tools = vec![
            tool(spec("restart", Some(Effect::Write)), &script),
            tool(spec("look", Some(Effect::Read)), &script),
        ];
        registry.register(&TestPack(tools)).unwrap();
        let policy = Arc::new(Switch(AtomicBool::new(true)));
        let data = Arc::default();
        let store = Cut::open(&data, 1);
        let clock = Arc::new(Still {
            next: AtomicUsize::new(1),
            wall: AtomicI64::new(1_000_000),
            steady: AtomicI64::new(0),
        });
        let engine = Self::engine(&store, &policy, &registry, &clock);
        Self { script, policy, data, store, clock, registry, engine, lives: 1 }
    }

    fn engine(
        store: &Arc<Cut>,
        policy: &Arc<Switch>,
        registry: &Arc<ToolRegistry>,
        clock: &Arc<Still>,
    ) -> Engine {
        Engine::new(Parts {
            store: store.clone(),
            policy: policy.clone(),
            registry: registry.clone(),
            clock: clock.clone(),
            signer: Arc::new(Signer::from_pkcs8(&astradesk_runtime::key::fresh().unwrap()).unwrap()),
            limits: Limits { concurrent_runs: 2, queued_runs: 1, ..Limits::default() },
        })
    }

    /// The process ends and another begins on the same store.
    pub(crate) async fn reborn(&mut self) {
        assert!(self.engine.stop(Duration::from_secs(5)).await, "the old process came to rest");
        self.lives += 1;
        self.store = Cut::open(&self.data, self.lives);
        self.engine = Self::engine(&self.store, &self.policy, &self.registry, &self.clock);
        self.engine.begin().await.unwrap();
        self.engine.recover();
    }

    pub(crate) async fn submit(&self, tool: &str, service: &str) -> Result<Submitted> {
        self.engine.submit(crate::script::submission(tool, service)).await
    }

    /// Submits and gives the admitted run.
    pub(crate) async fn admitted(&self, submission: Submission) -> Run {
        match self.engine.submit(submission).await.unwrap() {
            Submitted::Run { run, .. } => *run,
            Submitted::Preview(_) => panic!("a preview was not asked for"),
        }
    }

    pub(crate) async fn ended(&self, id: RunId) -> Run {
        let limit = tokio::time::Instant::now() + Duration::from_secs(10);
        let run = self.engine.wait(&ada(), id, limit).await.unwrap();
        assert!(run.state.is_final(), "{:?}", run.state);
        run
    }

    /// The kinds of the evidence's records, checked to be one chain.
    pub(crate) async fn evidence(&self) -> Vec<String> {
        let records = self.store.evidence(0, 1000).await.unwrap();
        let mut head = Head::EMPTY;
        let mut kinds = Vec::new();
        for record in records {
            head = head.verify(&record.body, record.hash).unwrap();
            let body: Value = serde_json::from_str(&record.body).unwrap();
            kinds.push(body["kind"].as_str().unwrap().to_owned());
        }
        kinds
    }
}

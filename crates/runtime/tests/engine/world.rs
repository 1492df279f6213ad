//! An Engine with a scripted tool, a switchable policy and store, and a clock that stands still.

use crate::memory::Data;
use crate::policy::Switch;
use crate::script::{Script, TestPack, person, spec, tool};
use crate::store::Cut;
use astradesk_core::evidence::Head;
use astradesk_core::{Effect, Guardrail, Result, Run, RunId, Timestamp};
use astradesk_runtime::engine::{Limits, Parts, Submission, Submitted};
use astradesk_runtime::evidence::Signer;
use astradesk_runtime::port::{Clock, EvidenceFilter, Store};
use astradesk_runtime::{Engine, ToolRegistry};
use serde_json::Value;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// What the Engines of a world have in common.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) guardrails: Vec<Guardrail>,
    pub(crate) webhooks: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) signer: Arc<Signer>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            guardrails: Vec::new(),
            webhooks: Vec::new(),
            limits: Limits { concurrent_runs: 2, queued_runs: 1, ..Limits::default() },
            signer: Arc::new(Signer::from_pkcs8(&astradesk_runtime::key::fresh().unwrap()).unwrap()),
        }
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
    pub(crate) setup: Setup,
    lives: usize,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let script = Arc::new(Script::default());
        let registry = Arc::new(ToolRegistry::default());
        let policy = Arc::new(Switch::default());
        let data = Arc::default();
        let store = Cut::open(&data, "life-1");
        let clock = Arc::new(Still {
            next: AtomicUsize::new(1),
            wall: AtomicI64::new(1_000_000),
            steady: AtomicI64::new(0),
        });
        let engine = engine(&setup, &store, &policy, &registry, &clock);
        let world = Self { script, policy, data, store, clock, registry, engine, setup, lives: 1 };
        world.install("1");
        world
    }

    /// Registers the tools in this version, in place of those before.
    pub(crate) fn install(&self, version: &str) {
        let tools = [("restart", Effect::Write), ("look", Effect::Read)].map(|(name, effect)| {
            let spec = astradesk_core::ToolSpec { version: version.to_owned(), ..spec(name, Some(effect)) };
            tool(spec, &self.script)
        });
        self.registry.register(&TestPack(tools.to_vec())).unwrap();
    }

    /// Another Engine on the same store, with the store as it opened it.
    pub(crate) async fn beside(&self, name: &str) -> (Engine, Arc<Cut>) {
        let store = Cut::open(&self.data, name);
        let engine = engine(&self.setup, &store, &self.policy, &self.registry, &self.clock);
        engine.begin().await.unwrap();
        (engine, store)
    }

    /// The process ends and another begins on the same store.
    pub(crate) async fn reborn(&mut self) {
        assert!(self.engine.stop(Duration::from_secs(5)).await, "the old process came to rest");
        self.lives += 1;
        self.store = Cut::open(&self.data, &format!("life-{}", self.lives));
        self.engine = engine(&self.setup, &self.store, &self.policy, &self.registry, &self.clock);
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
        let run = self.engine.wait(&person("aud", &[]), id, limit).await.unwrap();
        assert!(run.state.is_final(), "{:?}", run.state);
        run
    }

    /// The run as it is stored.
    pub(crate) fn stored(&self, id: RunId) -> Run {
        self.data.lock().unwrap().runs[&id].clone()
    }

    /// How many effects there were.
    pub(crate) fn performed(&self) -> usize {
        self.script.performed.load(Ordering::SeqCst)
    }

    /// The evidence's records, checked to be one chain.
    pub(crate) async fn records(&self) -> Vec<Value> {
        let filter = EvidenceFilter { limit: 1000, ..EvidenceFilter::default() };
        let mut head = self.store.cut().await.unwrap().map_or(Head::EMPTY, |cut| cut.head);
        let mut bodies = Vec::new();
        for record in self.store.evidence(&filter).await.unwrap() {
            head = head.verify(&record.body, record.hash).unwrap();
            bodies.push(serde_json::from_str(&record.body).unwrap());
        }
        bodies
    }

    /// The kinds of the evidence's records.
    pub(crate) async fn evidence(&self) -> Vec<String> {
        self.records().await.iter().map(|body| body["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// What the last record of this kind tells.
    pub(crate) async fn told(&self, kind: &str) -> Value {
        let records = self.records().await;
        let last = records.iter().rfind(|body| body["kind"] == kind);
        last.unwrap_or_else(|| panic!("there is no {kind}"))["data"].clone()
    }
}

fn engine(
    setup: &Setup,
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
        signer: setup.signer.clone(),
        guardrails: setup.guardrails.clone(),
        webhooks: setup.webhooks.clone(),
        limits: setup.limits.clone(),
    })
}

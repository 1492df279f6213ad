//! An Engine with a scripted tool, a switchable policy and store, and a clock that stands still.

use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Head, Record};
use astradesk_core::{
    Arguments, Call, Code, Decision, Effect, Error, FrozenCall, Principal, Result, Run, RunId, Source,
    Target, Timestamp, ToolName, ToolSpec,
};
use astradesk_runtime::engine::{Limits, Parts, Request, Submission, Submitted};
use astradesk_runtime::evidence::Signer;
use astradesk_runtime::port::{
    Agent, Change, Clock, CommitError, Committed, Fault, Pack, Policy, PolicyRequest, RunEvent, RunFilter,
    RunPage, StepContext, Store, Tool,
};
use astradesk_runtime::{Engine, Permit, ToolRegistry};
use astradesk_store::SqliteStore;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What the scripted tool does and what was seen of it.
pub(crate) struct Script {
    pub(crate) performed: AtomicUsize,
    pub(crate) verifying: Semaphore,
    /// `verify` ends when this has a permit.
    pub(crate) outcome: Semaphore,
    pub(crate) guard: Mutex<Option<Error>>,
    pub(crate) perform: Mutex<Option<Fault>>,
    pub(crate) verify: Mutex<Option<Fault>>,
    /// The runs whose effect is there.
    pub(crate) effects: Mutex<Vec<RunId>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            performed: AtomicUsize::new(0),
            verifying: Semaphore::new(0),
            outcome: Semaphore::new(0),
            guard: Mutex::default(),
            perform: Mutex::default(),
            verify: Mutex::default(),
            effects: Mutex::default(),
        }
    }
}

struct Scripted {
    spec: Arc<ToolSpec>,
    script: Arc<Script>,
}

#[async_trait]
impl Tool for Scripted {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        let service = arguments["service"].as_str().unwrap();
        Ok(vec![format!("kubernetes/test/default/deployment/{service}").parse()?])
    }

    async fn guard(&self, _: &FrozenCall) -> Result<()> {
        self.script.guard.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    async fn preview(&self, _: &FrozenCall) -> Result<Value> {
        Ok(json!({"would": "restart"}))
    }

    async fn perform(&self, _: &Permit, step: &StepContext) -> Result<Value, Fault> {
        if self.spec.effect == Some(Effect::Read) {
            return Ok(json!({"ready": 3}));
        }
        if let Some(fault) = self.script.perform.lock().unwrap().clone() {
            return Err(fault);
        }
        let mut effects = self.script.effects.lock().unwrap();
        if !effects.contains(&step.run) {
            effects.push(step.run);
            self.script.performed.fetch_add(1, Ordering::SeqCst);
        }
        Ok(json!({"generation": 2}))
    }

    async fn verify(&self, step: &StepContext, _: &Value) -> Result<Value, Fault> {
        step.progress.report("1 of 3", json!({"ready": 1}));
        self.script.verifying.add_permits(1);
        self.script.outcome.acquire().await.unwrap().forget();
        self.script.verify.lock().unwrap().clone().map_or(Ok(json!({"ready": 3})), Err)
    }
}

pub(crate) struct TestPack(pub(crate) Vec<Arc<dyn Tool>>);

impl Pack for TestPack {
    fn name(&self) -> &'static str {
        "test"
    }
    fn version(&self) -> &'static str {
        "1"
    }
    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        self.0.clone()
    }
    fn agents(&self) -> Vec<Arc<dyn Agent>> {
        Vec::new()
    }
}

pub(crate) fn spec(name: &str, effect: Option<Effect>) -> ToolSpec {
    ToolSpec {
        name: ToolName::parse(name).unwrap(),
        version: "1".into(),
        description: "for tests".into(),
        effect,
        input_schema: json!({
            "type": "object", "additionalProperties": false, "required": ["service"],
            "properties": {"service": {"type": "string"}},
        }),
        timeout: Duration::from_mins(1),
        grammar: astradesk_core::tool::Grammar::default(),
    }
}

pub(crate) fn tool(spec: ToolSpec, script: &Arc<Script>) -> Arc<dyn Tool> {
    Arc::new(Scripted { spec: Arc::new(spec), script: script.clone() })
}

/// Permits everything while it is on.
pub(crate) struct Switch(pub(crate) AtomicBool);

impl Policy for Switch {
    fn decide(&self, request: &PolicyRequest<'_>) -> Decision {
        if self.0.load(Ordering::SeqCst) && request.principal.subject != "eve" {
            return Decision::Permit { reasons: vec![] };
        }
        Decision::Deny { error: Error::new(Code::PolicyDenied, "no"), reasons: vec![] }
    }
    fn may_use(&self, _: &Principal, _: &ToolSpec) -> bool {
        true
    }
    fn may_see_runs_of_others(&self, _: &Principal) -> bool {
        false
    }
    fn may_read_evidence(&self, principal: &Principal) -> bool {
        principal.subject == "ada"
    }
}

/// A store that can be cut off.
pub(crate) struct Cut {
    pub(crate) inner: SqliteStore,
    pub(crate) down: AtomicBool,
    /// Counts the commits that were refused.
    pub(crate) refused: Semaphore,
}

impl Cut {
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
        self.up().map_err(CommitError::Unavailable)?;
        self.inner.commit(change).await
    }
    async fn run(&self, id: RunId) -> Result<Option<Run>> {
        self.inner.run(id).await
    }
    async fn runs(&self, filter: &RunFilter) -> Result<RunPage> {
        self.inner.runs(filter).await
    }
    async fn unfinished(&self, limit: u32) -> Result<Vec<Run>> {
        self.inner.unfinished(limit).await
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
    pub(crate) next: AtomicUsize,
    pub(crate) seconds: AtomicUsize,
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds.load(Ordering::SeqCst) as i64).unwrap()
    }
    fn run_id(&self) -> RunId {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        RunId::parse(&format!("00000000-0000-7000-8000-{n:012x}")).unwrap()
    }
}

pub(crate) struct World {
    pub(crate) script: Arc<Script>,
    pub(crate) policy: Arc<Switch>,
    pub(crate) store: Arc<Cut>,
    pub(crate) clock: Arc<Still>,
    pub(crate) registry: Arc<ToolRegistry>,
    pub(crate) engine: Engine,
}

impl World {
    pub(crate) async fn new() -> Self {
        let script = Arc::new(Script::default());
        let registry = Arc::new(ToolRegistry::default());
        let tools = vec![
            tool(spec("restart", Some(Effect::Write)), &script),
            tool(spec("look", Some(Effect::Read)), &script),
        ];
        registry.register(&TestPack(tools)).unwrap();
        let policy = Arc::new(Switch(AtomicBool::new(true)));
        let inner = SqliteStore::in_memory().await.unwrap();
        let store = Arc::new(Cut { inner, down: AtomicBool::new(false), refused: Semaphore::new(0) });
        let clock = Arc::new(Still { next: AtomicUsize::new(1), seconds: AtomicUsize::new(1_000_000) });
        let engine = Self::engine(&store, &policy, &registry, &clock);
        Self { script, policy, store, clock, registry, engine }
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
            signer: Arc::new(Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap()),
            limits: Limits { concurrent_runs: 2, queued_runs: 1, ..Limits::default() },
        })
    }

    /// The process ends and another begins on the same store.
    pub(crate) async fn reborn(&mut self) {
        assert!(self.engine.stop(Duration::from_secs(5)).await, "the old process came to rest");
        self.engine = Self::engine(&self.store, &self.policy, &self.registry, &self.clock);
    }

    pub(crate) async fn submit(&self, tool: &str, service: &str) -> Result<Submitted> {
        self.engine.submit(submission(tool, service)).await
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
        let records = self.store.inner.evidence(0, 1000).await.unwrap();
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

pub(crate) fn ada() -> Principal {
    Principal { subject: "ada".into(), issuer: "test".into(), roles: [].into(), actor: None }
}

pub(crate) fn submission(tool: &str, service: &str) -> Submission {
    Submission {
        principal: ada(),
        source: Source::Http,
        request: Request::Call(Call {
            tool: ToolName::parse(tool).unwrap(),
            arguments: [("service".to_owned(), Value::from(service))].into_iter().collect(),
        }),
        dry_run: false,
        idempotency_key: None,
    }
}

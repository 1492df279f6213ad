//! A scripted tool, and what is asked of it.

use astradesk_core::facts::Availability;
use astradesk_core::run::OnFailure;
use astradesk_core::{
    AgentName, Arguments, Call, Effect, Error, Facts, FrozenCall, Plan, Principal, Result, RoleName, Run,
    RunId, Source, Target, ToolName, ToolSpec,
};
use astradesk_runtime::Permit;
use astradesk_runtime::engine::{Request, Submission};
use astradesk_runtime::port::{Agent, Fault, Names, Pack, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// What the scripted tool does and what was seen of it.
pub(crate) struct Script {
    pub(crate) performed: AtomicUsize,
    pub(crate) panics: AtomicBool,
    /// Whether it takes half a second to find out what would change.
    pub(crate) slow_preview: AtomicBool,
    pub(crate) verifying: Semaphore,
    /// `verify` ends when this has a permit.
    pub(crate) outcome: Semaphore,
    pub(crate) guard: Mutex<Option<Error>>,
    pub(crate) perform: Mutex<Option<Fault>>,
    pub(crate) verify: Mutex<Option<Fault>>,
    /// How an effect of many parts comes to nothing when it is carried on.
    pub(crate) carry_on: Mutex<Option<Fault>>,
    /// How a step ends that is stopped; none if it cannot be.
    pub(crate) stop: Mutex<Option<Error>>,
    /// The runs whose effect is there.
    pub(crate) effects: Mutex<Vec<RunId>>,
    /// The receipts of the effects that were undone.
    pub(crate) undone: Mutex<Vec<Value>>,
    /// What was left of its time limit, for each step that was verified.
    pub(crate) left: Mutex<Vec<Duration>>,
    /// The namespace in which services are found.
    pub(crate) namespace: Mutex<&'static str>,
    /// What is known of every target, or why nothing is.
    pub(crate) facts: Mutex<Result<Facts>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            performed: AtomicUsize::new(0),
            panics: AtomicBool::new(false),
            slow_preview: AtomicBool::new(false),
            verifying: Semaphore::new(0),
            outcome: Semaphore::new(0),
            guard: Mutex::default(),
            perform: Mutex::default(),
            verify: Mutex::default(),
            carry_on: Mutex::default(),
            stop: Mutex::default(),
            effects: Mutex::default(),
            undone: Mutex::default(),
            left: Mutex::default(),
            namespace: Mutex::new("default"),
            facts: Mutex::new(Ok(fine())),
        }
    }
}

/// All pods are there, and one at a time is taken away.
pub(crate) fn fine() -> Facts {
    let availability = Availability { wanted: 4, unavailable: 0, at_most_unavailable: 1 };
    Facts { availability: Some(availability), ..Facts::default() }
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
        let namespace = *self.script.namespace.lock().unwrap();
        Ok(vec![format!("kubernetes/test/{namespace}/deployment/{service}").parse()?])
    }

    async fn facts(&self, call: &FrozenCall, _: bool) -> Result<Vec<Facts>> {
        let known = self.script.facts.lock().unwrap().clone()?;
        Ok(vec![known; call.targets.len()])
    }

    async fn guard(&self, _: &FrozenCall) -> Result<()> {
        self.script.guard.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        if arguments.contains_key("undo") { OnFailure::Undo } else { OnFailure::Leave }
    }

    fn can_undo(&self) -> bool {
        self.spec.effect == Some(Effect::Write)
    }

    async fn preview(&self, _: &FrozenCall) -> Result<Value> {
        if self.script.slow_preview.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(json!({"would": "restart"}))
    }

    async fn perform(&self, _: &Permit, step: &StepContext) -> Result<Value, Fault> {
        if self.spec.effect == Some(Effect::Read) {
            return Ok(json!({"ready": 3}));
        }
        assert!(!self.script.panics.load(Ordering::SeqCst), "a defect of a tool");
        if let Some(fault) = self.script.perform.lock().unwrap().clone() {
            return Err(fault);
        }
        if let Some(receipt) = &step.undoes {
            self.script.undone.lock().unwrap().push(receipt.clone());
            return Ok(json!({"generation": 3}));
        }
        let mut effects = self.script.effects.lock().unwrap();
        if !effects.contains(&step.run) {
            effects.push(step.run);
            self.script.performed.fetch_add(1, Ordering::SeqCst);
        }
        Ok(json!({"generation": 2}))
    }

    async fn carry_on(&self, _: &Permit, step: &StepContext, receipt: &Value) -> Result<(), Fault> {
        let fault = self.script.carry_on.lock().unwrap().clone();
        assert!(!receipt.is_null(), "it was begun");
        fault.filter(|_| step.undoes.is_none()).map_or(Ok(()), Err)
    }

    async fn verify(&self, step: &StepContext, _: &Value) -> Result<Value, Fault> {
        if step.undoes.is_some() {
            return Ok(json!({"ready": 3}));
        }
        self.script.left.lock().unwrap().push(step.deadline.saturating_duration_since(Instant::now()));
        step.progress.report("1 of 3", json!({"ready": 1}));
        self.script.verifying.add_permits(1);
        self.script.outcome.acquire().await.unwrap().forget();
        self.script.verify.lock().unwrap().clone().map_or(Ok(json!({"ready": 3})), Err)
    }

    async fn stop(&self, _: &Permit, _: &StepContext, receipt: &Value) -> Option<Error> {
        let stopped = self.script.stop.lock().unwrap().clone();
        stopped.map(|error| error.with_detail("receipt", receipt.clone()))
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
        vec![Arc::new(Ops(AgentName::parse("ops").unwrap()))]
    }
}

/// Restarts the services that the sentence names, in order, and looks at those with a question mark.
struct Ops(AgentName);

#[async_trait]
impl Agent for Ops {
    fn name(&self) -> &AgentName {
        &self.0
    }
    fn description(&self) -> &'static str {
        "for tests"
    }
    async fn plan(&self, input: &str, _: &[Arc<ToolSpec>], _: &dyn Names) -> Result<Plan> {
        let call = |word: &str| {
            let (tool, name) = word.strip_prefix('?').map_or(("restart", word), |name| ("look", name));
            match submission(tool, name).request {
                Request::Call(call) => call,
                Request::Say { .. } => unreachable!("it is a call"),
            }
        };
        Ok(Plan {
            planner: "words".into(),
            calls: input.split(' ').map(call).collect(),
            understood: Vec::new(),
        })
    }
    fn reply(&self, _: &Run) -> String {
        String::new()
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
            "properties": {"service": {"type": "string"}, "undo": {"type": "boolean"}},
        }),
        timeout: Duration::from_mins(1),
        grammar: astradesk_core::tool::Grammar::default(),
    }
}

pub(crate) fn tool(spec: ToolSpec, script: &Arc<Script>) -> Arc<dyn Tool> {
    Arc::new(Scripted { spec: Arc::new(spec), script: script.clone() })
}

pub(crate) fn ada() -> Principal {
    Principal { subject: "ada".into(), issuer: "test".into(), roles: [].into(), actor: None }
}

/// Somebody with roles.
pub(crate) fn person(subject: &str, roles: &[&str]) -> Principal {
    let roles = roles.iter().map(|role| RoleName::parse(*role).unwrap()).collect();
    Principal { subject: subject.to_owned(), roles, ..ada() }
}

/// Somebody who can approve.
pub(crate) fn lead(subject: &str) -> Principal {
    person(subject, &["lead"])
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
        reason: None,
        break_glass: false,
        trace: None,
        idempotency_key: None,
    }
}

/// Restarts one after the other.
pub(crate) fn sentence(input: &str) -> Submission {
    Submission {
        request: Request::Say { agent: "ops".into(), input: input.into() },
        ..submission("restart", "")
    }
}

/// A restart that is to be undone if it fails.
pub(crate) fn undoing(service: &str) -> Submission {
    let mut submission = submission("restart", service);
    if let Request::Call(call) = &mut submission.request {
        call.arguments.insert("undo".to_owned(), true.into());
    }
    submission
}

//! A pack with a tool that reads and one that writes, each doing what the test wants.

use astradesk_core::run::OnFailure;
use astradesk_core::tool::Grammar;
use astradesk_core::{
    AgentName, Arguments, Call, Code, Effect, Error, FrozenCall, Plan, Result, Run, Target, ToolName,
    ToolSpec,
};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Agent, Fault, Names, Pack, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What the tools share with the test.
pub struct State {
    /// How often the writing tool's effect happened.
    pub effects: AtomicUsize,
    /// How often it was undone.
    pub undone: AtomicUsize,
    /// How many calls of `slow` have begun.
    pub begun: Semaphore,
    /// A permit lets one call of `slow` go on.
    pub gate: Semaphore,
}

pub struct TestPack {
    pub state: Arc<State>,
    tools: Vec<Arc<dyn Tool>>,
}

impl TestPack {
    pub fn new() -> Self {
        Self::of(&[
            ("get_status", Effect::Read),
            ("open_thing", Effect::Read),
            ("restart_thing", Effect::Write),
        ])
    }

    /// A pack with these tools.
    pub fn of(tools: &[(&str, Effect)]) -> Self {
        let state = Arc::new(State {
            effects: AtomicUsize::new(0),
            undone: AtomicUsize::new(0),
            begun: Semaphore::new(0),
            gate: Semaphore::new(0),
        });
        let tool = |name: &str, effect| -> Arc<dyn Tool> {
            Arc::new(TestTool { spec: Arc::new(spec(name, effect)), state: state.clone() })
        };
        let tools = tools.iter().map(|(name, effect)| tool(name, *effect)).collect();
        Self { state, tools }
    }

    pub fn effects(&self) -> usize {
        self.state.effects.load(Ordering::SeqCst)
    }

    pub fn undone(&self) -> usize {
        self.state.undone.load(Ordering::SeqCst)
    }

    /// Waits until a call of `slow` is under way.
    pub async fn slow_call(&self) {
        self.state.begun.acquire().await.unwrap().forget();
    }

    /// Lets one call of `slow` go on.
    pub fn release(&self) {
        self.state.gate.add_permits(1);
    }
}

impl Pack for TestPack {
    fn name(&self) -> &'static str {
        "test"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        self.tools.clone()
    }

    fn agents(&self) -> Vec<Arc<dyn Agent>> {
        vec![Arc::new(TestAgent(AgentName::parse("ops").unwrap()))]
    }
}

/// `open_thing` takes a password, which nobody may be shown.
fn spec(name: &str, effect: Effect) -> ToolSpec {
    let mut input_schema = json!({
        "type": "object",
        "properties": {"service": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}},
        "required": ["service"],
        "additionalProperties": false,
    });
    if name == "open_thing" {
        input_schema["properties"]["password"] = json!({"type": "string", "writeOnly": true});
    }
    if name.starts_with("list") {
        input_schema = json!({"type": "object", "additionalProperties": false});
    }
    ToolSpec {
        name: ToolName::parse(name).unwrap(),
        version: "1".into(),
        description: format!("does `{name}`"),
        effect: Some(effect),
        input_schema,
        timeout: Duration::from_secs(30),
        grammar: Grammar::default(),
    }
}

struct TestTool {
    spec: Arc<ToolSpec>,
    state: Arc<State>,
}

fn service(arguments: &Arguments) -> &str {
    arguments.get("service").map_or("all", |service| service.as_str().unwrap())
}

impl TestTool {
    async fn behave(&self, service: &str) -> Result<Value, Fault> {
        match service {
            "ghost" => Err(Error::new(Code::KubernetesNotFound, "there is no workload `ghost`").into()),
            "broken" | "reverts" => Err(Error::new(Code::RolloutCrashLoop, "the new pods crash").into()),
            "defect" => Err(Error::internal("the secret innards").into()),
            "panic" => panic!("a tool panics"),
            "slow" => {
                self.state.begun.add_permits(1);
                self.state.gate.acquire().await.unwrap().forget();
                Ok(json!({"service": service, "ready": true}))
            }
            _ => Ok(json!({"service": service, "ready": true})),
        }
    }
}

#[async_trait]
impl Tool for TestTool {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        let target = format!("kubernetes/test/default/deployment/{}", service(arguments));
        Ok(vec![target.parse()?])
    }

    async fn candidates(&self, _: &str) -> Result<Vec<String>> {
        let names = ["api", "lead-web", "web", "web-admin"];
        Ok(names.map(str::to_owned).to_vec())
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        match service(&call.arguments) {
            "paused" => Err(Error::new(Code::GuardPaused, "the rollout of `paused` is paused")),
            _ => Ok(()),
        }
    }

    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        if service(arguments) == "reverts" { OnFailure::Undo } else { OnFailure::Leave }
    }

    fn can_undo(&self) -> bool {
        self.spec.effect == Some(Effect::Write)
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        self.guard(&step.call).await.map(|()| json!({"generation": 1}))
    }

    async fn preview(&self, _: &FrozenCall) -> Result<Value> {
        Ok(json!({"would": "restart"}))
    }

    async fn perform(&self, _: &Permit, step: &StepContext) -> Result<Value, Fault> {
        if self.spec.effect == Some(Effect::Read) {
            return self.behave(service(&step.call.arguments)).await;
        }
        let count = if step.undoes.is_some() { &self.state.undone } else { &self.state.effects };
        count.fetch_add(1, Ordering::SeqCst);
        step.progress.report("1 of 1 pods", json!({"ready": 1}));
        Ok(json!({"generation": 2}))
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        if self.spec.effect == Some(Effect::Read) || step.undoes.is_some() {
            return Ok(receipt.clone());
        }
        self.behave(service(&step.call.arguments)).await
    }
}

/// Understands `status NAME` and `restart NAME`.
struct TestAgent(AgentName);

#[async_trait]
impl Agent for TestAgent {
    fn name(&self) -> &AgentName {
        &self.0
    }

    fn description(&self) -> &'static str {
        "an agent for tests"
    }

    async fn plan(&self, input: &str, _: &[Arc<ToolSpec>], _: &dyn Names) -> Result<Plan> {
        let tool = match input.split_once(' ') {
            Some(("status", _)) => "get_status",
            Some(("restart", _)) => "restart_thing",
            _ => return Err(Error::new(Code::PlanNoAction, "no word of the input names an action")),
        };
        let name = input.split_once(' ').map(|(_, name)| name).unwrap_or_default();
        let arguments = [("service".to_owned(), json!(name))].into_iter().collect();
        let calls = vec![Call { tool: ToolName::parse(tool)?, arguments }];
        Ok(Plan { planner: "test".into(), calls, understood: Vec::new() })
    }

    fn reply(&self, run: &Run) -> String {
        format!("the run {}", run.state.name())
    }
}

//! Tools with the contract of the Kubernetes restart: bound by version, marked, settled by reading.

use crate::cluster::{Conflict, Service};
use crate::gate::Process;
use crate::world::World;
use astradesk_core::run::{OnFailure, Run};
use astradesk_core::tool::Grammar;
use astradesk_core::{
    AgentName, Arguments, Call, Code, Effect, Error, FrozenCall, Plan, Result, Target, ToolName, ToolSpec,
};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Agent, Fault, Names, Pack, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a call to the cluster is made before it is given up.
const TRIES: usize = 4;

/// Where a registry's tools are: it takes long to make one, so it serves one process after another.
#[derive(Clone, Default)]
pub(crate) struct Place(Arc<Mutex<Option<There>>>);

/// A process and its world.
type There = (Arc<World>, Arc<Process>);

impl Place {
    /// From here on, in this process.
    pub(crate) fn is_in(&self, world: &Arc<World>, process: &Arc<Process>) {
        *self.0.lock().unwrap() = Some((world.clone(), process.clone()));
    }

    fn there(&self) -> There {
        self.0.lock().unwrap().clone().expect("a tool is used in a process")
    }
}

struct Restarting {
    place: Place,
    spec: Arc<ToolSpec>,
}

fn away() -> Error {
    Error::new(Code::KubernetesUnavailable, "the cluster does not answer")
}

fn service(arguments: &Arguments) -> &str {
    arguments["service"].as_str().unwrap()
}

impl Restarting {
    fn world(&self) -> Arc<World> {
        self.place.there().0
    }

    fn process(&self) -> Arc<Process> {
        self.place.there().1
    }

    async fn gate<T: Send>(&self, label: &str, act: impl FnOnce() -> T + Send) -> Result<T> {
        self.process().through(label, || Ok(act()), || Err(away())).await
    }

    /// What cannot be told is remembered: only then may a run end so.
    fn unclear(&self, step: &StepContext, what: &str) -> Fault {
        self.world().unclear.lock().unwrap().insert(step.run);
        Fault::Unknown(Error::new(Code::RunOutcomeUnknown, what))
    }

    /// Sends the change that the intent is bound to, or finds out what became of it.
    async fn settle(&self, step: &StepContext) -> Result<Value, Fault> {
        let by = format!("{}/{}", step.run, step.step);
        let (name, undoes) = (service(&step.call.arguments), step.undoes.is_some());
        let bound = |key: &str| step.intent[key].as_u64().expect("the intent is told");
        let mut look = step.repeated;
        let mut sent = false;
        for _ in 0..TRIES {
            if look {
                let read = || self.world().cluster().read(name);
                let Ok(found) = self.gate("cluster.read", read).await else {
                    sleep(Duration::from_millis(200)).await;
                    continue;
                };
                if found.version != bound("version") {
                    return self.found(&found, &by, undoes, bound("generation"));
                }
            }
            if self.world().setup.slow_patches {
                sleep(Duration::from_millis(500)).await;
            }
            sent = true;
            let patch = || {
                let applied = self.world().cluster().patch(name, bound("version"), &by, undoes);
                if applied.is_ok() {
                    self.world().check_applied(step);
                }
                applied
            };
            match self.gate("cluster.patch", patch).await {
                Ok(Ok(generation)) => return Ok(json!({"generation": generation})),
                Ok(Err(Conflict)) | Err(_) => look = true,
            }
        }
        Err(if sent || step.repeated {
            self.unclear(step, "the change was sent and not seen")
        } else {
            Fault::Failed(away())
        })
    }

    /// The service has changed since the intent: by this step, or by somebody else.
    fn found(&self, found: &Service, by: &str, undoes: bool, generation: u64) -> Result<Value, Fault> {
        let mark = if undoes { &found.undo } else { &found.mark };
        let ours = mark.as_deref() == Some(by) || found.generation > generation + 1;
        match self.world().cluster().effect(by).filter(|_| ours).map(|effect| effect.generation) {
            Some(generation) => Ok(json!({"generation": generation})),
            None => Err(Fault::Moved(Error::new(Code::KubernetesConflict, "somebody else changed it"))),
        }
    }
}

#[async_trait]
impl Tool for Restarting {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        let target = format!("kubernetes/test/default/deployment/{}", service(arguments));
        self.gate("tool.targets", || vec![target.parse().unwrap()]).await
    }

    async fn guard(&self, _: &FrozenCall) -> Result<()> {
        self.gate("tool.guard", || ()).await
    }

    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        if arguments.contains_key("undo") { OnFailure::Undo } else { OnFailure::Leave }
    }

    fn can_undo(&self) -> bool {
        self.spec.effect == Some(Effect::Write)
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        let read = || {
            let found = self.world().cluster().read(service(&step.call.arguments));
            json!({"version": found.version, "generation": found.generation})
        };
        self.gate("tool.intend", read).await
    }

    async fn preview(&self, _: &FrozenCall) -> Result<Value> {
        self.gate("tool.preview", || json!({"would": "restart"})).await
    }

    async fn perform(&self, _: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let read = self.spec.effect == Some(Effect::Read);
        if !read {
            self.world().note_perform(&self.process().name, step);
        }
        let mut acted = false;
        let reply = self.gate("tool.perform", || acted = true).await;
        if read {
            return reply.map(|()| json!({"ready": 3})).map_err(Fault::Failed);
        }
        match reply {
            Ok(()) => self.settle(step).await,
            Err(_) if acted => {
                let _ = self.settle(step).await;
                Err(self.unclear(step, "the reply was lost"))
            }
            Err(_) if step.repeated => Err(self.unclear(step, "the cluster could not be read")),
            Err(error) => Err(Fault::Failed(error)),
        }
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        assert!(receipt["generation"].is_u64(), "a receipt is what perform gave");
        let name = service(&step.call.arguments);
        let left = step.deadline.saturating_duration_since(Instant::now());
        self.world().left.lock().unwrap().push(left);
        let pause = Duration::from_millis(if self.world().setup.slow_verify { 6000 } else { 500 });
        for ready in 1..3 {
            step.progress.report("waiting", json!({"ready": ready}));
            sleep(pause).await;
        }
        let look = || {
            let world = self.world();
            let mut cluster = world.cluster();
            let failing = if step.undoes.is_some() { &cluster.failing_undo } else { &cluster.failing };
            let failed = failing.contains(name);
            if !failed {
                cluster.verified.insert(format!("{}/{}", step.run, step.step));
            }
            failed
        };
        match self.gate("tool.verify", look).await {
            Ok(false) => Ok(json!({"ready": 3})),
            Ok(true) => Err(Fault::Failed(Error::new(Code::RolloutCrashLoop, "it crashes"))),
            Err(_) => Err(self.unclear(step, "the rollout could not be seen")),
        }
    }
}

/// Restarts the services that the sentence names, in order.
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
        Ok(Plan {
            planner: "words".into(),
            calls: input.split(' ').map(|name| call("restart", name)).collect(),
            understood: Vec::new(),
        })
    }

    fn reply(&self, _: &Run) -> String {
        String::new()
    }
}

pub(crate) fn call(tool: &str, service: &str) -> Call {
    let arguments = [("service".to_owned(), Value::from(service))].into_iter().collect();
    Call { tool: ToolName::parse(tool).unwrap(), arguments }
}

/// `restart`, `look` and the agent `ops`.
pub(crate) struct TestPack(pub(crate) Place);

impl Pack for TestPack {
    fn name(&self) -> &'static str {
        "test"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        let tool = |name, effect| -> Arc<dyn Tool> {
            let spec = Arc::new(ToolSpec {
                name: ToolName::parse(name).unwrap(),
                version: "1".into(),
                description: "for tests".into(),
                effect: Some(effect),
                input_schema: json!({"type": "object", "additionalProperties": false, "properties": {
                    "service": {"type": "string"}, "undo": {"type": "boolean"},
                }}),
                timeout: Duration::from_mins(1),
                grammar: Grammar::default(),
            });
            Arc::new(Restarting { place: self.0.clone(), spec })
        };
        vec![tool("restart", Effect::Write), tool("look", Effect::Read)]
    }

    fn agents(&self) -> Vec<Arc<dyn Agent>> {
        vec![Arc::new(Ops(AgentName::parse("ops").unwrap()))]
    }
}

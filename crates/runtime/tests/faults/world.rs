//! What outlives a process.

use crate::cluster::Cluster;
use crate::gate::{Fault, Process};
use crate::memory::{Data, Memory};
use crate::ports::{GatedPolicy, GatedStore};
use crate::time::Time;
use crate::tool::{Place, TestPack};
use astradesk_core::evidence::Kind;
use astradesk_core::run::StepState;
use astradesk_core::{Decision, Effect, Guardrail, Principal, Requirement, RoleName, RunId};
use astradesk_runtime::engine::{Limits, Parts};
use astradesk_runtime::evidence::Signer;
use astradesk_runtime::port::{PolicyRequest, StepContext, Store};
use astradesk_runtime::{Engine, ToolRegistry};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

thread_local! {
    /// For the first process of a life, and for the other one.
    static REGISTRIES: [(Place, Arc<ToolRegistry>); 2] = [registry(), registry()];
}

fn registry() -> (Place, Arc<ToolRegistry>) {
    let (place, registry) = (Place::default(), ToolRegistry::default());
    registry.register(&TestPack(place.clone())).unwrap();
    (place, Arc::new(registry))
}

/// How a scenario's world is.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Services whose rollouts fail, and those whose restarts cannot be undone.
    pub(crate) failing: &'static [&'static str],
    pub(crate) failing_undo: &'static [&'static str],
    /// Whether the cluster takes its time to answer a change.
    pub(crate) slow_patches: bool,
    /// Whether a rollout takes longer than a lease.
    pub(crate) slow_verify: bool,
    pub(crate) concurrent: usize,
    pub(crate) queued: usize,
    /// How many leads must agree to each restart.
    pub(crate) approvals: u32,
    /// At most so many restarts an hour of the services whose names begin with `x`.
    pub(crate) budget: Option<u32>,
    pub(crate) webhooks: &'static [&'static str],
    /// Whether processes look after approvals, policies and checkpoints.
    pub(crate) tended: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            failing: &[],
            failing_undo: &[],
            slow_patches: false,
            slow_verify: false,
            concurrent: 2,
            queued: 2,
            approvals: 0,
            budget: None,
            webhooks: &[],
            tended: false,
        }
    }
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) data: Arc<Mutex<Data>>,
    pub(crate) store_down: AtomicBool,
    cluster: Mutex<Cluster>,
    pub(crate) time: Arc<Time>,
    pub(crate) permits: AtomicBool,
    /// How many leads must agree to each restart, now.
    pub(crate) approvals: AtomicU32,
    /// The run that each key's client was told of.
    pub(crate) told: Mutex<BTreeMap<String, RunId>>,
    /// The runs of which the tool could not tell what became of them.
    pub(crate) unclear: Mutex<BTreeSet<RunId>>,
    violations: Mutex<Vec<String>>,
    /// What was left of its time limit, for each step that was verified.
    pub(crate) left: Mutex<Vec<Duration>>,
    /// Who was the first to perform a step with an intent.
    performers: Mutex<BTreeMap<String, String>>,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Arc<Self> {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let (failing, failing_undo) = (names(setup.failing), names(setup.failing_undo));
        Arc::new(Self {
            approvals: AtomicU32::new(setup.approvals),
            setup,
            data: Arc::default(),
            store_down: AtomicBool::new(false),
            cluster: Mutex::new(Cluster { failing, failing_undo, ..Cluster::default() }),
            time: Arc::default(),
            permits: AtomicBool::new(true),
            told: Mutex::default(),
            unclear: Mutex::default(),
            violations: Mutex::default(),
            left: Mutex::default(),
            performers: Mutex::default(),
        })
    }

    /// The Engine of a process in this world, with the registry that is at this place among the thread's.
    pub(crate) fn engine(self: &Arc<Self>, process: &Arc<Process>, place: usize) -> Engine {
        static SIGNER: LazyLock<Arc<Signer>> = LazyLock::new(|| {
            Arc::new(Signer::from_pkcs8(&astradesk_runtime::key::fresh().unwrap()).unwrap())
        });
        let (place, registry) = REGISTRIES.with(|all| all[place].clone());
        place.is_in(self, process);
        let memory = Memory::open(&self.data, &process.name);
        let store: Arc<dyn Store> =
            Arc::new(GatedStore { world: self.clone(), process: process.clone(), memory });
        Engine::new(Parts {
            store,
            policy: Arc::new(GatedPolicy(self.clone(), process.clone())),
            registry,
            clock: self.time.clone(),
            signer: SIGNER.clone(),
            guardrails: self.setup.budget.map(budget).into_iter().collect(),
            webhooks: self.setup.webhooks.iter().map(ToString::to_string).collect(),
            limits: Limits {
                concurrent_runs: self.setup.concurrent,
                queued_runs: self.setup.queued,
                checkpoint: Duration::from_secs(1),
                ..Limits::default()
            },
        })
    }

    /// What policy says, unless it denies everything.
    pub(crate) fn asked(&self, request: &PolicyRequest<'_>) -> Decision {
        let read = request.call.effect == Effect::Read;
        let count = if read { 0 } else { self.approvals.load(Ordering::SeqCst) };
        let role = RoleName::parse("lead").unwrap();
        let required = Requirement { count, roles: [(role, count)].into() };
        if required.is_met(request.approvals) {
            return Decision::Permit { reasons: vec![] };
        }
        Decision::NeedsApproval { required, reasons: vec![] }
    }

    /// A process of this world, with its faults.
    pub(crate) fn process(self: &Arc<Self>, name: String, faults: Vec<Fault>) -> Arc<Process> {
        let world = self.clone();
        let meddle = move |restart| {
            for service in ["a", "b"] {
                world.cluster().meddle(service, restart);
            }
        };
        Arc::new(Process::new(name, faults, Box::new(meddle)))
    }

    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap()
    }

    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap()
    }

    pub(crate) fn violate(&self, what: impl Into<String>) {
        self.violations.lock().unwrap().push(what.into());
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    /// An effect was just applied: it must have been durable before, with its lock and its evidence.
    pub(crate) fn check_applied(&self, step: &StepContext) {
        let data = self.data();
        let what = format!("step {}/{} was applied", step.run, step.step);
        let state = data.runs.get(&step.run).and_then(|run| run.steps.get(step.step)).map(|s| &s.state);
        if !matches!(state, Some(StepState::Intended { intent, .. }) if *intent == step.intent) {
            self.violate(format!("{what} and not intended so: {state:?}"));
        }
        for target in &step.call.targets {
            if data.locks.get(&target.to_string()) != Some(&step.run) {
                self.violate(format!("{what} without the lock of {target}"));
            }
        }
        let intended = |body: &str| {
            let body: Value = serde_json::from_str(body).unwrap();
            body["kind"] == json!(Kind::Intended)
                && body["run"] == json!(step.run)
                && body["data"]["step"] == step.step
                && body["data"]["intent"] == step.intent
        };
        if !data.evidence.iter().rev().any(|record| intended(&record.body)) {
            self.violate(format!("{what} without evidence of its intent"));
        }
        drop(data);
        if step.undoes.is_none() {
            self.check_approved(step.run, &what);
        }
    }

    /// Enough others have agreed, in the run and on record.
    fn check_approved(&self, run: RunId, what: &str) {
        let wanted = self.approvals.load(Ordering::SeqCst) as usize;
        if wanted == 0 {
            return;
        }
        let data = self.data();
        let run = &data.runs[&run];
        let given = run.approved_by().iter().map(|one| one.by.subject.as_str());
        let leads: BTreeSet<&str> = given.filter(|lead| *lead != run.principal.subject).collect();
        let on_record = told(&data, run.id, "approval.given") - told(&data, run.id, "approval.revoked");
        if leads.len().min(on_record) < wanted {
            self.violate(format!("{what} and approved by {leads:?} only, with {on_record} on record"));
        }
    }

    /// A process performs a step: if another one may have done so already, it must be told.
    pub(crate) fn note_perform(&self, process: &str, step: &StepContext) {
        let what = format!("{}/{} {}", step.run, step.step, step.intent);
        let mut performers = self.performers.lock().unwrap();
        let first = performers.entry(what.clone()).or_insert_with(|| process.to_owned());
        if first != process && !step.repeated {
            self.violate(format!("{what} is performed by {process} after {first}, and it is not told"));
        }
    }
}

/// How many records of this kind there are of a run.
pub(crate) fn told(data: &Data, run: RunId, kind: &str) -> usize {
    let is = |body: &str| {
        let body: Value = serde_json::from_str(body).unwrap();
        body["kind"] == kind && body["run"] == json!(run)
    };
    data.evidence.iter().filter(|record| is(&record.body)).count()
}

fn budget(runs: u32) -> Guardrail {
    let targets = ["kubernetes/*/*/deployment/x*"];
    let table = json!({"name": "budget", "targets": targets, "budget": {"runs": runs, "per": "1h"}});
    serde_json::from_value(table).unwrap()
}

pub(crate) fn lead(subject: &str) -> Principal {
    Principal { subject: subject.into(), roles: [RoleName::parse("lead").unwrap()].into(), ..ada() }
}

pub(crate) fn ada() -> Principal {
    Principal { subject: "ada".into(), issuer: "test".into(), roles: [].into(), actor: None }
}

//! The promises, asked of what is durable and of the cluster when all is over.

use crate::scenario::Scenario;
use crate::world::World;
use astradesk_core::evidence::Head;
use astradesk_core::run::{Run, State, Step, StepState};
use astradesk_core::{Effect, RunId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A record of evidence.
#[derive(Debug)]
struct Told {
    kind: String,
    data: Value,
}

/// Notes every promise that was not kept.
pub(crate) fn check(world: &World, scenario: Scenario, log: &str) {
    let evidence = chain(world);
    let is_probe = |id: &RunId| {
        let told = world.told.lock().unwrap();
        told.iter().any(|(key, run)| key.starts_with("probe") && run == id)
    };
    let runs: Vec<Run> = world.data().runs.values().filter(|run| !is_probe(&run.id)).cloned().collect();
    for run in &runs {
        if let Err(broken) = check_run(world, run, log, evidence.get(&run.id).map_or(&[], Vec::as_slice)) {
            world.violate(format!("run {}: {broken}: {run:#?}", run.id));
        }
    }
    check_ends(world, scenario, &runs, log);
    check_keys(world, &runs);
    check_counts(world, &runs);
}

/// What approvers are told of is told once to each webhook, and no more is done than is allowed.
fn check_counts(world: &World, runs: &[Run]) {
    let asked = runs.iter().filter(|run| run.approvals.is_some()).count();
    let (told, expected) = (world.data().outbox.len(), asked * world.setup.webhooks.len());
    if told != expected {
        world.violate(format!("webhooks are told {told} times, and {expected} times would be right"));
    }
    let counted = |effect: &&crate::cluster::Effect| effect.service.starts_with('x');
    let done = world.cluster().history.iter().filter(counted).count();
    let spent = world.data().spends.len();
    if world.setup.budget.is_some_and(|budget| done > budget as usize || spent > budget as usize) {
        world.violate(format!("{done} effects, and {spent} on record, are more than the budget"));
    }
}

/// The records of each run, of a chain that must be whole.
fn chain(world: &World) -> BTreeMap<RunId, Vec<Told>> {
    let mut head = Head::EMPTY;
    let mut by_run: BTreeMap<RunId, Vec<Told>> = BTreeMap::new();
    for record in &world.data().evidence {
        head = head.verify(&record.body, record.hash).expect("the store appends to one chain");
        let mut body: Value = serde_json::from_str(&record.body).unwrap();
        if let Some(run) = body["run"].as_str().and_then(RunId::parse) {
            let kind = body["kind"].as_str().unwrap().to_owned();
            by_run.entry(run).or_default().push(Told { kind, data: body["data"].take() });
        }
    }
    by_run
}

/// The runs end as they do when nothing breaks, except where a tool or policy was broken itself.
fn check_ends(world: &World, scenario: Scenario, runs: &[Run], log: &str) {
    let is_lenient = |line: &str| {
        let fails = line.contains("<- Fail") || line.contains("<- LoseReply");
        fails && (line.contains(" tool.") || line.contains(" policy."))
    };
    if log.lines().any(is_lenient) {
        return;
    }
    let may = if log.contains("<- ") { scenario.may_end() } else { &[] };
    let ends: Vec<&str> = runs.iter().map(|run| run.state.name()).collect();
    if may.is_empty() && ends != scenario.ends() {
        world.violate(format!("the runs ended {ends:?}, and nothing was broken"));
    }
    if !may.is_empty() && !ends.iter().all(|end| may.contains(end)) {
        world.violate(format!("the runs ended {ends:?}, and may end {may:?}"));
    }
}

/// Each run belongs to the key of one request, and each client was told of a run that is there.
fn check_keys(world: &World, runs: &[Run]) {
    let data = world.data();
    let keyed: BTreeSet<RunId> = data.keys.values().map(|(run, ..)| *run).collect();
    for run in runs.iter().filter(|run| !matches!(run.state, State::Denied { .. })) {
        if !keyed.contains(&run.id) {
            world.violate(format!("run {} was made twice: its key belongs to another", run.id));
        }
    }
    for (key, id) in world.told.lock().unwrap().iter() {
        if !data.runs.contains_key(id) {
            world.violate(format!("the client of {key} was told of run {id}, which is lost"));
        }
    }
}

fn check_run(world: &World, run: &Run, log: &str, evidence: &[Told]) -> Result<(), String> {
    if !run.state.is_final() {
        return Err("it has not ended".to_owned());
    }
    if run.holder.is_some() {
        return Err("it has ended and is held".to_owned());
    }
    let read = run.steps.iter().all(|step| step.call.effect == Effect::Read);
    for (n, step) in run.steps.iter().enumerate() {
        if !read {
            check_effect(world, run, n, step)?;
        }
    }
    if matches!(run.state, State::OutcomeUnknown { .. }) && !world.unclear.lock().unwrap().contains(&run.id) {
        return Err("it ended outcome_unknown, and the tool could tell".to_owned());
    }
    check_evidence(run, read, evidence)?;
    let told = !read || matches!(run.state, State::Denied { .. });
    if told { check_events(world, run, log) } else { Ok(()) }
}

/// What a step says is what was done.
fn check_effect(world: &World, run: &Run, n: usize, step: &Step) -> Result<(), String> {
    let by = format!("{}/{n}", run.id);
    let cluster = world.cluster();
    let effects: Vec<_> = cluster.history.iter().filter(|effect| effect.by == by).collect();
    if effects.len() > 1 {
        return Err(format!("step {n} was applied {} times", effects.len()));
    }
    let there = effects.len() == 1;
    let truthful = match &step.state {
        StepState::Succeeded { .. } => there && cluster.verified.contains(&by),
        StepState::Failed { receipt, .. } => there == receipt.is_some(),
        StepState::Unknown { .. } => true,
        StepState::Skipped => !there,
        StepState::Pending | StepState::Intended { .. } | StepState::Performed { .. } => false,
    };
    if !truthful {
        return Err(format!("step {n} is not what was done: {effects:?}"));
    }
    if effects.iter().any(|effect| effect.undoes != step.undoes.is_some()) {
        return Err(format!("step {n} did the opposite of what it is"));
    }
    Ok(())
}

/// The evidence tells the same story.
fn check_evidence(run: &Run, read: bool, evidence: &[Told]) -> Result<(), String> {
    // Who says something too late is told so, also after the end.
    let evidence: Vec<&Told> = evidence.iter().filter(|told| told.kind != "approval.refused").collect();
    let kinds: Vec<&str> = evidence.iter().map(|told| told.kind.as_str()).collect();
    let wrong = |what: &str| Err(format!("{what}: its evidence is {kinds:?}"));
    let count = |kind: &str| kinds.iter().filter(|k| **k == kind).count();
    if matches!(run.state, State::Denied { .. }) && run.approvals.is_none() {
        return if kinds == ["run.denied"] { Ok(()) } else { wrong("a denial is one record") };
    }
    if read {
        return if kinds == ["read.finished"] { Ok(()) } else { wrong("a read is one record") };
    }
    if kinds.first() != Some(&"run.admitted") || count("run.admitted") != 1 {
        return wrong("it is admitted once, and first of all");
    }
    if kinds.last() != Some(&"run.finished") || count("run.finished") != 1 {
        return wrong("it is finished once, and last of all");
    }
    if evidence[evidence.len() - 1].data["state"] != run.state.name() {
        return wrong("it is finished otherwise than it ended");
    }
    if count("run.cancel_requested") != usize::from(run.cancel_requested) {
        return wrong("its cancellation is on record once");
    }
    if count("approval.requested") != usize::from(run.approvals.is_some()) {
        return wrong("approval is asked for once");
    }
    if count("approval.given") != run.approved_by().len() + count("approval.revoked") {
        return wrong("who has approved it is on record");
    }
    let mut fence = u64::from(run.approvals.is_none());
    for told in evidence.iter().filter(|told| told.kind == "run.claimed") {
        fence += 1;
        if told.data["fence"] != fence {
            return wrong("its claims are on record one by one");
        }
    }
    if fence != run.fence {
        return wrong("a claim is not on record");
    }
    for (n, step) in run.steps.iter().enumerate() {
        let of_step = |kind: &str| {
            let told = evidence.iter().filter(|told| told.kind == kind && told.data["step"] == n);
            told.map(|told| &told.data).collect::<Vec<_>>()
        };
        let (intended, performed) = (of_step("step.intended"), of_step("step.performed"));
        let attempts: Vec<Value> = intended.iter().map(|data| data["attempt"].clone()).collect();
        if attempts != (1..=attempts.len()).map(|n| json!(n)).collect::<Vec<_>>() {
            return wrong(&format!("step {n} has the attempts {attempts:?}"));
        }
        let was_performed = match &step.state {
            StepState::Succeeded { .. } => Some(true),
            StepState::Failed { receipt, .. } => Some(receipt.is_some()),
            StepState::Unknown { .. } => None,
            _ => Some(false),
        };
        let fits = was_performed.is_none_or(|was| performed.len() == usize::from(was));
        if !fits || performed.len() > 1 || performed.len() > intended.len() {
            return wrong(&format!("step {n} is on record as performed {} times", performed.len()));
        }
    }
    Ok(())
}

/// Who watches the run learns how it ended, and nothing after that: except how far a process saw it that was
/// held meanwhile, which does not ask who has the run by now.
fn check_events(world: &World, run: &Run, log: &str) -> Result<(), String> {
    let data = world.data();
    let late = |kind: &str| kind == "progress" && log.contains("<- Hold");
    let events = data.events.get(&run.id).map_or(&[][..], Vec::as_slice);
    let Some(last) = events.iter().rfind(|event| !late(&event.kind)) else {
        return Err("it has no events".to_owned());
    };
    if last.kind != "state" || last.data["state"] != run.state.name() {
        return Err(format!("its last event is {last:?}"));
    }
    let ends = events.iter().filter(|event| event.kind == "state" && event.data["state"] == run.state.name());
    if ends.count() == 1 { Ok(()) } else { Err("its end is told more than once".to_owned()) }
}

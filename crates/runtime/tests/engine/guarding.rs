//! Guardrails: asked at the door, asked again before the step, and counted with its intent.

use crate::script::{fine, lead, sentence, submission, undoing};
use crate::world::{Setup, World};
use astradesk_core::facts::{Availability, DisruptionBudget, GitOps};
use astradesk_core::run::{State, StepState};
use astradesk_core::{Code, Error, Facts, Guardrail, Result, RunId};
use astradesk_runtime::engine::Limits;
use astradesk_runtime::port::Fault;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Barrier;

const WEBAPP: &str = "kubernetes/*/*/deployment/webapp";

/// Guardrails as they are configured, all on `webapp`; with room for a few runs.
pub(crate) fn guarded(tables: &[Value]) -> Setup {
    let table = |(n, table): (usize, &Value)| -> Guardrail {
        let mut table = table.clone();
        table["name"] = json!(format!("rule-{n}"));
        if table["targets"].is_null() {
            table["targets"] = json!([WEBAPP]);
        }
        serde_json::from_value(table).unwrap()
    };
    let limits = Limits { concurrent_runs: 4, queued_runs: 4, ..Limits::default() };
    Setup { guardrails: tables.iter().enumerate().map(table).collect(), limits, ..Setup::default() }
}

/// From 1,000,100 to 1,000,200 s; the world begins at 1,000,000 s.
pub(crate) fn freeze() -> Value {
    json!({"freeze": {"from": "1970-01-12T13:48:20Z", "until": "1970-01-12T13:50:00Z"}})
}

pub(crate) fn managed() -> Facts {
    let gitops = GitOps { controller: "flux".into(), source: "flux-system/apps".into() };
    Facts { gitops: Some(gitops), ..Facts::default() }
}

fn few() -> Facts {
    let availability = Availability { wanted: 4, unavailable: 3, at_most_unavailable: 1 };
    Facts { availability: Some(availability), ..Facts::default() }
}

fn disrupted() -> Facts {
    let budget = DisruptionBudget { name: "webapp".into(), disruptions_allowed: 0 };
    Facts { disruption_budgets: vec![budget], ..Facts::default() }
}

fn away() -> Result<Facts> {
    Err(Error::new(Code::KubernetesUnavailable, "the cluster does not answer"))
}

/// A guardrail, what is known of the target, how much time passes, and what comes of it.
fn table() -> Vec<(Value, Result<Facts>, i64, Code)> {
    let availability = || json!({"max_unavailable": "50%"});
    let budgets = || json!({"disruption_budgets": "respect"});
    let gitops = || json!({"gitops": "refuse"});
    vec![
        (freeze(), Ok(fine()), 100, Code::GuardFrozen),
        (availability(), Ok(few()), 0, Code::GuardAvailability),
        (budgets(), Ok(disrupted()), 0, Code::GuardDisruptionBudget),
        (gitops(), Ok(managed()), 0, Code::GuardGitOpsManaged),
        (availability(), away(), 0, Code::KubernetesUnavailable),
        (budgets(), away(), 0, Code::KubernetesUnavailable),
        (gitops(), away(), 0, Code::KubernetesUnavailable),
    ]
}

#[tokio::test(start_paused = true)]
async fn at_the_door_a_guardrail_denies_the_run_and_lets_reads_pass() {
    for (rule, facts, pass, code) in table() {
        let world = World::with_asking(0, guarded(std::slice::from_ref(&rule)));
        *world.script.facts.lock().unwrap() = facts;
        world.clock.pass(pass);
        let refused = world.submit("restart", "webapp").await.unwrap_err();
        assert_eq!(refused.code, code, "{rule}");
        let id = RunId::parse(refused.details["run"].as_str().unwrap()).unwrap();
        assert_eq!(world.stored(id).state.name(), "denied", "{rule}");
        assert_eq!(world.evidence().await, ["run.denied"], "{rule}");
        let told = world.told("run.denied").await;
        assert_eq!((&told["code"], &told["guardrail"]), (&json!(code), &json!(true)), "{rule}");

        world.policy.ask(1, "lead");
        assert_eq!(world.submit("restart", "webapp").await.unwrap_err().code, code, "nobody is asked for it");
        world.policy.ask(0, "lead");
        assert_eq!(world.admitted(submission("look", "webapp")).await.state, State::Succeeded, "{rule}");
        let other = world.admitted(submission("restart", "other")).await;
        assert_eq!(world.ended(other.id).await.state, State::Succeeded, "{rule}: it is about webapp");
    }
}

#[tokio::test(start_paused = true)]
async fn before_the_step_a_guardrail_fails_the_run_and_nothing_is_done() {
    for (rule, facts, pass, code) in table() {
        let (world, run) = World::approved_behind_another(guarded(std::slice::from_ref(&rule))).await;
        *world.script.facts.lock().unwrap() = facts;
        world.clock.pass(pass);
        let ended = world.ended_undone(run.id).await;
        let found = ended.state.error().map(|error| error.code);
        assert_eq!((ended.state.name(), found), ("failed", Some(code)), "{rule}");
        assert!(matches!(ended.steps[0].state, StepState::Failed { receipt: None, .. }), "{rule}");
        assert!(world.data.lock().unwrap().spends.is_empty(), "{rule}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_frozen_and_spent_can_be_looked_at_within_a_plan() {
    let world = World::with_asking(0, guarded(&[freeze(), json!({"cool_down": "10m"})]));
    world.clock.pass(100);
    let run = world.admitted(sentence("?webapp other")).await;
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
    assert!(world.data.lock().unwrap().spends.is_empty(), "and looking takes nothing");
    assert_eq!(world.engine.submit(sentence("other webapp")).await.unwrap_err().code, Code::GuardFrozen);
}

async fn restarted(world: &World, service: &str) {
    let run = world.admitted(submission("restart", service)).await;
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_target_rests_after_each_action() {
    let rule = json!({"cool_down": "10m", "targets": ["kubernetes/*/*/*/*"]});
    let world = World::with_asking(0, guarded(&[rule]));
    restarted(&world, "webapp").await;
    world.clock.pass(599);
    let refused = world.submit("restart", "webapp").await.unwrap_err();
    assert_eq!((refused.code, &refused.details["guardrail"]), (Code::GuardCoolDown, &json!("rule-0")));
    assert_eq!(refused.details["until"], "1970-01-12T13:56:40Z");
    assert!(refused.remedy.contains("repeat it after 1970-01-12T13:56:40Z"), "{refused:?}");
    restarted(&world, "other").await;
    world.clock.pass(1);
    restarted(&world, "webapp").await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_for_all_targets_together_and_each_step_counts() {
    let rule = json!({"budget": {"runs": 3, "per": "1h"}, "targets": ["kubernetes/*/*/*/*"]});
    let world = World::with_asking(0, guarded(&[rule]));
    let too_long = world.engine.submit(sentence("a b c d")).await.unwrap_err();
    assert_eq!(too_long.code, Code::GuardBudgetExhausted, "a plan is refused whole");
    assert_eq!(world.performed(), 0);
    restarted(&world, "a").await;
    world.clock.pass(60);
    let two = world.admitted(sentence("b c")).await;
    assert_eq!(world.ended(two.id).await.state, State::Succeeded);
    assert_eq!(world.submit("restart", "d").await.unwrap_err().code, Code::GuardBudgetExhausted);
    world.clock.pass(3540);
    restarted(&world, "d").await;
    assert_eq!(world.submit("restart", "e").await.unwrap_err().code, Code::GuardBudgetExhausted);
}

/// Both have seen that there is one left when they commit their intents.
#[tokio::test(start_paused = true)]
async fn of_two_runs_at_once_one_takes_the_last_of_a_budget() {
    let rule = json!({"budget": {"runs": 1, "per": "1h"}, "targets": ["kubernetes/*/*/*/*"]});
    let world = World::with_asking(0, guarded(&[rule]));
    world.engine.begin().await.unwrap();
    let (other, store) = world.beside("other").await;
    let barrier = Arc::new(Barrier::new(2));
    *world.store.spending.lock().unwrap() = Some(barrier.clone());
    *store.spending.lock().unwrap() = Some(barrier);
    let (a, b) = tokio::join!(
        world.engine.submit(submission("restart", "a")),
        other.submit(submission("restart", "b")),
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    let mut ends = Vec::new();
    for submitted in [a, b] {
        let astradesk_runtime::engine::Submitted::Run { run, .. } = submitted else {
            panic!("it is no preview")
        };
        let ended = world.ended(run.id).await;
        ends.push((ended.state.name(), ended.state.error().map(|error| error.code)));
    }
    ends.sort_unstable_by_key(|(name, _)| *name);
    assert_eq!(ends, [("failed", Some(Code::GuardBudgetExhausted)), ("succeeded", None)]);
    assert_eq!((world.script.effects.lock().unwrap().len(), world.data.lock().unwrap().spends.len()), (1, 1));
    assert!(world.data.lock().unwrap().locks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_is_repeated_counts_once() {
    let rule = json!({"budget": {"runs": 2, "per": "1h"}, "targets": ["kubernetes/*/*/*/*"]});
    let world = World::with_asking(0, guarded(&[rule, json!({"cool_down": "10m"})]));
    *world.script.perform.lock().unwrap() =
        Some(Fault::Moved(Error::new(Code::KubernetesConflict, "somebody else changed it")));
    let run = world.admitted(submission("restart", "webapp")).await;
    let ended = world.ended(run.id).await;
    assert_eq!(
        ended.state.error().unwrap().code,
        Code::KubernetesConflict,
        "not a guardrail of its own making"
    );
    let intents = world.kinds(run.id).await.iter().filter(|kind| *kind == "step.intended").count();
    assert_eq!((intents, world.data.lock().unwrap().spends.len()), (16, 2), "one for each allowance");
    *world.script.perform.lock().unwrap() = None;
    restarted(&world, "other").await;
    assert_eq!(world.submit("restart", "another").await.unwrap_err().code, Code::GuardBudgetExhausted);
}

/// Going back is not what guardrails are for.
#[tokio::test(start_paused = true)]
async fn an_undo_passes_every_guardrail() {
    let rules = [
        freeze(),
        json!({"cool_down": "10m"}),
        json!({"budget": {"runs": 1, "per": "1h"}}),
        json!({"max_unavailable": "50%"}),
        json!({"disruption_budgets": "respect"}),
        json!({"gitops": "refuse"}),
    ];
    for facts in [Ok(few()), away()] {
        let world = World::with(guarded(&rules));
        world.policy.ask(1, "lead");
        *world.script.verify.lock().unwrap() =
            Some(Fault::Failed(Error::new(Code::RolloutCrashLoop, "crash")));
        let run = world.admitted(undoing("webapp")).await;
        world.approve(&lead("bo"), run.id).await.unwrap();
        world.script.verifying.acquire().await.unwrap().forget();
        world.clock.pass(100);
        *world.script.facts.lock().unwrap() = facts;
        world.script.outcome.add_permits(1);
        let ended = world.ended(run.id).await;
        let error = ended.state.error().unwrap();
        assert_eq!((error.code, &error.details["undone"]), (Code::RolloutCrashLoop, &json!(true)));
        assert_eq!(*world.script.undone.lock().unwrap(), [json!({"generation": 2})]);
        assert_eq!(world.data.lock().unwrap().spends.len(), 2, "and takes nothing from what is counted");
        assert!(world.submit("restart", "webapp").await.is_err());
    }
}

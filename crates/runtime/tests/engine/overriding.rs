//! Breaking the glass: what it takes, what it overrides, and what it does not.

use crate::guarding::{freeze, guarded, managed};
use crate::script::{lead, submission};
use crate::world::World;
use astradesk_core::run::State;
use astradesk_core::{Code, Error, Run};
use astradesk_runtime::engine::{Submission, Submitted};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

fn breaking(service: &str) -> Submission {
    let reason = Some("the shop is down".to_owned());
    Submission { break_glass: true, reason, ..submission("restart", service) }
}

/// A freeze is in force, the target is managed elsewhere, and the budget is spent; policy permits to override it.
async fn closed() -> World {
    let budget = json!({"budget": {"runs": 1, "per": "1h"}, "targets": ["kubernetes/*/*/*/*"]});
    let world = World::with_asking(0, guarded(&[freeze(), json!({"gitops": "refuse"}), budget]));
    let first = world.admitted(submission("restart", "first")).await;
    world.ended(first.id).await;
    world.clock.pass(100);
    *world.script.facts.lock().unwrap() = Ok(managed());
    world.policy.glass.store(true, Ordering::SeqCst);
    world
}

async fn succeeds(world: &World, submission: Submission) -> Run {
    let run = world.admitted(submission).await;
    let ended = world.ended(run.id).await;
    assert_eq!(ended.state, State::Succeeded);
    ended
}

fn codes(told: &Value) -> Vec<&str> {
    told["guardrails"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn with_a_reason_and_a_policy_guardrails_are_overridden_loudly() {
    let world = closed().await;
    assert_eq!(world.submit("restart", "webapp").await.unwrap_err().code, Code::GuardFrozen);
    let run = succeeds(&world, breaking("webapp")).await;
    assert_eq!(world.performed(), 2);
    let story = world.story(run.id).await;
    let kinds: Vec<&str> = story.iter().map(|(kind, _)| kind.as_str()).collect();
    let step = ["step.intended", "guard.overridden", "step.performed", "run.finished"];
    assert_eq!(kinds, [&["run.admitted", "guard.overridden"], &step[..]].concat());
    assert_eq!(
        (&story[0].1["break_glass"], &story[0].1["reason"]),
        (&json!(true), &json!("the shop is down"))
    );
    assert!(story[0].1["policies"].as_array().unwrap().contains(&json!("test.glass")), "{}", story[0].1);
    for (place, step) in [(1, Value::Null), (3, json!(0))] {
        let told = &story[place].1;
        assert_eq!((&told["step"], &told["reason"]), (&step, &json!("the shop is down")));
        assert_eq!(codes(told), ["guard.frozen", "guard.gitops_managed", "guard.budget_exhausted"]);
        assert_eq!(told["guardrails"][0]["guardrail"], "rule-0");
    }
    assert_eq!(world.data.lock().unwrap().spends.len(), 2, "it counts for those who come later");
}

#[tokio::test(start_paused = true)]
async fn without_a_reason_or_a_policy_the_glass_stays_whole() {
    let world = closed().await;
    let silent = Submission { reason: None, ..breaking("webapp") };
    assert_eq!(world.engine.submit(silent).await.unwrap_err().code, Code::RequestReasonRequired);
    let blank = Submission { reason: Some(" \n".into()), ..breaking("webapp") };
    assert_eq!(world.engine.submit(blank).await.unwrap_err().code, Code::RequestReasonRequired);
    world.policy.glass.store(false, Ordering::SeqCst);
    let denied = world.engine.submit(breaking("webapp")).await.unwrap_err();
    assert_eq!(denied.code, Code::PolicyBreakGlassDenied);
    let denied = world.engine.submit(breaking("not-guarded")).await.unwrap_err();
    assert_eq!(denied.code, Code::PolicyBreakGlassDenied, "also where nothing objects");
    let dry = Submission { dry_run: true, ..breaking("webapp") };
    assert_eq!(world.engine.submit(dry).await.unwrap_err().code, Code::PolicyBreakGlassDenied);
    let evidence = world.evidence().await;
    let refused = ["request.refused", "request.refused", "run.denied", "run.denied", "run.denied"];
    assert_eq!(evidence[evidence.len() - 5..], refused);
    assert_eq!(world.performed(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_tools_own_guardrails_and_locks_are_not_overridden() {
    let world = closed().await;
    *world.script.guard.lock().unwrap() = Some(Error::new(Code::GuardPaused, "paused"));
    assert_eq!(world.engine.submit(breaking("webapp")).await.unwrap_err().code, Code::GuardPaused);
    *world.script.guard.lock().unwrap() = None;

    // Another process has locked it, and is alive.
    let holder = astradesk_core::RunId::parse("00000000-0000-7000-8000-0000000000ff").unwrap();
    let mut other = world.data.lock().unwrap().runs.values().next().unwrap().clone();
    (other.id, other.state) = (holder, State::Running { step: 0 });
    world.data.lock().unwrap().runs.insert(holder, other);
    let target = "kubernetes/test/default/deployment/webapp";
    world.data.lock().unwrap().locks.insert(target.to_owned(), holder);
    world.data.lock().unwrap().runs.get_mut(&holder).unwrap().holder =
        Some(astradesk_core::run::Holder::new("other"));
    let (_other, _) = world.beside("other").await;
    let run = world.admitted(breaking("webapp")).await;
    let ended = world.ended(run.id).await;
    assert_eq!(ended.state.error().unwrap().code, Code::GuardTargetLocked);
    assert_eq!(world.performed(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_tools_own_guardrails_are_asked_again_before_the_step() {
    let world = closed().await;
    world.policy.ask(1, "lead");
    let run = world.admitted(breaking("webapp")).await;
    *world.script.guard.lock().unwrap() = Some(Error::new(Code::GuardPaused, "paused"));
    world.approve(&lead("bo"), run.id).await.unwrap();
    let ended = world.ended(run.id).await;
    assert_eq!((ended.state.error().unwrap().code, world.performed()), (Code::GuardPaused, 1));
}

#[tokio::test(start_paused = true)]
async fn approvers_see_what_is_overridden_and_a_withdrawn_permission_is_no_permission() {
    let world = closed().await;
    world.policy.ask(1, "lead");
    let run = world.admitted(breaking("webapp")).await;
    assert_eq!(run.state.name(), "awaiting_approval");
    let shown = world.engine.awaiting(&lead("bo"), run.id).await.unwrap();
    let risks = shown.risks.join("\n");
    assert!(
        risks.contains("guardrails are to be overridden") && risks.contains("a freeze is in force"),
        "{risks}"
    );
    let preview = &shown.preview.unwrap()[0];
    let objections: Vec<Code> = preview.objections.iter().map(|error| error.code).collect();
    assert_eq!(objections, [Code::GuardFrozen, Code::GuardGitOpsManaged, Code::GuardBudgetExhausted]);
    world.policy.glass.store(false, Ordering::SeqCst);
    world.approve(&lead("bo"), run.id).await.unwrap();
    let ended = world.ended(run.id).await;
    assert_eq!(ended.state.error().unwrap().code, Code::PolicyBreakGlassDenied);
    assert_eq!(world.performed(), 1);
}

#[tokio::test(start_paused = true)]
async fn policies_that_ask_for_facts_are_told_them_before_the_glass_breaks() {
    let world = closed().await;
    world.policy.facts.store(true, Ordering::SeqCst);
    succeeds(&world, breaking("webapp")).await;
    *world.script.facts.lock().unwrap() = Err(Error::new(Code::KubernetesUnavailable, "away"));
    let refused = world.engine.submit(breaking("webapp")).await.unwrap_err();
    assert_eq!(refused.code, Code::KubernetesUnavailable, "what is not known is not overridden");
    world.policy.facts.store(false, Ordering::SeqCst);
    let refused = world.engine.submit(breaking("webapp")).await.unwrap_err();
    assert_eq!(refused.code, Code::KubernetesUnavailable, "nor for guardrails alone");
    assert_eq!(world.performed(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_objects_nothing_is_overridden() {
    let world = World::with_asking(0, guarded(&[freeze()]));
    world.policy.glass.store(true, Ordering::SeqCst);
    let run = succeeds(&world, breaking("webapp")).await;
    assert!(!world.kinds(run.id).await.contains(&"guard.overridden".to_owned()));
    world.clock.pass(100);
    let dry = Submission { dry_run: true, ..breaking("webapp") };
    let Submitted::Preview(preview) = world.engine.submit(dry).await.unwrap() else { panic!("it is dry") };
    assert_eq!(preview.steps[0].objections[0].code, Code::GuardFrozen);
}

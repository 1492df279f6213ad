//! From an admitted run to its outcome.

use crate::script::{ada, submission, undoing};
use crate::world::World;
use astradesk_core::run::{OnFailure, State, StepState};
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use serde_json::json;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_write_is_intended_performed_verified_and_on_record() {
    let world = World::new();
    let run = world.admitted(submission("restart", "webapp")).await;
    assert_eq!(run.state, State::Queued);
    world.script.verifying.acquire().await.unwrap().forget();
    let seen = world.engine.run(&ada(), run.id).await.unwrap();
    assert!(!seen.state.is_final(), "performed is not yet succeeded");
    world.script.outcome.add_permits(1);
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
    assert_eq!(world.script.performed.load(Ordering::SeqCst), 1);
    assert_eq!(world.evidence().await, ["run.admitted", "step.intended", "step.performed", "run.finished"]);
}

#[tokio::test]
async fn each_way_to_fail_ends_the_run_with_the_tools_own_error() {
    for (perform, verify, state) in [
        (Some(Fault::Failed(Error::new(Code::KubernetesRejected, "no"))), None, "failed"),
        (Some(Fault::Unknown(Error::new(Code::RunOutcomeUnknown, "?"))), None, "outcome_unknown"),
        (Some(Fault::Moved(Error::new(Code::KubernetesRejected, "it moved"))), None, "failed"),
        (None, Some(Fault::Failed(Error::new(Code::RolloutCrashLoop, "crash"))), "failed"),
        (None, Some(Fault::Unknown(Error::new(Code::RunOutcomeUnknown, "?"))), "outcome_unknown"),
    ] {
        let world = World::new();
        let expected = perform.clone().or(verify.clone()).unwrap();
        *world.script.perform.lock().unwrap() = perform;
        *world.script.verify.lock().unwrap() = verify;
        world.script.outcome.add_permits(1);
        let run = world.admitted(submission("restart", "webapp")).await;
        let ended = world.ended(run.id).await;
        let (Fault::Failed(error) | Fault::Moved(error) | Fault::Unknown(error)) = expected;
        assert_eq!((ended.state.name(), ended.state.error()), (state, Some(&error)));
    }
}

#[tokio::test]
async fn an_effect_that_keeps_being_overtaken_is_intended_a_few_times() {
    let world = World::new();
    *world.script.perform.lock().unwrap() =
        Some(Fault::Moved(Error::new(Code::KubernetesRejected, "it moved")));
    let run = world.admitted(submission("restart", "webapp")).await;
    assert_eq!(world.ended(run.id).await.state.name(), "failed");
    let intents = world.evidence().await.iter().filter(|kind| *kind == "step.intended").count();
    assert_eq!(intents, 16);
}

#[tokio::test]
async fn an_effect_that_failed_is_undone_if_the_call_says_so() {
    let world = World::new();
    *world.script.verify.lock().unwrap() = Some(Fault::Failed(Error::new(Code::RolloutCrashLoop, "crash")));
    world.script.outcome.add_permits(1);
    let run = world.admitted(undoing("webapp")).await;
    let ended = world.ended(run.id).await;
    let error = ended.state.error().unwrap();
    assert_eq!((ended.state.name(), error.code), ("failed", Code::RolloutCrashLoop));
    assert_eq!(error.details["undone"], true);
    assert_eq!(*world.script.undone.lock().unwrap(), [json!({"generation": 2})]);
    let one = ["step.intended", "step.performed"];
    assert_eq!(world.evidence().await, [&["run.admitted"], &one[..], &one, &["run.finished"]].concat());
}

#[tokio::test]
async fn a_cancelled_run_ends_and_says_what_had_been_done() {
    let world = World::new();
    let run = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    let cancelled = world.engine.cancel(&ada(), run.id, OnFailure::Leave).await.unwrap();
    assert_eq!(cancelled.state, State::Cancelled);
    assert!(
        matches!(&cancelled.steps[0].state, StepState::Failed { error, .. } if error.message.contains("goes on unwatched"))
    );
    assert_eq!(
        world.engine.cancel(&ada(), run.id, OnFailure::Leave).await.unwrap_err().code,
        Code::RunStateConflict
    );
    assert!(world.evidence().await.contains(&"run.cancel_requested".to_owned()));
}

#[tokio::test]
async fn an_effect_of_many_parts_is_carried_on_before_it_is_verified_and_undone_if_that_fails() {
    let world = World::new();
    let late = Error::new(Code::ToolTimedOut, "2 of 5 parts are left");
    *world.script.carry_on.lock().unwrap() = Some(Fault::Failed(late));
    let run = world.admitted(undoing("webapp")).await;
    let ended = world.ended(run.id).await;
    let State::Failed { error } = &ended.state else { panic!("{ended:?}") };
    assert_eq!((error.code, &error.details["undone"]), (Code::ToolTimedOut, &json!(true)));
    assert_eq!(world.script.performed.load(Ordering::SeqCst), 1);
    assert!(world.script.left.lock().unwrap().is_empty(), "what is not done is not verified");
}

#[tokio::test]
async fn what_goes_on_by_itself_is_stopped_if_it_can_be() {
    let world = World::new();
    *world.script.stop.lock().unwrap() = Some(Error::new(Code::RunCancelled, "stopped after 2 of 5 tasks"));
    let run = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    let cancelled = world.engine.cancel(&ada(), run.id, OnFailure::Leave).await.unwrap();
    assert_eq!(cancelled.state, State::Cancelled);
    let StepState::Failed { error, .. } = &cancelled.steps[0].state else { panic!("{cancelled:?}") };
    assert_eq!(error.message, "stopped after 2 of 5 tasks");
    assert_eq!(error.details["receipt"], json!({"generation": 2}));
}

#[tokio::test]
async fn a_cancelled_run_undoes_what_it_did_if_that_is_asked_for() {
    let world = World::new();
    let run = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    world.engine.cancel(&ada(), run.id, OnFailure::Undo).await.unwrap();
    let ended = world.ended(run.id).await;
    assert_eq!((ended.state.name(), ended.steps[1].undoes), ("cancelled", Some(0)));
    assert_eq!(world.script.undone.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn only_who_submitted_a_run_cancels_it() {
    let world = World::new();
    let run = world.admitted(submission("restart", "webapp")).await;
    let mut bob = ada();
    bob.subject = "bob".into();
    let refused = world.engine.cancel(&bob, run.id, OnFailure::Leave).await.unwrap_err();
    assert_eq!(refused.code, Code::RunNotFound, "bob does not see it");
    world.script.outcome.add_permits(1);
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
}

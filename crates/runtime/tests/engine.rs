//! The Engine's promises, with a scripted tool: what is done, once, in which order, with which evidence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    reason = "a failed unwrap in a test is a failed test"
)]

mod support;

use astradesk_core::run::{State, StepState};
use astradesk_core::{Code, Effect, Error};
use astradesk_runtime::engine::Submitted;
use astradesk_runtime::port::Fault;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{TestPack, World, ada, spec, submission, tool};

#[tokio::test]
async fn a_write_is_intended_performed_verified_and_on_record() {
    let world = World::new().await;
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
async fn a_denial_a_guardrail_and_bad_arguments_do_nothing_and_are_on_record() {
    let world = World::new().await;
    let mut eve = submission("restart", "webapp");
    eve.principal.subject = "eve".into();
    assert_eq!(world.engine.submit(eve).await.unwrap_err().code, Code::PolicyDenied);

    *world.script.guard.lock().unwrap() = Some(Error::new(Code::GuardPaused, "paused"));
    let refused = world.submit("restart", "webapp").await.unwrap_err();
    assert_eq!(refused.code, Code::GuardPaused);
    let id = refused.details["run"].as_str().unwrap().to_owned();
    let run = world.engine.run(&ada(), astradesk_core::RunId::parse(&id).unwrap()).await.unwrap();
    assert_eq!(run.state.name(), "denied");
    assert_eq!(run.steps[0].state, StepState::Skipped);

    let mut wrong = submission("restart", "webapp");
    if let astradesk_runtime::engine::Request::Call(call) = &mut wrong.request {
        call.arguments.insert("force".into(), true.into());
    }
    assert_eq!(world.engine.submit(wrong).await.unwrap_err().code, Code::ToolArgumentsInvalid);
    assert_eq!(world.submit("nuke", "webapp").await.unwrap_err().code, Code::ToolNotFound);

    assert_eq!(world.script.performed.load(Ordering::SeqCst), 0);
    assert_eq!(world.evidence().await, ["run.denied", "run.denied", "request.refused", "request.refused"]);
}

#[tokio::test]
async fn a_read_is_answered_at_once_with_one_record() {
    let world = World::new().await;
    let run = world.admitted(submission("look", "webapp")).await;
    assert!(matches!(&run.steps[0].state, StepState::Succeeded { output, .. } if output["ready"] == 3));
    let stored = world.engine.run(&ada(), run.id).await.unwrap();
    assert!(
        matches!(&stored.steps[0].state, StepState::Succeeded { output, .. } if output["bytes"] == 11),
        "{stored:?}"
    );
    assert_eq!(world.evidence().await, ["read.finished"]);
}

#[tokio::test]
async fn without_the_store_nothing_is_done() {
    let world = World::new().await;
    world.store.down.store(true, Ordering::SeqCst);
    assert_eq!(world.submit("restart", "webapp").await.unwrap_err().code, Code::StoreUnavailable);
    assert_eq!(world.submit("look", "webapp").await.unwrap_err().code, Code::StoreUnavailable);
    assert_eq!(world.engine.ready().await.unwrap_err().code, Code::StoreUnavailable);
    assert_eq!(world.script.performed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_outcome_is_not_lost_while_the_store_is_away() {
    let world = World::new().await;
    let run = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    world.store.down.store(true, Ordering::SeqCst);
    world.script.outcome.add_permits(1);
    world.store.refused.acquire_many(2).await.unwrap().forget();
    assert!(!world.engine.run(&ada(), run.id).await.unwrap().state.is_final());
    world.store.down.store(false, Ordering::SeqCst);
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
}

#[tokio::test]
async fn a_repeated_request_finds_its_run_and_does_nothing() {
    let world = World::new().await;
    let keyed = |service| {
        let mut submission = submission("restart", service);
        submission.idempotency_key = Some("k1".into());
        submission
    };
    let first = world.admitted(keyed("webapp")).await;
    let (a, b) = tokio::join!(world.engine.submit(keyed("webapp")), world.engine.submit(keyed("webapp")));
    for again in [a, b] {
        let Submitted::Run { run, replayed } = again.unwrap() else { panic!("no preview was asked for") };
        assert_eq!((run.id, replayed), (first.id, true));
    }
    let other = world.engine.submit(keyed("payments")).await.unwrap_err();
    assert_eq!(other.code, Code::RequestIdempotencyConflict);
    world.script.outcome.add_permits(1);
    world.ended(first.id).await;
    assert_eq!(world.script.performed.load(Ordering::SeqCst), 1);

    world.clock.seconds.fetch_add(25 * 3600, Ordering::SeqCst);
    assert_ne!(world.admitted(keyed("payments")).await.id, first.id, "the key is free again after a day");
}

#[tokio::test]
async fn one_write_a_target_and_the_lock_is_given_back() {
    let world = World::new().await;
    let first = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    let second = world.admitted(submission("restart", "webapp")).await;
    let ended = world.ended(second.id).await;
    assert_eq!(ended.state.error().unwrap().code, Code::GuardTargetLocked);
    assert_eq!(ended.state.error().unwrap().details["holder"], first.id.to_string());
    world.script.outcome.add_permits(2);
    assert_eq!(world.ended(first.id).await.state, State::Succeeded);
    let third = world.admitted(submission("restart", "webapp")).await;
    assert_eq!(world.ended(third.id).await.state, State::Succeeded);
}

#[tokio::test]
async fn the_queue_is_bounded_and_a_queued_run_is_authorized_again() {
    let world = World::new().await;
    let first = world.admitted(submission("restart", "a")).await;
    let second = world.admitted(submission("restart", "b")).await;
    for _ in 0..2 {
        world.script.verifying.acquire().await.unwrap().forget();
    }
    let third = world.admitted(submission("restart", "c")).await;
    assert_eq!(world.submit("restart", "d").await.unwrap_err().code, Code::RunQueueFull);
    world.policy.0.store(false, Ordering::SeqCst);
    world.script.outcome.add_permits(2);
    assert_eq!(world.ended(first.id).await.state, State::Succeeded);
    assert_eq!(world.ended(second.id).await.state, State::Succeeded);
    assert_eq!(world.ended(third.id).await.state.error().unwrap().code, Code::PolicyDenied);
    assert_eq!(world.script.performed.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn each_way_to_fail_ends_the_run_with_the_tools_own_error() {
    for (perform, verify, state) in [
        (Some(Fault::Failed(Error::new(Code::KubernetesRejected, "no"))), None, "failed"),
        (Some(Fault::Unknown(Error::new(Code::RunOutcomeUnknown, "?"))), None, "outcome_unknown"),
        (None, Some(Fault::Failed(Error::new(Code::RolloutCrashLoop, "crash"))), "failed"),
        (None, Some(Fault::Unknown(Error::new(Code::RunOutcomeUnknown, "?"))), "outcome_unknown"),
    ] {
        let world = World::new().await;
        let expected = perform.clone().or(verify.clone()).unwrap();
        *world.script.perform.lock().unwrap() = perform;
        *world.script.verify.lock().unwrap() = verify;
        world.script.outcome.add_permits(1);
        let run = world.admitted(submission("restart", "webapp")).await;
        let ended = world.ended(run.id).await;
        let (Fault::Failed(error) | Fault::Unknown(error)) = expected;
        assert_eq!((ended.state.name(), ended.state.error()), (state, Some(&error)));
    }
}

#[tokio::test]
async fn a_run_outlives_the_process_and_is_performed_once() {
    let mut world = World::new().await;
    let run = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    world.reborn().await;
    assert_eq!(world.engine.resume().await.unwrap(), 1);
    world.script.outcome.add_permits(1);
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
    assert_eq!(world.script.performed.load(Ordering::SeqCst), 1);
    assert_eq!(world.evidence().await.last().unwrap(), "run.finished");
}

#[tokio::test]
async fn a_cancelled_run_ends_and_says_what_had_been_done() {
    let world = World::new().await;
    let run = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    let cancelled = world.engine.cancel(&ada(), run.id).await.unwrap();
    assert_eq!(cancelled.state, State::Cancelled);
    assert!(
        matches!(&cancelled.steps[0].state, StepState::Failed { error, .. } if error.message.contains("goes on unwatched"))
    );
    assert_eq!(world.engine.cancel(&ada(), run.id).await.unwrap_err().code, Code::RunStateConflict);
    assert!(world.evidence().await.contains(&"run.cancel_requested".to_owned()));
}

#[tokio::test]
async fn a_preview_does_nothing() {
    let world = World::new().await;
    let mut preview = submission("restart", "webapp");
    preview.dry_run = true;
    let Submitted::Preview(preview) = world.engine.submit(preview).await.unwrap() else {
        panic!("a preview was asked for")
    };
    assert_eq!(preview.steps[0].changes.as_ref().unwrap()["would"], "restart");
    assert_eq!(world.script.performed.load(Ordering::SeqCst), 0);
    assert_eq!(world.evidence().await, ["run.previewed"]);
}

#[tokio::test]
async fn events_tell_the_whole_life_and_resume_where_they_broke() {
    let world = World::new().await;
    world.script.outcome.add_permits(1);
    let run = world.admitted(submission("restart", "webapp")).await;
    world.ended(run.id).await;
    let limit = tokio::time::Instant::now() + Duration::from_secs(5);
    let all = world.engine.events(&ada(), run.id, 0, limit).await.unwrap();
    let kinds: Vec<_> = all.events.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["state", "state", "step", "progress", "state"]);
    assert!(all.finished);
    let rest = world.engine.events(&ada(), run.id, all.events[2].seq, limit).await.unwrap();
    assert_eq!(rest.events, all.events[3..]);
}

#[tokio::test]
async fn runs_and_evidence_are_shown_to_those_who_may_see_them() {
    let world = World::new().await;
    let run = world.admitted(submission("look", "webapp")).await;
    let mut bob = ada();
    bob.subject = "bob".into();
    assert_eq!(world.engine.run(&bob, run.id).await.unwrap_err().code, Code::RunNotFound);
    assert_eq!(world.engine.evidence(&bob, 0, 10).await.unwrap_err().code, Code::PolicyDenied);
    assert_eq!(world.engine.evidence(&ada(), 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_definition_is_checked_and_a_pack_registers_whole_or_not_at_all() {
    let world = World::new().await;
    let mut no_schema = spec("other", Some(Effect::Read));
    no_schema.input_schema =
        serde_json::json!({"type": "object", "additionalProperties": false, "properties": 7});
    let mut open = spec("other", Some(Effect::Read));
    open.input_schema = serde_json::json!({"type": "object"});
    for (bad, why) in
        [(spec("other", None), "no effect"), (no_schema, "not valid"), (open, "additionalProperties")]
    {
        let pack =
            TestPack(vec![tool(spec("fine", Some(Effect::Read)), &world.script), tool(bad, &world.script)]);
        let error = world.registry.register(&pack).unwrap_err();
        assert_eq!(error.code, Code::ToolDefinitionInvalid);
        assert!(error.message.contains(why), "{error}");
        assert!(world.registry.tool("fine").is_err() && world.registry.tool("restart").is_ok());
    }
    world.registry.register(&TestPack(vec![tool(spec("fine", Some(Effect::Read)), &world.script)])).unwrap();
    assert!(world.registry.tool("fine").is_ok() && world.registry.tool("restart").is_err(), "replaced");
    assert!(world.registry.remove("test") && !world.registry.remove("test"));
    assert!(world.registry.tools().is_empty());
}

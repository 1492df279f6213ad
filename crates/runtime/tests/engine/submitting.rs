//! What becomes of a submission.

use crate::script::{ada, submission};
use crate::world::World;
use astradesk_core::run::{State, StepState};
use astradesk_core::{Code, Error};
use astradesk_runtime::engine::Submitted;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_denial_a_guardrail_and_bad_arguments_do_nothing_and_are_on_record() {
    let world = World::new();
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
    let world = World::new();
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
async fn a_preview_does_nothing() {
    let world = World::new();
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
async fn without_the_store_nothing_is_done() {
    let world = World::new();
    world.store.down.store(true, Ordering::SeqCst);
    assert_eq!(world.submit("restart", "webapp").await.unwrap_err().code, Code::StoreUnavailable);
    assert_eq!(world.submit("look", "webapp").await.unwrap_err().code, Code::StoreUnavailable);
    let health = world.engine.health().await;
    assert_eq!(health[0].1.as_ref().unwrap_err().code, Code::StoreUnavailable);
    assert!(health[0].0 == "store" && health[1] == ("clock", Ok(())), "{health:?}");
    assert_eq!(world.script.performed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_repeated_request_finds_its_run_and_does_nothing() {
    let world = World::new();
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

    world.clock.pass(25 * 3600);
    assert_ne!(world.admitted(keyed("payments")).await.id, first.id, "the key is free again after a day");
}

#[tokio::test]
async fn one_write_a_target_and_the_lock_is_given_back() {
    let world = World::new();
    let first = world.admitted(submission("restart", "webapp")).await;
    let refused = world.submit("restart", "webapp").await.unwrap_err();
    assert_eq!(refused.code, Code::GuardTargetLocked);
    assert_eq!(refused.details["holder"], first.id.to_string());
    world.script.verifying.acquire().await.unwrap().forget();
    let target = "kubernetes/test/default/deployment/webapp";
    assert_eq!(world.data.lock().unwrap().locks[target], first.id);
    world.script.outcome.add_permits(2);
    assert_eq!(world.ended(first.id).await.state, State::Succeeded);
    assert!(world.data.lock().unwrap().locks.is_empty());
    let third = world.admitted(submission("restart", "webapp")).await;
    assert_eq!(world.ended(third.id).await.state, State::Succeeded);
}

#[tokio::test]
async fn the_queue_is_bounded_and_a_queued_run_is_authorized_again() {
    let world = World::new();
    let first = world.admitted(submission("restart", "a")).await;
    let second = world.admitted(submission("restart", "b")).await;
    for _ in 0..2 {
        world.script.verifying.acquire().await.unwrap().forget();
    }
    let third = world.admitted(submission("restart", "c")).await;
    assert_eq!(world.submit("restart", "d").await.unwrap_err().code, Code::GuardQueueFull);
    world.policy.on.store(false, Ordering::SeqCst);
    world.script.outcome.add_permits(2);
    assert_eq!(world.ended(first.id).await.state, State::Succeeded);
    assert_eq!(world.ended(second.id).await.state, State::Succeeded);
    assert_eq!(world.ended(third.id).await.state.error().unwrap().code, Code::PolicyDenied);
    assert_eq!(world.script.performed.load(Ordering::SeqCst), 2);
}

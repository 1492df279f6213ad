//! From a run that needs approval to its outcome: the whole story, and each of its ends.

use crate::script::{ada, lead, person, submission};
use crate::world::{Setup, World};
use astradesk_core::Code;
use astradesk_core::run::{OnFailure, State, StepState};
use astradesk_runtime::engine::{Limits, Submission, Submitted};
use astradesk_runtime::port::Policy;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const DONE: [&str; 4] = ["run.claimed", "step.intended", "step.performed", "run.finished"];

fn reasoned(service: &str) -> Submission {
    let trace = Some("0af7651916cd43dd8448eb211c80319c".to_owned());
    Submission { reason: Some("it leaks".to_owned()), trace, ..submission("restart", service) }
}

#[tokio::test(start_paused = true)]
async fn two_people_agree_and_it_is_done_once_with_all_of_it_on_record() {
    let mut world = World::asking(2);
    world.engine.begin().await.unwrap();
    world.engine.recover();
    world.engine.tend();
    let run = world.admitted(reasoned("webapp")).await;
    assert_eq!((run.state.name(), run.holder.as_ref()), ("awaiting_approval", None));
    let digest = world.digest(run.id);
    assert_eq!(digest, run.digest());
    let story = world.story(run.id).await;
    assert_eq!(world.kinds(run.id).await, ["run.admitted", "approval.requested"]);
    let admitted = &story[0].1;
    assert_eq!((&admitted["reason"], &admitted["policies"]), (&json!("it leaks"), &json!(["test.ask"])));
    assert_eq!(admitted["policy_set"], json!(world.policy.status().digest));
    assert_eq!(admitted["calls"][0]["arguments"], json!({"service": "webapp"}));
    let requested = &story[1].1;
    assert_eq!(requested["digest"], json!(digest));
    assert_eq!(requested["required"], json!({"count": 2, "roles": {"lead": 2}}));
    assert_eq!(requested["reasons"][0]["policy"], "test.ask");
    assert_eq!(requested["expires_at"], "1970-01-12T14:46:40Z");
    assert_eq!(requested["preview"][0]["changes"], json!({"would": "restart"}));
    assert!(
        world.records().await.iter().all(|body| body["run"].is_null() || body["trace"] == json!(run.trace))
    );

    // Neither the sweeps of this process nor of the next one take it up.
    world.looked_after().await;
    world.reborn().await;
    world.engine.tend();
    world.looked_after().await;
    assert_eq!(world.stored(run.id), run, "it waits as it was left");

    let one = world.approve(&lead("bo"), run.id).await.unwrap();
    assert_eq!((one.state.name(), one.approved_by().len()), ("awaiting_approval", 1));
    world.looked_after().await;
    assert_eq!(world.performed(), 0, "one of two is not enough");
    let two = world.approve(&lead("cy"), run.id).await.unwrap();
    assert_eq!(two.state.name(), "queued");
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
    world.looked_after().await;
    assert_eq!(world.performed(), 1);

    let before = ["run.admitted", "approval.requested", "approval.given", "approval.given"];
    let story = world.story(run.id).await;
    assert_eq!(world.kinds(run.id).await, [&before[..], &DONE].concat());
    for (place, subject, state) in [(2, "bo", "awaiting_approval"), (3, "cy", "queued")] {
        let given = &story[place].1;
        assert_eq!((&given["by"]["subject"], &given["by"]["roles"]), (&json!(subject), &json!(["lead"])));
        assert_eq!((&given["digest"], &given["reason"]), (&json!(digest), &json!("it looks fine")));
        assert_eq!(given["state"], state);
    }
    let intended = &story[5].1;
    assert_eq!(intended["policies"], json!(["test.permit"]), "the policy that lets it through as approved");
    assert_eq!(intended["policy_set"], json!(world.policy.status().digest));
}

#[tokio::test(start_paused = true)]
async fn each_webhook_is_told_once_in_the_same_commit() {
    let webhooks = vec!["ops".to_owned(), "audit".to_owned()];
    let world = World::with_asking(1, Setup { webhooks, ..Setup::default() });
    world.store.down.store(true, Ordering::SeqCst);
    assert!(world.engine.submit(reasoned("webapp")).await.is_err());
    assert!(world.data.lock().unwrap().outbox.is_empty(), "what was not kept is not told");
    world.store.down.store(false, Ordering::SeqCst);

    let keyed = || Submission { idempotency_key: Some("k".into()), ..reasoned("webapp") };
    let run = world.admitted(keyed()).await;
    world.admitted(keyed()).await;
    let due = world.engine.due_announcements(10).await.unwrap();
    let to: Vec<&str> = due.iter().map(|one| one.to.as_str()).collect();
    assert_eq!(to, ["audit", "ops"]);
    assert_ne!(due[0].id, due[1].id);
    let body: Value = serde_json::from_str(&due[0].body).unwrap();
    assert_eq!(
        (&body["specversion"], &body["type"]),
        (&json!("1.0"), &json!("dev.astradesk.approval.requested"))
    );
    assert_eq!((&body["id"], &body["subject"]), (&json!(due[0].id), &json!(run.id)));
    let data = &body["data"];
    assert_eq!((&data["digest"], &data["reason"]), (&json!(world.digest(run.id)), &json!("it leaks")));
    assert_eq!(
        (&data["principal"]["subject"], &data["policies"][0]["policy"]),
        (&json!("ada"), &json!("test.ask"))
    );

    world.approve(&lead("bo"), run.id).await.unwrap();
    world.ended(run.id).await;
    assert_eq!(world.data.lock().unwrap().outbox.len(), 2, "nothing else is announced");
}

#[tokio::test(start_paused = true)]
async fn somebody_says_no_and_the_run_ends() {
    let world = World::asking(2);
    let run = world.awaiting("webapp").await;
    world.approve(&lead("bo"), run.id).await.unwrap();
    let other = world.engine.reject(&lead("cy"), run.id, run.steps[0].call.digest, "no").await.unwrap_err();
    assert_eq!(other.code, Code::ApprovalDigestMismatch);
    let silent = world.engine.reject(&lead("cy"), run.id, world.digest(run.id), " ").await.unwrap_err();
    assert_eq!(silent.code, Code::RequestReasonRequired);
    let own = world.engine.reject(&ada(), run.id, world.digest(run.id), "oh").await.unwrap_err();
    assert_eq!(own.code, Code::ApprovalBySelf, "who asked cancels it");

    let digest = world.digest(run.id);
    let rejected = world.engine.reject(&lead("cy"), run.id, digest, "not on a Friday").await.unwrap();
    let error = rejected.state.error().unwrap();
    assert_eq!((rejected.state.name(), error.code), ("rejected", Code::ApprovalRejected));
    assert!(error.message.contains("not on a Friday") && error.message.contains("cy"), "{error}");
    assert_eq!(rejected.steps[0].state, StepState::Skipped);
    let late = world.engine.approve(&lead("dee"), run.id, digest, "please").await.unwrap_err();
    assert_eq!(late.code, Code::RunStateConflict);
    assert_eq!(world.engine.revoke(&lead("bo"), run.id).await.unwrap_err().code, Code::RunStateConflict);
    world.looked_after().await;
    assert_eq!(world.performed(), 0);

    let story = world.story(run.id).await;
    let told: Vec<(&str, &Value, &Value)> =
        story[3..].iter().map(|(kind, data)| (kind.as_str(), &data["code"], &data["wanted"])).collect();
    let (refused, none) = ("approval.refused", &Value::Null);
    assert_eq!(told[0], (refused, &json!("approval.digest_mismatch"), &json!("approval.rejected")));
    assert_eq!(told[1], (refused, &json!("request.reason_required"), &json!("approval.rejected")));
    assert_eq!(told[2], (refused, &json!("approval.by_self"), &json!("approval.rejected")));
    assert_eq!((told[3], told[4]), (("approval.rejected", none, none), ("run.finished", none, none)));
    assert_eq!(told[5], (refused, &json!("run.state_conflict"), &json!("approval.given")));
    assert_eq!(story[6].1["reason"], "not on a Friday");
    assert_eq!(story[7].1["state"], "rejected");
    world.awaiting("webapp").await;
}

#[tokio::test(start_paused = true)]
async fn nobody_agrees_in_time_and_the_run_ends() {
    let world = World::asking(2);
    world.engine.tend();
    let run = world.awaiting("webapp").await;
    let digest = world.digest(run.id);
    world.clock.pass(3599);
    world.approve(&lead("bo"), run.id).await.unwrap();
    world.looked_after().await;
    assert_eq!(world.stored(run.id).state.name(), "awaiting_approval");
    world.clock.pass(1);
    let late = world.engine.approve(&lead("cy"), run.id, digest, "late").await.unwrap_err();
    assert_eq!(late.code, Code::ApprovalExpired);
    assert_eq!(world.ended(run.id).await.state, State::Expired);
    let kinds = world.kinds(run.id).await;
    assert_eq!(kinds[2..], ["approval.given", "approval.refused", "run.finished"]);
    assert_eq!(world.told("run.finished").await["state"], "expired");
    assert_eq!(world.events(run.id).await.last().unwrap(), &("state".to_owned(), "expired".to_owned()));
    assert_eq!(world.performed(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_asked_may_cancel_it_while_it_waits() {
    let world = World::asking(1);
    let run = world.awaiting("webapp").await;
    let by_other = world.engine.cancel(&lead("bo"), run.id, OnFailure::Leave).await.unwrap_err();
    assert_eq!(by_other.code, Code::PolicyDenied, "who may approve it may reject it, not cancel it");
    let cancelled = world.engine.cancel(&ada(), run.id, OnFailure::Leave).await.unwrap();
    assert_eq!(cancelled.state, State::Cancelled);
    let late = world.approve(&lead("bo"), run.id).await.unwrap_err();
    assert_eq!(late.code, Code::RunStateConflict);
    let kinds = world.kinds(run.id).await;
    assert_eq!(kinds[2..], ["run.cancel_requested", "run.finished", "approval.refused"]);
    assert_eq!(world.performed(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_finds_the_run_that_waits() {
    let world = World::asking(1);
    let keyed = || Submission { idempotency_key: Some("k".into()), ..reasoned("webapp") };
    let run = world.admitted(keyed()).await;
    let (a, b) = tokio::join!(world.engine.submit(keyed()), world.engine.submit(keyed()));
    for again in [a, b] {
        let Submitted::Run { run: found, replayed } = again.unwrap() else {
            panic!("no preview was asked for")
        };
        assert_eq!((found.id, found.state.name(), replayed), (run.id, "awaiting_approval", true));
    }
    world.policy.glass.store(true, Ordering::SeqCst);
    let other_reason = Submission { reason: Some("another".into()), ..keyed() };
    for other in [Submission { break_glass: true, ..keyed() }, other_reason] {
        let conflict = world.engine.submit(other).await.unwrap_err();
        assert_eq!(conflict.code, Code::RequestIdempotencyConflict, "that is not what was asked before");
    }
    world.approve(&lead("bo"), run.id).await.unwrap();
    world.ended(run.id).await;
    assert_eq!(world.admitted(keyed()).await.state, State::Succeeded);
    assert_eq!(world.performed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_needs_no_approval_and_says_that_the_run_would() {
    let world = World::asking(1);
    let dry = Submission { dry_run: true, ..submission("restart", "webapp") };
    let Submitted::Preview(preview) = world.engine.submit(dry).await.unwrap() else { panic!("it is dry") };
    assert_eq!(json!(preview.steps[0].decision)["decision"], "needs_approval");
    assert_eq!(preview.steps[0].changes, Some(json!({"would": "restart"})));
    assert_eq!(world.evidence().await, ["run.previewed"]);
    let waiting = world.engine.approvals(&lead("bo"), None, 10).await.unwrap();
    assert!(waiting.is_empty() && world.data.lock().unwrap().runs.is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_so_many_runs_may_await_approval() {
    let limits = Limits { awaiting_runs: 4, concurrent_runs: 1, queued_runs: 0, ..Limits::default() };
    let world = World::with_asking(1, Setup { limits, ..Setup::default() });
    let first = world.awaiting("a").await;
    world.awaiting("b").await;
    let refused = world.submit("restart", "c").await.unwrap_err();
    assert_eq!(refused.code, Code::GuardQueueFull);
    assert!(refused.message.contains("2 runs of `ada` await approval"), "half is for others: {refused}");
    for service in ["d", "e"] {
        let by = Submission { principal: lead("bo"), ..reasoned(service) };
        world.admitted(by).await;
    }
    let third = Submission { principal: lead("cy"), ..reasoned("f") };
    let refused = world.engine.submit(third).await.unwrap_err();
    assert!(refused.message.contains("4 runs await approval"), "{refused}");
    assert_eq!(world.evidence().await.last().unwrap(), "run.denied");
    world.engine.reject(&lead("di"), first.id, world.digest(first.id), "no").await.unwrap();
    world.awaiting("c").await;
}

#[tokio::test(start_paused = true)]
async fn who_may_be_asked_sees_what_it_would_do() {
    let world = World::asking(1);
    let by_agent = astradesk_core::Principal { actor: Some("bot".into()), ..ada() };
    let run = world.admitted(Submission { principal: by_agent.clone(), ..reasoned("webapp") }).await;
    let codes = async |by| {
        let list = world.engine.approvals(&by, None, 10).await.unwrap();
        list.into_iter().map(|one| (one.run.id, one.refused.map(|error| error.code))).collect::<Vec<_>>()
    };
    assert_eq!(codes(lead("bo")).await, [(run.id, None)]);
    assert_eq!(codes(by_agent).await, [(run.id, Some(Code::ApprovalBySelf))]);
    assert_eq!(codes(person("aud", &[])).await, [(run.id, Some(Code::ApprovalRoleRequired))]);
    assert_eq!(codes(person("bob", &["dev"])).await, [], "it is not his business");
    assert_eq!(world.engine.run(&person("bob", &["dev"]), run.id).await.unwrap_err().code, Code::RunNotFound);

    let shown = world.engine.awaiting(&lead("bo"), run.id).await.unwrap();
    assert_eq!(shown.preview.unwrap()[0].changes, Some(json!({"would": "restart"})));
    assert!(shown.risks.iter().any(|risk| risk.contains("an agent asks")), "{:?}", shown.risks);
    assert_eq!((shown.refused, shown.run.reason.as_deref()), (None, Some("it leaks")));
}

#[tokio::test(start_paused = true)]
async fn who_watches_sees_each_approval() {
    let world = World::asking(2);
    let run = world.awaiting("webapp").await;
    let watching = {
        let (engine, id) = (world.engine.clone(), run.id);
        let until = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
        tokio::spawn(async move {
            let first = engine.events(&ada(), id, 0, until).await.unwrap().events;
            engine.events(&ada(), id, first.last().unwrap().seq, until).await.unwrap().events
        })
    };
    world.looked_after().await;
    world.approve(&lead("bo"), run.id).await.unwrap();
    let seen = watching.await.unwrap();
    assert_eq!((seen.len(), &seen[0].data["state"]), (1, &json!("awaiting_approval")));
    world.approve(&lead("cy"), run.id).await.unwrap();
    world.ended(run.id).await;
    let states: Vec<String> = world.events(run.id).await.into_iter().map(|(_, state)| state).collect();
    let expected =
        ["awaiting_approval", "awaiting_approval", "queued", "running", "running", "", "succeeded"];
    assert_eq!(states, expected);
}

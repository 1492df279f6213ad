//! Policies that change while a run waits.

use crate::script::{ada, lead, person};
use crate::world::{Setup, World};
use astradesk_core::run::State;
use astradesk_core::{Code, Error, Requirement, Run};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A world with a run that needs two and has one, and somebody who looks after it.
async fn half_approved() -> (World, Run) {
    let webhooks = vec!["ops".to_owned()];
    let world = World::with_asking(2, Setup { webhooks, ..Setup::default() });
    world.engine.tend();
    let run = world.awaiting("webapp").await;
    world.approve(&lead("bo"), run.id).await.unwrap();
    world.looked_after().await;
    assert_eq!(world.stored(run.id).approved_by().len(), 1, "nothing has changed");
    (world, run)
}

#[tokio::test(start_paused = true)]
async fn what_was_given_does_not_count_when_policy_asks_for_more_or_less() {
    for count in [3, 1] {
        let (world, run) = half_approved().await;
        world.clock.pass(600);
        world.policy.ask(count, "lead");
        world.looked_after().await;
        let anew = world.stored(run.id);
        let approvals = anew.approvals.unwrap();
        assert_eq!((anew.state.name(), approvals.required.count), ("awaiting_approval", count));
        assert_eq!((approvals.given.len(), approvals.digest), (0, run.digest()));
        assert_eq!(approvals.expires_at, "1970-01-12T14:56:40Z".parse().unwrap(), "it has its time again");

        let story = world.story(run.id).await;
        let kinds: Vec<&str> = story[3..].iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["approval.withdrawn", "approval.requested"]);
        assert_eq!(story[3].1["asked"]["count"], count);
        assert_eq!(story[3].1["withdrawn"][0]["by"]["subject"], "bo");
        assert_eq!(story[4].1["required"]["count"], count);
        let due = world.engine.due_announcements(10).await.unwrap();
        let bodies: Vec<Value> = due.iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect();
        let asked: Vec<&Value> = bodies.iter().map(|body| &body["data"]["required"]["count"]).collect();
        assert_eq!(asked.len(), 2, "approvers are told again");
        assert!(asked.contains(&&json!(2)) && asked.contains(&&json!(count)));

        let people = [lead("bo"), lead("cy"), lead("dee")];
        for by in people.iter().take(count as usize) {
            world.approve(by, run.id).await.unwrap();
        }
        assert_eq!(world.ended(run.id).await.state, State::Succeeded);
        assert_eq!(world.performed(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_asks_for_nothing_any_more_does_not_mind_the_approvals() {
    let (world, run) = half_approved().await;
    *world.policy.needs.lock().unwrap() = Requirement::default();
    world.looked_after().await;
    assert_eq!(world.stored(run.id).approved_by().len(), 1, "it waits for those who were asked");
    world.approve(&lead("cy"), run.id).await.unwrap();
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_denies_ends_what_waits() {
    let (world, run) = half_approved().await;
    world.policy.on.store(false, Ordering::SeqCst);
    let denied = world.ended(run.id).await;
    let error = denied.state.error().unwrap();
    assert_eq!((denied.state.name(), error.code), ("denied", Code::PolicyDenied));
    let kinds = world.kinds(run.id).await;
    assert_eq!(kinds[3..], ["approval.withdrawn", "run.finished"]);
    assert_eq!(world.told("approval.withdrawn").await["code"], "policy.denied");
    assert_eq!(world.performed(), 0);
}

/// Nobody can agree to it meanwhile, and nothing of it is lost.
#[tokio::test(start_paused = true)]
async fn while_the_policies_are_broken_what_waits_waits() {
    let (world, run) = half_approved().await;
    let before = world.stored(run.id);
    world.policy.broken.store(true, Ordering::SeqCst);
    world.looked_after().await;
    let refused = world.approve(&lead("cy"), run.id).await.unwrap_err();
    assert_eq!(refused.code, Code::PolicyEvaluationFailed);
    assert_eq!(world.stored(run.id), before);
    world.policy.broken.store(false, Ordering::SeqCst);
    world.looked_after().await;
    world.approve(&lead("cy"), run.id).await.unwrap();
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_asks_for_the_same_changes_nothing() {
    let (world, run) = half_approved().await;
    let before = world.stored(run.id);
    world.policy.facts.store(true, Ordering::SeqCst);
    world.looked_after().await;
    assert_eq!(world.stored(run.id), before);
    *world.script.facts.lock().unwrap() = Err(Error::new(Code::KubernetesUnavailable, "away"));
    world.policy.ask(1, "lead");
    world.looked_after().await;
    assert_eq!(world.stored(run.id), before, "what cannot be told now ends nothing");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_changed_while_no_process_was_there_asks_anew() {
    let (mut world, run) = half_approved().await;
    assert!(world.engine.stop(Duration::from_secs(5)).await);
    world.policy.ask(1, "owner");
    world.reborn().await;
    world.engine.tend();
    world.looked_after().await;
    let anew = world.stored(run.id);
    assert_eq!(anew.approved_by(), []);
    assert_eq!(anew.approvals.unwrap().required.to_string(), "1 approval by `owner`");
    let refused = world.approve(&lead("cy"), run.id).await.unwrap_err();
    assert_eq!(refused.code, Code::RunNotFound, "it is not for leads to say any more");
    world.approve(&person("cy", &["owner"]), run.id).await.unwrap();
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
}

/// Nobody has looked after it yet: who approves finds out.
#[tokio::test(start_paused = true)]
async fn what_approvers_were_told_must_still_be_so() {
    type Meanwhile = fn(&World);
    let table: [(&str, Code, &str, Meanwhile); 4] = [
        ("more is asked", Code::ApprovalWithdrawn, "awaiting_approval", |world| world.policy.ask(3, "lead")),
        ("the targets", Code::ApprovalWithdrawn, "denied", |world| {
            *world.script.namespace.lock().unwrap() = "prod";
        }),
        ("the tool", Code::ApprovalWithdrawn, "denied", |world| world.install("2")),
        ("it is denied", Code::PolicyDenied, "denied", |world| {
            world.policy.on.store(false, Ordering::SeqCst);
        }),
    ];
    for (what, code, state, meanwhile) in table {
        let world = World::asking(1);
        let run = world.awaiting("webapp").await;
        meanwhile(&world);
        let refused = world.approve(&lead("bo"), run.id).await.unwrap_err();
        assert_eq!(refused.code, code, "{what}");
        assert_eq!(world.stored(run.id).state.name(), state, "{what}");
        let asked = world.stored(run.id).approvals.unwrap();
        assert_eq!(asked.required.count == 3, what == "more is asked", "{what}");
        assert_eq!((asked.given.len(), world.performed()), (0, 0), "{what}");
        assert!(world.kinds(run.id).await.contains(&"approval.refused".to_owned()), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_role_whoever_may_do_it_may_agree_to_it() {
    let world = World::asking(0);
    world.policy.ask_anybody(1);
    let run = world.awaiting("webapp").await;
    let own = world.approve(&ada(), run.id).await.unwrap_err();
    assert_eq!(own.code, Code::ApprovalBySelf);
    let eve = world.approve(&person("eve", &[]), run.id).await.unwrap_err();
    assert_eq!(eve.code, Code::ApprovalRoleRequired, "who may use the tool sees it, and may not do this");
    *world.policy.role.lock().unwrap() = Some("dev");
    let aud = world.approve(&person("aud", &[]), run.id).await.unwrap_err();
    assert_eq!(
        aud.code,
        Code::ApprovalRoleRequired,
        "who may see it does not have to be somebody who may do it"
    );
    *world.policy.role.lock().unwrap() = None;
    world.approve(&person("bob", &[]), run.id).await.unwrap();
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn which_policies_are_in_force_is_on_record() {
    let world = World::asking(0);
    world.engine.tend();
    world.looked_after().await;
    *world.policy.next.lock().unwrap() = Some(Error::new(Code::PolicyDenied, "line 3 is no policy"));
    world.looked_after().await;
    let told: Vec<Value> = world.records().await.into_iter().map(|body| body["data"].clone()).collect();
    assert_eq!(world.evidence().await, ["policy.loaded", "policy.loaded"], "a fault is told once");
    assert_eq!(
        (&told[0]["problem"], &told[1]["problem"]["message"]),
        (&Value::Null, &json!("line 3 is no policy"))
    );
    assert_eq!(told[0]["digest"], told[1]["digest"], "the policies before stay in force");
}

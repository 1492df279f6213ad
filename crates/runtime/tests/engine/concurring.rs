//! Approvals at the same moment, in two processes, and taken back.

use crate::script::{ada, lead, submission};
use crate::world::{Setup, World};
use astradesk_core::run::State;
use astradesk_core::{Code, Principal, Run};
use astradesk_runtime::engine::Limits;
use std::sync::Arc;
use tokio::sync::Barrier;

/// Both approve it in processes of their own, each having read it before the other one's approval was kept.
async fn at_once(world: &World, run: &Run, one: &Principal, other: &Principal) -> [Result<Run, Code>; 2] {
    let (engine, store) = world.beside("other").await;
    let barrier = Arc::new(Barrier::new(2));
    *world.store.together.lock().unwrap() = Some(barrier.clone());
    *store.together.lock().unwrap() = Some(barrier);
    let digest = world.digest(run.id);
    let (a, b) = tokio::join!(
        world.engine.approve(one, run.id, digest, "here"),
        engine.approve(other, run.id, digest, "there"),
    );
    [a, b].map(|result| result.map_err(|error| error.code))
}

#[tokio::test(start_paused = true)]
async fn two_approvals_at_once_both_count() {
    let world = World::asking(2);
    world.engine.begin().await.unwrap();
    let run = world.awaiting("webapp").await;
    let [a, b] = at_once(&world, &run, &lead("bo"), &lead("cy")).await;
    let mut states = [a.unwrap().state.name(), b.unwrap().state.name()];
    states.sort_unstable();
    assert_eq!(states, ["awaiting_approval", "queued"]);
    let ended = world.ended(run.id).await;
    assert_eq!((ended.state.name(), ended.approved_by().len()), ("succeeded", 2));
    assert_eq!((world.performed(), ended.fence), (1, 1));
    let given = world.kinds(run.id).await.iter().filter(|kind| *kind == "approval.given").count();
    assert_eq!(given, 2);
}

#[tokio::test(start_paused = true)]
async fn of_two_approvals_at_once_one_is_enough_and_used_once() {
    let world = World::asking(1);
    world.engine.begin().await.unwrap();
    let run = world.awaiting("webapp").await;
    let results = at_once(&world, &run, &lead("bo"), &lead("cy")).await;
    let late: Vec<Code> = results.into_iter().filter_map(Result::err).collect();
    assert_eq!(late, [Code::RunStateConflict]);
    let ended = world.ended(run.id).await;
    assert_eq!((ended.state.name(), ended.approved_by().len(), world.performed()), ("succeeded", 1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_person_at_once_in_two_places_is_one() {
    let world = World::asking(2);
    world.engine.begin().await.unwrap();
    let run = world.awaiting("webapp").await;
    let elsewhere = Principal { issuer: "other".into(), ..lead("bo") };
    let results = at_once(&world, &run, &lead("bo"), &elsewhere).await;
    let late: Vec<Code> = results.into_iter().filter_map(Result::err).collect();
    assert_eq!(late, [Code::ApprovalAlreadyGiven]);
    world.looked_after().await;
    assert_eq!((world.stored(run.id).state.name(), world.performed()), ("awaiting_approval", 0));
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_taken_back_before_there_are_enough() {
    let world = World::asking(2);
    let run = world.awaiting("webapp").await;
    world.approve(&lead("bo"), run.id).await.unwrap();
    let not_given = world.engine.revoke(&lead("cy"), run.id).await.unwrap_err();
    assert_eq!(not_given.code, Code::ApprovalNotGiven);
    let revoked = world.engine.revoke(&lead("bo"), run.id).await.unwrap();
    assert_eq!((revoked.state.name(), revoked.approved_by().len()), ("awaiting_approval", 0));
    world.approve(&lead("cy"), run.id).await.unwrap();
    world.looked_after().await;
    assert_eq!(world.performed(), 0, "what was taken back does not count");
    let story = world.story(run.id).await;
    let kinds: Vec<&str> = story[3..].iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["approval.refused", "approval.revoked", "approval.given"]);
    assert_eq!(
        (&story[4].1["by"]["subject"], &story[4].1["state"]),
        (&"bo".into(), &"awaiting_approval".into())
    );
    world.approve(&lead("bo"), run.id).await.unwrap();
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
}

/// The process that would execute it learns of the revocation when its turn comes, and nobody else takes it.
#[tokio::test(start_paused = true)]
async fn an_approval_is_taken_back_while_the_run_waits_in_another_process() {
    let (world, run) = World::approved_behind_another(Setup::default()).await;
    world.engine.recover();
    let (other, _) = world.beside("other").await;
    other.recover();
    assert_eq!(world.stored(run.id).holder.unwrap().as_str(), "life-1");
    let revoked = other.revoke(&lead("bo"), run.id).await.unwrap();
    assert_eq!((revoked.state.name(), revoked.holder), ("awaiting_approval", None));
    world.script.outcome.add_permits(100);
    world.looked_after().await;
    assert_eq!(world.performed(), 1, "the first one");
    assert_eq!(world.stored(run.id).state.name(), "awaiting_approval");
    assert_eq!(world.engine.stats().waiting, 0, "it has left the queue");

    world.approve(&lead("cy"), run.id).await.unwrap();
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
    assert_eq!(world.performed(), 2);
    let kinds = world.kinds(run.id).await;
    let again = ["approval.revoked", "approval.given", "run.claimed"];
    assert_eq!(kinds[4..7], again, "{kinds:?}");
    let late = other.revoke(&lead("cy"), run.id).await.unwrap_err();
    assert_eq!(late.code, Code::RunStateConflict, "it has been used");
}

/// The process in which it waits for its turn learns of it as well, and its target is free there.
#[tokio::test(start_paused = true)]
async fn a_run_whose_approval_was_taken_back_elsewhere_leaves_the_queue() {
    let (world, run) = World::approved_behind_another(Setup::default()).await;
    world.engine.tend();
    let (other, _) = world.beside("other").await;
    assert_eq!(world.engine.stats().waiting, 1);
    other.revoke(&lead("bo"), run.id).await.unwrap();
    world.looked_after().await;
    assert_eq!(world.engine.stats().waiting, 0);
    world.awaiting("webapp").await;
    let again = other.approve(&lead("bo"), run.id, world.digest(run.id), "after all").await.unwrap();
    world.looked_after().await;
    assert_eq!((again.state.name(), world.stored(run.id).holder.unwrap().as_str()), ("queued", "other"));
}

/// Revoked and approved again while its first task still waits for a turn: one of them executes it.
#[tokio::test(start_paused = true)]
async fn an_approval_is_taken_back_and_given_again_while_the_run_waits() {
    let (world, run) = World::approved_behind_another(Setup::default()).await;
    world.engine.recover();
    world.engine.revoke(&lead("bo"), run.id).await.unwrap();
    world.approve(&lead("bo"), run.id).await.unwrap();
    world.script.outcome.add_permits(100);
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
    world.looked_after().await;
    assert_eq!(world.performed(), 2);
}

/// A run that awaits approval again is not in the way of others.
#[tokio::test(start_paused = true)]
async fn a_run_whose_approval_was_taken_back_frees_its_target() {
    let limits = Limits { concurrent_runs: 1, queued_runs: 2, ..Limits::default() };
    let world = World::with_asking(0, Setup { limits, ..Setup::default() });
    world.script.outcome.forget_permits(100);
    world.engine.begin().await.unwrap();
    world.admitted(submission("restart", "first")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    world.policy.ask(1, "lead");
    let run = world.awaiting("webapp").await;
    world.approve(&lead("bo"), run.id).await.unwrap();
    let refused = world.submit("restart", "webapp").await.unwrap_err();
    assert_eq!(refused.code, Code::GuardTargetLocked);
    world.engine.revoke(&lead("bo"), run.id).await.unwrap();
    world.awaiting("webapp").await;
}

/// Who could not be told that the approval was kept finds it kept.
#[tokio::test(start_paused = true)]
async fn an_approved_run_that_nobody_claimed_is_taken_up() {
    let mut world = World::asking(1);
    world.engine.begin().await.unwrap();
    let run = world.awaiting("webapp").await;
    let approved = world.approved_only(&lead("bo"), run.id);
    assert_eq!((approved.state.name(), approved.holder), ("queued", None));
    world.reborn().await;
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
    assert_eq!(world.performed(), 1);
    let again = world.engine.approve(&lead("bo"), run.id, world.digest(run.id), "again").await.unwrap_err();
    assert_eq!(again.code, Code::RunStateConflict);
    assert_eq!(world.engine.run(&ada(), run.id).await.unwrap().approved_by().len(), 1);
}

//! What outlives a process, and what outlives the store being away.

use crate::script::{ada, submission};
use crate::world::World;
use astradesk_core::Code;
use astradesk_core::run::State;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn a_run_outlives_the_process_and_is_performed_once() {
    let mut world = World::new();
    let run = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    world.reborn().await;
    world.script.outcome.add_permits(1);
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
    assert_eq!(world.script.performed.load(Ordering::SeqCst), 1);
    let kinds = ["run.admitted", "step.intended", "step.performed", "run.claimed", "run.finished"];
    assert_eq!(world.evidence().await, kinds);
}

#[tokio::test]
async fn a_run_that_was_handed_over_is_claimed_at_once() {
    let mut world = World::new();
    let run = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    assert!(world.engine.stop(Duration::from_secs(5)).await);
    let left = world.data.lock().unwrap().runs[&run.id].clone();
    assert_eq!((left.state.name(), left.holder, left.fence), ("running", None, 1));
    let refused = world.submit("restart", "other").await.unwrap_err();
    assert_eq!(refused.code, Code::StoreUnavailable, "a stopping Engine takes nothing new");

    world.reborn().await;
    world.script.verifying.acquire().await.unwrap().forget();
    let taken = world.data.lock().unwrap().runs[&run.id].clone();
    assert_eq!((taken.holder.unwrap().as_str().to_owned(), taken.fence), ("life-2".to_owned(), 2));
    world.script.outcome.add_permits(1);
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
}

#[tokio::test]
async fn an_outcome_is_not_lost_while_the_store_is_away() {
    let world = World::new();
    let run = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    world.store.down.store(true, Ordering::SeqCst);
    world.script.outcome.add_permits(1);
    world.store.refused.acquire_many(2).await.unwrap().forget();
    assert!(!world.engine.run(&ada(), run.id).await.unwrap().state.is_final());
    world.store.down.store(false, Ordering::SeqCst);
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
}

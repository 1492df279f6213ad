//! What strands a run, and does not.

use crate::script::{ada, submission};
use crate::world::World;
use astradesk_core::Timestamp;
use astradesk_core::run::{Holder, State};
use std::sync::atomic::Ordering;
use std::time::Duration;

async fn settles(world: &World, id: astradesk_core::RunId, secs: u64) -> State {
    let limit = tokio::time::Instant::now() + Duration::from_secs(secs);
    world.engine.wait(&ada(), id, limit).await.unwrap().state
}

/// A is silent, B claims and hands over, A claims again while its old task still verifies.
#[tokio::test]
async fn a_run_is_claimed_again_while_the_old_task_lives() {
    let world = World::new();
    world.engine.begin().await.unwrap();
    let run = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    {
        // B claimed (fence 2) and handed over again.
        let mut data = world.data.lock().unwrap();
        let stored = data.runs.get_mut(&run.id).unwrap();
        stored.fence += 1;
        stored.version += 2;
        stored.holder = None;
    }
    world.engine.recover();
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.script.outcome.add_permits(5);
    let state = settles(&world, run.id, 20).await;
    assert_eq!(state, State::Succeeded);
}

/// A store that fails once while a run waits for a lock.
#[tokio::test]
async fn a_store_that_fails_while_a_lock_is_waited_for_strands_no_run() {
    let world = World::new();
    world.engine.begin().await.unwrap();
    world.engine.recover();
    // A lock of a run of somebody else who lives.
    let other = {
        let run = world.admitted(submission("restart", "x")).await;
        world.script.verifying.acquire().await.unwrap().forget();
        run
    };
    {
        let mut data = world.data.lock().unwrap();
        data.locks.insert("kubernetes/test/default/deployment/webapp".into(), other.id);
        let stored = data.runs.get_mut(&other.id).unwrap();
        stored.holder = Some(Holder::new("other"));
        stored.version += 1;
        stored.fence += 1;
        data.leases.insert(Holder::new("other"), Timestamp::from_second(1_000_030).unwrap());
    }
    // The zombie of `other` ends.
    world.script.outcome.add_permits(1);
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.store.orphan_down.store(true, Ordering::SeqCst);
    let run = world.admitted(submission("restart", "webapp")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.store.orphan_down.store(false, Ordering::SeqCst);
    let state = settles(&world, run.id, 20).await;
    assert!(state.is_final(), "{state:?}");
}

#[tokio::test]
async fn a_tool_that_panics_strands_no_run() {
    let world = World::new();
    world.engine.begin().await.unwrap();
    world.engine.recover();
    world.script.panics.store(true, Ordering::SeqCst);
    let run = world.admitted(submission("restart", "webapp")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.script.panics.store(false, Ordering::SeqCst);
    world.script.outcome.add_permits(5);
    let state = settles(&world, run.id, 20).await;
    assert!(state.is_final());
}

/// A client goes away after the commit began; its repeat with the same key.
#[tokio::test]
async fn a_repeat_finds_its_run_after_the_client_went_away() {
    let world = World::new();
    let mut sub = submission("restart", "webapp");
    sub.idempotency_key = Some("k".into());
    world.store.slow.store(true, Ordering::SeqCst);
    let first = tokio::time::timeout(Duration::from_millis(100), world.engine.submit(sub.clone())).await;
    assert!(first.is_err());
    let second = world.engine.submit(sub.clone()).await;
    world.store.slow.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(second.is_ok());
}

/// The time limit of a step that waited for another run's end.
#[tokio::test(start_paused = true)]
async fn the_wait_for_a_lock_is_not_the_steps_own_time() {
    let world = World::new();
    world.engine.begin().await.unwrap();
    // A dead process's run holds the lock of webapp.
    let dead = world.admitted(submission("restart", "x")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    {
        let mut data = world.data.lock().unwrap();
        data.locks.insert("kubernetes/test/default/deployment/webapp".into(), dead.id);
    }
    let run = world.admitted(submission("restart", "webapp")).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    world.clock.pass(50);
    world.script.outcome.add_permits(1);
    world.script.verifying.acquire().await.unwrap().forget();
    world.script.outcome.add_permits(1);
    assert_eq!(world.ended(run.id).await.state, State::Succeeded);
    let left = world.script.left.lock().unwrap().clone();
    assert!(left[1] > Duration::from_secs(55), "{left:?}");
}

/// Stop while claimed runs wait for their turn with an intent: are they performed then?
#[tokio::test]
async fn stopping_begins_nothing() {
    let world = World::new();
    world.engine.begin().await.unwrap();
    // Two runs fill the room.
    let a = world.admitted(submission("restart", "a")).await;
    world.admitted(submission("restart", "b")).await;
    world.script.verifying.acquire_many(2).await.unwrap().forget();
    // A third is an orphan with an intent.
    let mut orphan = world.data.lock().unwrap().runs[&a.id].clone();
    orphan.id = astradesk_core::RunId::parse("00000000-0000-7000-8000-0000000000ff").unwrap();
    orphan.holder = None;
    let text = serde_json::to_string(&orphan).unwrap().replace("deployment/a", "deployment/c");
    let mut orphan: astradesk_core::Run = serde_json::from_str(&text).unwrap();
    orphan.steps[0].state = astradesk_core::run::StepState::Intended {
        at: orphan.updated_at,
        attempt: 1,
        intent: serde_json::Value::Null,
    };
    world.data.lock().unwrap().runs.insert(orphan.id, orphan.clone());
    world.engine.recover();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = world.script.performed.load(Ordering::SeqCst);
    assert!(world.engine.stop(Duration::from_secs(5)).await);
    assert_eq!(world.script.performed.load(Ordering::SeqCst), before);
}

/// Places that were kept and refused: does recovery wake?
#[tokio::test]
async fn recovery_goes_on_after_refused_admissions() {
    let world = World::new();
    world.engine.begin().await.unwrap();
    // The orphan.
    let template = world.admitted(submission("restart", "a")).await;
    world.script.outcome.add_permits(1);
    world.ended(template.id).await;
    let mut orphan = world.data.lock().unwrap().runs[&template.id].clone();
    orphan.id = astradesk_core::RunId::parse("00000000-0000-7000-8000-0000000000ff").unwrap();
    orphan.holder = None;
    orphan.state = State::Queued;
    orphan.steps[0].state = astradesk_core::run::StepState::Pending;
    orphan.steps[0].begun_at = None;
    // Three admissions hang in a slow store that fails then: no room.
    world.store.slow.store(true, Ordering::SeqCst);
    let mut tasks = Vec::new();
    for name in ["x", "y", "z"] {
        let engine = world.engine.clone();
        tasks.push(tokio::spawn(async move { engine.submit(submission("restart", name)).await }));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.engine.recover();
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.store.down.store(true, Ordering::SeqCst);
    for task in tasks {
        assert!(task.await.unwrap().is_err());
    }
    world.store.down.store(false, Ordering::SeqCst);
    world.store.slow.store(false, Ordering::SeqCst);
    world.data.lock().unwrap().runs.insert(orphan.id, orphan.clone());
    world.script.outcome.add_permits(5);
    let state = settles(&world, orphan.id, 20).await;
    assert!(state.is_final(), "{state:?}");
}

/// A sweep has read a run as an orphan that this process has claimed, and executes, by the time it looks at it.
#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_that_was_read_before_it_was_claimed_is_left_alone() {
    let world = World::new();
    world.engine.begin().await.unwrap();
    let run = world.admitted(submission("restart", "webapp")).await;
    world.script.verifying.acquire().await.unwrap().forget();
    let mut before = world.data.lock().unwrap().runs[&run.id].clone();
    (before.holder, before.fence) = (None, before.fence - 1);
    world.store.stale.lock().unwrap().push(before);
    world.engine.recover();
    while !world.store.stale.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    // One look more, so that the first has certainly been acted on.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    world.script.outcome.add_permits(1);
    assert_eq!(settles(&world, run.id, 5).await, State::Succeeded);
}

/// A client goes away while approvers are shown what its run would do.
#[tokio::test(start_paused = true)]
async fn a_client_that_went_away_while_it_was_previewed_leaves_its_target_free() {
    let world = World::asking(1);
    world.script.slow_preview.store(true, Ordering::SeqCst);
    let gone = world.engine.submit(submission("restart", "webapp"));
    assert!(tokio::time::timeout(Duration::from_millis(100), gone).await.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.data.lock().unwrap().runs.is_empty(), "nothing came of it");
    assert_eq!(world.engine.stats().waiting, 0);
    world.awaiting("webapp").await;
}

//! The clock may be set while runs are under way, and the store may be away for long.

use crate::check::check;
use crate::client::Client;
use crate::life::begun;
use crate::scenario::Scenario;
use crate::tool::call;
use crate::world::{Setup, World, ada};
use astradesk_core::run::{OnFailure, Run};
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::Engine;
use astradesk_runtime::port::Clock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const HOUR: i64 = 3600;

/// A world with its first process, in a paused runtime.
struct Life {
    world: Arc<World>,
    engine: Engine,
    client: Client,
}

impl Life {
    async fn begin(setup: Setup) -> Self {
        let world = World::new(setup);
        world.time.begin();
        let engine = process(&world, "one", 0).await;
        let client = Client::new(&world, vec![engine.clone()]);
        Self { world, engine, client }
    }

    async fn restart(&self, service: &str) -> Result<Run> {
        self.client.call(&format!("{service}-{}", self.world.time.now()), call("restart", service)).await
    }

    fn run(&self, run: &Run) -> Run {
        self.world.data().runs[&run.id].clone()
    }

    async fn clock(&self) -> Result<()> {
        self.engine.health().await.into_iter().find(|(what, _)| *what == "clock").unwrap().1
    }

    /// Every promise was kept, and every run succeeded.
    fn kept(&self) {
        check(&self.world, Scenario::One, "<- the clock or the store");
        assert_eq!(self.world.violations(), Vec::<String>::new());
    }
}

async fn process(world: &Arc<World>, name: &str, place: usize) -> Engine {
    begun(world, &world.process(name.to_owned(), Vec::new()), place).await
}

fn code<T>(result: Result<T>) -> Option<Code> {
    result.err().map(|Error { code, .. }| code)
}

#[tokio::test(start_paused = true)]
async fn after_a_step_of_the_clock_nothing_is_begun_until_it_is_steady() {
    for seconds in [HOUR, -HOUR] {
        let life = Life::begin(Setup::default()).await;
        sleep(Duration::from_secs(1)).await;
        life.world.time.step(seconds);
        assert_eq!(code(life.restart("a").await), Some(Code::ClockStepped), "{seconds}");
        assert_eq!(code(life.clock().await), Some(Code::ClockStepped));
        let keyed = life.client.call("look", call("look", "a")).await;
        assert_eq!(
            code(keyed),
            Some(Code::ClockStepped),
            "how long a key is remembered is told by the clock"
        );
        sleep(Duration::from_secs(29)).await;
        assert_eq!(code(life.restart("a").await), Some(Code::ClockStepped));
        life.world.time.step(seconds);
        assert_eq!(code(life.clock().await), Some(Code::ClockStepped), "it stepped again");
        sleep(Duration::from_secs(31)).await;
        assert_eq!(code(life.clock().await), None);
        let run = life.restart("a").await.unwrap();
        life.client.ended(run.id).await;
        assert_eq!(life.run(&run).state.name(), "succeeded");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_under_way_keeps_its_deadlines_when_the_clock_steps() {
    for seconds in [HOUR, -HOUR] {
        let life = Life::begin(Setup::default()).await;
        let run = life.restart("a").await.unwrap();
        sleep(Duration::from_millis(300)).await;
        life.world.time.step(seconds);
        let before = Instant::now();
        life.client.ended(run.id).await;
        assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
        life.kept();
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_clock_takes_no_run_from_a_process_that_lives() {
    for seconds in [HOUR, -HOUR] {
        let life = Life::begin(Setup { slow_verify: true, ..Setup::default() }).await;
        let other = process(&life.world, "other", 1).await;
        let run = life.restart("a").await.unwrap();
        sleep(Duration::from_millis(700)).await;
        life.world.time.step(seconds);
        life.client.ended(run.id).await;
        assert_eq!(life.run(&run).fence, 1, "{seconds}: nobody else claimed it");
        life.kept();
        drop(other);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queued_run_waits_for_a_steady_clock_and_goes_on_by_itself() {
    let life = Life::begin(Setup { concurrent: 1, ..Setup::default() }).await;
    let first = life.restart("a").await.unwrap();
    let second = life.restart("b").await.unwrap();
    sleep(Duration::from_millis(300)).await;
    life.world.time.step(60);
    life.client.ended(first.id).await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(life.run(&second).state.name(), "queued");
    let before = Instant::now();
    life.client.ended(second.id).await;
    assert_eq!(life.run(&second).state.name(), "succeeded");
    assert!(before.elapsed() < Duration::from_secs(15), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_nothing_is_done_and_afterwards_everything_goes_on() {
    let life = Life::begin(Setup::default()).await;
    let run = life.restart("a").await.unwrap();
    sleep(Duration::from_millis(300)).await;
    life.world.store_down.store(true, Ordering::SeqCst);
    let submission = || crate::client::submission_of(call("restart", "b"), "away");
    assert_eq!(code(life.engine.submit(submission()).await), Some(Code::StoreUnavailable));
    sleep(Duration::from_mins(10)).await;
    assert_eq!(code(life.engine.submit(submission()).await), Some(Code::StoreUnavailable));
    assert_eq!(life.world.cluster().history.len(), 1, "nothing was done that is not on record");
    assert!(!life.run(&run).state.is_final());

    life.world.store_down.store(false, Ordering::SeqCst);
    let before = Instant::now();
    life.client.ended(run.id).await;
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    assert_eq!(life.run(&run).state.name(), "succeeded");
    let later = life.restart("b").await.unwrap();
    life.client.ended(later.id).await;
    life.kept();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_admitted_long_ago_is_not_begun() {
    let life = Life::begin(Setup { concurrent: 1, ..Setup::default() }).await;
    let first = life.restart("a").await.unwrap();
    let second = life.restart("b").await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert!(life.engine.stop(Duration::from_secs(5)).await);
    life.world.time.pass(Duration::from_hours(3));

    let _two = process(&life.world, "two", 0).await;
    for run in [&first, &second] {
        life.client.ended(run.id).await;
    }
    assert_eq!(life.run(&second).state.error().map(|error| error.code), Some(Code::RunTimedOut));
    assert_eq!(life.run(&first).state.name(), "succeeded", "what was performed is verified");
    assert_eq!(life.world.cluster().history.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_of_a_step_counts_across_lives() {
    let life = Life::begin(Setup { slow_verify: true, ..Setup::default() }).await;
    let run = life.restart("a").await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert!(life.engine.stop(Duration::from_secs(5)).await);
    life.world.time.pass(Duration::from_secs(50));
    let _two = process(&life.world, "two", 0).await;
    life.client.ended(run.id).await;
    let left = life.world.left.lock().unwrap().clone();
    assert!(left[0] > Duration::from_secs(59) && left[1] < Duration::from_secs(10), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_in_the_queue_frees_its_target_at_once() {
    let life = Life::begin(Setup { concurrent: 1, ..Setup::default() }).await;
    life.restart("b").await.unwrap();
    let queued = life.restart("a").await.unwrap();
    let cancelled = life.engine.cancel(&ada(), queued.id, OnFailure::Leave).await.unwrap();
    assert_eq!(cancelled.state.name(), "cancelled");
    let again = life.client.call("again", call("restart", "a")).await;
    assert_eq!(code(again), None, "a cancelled run is not in the way");
}

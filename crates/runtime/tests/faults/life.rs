//! Lives: processes that begin, are broken, and are followed by others, until every run has ended.

use crate::check::check;
use crate::client::Client;
use crate::gate::{Fault, HELD, Process};
use crate::memory::Data;
use crate::scenario::Scenario;
use crate::tool::call;
use crate::world::World;
use astradesk_core::run::Holder;
use astradesk_runtime::Engine;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::sleep;

/// How often a process that cannot say that it is alive begins again.
const BEGINNINGS: usize = 5;

/// How a scenario is to be broken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// The faults of each life; the last one has none.
    pub(crate) lives: Vec<Vec<Fault>>,
    /// Whether another process is there from the beginning.
    pub(crate) two: bool,
    /// Whether it is known at once that a process has died, or its lease must end first.
    pub(crate) known_dead: bool,
}

/// What came of it.
pub(crate) struct Lived {
    pub(crate) world: Arc<World>,
    /// How many gates each life passed until every run had ended.
    pub(crate) gates: Vec<usize>,
    pub(crate) log: String,
}

/// Lives a scenario through, life after life, and checks what came of it.
pub(crate) fn live(scenario: Scenario, plan: &Plan) -> Lived {
    let world = World::new(scenario.setup());
    let mut lived = Lived { world: world.clone(), gates: Vec::new(), log: String::new() };
    for (n, faults) in plan.lives.iter().cloned().chain([Vec::new()]).enumerate() {
        let process = world.process(format!("life-{}", n + 1), faults);
        let other = plan.two.then(|| world.process(format!("other-{}", n + 1), Vec::new()));
        let died = one_life(&world, scenario, &process, other.as_ref());
        lived.gates.push(process.gates());
        lived.log += &process.log();
        if let Some(other) = other {
            lived.log += &other.log();
        }
        if !died {
            break;
        }
        if plan.known_dead {
            world.data().gone.insert(Holder::new(process.name.clone()));
        }
        world.time.pass(Duration::from_secs(1));
    }
    check(&world, scenario, &lived.log);
    lived
}

/// Whether the process died.
fn one_life(
    world: &Arc<World>,
    scenario: Scenario,
    process: &Arc<Process>,
    other: Option<&Arc<Process>>,
) -> bool {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        world.time.begin();
        let died = tokio::select! {
            biased;
            () = process.died() => true,
            () = to_the_end(world, scenario, process, other) => false,
        };
        world.time.end();
        died
    })
}

async fn to_the_end(
    world: &Arc<World>,
    scenario: Scenario,
    process: &Arc<Process>,
    other: Option<&Arc<Process>>,
) {
    let mut engines = Vec::new();
    for (place, process) in [Some(process), other].into_iter().flatten().enumerate() {
        engines.push(begun(world, process, place).await);
    }
    let client = Client::new(world, engines.clone());
    Box::pin(scenario.play(&client)).await;
    client.until(|data: &Data| data.runs.values().all(|run| run.state.is_final())).await;
    for process in [Some(process), other].into_iter().flatten() {
        process.stop_counting();
    }
    if process.log().contains("<- Hold") {
        // It comes back, and finds that the world has moved on.
        sleep(HELD + Duration::from_secs(2)).await;
    }
    all_is_free(world, &engines).await;
    for engine in engines {
        if !engine.stop(Duration::from_mins(1)).await {
            world.violate("a process did not come to rest");
        }
    }
}

/// An Engine that has said that it is alive, and takes over what nobody executes.
pub(crate) async fn begun(world: &Arc<World>, process: &Arc<Process>, place: usize) -> Engine {
    let engine = world.engine(process, place);
    for _ in 0..BEGINNINGS {
        if engine.begin().await.is_ok() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    engine.recover();
    if world.setup.tended {
        engine.tend();
    }
    engine
}

/// Every target is free, and every place in the queue: as many new writes as there is room for are admitted.
async fn all_is_free(world: &Arc<World>, engines: &[Engine]) {
    let locks = world.data().locks.clone();
    if !locks.is_empty() {
        world.violate(format!("locks were not given back: {locks:?}"));
    }
    world.permits.store(true, Ordering::SeqCst);
    world.approvals.store(0, Ordering::SeqCst);
    // Whose last reply was lost learns a moment later that the run has ended.
    sleep(Duration::from_millis(200)).await;
    for (n, engine) in engines.iter().enumerate() {
        let client = Client::new(world, vec![engine.clone()]);
        let room = world.setup.concurrent + world.setup.queued;
        for service in ["a", "b", "c", "d"].into_iter().take(room) {
            if let Err(error) = client.call(&format!("probe-{n}-{service}"), call("restart", service)).await {
                world.violate(format!("a new write on `{service}` was refused: {error:?}"));
            }
        }
    }
}

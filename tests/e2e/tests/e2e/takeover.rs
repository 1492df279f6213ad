//! Processes on one state: what one of them leaves, another one goes on with, and nothing is done twice.

use crate::once::{Before, taken_over, taken_over_or_moved};
use astradesk_e2e::fault::{Fault, Rule, Verb};
use astradesk_e2e::observer::Kind;
use astradesk_e2e::{PATIENCE, Place, Proxy, Reply, Serve, Settings, cli, deployment, on_both};
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};

on_both!(
    a_killed_gateway,
    a_gateway_killed_while_it_patches,
    a_stopped_gateway,
    a_gateway_that_hangs,
    killed_commands,
);

/// How long it may take until another process goes on with a run of one that is dead or hangs.
const SOON: Duration = Duration::from_secs(15);
/// How long, when the process said that it ends.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Two gateways on one state, and a restart by the first one that cannot be complete while a pod is held.
struct Pair {
    before: Before,
    held: String,
    first: Serve,
    second: Serve,
    started: Reply,
}

impl Pair {
    async fn start(place: &Place) -> Self {
        let webapp = deployment("webapp", 2);
        place.run(&[&webapp]).await;
        let before = Before::of(place, &webapp).await;
        let held = place.hold("webapp").await;
        let settings = Settings::of(place, &["webapp"]);
        let (first, second) = Serve::pair(place, &settings).await;
        let started = first.client.start("restart webapp").await;
        assert_eq!(started.status, 202, "{:#}", started.body);
        first.client.event(started.run(), |event| event.to_string().contains("\"performed\"")).await;
        Self { before, held, first, second, started }
    }
}

/// Waits until the evidence shows that a run was taken over.
async fn claimed(serve: &Serve, run: &str, patience: Duration) {
    let begun = Instant::now();
    while !serve.client.evidence_of(run).await.iter().any(|kind| kind == "run.claimed") {
        assert!(begun.elapsed() < patience, "nobody took run {run} over: {}", serve.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn a_killed_gateway(place: &Place) {
    let Pair { before, held, first, second, started } = Pair::start(place).await;
    first.kill().await;
    let begun = Instant::now();
    place.release(&held).await;
    let run = second.client.ended(started.run()).await;
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    before.verify(place, &deployment("webapp", 2), &run).await;
    taken_over(second.client.evidence_of(started.run()).await, 1);
}

/// Its patch never arrives, or was applied, or arrives when another process has long gone on.
async fn a_gateway_killed_while_it_patches(place: &Place) {
    const FAULTS: [(&str, Fault); 4] = [
        ("ignored", Fault::Ignore),
        ("applied", Fault::Mute),
        ("late", Fault::Delay(Duration::from_millis(1500))),
        ("very-late", Fault::Delay(Duration::from_secs(8))),
    ];
    let workloads = FAULTS.map(|(name, _)| deployment(name, 2));
    place.run(&workloads.iter().collect::<Vec<_>>()).await;
    let rules = FAULTS.map(|(name, fault)| Rule::new(fault).on(Verb::Patch).at(&format!("/{name}")).times(1));
    let proxy = Proxy::start(place, rules.into()).await;
    let mut settings = Settings::of(place, &FAULTS.map(|(name, _)| name));
    settings.kubeconfig = proxy.kubeconfig.clone();
    let (first, second) = Serve::pair(place, &settings).await;
    let mut started = Vec::new();
    for workload in &workloads {
        let before = Before::of(place, workload).await;
        let reply = first.client.start(&format!("restart {} timeout 40s", workload.name)).await;
        assert_eq!(reply.status, 202, "{:#}", reply.body);
        started.push((workload, before, reply));
    }
    proxy.struck(FAULTS.len()).await;
    first.kill().await;
    for (workload, before, reply) in &started {
        let run = second.client.ended(reply.run()).await;
        before.verify(place, workload, &run).await;
    }
    proxy.arrived().await;
    for (workload, before, reply) in &started {
        before.changed_once(place, workload, reply.run()).await;
        taken_over_or_moved(second.client.evidence_of(reply.run()).await, 1);
    }
    let patches = proxy.patches();
    assert_eq!(patches.iter().filter(|status| **status == 200).count(), started.len(), "{patches:?}");
    assert!(patches.iter().all(|status| matches!(status, 200 | 409)), "{patches:?}");
}

async fn a_stopped_gateway(place: &Place) {
    let Pair { before, held, first, second, started } = Pair::start(place).await;
    let (code, log) = first.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    claimed(&second, started.run(), AT_ONCE).await;
    place.release(&held).await;
    let run = second.client.ended(started.run()).await;
    before.verify(place, &deployment("webapp", 2), &run).await;
    taken_over(second.client.evidence_of(started.run()).await, 1);
}

/// Makes the first one hang, though not in the middle of a transaction: then no other can write, either.
async fn hang(first: &Serve, second: &Serve) {
    /// For how long an answer of `/readyz` is good.
    const READY_FOR: Duration = Duration::from_millis(1100);
    let begun = Instant::now();
    loop {
        first.signal(Signal::STOP);
        tokio::time::sleep(READY_FOR).await;
        if second.client.get("/readyz").await.status == 200 {
            return;
        }
        first.signal(Signal::CONT);
        assert!(begun.elapsed() < PATIENCE, "the second one cannot write: {}", second.log());
    }
}

/// It is not dead, and goes on later: by then the run is not its own any more.
async fn a_gateway_that_hangs(place: &Place) {
    let Pair { before, held, first, second, started } = Pair::start(place).await;
    hang(&first, &second).await;
    claimed(&second, started.run(), SOON).await;
    first.signal(Signal::CONT);
    place.release(&held).await;
    let run = second.client.ended(started.run()).await;
    before.verify(place, &deployment("webapp", 2), &run).await;
    assert_eq!(first.client.ended(started.run()).await["state"], "succeeded");
    taken_over(first.client.evidence_of(started.run()).await, 1);
    let (code, log) = first.terminate().await;
    assert!(code == Some(0) && !log.contains("panicked"), "{log}");
}

/// `runs watch` and `runs cancel` take over what a killed `run` left.
async fn killed_commands(place: &Place) {
    let workloads = [deployment("watched", 2), deployment("cancelled", 2)];
    place.run(&[&workloads[0], &workloads[1]]).await;
    let settings = Settings::of(place, &["watched", "cancelled"]);
    let killed = async |name: &str| {
        let held = place.hold(name).await;
        let mut command = cli::start(place, &settings, &["run", &format!("restart {name}")]);
        let run = place
            .observer
            .until("the restart has begun", |view| {
                let marks = view.marks(Kind::Deployment, name);
                marks.get(1).and_then(|(_, run)| run.as_str().map(str::to_owned))
            })
            .await;
        command.kill().await.unwrap();
        (held, run)
    };
    let shown = async |run: &str| cli::embedded(place, &settings, &["-o", "json", "runs", "show", run]).await;

    let before = Before::of(place, &workloads[0]).await;
    let (held, run) = killed("watched").await;
    assert_eq!(shown(&run).await.json()["state"], "running", "it is only shown");
    let watching = ["-o", "json", "runs", "watch", &run];
    let (watched, ()) = tokio::join!(cli::embedded(place, &settings, &watching), place.release(&held));
    let ended: Value = watched.expect(0).json();
    before.verify(place, &workloads[0], &ended).await;

    let before = Before::of(place, &workloads[1]).await;
    let (held, run) = killed("cancelled").await;
    cli::embedded(place, &settings, &["runs", "cancel", &run]).await.expect(0);
    assert_eq!(shown(&run).await.json()["state"], "cancelled");
    before.changed_once(place, &workloads[1], &run).await;
    place.release(&held).await;
    let chain = cli::embedded(place, &settings, &["-o", "json", "audit", "verify"]).await.expect(0).json();
    assert_eq!(chain["verified"], true);
}

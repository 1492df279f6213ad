//! A machine that misbehaves: the disk with the state is full, fills up, or cannot be written.

use crate::once::{Before, LIFE};
use astradesk_e2e::observer::Kind;
use astradesk_e2e::{Client, PATIENCE, Place, Reply, Serve, Settings, cli, deployment, disk, on_both};
use std::time::{Duration, Instant};

on_both!(a_full_disk, a_disk_that_fills_up_during_a_rollout, a_read_only_disk);

/// Asks `/readyz` until it answers this status; what it says of the store then.
async fn ready(client: &Client, status: u16) -> String {
    let begun = Instant::now();
    loop {
        let Reply { status: now, body, .. } = client.get("/readyz").await;
        if now == status {
            let checks = body["checks"].as_array().unwrap().clone();
            let store = checks.iter().find(|check| check["name"] == "store").unwrap();
            assert_eq!(store["ok"], status == 200, "{body:#}");
            return store["detail"].as_str().unwrap().to_owned();
        }
        assert!(begun.elapsed() < PATIENCE, "`/readyz` answers {now}: {body:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn a_full_disk(place: &Place) {
    if !disk::is_available() {
        return;
    }
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let before = Before::of(place, &webapp).await;
    let (serve, disk) = Serve::start_on_disk(place, &Settings::of(place, &["webapp"])).await;
    let ada = &serve.client;
    ready(ada, 200).await;

    disk.fill();
    for _ in 0..3 {
        ada.say_once("restart webapp", "key-1").await.expect(503, "store.unavailable");
    }
    let detail = ready(ada, 503).await;
    assert!(detail.contains("store.unavailable"), "{detail}");
    assert_eq!(ada.get("/healthz").await.status, 200);
    before.never_changed(place, &webapp).await;

    disk.empty();
    ready(ada, 200).await;
    let reply = ada.say_once("restart webapp", "key-1").await;
    reply.expect_success();
    before.verify(place, &webapp, &reply.body["run"]).await;
    assert_eq!(ada.evidence_of(reply.run()).await, LIFE);
    let (code, log) = serve.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("a check of `/readyz` failed") && log.contains("full"), "{log}");
}

/// The outcome waits for space.
async fn a_disk_that_fills_up_during_a_rollout(place: &Place) {
    if !disk::is_available() {
        return;
    }
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let before = Before::of(place, &webapp).await;
    let held = place.hold("webapp").await;
    let (serve, disk) = Serve::start_on_disk(place, &Settings::of(place, &["webapp"])).await;
    let ada = &serve.client;
    let started = ada.start("restart webapp").await;
    assert_eq!(started.status, 202, "{:#}", started.body);
    ada.event(started.run(), |event| event.to_string().contains("\"performed\"")).await;

    disk.fill();
    let failures = || serve.log().matches("the store is unavailable, trying again").count();
    assert_eq!(failures(), 0);
    place.release(&held).await;
    place.observer.running(Kind::Deployment, "webapp").await;
    let begun = Instant::now();
    while failures() < 3 {
        assert!(
            begun.elapsed() < PATIENCE,
            "the outcome is not stored, and nobody misses it: {}",
            serve.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ready(ada, 503).await;
    assert_eq!(ada.run(started.run()).await["state"], "running");

    disk.empty();
    let run = ada.ended(started.run()).await;
    before.verify(place, &webapp, &run).await;
    assert_eq!(ada.evidence_of(started.run()).await, LIFE);
    let (code, log) = serve.terminate().await;
    assert_eq!(code, Some(0), "{log}");
}

async fn a_read_only_disk(place: &Place) {
    if !disk::is_available() {
        return;
    }
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let before = place.state(&webapp).await;
    let said = cli::serve_read_only(place, &Settings::of(place, &["webapp"])).await;
    said.expect(6);
    assert!(said.err.to_lowercase().contains("read-only"), "{said:?}");
    assert!(!said.err.contains("\"serving\""), "{said:?}");
    assert_eq!(place.state(&webapp).await, before);
}

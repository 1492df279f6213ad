//! Two gateways on one store: each sees and cancels the other's runs, and goes on with them when it stops.

use crate::support::store::TestStore;
use crate::support::{Harness, Setup, start_with, until};
use astradesk_runtime::port::Store as _;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Gateways of two processes, but for the process.
struct Replicas {
    a: Harness,
    b: Harness,
    _folder: TempDir,
}

async fn replicas() -> Replicas {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("astradesk.db");
    let mut both = Vec::new();
    for _ in 0..2 {
        let store = Some(Arc::new(TestStore::open(&path).await));
        both.push(start_with(Setup { store, ..Setup::default() }).await);
    }
    let (b, a) = (both.pop().unwrap(), both.pop().unwrap());
    Replicas { a, b, _folder: folder }
}

/// A run that A executes, and whose effect has happened.
async fn of_a(replicas: &Replicas) -> String {
    let a = &replicas.a;
    let body = json!({"arguments": {"service": "slow"}});
    let accepted = a.post("/v1/tools/restart_thing/runs", &a.admin(), body).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    a.pack.slow_call().await;
    accepted.body["run"]["id"].as_str().unwrap().to_owned()
}

async fn show(harness: &Harness, id: &str) -> Value {
    harness.get(&format!("/v1/runs/{id}"), &harness.admin()).await.body
}

#[tokio::test]
async fn b_streams_the_events_of_a_run_of_a() {
    let replicas = replicas().await;
    let (a, b) = (&replicas.a, &replicas.b);
    let id = of_a(&replicas).await;
    let path = format!("/v1/runs/{id}/events");
    let mut stream = b.request(Method::GET, &path, &b.admin()).send().await.unwrap();
    let mut text = String::new();
    while !text.contains("\"performed\"") {
        text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(!text.contains("event: end"), "{text}");
    let shown = show(b, &id).await;
    assert_eq!((&shown["fence"], &shown["state"]), (&json!(1), &json!("running")));
    assert_eq!(shown["holder"], a.store.holder().as_str());
    a.pack.release();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(text.contains("\"succeeded\"") && text.contains("event: end"), "{text}");
    assert_eq!(show(b, &id).await["holder"], Value::Null, "nobody holds what has ended");
}

#[tokio::test]
async fn b_cancels_a_run_of_a_within_moments() {
    for (body, undone) in [(json!({}), 0), (json!({"on_effect": "undo"}), 1)] {
        let replicas = replicas().await;
        let (a, b) = (&replicas.a, &replicas.b);
        let id = of_a(&replicas).await;
        let asked = Instant::now();
        let reply = b.post(&format!("/v1/runs/{id}/cancel"), &b.admin(), body).await;
        assert_eq!((reply.status, &reply.body["cancel_requested"]), (200, &json!(true)), "{}", reply.text);
        assert_eq!(b.ended(&id).await["state"], "cancelled");
        assert!(asked.elapsed() < Duration::from_secs(6), "it took {:?}", asked.elapsed());
        assert_eq!((a.pack.undone(), b.pack.undone()), (undone, 0), "the holder does it");
    }
}

#[tokio::test]
async fn b_goes_on_with_a_run_that_a_handed_over_while_it_is_watched() {
    let replicas = replicas().await;
    let (a, b) = (&replicas.a, &replicas.b);
    let id = of_a(&replicas).await;
    let watching = b.request(Method::GET, &format!("/v1/runs/{id}/events"), &b.admin()).send();
    let watching = tokio::spawn(async move { watching.await.unwrap().text().await.unwrap() });
    b.engine.recover();
    assert!(a.engine.stop(Duration::from_secs(5)).await);
    b.pack.slow_call().await;
    let taken = show(b, &id).await;
    assert_eq!((&taken["fence"], &taken["holder"]), (&json!(2), &json!(b.store.holder().as_str())));
    b.pack.release();
    let watched = watching.await.unwrap();
    assert!(watched.contains("\"succeeded\"") && watched.contains("event: end"), "{watched}");
    assert_eq!((a.pack.effects(), b.pack.effects()), (1, 0), "the effect is there already");
    until("B counts it", async || {
        b.get("/metrics", "").await.text.contains("astradesk_runs_taken_over_total 1\n")
    })
    .await;
    let claimed = b.evidence().await.unwrap();
    assert!(claimed.iter().any(|record| record["kind"] == "run.claimed"), "{claimed:#?}");
}

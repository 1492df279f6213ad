//! Requests that are repeated with their idempotency key.

use crate::support::{Harness, Reply, start};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const WRITE: &str = "/v1/tools/restart_thing/runs";

async fn send(harness: &Harness, path: &str, key: &str, body: Value) -> Reply {
    let request = harness.request(Method::POST, path, &harness.admin()).header("idempotency-key", key);
    Reply::read(request.json(&body).send().await.unwrap()).await
}

async fn admitted(harness: &Harness) -> usize {
    let records = harness.evidence().await.unwrap();
    records.iter().filter(|record| record["kind"] == "run.admitted").count()
}

#[tokio::test]
async fn twenty_at_once_are_one_run() {
    let harness = start().await;
    for round in 0..5 {
        let key = format!("key-{round}");
        let body = json!({"arguments": {"service": format!("web-{round}")}});
        let replies = join_all((0..20).map(|_| send(&harness, WRITE, &key, body.clone()))).await;
        let mut runs = BTreeSet::new();
        for reply in &replies {
            assert!(matches!(reply.status, 200 | 202), "{}", reply.text);
            runs.insert(reply.body["run"]["id"].as_str().unwrap());
        }
        assert_eq!(runs.len(), 1, "{runs:?}");
        let first = replies.iter().filter(|reply| reply.header("idempotency-replayed").is_empty()).count();
        assert_eq!(first, 1, "one made the run, and the others say that they did not");
        harness.ended(runs.first().unwrap()).await;
        assert_eq!((admitted(&harness).await, harness.pack.effects()), (round + 1, round + 1));
    }
}

#[tokio::test]
async fn twenty_at_once_that_differ_are_one_run_and_conflicts() {
    let harness = start().await;
    let body = |i: usize| json!({"arguments": {"service": format!("web-{i}")}});
    let replies = join_all((0..20).map(|i| send(&harness, WRITE, "key", body(i)))).await;
    let (taken, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status < 300);
    assert_eq!(taken.len(), 1, "{replies:#?}");
    for reply in &refused {
        reply.is_problem(409, "request.idempotency_conflict");
    }
    harness.ended(taken[0].body["run"]["id"].as_str().unwrap()).await;
    assert_eq!((admitted(&harness).await, harness.pack.effects()), (1, 1));
}

#[tokio::test]
async fn a_key_stands_for_its_request_and_its_principal() {
    let harness = start().await;
    let body = json!({"arguments": {"service": "web"}});
    let first = send(&harness, WRITE, "key", body.clone()).await;
    let id = first.body["run"]["id"].as_str().unwrap();
    harness.ended(id).await;
    let again = send(&harness, WRITE, "key", body.clone()).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"), "{}", again.text);
    assert_eq!(again.body["run"]["id"], id);

    let other = json!({"arguments": {"service": "api"}});
    send(&harness, WRITE, "key", other).await.is_problem(409, "request.idempotency_conflict");
    let read = "/v1/tools/get_status/runs";
    send(&harness, read, "key", body.clone()).await.is_problem(409, "request.idempotency_conflict");
    let said = json!({"agent": "ops", "input": "restart web"});
    send(&harness, "/v1/run", "key", said).await.is_problem(409, "request.idempotency_conflict");

    let bob = harness.token("bob", &["sre"]);
    let request = harness.request(Method::POST, WRITE, &bob).header("idempotency-key", "key");
    let bobs = Reply::read(request.json(&body).send().await.unwrap()).await;
    assert!(matches!(bobs.status, 200 | 202), "{}", bobs.text);
    assert_ne!(bobs.body["run"]["id"], id, "another principal's key is another key");
    harness.clock.advance(24 * 3600 + 1);
    let later = send(&harness, WRITE, "key", body).await;
    assert!(later.header("idempotency-replayed").is_empty(), "{}", later.text);
    assert_ne!(later.body["run"]["id"], id, "a day later the key is free");
}

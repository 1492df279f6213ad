//! A run cancelled, and its effect left or undone.

use crate::support::{Harness, Reply, start};
use reqwest::Method;
use serde_json::{Value, json};

const WRITE: &str = "/v1/tools/restart_thing/runs";

/// A run whose effect has happened, and which waits for its outcome.
async fn under_way(harness: &Harness) -> String {
    let accepted = harness.post(WRITE, &harness.admin(), json!({"arguments": {"service": "slow"}})).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    harness.pack.slow_call().await;
    accepted.body["run"]["id"].as_str().unwrap().to_owned()
}

async fn cancel(harness: &Harness, id: &str, kind: Option<&str>, body: impl Into<reqwest::Body>) -> Reply {
    let request = harness.request(Method::POST, &format!("/v1/runs/{id}/cancel"), &harness.admin());
    let request = kind.into_iter().fold(request, |request, kind| request.header("content-type", kind));
    Reply::read(request.body(body).send().await.unwrap()).await
}

const JSON: Option<&str> = Some("application/json");

#[tokio::test]
async fn without_a_body_the_effect_is_left() {
    let harness = start().await;
    for (kind, body) in
        [(None, ""), (JSON, ""), (JSON, "null"), (JSON, "{}"), (JSON, r#"{"on_effect":"leave"}"#)]
    {
        let id = under_way(&harness).await;
        let reply = cancel(&harness, &id, kind, body).await;
        assert_eq!((reply.status, &reply.body["state"]), (200, &json!("cancelled")), "{}", reply.text);
        assert_eq!(reply.body["cancel_requested"], true);
        assert_eq!(reply.body["undo_requested"], Value::Null);
        assert_eq!(reply.body["steps"].as_array().unwrap().len(), 1, "{}", reply.text);
        cancel(&harness, &id, kind, body).await.is_problem(409, "run.state_conflict");
    }
    assert_eq!((harness.pack.effects(), harness.pack.undone()), (5, 0));
}

#[tokio::test]
async fn an_effect_is_undone_when_that_is_asked_for() {
    let harness = start().await;
    let id = under_way(&harness).await;
    let reply = cancel(&harness, &id, JSON, r#"{"on_effect":"undo"}"#).await;
    assert_eq!((reply.status, &reply.body["state"]), (200, &json!("cancelled")), "{}", reply.text);
    assert_eq!(reply.body["undo_requested"], true);
    let steps = reply.body["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &steps[0]["step"]), (2, &json!("failed")), "{}", reply.text);
    assert_eq!(steps[0]["receipt"], json!({"generation": 2}), "its effect happened");
    assert_eq!((&steps[1]["undoes"], &steps[1]["step"]), (&json!(0), &json!("succeeded")));
    assert_eq!((harness.pack.effects(), harness.pack.undone()), (1, 1));
    let requested = harness.evidence().await.unwrap();
    let requested = requested.iter().find(|record| record["kind"] == "run.cancel_requested").unwrap();
    assert_eq!(requested["data"]["on_effect"], "undo");
}

#[tokio::test]
async fn what_fails_is_undone_when_its_call_says_so() {
    let harness = start().await;
    let request = harness.request(Method::POST, WRITE, &harness.admin()).header("prefer", "wait=20");
    let body = json!({"arguments": {"service": "reverts"}});
    let reply = Reply::read(request.json(&body).send().await.unwrap()).await;
    reply.is_problem(502, "rollout.crash_loop");
    assert_eq!(reply.body["details"]["undone"], true, "{}", reply.text);
    let run = &reply.body["run"];
    assert_eq!((&run["steps"][0]["on_failure"], &run["steps"][1]["undoes"]), (&json!("undo"), &json!(0)));
    assert_eq!((harness.pack.effects(), harness.pack.undone()), (1, 1));
}

#[tokio::test]
async fn bodies_that_say_something_else_are_refused_and_cancel_nothing() {
    let harness = start().await;
    let id = under_way(&harness).await;
    for body in [
        r#"{"on_effect":"revert"}"#,
        r#"{"on_effect":true}"#,
        r#"{"on_effect":null}"#,
        r#"{"on_effect":"undo","force":true}"#,
        r#"{"on_effect":"undo","on_effect":"leave"}"#,
        r#"{"on_failure":"undo"}"#,
        r#""undo""#,
        "7",
        "[]",
        "[\"undo\"]",
        "{",
        "{} x",
        "\u{0}",
    ] {
        let reply = cancel(&harness, &id, JSON, body).await;
        assert_eq!((reply.status, reply.code()), (400, "request.malformed"), "{body}: {}", reply.text);
    }
    let undo = r#"{"on_effect":"undo"}"#;
    for kind in [None, Some("text/plain"), Some("application/json; charset=latin1")] {
        let reply = cancel(&harness, &id, kind, undo).await;
        reply.is_problem(415, "request.unsupported_media_type");
    }
    let large = format!("{{{}}}", " ".repeat(1024 * 1024));
    cancel(&harness, &id, JSON, large.clone()).await.is_problem(413, "request.too_large");
    let chunks =
        futures::stream::iter(large.into_bytes().chunks(8192).map(<[u8]>::to_vec).collect::<Vec<_>>());
    let chunks = futures::StreamExt::map(chunks, Ok::<_, std::io::Error>);
    let reply = cancel(&harness, &id, JSON, reqwest::Body::wrap_stream(chunks)).await;
    reply.is_problem(413, "request.too_large");
    let shown = harness.get(&format!("/v1/runs/{id}"), &harness.admin()).await;
    assert_eq!((&shown.body["state"], &shown.body["cancel_requested"]), (&json!("running"), &Value::Null));
    harness.pack.release();
    assert_eq!(harness.ended(&id).await["state"], "succeeded");
}

#[tokio::test]
async fn only_who_submitted_it_may_cancel_it() {
    let harness = start().await;
    let id = under_way(&harness).await;
    let path = format!("/v1/runs/{id}/cancel");
    let undo = json!({"on_effect": "undo"});
    let auditor = harness.token("somebody", &["auditor", "sre"]);
    harness.post(&path, &auditor, undo.clone()).await.is_problem(403, "policy.denied");
    let stranger = harness.token("stranger", &["sre"]);
    harness.post(&path, &stranger, undo).await.is_problem(404, "run.not_found");
    assert_eq!(harness.pack.undone(), 0);
    harness.pack.release();
}

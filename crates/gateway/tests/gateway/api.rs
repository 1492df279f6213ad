//! Runs through the API: what is answered when, once, and what a watcher sees.

use crate::support::{Harness, Reply, start};
use reqwest::Method;
use serde_json::{Value, json};

fn call(service: &str) -> Value {
    json!({"arguments": {"service": service}})
}

const READ: &str = "/v1/tools/get_status/runs";
const WRITE: &str = "/v1/tools/restart_thing/runs";

async fn send(harness: &Harness, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
    let mut request = harness.request(Method::POST, path, &harness.admin()).json(&body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_read_is_answered_with_its_output() {
    let harness = start().await;
    let reply = send(&harness, READ, &[], call("web")).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.body["output"], json!({"service": "web", "ready": true}));
    assert_eq!(reply.body["run"]["state"], "succeeded");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");

    let said =
        send(&harness, "/v1/run", &[], json!({"agent": "ops", "input": "status web", "meta": {"a": 1}}))
            .await;
    assert_eq!(said.status, 200, "{}", said.text);
    assert_eq!(said.body["output"], "the run succeeded");
    assert_eq!(said.body["reasoning_trace_id"], said.body["run"]["id"]);
    assert_eq!(said.body["invoked_tools"], json!([{"name": "get_status", "arguments": {"service": "web"}}]));
    assert_eq!(said.body["errors"], json!([]));
}

#[tokio::test]
async fn a_write_goes_on_unless_the_client_waits() {
    let harness = start().await;
    let accepted = send(&harness, WRITE, &[], call("slow")).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let id = accepted.body["run"]["id"].as_str().unwrap();
    assert_eq!(accepted.header("location"), format!("/v1/runs/{id}"));
    harness.pack.slow_call().await;
    let shown = harness.get(accepted.header("location"), &harness.admin()).await;
    assert_eq!((&shown.body["state"], &shown.body["step"]), (&json!("running"), &json!(0)));

    // `wait=0` looks once; a wait that ends before the run is answered like none.
    let looked =
        send(&harness, "/v1/run", &[("prefer", "wait=0")], json!({"agent": "ops", "input": "restart web"}))
            .await;
    assert!(matches!(looked.status, 200 | 202));
    let waited = send(
        &harness,
        "/v1/run",
        &[("prefer", "respond-async, wait=20")],
        json!({"agent": "ops", "input": "restart api"}),
    )
    .await;
    assert_eq!((waited.status, waited.header("preference-applied")), (200, "wait=20"), "{}", waited.text);
    assert_eq!(waited.body["run"]["state"], "succeeded");
    harness.pack.release();
}

#[tokio::test]
async fn a_failure_is_never_200() {
    let harness = start().await;
    let wait = [("prefer", "wait=20")];
    let ops = |input: &str| json!({"agent": "ops", "input": input});
    for (path, body, status, code) in [
        (READ, call("ghost"), 404, "kubernetes.not_found"),
        (READ, call("broken"), 502, "rollout.crash_loop"),
        (WRITE, call("broken"), 502, "rollout.crash_loop"),
        (WRITE, call("paused"), 409, "guard.paused"),
        (WRITE, call("A B"), 422, "tool.arguments_invalid"),
        (WRITE, json!({"arguments": {}}), 422, "tool.arguments_invalid"),
        (WRITE, json!({"arguments": {"service": "web", "x": 1}}), 422, "tool.arguments_invalid"),
        ("/v1/tools/nope/runs", call("web"), 404, "tool.not_found"),
        ("/v1/run", ops("restart broken"), 502, "rollout.crash_loop"),
        ("/v1/run", ops("do something"), 422, "plan.no_action"),
        ("/v1/run", ops(""), 422, "plan.input_invalid"),
        ("/v1/run", ops("\u{0}"), 422, "plan.input_invalid"),
        ("/v1/run", ops(&"x".repeat(8193)), 422, "plan.input_invalid"),
        ("/v1/run", json!({"agent": "nope", "input": "status web"}), 404, "agent.not_found"),
    ] {
        let reply = send(&harness, path, &wait, body).await;
        reply.is_problem(status, code);
    }
    let reply = send(&harness, WRITE, &wait, call("broken")).await;
    let id = reply.body["run"]["id"].as_str().unwrap();
    assert_eq!(reply.body["instance"], format!("/v1/runs/{id}"));
    assert_eq!(reply.body["run"]["error"]["code"], "rollout.crash_loop");
    let denied = harness.post(WRITE, &harness.token("v", &["viewer"]), call("web")).await;
    denied.is_problem(403, "policy.role_required");
    assert_eq!(
        denied.body["instance"],
        format!("/v1/runs/{}", denied.body["details"]["run"].as_str().unwrap())
    );
}

#[tokio::test]
async fn a_defect_is_logged_and_not_shown() {
    let harness = start().await;
    for path in [READ, WRITE] {
        let reply =
            send(&harness, path, &[("prefer", "wait=20"), ("x-request-id", "my-id.1")], call("defect")).await;
        reply.is_problem(500, "internal.error");
        assert!(!reply.text.contains("innards"), "{}", reply.text);
        assert_eq!(
            (reply.header("x-request-id"), reply.body["request_id"].as_str()),
            ("my-id.1", Some("my-id.1"))
        );
        let id = reply.body["run"]["id"].as_str().unwrap();
        let shown = harness.get(&format!("/v1/runs/{id}"), &harness.admin()).await;
        assert_eq!(shown.status, 200);
        assert!(!shown.text.contains("innards"), "{}", shown.text);
        let events = harness.get(&format!("/v1/runs/{id}/events"), &harness.admin()).await;
        assert!(!events.text.contains("innards"), "{}", events.text);
    }
    send(&harness, READ, &[], call("panic")).await.is_problem(500, "internal.error");
    assert_eq!(send(&harness, READ, &[], call("web")).await.status, 200, "the gateway goes on after a panic");
}

#[tokio::test]
async fn the_same_key_is_the_same_run() {
    let harness = start().await;
    let headers = [("idempotency-key", "k1"), ("prefer", "wait=20")];
    let first = send(&harness, WRITE, &headers, call("web")).await;
    let again = send(&harness, WRITE, &headers, call("web")).await;
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.body["run"]["id"], again.body["run"]["id"]);
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    assert_eq!(harness.pack.effects(), 1);
    send(&harness, WRITE, &headers, call("api")).await.is_problem(409, "request.idempotency_conflict");
    let headers = [("idempotency-key", "k2"), ("prefer", "wait=20")];
    let failed = send(&harness, WRITE, &headers, call("broken")).await;
    let again = send(&harness, WRITE, &headers, call("broken")).await;
    again.is_problem(502, "rollout.crash_loop");
    assert_eq!(failed.body["run"]["id"], again.body["run"]["id"]);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(harness.pack.effects(), 2);
}

#[tokio::test]
async fn a_dry_run_does_nothing() {
    let harness = start().await;
    for (path, body) in [
        (WRITE, json!({"arguments": {"service": "web"}, "dry_run": true})),
        ("/v1/run", json!({"agent": "ops", "input": "restart web", "dry_run": true})),
    ] {
        let reply = send(&harness, path, &[], body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let step = &reply.body["preview"]["steps"][0];
        assert_eq!(
            (&step["decision"]["decision"], &step["changes"]),
            (&json!("permit"), &json!({"would": "restart"}))
        );
        assert_eq!(reply.body.get("run"), None);
    }
    assert_eq!(harness.pack.effects(), 0);
}

#[tokio::test]
async fn a_run_can_be_cancelled_by_who_may() {
    let harness = start().await;
    let accepted = send(&harness, WRITE, &[], call("slow")).await;
    let path = format!("{}/cancel", accepted.header("location"));
    harness.pack.slow_call().await;
    let stranger = harness.token("stranger", &["sre"]);
    harness.post(&path, &stranger, json!({})).await.is_problem(404, "run.not_found");
    let cancelled = harness.post(&path, &harness.admin(), json!({})).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    assert_eq!(cancelled.body["cancel_requested"], true);
    let events = harness.get(&format!("{}/events", accepted.header("location")), &harness.admin()).await;
    assert!(events.text.contains("event: end"), "{}", events.text);
    harness.post(&path, &harness.admin(), json!({})).await.is_problem(409, "run.state_conflict");
}

#[tokio::test]
async fn runs_are_listed_page_by_page_and_filtered() {
    let harness = start().await;
    let (anna, ben) = (harness.token("anna", &["sre"]), harness.token("ben", &["sre"]));
    for (token, path) in [(&anna, READ), (&anna, READ), (&anna, READ), (&ben, READ)] {
        assert_eq!(harness.post(path, token, call("web")).await.status, 200);
    }
    let list = async |token: &str, query: &str| {
        let reply = harness.get(&format!("/v1/runs?{query}"), token).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text);
        (reply.body["runs"].as_array().unwrap().len(), reply.body["next"].as_str().map(str::to_owned))
    };
    let admin = harness.admin();
    assert_eq!(list(&anna, "").await.0, 3);
    assert_eq!(list(&admin, "").await.0, 4);
    assert_eq!(list(&admin, "mine=true").await.0, 0);
    assert_eq!(list(&admin, "state=succeeded&tool=get_status").await.0, 4);
    assert_eq!(list(&admin, "state=failed").await.0, 0);
    assert_eq!(list(&admin, "tool=restart_thing").await.0, 0);
    let (count, next) = list(&admin, "limit=3").await;
    assert_eq!(count, 3);
    assert_eq!(list(&admin, &format!("limit=3&cursor={}", next.unwrap())).await, (1, None));
}

#[tokio::test]
async fn the_evidence_verifies_from_the_answer_alone() {
    use astradesk_core::canonical::Digest;
    use astradesk_core::evidence::Head;
    let harness = start().await;
    for _ in 0..3 {
        send(&harness, READ, &[], call("web")).await;
    }
    let admin = harness.admin();
    let first = harness.get("/v1/audit?limit=2", &admin).await;
    let rest = harness.get("/v1/audit?after=2", &admin).await;
    let records = [&first, &rest].into_iter().flat_map(|page| page.body["records"].as_array().unwrap());
    let mut head = Head::EMPTY;
    for record in records {
        let hash = Digest::parse(record["hash"].as_str().unwrap()).unwrap();
        let body = record["body"].as_str().unwrap();
        head = head.verify(body, hash).unwrap();
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), record["record"]);
    }
    assert_eq!(head.seq, 3);
    let checkpoint = harness.get("/v1/audit/checkpoint", &admin).await;
    let checkpoint: astradesk_runtime::evidence::Checkpoint =
        serde_json::from_value(checkpoint.body).unwrap();
    assert_eq!(checkpoint.verify(checkpoint.key().unwrap()).unwrap(), head);
}

/// The ids of a stream's events, and whether it ended.
fn ids(text: &str) -> (Vec<u64>, bool) {
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap());
    (ids.collect(), text.contains("event: end"))
}

#[tokio::test]
async fn events_are_streamed_and_resumed() {
    let harness = start().await;
    let accepted = send(&harness, WRITE, &[], call("slow")).await;
    let path = format!("{}/events", accepted.header("location"));
    harness.pack.slow_call().await;
    let admin = harness.admin();
    let mut stream = harness.request(Method::GET, &path, &admin).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while !text.contains("\"running\"") {
        text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    let (early, ended) = ids(&text);
    assert!(!early.is_empty() && !ended, "{text}");
    harness.pack.release();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let (all, ended) = ids(&text);
    assert!(ended && all.len() > early.len() && all.is_sorted(), "{text}");
    assert!(text.contains("event: state") && text.contains("event: progress"), "{text}");

    let middle = all[all.len() / 2];
    let expected: Vec<u64> = all.iter().copied().filter(|id| *id > middle).collect();
    let resumed = harness.request(Method::GET, &path, &admin).header("last-event-id", middle);
    let resumed = Reply::read(resumed.send().await.unwrap()).await;
    assert_eq!(ids(&resumed.text), (expected.clone(), true));
    let resumed = harness.get(&format!("{path}?after={middle}"), &admin).await;
    assert_eq!(ids(&resumed.text), (expected, true));
}

#[tokio::test]
async fn probes_say_how_it_is() {
    let harness = start().await;
    assert_eq!(harness.get("/healthz", "").await.body["status"], "ok");
    let ready = harness.get("/readyz", "").await;
    assert_eq!((ready.status, &ready.body["status"]), (200, &json!("ready")), "{}", ready.text);
    send(&harness, READ, &[], call("web")).await;
    harness.get("/v1/tools", "x.y.z").await.is_problem(401, "auth.token_malformed");
    let metrics = harness.get("/metrics", "").await.text;
    for line in [
        "astradesk_http_requests_total{route=\"/v1/tools/{tool}/runs\",method=\"POST\",status=\"200\"} 1",
        "astradesk_http_request_duration_seconds_count{route=\"/v1/tools/{tool}/runs\",method=\"POST\"} 1",
        "astradesk_auth_failures_total{code=\"auth.token_malformed\"} 1",
        "astradesk_run_answers_total{state=\"succeeded\"} 1",
        "astradesk_runs_at_work 0",
        "astradesk_runs_waiting 0",
        "astradesk_runs_taken_over_total 0",
        "astradesk_check_ok{check=\"store\"} 1",
        "astradesk_check_ok{check=\"clock\"} 1",
        "astradesk_evidence_records ",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.contains("process_resident_memory_bytes ") && metrics.contains("astradesk_build_info{"));
    let metrics = metrics.replace("webhook", "");
    assert!(!metrics.contains("web") && !metrics.contains("admin"));
}

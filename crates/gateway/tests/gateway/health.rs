//! Whether runs can be taken, why not, and when to come back.

use crate::support::log::Log;
use crate::support::{Harness, Reply, Setup, start, start_with, until};
use astradesk_runtime::engine::Limits;
use serde_json::{Value, json};
use std::time::Duration;
use tracing::Level;

const READ: &str = "/v1/tools/get_status/runs";
const WRITE: &str = "/v1/tools/restart_thing/runs";

fn call(service: &str) -> Value {
    json!({"arguments": {"service": service}})
}

/// The check with this name, once it is or is not sound: the answer is kept for a second.
async fn check(harness: &Harness, name: &str, ok: bool) -> (Reply, Value) {
    let mut found = None;
    until(&format!("the check `{name}` is {ok}"), async || {
        let reply = harness.get("/readyz", "").await;
        let checks = reply.body["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name).unwrap().clone();
        let will_do = check["ok"] == ok;
        found = Some((reply, check));
        will_do
    })
    .await;
    found.unwrap()
}

/// Whether the answer says when to come back.
#[track_caller]
fn says_when(reply: &Reply) {
    let seconds: u32 = reply.header("retry-after").parse().unwrap();
    assert!(seconds >= 1, "{}", reply.text);
}

#[tokio::test]
async fn a_store_that_is_down_is_named_and_the_log_has_the_reason() {
    let (log, _guard) = Log::start(Level::INFO);
    let harness = start().await;
    let (reply, sound) = check(&harness, "store", true).await;
    assert_eq!((reply.status, &sound["detail"]), (200, &json!("can write")), "{}", reply.text);
    harness.store.take_down(true);
    let (reply, broken) = check(&harness, "store", false).await;
    reply.is_problem(503, "store.unavailable");
    assert_eq!(broken["detail"], "`store.unavailable`; the gateway's log says why");
    assert!(!reply.text.contains("disk is full"), "the reason is not for who has no token: {}", reply.text);
    says_when(&reply);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    check(&harness, "store", false).await;
    let told = "a check of `/readyz` failed check=\"store\" code=store.unavailable error=the disk is full";
    assert_eq!(log.text().matches(told).count(), 1, "once: {}", log.text());
    assert_eq!(harness.get("/healthz", "").await.status, 200);

    let admin = harness.admin();
    for reply in [
        harness.post(WRITE, &admin, call("web")).await,
        harness.post(READ, &admin, call("web")).await,
        harness.get("/v1/runs", &admin).await,
        harness.post("/v1/runs/01a2049a-550e-7362-8b45-5eda2c116892/cancel", &admin, json!({})).await,
    ] {
        reply.is_problem(503, "store.unavailable");
        says_when(&reply);
    }
    assert_eq!(harness.pack.effects(), 0, "nothing is done that cannot be put on record");
    let metrics = harness.get("/metrics", "").await;
    assert!(metrics.text.contains("astradesk_check_ok{check=\"store\"} 0"), "{}", metrics.text);
    assert!(!metrics.text.contains("astradesk_evidence_records "), "{}", metrics.text);

    harness.store.take_down(false);
    assert_eq!(check(&harness, "store", true).await.0.status, 200);
    assert!(log.text().contains("sound again"), "{}", log.text());
    assert_eq!(harness.post(WRITE, &admin, call("web")).await.status, 202);
}

#[tokio::test]
async fn a_clock_that_has_stepped_is_named_until_it_has_been_steady() {
    let (log, _guard) = Log::start(Level::WARN);
    let harness = start().await;
    for (times, seconds) in [(1, -3600), (2, 3600)] {
        harness.clock.step(seconds);
        let (reply, broken) = check(&harness, "clock", false).await;
        reply.is_problem(503, "clock.stepped");
        says_when(&reply);
        assert_eq!(broken["detail"], "`clock.stepped`; the gateway's log says why");
        let sign = if seconds < 0 { "-" } else { "+" };
        assert!(log.text().contains(&format!("the clock has stepped by {sign}3")), "{}", log.text());
        tokio::time::sleep(Duration::from_millis(1100)).await;
        check(&harness, "clock", false).await;
        let told = log.text().matches("a check of `/readyz` failed").count();
        assert_eq!(told, times, "it counts the seconds, and is told once: {}", log.text());

        let admin = harness.admin();
        let refused = harness.post(WRITE, &admin, call("web")).await;
        refused.is_problem(503, "clock.stepped");
        says_when(&refused);
        assert_eq!(harness.post(READ, &admin, call("web")).await.status, 200, "a read does no harm");
        let metrics = harness.get("/metrics", "").await.text;
        assert!(metrics.contains("astradesk_check_ok{check=\"clock\"} 0"), "{metrics}");
        assert!(metrics.contains("astradesk_check_ok{check=\"store\"} 1"), "{metrics}");

        harness.clock.advance(31);
        assert_eq!(check(&harness, "clock", true).await.0.status, 200);
        assert_eq!(harness.post(WRITE, &harness.admin(), call("web")).await.status, 202);
    }
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let engine = Limits { concurrent_runs: 1, queued_runs: 1, ..Limits::default() };
    let harness = start_with(Setup { engine, ..Setup::default() }).await;
    let admin = harness.admin();
    assert_eq!(harness.post(WRITE, &admin, call("slow")).await.status, 202);
    harness.pack.slow_call().await;
    assert_eq!(harness.post(WRITE, &admin, call("web")).await.status, 202);
    let metrics = harness.get("/metrics", "").await.text;
    assert!(metrics.contains("astradesk_runs_at_work 1\n"), "{metrics}");
    assert!(metrics.contains("astradesk_runs_waiting 1\n"), "{metrics}");

    let full = harness.post(WRITE, &admin, call("api")).await;
    full.is_problem(429, "guard.queue_full");
    assert_eq!((full.header("retry-after"), &full.body["details"]["limit"]), ("1", &json!(2)));
    let locked = harness.post(WRITE, &admin, call("slow")).await;
    locked.is_problem(409, "guard.target_locked");
    assert_eq!(harness.pack.effects(), 1, "one waits, two were refused");
    harness.pack.release();
    until("there is room again", async || harness.post(WRITE, &admin, call("api")).await.status == 202).await;
}

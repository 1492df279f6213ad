//! Who is told that a run awaits approval: signed, again and again, and at last no more.

use crate::support::log::Log;
use crate::support::receiver::{Answer, Receiver, SECRET, hmac};
use crate::support::{Harness, Reply, Setup, start_with, until};
use astradesk_gateway::Webhook;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tracing::Level;

const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

async fn telling(receivers: &[(&str, &Receiver)]) -> Harness {
    let webhook = |(name, receiver): &(&str, &Receiver)| Webhook::new(name, &receiver.url, SECRET).unwrap();
    start_with(Setup { webhooks: receivers.iter().map(webhook).collect(), ..Setup::default() }).await
}

/// Has a run await approval.
async fn ask(harness: &Harness, service: &str) -> Reply {
    let body = json!({"arguments": {"service": service}, "reason": "change 4711"});
    let asked = harness.post("/v1/tools/restart_thing/runs", &harness.token("anna", &["sre"]), body).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    asked
}

async fn dead(harness: &Harness) -> Vec<Value> {
    let reply = harness.get("/v1/webhooks/dead", &harness.admin()).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.body["announcements"].as_array().unwrap().clone()
}

async fn once_dead(harness: &Harness) -> Value {
    until("an announcement is dead", async || !dead(harness).await.is_empty()).await;
    dead(harness).await.remove(0)
}

async fn metric(harness: &Harness, line: &str) {
    until(line, async || harness.get("/metrics", "").await.text.contains(line)).await;
}

/// The test's own means are those of the specification.
#[test]
fn the_check_of_signatures_knows_the_vector() {
    let key = STANDARD.decode(OTHER.strip_prefix("whsec_").unwrap()).unwrap();
    let body = r#"{"email":"test@example.com","username":"test_user"}"#;
    let signed = format!("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk.1649367553.{body}");
    assert_eq!(
        STANDARD.encode(hmac(&key, signed.as_bytes())),
        "tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
    );
}

#[tokio::test]
async fn a_request_for_approval_is_told_signed() {
    let receiver = Receiver::start(&[Answer::Long(4 << 20)]).await;
    let both = Webhook::new("chat", &receiver.url, &format!("{SECRET} {OTHER}")).unwrap();
    let harness = start_with(Setup { webhooks: vec![both], ..Setup::default() }).await;
    let asked = ask(&harness, "lead-web").await;
    let message = receiver.told(1).await.remove(0);
    assert_eq!(message.header("content-type"), "application/cloudevents+json");
    assert!(message.is_signed_with(SECRET) && message.is_signed_with(OTHER));
    assert!(!message.is_signed_with("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    let timestamp: i64 = message.header("webhook-timestamp").parse().unwrap();
    assert!((harness.engine.now().as_second() - timestamp).abs() < 60);

    let event = message.json();
    assert_eq!(
        (&event["specversion"], &event["type"]),
        (&json!("1.0"), &json!("dev.astradesk.approval.requested"))
    );
    assert_eq!(event["id"], message.header("webhook-id"));
    let run = &asked.body["run"];
    assert_eq!((&event["subject"], &event["data"]["run"]), (&run["id"], &run["id"]));
    assert_eq!(event["data"]["digest"], run["approvals"]["digest"]);
    assert_eq!(event["data"]["reason"], "change 4711");
    assert_eq!(event["data"]["required"], json!({"count": 1, "roles": {"lead": 1}}));
    metric(&harness, "astradesk_webhook_attempts_total{webhook=\"chat\",result=\"told\"} 1").await;
    assert!(dead(&harness).await.is_empty());
    assert_eq!(receiver.messages().len(), 1, "told once");
}

#[tokio::test]
async fn what_failed_is_told_again_later_with_the_same_id() {
    let receiver = Receiver::start(&[Answer::Later(503, "600"), Answer::Status(500)]).await;
    let harness = telling(&[("chat", &receiver)]).await;
    ask(&harness, "lead-web").await;
    receiver.told(1).await;
    metric(&harness, "astradesk_webhook_attempts_total{webhook=\"chat\",result=\"failed\"} 1").await;
    harness.clock.advance(300);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(receiver.messages().len(), 1, "the receiver asked for 600 s");
    harness.clock.advance(301);
    receiver.told(2).await;
    metric(&harness, "astradesk_webhook_attempts_total{webhook=\"chat\",result=\"failed\"} 2").await;
    assert_eq!(receiver.messages().len(), 2, "the second pause is at least 24 s");
    harness.clock.advance(40);
    let messages = receiver.told(3).await;
    metric(&harness, "astradesk_webhook_attempts_total{webhook=\"chat\",result=\"told\"} 1").await;
    let first = &messages[0];
    for message in &messages {
        assert_eq!(message.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(message.body, first.body);
        assert!(message.is_signed_with(SECRET));
    }
    assert_ne!(messages[2].header("webhook-timestamp"), first.header("webhook-timestamp"));
}

#[tokio::test]
async fn after_the_last_attempt_it_is_dead_until_somebody_revives_it() {
    let receiver = Receiver::start(&[const { Answer::Status(500) }; 7]).await;
    let harness = telling(&[("chat", &receiver)]).await;
    ask(&harness, "lead-web").await;
    for attempt in 1..=7 {
        receiver.told(attempt).await;
        metric(
            &harness,
            &format!("astradesk_webhook_attempts_total{{webhook=\"chat\",result=\"failed\"}} {attempt}\n"),
        )
        .await;
        harness.clock.advance(9000);
    }
    let announcement = once_dead(&harness).await;
    assert_eq!((&announcement["to"], &announcement["attempts"]), (&json!("chat"), &json!(7)));
    assert!(announcement["error"].as_str().unwrap().contains("500"), "{announcement}");
    let id = announcement["id"].as_str().unwrap();
    assert_eq!(id, receiver.messages()[0].header("webhook-id"));
    metric(&harness, "astradesk_webhook_dead_total{webhook=\"chat\"} 1").await;

    let path = format!("/v1/webhooks/dead/{id}/retry");
    let stranger = harness.token("anna", &["sre", "viewer"]);
    harness.post(&path, &stranger, json!({})).await.is_problem(403, "policy.denied");
    harness.get("/v1/webhooks/dead", &stranger).await.is_problem(403, "policy.denied");
    assert_eq!(harness.post(&path, &harness.admin(), json!({})).await.status, 200);
    let messages = receiver.told(8).await;
    assert_eq!(messages[7].header("webhook-id"), id);
    metric(&harness, "astradesk_webhook_attempts_total{webhook=\"chat\",result=\"told\"} 1").await;
    assert!(dead(&harness).await.is_empty());
    let missing = harness.post(&path, &harness.admin(), json!({})).await;
    missing.is_problem(404, "request.not_found");
    let (title, detail) = (missing.body["title"].as_str().unwrap(), missing.body["detail"].as_str().unwrap());
    assert!(title.contains("nothing with this id") && detail.contains(id), "{}", missing.text);
    assert!(missing.body["remedy"].as_str().unwrap().contains("webhooks dead"), "{}", missing.text);
}

#[tokio::test]
async fn a_receiver_that_is_gone_or_not_configured_is_told_no_more() {
    let receiver = Receiver::start(&[Answer::Status(410)]).await;
    let webhook = Webhook::new("chat", &receiver.url, SECRET).unwrap();
    let told = Some(vec!["chat".into(), "removed".into()]);
    let harness = start_with(Setup { webhooks: vec![webhook], told, ..Setup::default() }).await;
    ask(&harness, "lead-web").await;
    until("both are dead", async || dead(&harness).await.len() == 2).await;
    for announcement in dead(&harness).await {
        let error = announcement["error"].as_str().unwrap();
        match announcement["to"].as_str().unwrap() {
            "chat" => assert!(error.contains("410"), "{error}"),
            _ => assert_eq!(error, "no webhook `removed` is configured"),
        }
    }
    harness.clock.advance(9000);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(receiver.messages().len(), 1);
}

#[tokio::test]
async fn no_answer_sends_a_signed_message_elsewhere() {
    let elsewhere = Receiver::start(&[]).await;
    let receiver = Receiver::start(&[Answer::Redirect(elsewhere.url.clone())]).await;
    let harness = telling(&[("chat", &receiver)]).await;
    ask(&harness, "lead-web").await;
    metric(&harness, "astradesk_webhook_attempts_total{webhook=\"chat\",result=\"failed\"} 1").await;
    assert!(elsewhere.messages().is_empty());
}

#[tokio::test]
async fn a_receiver_that_is_silent_holds_up_neither_the_others_nor_the_end() {
    let silent = Receiver::start(&vec![Answer::Silence; 32]).await;
    let prompt = Receiver::start(&[]).await;
    let harness = telling(&[("a-silent", &silent), ("prompt", &prompt)]).await;
    for i in 0..12 {
        ask(&harness, &format!("lead-{i}")).await;
    }
    prompt.told(12).await;
    assert_eq!(silent.told(8).await.len(), 8, "so many at the same time, and no more");
    let (engine, clock, stopping) = (harness.engine.clone(), harness.clock.clone(), Instant::now());
    assert!(harness.stop().await, "the gateway stops cleanly");
    assert!(stopping.elapsed() < Duration::from_secs(8), "within {:?}", stopping.elapsed());
    clock.advance(31);
    let due = engine.due_announcements(100).await.unwrap();
    assert_eq!(due.len(), 12, "what was cut off is told by the next process");
    assert!(due.iter().all(|one| one.to == "a-silent" && one.attempts == 0));
}

#[tokio::test]
async fn a_receiver_that_cannot_be_reached_is_told_of_without_its_address() {
    let receiver = Receiver::start(&[]).await;
    let mut url = reqwest::Url::parse(&receiver.url).unwrap();
    url.set_port(Some(1)).unwrap();
    let webhook = Webhook::new("chat", url.as_str(), SECRET).unwrap();
    let harness = start_with(Setup { webhooks: vec![webhook], ..Setup::default() }).await;
    ask(&harness, "lead-web").await;
    for attempt in 1..=7 {
        metric(
            &harness,
            &format!("astradesk_webhook_attempts_total{{webhook=\"chat\",result=\"failed\"}} {attempt}\n"),
        )
        .await;
        harness.clock.advance(9000);
    }
    let announcement = once_dead(&harness).await;
    let error = announcement["error"].as_str().unwrap();
    assert!(error.contains("refused") && !announcement.to_string().contains("T0PS3CRET"), "{announcement}");
}

#[tokio::test]
async fn no_secret_is_logged_or_shown() {
    let (log, _guard) = Log::start(Level::TRACE);
    let receiver = Receiver::start(&[Answer::Status(500), Answer::Status(410)]).await;
    let harness = telling(&[("chat", &receiver)]).await;
    ask(&harness, "lead-web").await;
    metric(&harness, "astradesk_webhook_attempts_total{webhook=\"chat\",result=\"failed\"} 1").await;
    harness.clock.advance(7);
    let dead = once_dead(&harness).await;
    until("the failure is logged", async || log.text().contains("no more is tried")).await;
    let secret = SECRET.strip_prefix("whsec_").unwrap();
    let signature = receiver.messages()[0].header("webhook-signature").to_owned();
    let metrics = harness.get("/metrics", "").await.text;
    for (what, text) in [("log", log.text()), ("dead letter", dead.to_string()), ("metrics", metrics)] {
        for hidden in [secret, "T0PS3CRET", &signature] {
            assert!(!text.contains(hidden), "{hidden} is in the {what}:\n{text}");
        }
    }
}

//! Alerts and silences, with a real Alertmanager.

use crate::once::taken_over;
use astradesk_e2e::alerting::Alerting;
use astradesk_e2e::{Between, Client, Gateway, Pass, Place, Serve, Settings, cli, deployment, on_both};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

on_both!(
    alerts_of_a_service_are_told_silenced_and_heard_again,
    a_silence_is_made_once_by_a_gateway_that_is_killed,
    a_silence_is_undone,
    what_cannot_be_silenced_is_refused_with_a_code,
);

const MAY: &str = r#"
@id("oncall.alerts")
permit (
    principal in Role::"sre",
    action in [Action::"check_alerts", Action::"silence_alert", Action::"expire_silence"],
    resource
) when { resource.system == "alertmanager" };
"#;

fn settings(place: &Place, url: &str) -> Settings {
    let mut settings = Settings::of(place, &["webapp"]);
    settings.toml = format!("[alertmanager]\nbase_url = \"{url}\"\n");
    settings.policies(MAY)
}

fn labels(place: &Place, alert: &str, label: &str, value: &str) -> Value {
    json!({"alertname": alert, "namespace": place.namespace, label: value, "severity": "critical"})
}

fn output(run: &Value) -> &Value {
    &run["steps"][0]["output"]
}

async fn alerts_of_a_service_are_told_silenced_and_heard_again(place: &Place) {
    let Some(alerting) = Alerting::find() else { return };
    place.run(&[&deployment("webapp", 1)]).await;
    let namespace = place.namespace.as_str();
    alerting.fire(&labels(place, "Slow", "service", "webapp")).await;
    alerting.fire(&labels(place, "Replicas", "deployment", "webapp")).await;
    alerting.fire(&labels(place, "Slow", "service", "webapp-admin")).await;
    let gateway = Gateway::start(place, settings(place, &alerting.url)).await;
    let client = &gateway.client;

    let told = client.say("check alerts for webapp").await;
    told.expect_success();
    let seen = output(&told.body["run"]);
    assert_eq!((&seen["firing"], &seen["silenced"]), (&json!(2), &json!(0)), "{seen:#}");
    assert_eq!(seen["groups"][0]["alerts"][0]["says"], "it is slow", "{seen:#}");

    let dry = json!({"arguments": {"service": "webapp", "duration": "2h"}, "dry_run": true});
    let dry = client.ask("silence_alert", &dry).await;
    let preview = dry.body.to_string();
    assert!(dry.status == 200 && preview.contains("would silence") && preview.contains("Slow"), "{preview}");
    assert_eq!(alerting.silences(namespace).await, Vec::<Value>::new(), "a dry run changes nothing");

    let silenced = client.say_once("silence webapp for 2h", "key-1").await;
    silenced.expect_success();
    let again = client.say_once("silence webapp for 2h", "key-1").await;
    assert_eq!(again.run(), silenced.run());
    let made = alerting.silences(namespace).await;
    let [silence] = made.as_slice() else { panic!("{made:#?}") };
    let out = output(&silenced.body["run"]);
    assert_eq!((&out["silence"], &out["silenced"]), (&silence["id"], &json!(["Slow"])), "{out:#}");
    assert_eq!(out["stay_loud"], json!(["Replicas"]), "what has other labels is told: {out:#}");
    assert_eq!(
        (&silence["createdBy"], &silence["status"]["state"]),
        (&json!("ada (astradesk)"), &json!("active"))
    );
    assert!(silence["comment"].as_str().unwrap().contains(silenced.run()), "{silence:#}");
    assert_eq!(alerting.loud(namespace).await, ["Replicas", "Slow"]);
    let told = client.say("alerts of webapp").await;
    let seen = output(&told.body["run"]);
    assert_eq!(seen["silenced"], 1, "{seen:#}");
    assert!(seen.to_string().contains("ada (astradesk)"), "{seen:#}");

    let id = silence["id"].as_str().unwrap();
    let ended = client.call("expire_silence", &json!({"id": id})).await;
    ended.expect_success();
    assert_eq!(output(&ended.body["run"])["heard"], json!(["Slow"]), "{:#}", ended.body);
    assert_eq!(alerting.loud(namespace).await, ["Replicas", "Slow", "Slow"]);
    let nothing = client.say(&format!("expire silence {id}")).await;
    // It has ended: it is no name that a sentence could mean any more, and a call finds nothing to do.
    assert_eq!(nothing.code(), "plan.unknown_target", "{:#}", nothing.body);
    let nothing = client.call("expire_silence", &json!({"id": id})).await;
    nothing.expect_success();
    assert!(nothing.body.to_string().contains("had ended already"), "{:#}", nothing.body);

    alert_silenced_by_its_name(place, &alerting, &gateway).await;
    assert!(gateway.stop().await);
}

/// An alert is silenced by its name and a label, and heard again once somebody else ends the silence.
async fn alert_silenced_by_its_name(place: &Place, alerting: &Alerting, gateway: &Gateway) {
    let arguments = json!({"alert": "Replicas", "matchers": [format!("namespace={}", place.namespace)], "duration": "10m"});
    let silenced = gateway.client.call("silence_alert", &arguments).await;
    silenced.expect_success();
    assert_eq!(alerting.loud(&place.namespace).await, ["Slow", "Slow"]);
    let id = output(&silenced.body["run"])["silence"].as_str().unwrap().to_owned();
    alerting.end(&id).await;
    assert_eq!(alerting.loud(&place.namespace).await, ["Replicas", "Slow", "Slow"]);
}

async fn a_silence_is_made_once_by_a_gateway_that_is_killed(place: &Place) {
    let Some(alerting) = Alerting::find() else { return };
    place.run(&[&deployment("webapp", 1)]).await;
    alerting.fire(&labels(place, "Slow", "service", "webapp")).await;
    let first = AtomicBool::new(true);
    let between = Between::start(&alerting.url, move |method, _, _| {
        if method == Method::POST && first.swap(false, Ordering::SeqCst) { Pass::Deaf } else { Pass::Through }
    });
    let between = between.await;
    let settings = settings(place, &between.url);
    let (first, second) = Serve::pair(place, &settings).await;
    let started = first.client.start("silence webapp for 1h").await;
    assert_eq!(started.status, 202, "{:#}", started.body);
    between.withheld().await;
    first.kill().await;
    let run = second.client.ended(started.run()).await;
    assert_eq!(run["state"], "succeeded", "{run:#}");
    let made = alerting.silences(&place.namespace).await;
    assert_eq!(made.len(), 1, "{made:#?}");
    assert_eq!(output(&run)["silence"], made[0]["id"]);
    taken_over(second.client.evidence_of(started.run()).await, 1);
}

/// A run that was cancelled before it saw its silence in force, and is undone: by itself, where somebody else has ended the
/// silence already, and by another gateway after the first one was killed while it ended the silence.
async fn a_silence_is_undone(place: &Place) {
    let Some(alerting) = Alerting::find() else { return };
    place.run(&[&deployment("webapp", 1)]).await;
    alerting.fire(&labels(place, "Slow", "service", "webapp")).await;
    let (blind, deaf) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let rule = {
        let (blind, deaf) = (blind.clone(), deaf.clone());
        move |method: &Method, path: &str, _: &str| match *method {
            Method::GET if path == "/api/v2/silences" && blind.load(Ordering::SeqCst) => Pass::Refuse,
            Method::DELETE if deaf.swap(false, Ordering::SeqCst) => Pass::Deaf,
            _ => Pass::Through,
        }
    };
    let between = Between::start(&alerting.url, rule).await;
    let settings = settings(place, &between.url);
    let (first, second) = Serve::pair(place, &settings).await;
    // Nobody sees whether the silence is in force; so it is cancelled while it is verified.
    let silence_and_cancel = async |client: &Client, ended_before: bool| {
        blind.store(true, Ordering::SeqCst);
        let started = client.start("silence webapp for 1h").await;
        assert_eq!(started.status, 202, "{:#}", started.body);
        let run = started.run().to_owned();
        client.event(&run, |event| event.to_string().contains("\"performed\"")).await;
        let made = active(&alerting.silences(&place.namespace).await);
        let [silence] = made.as_slice() else { panic!("{made:?}") };
        if ended_before {
            alerting.end(silence).await;
        }
        let cancel = client.post(&format!("/v1/runs/{run}/cancel"), &json!({"on_effect": "undo"})).await;
        assert!(matches!(cancel.status, 200 | 202), "{:#}", cancel.body);
        (run, silence.clone())
    };
    let undone = async |client: &Client, run: &str, silence: &str, says: &str| {
        blind.store(false, Ordering::SeqCst);
        let ended = client.ended(run).await;
        let undo = &ended["steps"][1];
        assert_eq!(
            (&ended["state"], &undo["undoes"], &undo["step"]),
            (&json!("cancelled"), &json!(0), &json!("succeeded")),
            "{ended:#}"
        );
        assert_eq!(undo["output"]["silence"], silence, "{ended:#}");
        assert!(undo["output"]["summary"].as_str().unwrap().contains(says), "{ended:#}");
        assert_eq!(active(&alerting.silences(&place.namespace).await), Vec::<String>::new());
        assert_eq!(alerting.loud(&place.namespace).await, ["Slow"]);
        let kinds = client.evidence_of(run).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "step.performed").count(), 2, "{kinds:?}");
    };
    let (run, silence) = silence_and_cancel(&second.client, false).await;
    undone(&second.client, &run, &silence, "has ended; heard again: Slow").await;
    let (run, silence) = silence_and_cancel(&second.client, true).await;
    undone(&second.client, &run, &silence, "had ended already").await;

    deaf.store(true, Ordering::SeqCst);
    let (run, silence) = silence_and_cancel(&first.client, false).await;
    between.withheld().await;
    first.kill().await;
    undone(&second.client, &run, &silence, "has ended; heard again: Slow").await;
    assert_eq!(alerting.silences(&place.namespace).await.len(), 3, "each was made once");
}

/// The ids of those that are in force.
fn active(silences: &[Value]) -> Vec<String> {
    let active = silences.iter().filter(|silence| silence["status"]["state"] == "active");
    active.map(|silence| silence["id"].as_str().unwrap().to_owned()).collect()
}

async fn what_cannot_be_silenced_is_refused_with_a_code(place: &Place) {
    let Some(alerting) = Alerting::find() else { return };
    place.run(&[&deployment("webapp", 1), &deployment("other", 1)]).await;
    let gateway = Gateway::start(place, settings(place, &alerting.url)).await;
    for (arguments, status, code) in [
        (json!({"service": "webapp", "duration": "5h"}), 422, "tool.arguments_invalid"),
        (json!({"service": "webapp", "duration": "2 hours"}), 422, "tool.arguments_invalid"),
        (json!({"service": "webapp"}), 422, "tool.arguments_invalid"),
        (json!({"duration": "1h"}), 422, "tool.arguments_invalid"),
        (json!({"matchers": ["alertname=~.*"], "duration": "1h"}), 422, "tool.arguments_invalid"),
        (json!({"alert": "A", "matchers": ["x=~("], "duration": "1h"}), 502, "upstream.rejected"),
        (json!({"alert": "A", "namespace": "x", "duration": "1h"}), 422, "tool.arguments_invalid"),
        (json!({"service": "nothing", "duration": "1h"}), 403, "policy.denied"),
        (json!({"service": "other", "duration": "1h"}), 403, "policy.denied"),
    ] {
        let reply = gateway.client.call("silence_alert", &arguments).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{arguments} {:#}", reply.body);
    }
    let unknown = json!({"id": "01a21ed9-87b9-7089-aea0-43ad7d7bd11f"});
    gateway.client.call("expire_silence", &unknown).await.expect(404, "upstream.not_found");
    gateway.client.call("expire_silence", &json!({"id": "1"})).await.expect(422, "tool.arguments_invalid");
    assert_eq!(alerting.silences(&place.namespace).await, Vec::<Value>::new());
    assert!(gateway.stop().await);

    // Nobody is there.
    let gateway = Gateway::start(place, settings(place, "http://127.0.0.1:1")).await;
    gateway.client.say("check alerts").await.expect(503, "upstream.unreachable");
    gateway.client.say("silence webapp for 1h").await.expect(503, "upstream.unreachable");
    assert!(gateway.stop().await);
    let doctor = cli::embedded(place, &settings(place, &alerting.url), &["doctor"]).await;
    assert!(doctor.out.contains("Alertmanager 0."), "{}", doctor.out);
}

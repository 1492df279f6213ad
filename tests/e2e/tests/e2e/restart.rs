//! `restart webapp` by each way in: once, verified, on record.

use crate::once::{Before, LIFE};
use astradesk_e2e::observer::{Kind, is_ready, uid};
use astradesk_e2e::{Gateway, Place, Settings, Workload, cli, daemon_set, deployment, on_both, stateful_set};
use serde_json::{Value, json};

on_both!(by_http, by_cli_and_server, by_cli_alone, every_kind, not_before_the_last_old_pod_is_gone);

/// New pods take a second: whoever calls it done too early is caught.
fn webapp() -> Workload {
    deployment("webapp", 3).once_restarted("slow:1")
}

async fn by_http(place: &Place) {
    let (webapp, other) = (webapp(), deployment("other", 2));
    place.run(&[&webapp, &other]).await;
    let before = Before::of(place, &webapp).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp", "other"])).await;
    let ada = &gateway.client;

    let first = ada.say_once("restart webapp", "key-1").await;
    first.expect_success();
    before.verify(place, &webapp, &first.body["run"]).await;
    assert_eq!(ada.evidence_of(first.run()).await, LIFE);

    // The same again is the same run; another sentence under the same key is a mistake.
    let again = ada.say_once("restart webapp", "key-1").await;
    again.expect_success();
    assert_eq!(again.run(), first.run());
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let untouched = place.state(&other).await;
    ada.say_once("restart other", "key-1").await.expect(409, "request.idempotency_conflict");
    assert_eq!(place.state(&other).await, untouched);
    before.changed_once(place, &webapp, first.run()).await;
    assert!(gateway.stop().await);
}

async fn by_cli_and_server(place: &Place) {
    let webapp = webapp();
    place.run(&[&webapp]).await;
    let before = Before::of(place, &webapp).await;
    let settings = Settings::of(place, &["webapp", "other"]);
    let gateway = Gateway::start(place, settings.clone()).await;
    let token = settings.token("ada", "sre");
    let says = async |sentence: &str| {
        let arguments = ["-o", "json", "run", sentence, "--idempotency-key", "key-1"];
        cli::remote(place, &settings, (&gateway.client.url, &token), &arguments).await
    };
    let run = says("restart webapp").await.expect(0).json();
    assert_eq!(run["state"], "succeeded");
    assert_eq!(run["source"], "http");
    before.verify(place, &webapp, &run).await;
    assert_eq!(gateway.client.evidence_of(run["id"].as_str().unwrap()).await, LIFE);

    assert_eq!(says("restart webapp").await.expect(0).json()["id"], run["id"]);
    let conflict = says("restart other").await.expect(1).json();
    assert_eq!(conflict["error"]["code"], "request.idempotency_conflict");
    before.changed_once(place, &webapp, run["id"].as_str().unwrap()).await;
}

async fn by_cli_alone(place: &Place) {
    let webapp = webapp();
    place.run(&[&webapp]).await;
    let before = Before::of(place, &webapp).await;
    let settings = Settings::of(place, &["webapp", "other"]);
    let says = async |sentence: &str| {
        let arguments = ["-o", "json", "run", sentence, "--idempotency-key", "key-1"];
        cli::embedded(place, &settings, &arguments).await
    };
    let run = says("restart webapp").await.expect(0).json();
    assert_eq!(run["state"], "succeeded");
    assert_eq!(run["source"], "cli");
    before.verify(place, &webapp, &run).await;

    assert_eq!(says("restart webapp").await.expect(0).json()["id"], run["id"]);
    let conflict = says("restart other").await.expect(1).json();
    assert_eq!(conflict["error"]["code"], "request.idempotency_conflict");
    before.changed_once(place, &webapp, run["id"].as_str().unwrap()).await;
    let chain = cli::embedded(place, &settings, &["-o", "json", "audit", "verify"]).await.expect(0).json();
    assert_eq!(chain["verified"], true);
}

/// The other kinds, and a Deployment that is stopped whole.
async fn every_kind(place: &Place) {
    let recreate = json!({"strategy": {"type": "Recreate"}});
    let workloads = [
        stateful_set("ledger", 3),
        daemon_set("agent"),
        deployment("single", 1),
        deployment("recreated", 2).spec(&recreate),
        deployment("parallel", 4)
            .spec(&json!({"strategy": {"rollingUpdate": {"maxUnavailable": 2, "maxSurge": 0}}})),
    ];
    let names: Vec<&str> = workloads.iter().map(|workload| &*workload.name).collect();
    place.run(&workloads.iter().collect::<Vec<_>>()).await;
    let gateway = Gateway::start(place, Settings::of(place, &names)).await;
    let restarts = workloads.iter().map(async |workload| {
        let before = Before::of(place, workload).await;
        let sentence = format!("restart {} accept downtime", workload.name);
        let reply = gateway.client.say(&sentence).await;
        reply.expect_success();
        before.verify(place, workload, &reply.body["run"]).await;
    });
    futures::future::join_all(restarts).await;
}

/// A finalizer holds back the last old pod: the new ones are available, and still nothing is claimed.
async fn not_before_the_last_old_pod_is_gone(place: &Place) {
    const HOLD: &str = "e2e.astradesk.dev/hold";
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let before = Before::of(place, &webapp).await;
    let held = place.pods("webapp").await.remove(0);
    let name = held["metadata"]["name"].as_str().unwrap();
    place.patch(Kind::Pod, name, &json!({"metadata": {"finalizers": [HOLD]}})).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let started = gateway.client.start("restart webapp").await;
    assert_eq!(started.status, 202, "{:#}", started.body);

    place
        .observer
        .until("only the held pod is left of the old", |view| {
            let pods = view.pods("webapp");
            let (old, new): (Vec<_>, Vec<_>) =
                pods.into_iter().partition(|pod| before.pods.contains(&uid(pod)));
            let done = old.len() == 1 && uid(old[0]) == uid(&held) && new.len() == 2;
            (done && new.iter().all(|pod| is_ready(pod))).then_some(())
        })
        .await;
    // AstraDesk has seen the same, and says so.
    gateway
        .client
        .event(started.run(), |event| {
            let message = event.pointer("/message").or_else(|| event.pointer("/data/message"));
            message.and_then(Value::as_str).is_some_and(|text| text.contains("2 ready, 1 old left"))
        })
        .await;
    assert_eq!(gateway.client.run(started.run()).await["state"], "running");
    place.patch(Kind::Pod, name, &json!({"metadata": {"finalizers": null}})).await;
    let run = gateway.client.ended(started.run()).await;
    assert_eq!(run["state"], "succeeded");
    before.verify(place, &webapp, &run).await;
}

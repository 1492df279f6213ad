//! The operator's tools beside the restart, on both clusters.

use crate::once::taken_over_or_moved;
use astradesk_e2e::fault::{Fault, Rule, Verb};
use astradesk_e2e::observer::Kind;
use astradesk_e2e::{Gateway, Place, Proxy, Serve, Settings, deployment, on_both, stateful_set};
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

on_both!(
    logs_of_every_pod,
    scaling,
    a_minimum_of_an_autoscaler,
    a_minimum_that_a_killed_gateway_was_changing,
    rollback,
    pausing,
);

async fn logs_of_every_pod(place: &Place) {
    let webapp = deployment("webapp", 2).logs("starting\nGET /a\ntoken=abc123\nGET /b");
    place.run(&[&webapp]).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let reply = gateway.client.say("show the last 2 lines of webapp logs").await;
    reply.expect_success();
    let output = &reply.body["run"]["steps"][0]["output"];
    assert_eq!(output["logs"].as_array().map(Vec::len), Some(2), "{:#}", reply.body);
    for log in output["logs"].as_array().unwrap() {
        assert_eq!(log["lines"], json!(["token=[redacted]", "GET /b"]), "{log:#}");
    }
    let arguments = json!({"service": "webapp", "matching": "^GET", "since": "1h"});
    let matching = gateway.client.call("get_service_logs", &arguments).await;
    matching.expect_success();
    assert_eq!(matching.body["run"]["steps"][0]["output"]["lines"], 4, "{:#}", matching.body);

    let wrong = json!({"service": "webapp", "matching": "("});
    gateway.client.call("get_service_logs", &wrong).await.expect(422, "tool.arguments_invalid");
    let missing = gateway.client.call("get_service_logs", &json!({"service": "nothing"})).await;
    missing.expect(404, "kubernetes.not_found");
    assert!(gateway.stop().await);
}

async fn scaling(place: &Place) {
    let (webapp, ledger, auto) = (deployment("webapp", 2), stateful_set("ledger", 3), deployment("auto", 1));
    place.run(&[&webapp, &ledger, &auto]).await;
    autoscale(place, "auto", 1, 3).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp", "ledger", "auto"])).await;
    let client = &gateway.client;

    let before = place.get(Kind::Deployment, "webapp").await;
    let up = client.say_once("scale webapp to 4 replicas", "key-1").await;
    up.expect_success();
    let again = client.say_once("scale webapp to 4 replicas", "key-1").await;
    assert_eq!(again.run(), up.run());
    let after = place.get(Kind::Deployment, "webapp").await;
    let generation = |object: &serde_json::Value| object["metadata"]["generation"].as_i64().unwrap();
    assert_eq!(generation(&after), generation(&before) + 1, "changed exactly once");
    assert_eq!(after["metadata"]["annotations"]["astradesk.dev/run"], up.run());
    assert_eq!((&after["spec"]["replicas"], place.pods("webapp").await.len()), (&json!(4), 4));

    client.say("przeskaluj ledger do 1 repliki").await.expect_success();
    assert_eq!(place.pods("ledger").await.len(), 1, "and no other one is left");
    client.say("scale webapp to 0, accept downtime").await.expect_success();
    assert_eq!(place.pods("webapp").await.len(), 0);

    client.say("scale webapp to 0").await.expect(409, "guard.downtime");
    client.say("scale webapp to 21").await.expect(409, "guard.scale_bounds");
    client.say("scale auto to 2").await.expect(409, "guard.autoscaled");
    assert_eq!(place.get(Kind::Deployment, "auto").await["spec"]["replicas"], 1);
    assert!(gateway.stop().await);
}

fn autoscalers(place: &Place) -> Api<HorizontalPodAutoscaler> {
    Api::namespaced(place.client.clone(), &place.namespace)
}

/// Gives a Deployment an autoscaler, which is called as it is.
async fn autoscale(place: &Place, name: &str, min: i32, max: i32) {
    let autoscaler = json!({
        "metadata": {"name": name},
        "spec": {
            "minReplicas": min,
            "maxReplicas": max,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        },
    });
    let autoscaler = serde_json::from_value(autoscaler).unwrap();
    autoscalers(place).create(&PostParams::default(), &autoscaler).await.unwrap();
}

/// The minimum of an autoscaler, and the mark that it carries.
async fn minimum(place: &Place, name: &str) -> (i32, Option<String>) {
    let object = autoscalers(place).get(name).await.unwrap();
    let mark = object.metadata.annotations.and_then(|all| all.get("astradesk.dev/run").cloned());
    (object.spec.unwrap().min_replicas.unwrap(), mark)
}

async fn a_minimum_of_an_autoscaler(place: &Place) {
    let (auto, plain, idle) = (deployment("auto", 1), deployment("plain", 1), deployment("idle", 0));
    place.run(&[&auto, &plain, &idle]).await;
    autoscale(place, "auto", 1, 5).await;
    autoscale(place, "idle", 1, 5).await;
    let gateway = Gateway::start(place, Settings::of(place, &["auto", "plain", "idle"])).await;
    let client = &gateway.client;

    let refused = client.say("scale auto to 3").await;
    refused.expect(409, "guard.autoscaled");
    assert!(
        refused.body["remedy"].as_str().unwrap().contains("`autoscaler_minimum: true`"),
        "{:#}",
        refused.body
    );
    let arguments = json!({"service": "auto", "replicas": 3, "autoscaler_minimum": true});
    let preview = client.ask("scale_service", &json!({"arguments": arguments, "dry_run": true})).await;
    let changes = &preview.body["preview"]["steps"][0]["changes"];
    assert_eq!(changes["patch"]["spec"], json!({"minReplicas": 3}), "{:#}", preview.body);
    assert_eq!(minimum(place, "auto").await, (1, None), "a dry run changes nothing");

    let up = client.say_once("scale auto to at least 3 replicas", "key-1").await;
    up.expect_success();
    assert_eq!(client.say_once("scale auto to at least 3 replicas", "key-1").await.run(), up.run());
    assert_eq!(minimum(place, "auto").await, (3, Some(up.run().to_owned())));
    let object = place.get(Kind::Deployment, "auto").await;
    assert_eq!((&object["spec"]["replicas"], place.pods("auto").await.len()), (&json!(3), 3));
    assert!(
        object["metadata"]["annotations"]["astradesk.dev/run"].is_null(),
        "it is the autoscaler that is changed"
    );
    let output = &up.body["run"]["steps"][0]["output"];
    assert_eq!((&output["before"], &output["autoscaler"]["name"]), (&json!(1), &json!("auto")), "{output:#}");

    // Without metrics nothing is stopped, and none need be: there are at least as many.
    let down = client.say("ustaw minimum auto na 2").await;
    down.expect_success();
    assert_eq!(minimum(place, "auto").await.0, 2);
    assert_eq!(place.get(Kind::Deployment, "auto").await["spec"]["replicas"], 3);

    client.say("scale auto to at least 6").await.expect(409, "guard.scale_bounds");
    client.say("scale auto to at least 0").await.expect(409, "guard.scale_bounds");
    client.say("scale plain to at least 2").await.expect(404, "kubernetes.not_found");
    client.say("scale idle to at least 2").await.expect(409, "guard.scaled_to_zero");

    // Pods that are not ready fail it, and it is undone: the pods that serve are enough for that.
    let quota = json!({"metadata": {"name": "pods"}, "spec": {"hard": {"pods": "4"}}});
    let quotas: Api<ResourceQuota> = Api::namespaced(place.client.clone(), &place.namespace);
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    let failed = client.say("scale auto to at least 5, undo on failure").await;
    assert_eq!(
        failed.body["run"]["steps"][0]["error"]["code"], "rollout.quota_exceeded",
        "{:#}",
        failed.body
    );
    assert_eq!(failed.body["run"]["steps"][1]["step"], "succeeded", "{:#}", failed.body);
    assert_eq!(minimum(place, "auto").await.0, 2, "as it was");
    assert!(gateway.stop().await);
}

/// Its patch never arrives, or was applied, when the gateway is killed; another one finds out which.
async fn a_minimum_that_a_killed_gateway_was_changing(place: &Place) {
    const FAULTS: [(&str, Fault); 2] = [("ignored", Fault::Ignore), ("applied", Fault::Mute)];
    let workloads = FAULTS.map(|(name, _)| deployment(name, 1));
    place.run(&workloads.iter().collect::<Vec<_>>()).await;
    let rules = FAULTS.map(|(name, fault)| Rule::new(fault).on(Verb::Patch).at(&format!("/{name}")).times(1));
    let proxy = Proxy::start(place, rules.into()).await;
    let mut settings = Settings::of(place, &FAULTS.map(|(name, _)| name));
    settings.kubeconfig = proxy.kubeconfig.clone();
    let (first, second) = Serve::pair(place, &settings).await;
    let mut started = Vec::new();
    for (name, _) in FAULTS {
        autoscale(place, name, 1, 5).await;
        let reply = first.client.start(&format!("scale {name} to at least 2")).await;
        assert_eq!(reply.status, 202, "{:#}", reply.body);
        started.push((name, reply));
    }
    proxy.struck(FAULTS.len()).await;
    first.kill().await;
    for (name, reply) in &started {
        let run = second.client.ended(reply.run()).await;
        assert_eq!(run["state"], "succeeded", "{run:#}");
        assert_eq!(minimum(place, name).await, (2, Some(reply.run().to_owned())));
        assert_eq!(place.pods(name).await.len(), 2, "{name}");
        taken_over_or_moved(second.client.evidence_of(reply.run()).await, 1);
    }
    let applied = proxy.patches().iter().filter(|status| **status == 200).count();
    assert_eq!(applied, started.len(), "{:?}", proxy.patches());
}

async fn pausing(place: &Place) {
    let (webapp, ledger) = (deployment("webapp", 2), stateful_set("ledger", 1));
    place.run(&[&webapp, &ledger]).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp", "ledger"])).await;
    let client = &gateway.client;
    let generation = |object: serde_json::Value| object["metadata"]["generation"].as_i64().unwrap();
    let before = generation(place.get(Kind::Deployment, "webapp").await);

    let paused = client.say_once("pause the rollout of webapp", "key-1").await;
    paused.expect_success();
    assert_eq!(client.say_once("pause the rollout of webapp", "key-1").await.run(), paused.run());
    let object = place.get(Kind::Deployment, "webapp").await;
    assert_eq!((&object["spec"]["paused"], generation(object.clone())), (&json!(true), before + 1));
    assert_eq!(object["metadata"]["annotations"]["astradesk.dev/run"], paused.run());
    client.say("restart webapp").await.expect(409, "guard.paused");
    let again = client.say("pause the rollout of webapp").await;
    again.expect_success();
    assert_eq!(again.body["run"]["steps"][0]["output"]["before"], true, "{:#}", again.body);
    assert_eq!(generation(place.get(Kind::Deployment, "webapp").await), before + 1, "nothing was sent");

    client.say("resume the rollout of webapp").await.expect_success();
    assert_ne!(place.get(Kind::Deployment, "webapp").await["spec"]["paused"], json!(true));
    client.say("restart webapp").await.expect_success();
    client.say("pause the rollout of ledger").await.expect(409, "guard.not_pausable");
    let nothing = json!({"service": "nothing"});
    client.call("resume_rollout", &nothing).await.expect(403, "policy.target_not_allowed");
    assert!(gateway.stop().await);
}

async fn rollback(place: &Place) {
    let workloads = [deployment("webapp", 2), stateful_set("ledger", 2)];
    place.run(&workloads.iter().collect::<Vec<_>>()).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp", "ledger"])).await;
    let client = &gateway.client;
    for workload in &workloads {
        let (kind, name) = (workload.kind, &*workload.name);
        let only = client.say(&format!("roll back {name}")).await;
        only.expect(404, "kubernetes.revision_not_found");
        let before = place.get(kind, name).await;
        let container = json!({"name": "app", "image": "registry.example.com/new:2"});
        place.patch(kind, name, &json!({"spec": {"template": {"spec": {"containers": [container]}}}})).await;
        place.observer.running(kind, name).await;

        let request = json!({"arguments": {"service": name}, "dry_run": true});
        let preview = client.ask("rollback_service", &request).await;
        let changes = &preview.body["preview"]["steps"][0]["changes"];
        let image = |tag: &str| format!("registry.example.com/{tag}");
        assert_eq!(
            changes["difference"],
            json!([{
                "path": "spec.containers[app].image",
                "before": image("new:2"),
                "after": image(&format!("{name}:1")),
            }]),
            "{:#}",
            preview.body
        );
        let generation = |object: &serde_json::Value| object["metadata"]["generation"].as_i64().unwrap();
        assert_eq!(
            generation(&place.get(kind, name).await),
            generation(&before) + 1,
            "a dry run does nothing"
        );

        let back = client.say(&format!("roll back {name} to revision 1")).await;
        back.expect_success();
        let after = place.get(kind, name).await;
        assert_eq!(after["spec"]["template"], before["spec"]["template"], "{name}");
        assert_eq!(generation(&after), generation(&before) + 2, "{name}: changed exactly once");
        assert_eq!(after["metadata"]["annotations"]["astradesk.dev/run"], back.run());
        let pods = place.pods(name).await;
        assert!(pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == image(&format!("{name}:1"))));
        client.say(&format!("cofnij {name} do rewizji 3")).await.expect(409, "guard.revision_current");
        let missing = client.say(&format!("roll back {name} to revision 99")).await;
        missing.expect(404, "kubernetes.revision_not_found");
    }
    assert!(gateway.stop().await);
}

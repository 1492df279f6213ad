//! The tools of events, pods and nodes, on both clusters.

use crate::once::taken_over;
use astradesk_e2e::observer::{Kind, is_ready, uid};
use astradesk_e2e::own_node::OwnNode;
use astradesk_e2e::{Gateway, PATIENCE, Place, Reply, Serve, Settings, daemon_set, deployment, on_both};
use kube::api::PostParams;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

on_both!(
    events,
    eviction,
    a_pod_that_nothing_brings_back,
    cordon,
    drain,
    a_drain_is_taken_over_and_ends_in_time,
    a_drain_outlives_a_killed_gateway
);

/// Who has the role may do all this, on nodes, and on pods without a service too.
const POLICY: &str = r#"
permit (principal in Role::"sre", action in [Action::"cordon_node", Action::"uncordon_node", Action::"drain_node"], resource)
when { resource.kind == "node" };
permit (principal in Role::"sre", action == Action::"evict_pod", resource)
when { resource.kind == "pod" && resource.name like "alone*" };
"#;

async fn gateway(place: &Place, allowed: &[&str]) -> Gateway {
    Gateway::start(place, Settings::of(place, allowed).policies(POLICY)).await
}

/// Lets so many pods of an application be missing at most that this many are left.
async fn keep(place: &Place, app: &str, least: u32) {
    let path = format!("/apis/policy/v1beta1/namespaces/{}/poddisruptionbudgets", place.namespace);
    let budget = json!({
        "apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": app},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": app}}},
    });
    let request = |path: &str| http::Request::get(path).body(Vec::new()).unwrap();
    let create = http::Request::post(&path).header("content-type", "application/json");
    place.client.request::<Value>(create.body(budget.to_string().into_bytes()).unwrap()).await.unwrap();
    let begun = Instant::now();
    loop {
        let now: Value = place.client.request(request(&format!("{path}/{app}"))).await.unwrap();
        if now["status"]["observedGeneration"].is_number() && now["status"]["expectedPods"] != 0 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{now:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn let_go(place: &Place, app: &str) {
    let path = format!("/apis/policy/v1beta1/namespaces/{}/poddisruptionbudgets/{app}", place.namespace);
    place.client.request::<Value>(http::Request::delete(path).body(Vec::new()).unwrap()).await.unwrap();
}

fn output(reply: &Reply) -> &Value {
    &reply.body["run"]["steps"][0]["output"]
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

/// The ids of a workload's pods that are bound to a node.
async fn on_node(place: &Place, app: &str, node: &OwnNode) -> BTreeSet<String> {
    let pods = place.pods(app).await;
    pods.iter().filter(|pod| pod["spec"]["nodeName"] == node.name.as_str()).map(uid).collect()
}

async fn events(place: &Place) {
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let gateway = gateway(place, &["webapp"]).await;
    let reply = gateway.client.say("show me the events of webapp").await;
    reply.expect_success();
    let found = output(&reply)["events"].as_array().unwrap();
    let about: Vec<&str> = found.iter().map(|event| event["object"].as_str().unwrap()).collect();
    for kind in ["deployment/webapp", "replicaset/webapp-", "pod/webapp-"] {
        assert!(about.iter().any(|about| about.starts_with(kind)), "{kind}: {:#}", reply.body);
    }
    let arguments = json!({"type": "all", "limit": 1, "since": "1h"});
    let one = gateway.client.call("get_events", &arguments).await;
    one.expect_success();
    assert_eq!(output(&one)["events"].as_array().map(Vec::len), Some(1), "{:#}", one.body);
    assert!(output(&one)["total"].as_u64().unwrap() > 1, "{:#}", one.body);
    gateway.client.say("pokaż zdarzenia").await.expect_success();
    let missing = gateway.client.call("get_events", &json!({"service": "nothing"})).await;
    missing.expect(404, "kubernetes.not_found");
    let wrong = gateway.client.call("get_events", &json!({"since": "yesterday"})).await;
    wrong.expect(422, "tool.arguments_invalid");
    assert!(gateway.stop().await);
}

async fn eviction(place: &Place) {
    let (webapp, solo, other) = (deployment("webapp", 3), deployment("solo", 1), deployment("other", 2));
    place.run(&[&webapp, &solo, &other]).await;
    let gateway = gateway(place, &["webapp", "solo"]).await;
    let client = &gateway.client;
    let evict = async |app: &str, more: Value| {
        let mut arguments = json!({"pod": name(&place.pods(app).await[0])});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.call("evict_pod", &arguments).await
    };

    keep(place, "webapp", 3).await;
    let refused = evict("webapp", json!({})).await;
    refused.expect(409, "guard.disruption_budget");
    assert!(refused.body["detail"].as_str().unwrap().contains("`webapp`"), "{:#}", refused.body);
    let_go(place, "webapp").await;

    let before = place.observer.uids("webapp");
    let pods = place.pods("webapp").await;
    let preview =
        client.ask("evict_pod", &json!({"arguments": {"pod": name(&pods[0])}, "dry_run": true})).await;
    let plan = &preview.body["preview"]["steps"][0]["changes"];
    assert_eq!(plan["uid"], pods[0]["metadata"]["uid"], "{:#}", preview.body);
    assert_eq!(place.observer.uids("webapp"), before, "a dry run does nothing");

    let said = client.say_once(&format!("evict the pod {}", name(&pods[0])), "key-1").await;
    said.expect_success();
    let again = client.say_once(&format!("evict the pod {}", name(&pods[0])), "key-1").await;
    assert_eq!(again.run(), said.run());
    let step = &said.body["run"]["steps"][0];
    let target = format!("kubernetes/{}/{}/deployment/webapp", place.cluster(), place.namespace);
    assert_eq!(step["call"]["targets"], json!([target]), "{:#}", said.body);
    let after = place.pods("webapp").await;
    assert!(after.len() == 3 && after.iter().all(is_ready), "{after:#?}");
    let gone: Vec<_> = before.iter().filter(|old| after.iter().all(|pod| uid(pod) != **old)).collect();
    assert_eq!(gone, [&uid(&pods[0])], "that one pod, and no other");

    evict("solo", json!({})).await.expect(409, "guard.downtime");
    evict("solo", json!({"accept_downtime": true})).await.expect_success();
    evict("other", json!({})).await.expect(403, "policy.denied");
    client.call("evict_pod", &json!({"pod": "webapp-nothing"})).await.expect(403, "policy.denied");
    client.call("evict_pod", &json!({"pod": "alone-nothing"})).await.expect(404, "kubernetes.not_found");
    assert!(gateway.stop().await);
}

async fn a_pod_that_nothing_brings_back(place: &Place) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "alone", "namespace": place.namespace, "labels": {"app": "alone"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "app", "image": "registry.example.com/alone:1"}],
        },
    });
    let pod = serde_json::from_value(pod).unwrap();
    place.api(Kind::Pod).create(&PostParams::default(), &pod).await.unwrap();
    place
        .observer
        .until("it runs", |view| view.pods("alone").into_iter().find(|pod| is_ready(pod)).map(uid))
        .await;
    let gateway = gateway(place, &["webapp"]).await;
    let refused = gateway.client.call("evict_pod", &json!({"pod": "alone"})).await;
    refused.expect(409, "guard.pod_loss");
    assert_eq!(place.pods("alone").await.len(), 1);
    gateway.client.call("evict_pod", &json!({"pod": "alone", "force": true})).await.expect_success();
    assert!(place.pods("alone").await.is_empty());
    assert!(gateway.stop().await);
}

async fn cordon(place: &Place) {
    let node = OwnNode::open(place).await;
    let gateway = gateway(place, &["webapp"]).await;
    let client = &gateway.client;
    let arguments = json!({"node": node.name});
    let preview = client.ask("cordon_node", &json!({"arguments": arguments, "dry_run": true})).await;
    assert!(preview.body.to_string().contains("would be cordoned"), "{:#}", preview.body);
    assert!(!node.is_cordoned().await, "a dry run does nothing");

    let first = client.say(&format!("cordon the node {}", node.name)).await;
    first.expect_success();
    let target = format!("kubernetes/{}/node/{}", place.cluster(), node.name);
    assert_eq!(first.body["run"]["steps"][0]["call"]["targets"], json!([target]), "{:#}", first.body);
    assert!(node.is_cordoned().await);
    let again = client.call("cordon_node", &arguments).await;
    again.expect_success();
    assert!(output(&again)["summary"].as_str().unwrap().ends_with("already"), "{:#}", again.body);
    let mark = &node.get().await["metadata"]["annotations"]["astradesk.dev/run"];
    assert_eq!(mark, first.run(), "what is so already is not changed again");
    client.call("uncordon_node", &arguments).await.expect_success();
    assert!(!node.is_cordoned().await);

    let missing = client.call("cordon_node", &json!({"node": "nothing"})).await;
    missing.expect(404, "kubernetes.not_found");
    client.call("drain_node", &json!({"node": "Nothing"})).await.expect(422, "tool.arguments_invalid");
    let viewer = client.with_token(Some(&gateway.settings.token("eve", "viewer")));
    viewer.call("cordon_node", &arguments).await.expect(403, "policy.role_required");
    assert!(gateway.stop().await);
    node.close().await;
}

async fn drain(place: &Place) {
    let node = OwnNode::open(place).await;
    let scratch = json!({"volumes": [{"name": "scratch", "emptyDir": {}}]});
    let (webapp, agent) = (node.hosts(deployment("webapp", 3)), node.hosts(daemon_set("agent")));
    let cache = node.hosts(deployment("cache", 1)).pods(&scratch);
    place.run(&[&webapp, &agent, &cache]).await;
    let gateway = gateway(place, &["webapp"]).await;
    let client = &gateway.client;

    let refused = client.call("drain_node", &json!({"node": node.name})).await;
    refused.expect(409, "guard.pod_loss");
    assert!(refused.body["detail"].as_str().unwrap().contains("emptyDir"), "{:#}", refused.body);
    assert!(!node.is_cordoned().await, "nothing is begun");

    keep(place, "webapp", 3).await;
    let arguments = json!({"node": node.name, "delete_emptydir_data": true});
    let preview = client.ask("drain_node", &json!({"arguments": arguments, "dry_run": true})).await;
    let plan = &preview.body["preview"]["steps"][0]["changes"];
    let count = |list: &str| plan[list].as_array().map(Vec::len);
    assert_eq!((count("evicted"), count("staying")), (Some(4), Some(1)), "{:#}", preview.body);
    assert_eq!(plan["budgets_in_the_way"][0]["budget"], "webapp", "{:#}", preview.body);
    let_go(place, "webapp").await;

    let agents = on_node(place, "agent", &node).await;
    let drained = client.call("drain_node", &arguments).await;
    drained.expect_success();
    assert_eq!(output(&drained)["evicted"].as_array().map(Vec::len), Some(4), "{:#}", drained.body);
    assert!(node.is_cordoned().await);
    for app in ["webapp", "cache"] {
        assert_eq!(on_node(place, app, &node).await, BTreeSet::new(), "{app}");
    }
    assert_eq!(on_node(place, "agent", &node).await, agents, "a DaemonSet's pods stay");
    let kinds = client.evidence_of(drained.run()).await;
    assert_eq!(kinds, ["run.admitted", "step.intended", "step.performed", "run.finished"]);

    client.say(&format!("uncordon node {}", node.name)).await.expect_success();
    place.observer.running(Kind::Deployment, "webapp").await;
    assert!(gateway.stop().await);
    node.close().await;
}

async fn a_drain_is_taken_over_and_ends_in_time(place: &Place) {
    let node = OwnNode::open(place).await;
    let webapp = node.hosts(deployment("webapp", 3));
    place.run(&[&webapp]).await;
    keep(place, "webapp", 2).await;
    let first = gateway(place, &["webapp"]).await;
    let settings = first.settings.clone();

    // One may go, and no other while nothing runs in its place.
    let started = first.client.start(&format!("drain node {}", node.name)).await;
    assert_eq!(started.status, 202, "{:#}", started.body);
    let run = started.run().to_owned();
    let waits = |event: &Value| event.to_string().contains("the PodDisruptionBudget `webapp` does not let");
    first.client.event(&run, waits).await;
    let left = on_node(place, "webapp", &node).await;
    assert_eq!(left.len(), 2);
    let begun = Instant::now();
    assert!(first.stop().await);
    assert!(begun.elapsed() < Duration::from_secs(8), "it is handed over at once: {:?}", begun.elapsed());

    let second = Gateway::start(place, settings).await;
    let_go(place, "webapp").await;
    let ended = second.client.ended(&run).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    assert_eq!(on_node(place, "webapp", &node).await, BTreeSet::new());
    let kinds = second.client.evidence_of(&run).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "step.performed").count(), 1, "{kinds:?}");

    // What came in the place of the first pod is another drain's business; this one is undone when it is late.
    second.client.call("uncordon_node", &json!({"node": node.name})).await.expect_success();
    place.observer.running(Kind::Deployment, "webapp").await;
    keep(place, "webapp", 3).await;
    let before = on_node(place, "webapp", &node).await;
    let arguments = json!({"node": node.name, "timeout": "3s", "on_failure": "undo"});
    let late = second.client.call("drain_node", &arguments).await;
    late.expect(502, "tool.timed_out");
    let details = &late.body["details"];
    assert_eq!(details["pods_left"].as_array().map(Vec::len), Some(3), "{:#}", late.body);
    assert!(details["pods_left"].to_string().contains("PodDisruptionBudget `webapp`"), "{:#}", late.body);
    assert_eq!(details["undone"], true, "{:#}", late.body);
    assert!(!node.is_cordoned().await, "it is undone");
    assert_eq!(on_node(place, "webapp", &node).await, before);

    // A cancellation stops it between two pods.
    let started = second.client.start(&format!("drain node {}", node.name)).await;
    second.client.event(started.run(), waits).await;
    let cancel = second
        .client
        .post(&format!("/v1/runs/{}/cancel", started.run()), &json!({"on_effect": "undo"}))
        .await;
    assert!(matches!(cancel.status, 200 | 202), "{:#}", cancel.body);
    let ended = second.client.ended(started.run()).await;
    assert_eq!(ended["state"], "cancelled", "{ended:#}");
    assert!(!node.is_cordoned().await, "it is undone");
    assert_eq!(on_node(place, "webapp", &node).await, before);
    let_go(place, "webapp").await;
    assert!(second.stop().await);
    node.close().await;
}

async fn a_drain_outlives_a_killed_gateway(place: &Place) {
    let node = OwnNode::open(place).await;
    let webapp = node.hosts(deployment("webapp", 3));
    place.run(&[&webapp]).await;
    keep(place, "webapp", 2).await;
    let settings = Settings::of(place, &["webapp"]).policies(POLICY);
    let (first, second) = Serve::pair(place, &settings).await;
    let before = on_node(place, "webapp", &node).await;

    // One may go, and no other while nothing runs in its place: so it is in the middle.
    let started = first.client.start(&format!("drain node {}", node.name)).await;
    assert_eq!(started.status, 202, "{:#}", started.body);
    let waits = |event: &Value| event.to_string().contains("the PodDisruptionBudget `webapp` does not let");
    first.client.event(started.run(), waits).await;
    first.kill().await;
    assert_eq!(on_node(place, "webapp", &node).await.len(), 2);
    let_go(place, "webapp").await;
    let ended = second.client.ended(started.run()).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    assert!(node.is_cordoned().await);
    assert_eq!(on_node(place, "webapp", &node).await, BTreeSet::new());
    // What came in the place of the pods stays where it waits, and is not evicted in its turn.
    let evicted = ended["steps"][0]["output"]["evicted"].as_array().unwrap();
    assert_eq!(evicted.len(), before.len(), "{ended:#}");
    taken_over(second.client.evidence_of(started.run()).await, 1);
    second.client.call("uncordon_node", &json!({"node": node.name})).await.expect_success();
    place.observer.running(Kind::Deployment, "webapp").await;
    second.kill().await;
    node.close().await;
}

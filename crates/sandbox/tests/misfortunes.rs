//! What goes wrong when it is asked for: flaky probes, no room, no quota, a node that is down.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::manual_assert,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "tests and their helpers: a failed unwrap is a failed test"
)]

mod common;

use astradesk_sandbox::Config;
use common::{behaves, cluster, pod_ready, start, workload};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

fn behaviour(value: Value) -> Patch<Value> {
    Patch::Merge(json!({ "metadata": { "annotations": { "sandbox.astradesk.dev/behaviour": value } } }))
}

fn place(pod: &Pod) -> String {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_flaky_pod_comes_and_goes() {
    let cluster = cluster(vec![workload("Deployment", "web", behaves("flaky:0.3"), json!({}))]).await;
    for _ in 0..2 {
        cluster.until_pods("web", "ready", |pods| pods.iter().any(pod_ready)).await;
        cluster.until_pods("web", "unready", |pods| !pods.is_empty() && !pods.iter().any(pod_ready)).await;
    }
    assert_eq!(cluster.until_event("Unhealthy").await.type_.as_deref(), Some("Warning"));
}

#[tokio::test]
async fn an_unschedulable_pod_stays_where_it_is_not() {
    let cluster = cluster(vec![workload("Deployment", "web", behaves("unschedulable"), json!({}))]).await;
    let event = cluster.until_event("FailedScheduling").await;
    let taint = "3 node(s) had untolerated taint {sandbox.astradesk.dev/unschedulable: }";
    assert!(event.message.as_deref().unwrap().contains(taint), "{event:?}");
    assert!(cluster.pods("web").await.iter().all(|pod| pod.spec.as_ref().unwrap().node_name.is_none()));
}

#[tokio::test]
async fn a_quota_holds_a_rollout_up_until_it_is_raised() {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "small" },
        "spec": { "hard": { "pods": "2" } },
    });
    let cluster =
        cluster(vec![quota, workload("Deployment", "web", json!({}), json!({ "replicas": 2 }))]).await;
    cluster.until_pods("web", "ready", |pods| pods.iter().filter(|pod| pod_ready(pod)).count() == 2).await;
    let used = |quota: &ResourceQuota| {
        let used = quota.status.as_ref().and_then(|status| status.used.as_ref());
        used.and_then(|used| used.get("pods")).is_some_and(|pods| pods.0 == "2")
    };
    cluster.until::<ResourceQuota>("small", "two pods are counted", used).await;

    let pod = json!({ "metadata": { "name": "more" }, "spec": { "containers": [{ "name": "a", "image": "a:1" }] } });
    let path = "/api/v1/namespaces/default/pods";
    let (status, refusal) = cluster.call("POST", path, "application/json", &pod).await;
    let words =
        "pods \"more\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2";
    assert_eq!((status, refusal["message"].as_str().unwrap()), (403, words));

    let template = json!({ "spec": { "template": { "metadata": { "annotations": { "a": "b" } } } } });
    let deployments = cluster.api::<Deployment>();
    deployments.patch("web", &PatchParams::default(), &Patch::Merge(template)).await.unwrap();
    let refused = |deployment: &Deployment| {
        let conditions = deployment.status.as_ref().and_then(|status| status.conditions.clone());
        let failure = conditions.into_iter().flatten().find(|condition| condition.type_ == "ReplicaFailure");
        failure.is_some_and(|failure| failure.message.unwrap().contains("exceeded quota: small"))
    };
    cluster.until::<Deployment>("web", "its pods are refused", refused).await;
    assert!(
        cluster.until_event("FailedCreate").await.message.unwrap().starts_with("Error creating: pods \"web-")
    );

    let more = Patch::Merge(json!({ "spec": { "hard": { "pods": "3" } } }));
    cluster.api::<ResourceQuota>().patch("small", &PatchParams::default(), &more).await.unwrap();
    let through = |deployment: &Deployment| {
        let status = deployment.status.as_ref().unwrap();
        status.updated_replicas == Some(2) && status.replicas == Some(2) && !refused(deployment)
    };
    cluster.until::<Deployment>("web", "the rollout is through", through).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_at_once_do_not_exceed_a_quota_together() {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "small" },
        "spec": { "hard": { "pods": "20" } },
    });
    let cluster = std::sync::Arc::new(cluster(vec![quota]).await);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..200 {
        let cluster = cluster.clone();
        calls.spawn(async move {
            let spec = json!({ "containers": [{ "name": "a", "image": "a:1" }] });
            let pod = json!({ "metadata": { "name": format!("pod-{number}") }, "spec": spec });
            let path = "/api/v1/namespaces/default/pods";
            cluster.call("POST", path, "application/json", &pod).await.0
        });
    }
    let statuses = calls.join_all().await;
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(201), count(403)), (20, 180));
}

#[tokio::test]
async fn a_node_goes_down_and_what_was_there_moves() {
    let objects = vec![
        workload("Deployment", "web", json!({}), json!({ "replicas": 2 })),
        workload("DaemonSet", "agent", json!({}), json!({})),
    ];
    // At a fiftieth of the time a node is given up after 80 ms, and its pods are evicted 600 ms later.
    let cluster = start(Config { objects, nodes: 2, pace: 0.02, ..Config::default() }).await;
    cluster.until_pods("agent", "ready", |pods| pods.iter().filter(|pod| pod_ready(pod)).count() == 2).await;
    let ready = |pods: &[Pod]| pods.iter().filter(|pod| pod_ready(pod)).count() == 2;
    let pods = cluster.until_pods("web", "ready", ready).await;
    let (lost, down) = (pods[0].metadata.name.clone().unwrap(), place(&pods[0]));
    assert_ne!(place(&pods[1]), down, "the two are spread");

    let nodes: Api<Node> = Api::all(cluster.client.clone());
    nodes.patch(&down, &PatchParams::default(), &behaviour("down".into())).await.unwrap();
    let moved =
        |pods: &[Pod]| ready(pods) && pods.iter().filter(|pod| pod_ready(pod)).all(|pod| place(pod) != down);
    let pods = cluster.until_pods("web", "both elsewhere", moved).await;
    let node = nodes.get(&down).await.unwrap();
    let conditions = node.status.unwrap().conditions.unwrap();
    let condition = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!((&*condition.status, condition.reason.as_deref()), ("Unknown", Some("NodeStatusUnknown")));
    let message = cluster.until_event("NodeNotReady").await.message.unwrap();
    assert!(message == "Node is not ready" || message.ends_with("status is now: NodeNotReady"), "{message}");

    // It cannot end while its kubelet is silent, unless somebody insists.
    let held = pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(&lost)).expect("it is still there");
    assert!(held.metadata.deletion_timestamp.is_some());
    let agents = cluster.pods("agent").await;
    let agent = agents.iter().find(|pod| place(pod) == down).expect("a DaemonSet's pod stays");
    assert!(agent.metadata.deletion_timestamp.is_none() && !pod_ready(agent));

    nodes.patch(&down, &PatchParams::default(), &behaviour(Value::Null)).await.unwrap();
    let gone = |pods: &[Pod]| pods.iter().all(|pod| pod.metadata.name.as_ref() != Some(&lost));
    cluster.until_pods("web", "the lost one ends", gone).await;
    cluster
        .until_pods("agent", "ready again", |pods| pods.iter().filter(|pod| pod_ready(pod)).count() == 2)
        .await;
    assert!(nodes.get(&down).await.unwrap().spec.unwrap().taints.is_none());
}

#[tokio::test]
async fn a_pod_on_a_node_that_is_down_goes_by_force_only() {
    let objects = vec![workload("Deployment", "web", behaves("slow:0.3"), json!({}))];
    let cluster = start(Config { objects, nodes: 2, pace: 0.1, ..Config::default() }).await;
    let pods = cluster.until_pods("web", "ready", |pods| pods.iter().any(pod_ready)).await;
    let (name, node) = (pods[0].metadata.name.clone().unwrap(), place(&pods[0]));
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    nodes.patch(&node, &PatchParams::default(), &behaviour("down".into())).await.unwrap();
    cluster.until_event("NodeNotReady").await;
    let pods = cluster.api::<Pod>();
    pods.delete(&name, &DeleteParams::default()).await.unwrap();
    // It would have ended within 40 ms; the one in its place takes 300 ms.
    cluster.until_pods("web", "another serves", |pods| pods.iter().any(pod_ready)).await;
    assert!(pods.get(&name).await.unwrap().metadata.deletion_timestamp.is_some());
    pods.delete(&name, &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() })
        .await
        .unwrap();
    assert!(pods.get_opt(&name).await.unwrap().is_none());
}

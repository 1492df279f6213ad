//! What becomes of a pod, by its annotations and its place.

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

use common::{behaves, cluster, next, pod_ready, workload};
use futures::{AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{DeleteParams, LogParams, Patch, PatchParams};
use serde_json::json;

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn waiting(pod: &Pod) -> &str {
    let state = container(pod).and_then(|c| c.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    state.unwrap_or_default()
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn a_ready_pod_passes_through_its_stages() {
    let cluster = cluster(vec![workload("Deployment", "web", json!({}), json!({}))]).await;
    let pods = cluster.until_pods("web", "ready", |pods| pods.iter().any(pod_ready)).await;
    let name = pods[0].metadata.name.as_deref().unwrap();
    for reason in ["Scheduled", "Pulling", "Pulled", "Created", "Started"] {
        let event = cluster.until_event(reason).await;
        assert_eq!(event.involved_object.name.as_deref(), Some(name));
        assert!(event.first_timestamp.is_some() && event.count == Some(1));
    }
    let status = container(&pods[0]).unwrap();
    assert!(status.ready && status.state.as_ref().unwrap().running.is_some());
    let last = LogParams { tail_lines: Some(1), ..LogParams::default() };
    assert_eq!(
        cluster.api::<Pod>().logs(name, &last).await.unwrap(),
        "[app] INFO listening on 0.0.0.0:8080\n"
    );
}

#[tokio::test]
async fn a_slow_pod_runs_before_it_is_ready() {
    let cluster = cluster(vec![workload("Deployment", "web", behaves("slow:0.5"), json!({}))]).await;
    let running = |pods: &[Pod]| pods.iter().any(|pod| phase(pod) == "Running");
    let pods = cluster.until_pods("web", "running", running).await;
    assert!(!pod_ready(&pods[0]));
    cluster.until_pods("web", "ready", |pods| pods.iter().any(pod_ready)).await;
}

#[tokio::test]
async fn a_crashing_pod_loops() {
    let mut annotations = behaves("crash:3");
    annotations["sandbox.astradesk.dev/logs"] = json!("first\nsecond\nlast words");
    let cluster = cluster(vec![workload("Deployment", "web", annotations, json!({}))]).await;
    let looping = |pods: &[Pod]| {
        pods.iter()
            .any(|pod| waiting(pod) == "CrashLoopBackOff" && container(pod).unwrap().restart_count >= 2)
    };
    let pods = cluster.until_pods("web", "looping", looping).await;
    let last = container(&pods[0]).unwrap().last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    assert!(last.finished_at.is_some());
    assert!(!pod_ready(&pods[0]));
    let event = cluster.until_event("BackOff").await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    let name = pods[0].metadata.name.as_deref().unwrap();
    let previous = LogParams { previous: true, tail_lines: Some(2), ..LogParams::default() };
    assert_eq!(cluster.api::<Pod>().logs(name, &previous).await.unwrap(), "second\nlast words\n");
    let (code, log) = cluster.get(&format!("/api/v1/namespaces/default/pods/{name}/log?limitBytes=5")).await;
    assert_eq!((code, log), (200, json!("first")));
    let (code, status) =
        cluster.get(&format!("/api/v1/namespaces/default/pods/{name}/log?container=x")).await;
    assert_eq!((code, status["reason"].as_str()), (400, Some("BadRequest")));
}

#[tokio::test]
async fn an_image_that_is_not_there() {
    let cluster = cluster(vec![workload("Deployment", "web", behaves("image-pull"), json!({}))]).await;
    let backing_off = |pods: &[Pod]| pods.iter().any(|pod| waiting(pod) == "ImagePullBackOff");
    let pods = cluster.until_pods("web", "backing off", backing_off).await;
    assert_eq!(phase(&pods[0]), "Pending");
    let event = cluster.until_event("Failed").await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    let message = container(&pods[0]).unwrap().state.clone().unwrap().waiting.unwrap().message.unwrap();
    assert!(message.starts_with("Back-off pulling image \"example.com/app:1\": ErrImagePull: "), "{message}");
    let name = pods[0].metadata.name.as_deref().unwrap();
    let error = cluster.api::<Pod>().logs(name, &LogParams::default()).await.unwrap_err().to_string();
    assert!(error.contains("is waiting to start"), "{error}");
}

#[tokio::test]
async fn a_pod_that_never_is_ready() {
    let cluster = cluster(vec![workload("Deployment", "web", behaves("never-ready"), json!({}))]).await;
    let event = cluster.until_event("Unhealthy").await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    let pods = cluster.pods("web").await;
    assert_eq!((phase(&pods[0]), pod_ready(&pods[0])), ("Running", false));
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_says_why_and_comes_when_there_is_room() {
    let selector = json!({ "template": { "spec": { "nodeSelector": { "disk": "ssd" } } } });
    let containers = json!([{ "name": "app", "image": "a:1", "resources": { "requests": { "cpu": "64" } } }]);
    let big = json!({ "template": { "spec": { "containers": containers } } });
    let cluster = cluster(vec![
        workload("Deployment", "picky", json!({}), selector),
        workload("Deployment", "big", json!({}), big),
    ])
    .await;
    let refused = |pods: &[Pod]| {
        let mut conditions =
            pods.iter().flat_map(|pod| pod.status.iter()).flat_map(|s| s.conditions.iter().flatten());
        conditions.any(|c| c.type_ == "PodScheduled" && c.reason.as_deref() == Some("Unschedulable"))
    };
    for (app, why) in [
        ("big", "0/3 nodes are available: 3 Insufficient cpu. "),
        ("picky", "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. "),
    ] {
        let pods = cluster.until_pods(app, "refused", refused).await;
        assert_eq!(phase(&pods[0]), "Pending");
        let conditions = pods[0].status.as_ref().unwrap().conditions.as_ref().unwrap();
        assert!(conditions[0].message.as_ref().unwrap().starts_with(why), "{conditions:?}");
    }
    assert_eq!(cluster.until_event("FailedScheduling").await.type_.as_deref(), Some("Warning"));

    let labels = json!({ "metadata": { "labels": { "disk": "ssd" } } });
    let merge = "application/merge-patch+json";
    let (code, _) = cluster.call("PATCH", "/api/v1/nodes/sandbox-node-2", merge, labels).await;
    assert_eq!(code, 200);
    let pods = cluster.until_pods("picky", "ready", |pods| pods.iter().any(pod_ready)).await;
    assert_eq!(pods[0].spec.as_ref().unwrap().node_name.as_deref(), Some("sandbox-node-2"));
}

#[tokio::test]
async fn a_log_is_followed_until_the_pod_goes() {
    let annotations = json!({ "sandbox.astradesk.dev/logs": "first" });
    let cluster = cluster(vec![workload("Deployment", "web", annotations, json!({ "replicas": 1 }))]).await;
    let ready = |pods: &[Pod]| pods.iter().filter(|pod| pod_ready(pod)).count() == 1;
    let name = cluster.until_pods("web", "ready", ready).await[0].metadata.name.clone().unwrap();
    let pods = cluster.api::<Pod>();
    let follow = LogParams { follow: true, ..LogParams::default() };
    let mut lines = pods.log_stream(&name, &follow).await.unwrap().lines();
    assert_eq!(next(&mut lines).await.unwrap(), "first");
    let more = json!({ "metadata": { "annotations": { "sandbox.astradesk.dev/logs": "first\nsecond" } } });
    pods.patch(&name, &PatchParams::default(), &Patch::Merge(more)).await.unwrap();
    assert_eq!(next(&mut lines).await.unwrap(), "second");
    pods.delete(&name, &DeleteParams::default()).await.unwrap();
    let end = tokio::time::timeout(common::PATIENCE, lines.next()).await.unwrap();
    assert!(end.is_none(), "{end:?}");
}

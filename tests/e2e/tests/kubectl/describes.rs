//! `describe`, without what only the kubelet says.

use crate::{agent, budget, compare, label_a_node, node_label, store, unlabel_the_node, web};
use astradesk_e2e::{Kubectl, Place, on_both};
use serde_json::json;

on_both!(everything_is_described);

async fn everything_is_described(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    let node = label_a_node(place, &kubectl).await;
    let container = json!({
        "name": "app", "image": "registry.example.com/web:1", "args": ["--port", "8080"],
        "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "32Mi"}},
    });
    let web = web().pods(&json!({"containers": [container]}));
    place.run(&[&web, &store(), &agent(&node_label(place))]).await;
    kubectl.write("budget", &budget(1));
    kubectl.done("create -f budget").await;
    kubectl.until("get pdb web -o jsonpath={.status.disruptionsAllowed}", "1").await;
    kubectl.done("create service clusterip web --tcp=80:8080").await;
    kubectl.done("annotate deploy web note=hello").await;
    kubectl.until("get deploy web -o jsonpath={.status.observedGeneration}", "2").await;
    let without_events = "--show-events=false";
    for kind in ["deployment web", "statefulset store", "pdb web"] {
        kubectl.show(0, &format!("describe {kind} {without_events}")).await;
    }
    // The sandbox does not count the generations of its template in an annotation.
    let is_known = |line: &str| !line.starts_with("Annotations:");
    kubectl.show_only(0, &format!("describe daemonset agent {without_events}"), is_known).await;
    kubectl.show(0, &format!("describe replicaset -l app=web {without_events}")).await;
    // What the network fills in, the sandbox has not.
    let is_of_service = |line: &str| !line.starts_with("IP") && !line.starts_with("Endpoints");
    kubectl.show_only(0, &format!("describe service web {without_events}"), is_of_service).await;
    // Who runs the containers differs: a stand-in on the real control plane.
    let of_the_kubelet = [
        "node.kubernetes.io/unreachable:",
        "Container ID:",
        "Image ID:",
        "PodReadyToStart",
        "Initialized",
        "PodScheduled",
        "Ready  True",
    ];
    let is_of_server = |line: &str| !of_the_kubelet.iter().any(|word| line.trim().starts_with(word));
    kubectl.show_only(0, &format!("describe pod store-0 {without_events}"), is_of_server).await;
    kubectl.show_only(0, &format!("describe pod -l app=web {without_events}"), is_of_server).await;
    let told = kubectl.done("describe deployment web").await;
    assert!(told.contains("Scaled up replica set web-"), "{told}");
    let told = kubectl.done(&format!("describe node {node}")).await;
    assert!(told.contains(" agent-") && told.contains("Allocated resources:"), "{told}");
    unlabel_the_node(place, &kubectl, &node).await;
    compare(&kubectl, "describe").await;
}

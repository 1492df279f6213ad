//! `cordon`, `drain` and `uncordon`, on a node that is the test's own: of the real control plane's only node others
//! have need.

use crate::{budget, compare};
use astradesk_e2e::{Kubectl, Place, Which, on_both};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

on_both!(a_node_is_drained);

/// A node that no kubelet keeps, and the scheduler leaves alone.
fn node(name: &str) -> Value {
    let taint = json!({"key": "e2e.astradesk.dev/own", "effect": "NoSchedule"});
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": [taint]}})
}

/// A pod that is there already. No kubelet keeps the node, so it goes only without grace.
fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"nodeName": node, "containers": [{"name": "app", "image": "registry.example.com/web:1"}]},
    })
}

/// On the real control plane nobody else does.
async fn make_ready(place: &Place, name: &str) {
    if place.which == Which::Sandbox {
        return;
    }
    let pods: Api<Pod> = Api::namespaced(place.client.clone(), &place.namespace);
    let ready = json!({"type": "Ready", "status": "True"});
    let status = json!({"status": {"phase": "Running", "conditions": [ready]}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

async fn a_node_is_drained(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    let own = format!("own-{}", place.namespace);
    kubectl.write("node", &node(&own));
    kubectl.done("create -f node").await;
    kubectl.write("budget", &budget(2));
    kubectl.show(0, "create -f budget").await;
    for name in ["web-0", "web-1", "web-2"] {
        kubectl.write(name, &pod(name, &own));
        kubectl.done(&format!("create -f {name}")).await;
        make_ready(place, name).await;
    }
    kubectl.until("get pdb web -o jsonpath={.status.disruptionsAllowed}", "1").await;

    kubectl.show(0, &format!("cordon {own}")).await;
    kubectl.show(0, &format!("cordon {own}")).await;
    kubectl.show(0, &format!("get node {own}")).await;
    kubectl.show(1, &format!("drain {own}")).await;
    let drain = format!("drain {own} --force --grace-period=0");
    kubectl.show(0, &format!("{drain} --pod-selector=app=other")).await;
    // One may go, and then no other; which one, is chance.
    let told = kubectl.run(&format!("{drain} --timeout=3s")).await;
    assert_eq!(told.code, 1, "{}", told.text);
    let refusal = "Cannot evict pod as it would violate the pod's disruption budget.";
    assert!(told.text.contains(refusal) && told.text.contains("global timeout reached: 3s"), "{}", told.text);
    assert_eq!(kubectl.done("get pods -o name").await.lines().count(), 2, "{}", told.text);
    kubectl.show(0, "get pdb web").await;

    kubectl.show(0, "delete pdb web").await;
    kubectl.done(&drain).await;
    kubectl.show(0, "get pods").await;
    kubectl.show(0, &format!("uncordon {own}")).await;
    kubectl.show(0, &format!("delete node {own}")).await;
    compare(&kubectl, "drain").await;
}

//! kubectl as a client that nobody here wrote: each body runs it on the sandbox and on the real control plane, and what
//! it prints is compared with one transcript, which the real control plane wrote.
//!
//! `ASTRADESK_UPDATE_TRANSCRIPTS=1` writes the transcripts of `NAME::real_cluster` anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed unwrap in a test is a failed test"
)]

mod changes;
mod describes;
mod drains;
mod ends;
mod reads;
mod rollouts;

use astradesk_e2e::{Kubectl, Place, Workload, daemon_set, deployment, stateful_set};
use serde_json::{Value, json};
use std::path::Path;

/// Compares with the transcript of this name.
async fn compare(kubectl: &Kubectl<'_>, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubectl/transcripts");
    kubectl.compare(&folder, name).await;
}

/// Waits until it is rolled out, and takes the last line: how many there are before depends on how quick the pods are.
async fn rolled_out(kubectl: &Kubectl<'_>, what: &str) {
    let is_last = |line: &str| !line.starts_with("Waiting for ");
    kubectl.show_only(0, &format!("rollout status {what} --timeout=40s"), is_last).await;
}

/// A Deployment that serves with two pods, whatever may go wrong with one.
fn web() -> Workload {
    deployment("web", 2).spec(&json!({"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}))
}

/// A `StatefulSet` of one.
fn store() -> Workload {
    stateful_set("store", 1)
}

/// A `DaemonSet` on one node of however many, which has this label.
fn agent(label: &str) -> Workload {
    daemon_set("agent").pods(&json!({"nodeSelector": {label: "yes"}}))
}

/// The label of the node that this place's daemons are on.
fn node_label(place: &Place) -> String {
    format!("e2e.astradesk.dev/{}", place.namespace)
}

/// Puts the label on the first node; its name.
async fn label_a_node(place: &Place, kubectl: &Kubectl<'_>) -> String {
    let nodes = kubectl.done("get nodes -o name -l kubernetes.io/os").await;
    let node = nodes.lines().next().unwrap().trim_start_matches("node/").to_owned();
    kubectl.done(&format!("label node {node} {}=yes", node_label(place))).await;
    node
}

/// Takes the label off.
async fn unlabel_the_node(place: &Place, kubectl: &Kubectl<'_>, node: &str) {
    kubectl.done(&format!("label node {node} {}-", node_label(place))).await;
}

/// A budget of `web`.
fn budget(least: u32) -> Value {
    json!({
        "apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": "web"}}},
    })
}

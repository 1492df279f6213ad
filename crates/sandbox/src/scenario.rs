//! Clusters to begin with, and what becomes of them: the demo's, and those of a file.

mod action;
mod entry;
mod file;
mod timeline;

pub use crate::yaml::Error;
pub use file::read;
pub use timeline::Timeline;
pub(crate) use timeline::run as follow;

use serde_json::{Value, json};

/// The demo's cluster, in the namespace `default`: what can be restarted well, and what cannot.
///
/// `webapp` (3 replicas) is healthy. `payments-api` (3) is healthy until it is restarted, and then crashes:
/// an environment variable is missing. `search` (2) is healthy until it is restarted, and then its image is
/// not to be had. `reports` has a single replica. `ledger` is a StatefulSet (3), `node-agent` a DaemonSet.
pub fn demo() -> Vec<Value> {
    vec![
        deployment("webapp", 3, "registry.example.com/shop/webapp:2.4.1", &json!({})),
        deployment(
            "payments-api",
            3,
            "registry.example.com/shop/payments-api:1.9.0",
            &json!({ "sandbox.astradesk.dev/behaviour-once-restarted": "crash:1" }),
        ),
        deployment(
            "search",
            2,
            "registry.example.com/shop/search:0.7.3",
            &json!({ "sandbox.astradesk.dev/behaviour-once-restarted": "image-pull" }),
        ),
        deployment("reports", 1, "registry.example.com/shop/reports:1.0.2", &json!({})),
        workload(
            "StatefulSet",
            "ledger",
            "registry.example.com/shop/ledger:16.4",
            &json!({ "replicas": 3, "serviceName": "ledger" }),
        ),
        workload("DaemonSet", "node-agent", "registry.example.com/infra/node-agent:3.1.0", &json!({})),
    ]
}

fn deployment(name: &str, replicas: u32, image: &str, annotations: &Value) -> Value {
    let mut deployment = workload("Deployment", name, image, &json!({ "replicas": replicas }));
    if let Some(metadata) = deployment.pointer_mut("/spec/template/metadata") {
        json_patch::merge(metadata, &json!({ "annotations": annotations }));
    }
    deployment
}

fn workload(kind: &str, name: &str, image: &str, spec: &Value) -> Value {
    let labels = json!({ "app": name });
    let container = json!({
        "name": name, "image": image, "ports": [{ "containerPort": 8080 }],
        "resources": { "requests": { "cpu": "50m", "memory": "64Mi" } },
    });
    let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": [container] } });
    let mut workload = json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": { "name": name, "namespace": "default", "labels": labels },
        "spec": { "selector": { "matchLabels": labels }, "template": template },
    });
    json_patch::merge(&mut workload, &json!({ "spec": spec }));
    workload
}

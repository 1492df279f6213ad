//! Workloads to restart, and how they behave.

use crate::observer::Kind;
use serde_json::{Map, Value, json};

/// A workload with one container.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its kind.
    pub kind: Kind,
    /// Its name, which is also the value of its pods' label `app`.
    pub name: String,
    /// What its specification says apart from selector and template.
    spec: Value,
    /// What its pods' specification says apart from the container.
    pods: Value,
    annotations: Map<String, Value>,
}

fn workload(kind: Kind, name: &str, spec: Value) -> Workload {
    Workload { kind, name: name.to_owned(), spec, pods: json!({}), annotations: Map::new() }
}

/// A Deployment that replaces its pods one by one.
pub fn deployment(name: &str, replicas: u32) -> Workload {
    workload(Kind::Deployment, name, json!({"replicas": replicas}))
}

/// A `StatefulSet`.
pub fn stateful_set(name: &str, replicas: u32) -> Workload {
    workload(Kind::StatefulSet, name, json!({"replicas": replicas, "serviceName": name}))
}

/// A `DaemonSet`.
pub fn daemon_set(name: &str) -> Workload {
    // On a single node any restart of it is downtime, unless another pod may be there at the same time.
    workload(Kind::DaemonSet, name, json!({}))
}

impl Workload {
    /// How its pods behave: `ready`, `slow:SECONDS`, `crash:EXIT_CODE`, `image-pull`, `never-ready`.
    #[must_use]
    pub fn behaviour(self, behaviour: &str) -> Self {
        self.annotation("behaviour", behaviour)
    }

    /// How they behave once they were restarted.
    #[must_use]
    pub fn once_restarted(self, behaviour: &str) -> Self {
        self.annotation("behaviour-once-restarted", behaviour)
    }

    /// What they write.
    #[must_use]
    pub fn logs(self, lines: &str) -> Self {
        self.annotation("logs", lines)
    }

    fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(format!("sandbox.astradesk.dev/{name}"), value.into());
        self
    }

    /// Sets fields of the specification.
    #[must_use]
    pub fn spec(mut self, fields: &Value) -> Self {
        merge(&mut self.spec, fields);
        self
    }

    /// Sets fields of its pods' specification.
    #[must_use]
    pub fn pods(mut self, fields: &Value) -> Self {
        merge(&mut self.pods, fields);
        self
    }

    /// The object as the API takes it.
    pub fn object(&self, namespace: &str) -> Value {
        let labels = json!({"app": self.name});
        let mut pods = json!({
            "containers": [{"name": "app", "image": format!("registry.example.com/{}:1", self.name)}],
            "terminationGracePeriodSeconds": 1,
        });
        merge(&mut pods, &self.pods);
        let mut spec = json!({
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": self.annotations}, "spec": pods},
        });
        merge(&mut spec, &self.spec);
        json!({
            "apiVersion": "apps/v1",
            "kind": self.kind.resource().kind,
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": spec,
        })
    }
}

fn merge(into: &mut Value, fields: &Value) {
    for (key, value) in fields.as_object().unwrap() {
        into[key] = value.clone();
    }
}

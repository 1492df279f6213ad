//! `/scale`: how many replicas a workload wants and has, whatever its kind.

use crate::json::{Value, json};
use crate::object::{self, int, set, text};

/// The scale of an object; of no replicas it does not speak, as the real one.
pub(super) fn of(object: &Value) -> Value {
    let labels = object::strings(object, "/spec/selector/matchLabels");
    let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        set(&mut metadata, &[field], text(object, &format!("/metadata/{field}")));
    }
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {},
        "status": { "replicas": int(object, "/status/replicas", 0), "selector": selector.join(",") },
    });
    let replicas = int(object, "/spec/replicas", 0);
    if replicas != 0 {
        set(&mut scale, &["spec", "replicas"], replicas);
    }
    scale
}

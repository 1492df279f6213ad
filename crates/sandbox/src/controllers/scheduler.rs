//! Where a pod goes, or why it goes nowhere, in the words of the real scheduler.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::{flag, list, name, quantity, strings, text};
use crate::storage::Object;

/// Chooses the fitting node with the fewest pods.
pub(super) fn choose(pod: &Value, nodes: &[Object], pods: &[Object]) -> Result<String, String> {
    if nodes.is_empty() {
        return Err("no nodes available to schedule pods".into());
    }
    let mut fitting: Vec<(usize, &str)> = Vec::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let (mut hopeless, mut full) = (0, 0);
    for node in nodes {
        let here: Vec<&Object> = pods
            .iter()
            .filter(|other| text(other, "/spec/nodeName") == name(node))
            .filter(|other| !matches!(text(other, "/status/phase"), "Succeeded" | "Failed"))
            .collect();
        let obstacles = obstacles(pod, node, &here);
        if obstacles.is_empty() {
            fitting.push((here.len(), name(node)));
        } else if obstacles.iter().any(|obstacle| obstacle.starts_with("node(s)")) {
            hopeless += 1;
        } else {
            full += 1;
        }
        for obstacle in obstacles {
            *reasons.entry(obstacle).or_default() += 1;
        }
    }
    if let Some((_, node)) = fitting.into_iter().min() {
        return Ok(node.to_owned());
    }
    let all = format!("0/{} nodes are available", nodes.len());
    let mut reasons: Vec<String> =
        reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    reasons.sort();
    let mut preemption = Vec::new();
    if full > 0 {
        preemption.push(format!("{full} No preemption victims found for incoming pod"));
    }
    if hopeless > 0 {
        preemption.push(format!("{hopeless} Preemption is not helpful for scheduling"));
    }
    preemption.sort();
    Err(format!("{all}: {}. preemption: {all}: {}.", reasons.join(", "), preemption.join(", ")))
}

/// Whether a node carries all the labels that a pod's (or a template's) node selector asks for.
pub(super) fn selects(spec: &Value, node: &Value) -> bool {
    let labels = strings(node, "/metadata/labels");
    strings(spec, "/nodeSelector").iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn obstacles(pod: &Value, node: &Value, here: &[&Object]) -> Vec<String> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    // A DaemonSet's pod asks for its one node, and does not mind a cordon.
    let bound_to = list(
        spec,
        "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values",
    );
    if flag(node, "/spec/unschedulable") && bound_to.is_empty() {
        return vec!["node(s) were unschedulable".into()];
    }
    if !selects(spec, node) || !(bound_to.is_empty() || bound_to.iter().any(|wanted| wanted == name(node))) {
        return vec!["node(s) didn't match Pod's node affinity/selector".into()];
    }
    let mut obstacles = Vec::new();
    let allocatable = |what: &str| quantity(node.pointer(&format!("/status/allocatable/{what}")));
    if (here.len() + 1) as f64 * 1000.0 > allocatable("pods") {
        obstacles.push("Too many pods".into());
    }
    for what in ["cpu", "memory"] {
        let used: f64 = here.iter().map(|other| requests(other, what)).sum();
        let wanted = requests(pod, what);
        if wanted > 0.0 && used + wanted > allocatable(what) {
            obstacles.push(format!("Insufficient {what}"));
        }
    }
    obstacles
}

fn requests(pod: &Value, what: &str) -> f64 {
    let of = |container: &Value, kind: &str| container.pointer(&format!("/resources/{kind}/{what}")).cloned();
    list(pod, "/spec/containers")
        .iter()
        .map(|container| quantity(of(container, "requests").or_else(|| of(container, "limits")).as_ref()))
        .sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn node(name: &str, cpu: &str, disk: &str) -> Object {
        Arc::new(json!({
            "metadata": { "name": name, "labels": { "disk": disk } },
            "status": { "allocatable": { "cpu": cpu, "memory": "8Gi", "pods": "110" } },
        }))
    }

    fn pod(spec: &Value) -> Value {
        json!({ "spec": spec })
    }

    #[test]
    fn the_emptiest_fitting_node() {
        let nodes = [node("a", "4", "hdd"), node("b", "4", "ssd"), node("c", "4", "ssd")];
        let other = Arc::new(json!({ "spec": { "nodeName": "b" } }));
        let chosen = choose(&pod(&json!({ "nodeSelector": { "disk": "ssd" } })), &nodes, &[other]);
        assert_eq!(chosen, Ok("c".to_owned()));
    }

    #[test]
    fn the_schedulers_words() {
        let nodes = [node("a", "4", "hdd"), node("b", "4", "ssd"), node("c", "500m", "ssd")];
        let big = json!([{ "resources": { "requests": { "cpu": "64", "memory": "1Gi" } } }]);
        let table = [
            (
                json!({ "containers": big.clone() }),
                "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: \
                 3 No preemption victims found for incoming pod.",
            ),
            (
                json!({ "nodeSelector": { "disk": "tape" } }),
                "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: \
                 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
            ),
            (
                json!({ "nodeSelector": { "disk": "ssd" }, "containers": big }),
                "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
                 2 Insufficient cpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful for \
                 scheduling, 2 No preemption victims found for incoming pod.",
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(choose(&pod(&spec), &nodes, &[]), Err(expected.to_owned()));
        }
        assert!(choose(&pod(&json!({})), &[], &[]).is_err());
    }
}

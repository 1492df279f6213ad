//! Where a pod goes, or why it goes nowhere, in the words of the real scheduler.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::json::{Value, intern};

use super::nodes;
use crate::behaviour::Behaviour;
use crate::object::{flag, list, name, quantity, requests, strings, text};
use crate::resource::PODS;
use crate::storage::{Key, Object};

/// What the pods on each node take of it.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Where each placed pod is, and what it asks for.
    pods: BTreeMap<Key, (Arc<str>, Share)>,
    nodes: HashMap<Arc<str>, Share>,
}

/// A part of a node.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Share {
    pods: usize,
    cpu: f64,
    memory: f64,
}

impl Usage {
    /// Takes in an object as it is now, if it is a pod.
    pub(super) fn note(&mut self, key: &Key, object: Option<&Value>) {
        if *key.resource != PODS {
            return;
        }
        if let Some((node, share)) = self.pods.remove(key)
            && let Some(used) = self.nodes.get_mut(&node)
        {
            used.pods -= share.pods;
            used.cpu -= share.cpu;
            used.memory -= share.memory;
            if used.pods == 0 {
                self.nodes.remove(&node);
            }
        }
        let Some(pod) = object else { return };
        let node = text(pod, "/spec/nodeName");
        if node.is_empty() || matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
            return;
        }
        let share = Share { pods: 1, cpu: requests(pod, "cpu"), memory: requests(pod, "memory") };
        let node = intern(node);
        let used = self.nodes.entry(node.clone()).or_default();
        used.pods += share.pods;
        used.cpu += share.cpu;
        used.memory += share.memory;
        self.pods.insert(key.clone(), (node, share));
    }

    fn of(&self, node: &Value) -> Share {
        self.nodes.get(name(node)).copied().unwrap_or_default()
    }
}

/// Chooses the fitting node with the fewest pods.
pub(super) fn choose(pod: &Value, nodes: &[Object], usage: &Usage) -> Result<String, String> {
    if nodes.is_empty() {
        return Err("no nodes available to schedule pods".into());
    }
    let mut fitting: Vec<(usize, &str)> = Vec::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let (mut hopeless, mut full) = (0, 0);
    for node in nodes {
        let here = usage.of(node);
        let obstacles = obstacles(pod, node, here);
        if obstacles.is_empty() {
            fitting.push((here.pods, name(node)));
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

fn obstacles(pod: &Value, node: &Value, here: Share) -> Vec<String> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    // A DaemonSet's pod asks for its one node, and does not mind a cordon.
    let bound_to = list(
        spec,
        "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values",
    );
    if Behaviour::of(pod) == Behaviour::Unschedulable {
        return vec!["node(s) had untolerated taint {sandbox.astradesk.dev/unschedulable: }".into()];
    }
    if flag(node, "/spec/unschedulable") && bound_to.is_empty() {
        return vec!["node(s) were unschedulable".into()];
    }
    if !selects(spec, node) || !(bound_to.is_empty() || bound_to.iter().any(|wanted| wanted == name(node))) {
        return vec!["node(s) didn't match Pod's node affinity/selector".into()];
    }
    if let Some(taint) = nodes::untolerated(pod, node) {
        return vec![taint];
    }
    let mut obstacles = Vec::new();
    let allocatable = |what: &str| quantity(node.pointer(&format!("/status/allocatable/{what}")));
    if (here.pods + 1) as f64 * 1000.0 > allocatable("pods") {
        obstacles.push("Too many pods".into());
    }
    for (what, used) in [("cpu", here.cpu), ("memory", here.memory)] {
        let wanted = requests(pod, what);
        if wanted > 0.0 && used + wanted > allocatable(what) {
            obstacles.push(format!("Insufficient {what}"));
        }
    }
    obstacles
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::json::json;

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
        let mut usage = Usage::default();
        let chosen =
            |usage: &Usage| choose(&pod(&json!({ "nodeSelector": { "disk": "ssd" } })), &nodes, usage);
        let key = Key::new(&PODS, "default", "other");
        usage.note(&key, Some(&json!({ "spec": { "nodeName": "b" } })));
        assert_eq!(chosen(&usage), Ok("c".to_owned()));
        usage.note(&key, None);
        assert_eq!(chosen(&usage), Ok("b".to_owned()));
    }

    #[test]
    fn a_pod_counts_once_and_until_it_has_ended() {
        let (mut usage, key) = (Usage::default(), Key::new(&PODS, "default", "p"));
        let running = json!({
            "spec": { "nodeName": "a", "containers": [{ "resources": { "requests": { "cpu": "3" } } }] },
        });
        usage.note(&key, Some(&running));
        usage.note(&key, Some(&running));
        let node = node("a", "4", "hdd");
        assert_eq!(usage.of(&node), Share { pods: 1, cpu: 3000.0, memory: 0.0 });
        assert!(
            choose(&running, std::slice::from_ref(&node), &usage).unwrap_err().contains("1 Insufficient cpu")
        );
        let mut ended = running;
        crate::object::set(&mut ended, &["status", "phase"], "Succeeded");
        usage.note(&key, Some(&ended));
        assert_eq!(usage.of(&node), Share::default());
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
            assert_eq!(choose(&pod(&spec), &nodes, &Usage::default()), Err(expected.to_owned()));
        }
        assert!(choose(&pod(&json!({})), &[], &Usage::default()).is_err());
    }
}

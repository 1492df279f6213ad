//! `DaemonSet`s: one pod on every fitting node, replaced a few at a time. `maxSurge` is not honoured: the old
//! pod goes first.

use crate::json::{Value, json};

use super::Controllers;
use super::revisions::{self, LABEL};
use super::scheduler;
use crate::object::{
    annotation, int, int_or_percent, is_deleting, list, name, pod_active, pod_available, pod_ready, set, text,
};
use crate::resource::{DAEMON_SETS, NODES, PODS};
use crate::rules::TEMPLATE_GENERATION;
use crate::storage::{Key, Object};

const COMPONENT: &str = "daemonset-controller";

impl Controllers {
    pub(super) fn sync_daemon_set(&mut self, key: &Key, daemon_set: &Object) {
        let Some(revision) = self.update_revision(&DAEMON_SETS, daemon_set) else { return };
        let spec = daemon_set.pointer("/spec/template/spec").cloned().unwrap_or_default();
        let mut nodes = self.storage.list(&NODES, "");
        nodes.retain(|node| scheduler::selects(&spec, node));
        if !is_deleting(daemon_set) {
            self.place_daemons(daemon_set, &nodes, &revision);
            if text(daemon_set, "/spec/updateStrategy/type") == "RollingUpdate" {
                self.replace_daemons(daemon_set, &nodes, &revision);
            }
        }
        self.write_daemon_set_status(key, daemon_set, &nodes, &revision);
    }

    /// Makes what is missing, and removes what has finished or has no node any more.
    fn place_daemons(&mut self, daemon_set: &Object, nodes: &[Object], revision: &Object) {
        let pods = self.owned(&PODS, daemon_set);
        for pod in &pods {
            let placed = nodes.iter().any(|node| name(node) == node_of(pod));
            if !(is_deleting(pod) || (placed && pod_active(pod))) {
                self.delete_pod(daemon_set, pod, COMPONENT);
            }
        }
        let hash = revisions::label_value(daemon_set, name(revision)).to_owned();
        for node in nodes {
            if pods.iter().any(|pod| node_of(pod) == name(node)) {
                continue;
            }
            let pod_name = format!("{}-{}", name(daemon_set), self.suffix());
            // What is refused is tried again.
            let _ = self.create_pod(&DAEMON_SETS, daemon_set, &pod_name, COMPONENT, |pod| {
                set(pod, &["metadata", "labels", LABEL], hash.clone());
                if let Some(count) = annotation(daemon_set, TEMPLATE_GENERATION) {
                    set(pod, &["metadata", "labels", "pod-template-generation"], count);
                }
                tolerate_trouble(pod);
                let node_affinity =
                    ["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
                let field = json!({ "key": "metadata.name", "operator": "In", "values": [name(node)] });
                set(pod, &node_affinity, json!({ "nodeSelectorTerms": [{ "matchFields": [field] }] }));
            });
        }
    }

    /// Deletes old pods: those that serve nobody at once, the others as far as few enough are unavailable.
    fn replace_daemons(&mut self, daemon_set: &Object, nodes: &[Object], revision: &Object) {
        let min_ready = int(daemon_set, "/spec/minReadySeconds", 0);
        let allowed = daemon_set.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable");
        let allowed = int_or_percent(allowed, nodes.len() as i64, true).max(1);
        let pods = self.owned(&PODS, daemon_set);
        let serves = |pod: &Object| !is_deleting(pod) && pod_available(pod, min_ready);
        let serving = pods.iter().filter(|pod| serves(pod)).count() as i64;
        let mut room = allowed - (nodes.len() as i64 - serving);
        for pod in pods.iter().filter(|pod| !is_deleting(pod)) {
            if revisions::is_at(pod, daemon_set, name(revision)) {
                continue;
            }
            if serves(pod) {
                if room <= 0 {
                    continue;
                }
                room -= 1;
            }
            self.delete_pod(daemon_set, pod, COMPONENT);
        }
    }

    fn write_daemon_set_status(
        &mut self,
        key: &Key,
        daemon_set: &Object,
        nodes: &[Object],
        revision: &Object,
    ) {
        let mut pods = self.owned(&PODS, daemon_set);
        let min_ready = int(daemon_set, "/spec/minReadySeconds", 0);
        let live: Vec<&Object> = pods.iter().filter(|pod| !is_deleting(pod)).collect();
        let ready = live.iter().filter(|pod| pod_ready(pod)).count();
        let available = live.iter().filter(|pod| pod_available(pod, min_ready)).count();
        let updated = live.iter().filter(|pod| revisions::is_at(pod, daemon_set, name(revision))).count();
        let current = live.len();
        // What was counted is of the object as it was read.
        let observed = int(daemon_set, "/metadata/generation", 1);
        self.storage.update(key, |object| {
            let mut status = json!({
                "currentNumberScheduled": current, "desiredNumberScheduled": nodes.len(), "numberMisscheduled": 0,
                "numberReady": ready, "observedGeneration": observed,
            });
            let others = [
                ("updatedNumberScheduled", updated),
                ("numberAvailable", available),
                ("numberUnavailable", nodes.len().saturating_sub(available)),
            ];
            for (field, value) in others.into_iter().filter(|(_, value)| *value > 0) {
                set(&mut status, &[field], value);
            }
            set(object, &["status"], status);
        });
        if available < ready {
            self.look_again(key, 0.5);
        }
        pods.retain(|pod| !is_deleting(pod));
        self.trim_revisions(daemon_set, &pods, &[name(revision)]);
    }
}

/// A daemon stays on a node in trouble, and comes to one.
fn tolerate_trouble(pod: &mut Value) {
    let mut tolerations = list(pod, "/spec/tolerations").to_vec();
    for (trouble, effect) in [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ] {
        let key = format!("node.kubernetes.io/{trouble}");
        tolerations.push(json!({ "key": key, "operator": "Exists", "effect": effect }));
    }
    set(pod, &["spec", "tolerations"], tolerations);
}

/// The node that a daemon is for, also before it is placed there.
fn node_of(pod: &Value) -> &str {
    let placed = text(pod, "/spec/nodeName");
    if !placed.is_empty() {
        return placed;
    }
    text(
        pod,
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0",
    )
}

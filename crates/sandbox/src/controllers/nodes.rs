//! Nodes that go down and come back, as the node lifecycle controller sees it (`pkg/controller/nodelifecycle` of
//! Kubernetes), with its waits cut to a tenth: a kubelet is given up 4 s after its last word, and what ran there is
//! evicted 30 s later, or when its tolerations say. What is on a node that is down stays as it is: its pods neither
//! become ready nor end, before the node is back or somebody deletes them by force.

use tokio::time::Instant;

use super::{Controllers, timers};
use crate::behaviour;
use crate::deletion::{self, Propagation};
use crate::json::{Value, json};
use crate::object::{self, controller, int, is_deleting, list, name, set, text};
use crate::resource::PODS;
use crate::storage::{Key, Object};

/// The taint of a node that nothing is heard of.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// How long nothing may be heard of a node, in seconds.
const GRACE: f64 = 4.0;
/// How long a pod may stay on a node of which nothing is heard, in seconds, where it says nothing.
const TOLERATED: i64 = 300;
/// What a real second of toleration counts here.
const SHORTENED: f64 = 0.1;

/// A node that is down.
#[derive(Debug)]
pub(super) struct Outage {
    since: Instant,
    /// What its kubelet will do when it is back.
    suspended: Vec<timers::Due>,
}

impl Controllers {
    pub(super) fn sync_node(&mut self, key: &Key, node: &Value) {
        if !behaviour::is_down(node) {
            if let Some(outage) = self.outages.remove(&key.name) {
                self.revive(key, node, outage);
            }
            return;
        }
        let now = Instant::now();
        let outage = self.outages.entry(key.name.clone());
        let since = outage.or_insert_with(|| Outage { since: now, suspended: Vec::new() }).since;
        let silent = now.duration_since(since).as_secs_f64() - GRACE * self.pace;
        if silent < 0.0 {
            self.look_again(key, -silent);
            return;
        }
        if !is_tainted(node) {
            self.give_up(key, node);
        }
        if let Some(seconds) = self.evict(&key.name, silent) {
            self.look_again(key, seconds);
        }
    }

    /// Keeps what a pod's kubelet was to do while it is down. True: it is down.
    pub(super) fn suspend(&mut self, pod: &Value, due: impl FnOnce() -> timers::Due) -> bool {
        let outage = self.outages.get_mut(text(pod, "/spec/nodeName"));
        outage.map(|outage| outage.suspended.push(due())).is_some()
    }

    fn give_up(&mut self, key: &Key, node: &Value) {
        let taint =
            |effect: &str| json!({ "key": UNREACHABLE, "effect": effect, "timeAdded": object::now() });
        self.storage.update(key, |node| {
            let mut taints = list(node, "/spec/taints").to_vec();
            taints.extend([taint("NoSchedule"), taint("NoExecute")]);
            set(node, &["spec", "taints"], taints);
            set_ready(node, "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.");
        });
        self.tell(node, "NodeNotReady", "node-controller");
        for pod in self.pods_on(&key.name) {
            self.storage.update(&Key::of(&PODS, &pod), |pod| set_pod_ready(pod, "False"));
            self.event(&pod, "Warning", "NodeNotReady", "Node is not ready", "node-controller");
        }
    }

    /// Evicts whatever has been there for too long; in how many seconds there will be more to evict.
    fn evict(&mut self, node: &str, silent: f64) -> Option<f64> {
        let mut next: Option<f64> = None;
        for pod in self.pods_on(node) {
            let Some(seconds) = tolerated(&pod).filter(|_| !is_deleting(&pod)) else { continue };
            let left = seconds * SHORTENED * self.pace - silent;
            if left > 0.0 {
                next = Some(next.map_or(left, |next| next.min(left)));
                continue;
            }
            let message = format!("Marking for deletion Pod {}/{}", object::namespace(&pod), name(&pod));
            self.event(&pod, "Normal", "TaintManagerEviction", &message, "taint-eviction-controller");
            deletion::delete(&self.storage, &Key::of(&PODS, &pod), None, Propagation::Background);
        }
        next
    }

    fn revive(&mut self, key: &Key, node: &Value, outage: Outage) {
        if is_tainted(node) {
            self.storage.update(key, |node| {
                let mut taints = list(node, "/spec/taints").to_vec();
                taints.retain(|taint| text(taint, "/key") != UNREACHABLE);
                if taints.is_empty() {
                    object::child(node, "spec").remove("taints");
                } else {
                    set(node, &["spec", "taints"], taints);
                }
                set_ready(node, "True", "KubeletReady", "kubelet is posting ready status");
            });
            self.tell(node, "NodeReady", "kubelet");
            for pod in self.pods_on(&key.name) {
                let serves =
                    list(&pod, "/status/containerStatuses").iter().all(|c| object::flag(c, "/ready"));
                if serves {
                    self.storage.update(&Key::of(&PODS, &pod), |pod| set_pod_ready(pod, "True"));
                }
            }
        }
        let now = Instant::now();
        for due in outage.suspended {
            self.timers.push(now, due);
        }
    }

    fn tell(&mut self, node: &Value, reason: &str, component: &str) {
        let message = format!("Node {} status is now: {reason}", name(node));
        self.event(node, "Normal", reason, &message, component);
    }

    fn pods_on(&self, node: &str) -> Vec<Object> {
        let mut pods = self.storage.list(&PODS, "");
        pods.retain(|pod| text(pod, "/spec/nodeName") == node);
        pods
    }
}

/// The first obstacle among a node's taints to a pod, in the scheduler's words.
pub(super) fn untolerated(pod: &Value, node: &Value) -> Option<String> {
    let tolerations = list(pod, "/spec/tolerations");
    // Its controller has a DaemonSet's pod tolerate whatever befalls a node.
    let daemon = controller(pod).is_some_and(|owner| text(owner, "/kind") == "DaemonSet");
    let keeps_off = |taint: &&Value| {
        let own = text(taint, "/key").starts_with("node.kubernetes.io/");
        let tolerated = tolerations.iter().any(|toleration| tolerates(toleration, taint)) || (daemon && own);
        matches!(text(taint, "/effect"), "NoSchedule" | "NoExecute") && !tolerated
    };
    let taint = list(node, "/spec/taints").iter().find(keeps_off)?;
    Some(format!("node(s) had untolerated taint {{{}: {}}}", text(taint, "/key"), text(taint, "/value")))
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let (key, effect) = (text(toleration, "/key"), text(toleration, "/effect"));
    let exists = text(toleration, "/operator") == "Exists";
    (effect.is_empty() || effect == text(taint, "/effect"))
        && ((key.is_empty() && exists) || key == text(taint, "/key"))
        && (exists || text(toleration, "/value") == text(taint, "/value"))
}

/// The seconds that a pod stays on a node of which nothing is heard; `None`: for ever.
fn tolerated(pod: &Value) -> Option<f64> {
    if controller(pod).is_some_and(|owner| text(owner, "/kind") == "DaemonSet") {
        return None;
    }
    let taint = json!({ "key": UNREACHABLE, "effect": "NoExecute" });
    let mut tolerations = list(pod, "/spec/tolerations").iter();
    match tolerations.find(|toleration| tolerates(toleration, &taint)) {
        None => Some(TOLERATED as f64),
        Some(toleration) => {
            toleration.get("tolerationSeconds").map(|_| int(toleration, "/tolerationSeconds", 0) as f64)
        }
    }
}

fn is_tainted(node: &Value) -> bool {
    list(node, "/spec/taints").iter().any(|taint| text(taint, "/key") == UNREACHABLE)
}

fn set_ready(node: &mut Value, status: &str, reason: &str, message: &str) {
    let now = object::now();
    let ready = json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    });
    let mut conditions = list(node, "/status/conditions").to_vec();
    conditions.retain(|condition| text(condition, "/type") != "Ready");
    conditions.push(ready);
    set(node, &["status", "conditions"], conditions);
}

/// Only the condition, as the node lifecycle controller leaves the containers' statuses to the kubelet.
fn set_pod_ready(pod: &mut Value, status: &str) {
    let mut conditions = list(pod, "/status/conditions").to_vec();
    for condition in conditions.iter_mut().filter(|condition| text(condition, "/type") == "Ready") {
        if text(condition, "/status") != status {
            set(condition, &["status"], status);
            set(condition, &["lastTransitionTime"], object::now());
        }
    }
    set(pod, &["status", "conditions"], conditions);
}

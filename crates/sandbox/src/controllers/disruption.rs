//! `PodDisruptionBudget`s: how many of the pods that one covers may be disrupted now.
//!
//! The rules are the disruption controller's (`pkg/controller/disruption/disruption.go` of Kubernetes).

use crate::json::{Value, json};

use super::Controllers;
use crate::object::{
    child, condition, controller, int, int_or_percent, is_deleting, name, namespace, now, pod_ready,
    seconds_since, set, text,
};
use crate::resource::{
    DAEMON_SETS, DEPLOYMENTS, DISRUPTION_BUDGETS, PODS, REPLICA_SETS, RESOURCE_QUOTAS, Resource,
    STATEFUL_SETS,
};
use crate::server::Selector;
use crate::storage::{Key, Object};

/// How long an evicted pod may take to begin to go, in seconds; after that it counts as serving again.
const DELETION_TIMEOUT: f64 = 120.0;

/// What a budget comes to.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    expected: i64,
    desired: i64,
}

impl Controllers {
    /// What changes among pods and what manages them concerns the budgets and quotas of the same namespace.
    pub(super) fn enqueue_budgets(&mut self, changed: &Key) {
        let counted = [&PODS, &DEPLOYMENTS, &REPLICA_SETS, &STATEFUL_SETS, &DAEMON_SETS];
        if !counted.contains(&changed.resource) {
            return;
        }
        for resource in [&DISRUPTION_BUDGETS, &RESOURCE_QUOTAS] {
            for limit in self.storage.list(resource, &changed.namespace) {
                self.enqueue(Key::of(resource, &limit));
            }
        }
    }

    pub(super) fn sync_disruption_budget(&mut self, key: &Key, budget: &Value) {
        let selector = Selector::of(budget.pointer("/spec/selector"));
        let mut pods = self.storage.list(&PODS, namespace(budget));
        pods.retain(|pod| selector.as_ref().is_some_and(|selector| selector.matches(pod)));
        let sum = self.sum(budget, &pods);
        let generation = int(budget, "/metadata/generation", 1);
        let mut waits = false;
        self.storage.update(key, |object| {
            // As they are now: an eviction may have come since the pods were counted.
            let disrupted = still_going(object, &pods);
            waits = disrupted != json!({});
            let serves =
                |pod: &&Object| pod_ready(pod) && !is_deleting(pod) && disrupted.get(name(pod)).is_none();
            let healthy = i64::try_from(pods.iter().filter(serves).count()).unwrap_or(i64::MAX);
            let allowed = match &sum {
                Ok(sum) if sum.expected > 0 => (healthy - sum.desired).max(0),
                _ => 0,
            };
            // What could not be worked out is not observed either.
            if let Ok(sum) = &sum {
                set(object, &["status", "expectedPods"], sum.expected);
                set(object, &["status", "currentHealthy"], healthy);
                set(object, &["status", "desiredHealthy"], sum.desired);
                set(object, &["status", "observedGeneration"], generation);
            }
            set(object, &["status", "disruptionsAllowed"], allowed);
            if waits {
                set(object, &["status", "disruptedPods"], disrupted);
            } else {
                child(object, "status").remove("disruptedPods");
            }
            say(object, allowed, sum.as_ref().err(), generation);
        });
        if waits {
            self.look_again(key, DELETION_TIMEOUT);
        }
    }

    fn sum(&self, budget: &Value, pods: &[Object]) -> Result<Sum, String> {
        let max_unavailable = budget.pointer("/spec/maxUnavailable");
        let min_available = budget.pointer("/spec/minAvailable");
        let (expected, desired) = match (max_unavailable, min_available) {
            (Some(max_unavailable), _) => {
                let expected = self.replicas_behind(pods)?;
                (expected, (expected - int_or_percent(Some(max_unavailable), expected, true)).max(0))
            }
            (None, Some(Value::Number(number))) => {
                (i64::try_from(pods.len()).unwrap_or(i64::MAX), number.as_i64().unwrap_or(0))
            }
            (None, Some(percent)) => {
                let expected = self.replicas_behind(pods)?;
                (expected, int_or_percent(Some(percent), expected, true))
            }
            (None, None) => (0, 0),
        };
        Ok(Sum { expected, desired })
    }

    /// The replicas of everything that manages these pods, each counted once. A DaemonSet has no scale, so a share
    /// of its pods cannot be worked out; pods that nothing manages do not count.
    fn replicas_behind(&self, pods: &[Object]) -> Result<i64, String> {
        let mut counted: Vec<String> = Vec::new();
        let mut replicas = 0;
        for pod in pods {
            if controller(pod).is_none() {
                continue;
            }
            let owner = self.manager(pod).filter(|owner| text(owner, "/kind") != DAEMON_SETS.kind);
            let owner = owner.ok_or_else(|| format!("found no controllers for pod \"{}\"", name(pod)))?;
            let owner = self.manager(&owner).unwrap_or(owner);
            let uid = text(&owner, "/metadata/uid").to_owned();
            if !counted.contains(&uid) {
                replicas += int(&owner, "/spec/replicas", 1);
                counted.push(uid);
            }
        }
        Ok(replicas)
    }

    /// What manages an object.
    pub(super) fn manager(&self, object: &Value) -> Option<Object> {
        let owner = controller(object)?;
        let key = Key::new(Resource::of(owner)?, namespace(object), text(owner, "/name"));
        self.storage.get(&key).filter(|found| text(found, "/metadata/uid") == text(owner, "/uid"))
    }
}

/// The pods whose eviction was granted and that do not go yet.
fn still_going(budget: &Value, pods: &[Object]) -> Value {
    let granted = budget.pointer("/status/disruptedPods").unwrap_or(&Value::Null);
    let awaited = |pod: &&Object| {
        let since = seconds_since(granted, &format!("/{}", name(pod)));
        !is_deleting(pod) && since.is_some_and(|seconds| seconds < DELETION_TIMEOUT)
    };
    let mut going = json!({});
    for pod in pods.iter().filter(awaited) {
        set(&mut going, &[name(pod)], text(granted, &format!("/{}", name(pod))));
    }
    going
}

/// Writes the condition that sums it up.
fn say(budget: &mut Value, allowed: i64, failure: Option<&String>, generation: i64) {
    let (status, reason) = match (failure, allowed) {
        (Some(_), _) => ("False", "SyncFailed"),
        (None, ..1) => ("False", "InsufficientPods"),
        (None, _) => ("True", "SufficientPods"),
    };
    let since = condition(budget, "DisruptionAllowed").filter(|known| text(known, "/status") == status);
    let since = since.map_or_else(now, |known| text(known, "/lastTransitionTime").to_owned());
    let condition = json!([{
        "type": "DisruptionAllowed", "status": status, "reason": reason, "message": failure.cloned().unwrap_or_default(),
        "lastTransitionTime": since, "observedGeneration": generation,
    }]);
    set(budget, &["status", "conditions"], condition);
}

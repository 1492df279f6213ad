//! What a Deployment says about its rollout: the counters, and the `Available` and `Progressing` conditions
//! with the real controller's reasons.

use crate::json::{Value, json};

use super::deployment::{Bounds, REVISION};
use crate::object::{self, condition, int, list, name, seconds_since, set, text};
use crate::storage::{Key, Object, Storage};

/// The state of a rollout, summed over its `ReplicaSet`s.
pub(super) struct Rollout {
    /// Of the Deployment as it was read: what was counted is of that one.
    generation: i64,
    newest: Option<String>,
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
    wanted_by_sets: i64,
    /// Why a `ReplicaSet` cannot create its pods: the newest one's reason first.
    failure: Option<Value>,
}

/// What came of writing it down.
pub(super) struct Told {
    pub(super) complete: bool,
    /// Seconds until the deadline may have passed.
    pub(super) look_again_in: Option<f64>,
}

impl Rollout {
    pub(super) fn observe(deployment: &Value, newest: Option<&Value>, sets: &[Object]) -> Rollout {
        let sum = |pointer: &str| sets.iter().map(|rs| int(rs, pointer, 0)).sum();
        Rollout {
            generation: int(deployment, "/metadata/generation", 1),
            newest: newest.map(|rs| name(rs).to_owned()),
            replicas: sum("/status/replicas"),
            updated: newest.map_or(0, |rs| int(rs, "/status/replicas", 0)),
            ready: sum("/status/readyReplicas"),
            available: sum("/status/availableReplicas"),
            wanted_by_sets: sum("/spec/replicas"),
            failure: newest
                .and_then(|rs| condition(rs, "ReplicaFailure"))
                .or_else(|| sets.iter().find_map(|rs| condition(rs, "ReplicaFailure")))
                .cloned(),
        }
    }

    /// Writes the status, and the conditions that follow from it.
    pub(super) fn write(&self, storage: &Storage, key: &Key) -> Told {
        let mut told = Told { complete: false, look_again_in: None };
        storage.update(key, |deployment| {
            let before = deployment.clone();
            set(deployment, &["status", "observedGeneration"], self.generation);
            set(deployment, &["status", "replicas"], self.replicas);
            set(deployment, &["status", "updatedReplicas"], self.updated);
            set(deployment, &["status", "readyReplicas"], self.ready);
            set(deployment, &["status", "availableReplicas"], self.available);
            let unavailable = (self.wanted_by_sets - self.available).max(0);
            set(deployment, &["status", "unavailableReplicas"], unavailable);
            self.write_available(deployment);
            self.write_progressing(&before, deployment);
            self.write_failure(deployment);
            // As the real type writes itself: zeros are left out.
            if let Some(Value::Object(status)) = deployment.get_mut("status") {
                status.retain(|_, value| value.as_i64() != Some(0));
            }
            told.complete = self.is_complete(deployment);
            told.look_again_in = time_to_deadline(deployment, told.complete);
        });
        told
    }

    fn is_complete(&self, deployment: &Value) -> bool {
        let wanted = int(deployment, "/spec/replicas", 1);
        [self.updated, self.replicas, self.available] == [wanted; 3] && self.newest.is_some()
    }

    fn write_available(&self, deployment: &mut Value) {
        let bounds = Bounds::of(deployment);
        if self.available >= bounds.wanted - bounds.unavailable {
            let message = "Deployment has minimum availability.";
            set_condition(deployment, "Available", "True", "MinimumReplicasAvailable", message);
        } else {
            let message = "Deployment does not have minimum availability.";
            set_condition(deployment, "Available", "False", "MinimumReplicasUnavailable", message);
        }
    }

    fn write_failure(&self, deployment: &mut Value) {
        if let Some(failure) = &self.failure {
            let (reason, message) = (text(failure, "/reason"), text(failure, "/message"));
            set_condition(deployment, "ReplicaFailure", "True", reason, message);
        } else if condition(deployment, "ReplicaFailure").is_some() {
            let mut conditions = list(deployment, "/status/conditions").to_vec();
            conditions.retain(|condition| text(condition, "/type") != "ReplicaFailure");
            set(deployment, &["status", "conditions"], conditions);
        }
    }

    fn write_progressing(&self, before: &Value, deployment: &mut Value) {
        let reason = condition(deployment, "Progressing").map_or("", |c| text(c, "/reason")).to_owned();
        let settled = self.replicas == self.updated && reason == "NewReplicaSetAvailable";
        if settled || object::flag(deployment, "/spec/paused") {
            return;
        }
        let Some(newest) = &self.newest else { return };
        let old = |field: &str| int(before, &format!("/status/{field}"), 0);
        let progressed = self.updated > old("updatedReplicas")
            || self.ready > old("readyReplicas")
            || self.available > old("availableReplicas")
            || self.replicas - self.updated < old("replicas") - old("updatedReplicas");
        if self.is_complete(deployment) {
            let message = format!("ReplicaSet \"{newest}\" has successfully progressed.");
            set_condition(deployment, "Progressing", "True", "NewReplicaSetAvailable", &message);
        } else if progressed {
            let message = format!("ReplicaSet \"{newest}\" is progressing.");
            forget_update_time(deployment);
            set_condition(deployment, "Progressing", "True", "ReplicaSetUpdated", &message);
        } else if has_timed_out(deployment) {
            let message = format!("ReplicaSet \"{newest}\" has timed out progressing.");
            set_condition(deployment, "Progressing", "False", "ProgressDeadlineExceeded", &message);
        }
    }
}

/// Notes on the deployment which ReplicaSet is its newest, and that it was made or found.
pub(super) fn note_newest(storage: &Storage, key: &Key, replica_set: &str, revision: &str, made: bool) {
    storage.update(key, |deployment| {
        set(deployment, &["metadata", "annotations", REVISION], revision);
        let (reason, message) = if made {
            ("NewReplicaSetCreated", format!("Created new replica set \"{replica_set}\""))
        } else {
            ("FoundNewReplicaSet", format!("Found new replica set \"{replica_set}\""))
        };
        // A rollback finds its ReplicaSet, and begins a rollout that the last one's end must not hide.
        let shown = condition(deployment, "Progressing").map_or("", |c| text(c, "/message"));
        if made || !shown.contains(&format!("\"{replica_set}\"")) {
            set_condition(deployment, "Progressing", "True", reason, &message);
        }
    });
}

/// Notes that a deployment was paused, or goes on.
pub(super) fn note_pause(storage: &Storage, key: &Key, paused: bool) {
    storage.update(key, |deployment| {
        let reason = condition(deployment, "Progressing").map_or("", |c| text(c, "/reason"));
        if paused && reason != "DeploymentPaused" && reason != "ProgressDeadlineExceeded" {
            set_condition(deployment, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused");
        } else if !paused && reason == "DeploymentPaused" {
            set_condition(deployment, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed");
        }
    });
}

fn has_timed_out(deployment: &Value) -> bool {
    let Some(progressing) = condition(deployment, "Progressing") else { return false };
    match text(progressing, "/reason") {
        "ProgressDeadlineExceeded" => true,
        "NewReplicaSetAvailable" => false,
        _ => {
            let deadline = int(deployment, "/spec/progressDeadlineSeconds", 600) as f64;
            seconds_since(progressing, "/lastUpdateTime").is_some_and(|seconds| seconds > deadline)
        }
    }
}

fn time_to_deadline(deployment: &Value, complete: bool) -> Option<f64> {
    let progressing = condition(deployment, "Progressing")?;
    let over = matches!(text(progressing, "/reason"), "NewReplicaSetAvailable" | "ProgressDeadlineExceeded");
    if complete || over || object::flag(deployment, "/spec/paused") {
        return None;
    }
    let deadline = int(deployment, "/spec/progressDeadlineSeconds", 600) as f64;
    Some((deadline - seconds_since(progressing, "/lastUpdateTime")?).max(0.0) + 0.05)
}

/// Progress renews the time of the condition also when its reason stays, and puts it last.
fn forget_update_time(deployment: &mut Value) {
    let mut conditions = list(deployment, "/status/conditions").to_vec();
    conditions.sort_by_key(|condition| text(condition, "/type") == "Progressing");
    for condition in conditions.iter_mut().filter(|c| text(c, "/type") == "Progressing") {
        if text(condition, "/reason") == "ReplicaSetUpdated" {
            set(condition, &["lastUpdateTime"], object::now());
        }
    }
    set(deployment, &["status", "conditions"], conditions);
}

/// Sets a condition; the same status and reason leave it as it is.
fn set_condition(deployment: &mut Value, kind: &str, status: &str, reason: &str, message: &str) {
    let mut conditions = list(deployment, "/status/conditions").to_vec();
    let now = object::now();
    let mut made = json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastUpdateTime": now, "lastTransitionTime": now,
    });
    let present = conditions.iter().find(|present| text(present, "/type") == kind);
    if let Some(present) = present.filter(|present| text(present, "/status") == status) {
        if text(present, "/reason") == reason {
            return;
        }
        set(&mut made, &["lastTransitionTime"], text(present, "/lastTransitionTime"));
    }
    // As the real one does it: what changed last is last.
    conditions.retain(|present| text(present, "/type") != kind);
    conditions.push(made);
    set(deployment, &["status", "conditions"], conditions);
}

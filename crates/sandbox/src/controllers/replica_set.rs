//! `ReplicaSet`s: as many pods as wanted, the least useful going first.

use crate::json::{Value, json};

use super::Controllers;
use crate::deletion::{self, Propagation};
use crate::object::{
    child, condition, int, is_deleting, list, name, namespace, now, owner_reference, pod_active,
    pod_available, pod_ready, set, text,
};
use crate::quota;
use crate::resource::{PODS, REPLICA_SETS, Resource};
use crate::storage::{Key, Object};

/// How many pods are created in one pass, as the real controller does; the next pass goes on.
pub(super) const BURST: usize = 500;
/// After how many seconds it is tried again to create a pod that was refused.
const RETRY: f64 = 2.0;

impl Controllers {
    pub(super) fn sync_replica_set(&mut self, key: &Key, replica_set: &Value) {
        let mut pods = self.owned(&PODS, replica_set);
        pods.retain(|pod| pod_active(pod));
        let wanted = usize::try_from(int(replica_set, "/spec/replicas", 1)).unwrap_or(0);
        let mut failure = None;
        if !is_deleting(replica_set) {
            for _ in (pods.len()..wanted).take(BURST) {
                let pod_name = format!("{}-{}", name(replica_set), self.suffix());
                let made =
                    self.create_pod(&REPLICA_SETS, replica_set, &pod_name, "replicaset-controller", |_| {});
                if let Err(why) = made {
                    failure = Some(why);
                    break;
                }
            }
            if pods.len() > wanted {
                pods.sort_by_key(|pod| usefulness(pod));
                for pod in pods.iter().take(pods.len() - wanted) {
                    self.delete_pod(replica_set, pod, "replicaset-controller");
                }
            }
        }
        self.write_replica_set_status(key, replica_set, failure.as_deref());
    }

    fn write_replica_set_status(&mut self, key: &Key, replica_set: &Value, failure: Option<&str>) {
        let mut pods = self.owned(&PODS, replica_set);
        pods.retain(|pod| pod_active(pod));
        let min_ready = int(replica_set, "/spec/minReadySeconds", 0);
        let ready = pods.iter().filter(|pod| pod_ready(pod)).count();
        let available = pods.iter().filter(|pod| pod_available(pod, min_ready)).count();
        self.storage.update(key, |object| {
            set(object, &["status", "replicas"], pods.len());
            set(object, &["status", "fullyLabeledReplicas"], pods.len());
            set(object, &["status", "readyReplicas"], ready);
            set(object, &["status", "availableReplicas"], available);
            set(object, &["status", "observedGeneration"], int(replica_set, "/metadata/generation", 1));
            note_failure(object, failure);
            // As the real type writes itself: zeros are left out, but for the first.
            child(object, "status").retain(|field, value| field == "replicas" || value.as_i64() != Some(0));
        });
        if available < ready {
            self.look_again(key, 0.5);
        }
    }

    /// Also says whether the pod was created; else it was there, and nobody's.
    fn admit_and_create(&self, pod: &Value) -> Result<bool, String> {
        let _turn = self.storage.turn();
        let pod_name = name(pod);
        quota::admit(&self.storage, pod).map_err(|why| format!("pods \"{pod_name}\" is forbidden: {why}"))?;
        let made = self.create_or_adopt(&PODS, pod).map(|(_, made)| made);
        made.ok_or_else(|| format!("pods \"{pod_name}\" already exists"))
    }

    /// Creates a pod from a workload's template, or says why it may not be, and looks again some time later.
    pub(super) fn create_pod(
        &mut self,
        resource: &'static Resource,
        owner: &Value,
        pod_name: &str,
        component: &str,
        adjust: impl FnOnce(&mut Value),
    ) -> Result<(), String> {
        let mut pod = owner.pointer("/spec/template").cloned().unwrap_or_else(|| json!({}));
        set(&mut pod, &["metadata", "name"], pod_name);
        set(&mut pod, &["metadata", "namespace"], namespace(owner));
        set(&mut pod, &["metadata", "ownerReferences"], json!([owner_reference(resource, owner)]));
        set(&mut pod, &["metadata", "generateName"], format!("{}-", name(owner)));
        adjust(&mut pod);
        crate::rules::apply_defaults(&PODS, &mut pod);
        let set_name = name(owner);
        let numbered = resource.kind == "StatefulSet";
        let made = self.admit_and_create(&pod);
        if let Err(why) = &made {
            let message = if numbered {
                format!("create Pod {pod_name} in StatefulSet {set_name} failed error: {why}")
            } else {
                format!("Error creating: {why}")
            };
            self.event(owner, "Warning", "FailedCreate", &message, component);
            self.look_again(&Key::of(resource, owner), RETRY);
        }
        if made? {
            let message = if numbered {
                format!("create Pod {pod_name} in StatefulSet {set_name} successful")
            } else {
                format!("Created pod: {pod_name}")
            };
            self.event(owner, "Normal", "SuccessfulCreate", &message, component);
        }
        Ok(())
    }

    /// Deletes a pod that its workload no longer wants.
    pub(super) fn delete_pod(&mut self, owner: &Value, pod: &Object, component: &str) {
        deletion::delete(&self.storage, &Key::of(&PODS, pod), None, Propagation::Background);
        let message = match text(owner, "/kind") {
            "StatefulSet" => format!("delete Pod {} in StatefulSet {} successful", name(pod), name(owner)),
            _ => format!("Deleted pod: {}", name(pod)),
        };
        self.event(owner, "Normal", "SuccessfulDelete", &message, component);
    }
}

/// Says in the status that pods cannot be created, and why at first; or no longer.
fn note_failure(replica_set: &mut Value, failure: Option<&str>) {
    let known = condition(replica_set, "ReplicaFailure").is_some();
    match failure {
        Some(why) if !known => {
            let condition = json!({
                "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": why,
                "lastTransitionTime": now(),
            });
            set(replica_set, &["status", "conditions"], json!([condition]));
        }
        None if known => _ = child(replica_set, "status").remove("conditions"),
        Some(_) | None => {}
    }
}

/// The order in which pods are given up: unplaced, pending, unready, restarted, young.
fn usefulness(pod: &Value) -> (bool, bool, bool, i64, std::cmp::Reverse<String>) {
    let restarts =
        list(pod, "/status/containerStatuses").iter().map(|c| int(c, "/restartCount", 0)).sum::<i64>();
    (
        !text(pod, "/spec/nodeName").is_empty(),
        text(pod, "/status/phase") == "Running",
        pod_ready(pod),
        -restarts,
        std::cmp::Reverse(text(pod, "/metadata/creationTimestamp").to_owned()),
    )
}

//! `StatefulSet`s: pods with a number, made upwards and replaced downwards, one at a time.

use crate::json::{Value, json};

use super::Controllers;
use super::replica_set::BURST;
use super::revisions::{self, LABEL};
use crate::object::{int, is_deleting, name, pod_available, pod_ready, set, text};
use crate::resource::{CONTROLLER_REVISIONS, PODS, STATEFUL_SETS};
use crate::storage::{Key, Object};

const COMPONENT: &str = "statefulset-controller";

/// The two revisions between which a rolling update moves.
struct Revisions {
    current: Object,
    update: Object,
}

impl Controllers {
    pub(super) fn sync_stateful_set(&mut self, key: &Key, set: &Object) {
        let Some(update) = self.update_revision(&STATEFUL_SETS, set) else { return };
        let current = self.owned(&CONTROLLER_REVISIONS, set);
        let current = current.into_iter().find(|r| name(r) == text(set, "/status/currentRevision"));
        let revisions = Revisions { current: current.unwrap_or_else(|| update.clone()), update };
        if !is_deleting(set) {
            self.advance_stateful_set(set, &revisions);
        }
        self.write_stateful_set_status(key, set, &revisions);
    }

    /// Takes at most one step, unless the pods are managed in parallel.
    fn advance_stateful_set(&mut self, set: &Object, revisions: &Revisions) {
        let wanted = int(set, "/spec/replicas", 1);
        let min_ready = int(set, "/spec/minReadySeconds", 0);
        let parallel = text(set, "/spec/podManagementPolicy") == "Parallel";
        let healthy = |pod: &Value| !is_deleting(pod) && pod_available(pod, min_ready);
        let mut pods = self.owned(&PODS, set);
        pods.sort_by_key(|pod| ordinal(pod));
        let at = |number: i64| pods.iter().find(|pod| ordinal(pod) == number);

        let mut created = 0;
        for number in 0..wanted {
            match at(number) {
                None => {
                    self.create_numbered(set, number, revisions);
                    created += 1;
                    if !parallel || created == BURST {
                        return;
                    }
                }
                Some(pod) if matches!(text(pod, "/status/phase"), "Failed" | "Succeeded") => {
                    self.delete_pod(set, pod, COMPONENT);
                    return;
                }
                Some(pod) if !parallel && !healthy(pod) => return,
                Some(_) => {}
            }
        }
        let mut surplus: Vec<&Object> = pods.iter().filter(|pod| ordinal(pod) >= wanted).collect();
        surplus.reverse();
        for pod in surplus {
            if !is_deleting(pod) {
                self.delete_pod(set, pod, COMPONENT);
            }
            if !parallel {
                return;
            }
        }
        if text(set, "/spec/updateStrategy/type") == "OnDelete" {
            return;
        }
        let partition = int(set, "/spec/updateStrategy/rollingUpdate/partition", 0);
        for number in (partition..wanted).rev() {
            let Some(pod) = at(number) else { return };
            if !revisions::is_at(pod, set, name(&revisions.update)) && !is_deleting(pod) {
                self.delete_pod(set, pod, COMPONENT);
                return;
            }
            if !healthy(pod) {
                return;
            }
        }
    }

    fn create_numbered(&mut self, set: &Object, number: i64, revisions: &Revisions) {
        let rolling = text(set, "/spec/updateStrategy/type") == "RollingUpdate";
        let partition = int(set, "/spec/updateStrategy/rollingUpdate/partition", 0);
        let revision = if rolling && number < partition { &revisions.current } else { &revisions.update };
        let mut owner = (**set).clone();
        if let Some(template) = revision.pointer("/data/spec/template") {
            crate::object::set(&mut owner, &["spec", "template"], template.clone());
        }
        let (pod_name, revision) = (format!("{}-{number}", name(set)), name(revision).to_owned());
        // What is refused is tried again.
        let _ = self.create_pod(&STATEFUL_SETS, &owner, &pod_name, COMPONENT, |pod| {
            let labels = &["metadata", "labels"];
            for (label, value) in [
                (LABEL, revision.as_str()),
                ("statefulset.kubernetes.io/pod-name", pod_name.as_str()),
                ("apps.kubernetes.io/pod-index", number.to_string().as_str()),
            ] {
                crate::object::set(pod, &[labels.as_slice(), &[label]].concat(), value);
            }
            crate::object::set(pod, &["spec", "hostname"], pod_name.clone());
            if !text(set, "/spec/serviceName").is_empty() {
                crate::object::set(pod, &["spec", "subdomain"], text(set, "/spec/serviceName"));
            }
            if let Some(pod) = pod.as_object_mut() {
                // How the revision is to be applied is nothing of the pod's.
                pod.remove("$patch");
            }
        });
    }

    fn write_stateful_set_status(&mut self, key: &Key, set_object: &Object, revisions: &Revisions) {
        let mut pods = self.owned(&PODS, set_object);
        let wanted = int(set_object, "/spec/replicas", 1);
        let min_ready = int(set_object, "/spec/minReadySeconds", 0);
        let (current, update) = (name(&revisions.current), name(&revisions.update));
        let count = |test: &dyn Fn(&Value) -> bool| pods.iter().filter(|pod| test(pod)).count() as i64;
        let living = |pod: &Value| !is_deleting(pod);
        let ready = count(&|pod| pod_ready(pod));
        let available = count(&|pod| living(pod) && pod_available(pod, min_ready));
        let at_current = count(&|pod| living(pod) && revisions::is_at(pod, set_object, current));
        let updated = count(&|pod| living(pod) && revisions::is_at(pod, set_object, update));
        let replicas = pods.len() as i64;
        let observed = int(set_object, "/metadata/generation", 1);
        let rolling = text(set_object, "/spec/updateStrategy/type") == "RollingUpdate";
        let complete = rolling && [updated, replicas, ready] == [wanted; 3];
        let (current, at_current) = if complete { (update, updated) } else { (current, at_current) };
        self.storage.update(key, |object| {
            let mut status = json!({
                "observedGeneration": observed, "replicas": replicas,
                "readyReplicas": ready, "availableReplicas": available, "currentReplicas": at_current,
                "updatedReplicas": updated, "currentRevision": current, "updateRevision": update,
                "collisionCount": 0,
            });
            if let Some(fields) = status.as_object_mut() {
                let kept = ["collisionCount", "replicas", "availableReplicas"];
                fields.retain(|field, value| value.as_i64() != Some(0) || kept.contains(&field));
            }
            set(object, &["status"], status);
        });
        if available < ready && min_ready > 0 {
            self.look_again(key, 0.5);
        }
        pods.sort_by_key(|pod| ordinal(pod));
        self.trim_revisions(set_object, &pods, &[current, update]);
    }
}

fn ordinal(pod: &Value) -> i64 {
    name(pod).rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(i64::MAX)
}

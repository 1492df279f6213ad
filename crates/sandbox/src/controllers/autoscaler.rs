//! `HorizontalPodAutoscaler`s: the number of replicas is kept between the minimum and the maximum.
//!
//! The rules are the autoscaling controller's (`pkg/controller/podautoscaler/horizontal.go` of Kubernetes) in a cluster
//! without metrics, which this is: between the two nothing is known, and so nothing is done. It looks as soon as something
//! has changed, where Kubernetes looks every 15 s.

use crate::json::{Value, json};

use super::Controllers;
use crate::object::{annotation, int, namespace, now, set, text};
use crate::resource::{AUTOSCALERS, DEPLOYMENTS, REPLICA_SETS, Resource, STATEFUL_SETS};
use crate::server::Status;
use crate::storage::Key;

/// The annotation in which `autoscaling/v1` has the conditions.
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const COMPONENT: &str = "horizontal-pod-autoscaler";
/// What has a scale.
const SCALABLE: [&Resource; 3] = [&DEPLOYMENTS, &STATEFUL_SETS, &REPLICA_SETS];

/// What is to be done about a number of replicas.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    /// Somebody has scaled it to none, which switches the autoscaler off.
    Off,
    /// To this number, for this reason.
    Rescale(i64, &'static str),
    /// That is for metrics to say.
    Unknown,
}

fn course(replicas: i64, min: i64, max: i64) -> Course {
    match replicas {
        0 if min != 0 => Course::Off,
        more if more > max => Course::Rescale(max, "Current number of replicas above Spec.MaxReplicas"),
        less if less < min => Course::Rescale(min, "Current number of replicas below Spec.MinReplicas"),
        _ => Course::Unknown,
    }
}

impl Controllers {
    /// What changes of a workload concerns its autoscaler.
    pub(super) fn enqueue_autoscalers(&mut self, changed: &Key) {
        if !SCALABLE.contains(&changed.resource) {
            return;
        }
        for autoscaler in self.storage.list(&AUTOSCALERS, &changed.namespace) {
            if target(&autoscaler).as_ref() == Some(changed) {
                self.enqueue(Key::of(&AUTOSCALERS, &autoscaler));
            }
        }
    }

    pub(super) fn sync_autoscaler(&mut self, key: &Key, autoscaler: &Value) {
        let found = target(autoscaler).and_then(|target| Some((self.storage.get(&target)?, target)));
        let Some((workload, target)) = found else {
            let why = no_scale(autoscaler);
            let message = format!("the HPA controller was unable to get the target's current scale: {why}");
            let said = self.say(key, &[("AbleToScale", false, "FailedGetScale", &message)], |_| {});
            if said {
                self.event(autoscaler, "Warning", "FailedGetScale", &why, COMPONENT);
            }
            return;
        };
        let able = "the HPA controller was able to get the target's current scale";
        let able = ("AbleToScale", true, "SucceededGetScale", able);
        let replicas = int(&workload, "/spec/replicas", 1);
        let (min, max) = (int(autoscaler, "/spec/minReplicas", 1), int(autoscaler, "/spec/maxReplicas", 1));
        match course(replicas, min, max) {
            Course::Off => {
                let why = "scaling is disabled since the replica count of the target is zero";
                self.say(key, &[able, ("ScalingActive", false, "ScalingDisabled", why)], |status| {
                    set(status, &["currentReplicas"], 0);
                    set(status, &["desiredReplicas"], 0);
                });
            }
            Course::Unknown => {
                let why = "the HPA was unable to compute the replica count: unable to get metrics for resource cpu: unable to \
                           fetch metrics from resource metrics API: the server could not find the requested resource (get \
                           pods.metrics.k8s.io)";
                self.say(key, &[able, ("ScalingActive", false, "FailedGetResourceMetric", why)], |status| {
                    set(status, &["currentReplicas"], replicas);
                });
            }
            Course::Rescale(wanted, reason) => {
                self.storage.update(&target, |workload| {
                    // Somebody may have scaled it since it was looked at: then it is looked at again.
                    if int(workload, "/spec/replicas", 1) == replicas {
                        set(workload, &["spec", "replicas"], wanted);
                    }
                });
                let message = format!("New size: {wanted}; reason: {reason}");
                self.event(autoscaler, "Normal", "SuccessfulRescale", &message, COMPONENT);
                let done = format!("the HPA controller was able to update the target scale to {wanted}");
                self.say(key, &[("AbleToScale", true, "SucceededRescale", &done)], |status| {
                    set(status, &["currentReplicas"], replicas);
                    set(status, &["desiredReplicas"], wanted);
                    set(status, &["lastScaleTime"], now());
                });
            }
        }
    }

    /// Writes conditions, of which others are left alone, and more of the status. Says whether one of them is new or not
    /// what it was.
    fn say(&self, key: &Key, said: &[(&str, bool, &str, &str)], more: impl FnOnce(&mut Value)) -> bool {
        let mut news = false;
        self.storage.update(key, |autoscaler| {
            let known = annotation(autoscaler, CONDITIONS).and_then(|known| serde_json::from_str(known).ok());
            let mut conditions: Vec<Value> = known.unwrap_or_default();
            for (kind, holds, reason, message) in said {
                let status = if *holds { "True" } else { "False" };
                let at = conditions.iter().position(|known| text(known, "/type") == *kind);
                let before = at.and_then(|at| conditions.get_mut(at));
                let since = before.as_ref().filter(|before| text(before, "/status") == status);
                news |= since.is_none();
                let since = since.map_or_else(now, |known| text(known, "/lastTransitionTime").to_owned());
                let condition = json!({
                    "type": kind, "status": status, "lastTransitionTime": since, "reason": reason,
                    "message": message,
                });
                match before {
                    Some(before) => *before = condition,
                    None => conditions.push(condition),
                }
            }
            let written = Value::from(conditions).to_string();
            set(autoscaler, &["metadata", "annotations", CONDITIONS], written);
            let mut status = autoscaler.get("status").cloned().unwrap_or_default();
            more(&mut status);
            set(autoscaler, &["status"], status);
        });
        news
    }
}

/// What an autoscaler scales, if it is of a kind that can be scaled here.
fn target(autoscaler: &Value) -> Option<Key> {
    let at = |field: &str| text(autoscaler, &format!("/spec/scaleTargetRef/{field}"));
    let group = at("apiVersion").split_once('/').map_or("", |(group, _)| group);
    let resource = SCALABLE.into_iter().find(|known| known.kind == at("kind") && known.group == group)?;
    Some(Key::new(resource, namespace(autoscaler), at("name")))
}

/// Why there is no scale, as the API server words it.
fn no_scale(autoscaler: &Value) -> String {
    if let Some(Key { resource, name, .. }) = target(autoscaler) {
        return Status::not_found(resource, &name).of_scale(resource).to_string();
    }
    let at = |field: &str| text(autoscaler, &format!("/spec/scaleTargetRef/{field}"));
    let group = at("apiVersion").split_once('/').map_or("", |(group, _)| group);
    format!("no matches for kind \"{}\" in group \"{group}\"", at("kind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_between_the_two_and_none_is_left_alone() {
        let (below, above) = (
            "Current number of replicas below Spec.MinReplicas",
            "Current number of replicas above Spec.MaxReplicas",
        );
        for (replicas, expected) in [
            (0, Course::Off),
            (1, Course::Rescale(2, below)),
            (2, Course::Unknown),
            (5, Course::Unknown),
            (6, Course::Rescale(5, above)),
        ] {
            assert_eq!(course(replicas, 2, 5), expected, "{replicas}");
        }
    }
}

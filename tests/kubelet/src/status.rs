//! A state as the status of its pod, in the words of the real kubelet.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value, json};

use crate::behaviour::State;

/// How often a crashing container has been restarted when it is in its loop.
pub const RESTARTS: u32 = 3;
/// The kubelet's first back-off is 10 s, and doubles with each restart.
const BACK_OFF: &str = "40s";

/// The strategic merge patch that brings the pod's status to `state`.
pub fn patch(pod: &Pod, state: State, now: Timestamp) -> Value {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let ready = state == State::Ready;
    let pulled = !matches!(state, State::PullFailed | State::PullBackOff);
    let containers = containers(pod);
    let status: Vec<Value> =
        containers.iter().map(|container| container_status(pod, container, state, &now)).collect();
    json!({"status": {
        "phase": if pulled { "Running" } else { "Pending" },
        "hostIP": "127.0.0.1",
        "podIP": address(pod),
        "podIPs": [{"ip": address(pod)}],
        "startTime": now,
        "conditions": conditions(containers, ready, &now),
        "containerStatuses": status,
    }})
}

/// The pod's containers.
pub(crate) fn containers(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().map_or(&[], |spec| &spec.containers)
}

fn conditions(containers: &[Container], ready: bool, now: &str) -> Value {
    let fine = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let names: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    let of_containers = |kind: &str| {
        if ready {
            // A null removes the reason that an earlier state gave.
            return json!({"type": kind, "status": "True", "lastTransitionTime": now, "reason": null, "message": null});
        }
        json!({
            "type": kind,
            "status": "False",
            "reason": "ContainersNotReady",
            "message": format!("containers with unready status: [{}]", names.join(" ")),
            "lastTransitionTime": now,
        })
    };
    json!([
        fine("Initialized"),
        of_containers("Ready"),
        of_containers("ContainersReady"),
        fine("PodScheduled")
    ])
}

fn container_status(pod: &Pod, container: &Container, state: State, now: &str) -> Value {
    let image = container.image.as_deref().unwrap_or_default();
    let ended = |exit_code: i32| {
        json!({"terminated": {
            "exitCode": exit_code,
            "reason": if exit_code == 0 { "Completed" } else { "Error" },
            "startedAt": now,
            "finishedAt": now,
            "containerID": id(pod, container),
        }})
    };
    let waiting = |reason: &str, message: String| json!({"waiting": {"reason": reason, "message": message}});
    let running = || json!({"running": {"startedAt": now}});
    let (current, last, restarts) = match state {
        State::Ready | State::Starting | State::Unhealthy => (running(), json!({}), 0),
        State::Crashed { exit_code } => (ended(exit_code), json!({}), RESTARTS - 1),
        State::CrashLoop { exit_code } => {
            (waiting("CrashLoopBackOff", crash_loop(pod, container)), ended(exit_code), RESTARTS)
        }
        State::PullFailed => (waiting("ErrImagePull", pull_error(image)), json!({}), 0),
        State::PullBackOff => (waiting("ImagePullBackOff", pull_back_off(image)), json!({}), 0),
    };
    let pulled = !matches!(state, State::PullFailed | State::PullBackOff);
    json!({
        "name": container.name,
        "image": image,
        "imageID": if pulled { image } else { "" },
        "containerID": if pulled { id(pod, container) } else { String::new() },
        "ready": state == State::Ready,
        "started": matches!(state, State::Ready | State::Starting | State::Unhealthy),
        "restartCount": restarts,
        "state": current,
        "lastState": last,
    })
}

/// What the kubelet says of a container that it will not start again yet.
fn crash_loop(pod: &Pod, container: &Container) -> String {
    let meta = &pod.metadata;
    format!(
        "back-off {BACK_OFF} restarting failed container={} pod={}_{}({})",
        container.name,
        meta.name.as_deref().unwrap_or_default(),
        meta.namespace.as_deref().unwrap_or_default(),
        meta.uid.as_deref().unwrap_or_default()
    )
}

/// What containerd says of an image that its registry does not have.
pub(crate) fn pull_error(image: &str) -> String {
    format!(
        "rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": failed to resolve \
         reference \"{image}\": {image}: not found"
    )
}

/// What the kubelet says of an image that it will not pull again yet.
pub(crate) fn pull_back_off(image: &str) -> String {
    format!("Back-off pulling image \"{image}\"")
}

/// An address of the pod's own, in the pods' network of the node; nothing listens there.
fn address(pod: &Pod) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let hash = uid.bytes().fold(17_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    format!("10.244.{}.{}", hash >> 8 & 0xff, 1 + hash % 254)
}

fn id(pod: &Pod, container: &Container) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    format!("containerd://{uid}-{}", container.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "webapp-1", "namespace": "shop", "uid": "u-1"},
            "spec": {"containers": [{"name": "app", "image": "shop/webapp:7"}, {"name": "proxy", "image": "p"}]},
        }))
        .unwrap()
    }

    /// The status of the first container, and the whole patch.
    fn first(state: State) -> (Value, Value) {
        let patch = patch(&pod(), state, "2026-01-02T03:04:05.678Z".parse().unwrap());
        (patch["status"]["containerStatuses"][0].clone(), patch)
    }

    #[test]
    fn each_state_has_the_kubelets_words() {
        for (state, phase, ready, restarts, pointer, value) in [
            (State::Ready, "Running", true, 0, "/state/running/startedAt", json!("2026-01-02T03:04:05Z")),
            (State::Starting, "Running", false, 0, "/state/running/startedAt", json!("2026-01-02T03:04:05Z")),
            (State::Unhealthy, "Running", false, 0, "/started", json!(true)),
            (State::Crashed { exit_code: 7 }, "Running", false, 2, "/state/terminated/exitCode", json!(7)),
            (
                State::Crashed { exit_code: 0 },
                "Running",
                false,
                2,
                "/state/terminated/reason",
                json!("Completed"),
            ),
            (
                State::CrashLoop { exit_code: 1 },
                "Running",
                false,
                3,
                "/state/waiting/reason",
                json!("CrashLoopBackOff"),
            ),
            (
                State::CrashLoop { exit_code: 1 },
                "Running",
                false,
                3,
                "/state/waiting/message",
                json!("back-off 40s restarting failed container=app pod=webapp-1_shop(u-1)"),
            ),
            (
                State::CrashLoop { exit_code: 1 },
                "Running",
                false,
                3,
                "/lastState/terminated/reason",
                json!("Error"),
            ),
            (
                State::CrashLoop { exit_code: 9 },
                "Running",
                false,
                3,
                "/lastState/terminated/exitCode",
                json!(9),
            ),
            (State::PullFailed, "Pending", false, 0, "/state/waiting/reason", json!("ErrImagePull")),
            (State::PullBackOff, "Pending", false, 0, "/state/waiting/reason", json!("ImagePullBackOff")),
            (
                State::PullBackOff,
                "Pending",
                false,
                0,
                "/state/waiting/message",
                json!("Back-off pulling image \"shop/webapp:7\""),
            ),
        ] {
            let (container, patch) = first(state);
            assert_eq!(patch["status"]["phase"], phase, "{state:?}");
            assert_eq!(container["ready"], ready, "{state:?}");
            assert_eq!(container["restartCount"], restarts, "{state:?}");
            assert_eq!(container.pointer(pointer), Some(&value), "{state:?} {pointer}");
        }
    }

    #[test]
    fn the_conditions_say_which_containers_are_not_ready() {
        let condition = |state| {
            let (_, patch) = first(state);
            let conditions = patch["status"]["conditions"].as_array().unwrap().clone();
            conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap()
        };
        let unready = condition(State::Unhealthy);
        assert_eq!(unready["status"], "False");
        assert_eq!(unready["reason"], "ContainersNotReady");
        assert_eq!(unready["message"], "containers with unready status: [app proxy]");
        assert_eq!(condition(State::Ready)["status"], "True");
    }

    #[test]
    fn pods_have_addresses_of_their_own() {
        let mut other = pod();
        other.metadata.uid = Some("u-2".to_owned());
        assert_ne!(address(&pod()), address(&other));
        assert!(address(&pod()).starts_with("10.244."));
    }
}

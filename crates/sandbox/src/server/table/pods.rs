//! The rows of pods: what one word says of all that can go on in them.

use crate::json::Value;

use super::words::{age, or_none};
use super::{AGE, Column, NAME};
use crate::object::{condition_true, flag, int, is_deleting, list, text};

pub(super) fn columns() -> Vec<Column> {
    vec![
        NAME,
        Column::text("Ready", |o| {
            let ready = list(o, "/status/containerStatuses").iter().filter(|c| serves(c)).count();
            format!("{ready}/{}", list(o, "/spec/containers").len()).into()
        }),
        Column::text("Status", |o| status(o).into()),
        Column::text("Restarts", restarts),
        AGE,
        Column::wide("IP", |o| or_none(text(o, "/status/podIP")).into()),
        Column::wide("Node", |o| or_none(text(o, "/spec/nodeName")).into()),
        Column::wide("Nominated Node", |o| or_none(text(o, "/status/nominatedNodeName")).into()),
        Column::wide("Readiness Gates", readiness_gates),
    ]
}

fn serves(container: &Value) -> bool {
    flag(container, "/ready") && container.pointer("/state/running").is_some()
}

fn status(pod: &Value) -> String {
    let said = text(pod, "/status/reason");
    if is_deleting(pod) {
        return if said == "NodeLost" { "Unknown" } else { "Terminating" }.into();
    }
    if let Some(reason) = initializing(pod) {
        return reason;
    }
    let containers = list(pod, "/status/containerStatuses");
    let reason = containers.iter().find_map(of_container);
    match reason {
        Some(reason) if reason == "Completed" && containers.iter().any(serves) => {
            if condition_true(pod, "Ready") { "Running" } else { "NotReady" }.into()
        }
        Some(reason) => reason,
        None if said.is_empty() => text(pod, "/status/phase").into(),
        None => said.into(),
    }
}

/// What the first init container that is not done is at.
fn initializing(pod: &Value) -> Option<String> {
    let containers = list(pod, "/status/initContainerStatuses");
    let at = containers.iter().position(|c| int(c, "/state/terminated/exitCode", -1) != 0)?;
    let container = containers.get(at)?;
    let waits = text(container, "/state/waiting/reason");
    let reason = of_container(container).filter(|_| waits != "PodInitializing");
    let progress = || format!("{at}/{}", list(pod, "/spec/initContainers").len());
    Some(format!("Init:{}", reason.unwrap_or_else(progress)))
}

/// Why a container does not run, if it says so.
fn of_container(container: &Value) -> Option<String> {
    let waiting = text(container, "/state/waiting/reason");
    if !waiting.is_empty() {
        return Some(waiting.into());
    }
    let ended = container.pointer("/state/terminated")?;
    Some(match (text(ended, "/reason"), int(ended, "/signal", 0)) {
        ("", 0) => format!("ExitCode:{}", int(ended, "/exitCode", 0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    })
}

/// How often the containers were started again, and when that was last.
fn restarts(pod: &Value) -> Value {
    let field = if initializing(pod).is_some() {
        "/status/initContainerStatuses"
    } else {
        "/status/containerStatuses"
    };
    let containers = list(pod, field);
    let count: i64 = containers.iter().map(|c| int(c, "/restartCount", 0)).sum();
    let ended = "/lastState/terminated/finishedAt";
    let last = containers.iter().max_by_key(|container| text(container, ended));
    match last.filter(|last| count > 0 && !text(last, ended).is_empty()) {
        Some(last) => format!("{count} ({} ago)", age(last, ended)).into(),
        None => count.to_string().into(),
    }
}

fn readiness_gates(pod: &Value) -> Value {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let open = gates.iter().filter(|gate| condition_true(pod, text(gate, "/conditionType"))).count();
    format!("{open}/{}", gates.len()).into()
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;

    #[test]
    fn restarts_say_when_the_last_was() {
        let pod = |count: i64, ended: &str| {
            let container =
                json!({ "restartCount": count, "lastState": { "terminated": { "finishedAt": ended } } });
            json!({ "status": { "containerStatuses": [{ "restartCount": 1 }, container] } })
        };
        let an_hour_ago = (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(60)).to_string();
        assert_eq!(restarts(&pod(2, &an_hour_ago)), json!("3 (60m ago)"));
        assert_eq!(restarts(&pod(2, "")), json!("3"));
        assert_eq!(restarts(&json!({})), json!("0"));
    }

    #[test]
    fn one_word_for_every_state() {
        let running = json!({ "ready": true, "state": { "running": {} } });
        let ended = |reason: &str, code: i32| json!({ "state": { "terminated": { "reason": reason, "exitCode": code } } });
        let waiting = |reason: &str| json!({ "state": { "waiting": { "reason": reason } } });
        let of = |statuses: Value| json!({ "status": { "phase": "Running", "containerStatuses": statuses } });
        let init = |statuses: Value| {
            let spec = json!({ "initContainers": [{}, {}] });
            json!({ "spec": spec, "status": { "phase": "Pending", "initContainerStatuses": statuses } })
        };
        let table = [
            (json!({ "status": { "phase": "Pending" } }), "Pending"),
            (json!({ "status": { "phase": "Failed", "reason": "Evicted" } }), "Evicted"),
            (of(json!([running])), "Running"),
            (of(json!([waiting("CrashLoopBackOff")])), "CrashLoopBackOff"),
            (of(json!([ended("Error", 3)])), "Error"),
            (of(json!([ended("", 3)])), "ExitCode:3"),
            (of(json!([ended("Completed", 0), running])), "NotReady"),
            (init(json!([ended("Completed", 0), waiting("PodInitializing")])), "Init:1/2"),
            (init(json!([ended("Error", 1)])), "Init:Error"),
            (init(json!([waiting("ImagePullBackOff")])), "Init:ImagePullBackOff"),
            (
                json!({ "metadata": { "deletionTimestamp": "x" }, "status": { "phase": "Running" } }),
                "Terminating",
            ),
        ];
        for (pod, expected) in table {
            assert_eq!(status(&pod), expected, "{pod}");
        }
    }
}

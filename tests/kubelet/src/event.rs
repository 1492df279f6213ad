//! A state as the events that the real kubelet would report.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::behaviour::State;
use crate::status;

/// What one event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether it is a warning; a normal event otherwise.
    pub warning: bool,
    /// One word, such as `BackOff`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// How often it has happened.
    pub count: i32,
}

/// The reports on a container with this image that has just come into `state`.
pub fn reports(state: State, image: &str) -> Vec<Report> {
    let warning = |reason, message: String, count| Report { warning: true, reason, message, count };
    let failed = |message: String| warning("Failed", message, 1);
    match state {
        State::Ready | State::Starting | State::Crashed { .. } => Vec::new(),
        State::Unhealthy => {
            vec![warning(
                "Unhealthy",
                "Readiness probe failed: HTTP probe failed with statuscode: 503".to_owned(),
                3,
            )]
        }
        State::CrashLoop { .. } => {
            vec![warning(
                "BackOff",
                "Back-off restarting failed container".to_owned(),
                status::RESTARTS.cast_signed(),
            )]
        }
        State::PullFailed => vec![
            failed(format!("Failed to pull image \"{image}\": {}", status::pull_error(image))),
            failed("Error: ErrImagePull".to_owned()),
        ],
        State::PullBackOff => vec![
            Report { warning: false, reason: "BackOff", message: status::pull_back_off(image), count: 1 },
            failed("Error: ImagePullBackOff".to_owned()),
        ],
    }
}

/// The events on every container of the pod.
pub(crate) fn events(pod: &Pod, state: State, node: &str, now: Timestamp) -> Vec<Event> {
    let containers = status::containers(pod).iter();
    let reports = containers.flat_map(|container| {
        let image = container.image.as_deref().unwrap_or_default();
        reports(state, image).into_iter().map(|report| (container.name.as_str(), report))
    });
    reports
        .enumerate()
        .map(|(number, (container, report))| event(pod, container, report, node, now, number))
        .collect()
}

fn event(pod: &Pod, container: &str, report: Report, node: &str, now: Timestamp, number: usize) -> Event {
    let meta = &pod.metadata;
    let name = meta.name.as_deref().unwrap_or_default();
    let mut event = Event {
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: Some(format!("spec.containers{{{container}}}")),
        },
        type_: Some(if report.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(report.reason.to_owned()),
        message: Some(report.message),
        count: Some(report.count),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource { component: Some("kubelet".to_owned()), host: Some(node.to_owned()) }),
        ..Event::default()
    };
    // As client-go names them: the object, and the time in nanoseconds.
    event.metadata.name = Some(format!("{name}.{:x}", now.as_nanosecond() + number as i128));
    event.metadata.namespace.clone_from(&meta.namespace);
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_wrong_is_reported() {
        for (state, expected) in [
            (State::Ready, vec![]),
            (State::Starting, vec![]),
            (State::Unhealthy, vec![(true, "Unhealthy", "Readiness probe failed")]),
            (
                State::CrashLoop { exit_code: 1 },
                vec![(true, "BackOff", "Back-off restarting failed container")],
            ),
            (
                State::PullFailed,
                vec![
                    (true, "Failed", "Failed to pull image \"x:1\": rpc error"),
                    (true, "Failed", "Error: ErrImagePull"),
                ],
            ),
            (
                State::PullBackOff,
                vec![
                    (false, "BackOff", "Back-off pulling image \"x:1\""),
                    (true, "Failed", "Error: ImagePullBackOff"),
                ],
            ),
        ] {
            let reports = reports(state, "x:1");
            assert_eq!(reports.len(), expected.len(), "{state:?}");
            for (report, (warning, reason, message)) in reports.iter().zip(expected) {
                assert_eq!((report.warning, report.reason), (warning, reason), "{state:?}");
                assert!(report.message.starts_with(message), "{state:?}: {}", report.message);
            }
        }
    }

    #[test]
    fn events_point_at_the_container_and_have_names_of_their_own() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "webapp-1", "namespace": "shop", "uid": "u-1"},
            "spec": {"containers": [{"name": "app", "image": "x:1"}, {"name": "proxy", "image": "y:2"}]},
        }))
        .unwrap();
        let events = events(&pod, State::PullFailed, "stand-in", Timestamp::UNIX_EPOCH);
        let names: std::collections::BTreeSet<_> =
            events.iter().map(|event| event.metadata.name.clone()).collect();
        assert_eq!((events.len(), names.len()), (4, 4));
        assert_eq!(events[0].involved_object.field_path.as_deref(), Some("spec.containers{app}"));
        assert_eq!(events[3].involved_object.uid.as_deref(), Some("u-1"));
    }
}

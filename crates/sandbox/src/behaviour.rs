//! What a pod does once it is placed. Its annotations say, so that one deployment can be healthy until it is
//! restarted: `sandbox.astradesk.dev/behaviour`, and `sandbox.astradesk.dev/behaviour-once-restarted`, which
//! takes its place when the pod also carries `kubectl.kubernetes.io/restartedAt`.

use crate::json::Value;

use crate::object::{annotation, list, name, text};

pub(crate) const BEHAVIOUR: &str = "sandbox.astradesk.dev/behaviour";
const ONCE_RESTARTED: &str = "sandbox.astradesk.dev/behaviour-once-restarted";
const LOGS: &str = "sandbox.astradesk.dev/logs";
pub(crate) const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// How a pod's containers fare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Behaviour {
    /// `ready`: they start, and soon serve. What is said nothing about does the same.
    Ready,
    /// `slow:SECONDS`: they serve after that time, which the pace does not stretch.
    Slow(f64),
    /// `crash:EXIT_CODE`: they exit, again and again.
    Crash(i32),
    /// `image-pull`: their image is not to be had.
    ImagePull,
    /// `never-ready`: they run, and their readiness probe fails.
    NeverReady,
    /// `flaky:SECONDS`: they serve for so long, then fail their readiness probe for so long, and so on.
    Flaky(f64),
    /// `unschedulable`: no node takes the pod.
    Unschedulable,
}

impl Behaviour {
    /// What this pod's annotations ask for.
    pub(crate) fn of(pod: &Value) -> Behaviour {
        let restarted = annotation(pod, RESTARTED_AT).and_then(|_| annotation(pod, ONCE_RESTARTED));
        let wanted = restarted.or_else(|| annotation(pod, BEHAVIOUR)).unwrap_or("ready");
        Behaviour::parse(wanted).unwrap_or_else(|| {
            tracing::warn!(pod = name(pod), behaviour = wanted, "unknown behaviour, taken as `ready`");
            Behaviour::Ready
        })
    }

    pub(crate) fn parse(text: &str) -> Option<Behaviour> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("ready", "") => Some(Behaviour::Ready),
            ("image-pull", "") => Some(Behaviour::ImagePull),
            ("never-ready", "") => Some(Behaviour::NeverReady),
            ("unschedulable", "") => Some(Behaviour::Unschedulable),
            ("slow", time) => seconds(time).map(Behaviour::Slow),
            ("flaky", time) => seconds(time).filter(|s| *s >= 0.1).map(Behaviour::Flaky),
            ("crash", code) => code.parse().ok().map(Behaviour::Crash),
            _ => None,
        }
    }

    /// The lines that the pod wrote: its annotation's, or some that fit what it does.
    pub(crate) fn log_lines(self, pod: &Value) -> Vec<String> {
        if let Some(lines) = annotation(pod, LOGS) {
            return lines.lines().map(str::to_owned).collect();
        }
        let app = list(pod, "/spec/containers").first().map_or("app", |container| text(container, "/name"));
        let lines: &[&str] = match self {
            Behaviour::Ready => {
                &["INFO starting", "INFO connected to the database", "INFO listening on 0.0.0.0:8080"]
            }
            Behaviour::Slow(_) => &["INFO starting", "INFO warming the cache, this takes a while"],
            Behaviour::Crash(_) => &[
                "INFO starting",
                "INFO reading the configuration from the environment",
                "thread 'main' panicked at src/config.rs:41:47:",
                "environment variable `DATABASE_URL` must be set: NotPresent",
                "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
            ],
            Behaviour::ImagePull | Behaviour::Unschedulable => &[],
            Behaviour::NeverReady | Behaviour::Flaky(_) => &[
                "INFO starting",
                "INFO listening on 0.0.0.0:8080",
                "WARN /healthz answers 503: upstream `ledger:5432` refuses connections",
            ],
        };
        lines.iter().map(|line| format!("[{app}] {line}")).collect()
    }
}

fn seconds(text: &str) -> Option<f64> {
    text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds))
}

/// Whether a node is to be down: its annotation `sandbox.astradesk.dev/behaviour` is `down`.
pub(crate) fn is_down(node: &Value) -> bool {
    annotation(node, BEHAVIOUR) == Some("down")
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;

    #[test]
    fn annotations_decide() {
        let table = [
            (json!({}), Behaviour::Ready),
            (json!({ BEHAVIOUR: "slow:2.5" }), Behaviour::Slow(2.5)),
            (json!({ BEHAVIOUR: "crash:137" }), Behaviour::Crash(137)),
            (json!({ BEHAVIOUR: "flaky:0.5" }), Behaviour::Flaky(0.5)),
            (json!({ BEHAVIOUR: "flaky:0" }), Behaviour::Ready),
            (json!({ BEHAVIOUR: "unschedulable" }), Behaviour::Unschedulable),
            (json!({ BEHAVIOUR: "never-ready", ONCE_RESTARTED: "image-pull" }), Behaviour::NeverReady),
            (
                json!({ BEHAVIOUR: "ready", ONCE_RESTARTED: "image-pull", RESTARTED_AT: "x" }),
                Behaviour::ImagePull,
            ),
            (json!({ BEHAVIOUR: "crash:3", RESTARTED_AT: "x" }), Behaviour::Crash(3)),
            (json!({ BEHAVIOUR: "slow:-1" }), Behaviour::Ready),
            (json!({ BEHAVIOUR: "nonsense" }), Behaviour::Ready),
        ];
        for (annotations, expected) in table {
            let pod = json!({ "metadata": { "name": "p", "annotations": annotations } });
            assert_eq!(Behaviour::of(&pod), expected, "{pod}");
        }
    }
}

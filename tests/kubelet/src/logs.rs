//! What a container has written, as the kubelet's `/containerLogs` gives it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::LOGS;
use crate::behaviour::{Behaviour, State};
use crate::status;

/// What the API server asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only so many lines, from the end.
    pub tail_lines: Option<usize>,
    /// Only so many bytes, from the beginning.
    pub limit_bytes: Option<usize>,
    /// Of the container that ran before.
    pub previous: bool,
    /// Each line after the time when it was written.
    pub timestamps: bool,
}

impl Query {
    /// Reads `tailLines=10&previous=true`; what it does not know, or cannot read, it leaves out.
    ///
    /// `follow` is among that: the answer ends with the last line that there is.
    pub fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "tailLines" => parsed.tail_lines = value.parse().ok(),
                "limitBytes" => parsed.limit_bytes = value.parse().ok(),
                "previous" => parsed.previous = value == "true",
                "timestamps" => parsed.timestamps = value == "true",
                _ => {}
            }
        }
        parsed
    }
}

/// The log of one container.
///
/// # Errors
///
/// The kubelet's sentence when there is no log: an unknown container, one that has not started, or a
/// previous one that never was.
pub fn read(
    pod: &Pod,
    container: &str,
    state: Option<State>,
    query: Query,
    now: Timestamp,
) -> Result<String, String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if !status::containers(pod).iter().any(|known| known.name == container) {
        return Err(format!("container {container} is not valid for pod {name}"));
    }
    let waits =
        |why: &str| Err(format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}"));
    match state {
        None => return waits("ContainerCreating"),
        Some(State::PullFailed | State::PullBackOff) => return waits("trying and failing to pull image"),
        Some(State::Ready | State::Starting | State::Unhealthy) if query.previous => {
            return Err(format!("previous terminated container \"{container}\" in pod \"{name}\" not found"));
        }
        Some(_) => {}
    }
    let written = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(LOGS));
    let text = written.cloned().unwrap_or_else(|| usual(container, Behaviour::of(pod).unwrap_or_default()));
    Ok(cut(&text, query, now))
}

/// What a container that behaves so would write.
fn usual(container: &str, behaviour: Behaviour) -> String {
    let rest = match behaviour {
        Behaviour::Ready | Behaviour::Slow(_) | Behaviour::ImagePull => "INFO listening on :8080".to_owned(),
        Behaviour::NeverReady => {
            "INFO listening on :8080\nWARN readiness: cache.internal:6379 does not answer, still waiting"
                .to_owned()
        }
        Behaviour::Crash(code) => format!(
            "INFO connecting to db.internal:5432\nERROR cannot connect to db.internal:5432: connection refused\n\
             FATAL giving up, exit code {code}"
        ),
    };
    format!("INFO starting {container}\n{rest}")
}

fn cut(text: &str, query: Query, now: Timestamp) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skipped = query.tail_lines.map_or(0, |tail| lines.len().saturating_sub(tail));
    let at = if query.timestamps { format!("{now:.9} ") } else { String::new() };
    let mut log = String::new();
    for line in lines.iter().skip(skipped) {
        log.push_str(&at);
        log.push_str(line);
        log.push('\n');
    }
    if let Some(limit) = query.limit_bytes {
        log.truncate(log.floor_char_boundary(limit));
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BEHAVIOUR;

    fn pod(annotation: &str, value: &str) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "webapp-1", "annotations": {annotation: value}},
            "spec": {"containers": [{"name": "app", "image": "x"}]},
        }))
        .unwrap()
    }

    fn read_of(annotation: &str, value: &str, state: Option<State>, query: &str) -> Result<String, String> {
        read(&pod(annotation, value), "app", state, Query::parse(query), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_annotation_is_the_log() {
        for (query, expected) in [
            ("", "one\ntwo\nthrée\n"),
            ("tailLines=2&follow=true", "two\nthrée\n"),
            ("tailLines=0", ""),
            ("tailLines=99", "one\ntwo\nthrée\n"),
            ("tailLines=nonsense", "one\ntwo\nthrée\n"),
            ("limitBytes=5", "one\nt"),
            // Not half of a letter.
            ("tailLines=1&limitBytes=4", "thr"),
            ("tailLines=1&timestamps=true", "1970-01-01T00:00:00.000000000Z thrée\n"),
        ] {
            let log = read_of(LOGS, "one\ntwo\nthrée", Some(State::Ready), query);
            assert_eq!(log.as_deref(), Ok(expected), "{query}");
        }
    }

    #[test]
    fn a_crash_says_why_also_of_the_container_before() {
        let state = Some(State::CrashLoop { exit_code: 3 });
        for query in ["", "previous=true"] {
            let log = read_of(BEHAVIOUR, "crash:3", state, query).unwrap();
            assert!(log.contains("connection refused") && log.ends_with("exit code 3\n"), "{log}");
        }
    }

    #[test]
    fn no_log_has_the_kubelets_reason() {
        for (state, query, reason) in [
            (None, "", "ContainerCreating"),
            (Some(State::PullBackOff), "", "trying and failing to pull image"),
            (
                Some(State::Ready),
                "previous=true",
                "previous terminated container \"app\" in pod \"webapp-1\" not found",
            ),
        ] {
            let error = read_of(BEHAVIOUR, "ready", state, query).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let error = read(&pod("a", "b"), "other", None, Query::default(), Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(error, "container other is not valid for pod webapp-1");
    }
}

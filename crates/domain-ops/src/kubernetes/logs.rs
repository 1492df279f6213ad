//! The logs of a workload's pods: every container's, bounded, and made safe before anything is looked for in them.

use super::cluster::Cluster;
use super::errors::{Failure, Operation};
use super::redact;
use super::workload::PodView;
use astradesk_core::Error;
use astradesk_core::name::Namespace;
use astradesk_core::text::shown;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use regex::Regex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The most containers whose logs are read, and how many at the same time.
pub(crate) const CONTAINERS: usize = 40;
const AT_ONCE: usize = 8;
/// The most bytes of lines that are given, divided among the containers.
pub(crate) const BYTES: usize = 64 * 1024;
/// The most characters of one line.
const LINE: usize = 2000;
/// How many of a container's newest lines are searched.
pub(crate) const SEARCHED: usize = 2000;
/// The most bytes that are read of one container; with fewer lines, if so many do not fit in.
const READ: i64 = 1024 * 1024;
/// How long one container's log may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which lines are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Only those of the last so many seconds.
    pub(crate) since: Option<i64>,
    /// So many of each container, the newest.
    pub(crate) tail: usize,
    /// Of the container that ran before.
    pub(crate) previous: bool,
    /// Only those that match, as they are shown.
    pub(crate) matching: Option<Regex>,
}

/// One container of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) pod: String,
    pub(crate) container: String,
}

/// What one container has written.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) source: Source,
    pub(crate) lines: Vec<String>,
    /// Why some of it, or all, is not there.
    pub(crate) note: Option<String>,
    /// Why there is nothing, if that is a failure.
    pub(crate) error: Option<Error>,
}

/// The containers that have a log, those of pods that are not ready first; and how many have none.
pub(crate) fn sources(pods: &[Arc<PodView>], previous: bool) -> (Vec<Source>, usize) {
    let mut pods: Vec<&PodView> = pods.iter().map(Arc::as_ref).collect();
    pods.sort_by(|a, b| (a.ready, &a.name).cmp(&(b.ready, &b.name)));
    let (mut found, mut without) = (Vec::new(), 0);
    for pod in pods {
        let has_log = |container: &&super::workload::Container| {
            // One that ran before the others and ended well has nothing to tell.
            let done = container.init && container.ended.as_ref().is_some_and(|ended| ended.exit_code == 0);
            let ran = container.running || container.ended.is_some() || container.restarts > 0;
            if previous { container.restarts > 0 } else { ran && !done }
        };
        let before = found.len();
        found.extend(
            pod.containers
                .iter()
                .filter(has_log)
                .map(|container| Source { pod: pod.name.clone(), container: container.name.clone() }),
        );
        without += usize::from(found.len() == before);
    }
    (found, without)
}

/// Reads the logs, in the order of the sources.
pub(crate) async fn read(
    cluster: &Cluster,
    namespace: &Namespace,
    sources: Vec<Source>,
    wanted: &Wanted,
) -> Vec<Log> {
    let share = BYTES / sources.len().max(1);
    let logs = sources.into_iter().map(|source| read_one(cluster, namespace, source, wanted, share));
    stream::iter(logs).buffered(AT_ONCE).collect().await
}

async fn read_one(
    cluster: &Cluster,
    namespace: &Namespace,
    source: Source,
    wanted: &Wanted,
    bytes: usize,
) -> Log {
    let read = fetch(cluster, namespace, &source, wanted);
    let failure = match timeout(PATIENCE, read).await.unwrap_or(Err(Failure::TimedOut)) {
        Ok(text) => {
            let (lines, note) = choose(&text, wanted, bytes);
            return Log { source, lines, note, error: None };
        }
        Err(failure) => failure,
    };
    let gone = failure.is_not_found();
    let error = failure.into_error(&Operation::new("get", "pods/log", namespace.as_str(), &source.pod));
    let note = if gone { "the pod is gone".to_owned() } else { error.message.clone() };
    Log { source, lines: Vec::new(), note: Some(note), error: (!gone).then_some(error) }
}

/// The newest lines, one more than are looked at, so that it is known whether there are earlier ones. The API server cuts
/// off the end of what is too long, so then fewer lines are asked for.
async fn fetch(
    cluster: &Cluster,
    namespace: &Namespace,
    source: &Source,
    wanted: &Wanted,
) -> Result<String, Failure> {
    let requests = cluster.requests();
    let api: Api<Pod> = requests.api(namespace.as_str());
    let operation = Operation::new("get", "pods/log", namespace.as_str(), &source.pod);
    let mut lines = looked_at(wanted) + 1;
    loop {
        let params = LogParams {
            container: Some(source.container.clone()),
            tail_lines: i64::try_from(lines).ok(),
            limit_bytes: Some(READ),
            since_seconds: wanted.since,
            previous: wanted.previous,
            ..LogParams::default()
        };
        let text = requests.read(&operation, || api.logs(&source.pod, &params)).await?;
        let is_cut = i64::try_from(text.len()).is_ok_and(|length| length >= READ);
        if !is_cut || lines == 1 {
            return Ok(text);
        }
        lines = (lines / 8).max(1);
    }
}

/// How many of a container's newest lines are looked at.
fn looked_at(wanted: &Wanted) -> usize {
    if wanted.matching.is_some() { SEARCHED.max(wanted.tail) } else { wanted.tail }
}

/// The lines that are given, and what is said of the others.
fn choose(text: &str, wanted: &Wanted, bytes: usize) -> (Vec<String>, Option<String>) {
    let seen = text.lines().count();
    let looked_at = looked_at(wanted);
    // Made safe before it is searched: nobody finds out a secret by looking for it.
    let mut lines = redact::log(text, looked_at, usize::MAX);
    if let Some(matching) = &wanted.matching {
        lines.retain(|line| matching.is_match(line));
    }
    let found = lines.len();
    let mut left = bytes;
    let mut kept: Vec<String> = Vec::new();
    for line in lines.iter().rev().take(wanted.tail) {
        let line = shown(line, LINE);
        let Some(rest) = left.checked_sub(line.len()) else { break };
        left = rest;
        kept.push(line);
    }
    kept.reverse();
    let note = match (&wanted.matching, kept.len() < found) {
        (Some(_), true) => Some(format!("the newest {} of {found} that match", kept.len())),
        (None, true) => Some(format!("the newest {} lines; earlier ones do not fit in", kept.len())),
        (Some(_), false) if seen > looked_at => {
            Some(format!("only the newest {looked_at} lines were searched"))
        }
        (None, false) if seen > looked_at => Some("there are earlier lines".to_owned()),
        _ => None,
    };
    (kept, note)
}

#[cfg(test)]
mod tests {
    use super::super::rollout::tests::pod;
    use super::super::workload::{Container, Ended};
    use super::*;

    fn wanted(tail: usize, matching: Option<&str>) -> Wanted {
        Wanted { since: None, tail, previous: false, matching: matching.map(|m| Regex::new(m).unwrap()) }
    }

    #[test]
    fn the_newest_lines_are_given_and_it_is_said_what_is_left_out() {
        let long = "x".repeat(40);
        let many = (0..2001).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
        for (text, tail, matching, bytes, expected, note) in [
            ("a\nb\n", 2, None, 100, vec!["a", "b"], None),
            ("a\nb\nc\n", 2, None, 100, vec!["b", "c"], Some("there are earlier lines")),
            ("", 2, None, 100, vec![], None),
            (long.as_str(), 2, None, 30, vec![], Some("the newest 0 lines; earlier ones do not fit in")),
            ("aaaa\nbbbb", 2, None, 5, vec!["bbbb"], Some("the newest 1 lines; earlier ones do not fit in")),
            ("GET /a\nGET /b\nPUT /a", 5, Some("^GET"), 100, vec!["GET /a", "GET /b"], None),
            (
                "GET /a\nGET /b\nPUT /a",
                1,
                Some("^GET"),
                100,
                vec!["GET /b"],
                Some("the newest 1 of 2 that match"),
            ),
            (&many, 5, Some("line 0$"), 100, vec![], Some("only the newest 2000 lines were searched")),
            // What is hidden cannot be looked for.
            ("password=hunter2", 5, Some("hunter2"), 100, vec![], None),
            ("password=hunter2", 5, Some("password"), 100, vec!["password=[redacted]"], None),
            ("\u{1b}[31mred\u{1b}[0m \u{202e}x", 5, None, 100, vec!["red x"], None),
        ] {
            let (lines, said) = choose(text, &wanted(tail, matching), bytes);
            assert_eq!(
                (lines, said.as_deref()),
                (expected.into_iter().map(str::to_owned).collect(), note),
                "{tail}"
            );
        }
        let (lines, _) = choose(&"y".repeat(10_000), &wanted(1, None), BYTES);
        assert_eq!(lines[0].chars().count(), LINE + 1, "with an ellipsis");
    }

    #[test]
    fn the_containers_of_pods_that_are_not_well_come_first_and_those_without_a_log_are_counted() {
        let container = |name: &str, restarts, init, ended: Option<i32>| Container {
            name: name.into(),
            init,
            ready: false,
            restarts,
            waiting: None,
            message: None,
            ended: ended.map(|exit_code| Ended { exit_code, reason: String::new() }),
            running: ended.is_none(),
        };
        let mut well = pod("a", "new-rs", true);
        well.containers = vec![container("init", 0, true, Some(0)), container("app", 0, false, None)];
        let mut sick = pod("b", "new-rs", false);
        sick.containers = vec![container("init", 0, true, Some(1)), container("app", 3, false, Some(2))];
        let mut waiting = pod("c", "new-rs", false);
        waiting.containers = vec![Container { running: false, ..container("app", 0, false, None) }];
        let pods = [well, sick, waiting].map(Arc::new);
        let names = |previous| {
            let (found, without) = sources(&pods, previous);
            (found.into_iter().map(|s| format!("{}/{}", s.pod, s.container)).collect::<Vec<_>>(), without)
        };
        assert_eq!(names(false), (vec!["b/init".to_owned(), "b/app".into(), "a/app".into()], 1));
        assert_eq!(names(true), (vec!["b/app".to_owned()], 2));
    }
}

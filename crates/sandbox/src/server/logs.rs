//! `pods/log`: what the containers would have written.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::json::Value;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;

use super::status::Status;
use super::{Call, Shared};
use crate::behaviour::Behaviour;
use crate::object::{int, list, name, seconds_since, text, uid};
use crate::storage::{Key, Object};

/// The log of one run of one container, from some line on.
struct Log {
    shared: Arc<Shared>,
    latest: watch::Receiver<u64>,
    key: Key,
    pod: Object,
    container: String,
    /// Which run of the container: as often was it started again.
    run: i64,
    /// Lines of that run that are behind.
    read: usize,
    timestamps: bool,
    /// What may still be sent, in bytes.
    left: usize,
    follow: bool,
    ready: VecDeque<Bytes>,
}

/// Answers with the log, and (when asked to follow) with what is written until the container ends.
pub(crate) fn read(shared: &Arc<Shared>, key: &Key, call: &Call) -> Result<Response, Status> {
    // Before the pod is read, or what happens in between would not be followed.
    let latest = shared.storage.subscribe();
    let pod = super::resources::find(&shared.storage, key)?;
    let container = choose_container(&pod, call.params.text("container"))?;
    if text(&pod, "/spec/nodeName").is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let previous = call.params.flag("previous");
    has_run(&pod, &container, previous)?;
    let status = status_of(&pod, &container);
    let restarts = status.map_or(0, |status| int(status, "/restartCount", 0));
    let mut log = Log {
        latest,
        shared: shared.clone(),
        key: key.clone(),
        run: restarts - i64::from(previous),
        read: 0,
        timestamps: call.params.flag("timestamps"),
        left: call
            .params
            .number("limitBytes")?
            .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)),
        follow: call.params.flag("follow") && !previous,
        ready: VecDeque::new(),
        pod,
        container,
    };
    log.skip(call)?;
    log.write();
    let chunks = futures::stream::unfold(log, |mut log| async move {
        let chunk = log.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), log))
    });
    Ok(([(header::CONTENT_TYPE, "text/plain")], Body::from_stream(chunks)).into_response())
}

impl Log {
    /// Leaves out what is older than was asked for.
    fn skip(&mut self, call: &Call) -> Result<(), Status> {
        let written = Behaviour::of(&self.pod).log_lines(&self.pod).len();
        if let Some(tail) = call.params.number("tailLines")? {
            self.read = written.saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX));
        }
        let since = match call.params.number("sinceSeconds")? {
            Some(seconds) => Some(seconds as f64),
            None => call
                .params
                .text("sinceTime")
                .parse::<Timestamp>()
                .ok()
                .map(|time| Timestamp::now().duration_since(time).as_secs_f64()),
        };
        let age = seconds_since(&self.pod, "/status/startTime");
        if since.zip(age).is_some_and(|(since, age)| age > since) {
            self.read = written;
        }
        Ok(())
    }

    /// Puts what was written since the last time with what is to be sent.
    fn write(&mut self) {
        let lines = Behaviour::of(&self.pod).log_lines(&self.pod);
        let stamp = if self.timestamps {
            format!("{} ", text(&self.pod, "/status/startTime"))
        } else {
            String::new()
        };
        let fresh = lines.iter().skip(self.read);
        let mut chunk: String = fresh.flat_map(|line| [stamp.as_str(), line.as_str(), "\n"]).collect();
        self.read = lines.len().max(self.read);
        chunk.truncate(chunk.floor_char_boundary(self.left));
        self.left -= chunk.len();
        if !chunk.is_empty() {
            self.ready.push_back(chunk.into());
        }
    }

    /// The next of the log, when there is some; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(chunk);
            }
            if !self.follow || self.left == 0 || !self.is_running() {
                return None;
            }
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return None,
                changed = self.latest.changed() => changed.ok()?,
            }
            self.latest.borrow_and_update();
            self.pod = self.shared.storage.get(&self.key).filter(|pod| uid(pod) == uid(&self.pod))?;
            self.write();
        }
    }

    /// Whether this run of the container can still write.
    fn is_running(&self) -> bool {
        status_of(&self.pod, &self.container).is_some_and(|status| {
            int(status, "/restartCount", 0) == self.run && status.pointer("/state/running").is_some()
        })
    }
}

fn status_of<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    list(pod, "/status/containerStatuses").iter().find(|status| text(status, "/name") == container)
}

/// What has not run has no log.
fn has_run(pod: &Value, container: &str, previous: bool) -> Result<(), Status> {
    let (status, pod_name) = (status_of(pod, container), name(pod));
    let restarts = status.map_or(0, |status| int(status, "/restartCount", 0));
    if previous && restarts == 0 {
        return Err(Status::bad_request(format!(
            "previous terminated container \"{container}\" in pod \"{pod_name}\" not found"
        )));
    }
    let waiting = status.map_or("ContainerCreating", |status| text(status, "/state/waiting/reason"));
    let never_ran = status.is_none_or(|s| restarts == 0 && s.pointer("/lastState/terminated").is_none());
    if never_ran && !waiting.is_empty() {
        let why = match waiting {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            other => other,
        };
        return Err(Status::bad_request(format!(
            "container \"{container}\" in pod \"{pod_name}\" is waiting to start: {why}"
        )));
    }
    Ok(())
}

fn choose_container(pod: &Value, asked: &str) -> Result<String, Status> {
    let containers = ["/spec/containers", "/spec/initContainers"];
    let names: Vec<&str> = containers.iter().flat_map(|at| list(pod, at)).map(|c| text(c, "/name")).collect();
    match (asked, names.as_slice()) {
        ("", [only]) => Ok((*only).to_owned()),
        ("", many) => Err(Status::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            name(pod),
            many.join(" ")
        ))),
        (asked, many) if many.contains(&asked) => Ok(asked.to_owned()),
        (asked, _) => {
            Err(Status::bad_request(format!("container {asked} is not valid for pod {}", name(pod))))
        }
    }
}

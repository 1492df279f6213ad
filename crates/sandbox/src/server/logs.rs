//! `pods/log`: what the containers would have written.

use crate::json::Value;
use axum::response::{IntoResponse, Response};

use super::Call;
use super::status::Status;
use crate::behaviour::Behaviour;
use crate::object::{int, list, name, text};

/// Answers at once also when asked to follow: there is nothing to wait for.
pub(crate) fn read(pod: &Value, call: &Call) -> Result<Response, Status> {
    let container = choose_container(pod, call.params.text("container"))?;
    let status = list(pod, "/status/containerStatuses").iter().find(|c| text(c, "/name") == container);
    let restarts = status.map_or(0, |status| int(status, "/restartCount", 0));
    let (pod_name, previous) = (name(pod), call.params.flag("previous"));
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
    let mut lines = Behaviour::of(pod).log_lines(pod);
    if let Some(tail) = call.params.number("tailLines")? {
        let skip = lines.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX));
        lines.drain(..skip);
    }
    let stamp = if call.params.flag("timestamps") { format!("{} ", started_at(pod)) } else { String::new() };
    let mut log: String = lines.iter().flat_map(|line| [stamp.as_str(), line.as_str(), "\n"]).collect();
    if let Some(limit) = call.params.number("limitBytes")? {
        let mut end = usize::try_from(limit).unwrap_or(usize::MAX).min(log.len());
        while !log.is_char_boundary(end) {
            end -= 1;
        }
        log.truncate(end);
    }
    Ok(log.into_response())
}

fn started_at(pod: &Value) -> &str {
    text(pod, "/status/startTime")
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

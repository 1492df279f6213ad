//! A pod's life, from its creation to its end: the scheduler's and the kubelet's part, one timed step after
//! another. Delays stand for work and are stretched by the pace; a crash loop's waits are a fifth of the real
//! ones, so that somebody who watches sees it loop.

use crate::json::{Value, intern, json};
use std::time::Duration;

use tokio::time::Instant;

use super::{Controllers, scheduler, timers};
use crate::behaviour::Behaviour;
use crate::deletion;
use crate::object::{self, is_deleting, list, name, namespace, set, text, uid};
use crate::resource::NODES;
use crate::storage::{Key, Object};

/// What happens to a pod next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Schedule,
    /// The kubelet takes it and begins to pull its images.
    Create,
    /// The containers start (or the image turns out not to be there).
    Start,
    /// The readiness probe succeeds.
    Serve,
    /// The readiness probe fails.
    FailProbe,
    /// The containers exit.
    Exit,
    /// They wait to be started again.
    BackOff,
    Restart,
    /// The next attempt to pull is put off.
    PullBackOff,
    PullAgain,
    /// The containers have stopped, and the pod goes.
    Vanish,
}

/// What is remembered of a living pod.
#[derive(Debug, Default)]
pub(super) struct Life {
    ending: bool,
    restarts: i64,
}

impl Controllers {
    /// A pod is new, or has changed: begins its life, or its end.
    pub(super) fn sync_pod(&mut self, key: &Key, pod: &Value) {
        let known = self.lives.contains_key(uid(pod));
        let life = self.lives.entry(intern(uid(pod))).or_default();
        if is_deleting(pod) {
            if !std::mem::replace(&mut life.ending, true) {
                for container in list(pod, "/spec/containers") {
                    let message = format!("Stopping container {}", text(container, "/name"));
                    self.event(pod, "Normal", "Killing", &message, "kubelet");
                }
                self.next_step(key, pod, 0.15, 0.4, Step::Vanish);
            }
        } else if !known {
            let first = if text(pod, "/spec/nodeName").is_empty() { Step::Schedule } else { Step::Create };
            self.next_step(key, pod, 0.01, 0.04, first);
        }
    }

    /// Forgets a pod that is gone.
    pub(super) fn forget_pod(&mut self, uid: &str) {
        self.lives.remove(uid);
    }

    /// Room may have been made: a pod that did not fit is tried again.
    pub(super) fn retry_scheduling(&mut self, key: &Key) {
        if let Some(pod) = self.storage.get(key) {
            self.next_step(key, &pod, 0.01, 0.03, Step::Schedule);
        }
    }

    /// Takes a step that was due, unless the pod is gone, or another of the same name, or already ending.
    pub(super) fn step_pod(&mut self, key: &Key, expected: &str, step: Step) {
        let Some(pod) = self.storage.get(key).filter(|pod| uid(pod) == expected) else { return };
        if is_deleting(&pod) && step != Step::Vanish {
            return;
        }
        let due = || timers::Due::Pod { key: key.clone(), uid: expected.into(), step };
        if step != Step::Schedule && self.suspend(&pod, due) {
            return;
        }
        tracing::trace!(pod = &*key.name, ?step, "pod");
        match step {
            Step::Schedule => self.schedule(key, &pod),
            Step::Create => self.create_containers(key, &pod),
            Step::Start | Step::PullAgain => self.start(key, &pod),
            Step::Serve => self.serve(key, &pod),
            Step::FailProbe => self.fail_probe(key, &pod),
            Step::Exit => self.exit(key, &pod),
            Step::BackOff => self.back_off(key, &pod),
            Step::Restart => self.restart(key, &pod),
            Step::PullBackOff => self.pull_back_off(key, &pod),
            Step::Vanish => _ = deletion::stop(&self.storage, key),
        }
    }

    fn next_step(&mut self, key: &Key, pod: &Value, from: f64, to: f64, step: Step) {
        let at = Instant::now() + self.delay(from, to);
        self.timers.push(at, timers::Due::Pod { key: key.clone(), uid: intern(uid(pod)), step });
    }

    /// A step after real seconds, which the pace does not stretch.
    fn step_after(&mut self, key: &Key, pod: &Value, seconds: f64, step: Step) {
        let at = Instant::now() + Duration::from_secs_f64(seconds);
        self.timers.push(at, timers::Due::Pod { key: key.clone(), uid: intern(uid(pod)), step });
    }

    fn schedule(&mut self, key: &Key, pod: &Object) {
        if !text(pod, "/spec/nodeName").is_empty() {
            return;
        }
        let nodes = self.storage.list(&NODES, "");
        match scheduler::choose(pod, &nodes, &self.usage) {
            Ok(node) => {
                self.storage.update(key, |pod| {
                    set(pod, &["spec", "nodeName"], node.clone());
                    set_condition(pod, "PodScheduled", true, None);
                });
                let message = format!("Successfully assigned {}/{} to {node}", namespace(pod), name(pod));
                self.event(pod, "Normal", "Scheduled", &message, "default-scheduler");
                self.next_step(key, pod, 0.02, 0.06, Step::Create);
            }
            Err(why) => {
                self.storage.update(key, |pod| {
                    set_condition(pod, "PodScheduled", false, Some(("Unschedulable", &why)));
                });
                self.event(pod, "Warning", "FailedScheduling", &why, "default-scheduler");
                self.unscheduled.insert(key.clone());
            }
        }
    }

    fn create_containers(&mut self, key: &Key, pod: &Object) {
        let waiting = json!({ "waiting": { "reason": "ContainerCreating" } });
        self.storage.update(key, |pod| {
            set(pod, &["status", "startTime"], object::now());
            set(pod, &["status", "hostIP"], "10.0.0.1");
            set_condition(pod, "PodScheduled", true, None);
            set_condition(pod, "PodReadyToStartContainers", true, None);
            set_condition(pod, "Initialized", true, None);
            set_unready(pod);
            set_containers(pod, &waiting, false, 0, None);
        });
        self.event_for_images(pod, |image| format!("Pulling image \"{image}\""), "Normal", "Pulling");
        self.next_step(key, pod, 0.15, 0.4, Step::Start);
    }

    fn start(&mut self, key: &Key, pod: &Object) {
        let behaviour = Behaviour::of(pod);
        if behaviour == Behaviour::ImagePull {
            self.fail_pull(key, pod);
            return;
        }
        let took = self.random.next() % 300 + 120;
        let pulled = |image: &str| {
            format!(
                "Successfully pulled image \"{image}\" in {took}ms ({took}ms including waiting). Image size: \
                 28417024 bytes."
            )
        };
        self.event_for_images(pod, pulled, "Normal", "Pulled");
        self.event_for_start(pod);
        let number = self.random.next();
        let ip = format!("10.244.{}.{}", number % 3, (number >> 8) % 250 + 2);
        self.storage.update(key, |pod| {
            set(pod, &["status", "phase"], "Running");
            set(pod, &["status", "podIP"], ip.clone());
            set(pod, &["status", "podIPs"], json!([{ "ip": ip }]));
            set_containers(pod, &running(), false, 0, None);
        });
        match behaviour {
            Behaviour::Slow(seconds) => self.step_after(key, pod, seconds, Step::Serve),
            Behaviour::Crash(_) => self.next_step(key, pod, 0.1, 0.3, Step::Exit),
            Behaviour::NeverReady => self.next_step(key, pod, 0.3, 0.6, Step::FailProbe),
            Behaviour::Ready | Behaviour::Flaky(_) | Behaviour::ImagePull | Behaviour::Unschedulable => {
                self.next_step(key, pod, 0.08, 0.4, Step::Serve);
            }
        }
    }

    fn serve(&mut self, key: &Key, pod: &Object) {
        self.storage.update(key, |pod| {
            set_containers(pod, &Value::Null, true, 0, None);
            set_condition(pod, "Ready", true, None);
            set_condition(pod, "ContainersReady", true, None);
        });
        if let Behaviour::Flaky(seconds) = Behaviour::of(pod) {
            self.step_after(key, pod, seconds, Step::FailProbe);
        }
    }

    fn fail_probe(&mut self, key: &Key, pod: &Object) {
        let message = "Readiness probe failed: HTTP probe failed with statuscode: 503";
        self.event(pod, "Warning", "Unhealthy", message, "kubelet");
        let Behaviour::Flaky(seconds) = Behaviour::of(pod) else {
            self.next_step(key, pod, 9.0, 11.0, Step::FailProbe);
            return;
        };
        self.storage.update(key, |pod| {
            set_containers(pod, &Value::Null, false, 0, None);
            set_unready(pod);
        });
        self.step_after(key, pod, seconds, Step::Serve);
    }

    fn exit(&mut self, key: &Key, pod: &Object) {
        let Behaviour::Crash(code) = Behaviour::of(pod) else { return };
        let restarts = self.restarts(pod);
        let terminated = terminated(pod, code);
        let policy = text(pod, "/spec/restartPolicy");
        let finished = policy == "Never" || (policy == "OnFailure" && code == 0);
        self.storage.update(key, |pod| {
            set_containers(pod, &terminated, false, restarts, None);
            set_unready(pod);
            if finished {
                set(pod, &["status", "phase"], if code == 0 { "Succeeded" } else { "Failed" });
            }
        });
        if !finished {
            // The first time the kubelet tries again at once; after that it waits.
            let next = if restarts == 0 { Step::Restart } else { Step::BackOff };
            self.next_step(key, pod, 0.05, 0.15, next);
        }
    }

    fn back_off(&mut self, key: &Key, pod: &Object) {
        let restarts = self.restarts(pod);
        let seconds = back_off_seconds(restarts - 1);
        for container in list(pod, "/spec/containers") {
            let message = format!(
                "Back-off restarting failed container {} in pod {}_{}({})",
                text(container, "/name"),
                name(pod),
                namespace(pod),
                uid(pod)
            );
            self.event(pod, "Warning", "BackOff", &message, "kubelet");
        }
        let shown = if seconds >= 300.0 { "5m0s".to_owned() } else { format_seconds(seconds) };
        let last = last_state(pod);
        self.storage.update(key, |pod| {
            let container = text(pod, "/spec/containers/0/name").to_owned();
            let message = format!(
                "back-off {shown} restarting failed container={container} pod={}_{}({})",
                name(pod),
                namespace(pod),
                uid(pod)
            );
            let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } });
            set_containers(pod, &waiting, false, restarts, last.as_ref());
        });
        self.next_step(key, pod, seconds / 5.5, seconds / 4.5, Step::Restart);
    }

    fn restart(&mut self, key: &Key, pod: &Object) {
        let restarts = self.restarts(pod) + 1;
        if let Some(life) = self.lives.get_mut(uid(pod)) {
            life.restarts = restarts;
        }
        let present = |image: &str| format!("Container image \"{image}\" already present on machine");
        self.event_for_images(pod, present, "Normal", "Pulled");
        self.event_for_start(pod);
        let last = last_state(pod);
        self.storage.update(key, |pod| set_containers(pod, &running(), false, restarts, last.as_ref()));
        self.next_step(key, pod, 0.1, 0.3, Step::Exit);
    }

    fn fail_pull(&mut self, key: &Key, pod: &Object) {
        self.event_for_images(
            pod,
            |image| format!("Failed to pull image \"{image}\": {}", pull_error(image)),
            "Warning",
            "Failed",
        );
        self.event(pod, "Warning", "Failed", "Error: ErrImagePull", "kubelet");
        self.storage.update(key, |pod| {
            set_waiting_each(pod, "ErrImagePull", pull_error);
            set_unready(pod);
        });
        self.next_step(key, pod, 0.1, 0.3, Step::PullBackOff);
    }

    fn pull_back_off(&mut self, key: &Key, pod: &Object) {
        let put_off = |image: &str| format!("Back-off pulling image \"{image}\"");
        self.event_for_images(pod, put_off, "Normal", "BackOff");
        self.event(pod, "Warning", "Failed", "Error: ImagePullBackOff", "kubelet");
        self.storage.update(key, |pod| {
            set_waiting_each(pod, "ImagePullBackOff", |image| {
                format!("Back-off pulling image \"{image}\": ErrImagePull: {}", pull_error(image))
            });
        });
        let attempts = self.restarts(pod);
        if let Some(life) = self.lives.get_mut(uid(pod)) {
            life.restarts += 1;
        }
        let seconds = back_off_seconds(attempts);
        self.next_step(key, pod, seconds * 0.9, seconds * 1.1, Step::PullAgain);
    }

    fn restarts(&self, pod: &Value) -> i64 {
        self.lives.get(uid(pod)).map_or(0, |life| life.restarts)
    }

    fn event_for_images(&mut self, pod: &Value, message: impl Fn(&str) -> String, kind: &str, reason: &str) {
        for container in list(pod, "/spec/containers") {
            self.event(pod, kind, reason, &message(text(container, "/image")), "kubelet");
        }
    }

    fn event_for_start(&mut self, pod: &Value) {
        for container in list(pod, "/spec/containers") {
            let container = text(container, "/name");
            self.event(pod, "Normal", "Created", &format!("Created container: {container}"), "kubelet");
            self.event(pod, "Normal", "Started", &format!("Started container {container}"), "kubelet");
        }
    }
}

/// 10 s, doubled each time, at most 5 minutes.
fn back_off_seconds(attempts: i64) -> f64 {
    (10.0 * 2_f64.powi(attempts.clamp(0, 10) as i32)).min(300.0)
}

fn format_seconds(seconds: f64) -> String {
    let whole = seconds as u64;
    if whole >= 60 { format!("{}m{}s", whole / 60, whole % 60) } else { format!("{whole}s") }
}

fn pull_error(image: &str) -> String {
    let full = match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) => image.to_owned(),
        Some(_) => format!("docker.io/{image}"),
        None => format!("docker.io/library/{image}"),
    };
    format!(
        "rpc error: code = NotFound desc = failed to pull and unpack image \"{full}\": failed to resolve \
         reference \"{full}\": {full}: not found"
    )
}

fn running() -> Value {
    json!({ "running": { "startedAt": object::now() } })
}

fn terminated(pod: &Value, code: i32) -> Value {
    let reason = if code == 0 { "Completed" } else { "Error" };
    let started = text(pod, "/status/containerStatuses/0/state/running/startedAt");
    json!({ "terminated": {
        "exitCode": code, "reason": reason, "startedAt": started, "finishedAt": object::now(),
        "containerID": container_id(pod, 0),
    } })
}

/// How the containers ended last.
fn last_state(pod: &Value) -> Option<Value> {
    let status = pod.pointer("/status/containerStatuses/0")?;
    let ended = |state: &str| status.get(state).filter(|state| state.get("terminated").is_some()).cloned();
    ended("state").or_else(|| ended("lastState"))
}

fn container_id(pod: &Value, index: usize) -> String {
    let digits: String = uid(pod).chars().filter(char::is_ascii_hexdigit).collect();
    format!("containerd://{digits}{index:032x}")
}

/// Writes the status of every container; a null state keeps the one that is there.
fn set_containers(pod: &mut Value, state: &Value, ready: bool, restarts: i64, last: Option<&Value>) {
    let before = list(pod, "/status/containerStatuses").to_vec();
    let statuses: Vec<Value> = list(pod, "/spec/containers")
        .iter()
        .enumerate()
        .map(|(index, container)| {
            let kept = before.get(index).and_then(|status| status.get("state"));
            let state = if state.is_null() { kept.unwrap_or(state) } else { state };
            let started = state.get("running").is_some();
            let image = text(container, "/image");
            let image_id = if started { format!("{image}@sha256:{:064x}", 7) } else { String::new() };
            let mut status = json!({
                "name": text(container, "/name"), "image": image, "imageID": image_id, "ready": ready,
                "started": started, "restartCount": restarts, "state": state,
                "lastState": last.cloned().unwrap_or_else(|| json!({})),
            });
            if started {
                set(&mut status, &["containerID"], container_id(pod, index));
            }
            status
        })
        .collect();
    set(pod, &["status", "containerStatuses"], statuses);
}

/// Every container waits, for a reason that depends on its image.
fn set_waiting_each(pod: &mut Value, reason: &str, message: impl Fn(&str) -> String) {
    let mut statuses = list(pod, "/status/containerStatuses").to_vec();
    for status in &mut statuses {
        let message = message(text(status, "/image"));
        set(status, &["state"], json!({ "waiting": { "reason": reason, "message": message } }));
    }
    set(pod, &["status", "containerStatuses"], statuses);
}

fn set_unready(pod: &mut Value) {
    let names: Vec<&str> = list(pod, "/spec/containers").iter().map(|c| text(c, "/name")).collect();
    let message = format!("containers with unready status: [{}]", names.join(" "));
    set_condition(pod, "Ready", false, Some(("ContainersNotReady", &message)));
    set_condition(pod, "ContainersReady", false, Some(("ContainersNotReady", &message)));
}

fn set_condition(pod: &mut Value, kind: &str, value: bool, because: Option<(&str, &str)>) {
    let mut conditions = list(pod, "/status/conditions").to_vec();
    let status = if value { "True" } else { "False" };
    let mut condition = json!({
        "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": object::now(),
    });
    if let Some((reason, message)) = because {
        set(&mut condition, &["reason"], reason);
        set(&mut condition, &["message"], message);
    }
    match conditions.iter_mut().find(|present| text(present, "/type") == kind) {
        Some(present) => {
            if text(present, "/status") == status {
                set(&mut condition, &["lastTransitionTime"], text(present, "/lastTransitionTime"));
            }
            *present = condition;
        }
        None => conditions.push(condition),
    }
    set(pod, &["status", "conditions"], conditions);
}

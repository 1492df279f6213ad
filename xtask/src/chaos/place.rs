//! Where it happens: the sandbox in a process of its own, or the real control plane, with its workloads.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::api::Api;
use crate::gateway::Program;
use crate::proc::{self, Life};

/// The namespace of everything that is made.
pub(super) const NAMESPACE: &str = "chaos";
/// The resources that are restarted.
pub(super) const RESOURCES: [&str; 3] = ["deployments", "statefulsets", "daemonsets"];
/// How long the sandbox and the workloads may take to be there.
const READY_WITHIN: Duration = Duration::from_mins(3);
/// Revisions that a workload keeps: more than the default, and still few enough for the watches.
const REVISIONS: u32 = 20;

/// A cluster with workloads.
pub(crate) struct Place {
    /// `sandbox` or `real control plane`.
    pub(super) name: &'static str,
    pub(super) api: Api,
    pub(crate) kubeconfig: PathBuf,
    pub(super) services: Vec<Service>,
}

/// A workload.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) name: String,
    /// Its resource: see [`RESOURCES`].
    resource: &'static str,
    pods: u32,
    /// What its pods do once they are restarted, if not well.
    fails: Option<&'static str>,
}

impl Service {
    /// Whether its rollout fails once it is restarted.
    pub(super) fn fails(&self) -> bool {
        self.fails.is_some()
    }
}

/// Starts the sandbox, which lives until this process ends.
pub(crate) fn sandbox(binary: &Path, folder: &Path) -> Result<Place> {
    let kubeconfig = folder.join("sandbox.kubeconfig");
    let log = folder.join("sandbox.log");
    let program = Program {
        binary: binary.to_owned(),
        kubeconfig: kubeconfig.clone(),
        work: folder.to_owned(),
        namespace: NAMESPACE.to_owned(),
        allowed: String::new(),
        environment: Vec::new(),
    };
    let mut command = program.command(&folder.join("unused"));
    command.args(["sandbox", "--empty", "--kubeconfig"]).arg(&kubeconfig);
    let child = proc::background(&command, &log, Life::Bound)?;
    let deadline = Instant::now() + READY_WITHIN;
    let url = loop {
        let said = fs::read_to_string(&log).unwrap_or_default();
        // The second line tells that the kubeconfig is written.
        if let Some((url, _)) = said.strip_prefix("sandbox at ").and_then(|said| said.split_once("\nexport"))
        {
            break url.to_owned();
        }
        ensure!(
            proc::is_alive(child.id() as i32) && Instant::now() < deadline,
            "the sandbox does not start:\n{said}"
        );
        std::thread::sleep(proc::POLL);
    };
    let text = fs::read_to_string(&kubeconfig).context("cannot read the sandbox's kubeconfig")?;
    let token = text.lines().find_map(|line| line.trim().strip_prefix("token: "));
    let token = token.context("the sandbox's kubeconfig has no token")?;
    let api = Api::plain(&url, token, &folder.join("sandbox.header"))?;
    Ok(Place { name: "sandbox", api, kubeconfig, services: services(18, 3, 3) })
}

/// A control plane that runs.
pub(super) fn real(kubeconfig: &Path) -> Result<Place> {
    Ok(Place {
        name: "real control plane",
        api: Api::of_control_plane(kubeconfig)?,
        kubeconfig: kubeconfig.to_owned(),
        services: services(12, 2, 1),
    })
}

/// So many of each kind; every fourth Deployment fails once it is restarted.
fn services(deployments: u32, stateful_sets: u32, daemon_sets: u32) -> Vec<Service> {
    let some = |count: u32, letter: &'static str, resource: &'static str| {
        (0..count).map(move |number| Service {
            name: format!("{letter}-{number:02}"),
            resource,
            pods: 2 + number % 2,
            fails: match number % 8 {
                2 if resource == "deployments" => Some("crash:1"),
                6 if resource == "deployments" => Some("image-pull"),
                _ => None,
            },
        })
    };
    some(deployments, "web", "deployments")
        .chain(some(stateful_sets, "db", "statefulsets"))
        .chain(some(daemon_sets, "agent", "daemonsets"))
        .collect()
}

impl Place {
    /// Leaves out what fails once it is restarted.
    pub(super) fn leave_out_failing(&mut self) {
        self.services.retain(|service| service.fails.is_none());
    }

    /// The names of all services, as the allowlist has them.
    pub(super) fn allowed(&self) -> String {
        self.services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Makes the workloads and waits until they are rolled out.
    pub(super) fn populate(&self, folder: &Path) -> Result<()> {
        let body = folder.join("object.json");
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        self.api.create("/api/v1/namespaces", &namespace, &body)?;
        for service in &self.services {
            self.api.create(&collection(service.resource), &workload(service), &body)?;
        }
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let mut waiting = Vec::new();
            for resource in RESOURCES {
                let list = self.api.get(&collection(resource))?;
                let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
                waiting.extend(
                    items.iter().filter(|item| !is_rolled_out(item)).map(|item| name(item).to_owned()),
                );
            }
            if waiting.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not ready in time: {}", waiting.join(", "));
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

/// The path of a resource's objects.
pub(super) fn collection(resource: &str) -> String {
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/{resource}")
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether all pods are there and of the newest generation.
fn is_rolled_out(object: &Value) -> bool {
    let status = &object["status"];
    let counts = match object["spec"]["replicas"].as_i64() {
        Some(wanted) => {
            status["readyReplicas"].as_i64() == Some(wanted)
                && status["updatedReplicas"].as_i64() == Some(wanted)
        }
        None => {
            status["numberReady"].as_i64().is_some_and(|ready| ready > 0)
                && status["numberReady"] == status["desiredNumberScheduled"]
        }
    };
    counts && status["observedGeneration"] == object["metadata"]["generation"]
}

fn workload(service: &Service) -> Value {
    let labels = json!({"app": service.name});
    let mut annotations = json!({});
    if let Some(behaviour) = service.fails {
        annotations["sandbox.astradesk.dev/behaviour-once-restarted"] = behaviour.into();
    }
    let (kind, mut spec) = match service.resource {
        "deployments" => ("Deployment", json!({"replicas": service.pods})),
        "statefulsets" => ("StatefulSet", json!({"replicas": service.pods, "serviceName": service.name})),
        _ => ("DaemonSet", json!({})),
    };
    spec["revisionHistoryLimit"] = REVISIONS.into();
    spec["selector"] = json!({"matchLabels": labels});
    spec["template"] = json!({
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"containers": [{
            "name": "main",
            "image": "registry.example/app:1",
            "resources": {"requests": {"cpu": "5m", "memory": "4Mi"}},
        }]},
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": service.name, "namespace": NAMESPACE, "labels": labels},
        "spec": spec,
    })
}

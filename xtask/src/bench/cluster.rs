//! The bench's side of the cluster: its workloads, and what is seen of them independently of AstraDesk.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::figures::Sample;
use crate::api::Api;
use crate::proc;

/// The namespace of everything that the bench makes.
pub(super) const NAMESPACE: &str = "bench";
/// Deployments that stand by, and the pods of each.
const CROWD: (usize, u32) = (40, 5);
/// The Deployment that is restarted, and its pods.
pub(super) const RESTARTED: &str = "restarted";
const RESTARTED_PODS: u32 = 3;
/// How long the pods may take to become ready.
const READY_WITHIN: Duration = Duration::from_mins(3);
/// The annotation that names the run which restarted a workload.
const RUN: &str = "astradesk.dev/run";

/// The name of a Deployment that stands by.
pub(super) fn bystander(index: usize) -> String {
    format!("app-{:02}", index % CROWD.0)
}

/// How many pods there are in all.
pub(super) const fn pods() -> u32 {
    CROWD.0 as u32 * CROWD.1 + RESTARTED_PODS
}

/// The cluster, reached through kubectl and curl as its administrator.
pub(super) struct Cluster {
    pub(super) kubeconfig: PathBuf,
    kubectl: PathBuf,
    api: Api,
    /// The folder of the bench.
    work: PathBuf,
}

/// What a watch saw, and when.
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) what: What,
}

/// See [`Seen`].
pub(super) enum What {
    Deployment(Deployment),
    /// A pod that is there.
    Pod(String),
    /// A pod that is gone.
    PodGone(String),
    /// The run's state, as its stream of events says.
    Run(String),
}

/// A Deployment, as far as a restart is concerned.
pub(super) struct Deployment {
    /// The run that changed its template last.
    pub(super) run: Option<String>,
    /// Its controller has done all of its newest generation.
    pub(super) complete: bool,
}

impl Cluster {
    pub(super) fn new(kubeconfig: &Path, kubectl: PathBuf, work: &Path) -> Result<Self> {
        Ok(Self {
            kubeconfig: kubeconfig.to_owned(),
            kubectl,
            api: Api::of_control_plane(kubeconfig)?,
            work: work.to_owned(),
        })
    }

    /// kubectl with its cache in the bench's folder.
    pub(super) fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.work);
        command.args(["--namespace", NAMESPACE]).args(arguments);
        command
    }

    /// Makes the workloads and waits until every pod is ready.
    pub(super) fn populate(&self) -> Result<()> {
        let crowd = (0..CROWD.0).map(|index| deployment(&bystander(index), CROWD.1));
        let items: Vec<Value> =
            [json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})]
                .into_iter()
                .chain(crowd)
                .chain([deployment(RESTARTED, RESTARTED_PODS)])
                .collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let file = self.work.join("workloads.json");
        fs::write(&file, list.to_string()).context("cannot write the workloads")?;
        proc::output(&mut self.kubectl(&["create", "--filename", &file.to_string_lossy()]))?;
        self.until_ready()
    }

    /// Waits until every Deployment has all its pods, and only new ones.
    pub(super) fn until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let all: Value = serde_json::from_str(&proc::output(&mut self.kubectl(&[
                "get",
                "deployments,pods",
                "-o",
                "json",
            ]))?)
            .context("kubectl wrote no JSON")?;
            let items = all["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            let (deployments, found): (Vec<_>, Vec<_>) =
                items.iter().partition(|item| item["kind"] == "Deployment");
            if found.len() == pods() as usize && deployments.iter().all(|item| Deployment::of(item).complete)
            {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "after {} s there are {} pods of {}",
                READY_WITHIN.as_secs(),
                found.len(),
                pods()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// How long the API server takes for a PATCH of the restarted Deployment that changes no pod: from the
    /// request's first byte to the answer's last, over one warm connection.
    pub(super) fn patch_latency(&self, times: u32) -> Result<Sample> {
        let mut curl = Command::new("curl");
        for time in 0..=times {
            if time > 0 {
                curl.arg("--next");
            }
            self.api.authorize(&mut curl);
            curl.args(["--request", "PATCH", "--header", "Content-Type: application/merge-patch+json"]);
            curl.arg("--data")
                .arg(json!({"metadata": {"annotations": {"bench": time.to_string()}}}).to_string());
            curl.args(["--output", "/dev/null", "--write-out", "%{time_pretransfer} %{time_total}\\n"]);
            curl.arg(self.api.url(&format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RESTARTED}")));
        }
        let said = proc::output(&mut curl)?;
        // The first made the connection.
        let times = said.lines().skip(1).filter_map(|line| {
            let (sent, answered) = line.split_once(' ')?;
            Some((answered.parse::<f64>().ok()? - sent.parse::<f64>().ok()?) * 1e3)
        });
        let sample = Sample::of(times);
        ensure!(sample.count() > 0, "curl told no times: {said}");
        Ok(sample)
    }

    /// Watches the restarted Deployment and its pods until the bench ends.
    pub(super) fn watch(&self, seen: &Sender<Seen>) -> Result<()> {
        let deployments = format!(
            "/apis/apps/v1/namespaces/{NAMESPACE}/deployments?watch=1&fieldSelector=metadata.name={RESTARTED}"
        );
        let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods?watch=1&labelSelector=app={RESTARTED}");
        self.watch_path(&deployments, "deployments", seen.clone(), |_, object| {
            Some(What::Deployment(Deployment::of(object)))
        })?;
        self.watch_path(&pods, "pods", seen.clone(), |kind, object| {
            let uid = object["metadata"]["uid"].as_str()?.to_owned();
            Some(if kind == "DELETED" { What::PodGone(uid) } else { What::Pod(uid) })
        })
    }

    fn watch_path(
        &self,
        path: &str,
        name: &str,
        seen: Sender<Seen>,
        read: impl Fn(&str, &Value) -> Option<What> + Send + 'static,
    ) -> Result<()> {
        let mut curl = self.api.curl(path);
        curl.arg("--no-buffer");
        let mut child = proc::piped(&curl, &self.work.join(format!("watch-{name}.log")))?;
        let output = child.stdout.take().context("a watch has no output")?;
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let at = Instant::now();
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                let kind = event["type"].as_str().unwrap_or_default();
                if let Some(what) = read(kind, &event["object"])
                    && seen.send(Seen { at, what }).is_err()
                {
                    break;
                }
            }
        });
        Ok(())
    }
}

impl Deployment {
    pub(super) fn of(object: &Value) -> Self {
        let (spec, status) = (&object["spec"], &object["status"]);
        let wanted = &spec["replicas"];
        let complete = status["observedGeneration"] == object["metadata"]["generation"]
            && ["replicas", "updatedReplicas", "availableReplicas"]
                .iter()
                .all(|count| status[*count] == *wanted);
        let run = spec["template"]["metadata"]["annotations"][RUN].as_str().map(str::to_owned);
        Self { run, complete }
    }
}

fn deployment(name: &str, replicas: u32) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "main",
                    "image": "registry.example/app:1",
                    "ports": [{"containerPort": 8080}],
                    "env": [{"name": "MODE", "value": "bench"}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
                }]},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_complete_when_its_newest_generation_is() {
        let mut object = deployment("x", 3);
        assert!(!Deployment::of(&object).complete);
        object["metadata"]["generation"] = json!(2);
        object["status"] =
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3});
        assert!(Deployment::of(&object).complete);
        for (field, other) in [("observedGeneration", 1), ("replicas", 4), ("updatedReplicas", 2)] {
            let mut object = object.clone();
            object["status"][field] = json!(other);
            assert!(!Deployment::of(&object).complete, "{field}");
        }
    }
}

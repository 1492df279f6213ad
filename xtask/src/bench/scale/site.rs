//! A sandbox with very many Deployments, and what is seen of them independently of AstraDesk.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::super::cluster::Deployment;
use super::relay::Relay;
use crate::gateway::Program;
use crate::http::Request;
use crate::proc::{self, Life};

/// The namespace of everything that is made.
pub(super) const NAMESPACE: &str = "scale";
/// The file in its folder that leads to the sandbox.
const KUBECONFIG: &str = "sandbox.kubeconfig";
/// How long the sandbox may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// Connections over which objects are made and changed.
const WRITERS: usize = 8;
/// How often it is looked whether the sandbox has started: its start is measured, too.
const GLANCE: Duration = Duration::from_millis(1);
/// How often it is looked whether all has come about.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The sandbox's process and its Deployments, with a relay before it.
pub(super) struct Site {
    pub(super) relay: Relay,
    pub(super) pid: u32,
    address: SocketAddr,
    token: String,
    folder: PathBuf,
    binary: PathBuf,
    shape: Shape,
}

/// What is in a sandbox.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) deployments: usize,
    /// Pods of each.
    pub(super) pods: usize,
    /// What becomes of a pod, as the sandbox's annotation has it.
    pub(super) behaviour: &'static str,
}

/// A sandbox that has started.
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) address: SocketAddr,
    /// From before the program was executed until `/readyz` was answered.
    pub(super) took: Duration,
}

impl Started {
    /// Starts one, which ends with this process, and waits until it answers.
    pub(super) fn of(binary: &Path, folder: &Path, arguments: &[&str]) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        let log = folder.join("sandbox.log");
        let mut command = std::process::Command::new(binary);
        command.args(["sandbox", "--kubeconfig"]).arg(folder.join(KUBECONFIG)).args(arguments);
        let begun = Instant::now();
        let pid = proc::background(command.current_dir(folder), &log, Life::Bound)?.id();
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let url = said.strip_prefix("sandbox at http://").and_then(|said| said.split_once('\n'));
            if let Some((address, _)) = url {
                let address = address.parse().with_context(|| format!("the sandbox is at `{address}`"))?;
                let ready =
                    Request { method: "GET", path: "/readyz", headers: &[], body: "" }.send(address)?;
                ensure!(ready.status == 200, "the sandbox is not ready: {}", ready.status);
                return Ok(Self { pid, address, took: begun.elapsed() });
            }
            ensure!(
                proc::is_alive(pid as i32) && begun.elapsed() < STARTS_WITHIN,
                "the sandbox does not start:\n{said}"
            );
            std::thread::sleep(GLANCE);
        }
    }
}

impl Site {
    /// Starts it and waits until every Deployment has its pods. It ends with this process.
    pub(super) fn start(binary: &Path, folder: &Path, shape: Shape) -> Result<Self> {
        let Started { pid, address, .. } = Started::of(binary, folder, &["--empty"])?;
        let kubeconfig = folder.join(KUBECONFIG);
        let text = fs::read_to_string(&kubeconfig).context("cannot read the sandbox's kubeconfig")?;
        let token = text.lines().find_map(|line| line.trim().strip_prefix("token: "));
        let token = token.context("the sandbox's kubeconfig has no token")?.to_owned();
        let relay = Relay::start(address)?;
        let site =
            Self { relay, pid, address, token, folder: folder.to_owned(), binary: binary.to_owned(), shape };
        site.populate()?;
        Ok(site)
    }

    /// The names of the Deployments.
    pub(super) fn names(&self) -> Vec<String> {
        (0..self.shape.deployments).map(|number| format!("s{number:05}")).collect()
    }

    /// Ends the sandbox.
    pub(super) fn stop(&self) {
        proc::end_all(&[(self.pid as i32, true)]);
    }

    /// AstraDesk with this cluster behind the relay, and with these keys as far as it knows them.
    pub(super) fn program(&self, keys: &[(&str, usize)]) -> Result<Program> {
        let kubeconfig = self.folder.join("relay.kubeconfig");
        let server = format!("http://{}", self.relay.address);
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "scale",
            "clusters": [{"name": "scale", "cluster": {"server": server}}],
            "contexts": [{"name": "scale", "context": {"cluster": "scale", "user": "scale"}}],
            "users": [{"name": "scale", "user": {"token": self.token}}],
        });
        fs::write(&kubeconfig, text.to_string()).context("cannot write a kubeconfig")?;
        let program = Program {
            binary: self.binary.clone(),
            kubeconfig,
            work: self.folder.clone(),
            namespace: NAMESPACE.to_owned(),
            allowed: self.names().join(","),
            environment: Vec::new(),
        };
        let known = proc::output(program.command(&self.folder.join("unused")).args(["config", "show"]))?;
        let keys = keys.iter().filter(|(key, _)| known.contains(&format!("{key} = ")));
        let keys: Vec<String> = keys.map(|(key, value)| format!("{key} = {value}\n")).collect();
        let text = format!("{}log.level = \"warn\"\n", keys.concat());
        fs::write(self.folder.join("astradesk.toml"), text).context("cannot write a configuration")?;
        Ok(program)
    }

    fn populate(&self) -> Result<()> {
        let room = json!({"cpu": "100000", "memory": "100000Gi", "pods": "1000000"});
        let node = json!({
            "metadata": {"name": "large", "labels": {"kubernetes.io/hostname": "large"}},
            "status": {
                "capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        self.send("POST", "/api/v1/nodes", &node)?;
        self.send("POST", "/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}}))?;
        self.each(|site, name| site.send("POST", &collection(), &deployment(name, site.shape)))?;
        Watch::start(self).until(self, 1, Duration::from_mins(10)).map(drop)
    }

    /// Restarts every Deployment as kubectl does; how long it took until all were rolled out.
    pub(super) fn restart_all(&self, patience: Duration) -> Result<Duration> {
        let watch = Watch::start(self);
        watch.until(self, 1, patience)?;
        let begun = Instant::now();
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {
            "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z",
        }}}}});
        self.each(|site, name| site.send("PATCH", &format!("{}/{name}", collection()), &patch))?;
        Ok(watch.until(self, 2, patience)?.duration_since(begun))
    }

    /// The whole list of the pods in JSON: how many bytes it has, and how long it took until the last of them was read.
    pub(super) fn list_pods(&self) -> Result<(usize, Duration)> {
        let headers = [("Authorization", &*format!("Bearer {}", self.token))];
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        let answer =
            Request { method: "GET", path: &path, headers: &headers, body: "" }.send(self.address)?;
        let sent = answer.sent;
        let text = answer.text()?;
        let took = sent.elapsed();
        let pods = text.matches("\"generateName\"").count();
        let expected = self.shape.deployments * self.shape.pods;
        ensure!(pods == expected, "the list has {pods} pods and not {expected}");
        Ok((text.len(), took))
    }

    /// Does something for each Deployment, over several connections.
    fn each(&self, work: impl Fn(&Self, &str) -> Result<()> + Sync) -> Result<()> {
        in_parallel(&self.names(), WRITERS, |name| work(self, name))
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers = [("Authorization", &*format!("Bearer {}", self.token)), ("Content-Type", kind)];
        let answer =
            Request { method, path, headers: &headers, body: &body.to_string() }.send(self.address)?;
        let (status, text) = (answer.status, answer.text()?);
        ensure!((200..300).contains(&status), "{method} {path} was answered with {status}: {text}");
        Ok(())
    }
}

/// Does the work for every item, with so many threads.
pub(super) fn in_parallel<T: Sync>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| scope.spawn(move || items.iter().skip(first).step_by(threads).try_for_each(work)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))))
    })
}

/// What two watches show: which Deployments are rolled out, by generation, and which pods are there.
struct Watch {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    complete: BTreeMap<String, i64>,
    pods: BTreeSet<String>,
}

impl Watch {
    fn start(site: &Site) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let follow = |path: String, note: fn(&mut Seen, Option<(&str, &Value)>)| {
            let (address, token, seen) = (site.address, site.token.clone(), Arc::downgrade(&seen));
            std::thread::spawn(move || {
                // A watch that fell behind begins anew, with all that is there.
                while let Some(shared) = seen.upgrade() {
                    note(&mut shared.lock().unwrap_or_else(PoisonError::into_inner), None);
                    drop(shared);
                    let headers = [("Authorization", &*format!("Bearer {token}"))];
                    let request = Request { method: "GET", path: &path, headers: &headers, body: "" };
                    let Ok(answer) = request.send(address) else { break };
                    for line in answer.lines().map_while(Result::ok) {
                        let Some(shared) = seen.upgrade() else { return };
                        let Ok(event) = serde_json::from_str::<Value>(&line) else { break };
                        let kind = event["type"].as_str().unwrap_or_default();
                        note(
                            &mut shared.lock().unwrap_or_else(PoisonError::into_inner),
                            Some((kind, &event["object"])),
                        );
                    }
                }
            });
        };
        follow(format!("{}?watch=1", collection()), |seen, event| match event {
            None => seen.complete.clear(),
            Some((_, object)) if Deployment::of(object).complete => {
                let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
                seen.complete.insert(name(object), generation);
            }
            Some((_, object)) => _ = seen.complete.remove(&name(object)),
        });
        follow(format!("/api/v1/namespaces/{NAMESPACE}/pods?watch=1"), |seen, event| match event {
            None => seen.pods.clear(),
            Some(("DELETED", object)) => _ = seen.pods.remove(&name(object)),
            Some((_, object)) => _ = seen.pods.insert(name(object)),
        });
        Self { seen }
    }

    /// Waits until every Deployment is rolled out in this generation or a later one, and has no other pod; when that was seen.
    fn until(&self, site: &Site, generation: i64, patience: Duration) -> Result<Instant> {
        let deadline = Instant::now() + patience;
        loop {
            let (complete, pods) = {
                let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                (seen.complete.values().filter(|at| **at >= generation).count(), seen.pods.len())
            };
            if complete == site.shape.deployments && pods == site.shape.deployments * site.shape.pods {
                return Ok(Instant::now());
            }
            ensure!(
                Instant::now() < deadline,
                "after {} s {complete} Deployments of {} are rolled out, and there are {pods} pods",
                patience.as_secs(),
                site.shape.deployments
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn collection() -> String {
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments")
}

fn deployment(name: &str, shape: Shape) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": shape.pods,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    "labels": labels, "annotations": {"sandbox.astradesk.dev/behaviour": shape.behaviour},
                },
                "spec": {"containers": [{"name": "main", "image": "registry.example/app:1"}]},
            },
        },
    })
}

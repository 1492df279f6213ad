//! A cluster with a namespace of the test's own.

use crate::observer::{Kind, Observer};
use crate::workload::Workload;
use astradesk_sandbox::{Config, Sandbox};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;

/// The variable that names the kubeconfig of the real control plane.
pub const TEST_CLUSTER: &str = "ASTRADESK_TEST_CLUSTER";
/// The finalizer that holds a pod back.
const HOLD: &str = "e2e.astradesk.dev/hold";
/// How much faster than life the sandbox's pods are.
const PACE: f64 = 0.1;

/// Which cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The embedded one, fresh for the test.
    Sandbox,
    /// The real control plane, shared with other tests.
    Real,
}

impl Which {
    /// Whether there is such a cluster; says so loudly when there is none, and fails where `CI` is set.
    pub fn is_available(self) -> bool {
        if self == Self::Sandbox || real_kubeconfig().is_some() {
            return true;
        }
        skipped(&format!(
            "no real control plane in `{TEST_CLUSTER}`; use `cargo xtask test`, or \
             `cargo xtask cluster run -- cargo nextest run -p astradesk-e2e`"
        ))
    }
}

/// Says loudly that a test is skipped and why, and fails where `CI` is set.
pub fn skipped(why: &str) -> bool {
    let in_ci = !matches!(std::env::var("CI").as_deref(), Err(_) | Ok("" | "0" | "false"));
    assert!(!in_ci, "in CI nothing may be skipped: {why}");
    eprintln!("SKIPPED: {why}");
    false
}

fn real_kubeconfig() -> Option<PathBuf> {
    std::env::var_os(TEST_CLUSTER).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A cluster, and in it a namespace of the test's own.
pub struct Place {
    /// Which cluster.
    pub which: Which,
    /// The administrator's client.
    pub client: kube::Client,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The namespace.
    pub namespace: String,
    /// The command line under test.
    pub binary: &'static str,
    /// Watches the namespace.
    pub observer: Observer,
    folder: TempDir,
    sandbox: Option<Sandbox>,
    notes: Mutex<Vec<String>>,
}

impl Place {
    /// Opens the cluster and makes a namespace.
    pub async fn open(which: Which, binary: &'static str) -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self::with(which, binary, format!("e2e-{}", &random[..12])).await
    }

    /// Another cluster, an embedded one, with a namespace of the same name.
    pub async fn another(&self) -> Self {
        Self::with(Which::Sandbox, self.binary, self.namespace.clone()).await
    }

    async fn with(which: Which, binary: &'static str, namespace: String) -> Self {
        let folder = tempfile::Builder::new().prefix("astradesk-e2e-").tempdir().unwrap();
        let (sandbox, kubeconfig) = match which {
            Which::Sandbox => {
                let sandbox = Sandbox::start(Config { pace: PACE, ..Config::default() }).await.unwrap();
                let path = folder.path().join("kubeconfig");
                std::fs::write(&path, sandbox.kubeconfig()).unwrap();
                (Some(sandbox), path)
            }
            Which::Real => (None, real_kubeconfig().unwrap()),
        };
        let client = client_of(&kubeconfig).await;
        let wanted =
            serde_json::from_value(json!({"metadata": {"name": namespace, "labels": {"e2e": "yes"}}}));
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &wanted.unwrap()).await.unwrap();
        let observer = Observer::start(&client, &namespace);
        Self {
            which,
            client,
            kubeconfig,
            namespace,
            binary,
            observer,
            folder,
            sandbox,
            notes: Mutex::default(),
        }
    }

    /// Deletes the namespace, and does not wait until it is gone.
    pub async fn close(self) {
        drop(self.observer);
        if self.which == Which::Real {
            let namespaces: Api<Namespace> = Api::all(self.client.clone());
            if let Err(error) = namespaces.delete(&self.namespace, &DeleteParams::background()).await {
                eprintln!("the namespace {} stays: {error}", self.namespace);
            }
        }
        if let Some(sandbox) = self.sandbox {
            sandbox.shutdown().await;
        }
    }

    /// A new folder that goes with the place.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// The cluster's name in targets: the kubeconfig's context.
    pub fn cluster(&self) -> &'static str {
        match self.which {
            Which::Sandbox => "sandbox",
            Which::Real => "test",
        }
    }

    /// Keeps something that a failed test should tell.
    pub fn note(&self, what: &str, value: &Value) {
        let mut notes = self.notes.lock().unwrap();
        notes.push(format!("{what}: {value:#}"));
    }

    /// How things stand: workloads, pods, and what was noted last.
    pub fn told(&self) -> String {
        let mut text = format!("--- namespace {} on {:?}\n", self.namespace, self.which);
        text += &self.observer.told();
        let notes = self.notes.lock().unwrap();
        for note in notes.iter().rev().take(4).rev() {
            let _ = writeln!(text, "--- {note}");
        }
        text
    }

    /// The API of a kind in the namespace.
    pub fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    /// Creates workloads and waits until each runs.
    pub async fn run(&self, workloads: &[&Workload]) {
        for workload in workloads {
            self.create(workload).await;
        }
        for workload in workloads {
            self.observer.running(workload.kind, &workload.name).await;
        }
    }

    /// Creates a workload.
    pub async fn create(&self, workload: &Workload) {
        let object = serde_json::from_value(workload.object(&self.namespace)).unwrap();
        self.api(workload.kind).create(&PostParams::default(), &object).await.unwrap();
    }

    /// Changes an object by a merge patch; its version thereafter.
    pub async fn patch(&self, kind: Kind, name: &str, patch: &Value) -> String {
        let params = PatchParams::default();
        let changed = self.api(kind).patch(name, &params, &Patch::Merge(patch)).await.unwrap();
        changed.resource_version().unwrap()
    }

    /// An object as it is now.
    pub async fn get(&self, kind: Kind, name: &str) -> Value {
        serde_json::to_value(self.api(kind).get(name).await.unwrap()).unwrap()
    }

    /// The pods of a workload as they are now, also those that are going.
    pub async fn pods(&self, name: &str) -> Vec<Value> {
        let only = kube::api::ListParams::default().labels(&format!("app={name}"));
        let list = self.api(Kind::Pod).list(&only).await.unwrap();
        list.items.into_iter().map(|pod| serde_json::to_value(pod).unwrap()).collect()
    }

    /// Holds back one of a workload's pods, so that no rollout of it is complete; its name.
    pub async fn hold(&self, name: &str) -> String {
        let held = self.pods(name).await.remove(0)["metadata"]["name"].as_str().unwrap().to_owned();
        self.patch(Kind::Pod, &held, &json!({"metadata": {"finalizers": [HOLD]}})).await;
        held
    }

    /// Lets a pod go that was held.
    pub async fn release(&self, held: &str) {
        self.patch(Kind::Pod, held, &json!({"metadata": {"finalizers": null}})).await;
    }

    /// Labels every node, or takes the label away.
    pub async fn label_nodes(&self, label: &str, value: Option<&str>) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch = json!({"metadata": {"labels": {label: value}}});
        for node in nodes.list(&kube::api::ListParams::default()).await.unwrap() {
            let labelled =
                nodes.patch(&node.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await;
            // Another test's own node may have gone.
            assert!(!matches!(&labelled, Err(error) if !is_gone(error)), "{labelled:?}");
        }
    }

    /// What the cluster knows of a workload that AstraDesk could have changed.
    pub async fn state(&self, workload: &Workload) -> Unchanged {
        let object = self.get(workload.kind, &workload.name).await;
        Unchanged {
            version: object["metadata"]["resourceVersion"].clone(),
            generation: object["metadata"]["generation"].clone(),
            template: object["spec"]["template"].clone(),
        }
    }
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// What nobody may have changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Unchanged {
    version: Value,
    generation: Value,
    template: Value,
}

impl Unchanged {
    /// All of it.
    pub fn whole(self) -> Value {
        json!([self.version, self.generation, self.template])
    }

    /// All but what a controller changes by itself.
    pub fn without_version(self) -> Value {
        json!([self.generation, self.template])
    }
}

/// A client that retries nothing by itself.
pub async fn client_of(kubeconfig: &Path) -> kube::Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(file, &options).await.unwrap();
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}

//! An independent watch of a namespace: every version of every workload and pod, in order.

use crate::PATIENCE;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// A kind that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A Deployment.
    Deployment,
    /// A `StatefulSet`.
    StatefulSet,
    /// A `DaemonSet`.
    DaemonSet,
    /// A `ReplicaSet`.
    ReplicaSet,
    /// A pod.
    Pod,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::ReplicaSet, Self::Pod];

    /// How the API calls it.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
            Self::ReplicaSet => ApiResource::erase::<ReplicaSet>(&()),
            Self::Pod => ApiResource::erase::<Pod>(&()),
        }
    }

    /// How targets and arguments call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::ReplicaSet => "replicaset",
            Self::Pod => "pod",
        }
    }
}

/// What was seen, in order, and what is there now.
#[derive(Default)]
pub struct View {
    /// Every version of every workload, in the order of the watches.
    history: Vec<(Kind, Value)>,
    now: BTreeMap<(Kind, String), Value>,
}

impl View {
    /// A workload as it is now.
    pub fn workload(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.of(kind).find(|object| object["metadata"]["name"] == name)
    }

    /// The pods of a workload, also those that are going.
    pub fn pods(&self, name: &str) -> Vec<&Value> {
        self.of(Kind::Pod).filter(|pod| pod["metadata"]["labels"]["app"] == name).collect()
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.now.iter().filter(move |((k, _), _)| *k == kind).map(|(_, object)| object)
    }

    /// Whether this version of a workload was seen.
    pub fn saw(&self, kind: Kind, name: &str, version: &Value) -> bool {
        let mut versions = self.history.iter().filter(|(k, o)| *k == kind && o["metadata"]["name"] == name);
        versions.any(|(_, object)| object["metadata"]["resourceVersion"] == *version)
    }

    /// The different marks that the workload's template has had, in order: each pair is the time of a
    /// restart and the run that made it, null where there was none.
    pub fn marks(&self, kind: Kind, name: &str) -> Vec<(Value, Value)> {
        let mut marks: Vec<(Value, Value)> = Vec::new();
        for (_, object) in self.history.iter().filter(|(k, o)| *k == kind && o["metadata"]["name"] == name) {
            let mark = mark_of(object);
            if marks.last() != Some(&mark) {
                marks.push(mark);
            }
        }
        marks
    }
}

/// A template's annotations of a restart: its time and its run.
pub fn mark_of(workload: &Value) -> (Value, Value) {
    let annotations = &workload["spec"]["template"]["metadata"]["annotations"];
    (annotations["kubectl.kubernetes.io/restartedAt"].clone(), annotations["astradesk.dev/run"].clone())
}

/// Whether a pod is ready and stays.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// A pod's uid.
pub fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Whether a workload's controller has seen its latest version, and every pod is new and available.
pub fn is_complete(kind: Kind, workload: &Value) -> bool {
    let number = |path: &str| workload.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    let wanted = match kind {
        Kind::DaemonSet => number("/status/desiredNumberScheduled"),
        _ => number("/spec/replicas"),
    };
    let counts = match kind {
        Kind::DaemonSet => ["updatedNumberScheduled", "numberReady", "numberAvailable"].as_slice(),
        // StatefulSets count the available ones only since Kubernetes 1.22.
        Kind::StatefulSet => &["readyReplicas", "replicas"],
        _ => &["updatedReplicas", "replicas", "availableReplicas"],
    };
    number("/status/observedGeneration") >= number("/metadata/generation")
        && (kind != Kind::DaemonSet || wanted > 0)
        && counts.iter().all(|count| number(&format!("/status/{count}")) == wanted)
}

/// Watches one namespace until it is dropped.
pub struct Observer {
    view: Arc<Mutex<View>>,
    changes: watch::Sender<u64>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Observer {
    /// Starts the watches.
    pub fn start(client: &Client, namespace: &str) -> Self {
        let view = Arc::new(Mutex::new(View::default()));
        let changes = watch::Sender::new(0);
        let tasks = Kind::ALL.map(|kind| {
            let api = Api::namespaced_with(client.clone(), namespace, &kind.resource());
            let task = keep(kind, api, view.clone(), changes.clone());
            AbortOnDropHandle::new(tokio::spawn(task))
        });
        Self { view, changes, _tasks: tasks.into() }
    }

    /// Looks at what is there now.
    pub fn look<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until `find` finds something.
    pub async fn until<T>(&self, what: &str, find: impl Fn(&View) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                changes.mark_unchanged();
                if let Some(found) = self.look(&find) {
                    return found;
                }
                changes.changed().await.unwrap();
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("waited {PATIENCE:?} until {what}"))
    }

    /// Waits until a workload runs with all of its pods, and nothing else.
    pub async fn running(&self, kind: Kind, name: &str) {
        self.until(&format!("{name} runs"), |view| {
            let workload = view.workload(kind, name)?;
            let pods = view.pods(name);
            (is_complete(kind, workload) && pods.iter().all(|pod| is_ready(pod))).then_some(())
        })
        .await;
    }

    /// The uids of a workload's pods.
    pub fn uids(&self, name: &str) -> BTreeSet<String> {
        self.look(|view| view.pods(name).into_iter().map(uid).collect())
    }

    /// Workloads and pods in a few lines.
    pub fn told(&self) -> String {
        let mut text = String::new();
        self.look(|view| {
            for ((kind, _), object) in &view.now {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let deleting =
                    if object["metadata"]["deletionTimestamp"].is_null() { "" } else { " (going)" };
                let _ = match kind {
                    Kind::Pod => {
                        let containers = &object["status"]["containerStatuses"];
                        let ready = if is_ready(object) { "ready" } else { "not ready" };
                        let phase = &object["status"]["phase"];
                        writeln!(text, "pod {name}{deleting} {phase} {ready} {containers}")
                    }
                    Kind::ReplicaSet => Ok(()),
                    _ => {
                        let marks = view.marks(*kind, name);
                        let (generation, status) = (&object["metadata"]["generation"], &object["status"]);
                        writeln!(text, "{kind:?} {name}{deleting} generation {generation} {status} {marks:?}")
                    }
                };
            }
        });
        text
    }
}

async fn keep(kind: Kind, api: Api<DynamicObject>, view: Arc<Mutex<View>>, changes: watch::Sender<u64>) {
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        let mut view = view.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(apply(kind, &mut view, &object));
            }
            Ok(watcher::Event::Apply(object)) => {
                apply(kind, &mut view, &object);
            }
            Ok(watcher::Event::Delete(object)) => {
                view.now.remove(&(kind, object.metadata.uid.unwrap_or_default()));
            }
            Ok(watcher::Event::InitDone) => {
                view.now.retain(|(k, uid), _| *k != kind || listed.contains(uid));
            }
            // The namespace goes before its watches do; anything else shows as a wait that ends in vain.
            Err(_) => {}
        }
        drop(view);
        changes.send_modify(|n| *n += 1);
    }
}

fn apply(kind: Kind, view: &mut View, object: &DynamicObject) -> String {
    let uid = object.metadata.uid.clone().unwrap_or_default();
    let object = serde_json::to_value(object).unwrap();
    if !matches!(kind, Kind::Pod | Kind::ReplicaSet) {
        view.history.push((kind, object.clone()));
    }
    view.now.insert((kind, uid.clone()), object);
    uid
}

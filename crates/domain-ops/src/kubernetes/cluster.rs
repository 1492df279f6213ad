//! The cluster: its client, live reads with bounded retries, the one patch, and what our identity may do.

use super::FIELD_MANAGER;
use super::errors::{Failure, Operation};
use super::redact;
use super::scope::{self, Scope};
use super::workload::Workload;
use astradesk_core::name::{ClusterName, Namespace, ObjectName};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Result, Target, Timestamp};
use astradesk_runtime::port::Clock;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{LogParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The longest that one request may take, watches aside.
const REQUEST: Duration = Duration::from_secs(10);
/// The longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest that the log of a container may take to come.
const LOG: Duration = Duration::from_secs(3);
/// The most lines and bytes of a log that are shown.
const LOG_LIMIT: (usize, usize) = (20, 4096);
/// How often a read is tried, and how long the first pause is.
const READ_TRIES: u32 = 3;
const READ_PAUSE: Duration = Duration::from_millis(100);
/// The most namespaces that are watched at the same time; the least recently used goes first.
const MAX_SCOPES: usize = 16;
/// The most logs of crashed containers that are kept.
const MAX_LOGS: usize = 256;

/// One Kubernetes cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    client: Client,
    name: ClusterName,
    namespace: Namespace,
    clock: Arc<dyn Clock>,
    /// The most recently used first.
    scopes: Mutex<VecDeque<(Namespace, Arc<Scope>)>>,
    /// The last lines of crashed containers, by pod id, container and number of restarts: they never change.
    logs: Mutex<Logs>,
}

/// Logs by pod id, container and number of restarts.
type Logs = HashMap<(String, String, i32), Arc<Vec<String>>>;

/// Something that the pack needs of the cluster, and whether AstraDesk's identity may do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// The verb, as RBAC names it.
    pub verb: &'static str,
    /// The resource, as RBAC names it: `deployments.apps`, `pods/log`.
    pub resource: &'static str,
    /// Whether it is allowed.
    pub allowed: bool,
    /// What it is needed for.
    pub why_needed: &'static str,
}

/// What the pack needs: group, resource, subresource, verbs and why.
const NEEDS: &[(&str, &str, &str, &[&str], &str)] = &[
    ("apps", "deployments", "", &["get", "list", "watch"], "to find and watch Deployments"),
    ("apps", "deployments", "", &["patch"], "to restart Deployments"),
    ("apps", "statefulsets", "", &["get", "list", "watch"], "to find and watch StatefulSets"),
    ("apps", "statefulsets", "", &["patch"], "to restart StatefulSets"),
    ("apps", "daemonsets", "", &["get", "list", "watch"], "to find and watch DaemonSets"),
    ("apps", "daemonsets", "", &["patch"], "to restart DaemonSets"),
    ("apps", "replicasets", "", &["list", "watch"], "to tell the new pods of a Deployment from the old"),
    ("", "pods", "", &["list", "watch"], "to see that new pods are ready and old ones gone"),
    ("", "pods", "log", &["get"], "to show the last log lines of a sick pod (optional)"),
    ("", "events", "", &["list", "watch"], "to explain what is wrong (optional)"),
];

impl Cluster {
    /// The cluster that `config` leads to, called `name`, with the namespace that calls mean when they name
    /// none. Nothing is sent yet. Must be called inside a Tokio runtime.
    ///
    /// The client has no retries of its own: kube's would repeat a write after a 429, 503 or 504 of any
    /// origin, and hide that it did.
    pub fn connect(
        mut config: kube::Config,
        name: ClusterName,
        namespace: Namespace,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        limit(&mut config);
        let client = Client::try_from(config).map_err(|error| {
            Error::new(Code::ConfigInvalid, format!("the kubeconfig cannot be used: {error}"))
                .with_remedy("correct the cluster's entry in the kubeconfig")
        })?;
        Ok(Self::with_client(client, name, namespace, clock))
    }

    /// The cluster behind a client, which must not retry by itself.
    pub(crate) fn with_client(
        client: Client,
        name: ClusterName,
        namespace: Namespace,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Inner {
            client,
            name,
            namespace,
            clock,
            scopes: Mutex::default(),
            logs: Mutex::default(),
        }))
    }

    /// The cluster's name, as targets show it.
    pub fn name(&self) -> &ClusterName {
        &self.0.name
    }

    /// The namespace that is meant when a call names none.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// A target in this cluster.
    pub fn target(&self, namespace: &Namespace, kind: Kind, name: ObjectName) -> Target {
        Target::Kubernetes { cluster: self.0.name.clone(), namespace: namespace.clone(), kind, name }
    }

    /// The API server's version, such as `v1.33.2`.
    pub async fn version(&self) -> Result<String> {
        let operation = Operation::new("get", "version", "", "");
        let version = self.read(&operation, || self.0.client.apiserver_version()).await;
        version.map(|info| info.git_version).map_err(|failure| failure.into_error(&operation))
    }

    /// What the pack needs in a namespace, and whether our identity may do it.
    pub async fn permissions(&self, namespace: &Namespace) -> Result<Vec<Permission>> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.0.client.clone());
        let operation = Operation::new("create", "selfsubjectaccessreviews.authorization.k8s.io", "", "");
        let mut found = Vec::new();
        for (group, resource, subresource, verbs, why_needed) in NEEDS {
            for verb in *verbs {
                let attributes = ResourceAttributes {
                    namespace: Some(namespace.to_string()),
                    verb: Some((*verb).to_owned()),
                    group: Some((*group).to_owned()),
                    resource: Some((*resource).to_owned()),
                    subresource: Some((*subresource).to_owned()).filter(|s| !s.is_empty()),
                    ..ResourceAttributes::default()
                };
                let review = SelfSubjectAccessReview {
                    spec: SelfSubjectAccessReviewSpec {
                        resource_attributes: Some(attributes),
                        ..SelfSubjectAccessReviewSpec::default()
                    },
                    ..SelfSubjectAccessReview::default()
                };
                let params = PostParams::default();
                let answer = self.read(&operation, || reviews.create(&params, &review)).await;
                let answer = answer.map_err(|failure| failure.into_error(&operation))?;
                let allowed = answer.status.is_some_and(|status| status.allowed);
                found.push(Permission {
                    verb,
                    resource: rbac_name(resource, subresource),
                    allowed,
                    why_needed,
                });
            }
        }
        Ok(found)
    }

    /// The watches of a namespace, which are started if need be; see [`Scope::ready`].
    pub fn scope(&self, namespace: &Namespace) -> Arc<Scope> {
        let mut scopes = self.0.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = touch(&mut scopes, namespace) {
            return found;
        }
        let scope = Arc::new(Scope::start(&self.0.client, namespace.as_str()));
        scopes.push_front((namespace.clone(), scope.clone()));
        scopes.truncate(MAX_SCOPES);
        scope
    }

    /// The kinds of workloads that have this name.
    ///
    /// Only the default namespace, and namespaces that are watched already, are looked up in the watches:
    /// this is asked before policy decides, and must not let anybody start watches of namespaces at will.
    pub async fn kinds(&self, namespace: &Namespace, name: &str) -> Result<Vec<Kind>> {
        let watched = if namespace == self.namespace() {
            Some(self.scope(namespace))
        } else {
            touch(&mut self.0.scopes.lock().unwrap_or_else(PoisonError::into_inner), namespace)
        };
        if let Some(scope) = watched {
            scope.ready(scope::PATIENCE).await?;
            return Ok(scope.kinds(name));
        }
        let mut kinds = Vec::new();
        for kind in [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet] {
            match self.get(kind, namespace, name).await {
                Ok(_) => kinds.push(kind),
                Err(failure) if failure.is_not_found() => {}
                Err(failure) => {
                    return Err(failure.into_error(&operation("get", kind, namespace, name)));
                }
            }
        }
        Ok(kinds)
    }

    /// The workload as it is now, with a few retries when the cluster does not answer well.
    pub async fn get(&self, kind: Kind, namespace: &Namespace, name: &str) -> Result<Workload, Failure> {
        let operation = operation("get", kind, namespace, name);
        match kind {
            Kind::StatefulSet => {
                let api: Api<StatefulSet> = self.api(namespace);
                self.read(&operation, || api.get(name)).await.map(|object| Workload::from(&object))
            }
            Kind::DaemonSet => {
                let api: Api<DaemonSet> = self.api(namespace);
                self.read(&operation, || api.get(name)).await.map(|object| Workload::from(&object))
            }
            Kind::Deployment | Kind::Workload | Kind::Namespace => {
                let api: Api<Deployment> = self.api(namespace);
                self.read(&operation, || api.get(name)).await.map(|object| Workload::from(&object))
            }
        }
    }

    /// Sends one merge patch, once. With `dry_run` the API server does everything but store it.
    pub async fn patch(
        &self,
        kind: Kind,
        namespace: &Namespace,
        name: &str,
        patch: &Value,
        dry_run: bool,
    ) -> Result<Workload, Failure> {
        match kind {
            Kind::StatefulSet => {
                let object = send_patch::<StatefulSet>(&self.api(namespace), name, patch, dry_run).await?;
                Ok(Workload::from(&object))
            }
            Kind::DaemonSet => {
                let object = send_patch::<DaemonSet>(&self.api(namespace), name, patch, dry_run).await?;
                Ok(Workload::from(&object))
            }
            Kind::Deployment | Kind::Workload | Kind::Namespace => {
                let object = send_patch::<Deployment>(&self.api(namespace), name, patch, dry_run).await?;
                Ok(Workload::from(&object))
            }
        }
    }

    /// The last lines of a container, made safe; of its previous life if it has crashed. Empty when the
    /// log cannot be had.
    pub async fn log(&self, namespace: &str, sick: &super::diagnosis::Sick) -> Arc<Vec<String>> {
        let Some(container) = &sick.container else {
            return Arc::default();
        };
        let crashed = sick.cause == super::diagnosis::Cause::CrashLoop;
        let key = (sick.uid.clone(), container.clone(), sick.container_restarts);
        let logs = || self.0.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if crashed && let Some(known) = logs().get(&key) {
            return known.clone();
        }
        let lines =
            self.fetch_log(namespace, &sick.pod, container, crashed && sick.container_restarts > 0).await;
        let lines = Arc::new(lines);
        if crashed && !lines.is_empty() {
            let mut logs = logs();
            if logs.len() >= MAX_LOGS {
                logs.clear();
            }
            logs.insert(key, lines.clone());
        }
        lines
    }

    async fn fetch_log(&self, namespace: &str, pod: &str, container: &str, previous: bool) -> Vec<String> {
        let api: Api<Pod> = Api::namespaced(self.0.client.clone(), namespace);
        let params = |previous| LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(LOG_LIMIT.0 as i64),
            // Enough for the lines that are kept, and a bound on what is read at all.
            limit_bytes: Some(64 * 1024),
            previous,
            ..LogParams::default()
        };
        let (first, second) = (params(previous), params(false));
        let fetch = async {
            match api.logs(pod, &first).await {
                Err(_) if previous => api.logs(pod, &second).await,
                answer => answer,
            }
        };
        match timeout(LOG, fetch).await {
            Ok(Ok(text)) => redact::log(&text, LOG_LIMIT.0, LOG_LIMIT.1),
            Ok(Err(error)) => {
                tracing::debug!(pod, %error, "the log cannot be had");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    fn api<K>(&self, namespace: &Namespace) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.0.client.clone(), namespace.as_str())
    }

    /// Reads, trying again a few times when that may help.
    async fn read<T, F>(&self, operation: &Operation, ask: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let mut pause = READ_PAUSE;
        let begun = Instant::now();
        for _ in 1..READ_TRIES {
            match once(ask()).await {
                Err(failure) if failure.is_transient() && begun.elapsed() < REQUEST => {
                    tracing::debug!(%operation, ?failure, "trying again");
                }
                answer => return answer,
            }
            sleep(pause).await;
            pause *= 3;
        }
        once(ask()).await
    }
}

async fn send_patch<K>(api: &Api<K>, name: &str, patch: &Value, dry_run: bool) -> Result<K, Failure>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let params =
        PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    once(api.patch(name, &params, &Patch::Merge(patch))).await
}

async fn once<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match timeout(REQUEST, request).await {
        Ok(answer) => answer.map_err(Failure::Api),
        Err(_) => Err(Failure::TimedOut),
    }
}

/// No retries of the client's own, and no wait without a limit.
pub(crate) fn limit(config: &mut kube::Config) {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(REQUEST);
    config.read_timeout = Some(scope::SILENCE);
    config.reset_reader_on_write = true;
}

/// Finds a namespace's watches, and marks them as used.
fn touch(scopes: &mut VecDeque<(Namespace, Arc<Scope>)>, namespace: &Namespace) -> Option<Arc<Scope>> {
    let at = scopes.iter().position(|(name, _)| name == namespace)?;
    if at > 0
        && let Some(found) = scopes.remove(at)
    {
        scopes.push_front(found);
    }
    scopes.front().map(|(_, scope)| scope.clone())
}

/// An operation on a workload.
pub(crate) fn operation(verb: &'static str, kind: Kind, namespace: &Namespace, name: &str) -> Operation {
    let resource = match kind {
        Kind::StatefulSet => "statefulsets.apps",
        Kind::DaemonSet => "daemonsets.apps",
        Kind::Deployment | Kind::Workload | Kind::Namespace => "deployments.apps",
    };
    Operation::new(verb, resource, namespace.as_str(), name)
}

fn rbac_name(resource: &str, subresource: &str) -> &'static str {
    match (resource, subresource) {
        ("deployments", _) => "deployments.apps",
        ("statefulsets", _) => "statefulsets.apps",
        ("daemonsets", _) => "daemonsets.apps",
        ("replicasets", _) => "replicasets.apps",
        ("pods", "log") => "pods/log",
        ("pods", _) => "pods",
        _ => "events",
    }
}

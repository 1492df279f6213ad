//! The cluster: live reads, the one patch, its watches, and the logs of its pods.

use super::budgets::Budgets;
use super::client::Requests;
use super::errors::{Failure, Operation};
use super::facts::Described;
use super::gate::{Pace, Sent};
use super::history::{self, History};
use super::redact;
use super::scope::{self, Scope};
use super::workload::Workload;
use astradesk_core::facts::DisruptionBudget;
use astradesk_core::name::{ClusterName, Namespace, ObjectName};
use astradesk_core::target::Kind;
use astradesk_core::{Result, Target, Timestamp};
use astradesk_runtime::port::Clock;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The longest that the log of a container may take to come.
const LOG: Duration = Duration::from_secs(3);
/// The most lines and bytes of a log that are shown.
const LOG_LIMIT: (usize, usize) = (20, 4096);
/// The most namespaces that are watched at the same time; the least recently used goes first.
const MAX_SCOPES: usize = 16;
/// The most logs of crashed containers that are kept.
const MAX_LOGS: usize = 256;

/// One Kubernetes cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    requests: Requests,
    name: ClusterName,
    namespace: Namespace,
    clock: Arc<dyn Clock>,
    budgets: Budgets,
    /// The most recently used first.
    scopes: Mutex<VecDeque<(Namespace, Arc<Scope>)>>,
    /// The last lines of crashed containers, by pod id, container and number of restarts: they never change.
    logs: Mutex<Logs>,
}

/// Logs by pod id, container and number of restarts.
type Logs = HashMap<(String, String, i32), Arc<Vec<String>>>;

impl Cluster {
    /// The cluster that `config` leads to, called `name`, with the namespace that calls mean when they name
    /// none, asked no faster than `pace`. Nothing is sent yet. Must be called inside a Tokio runtime.
    pub fn connect(
        config: kube::Config,
        name: ClusterName,
        namespace: Namespace,
        clock: Arc<dyn Clock>,
        pace: Pace,
    ) -> Result<Self> {
        Ok(Self::with(Requests::new(config, pace)?, name, namespace, clock))
    }

    /// The cluster at the end of this way.
    pub(crate) fn with(
        requests: Requests,
        name: ClusterName,
        namespace: Namespace,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (scopes, logs) = (Mutex::default(), Mutex::default());
        let budgets = Budgets::new(clock.clone());
        Self(Arc::new(Inner { requests, name, namespace, clock, budgets, scopes, logs }))
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.0.requests
    }

    /// The requests that were sent so far, by verb and status.
    pub fn sent(&self) -> Vec<Sent> {
        self.requests().gate().sent()
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
        let requests = self.requests();
        let version = requests.read(&operation, || requests.client().apiserver_version()).await;
        version.map(|info| info.git_version).map_err(|failure| failure.into_error(&operation))
    }

    /// The watches of a namespace, which are started if need be; see [`Scope::ready`].
    pub fn scope(&self, namespace: &Namespace) -> Arc<Scope> {
        let mut scopes = self.0.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = touch(&mut scopes, namespace) {
            return found;
        }
        let scope = Arc::new(Scope::start(self.requests(), namespace.as_str()));
        scopes.push_front((namespace.clone(), scope.clone()));
        scopes.truncate(MAX_SCOPES);
        scope
    }

    /// The watches of a namespace, for what is asked before policy decides: nobody may start watches of namespaces at
    /// will, so only those of the default namespace are started, and the others used as far as they are there.
    fn watched(&self, namespace: &Namespace) -> Option<Arc<Scope>> {
        if namespace == self.namespace() {
            return Some(self.scope(namespace));
        }
        touch(&mut self.0.scopes.lock().unwrap_or_else(PoisonError::into_inner), namespace)
    }

    /// The kinds of workloads that have this name, as the watches have it if the namespace is watched.
    pub async fn kinds(&self, namespace: &Namespace, name: &str) -> Result<Vec<Kind>> {
        if let Some(scope) = self.watched(namespace) {
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
        self.get_view(kind, namespace, name).await
    }

    /// The workload with what is known of it beyond what a rollout asks for: read from the API server if it must be
    /// as it is `now`, else as the watches have it if they have it.
    pub async fn describe(
        &self,
        kind: Kind,
        namespace: &Namespace,
        name: &str,
        now: bool,
    ) -> Result<Arc<Described>, Failure> {
        let watched = if now { None } else { self.watched(namespace) };
        if let Some(known) = watched.and_then(|scope| scope.described(kind, name)) {
            return Ok(known);
        }
        self.get_view(kind, namespace, name).await.map(Arc::new)
    }

    /// A view of the workload as it is now.
    pub(crate) async fn get_view<V>(
        &self,
        kind: Kind,
        namespace: &Namespace,
        name: &str,
    ) -> Result<V, Failure>
    where
        for<'a> V: From<&'a Deployment> + From<&'a StatefulSet> + From<&'a DaemonSet>,
    {
        let operation = operation("get", kind, namespace, name);
        Ok(match kind {
            Kind::StatefulSet => (&self.get_object::<StatefulSet>(&operation).await?).into(),
            Kind::DaemonSet => (&self.get_object::<DaemonSet>(&operation).await?).into(),
            Kind::Deployment | Kind::Workload | Kind::Pod | Kind::Namespace => {
                (&self.get_object::<Deployment>(&operation).await?).into()
            }
        })
    }

    async fn get_object<K>(&self, operation: &Operation) -> Result<K, Failure>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = self.requests().api(&operation.namespace);
        self.requests().read(operation, || api.get(&operation.name)).await
    }

    /// The PodDisruptionBudgets of a namespace that cover pods with these labels, as they were at most
    /// 1 s ago; as they are now, if one of them would allow less than `taken` disruptions, or none.
    ///
    /// # Errors
    /// What the cluster answers, such as [`Code::KubernetesForbidden`](astradesk_core::Code::KubernetesForbidden):
    /// without an answer nobody knows what may be disrupted.
    pub async fn disruption_budgets(
        &self,
        namespace: &Namespace,
        pod_labels: &BTreeMap<String, String>,
        taken: u32,
    ) -> Result<Vec<DisruptionBudget>> {
        self.0.budgets.covering(self.requests(), namespace.as_str(), pod_labels, taken).await
    }

    /// Sends one merge patch, once, if its turn comes before `until`. Without that it is a dry run.
    pub async fn patch(
        &self,
        kind: Kind,
        namespace: &Namespace,
        name: &str,
        patch: &Value,
        until: Option<Instant>,
    ) -> Result<Workload, Failure> {
        let (requests, namespace) = (self.requests(), namespace.as_str());
        Ok(match kind {
            Kind::StatefulSet => {
                (&requests.patch::<StatefulSet>(namespace, name, patch, until).await?).into()
            }
            Kind::DaemonSet => (&requests.patch::<DaemonSet>(namespace, name, patch, until).await?).into(),
            Kind::Deployment | Kind::Workload | Kind::Pod | Kind::Namespace => {
                (&requests.patch::<Deployment>(namespace, name, patch, until).await?).into()
            }
        })
    }

    /// The templates that a workload had, as far as its controller keeps them, read from the API server.
    pub(crate) async fn history(&self, workload: &Workload) -> Result<History, Failure> {
        history::read(self.requests(), workload).await
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
        let api: Api<Pod> = self.requests().api(namespace);
        let params = |previous| LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(LOG_LIMIT.0 as i64),
            // Enough for the lines that are kept, and a bound on what is read at all.
            limit_bytes: Some(64 * 1024),
            previous,
            ..LogParams::default()
        };
        let (first, second) = (params(previous), params(false));
        let requests = self.requests();
        let fetch = async {
            match requests.once(api.logs(pod, &first)).await {
                Err(_) if previous => requests.once(api.logs(pod, &second)).await,
                answer => answer,
            }
        };
        match timeout(LOG, fetch).await {
            Ok(Ok(text)) => redact::log(&text, LOG_LIMIT.0, LOG_LIMIT.1),
            Ok(Err(failure)) => {
                tracing::debug!(pod, ?failure, "the log cannot be had");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }
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
        Kind::Deployment | Kind::Workload | Kind::Pod | Kind::Namespace => "deployments.apps",
    };
    Operation::new(verb, resource, namespace.as_str(), name)
}

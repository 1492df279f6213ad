//! The Kubernetes tools, and what they have in common: how arguments become a target.

mod clusters;
mod cordon_node;
mod drain_node;
mod evict_pod;
mod get_events;
mod get_service_logs;
mod get_service_status;
mod list_services;
mod pause_rollout;
mod read;
mod restart_service;
mod rollback_service;
mod scale_service;
mod write;

pub use clusters::MOST_CLUSTERS;
pub use scale_service::MOST_REPLICAS;
pub(crate) use scale_service::ScaleService;

pub(in crate::tools) use read::{Read, Reading};

use super::words;
use crate::checks::Checks;
use crate::kubernetes::cluster::operation;
use crate::kubernetes::facts::Described;
use crate::kubernetes::once::{self, Job};
use crate::kubernetes::scope::PATIENCE;
use crate::kubernetes::workload::Workload;
use crate::kubernetes::{Bounds, Cluster, gitops};
use astradesk_core::name::{ClusterName, Namespace, ObjectName};
use astradesk_core::run::OnFailure;
use astradesk_core::target::Kind;
use astradesk_core::text::near;
use astradesk_core::{Arguments, Code, Error, Facts, FrozenCall, Result, Target};
use astradesk_runtime::port::{StepContext, Tool};
use clusters::OnClusters;
use cordon_node::CordonNode;
use drain_node::DrainNode;
use evict_pod::EvictPod;
use get_events::GetEvents;
use get_service_logs::GetServiceLogs;
use get_service_status::GetServiceStatus;
use list_services::ListServices;
use pause_rollout::PauseRollout;
use restart_service::RestartService;
use rollback_service::RollbackService;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The tools on these clusters, what becomes of a failed restart when the call does not say, how many replicas a
/// service may be given, and what measures whether a change has done it good.
///
/// # Errors
/// `config.invalid`: there is no cluster, there are more than [`MOST_CLUSTERS`], or two have one name.
pub fn tools(
    clusters: &[Cluster],
    on_failure: OnFailure,
    replicas: Bounds,
    checks: &Checks,
) -> Result<Vec<Arc<dyn Tool>>> {
    on_each(clusters, |cluster| on_one(cluster, on_failure, replicas, checks))
}

/// The tools of each of these clusters; on several, one tool of those that are the same.
///
/// # Errors
/// As [`tools`].
pub(in crate::tools) fn on_each(
    clusters: &[Cluster],
    on_one: impl Fn(&Cluster) -> Result<Vec<Arc<dyn Tool>>>,
) -> Result<Vec<Arc<dyn Tool>>> {
    let names: BTreeSet<_> = clusters.iter().map(Cluster::name).collect();
    if names.len() < clusters.len() || !(1..=MOST_CLUSTERS).contains(&clusters.len()) {
        let message = format!("there must be 1 to {MOST_CLUSTERS} clusters, each with a name of its own");
        return Err(Error::new(Code::ConfigInvalid, message)
            .with_remedy("name them with `kubernetes.cluster` and `kubernetes.contexts`"));
    }
    let mut same: Vec<Vec<(ClusterName, Arc<dyn Tool>)>> = Vec::new();
    for cluster in clusters {
        let tools = on_one(cluster)?;
        same.resize_with(tools.len(), Vec::new);
        for (same, tool) in same.iter_mut().zip(tools) {
            same.push((cluster.name().clone(), tool));
        }
    }
    same.into_iter().map(OnClusters::of).collect()
}

/// The tools on one cluster.
fn on_one(
    cluster: &Cluster,
    on_failure: OnFailure,
    replicas: Bounds,
    checks: &Checks,
) -> Result<Vec<Arc<dyn Tool>>> {
    Ok(vec![
        checks.on(cluster, Arc::new(RestartService::new(cluster.clone(), on_failure)?)),
        checks.on(cluster, Arc::new(RollbackService::new(cluster.clone())?)),
        checks.on(cluster, Arc::new(ScaleService::new(cluster.clone(), replicas)?)),
        Arc::new(PauseRollout::pause(cluster.clone())?),
        Arc::new(PauseRollout::resume(cluster.clone())?),
        Arc::new(EvictPod::new(cluster.clone())?),
        Arc::new(CordonNode::cordon(cluster.clone())?),
        Arc::new(CordonNode::uncordon(cluster.clone())?),
        Arc::new(DrainNode::new(cluster.clone())?),
        Arc::new(GetServiceStatus::new(cluster.clone())?),
        Arc::new(GetServiceLogs::new(cluster.clone())?),
        Arc::new(GetEvents::new(cluster.clone())?),
        Arc::new(ListServices::new(cluster.clone())?),
    ])
}

/// What a call is about, from its target.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(in crate::tools) namespace: Namespace,
    pub(in crate::tools) kind: Kind,
    pub(in crate::tools) name: ObjectName,
}

impl Subject {
    /// The one target of a frozen call.
    pub(in crate::tools) fn of(call: &FrozenCall) -> Result<Self> {
        match call.targets.as_slice() {
            [Target::Kubernetes { namespace, kind, name, .. }] => {
                Ok(Self { namespace: namespace.clone(), kind: *kind, name: name.clone() })
            }
            _ => Err(Error::internal("a Kubernetes call must have one Kubernetes target")),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, kind, name } = self;
        write!(f, "{kind}/{name} in namespace `{namespace}`")
    }
}

pub(in crate::tools) fn text<'a>(arguments: &'a Arguments, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str)
}

/// The namespace that the arguments name, else the cluster's default.
pub(super) fn namespace(cluster: &Cluster, arguments: &Arguments) -> Result<Namespace> {
    text(arguments, "namespace").map_or_else(|| Ok(cluster.namespace().clone()), Namespace::parse)
}

/// The same, as a target.
fn namespace_target(cluster: &Cluster, arguments: &Arguments) -> Result<Target> {
    let namespace = namespace(cluster, arguments)?;
    let name = ObjectName::parse(namespace.as_str())?;
    Ok(cluster.target(&namespace, Kind::Namespace, name))
}

/// The workload that the arguments mean. Which kind it is is looked up unless they say so; a name that
/// means none or several, or that cannot be looked up now, has the kind `workload`, and is refused only
/// after policy has decided: so nobody learns what exists who may not.
pub(in crate::tools) async fn workload_target(cluster: &Cluster, arguments: &Arguments) -> Result<Target> {
    let namespace = namespace(cluster, arguments)?;
    let name = ObjectName::parse(text(arguments, "service").unwrap_or_default())?;
    let kind = match text(arguments, "kind") {
        Some(kind) => kind.parse()?,
        None => match cluster.kinds(&namespace, name.as_str()).await.as_deref() {
            Ok([only]) => *only,
            Ok(_) | Err(_) => Kind::Workload,
        },
    };
    Ok(cluster.target(&namespace, kind, name))
}

/// What a step is to change.
fn job(step: &StepContext) -> Result<Job> {
    let Subject { namespace, kind, name } = Subject::of(&step.call)?;
    Ok(Job {
        target: step.call.targets.iter().map(Target::to_string).collect(),
        kind,
        namespace,
        name: name.to_string(),
        mark: once::mark(step),
        is_undo: step.undoes.is_some(),
        repeated: step.repeated,
        deadline: step.deadline,
        progress: step.progress.clone(),
    })
}

/// Has the API server check a patch of the workload that a call is about, and apply nothing.
async fn try_out(cluster: &Cluster, call: &FrozenCall, patch: &Value) -> Result<()> {
    let Subject { namespace, kind, name } = Subject::of(call)?;
    once::try_out(cluster, kind, &namespace, name.as_str(), patch).await
}

/// What a dry run tells of a workload, with who may revert the change.
fn warned(mut plan: Value, workload: &Workload) -> Value {
    if let (Some(warning), Some(fields)) = (gitops::warning(workload), plan.as_object_mut()) {
        fields.insert("warning".to_owned(), warning.into());
    }
    plan
}

/// The workload that a call is about, as it is now.
async fn workload(cluster: &Cluster, call: &FrozenCall) -> Result<Workload> {
    let subject = Subject::of(call)?;
    let Subject { namespace, kind, name } = &subject;
    if *kind == Kind::Workload {
        return Err(unresolved(cluster, &subject).await);
    }
    match cluster.get(*kind, namespace, name.as_str()).await {
        Ok(workload) => Ok(workload),
        Err(failure) if failure.is_not_found() => Err(not_found(cluster, &subject).await),
        Err(failure) => Err(failure.into_error(&operation("get", *kind, namespace, name.as_str()))),
    }
}

/// The workload that a call is about, with what is known of it; none if there is no such workload, or several.
pub(in crate::tools) async fn described(
    cluster: &Cluster,
    subject: &Subject,
    now: bool,
) -> Result<Option<Arc<Described>>> {
    let Subject { namespace, kind, name } = subject;
    if *kind == Kind::Workload {
        // Its kind could not be told when it was looked up. Whether the cluster answers now is what matters.
        return cluster.kinds(namespace, name.as_str()).await.map(|_| None);
    }
    match cluster.describe(*kind, namespace, name.as_str(), now).await {
        Ok(described) => Ok(Some(described)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure.into_error(&operation("get", *kind, namespace, name.as_str()))),
    }
}

/// What is known of the workload of a call that replaces no pod; of one that is not there, nothing. Its disruption budgets
/// are not asked for.
async fn at_rest(cluster: &Cluster, call: &FrozenCall, now: bool) -> Result<Facts> {
    let subject = Subject::of(call)?;
    if subject.kind == Kind::Namespace {
        return Ok(Facts::default());
    }
    let described = described(cluster, &subject, now).await?;
    Ok(described.map(|described| described.at_rest()).unwrap_or_default())
}

/// The same of a call that replaces every pod.
async fn rolled_out(cluster: &Cluster, call: &FrozenCall, now: bool) -> Result<Facts> {
    let subject = Subject::of(call)?;
    let Some(described) = described(cluster, &subject, now).await? else { return Ok(Facts::default()) };
    let facts = described.rolled_out();
    let taken = facts.availability.map_or(1, |pods| pods.at_most_unavailable);
    let (namespace, pods) = (&subject.namespace, &described.pod_labels);
    let disruption_budgets = cluster.disruption_budgets(namespace, pods, taken).await?;
    Ok(Facts { disruption_budgets, ..facts })
}

/// Why a target has no kind: there is no such workload, there are several, or the cluster did not say.
pub(in crate::tools) async fn unresolved(cluster: &Cluster, subject: &Subject) -> Error {
    let Subject { namespace, name, .. } = subject;
    let kinds = match cluster.kinds(namespace, name.as_str()).await {
        Ok(kinds) => kinds,
        Err(error) => return error,
    };
    match kinds.as_slice() {
        [] => not_found(cluster, subject).await,
        [_] => Error::new(
            Code::KubernetesConflict,
            format!("`{name}` in namespace `{namespace}` could not be looked up when this was asked for"),
        ),
        several => Error::new(
            Code::KubernetesAmbiguousKind,
            format!("several kinds of workloads are called `{name}` in namespace `{namespace}`"),
        )
        .with_candidates(several.iter().map(|kind| kind.as_str())),
    }
}

/// There is no such workload; names of the same namespace that are close to it are told.
pub(super) async fn not_found(cluster: &Cluster, subject: &Subject) -> Error {
    let Subject { namespace, kind, name } = subject;
    let what = if *kind == Kind::Workload { "deployment, statefulset or daemonset" } else { kind.as_str() };
    let error = Error::new(
        Code::KubernetesNotFound,
        format!("there is no {what} `{name}` in namespace `{namespace}`"),
    );
    let scope = cluster.scope(namespace);
    if scope.ready(PATIENCE).await.is_err() {
        return error;
    }
    let near = near(name.as_str(), &scope.names());
    if near.is_empty() {
        return error;
    }
    let remedy = format!("check the name; near it are: {}", near.join(", "));
    error.with_candidates(near).with_remedy(remedy)
}

/// The schema of a name.
pub(in crate::tools) fn service_schema() -> Value {
    json!({
        "type": "string",
        "description": "the name of the Deployment, StatefulSet or DaemonSet",
        "minLength": 1,
        "maxLength": 253,
        "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
    })
}

/// The schema of a namespace.
pub(in crate::tools) fn namespace_schema(cluster: &Cluster) -> Value {
    json!({
        "type": "string",
        "description": format!("the namespace; `{}` unless it is given", cluster.namespace()),
        "minLength": 1,
        "maxLength": 63,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    })
}

/// The schema of a kind.
pub(in crate::tools) fn kind_schema() -> Value {
    json!({
        "type": "string",
        "description": "the kind of the workload; needed only when several kinds have the name",
        "enum": ["deployment", "statefulset", "daemonset"],
    })
}

/// The schema of what becomes of an effect that does not come out well.
fn on_failure_schema(of: &str, default: OnFailure) -> Value {
    json!({
        "type": "string",
        "description": format!(
            "what becomes of {of}: `leave` it as it is, or `undo` it; `{}` unless it is given",
            word(default),
        ),
        "enum": ["leave", "undo"],
    })
}

/// What becomes of a change that does not come out well; `default` if the call does not say.
fn on_failure(arguments: &Arguments, default: OnFailure) -> OnFailure {
    match text(arguments, "on_failure") {
        Some("undo") => OnFailure::Undo,
        Some(_) => OnFailure::Leave,
        None => default,
    }
}

/// What arguments and outputs call it.
const fn word(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::Leave => "leave",
        OnFailure::Undo => "undo",
    }
}

/// The schema of a time limit.
pub(in crate::tools) fn timeout_schema(of: &str) -> Value {
    json!({
        "type": "string",
        "description": format!("how long {of} may take, from `1s` to `1h`; `10m` unless it is given"),
        "maxLength": 5,
        "pattern": "^(([1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|3600)s|([1-9]|[1-5][0-9]|60)m|1h)$",
    })
}

/// Whether the arguments say so; what they do not say is not so.
fn flag(arguments: &Arguments, name: &str) -> bool {
    arguments.get(name).and_then(Value::as_bool).unwrap_or(false)
}

pub(in crate::tools) fn accepts_downtime(arguments: &Arguments) -> bool {
    flag(arguments, "accept_downtime")
}

/// The schema of a node's name.
fn node_schema() -> Value {
    json!({
        "type": "string",
        "description": "the name of the node",
        "minLength": 1,
        "maxLength": 253,
        "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
    })
}

/// The node that the arguments mean.
fn node_name(arguments: &Arguments) -> Result<ObjectName> {
    ObjectName::parse(text(arguments, "node").unwrap_or_default())
}

/// The nodes that a sentence may name.
async fn node_names(cluster: &Cluster, argument: &str) -> Result<Vec<String>> {
    if argument == "node" { cluster.node_names().await } else { Ok(Vec::new()) }
}

/// What is known of the node that a call is about; of one that is not there, nothing.
async fn node_facts(cluster: &Cluster, call: &FrozenCall) -> Result<Facts> {
    match cluster.node(&node_name(&call.arguments)?).await {
        Ok(node) => Ok(node.facts),
        Err(error) if error.code == Code::KubernetesNotFound => Ok(Facts::default()),
        Err(error) => Err(error),
    }
}

/// A time as the schema lets it in: a number and `s`, `m` or `h`.
pub(in crate::tools) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=3600).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// The schema of a time that lies back.
fn since_schema(of: &str) -> Value {
    json!({
        "type": "string",
        "description": format!("only {of} of the last so long: `30s`, `10m`, `2h`, `1d`; at most 99 days"),
        "maxLength": 6,
        "pattern": "^([1-9][0-9]{0,4}s|[1-9][0-9]{0,3}m|[1-9][0-9]{0,2}h|[1-9][0-9]?d)$",
    })
}

/// A time as the schema lets it in: a number and `s`, `m`, `h` or `d`.
fn seconds(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

/// The names of all workloads of the default namespace.
async fn service_names(cluster: &Cluster) -> Result<Vec<String>> {
    let scope = cluster.scope(cluster.namespace());
    scope.ready(PATIENCE).await?;
    Ok(scope.names())
}

/// The services that a sentence may name.
pub(in crate::tools) async fn candidates(cluster: &Cluster, argument: &str) -> Result<Vec<String>> {
    if argument == "service" { service_names(cluster).await } else { Ok(Vec::new()) }
}

#[cfg(test)]
mod facts_tests;
#[cfg(test)]
mod pods_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::{frozen, unreachable};

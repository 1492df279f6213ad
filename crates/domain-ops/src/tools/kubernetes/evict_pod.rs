//! `evict_pod`: one pod is asked to go, within its PodDisruptionBudget, once; verified until it is gone and its service is
//! whole again.

use super::words::{accept_downtime_slot, fillers, force_slot, list, namespace_slot, slot, timeout_slot};
use super::write::{At, Write, Writing};
use super::{
    Subject, accepts_downtime, described, flag, namespace, namespace_schema, text, timeout_schema, workload,
};
use crate::kubernetes::Cluster;
use crate::kubernetes::errors::Operation;
use crate::kubernetes::eviction::{self, Answer};
use crate::kubernetes::residents::{PodRef, Resident, Stage};
use crate::kubernetes::scope::PATIENCE;
use crate::kubernetes::whole::Wait;
use astradesk_core::facts::Availability;
use astradesk_core::name::{Namespace, ObjectName};
use astradesk_core::target::Kind;
use astradesk_core::text::near;
use astradesk_core::tool::{Form, Grammar, Slot};
use astradesk_core::{
    Arguments, Code, Effect, Error, Facts, FrozenCall, Result, Target, Timestamp, ToolName, ToolSpec,
};
use astradesk_runtime::Permit;
use astradesk_runtime::port::Fault;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// How long an eviction may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The tool `evict_pod`.
pub(super) struct EvictPod;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    /// The pod; an eviction is bound to its id.
    #[serde(flatten)]
    pod: PodRef,
    /// When it was seen to go.
    at: Timestamp,
}

impl EvictPod {
    /// The tool on a cluster.
    pub(super) fn new(cluster: Cluster) -> Result<Writing<Self>> {
        let spec = ToolSpec {
            name: ToolName::parse("evict_pod")?,
            version: "1".to_owned(),
            description: "evicts one pod if its PodDisruptionBudget lets it go, and succeeds once it is gone and the service that \
                          it belonged to has every pod available again"
                .to_owned(),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["pod"],
                "properties": {
                    "pod": {
                        "type": "string",
                        "description": "the name of the pod",
                        "minLength": 1,
                        "maxLength": 253,
                        "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
                    },
                    "namespace": namespace_schema(&cluster),
                    "force": {
                        "type": "boolean",
                        "description": "whether to evict a pod that no controller brings back",
                    },
                    "accept_downtime": {
                        "type": "boolean",
                        "description": "whether to evict a pod that is the only one of its service that serves",
                    },
                    "timeout": timeout_schema("it"),
                },
            }),
            timeout: TIMEOUT,
            grammar: grammar(),
        };
        Ok(Writing::new(Self, cluster, spec))
    }
}

/// The pod that a call is about, as it is now.
async fn resident(cluster: &Cluster, arguments: &Arguments) -> Result<Resident> {
    let (namespace, name) = named(cluster, arguments)?;
    let found = cluster.resident(&namespace, &name).await;
    let found = found.map_err(|failure| {
        let operation = Operation::new("list", "pods", namespace.as_str(), name.as_str());
        failure.into_error(&operation)
    })?;
    match found {
        Some(found) => Ok(found),
        None => Err(not_found(cluster, &namespace, &name).await),
    }
}

fn named(cluster: &Cluster, arguments: &Arguments) -> Result<(Namespace, ObjectName)> {
    let name = ObjectName::parse(text(arguments, "pod").unwrap_or_default())?;
    Ok((namespace(cluster, arguments)?, name))
}

/// There is no such pod; names that are close to it are told.
async fn not_found(cluster: &Cluster, namespace: &Namespace, name: &ObjectName) -> Error {
    let message = format!("there is no pod `{name}` in namespace `{namespace}`");
    let error = Error::new(Code::KubernetesNotFound, message);
    let scope = cluster.scope(namespace);
    if scope.ready(PATIENCE).await.is_err() {
        return error;
    }
    error.with_candidates(near(name.as_str(), &scope.pod_names()))
}

async fn refuse_downtime(cluster: &Cluster, call: &FrozenCall, pod: &PodRef) -> Result<()> {
    if service(call).is_none() {
        return Ok(());
    }
    let workload = workload(cluster, call).await?;
    if workload.available > 1 {
        return Ok(());
    }
    let message = format!("{pod} is the only one of {} that serves", workload.title());
    Err(Error::new(Code::GuardDowntime, message)
        .with_remedy(
            "pass `accept_downtime: true` (or say `accept downtime`) if that is acceptable, or scale it up",
        )
        .with_detail("replicas", workload.wanted))
}

/// The service that a call is about; none if the pod belongs to none.
fn service(call: &FrozenCall) -> Option<Subject> {
    Subject::of(call).ok().filter(|subject| subject.kind.is_workload())
}

fn grammar() -> Grammar {
    let pod = Slot { required: true, ..slot("pod", Form::Name) };
    Grammar {
        phrases: list(
            "evict, evict pod, evict the pod, eviction of pod, eviction of the pod, eksmituj, eksmituj pod, wyeksmituj, wyeksmituj pod, \
             wyeksmituj poda, eksmituj poda",
        ),
        nouns: list("eviction of pod, eviction of the pod"),
        slots: vec![pod, namespace_slot(), force_slot(), accept_downtime_slot(), timeout_slot()],
        fillers: fillers("pod, poda"),
    }
}

#[async_trait]
impl Write for EvictPod {
    type Seen = Resident;
    type Intent = PodRef;
    type Receipt = Receipt;

    /// The service that the pod belongs to, or whatever else brings it back, so that what holds for a service holds for
    /// its pods; the pod itself if it belongs to nothing, is not there, or cannot be looked up: policy decides first.
    async fn target(&self, cluster: &Cluster, arguments: &Arguments) -> Result<Target> {
        let (namespace, name) = named(cluster, arguments)?;
        let keeper = match cluster.resident(&namespace, &name).await {
            Ok(Some(resident)) => cluster.keeper(&resident).await.ok(),
            Ok(None) | Err(_) => None,
        };
        Ok(keeper.unwrap_or_else(|| cluster.target(&namespace, Kind::Pod, name)))
    }

    async fn candidates(&self, cluster: &Cluster, argument: &str) -> Result<Vec<String>> {
        if argument != "pod" {
            return Ok(Vec::new());
        }
        let scope = cluster.scope(cluster.namespace());
        scope.ready(PATIENCE).await?;
        Ok(scope.pod_names())
    }

    /// A pod that does not serve takes nothing from a budget: whether it may go is for the cluster to say.
    async fn facts(&self, cluster: &Cluster, call: &FrozenCall, now: bool) -> Result<Facts> {
        let Some(subject) = service(call) else { return Ok(Facts::default()) };
        let Some(described) = described(cluster, &subject, now).await? else {
            return Ok(Facts::default());
        };
        let resident = resident(cluster, &call.arguments).await.ok();
        let serves = resident.is_none_or(|resident| resident.stage == Stage::Ready);
        let facts = described.at_rest();
        // As it will be: the pod goes in addition to those that are unavailable.
        let taken = u32::from(serves);
        let availability = facts.availability.map(|known| Availability {
            unavailable: known.unavailable.saturating_add(taken),
            at_most_unavailable: taken,
            ..known
        });
        let disruption_budgets = if serves {
            cluster.disruption_budgets(&subject.namespace, &described.pod_labels, 1).await?
        } else {
            Vec::new()
        };
        let downtime_expected = serves && described.workload.available <= 1;
        Ok(Facts { availability, disruption_budgets, downtime_expected, ..facts })
    }

    async fn sane(&self, cluster: &Cluster, call: &FrozenCall) -> Result<Resident> {
        let resident = resident(cluster, &call.arguments).await?;
        let keeper = cluster.keeper(&resident).await?;
        let pod = &resident.pod;
        if call.targets != [keeper.clone()] {
            let message = format!("{pod} belongs to `{keeper}`, and did not when this was asked for");
            return Err(Error::new(Code::KubernetesConflict, message));
        }
        if resident.terminating {
            let message = format!("{pod} is being deleted already");
            return Err(Error::new(Code::KubernetesConflict, message).with_remedy("wait until it is gone"));
        }
        if resident.is_mirror {
            let message = format!("{pod} is kept by its node, from a file there, and no eviction stops it");
            return Err(Error::new(Code::ToolArgumentsInvalid, message)
                .with_remedy("take the file away from the node's folder of static pods"));
        }
        if resident.owner.is_none() && resident.stage != Stage::Ended && !flag(&call.arguments, "force") {
            let message = format!("{pod} belongs to no controller, so nothing would bring it back");
            return Err(Error::new(Code::GuardPodLoss, message)
                .with_remedy("pass `force: true` (or say `with force`) if it may be lost"));
        }
        if resident.stage == Stage::Ready && !accepts_downtime(&call.arguments) {
            refuse_downtime(cluster, call, pod).await?;
        }
        Ok(resident)
    }

    async fn preview(&self, cluster: &Cluster, call: &FrozenCall, resident: Resident) -> Result<Value> {
        cluster.try_evicting(&resident.pod).await?;
        let pod = &resident.pod;
        let node = resident.node.as_deref().map_or_else(String::new, |node| format!(" from node `{node}`"));
        let owner = match (service(call), &resident.owner) {
            (Some(Subject { kind, name, .. }), _) => format!("{kind}/{name} would bring another one"),
            (None, Some(owner)) => format!("{owner} may bring another one"),
            (None, None) => "nothing would bring it back".to_owned(),
        };
        Ok(json!({
            "summary": format!("would evict {pod}{node}: {owner}"),
            "object": format!("pod/{}", pod.name),
            "namespace": pod.namespace,
            "node": resident.node,
            "uid": pod.uid,
            "checked": "the API server accepted the same eviction as a dry run",
        }))
    }

    async fn intend(&self, _: At<'_>, resident: Resident) -> Result<PodRef> {
        Ok(resident.pod)
    }

    async fn perform(&self, (cluster, step): At<'_>, _: &Permit, pod: PodRef) -> Result<Receipt, Fault> {
        match eviction::evict(cluster, &pod, step.repeated, step.deadline).await? {
            Answer::Going { by_us: true } => {}
            Answer::Going { by_us: false } => {
                let message = format!("{pod} was gone, or another one had its name, before it was evicted");
                return Err(Fault::Failed(Error::new(Code::KubernetesConflict, message)));
            }
            Answer::Refused { error, certain: false } => return Err(eviction::unknown(&pod, &error)),
            Answer::Refused { error, .. } | Answer::Never(error) => return Err(Fault::Failed(error)),
        }
        Ok(Receipt { pod, at: cluster.now() })
    }

    async fn verify(&self, (cluster, step): At<'_>, Receipt { pod, at }: Receipt) -> Result<Value, Fault> {
        step.progress.report(format!("{pod} is stopping"), json!({"pod": pod.name}));
        let gone = eviction::gone(cluster, &pod, step.deadline).await;
        let is_gone = gone.map_err(|error| {
            let message =
                format!("{pod} was evicted, but whether it is gone could not be seen: {}", error.message);
            Fault::Unknown(
                Error::new(Code::RunOutcomeUnknown, message).with_detail("seen", error.code.as_str()),
            )
        })?;
        if !is_gone {
            let message = format!("{pod} was evicted, and has not stopped within the time limit");
            return Err(Fault::Failed(Error::new(Code::ToolTimedOut, message).with_remedy(
                "look at its finalizers, its grace period and its node: it goes on stopping by itself",
            )));
        }
        let (what, pods) = match service(&step.call) {
            Some(Subject { namespace, kind, name }) => {
                let wait = Wait {
                    cluster,
                    namespace: &namespace,
                    kind,
                    name: &name,
                    without: &pod.uid,
                    done: format!("pod `{}` was evicted", pod.name),
                    since: at,
                    deadline: step.deadline,
                    progress: &step.progress,
                };
                let pods = wait.until_whole().await?;
                (format!("and {kind}/{name} has every pod available again"), pods)
            }
            None => ("and is gone".to_owned(), Vec::new()),
        };
        let now = cluster.now();
        Ok(json!({
            "summary": format!("{pod} was evicted, {what}"),
            "target": step.call.targets,
            "pod": pod.name,
            "uid": pod.uid,
            "pods": pods,
            "took_seconds": now.duration_since(at).as_secs().max(0),
            "observed_at": now.to_string(),
        }))
    }
}

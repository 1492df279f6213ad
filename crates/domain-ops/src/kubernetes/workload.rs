//! One view of Deployment, StatefulSet and DaemonSet, and small views of what belongs to them.
//!
//! The views hold only what decisions need: objects are reduced as they arrive, so that a watch of a
//! large namespace stays small, and so that every decision can be tested with a few lines.

use super::{FIELD_MANAGER, RESTARTED_AT, RUN, UNDO, gitops, redact};
use astradesk_core::Timestamp;
use astradesk_core::canonical::Digest;
use astradesk_core::facts::GitOps;
use astradesk_core::target::Kind;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, LabelSelector, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::Selector;
use std::collections::BTreeMap;

/// What a message of the cluster may be long at most, in characters.
const MESSAGE: usize = 400;
/// The label by which pods and revisions of a DaemonSet or StatefulSet are matched.
const REVISION_HASH: &str = "controller-revision-hash";

/// A Deployment, StatefulSet or DaemonSet, seen the same way.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Which of the three.
    pub kind: Kind,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The object's id; another one means another object of the same name.
    pub uid: String,
    /// The version of the object, for preconditions.
    pub resource_version: String,
    /// Counts the changes of the specification.
    pub generation: i64,
    /// The generation that the counts below speak of.
    pub observed_generation: i64,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// How many pods there should be.
    pub wanted: i32,
    /// How many pods there are, old and new.
    pub total: i32,
    /// How many of them are of the newest revision.
    pub updated: i32,
    /// How many are ready.
    pub ready: i32,
    /// How many are available: ready for `minReadySeconds`.
    pub available: i32,
    /// Whether the rollout is paused (Deployments only).
    pub paused: bool,
    /// How pods are replaced.
    pub strategy: Strategy,
    /// The revision: a number for a Deployment, else the name or hash of the newest one.
    pub revision: Option<String>,
    /// The revision that a StatefulSet is coming from; the same as `revision` when it has arrived.
    pub previous_revision: Option<String>,
    /// The Deployment's condition `Progressing`.
    pub progressing: Option<Condition>,
    /// The Deployment's condition `ReplicaFailure`.
    pub replica_failure: Option<Condition>,
    /// The images of its containers, in order.
    pub images: Vec<String>,
    /// The digest of the pod template: the same as long as nobody asks for other pods.
    pub template: Digest,
    /// Which pods, and which revisions, are its own, as a label selector.
    pub selector: String,
    /// The object's own annotation that marks an undo by AstraDesk.
    pub undo: Option<String>,
    /// The object's own annotation that marks any other change by AstraDesk.
    pub own_run: Option<String>,
    /// The same without the annotations that a restart sets.
    pub rest: Digest,
    /// The template's annotations; new pods carry them.
    pub template_annotations: BTreeMap<String, String>,
    /// The DaemonSet controller's count of templates, which pods carry as a label.
    pub template_generation: Option<String>,
    /// Who changed the pod template last, if the API server says.
    pub changed_by: Option<Change>,
    /// Who set the annotation `kubectl.kubernetes.io/restartedAt` last, if the API server says.
    pub restarted_by: Option<Change>,
    /// The GitOps controller that manages it, if it carries a sign of one.
    pub gitops: Option<GitOps>,
}

/// How pods are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Some at a time.
    RollingUpdate {
        /// How many may be missing at the same time.
        max_unavailable: i32,
        /// How many may be there in addition.
        max_surge: i32,
        /// `StatefulSets`: pods with a smaller ordinal keep the old revision.
        partition: i32,
    },
    /// All are stopped before the first new one starts.
    Recreate,
    /// Only when somebody deletes them.
    OnDelete,
}

impl Strategy {
    /// The strategy as Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RollingUpdate { .. } => "RollingUpdate",
            Self::Recreate => "Recreate",
            Self::OnDelete => "OnDelete",
        }
    }
}

/// A condition of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds (`True`).
    pub holds: bool,
    /// The machine's reason.
    pub reason: String,
    /// The message, made safe.
    pub message: String,
}

/// Who changed something, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The field manager: `kubectl-client-side-apply`, `astradesk`, …
    pub manager: String,
    /// When.
    pub at: Option<Timestamp>,
}

impl Workload {
    /// When it was last restarted, as the annotation says.
    pub fn restarted_at(&self) -> Option<&str> {
        self.template_annotations.get(RESTARTED_AT).map(String::as_str)
    }

    /// The run that the last restart belongs to: none when somebody else has restarted it since.
    pub fn restarting_run(&self) -> Option<&str> {
        let by_us = self.restarted_by.as_ref().is_none_or(|change| change.manager == FIELD_MANAGER);
        self.run().filter(|_| by_us)
    }

    /// The value of the annotation that marks a restart by AstraDesk; restarts by others leave it in place.
    pub fn run(&self) -> Option<&str> {
        self.template_annotations.get(RUN).map(String::as_str)
    }

    /// How many pods its strategy takes away at once while they are replaced.
    pub fn at_most_unavailable(&self) -> i32 {
        match self.strategy {
            Strategy::RollingUpdate { max_unavailable, .. } => max_unavailable.min(self.wanted),
            Strategy::Recreate => self.wanted,
            Strategy::OnDelete => 0,
        }
    }

    /// The way people write it: `deployment/webapp`.
    pub fn title(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

impl From<&Deployment> for Workload {
    fn from(object: &Deployment) -> Self {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let wanted = spec.replicas.unwrap_or(1);
        let rolling = spec.strategy.as_ref().and_then(|s| s.rolling_update.clone()).unwrap_or_default();
        let strategy = match spec.strategy.as_ref().and_then(|s| s.type_.as_deref()) {
            Some("Recreate") => Strategy::Recreate,
            _ => rolling_deployment(wanted, rolling.max_unavailable.as_ref(), rolling.max_surge.as_ref()),
        };
        let condition = |name: &str| {
            status.conditions.iter().flatten().find(|c| c.type_ == name).map(|c| Condition {
                holds: c.status == "True",
                reason: c.reason.clone().unwrap_or_default(),
                message: redact::line(c.message.as_deref().unwrap_or_default(), MESSAGE),
            })
        };
        Self {
            wanted,
            observed_generation: status.observed_generation.unwrap_or(0),
            total: status.replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            paused: spec.paused.unwrap_or(false),
            strategy,
            revision: annotation(&object.metadata, "deployment.kubernetes.io/revision"),
            progressing: condition("Progressing"),
            replica_failure: condition("ReplicaFailure"),
            ..common(Kind::Deployment, &object.metadata, &spec.selector, &spec.template)
        }
    }
}

impl From<&StatefulSet> for Workload {
    fn from(object: &StatefulSet) -> Self {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let wanted = spec.replicas.unwrap_or(1);
        let rolling =
            spec.update_strategy.as_ref().and_then(|s| s.rolling_update.clone()).unwrap_or_default();
        let strategy = match spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref()) {
            Some("OnDelete") => Strategy::OnDelete,
            _ => Strategy::RollingUpdate {
                max_unavailable: resolve(rolling.max_unavailable.as_ref(), wanted, true).unwrap_or(1).max(1),
                max_surge: 0,
                partition: rolling.partition.unwrap_or(0),
            },
        };
        Self {
            wanted,
            observed_generation: status.observed_generation.unwrap_or(0),
            total: status.replicas,
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            // Before 1.22 a StatefulSet did not say, and available meant ready.
            available: match (status.available_replicas, spec.min_ready_seconds.unwrap_or(0)) {
                (None | Some(0), 0) => status.ready_replicas.unwrap_or(0),
                (available, _) => available.unwrap_or(0),
            },
            strategy,
            revision: status.update_revision,
            previous_revision: status.current_revision,
            ..common(Kind::StatefulSet, &object.metadata, &spec.selector, &spec.template)
        }
    }
}

impl From<&DaemonSet> for Workload {
    fn from(object: &DaemonSet) -> Self {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let wanted = status.desired_number_scheduled;
        let rolling =
            spec.update_strategy.as_ref().and_then(|s| s.rolling_update.clone()).unwrap_or_default();
        let strategy = match spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref()) {
            Some("OnDelete") => Strategy::OnDelete,
            _ => Strategy::RollingUpdate {
                max_unavailable: resolve(rolling.max_unavailable.as_ref(), wanted, true).unwrap_or(1),
                max_surge: resolve(rolling.max_surge.as_ref(), wanted, true).unwrap_or(0),
                partition: 0,
            },
        };
        let template_generation = annotation(&object.metadata, "deprecated.daemonset.template.generation");
        Self {
            wanted,
            observed_generation: status.observed_generation.unwrap_or(0),
            total: status.current_number_scheduled,
            updated: status.updated_number_scheduled.unwrap_or(0),
            ready: status.number_ready,
            available: status.number_available.unwrap_or(0),
            strategy,
            revision: template_generation.clone(),
            template_generation,
            ..common(Kind::DaemonSet, &object.metadata, &spec.selector, &spec.template)
        }
    }
}

fn common(kind: Kind, meta: &ObjectMeta, selector: &LabelSelector, template: &PodTemplateSpec) -> Workload {
    Workload {
        kind,
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or(0),
        created: time(meta.creation_timestamp.as_ref()),
        deleting: meta.deletion_timestamp.is_some(),
        images: template
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .filter_map(|container| container.image.clone())
            .collect(),
        template: template_digest(template),
        rest: rest_digest(template),
        selector: Selector::try_from(selector.clone()).map(|s| s.to_string()).unwrap_or_default(),
        undo: annotation(meta, UNDO),
        own_run: annotation(meta, RUN),
        template_annotations: template
            .metadata
            .as_ref()
            .and_then(|meta| meta.annotations.clone())
            .unwrap_or_default(),
        changed_by: last_change(meta, "/f:spec/f:template"),
        restarted_by: last_change(meta, RESTARTED_AT_FIELD),
        gitops: gitops::manager(kind.as_str(), meta),
        observed_generation: 0,
        wanted: 0,
        total: 0,
        updated: 0,
        ready: 0,
        available: 0,
        paused: false,
        strategy: Strategy::OnDelete,
        revision: None,
        previous_revision: None,
        progressing: None,
        replica_failure: None,
        template_generation: None,
    }
}

/// The digest of a template, without the label by which the Deployment controller tells `ReplicaSets` apart:
/// so the newest ReplicaSet is the one with the Deployment's own digest, as the controller itself compares.
pub(crate) fn template_digest(template: &PodTemplateSpec) -> Digest {
    let mut template = template.clone();
    if let Some(meta) = template.metadata.as_mut() {
        if let Some(labels) = meta.labels.as_mut() {
            labels.remove("pod-template-hash");
        }
        // None and no annotation mean the same.
        meta.annotations.take_if(|annotations| annotations.is_empty());
    }
    Digest::of_value(&serde_json::to_value(&template).unwrap_or_default())
}

/// The digest of a template, without the two annotations that a restart sets: the same before and after it.
pub(crate) fn rest_digest(template: &PodTemplateSpec) -> Digest {
    let mut template = template.clone();
    if let Some(annotations) = template.metadata.as_mut().and_then(|meta| meta.annotations.as_mut()) {
        annotations.retain(|name, _| name != RESTARTED_AT && name != RUN);
    }
    template_digest(&template)
}

/// Where `managedFields` speaks of the annotation [`RESTARTED_AT`].
const RESTARTED_AT_FIELD: &str =
    "/f:spec/f:template/f:metadata/f:annotations/f:kubectl.kubernetes.io~1restartedAt";

/// The last entry of `managedFields` that owns this field, or something below it.
fn last_change(meta: &ObjectMeta, field: &str) -> Option<Change> {
    let owns = |fields: &FieldsV1| fields.0.pointer(field).is_some();
    meta.managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(owns))
        .max_by_key(|entry| time(entry.time.as_ref()))
        .map(|entry| Change {
            manager: redact::line(entry.manager.as_deref().unwrap_or("unknown"), 128),
            at: time(entry.time.as_ref()),
        })
}

/// A number or a share of `of`; shares of what may be missing are rounded down by Deployments, else up.
fn resolve(value: Option<&IntOrString>, of: i32, up: bool) -> Option<i32> {
    match value? {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => {
            let share: i64 = text.strip_suffix('%')?.parse().ok()?;
            let scaled = i64::from(of).checked_mul(share)?;
            i32::try_from(if up { (scaled + 99) / 100 } else { scaled / 100 }).ok()
        }
    }
}

/// As the Deployment controller resolves it: if both come out as 0, one may be missing after all.
fn rolling_deployment(
    wanted: i32,
    unavailable: Option<&IntOrString>,
    surge: Option<&IntOrString>,
) -> Strategy {
    let quarter = IntOrString::String("25%".to_owned());
    let max_surge = resolve(Some(surge.unwrap_or(&quarter)), wanted, true).unwrap_or(0);
    let max_unavailable = resolve(Some(unavailable.unwrap_or(&quarter)), wanted, false).unwrap_or(0);
    let max_unavailable = if max_surge == 0 && max_unavailable == 0 { 1 } else { max_unavailable };
    Strategy::RollingUpdate { max_unavailable, max_surge, partition: 0 }
}

/// A ReplicaSet: which Deployment it belongs to, and which template it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    /// Its id; its pods name it as their owner.
    pub uid: String,
    /// The Deployment's id.
    pub owner: String,
    /// The digest of its template, comparable with [`Workload::template`].
    pub template: Digest,
}

impl Replicas {
    /// The view of a ReplicaSet that a controller owns.
    pub fn of(object: &ReplicaSet) -> Option<Self> {
        let owner = controller(&object.metadata)?;
        let template = object.spec.as_ref().and_then(|spec| spec.template.as_ref())?;
        Some(Self { uid: object.metadata.uid.clone()?, owner, template: template_digest(template) })
    }
}

/// A template that a DaemonSet has or had, as a `ControllerRevision` keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The DaemonSet's id.
    pub owner: String,
    /// The label `controller-revision-hash`, which the pods of that template carry too.
    pub hash: String,
    /// The digest of the template, comparable with [`Workload::template`].
    pub template: Digest,
}

impl Revision {
    /// The view of a DaemonSet's revision. A StatefulSet says in its status which revision is the newest.
    pub fn of(object: &ControllerRevision) -> Option<Self> {
        let meta = &object.metadata;
        let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
        let hash = meta.labels.as_ref()?.get(REVISION_HASH)?.clone();
        let template = template_digest(&kept_template(object)?);
        (owner.kind == "DaemonSet").then(|| Self { owner: owner.uid.clone(), hash, template })
    }
}

/// The template in a `ControllerRevision`, which is kept as a patch that replaces.
pub(crate) fn kept_template(object: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut patch = object.data.as_ref()?.0.pointer("/spec/template")?.clone();
    patch.as_object_mut()?.remove("$patch");
    serde_json::from_value(patch).ok()
}

/// A pod that a controller owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Its id.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// The id of the object that owns it: a ReplicaSet, a StatefulSet or a DaemonSet.
    pub owner: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// Since when, if it is.
    pub ready_since: Option<Timestamp>,
    /// Why the pod as a whole is in its phase: `Evicted`, …
    pub reason: Option<String>,
    /// Why it has no node, in the scheduler's words.
    pub unschedulable: Option<String>,
    /// The node.
    pub node: Option<String>,
    /// The label `controller-revision-hash`.
    pub revision: Option<String>,
    /// The label `pod-template-generation`.
    pub template_generation: Option<String>,
    /// The annotations that a template could have given it.
    pub annotations: BTreeMap<String, String>,
    /// Its containers, the ones that run before the others included.
    pub containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Whether it runs before the others.
    pub init: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// Why it waits, if it does: `CrashLoopBackOff`, `ImagePullBackOff`, …
    pub waiting: Option<String>,
    /// More on that, made safe.
    pub message: Option<String>,
    /// How it ended last, if it did.
    pub ended: Option<Ended>,
    /// Whether it runs now.
    pub running: bool,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub exit_code: i32,
    /// `Error`, `OOMKilled`, `Completed`, …
    pub reason: String,
}

impl PodView {
    /// The view of a pod that a controller owns.
    pub fn of(object: &Pod) -> Option<Self> {
        let owner = controller(&object.metadata)?;
        let status = object.status.clone().unwrap_or_default();
        let condition = |name: &str| status.conditions.iter().flatten().find(|c| c.type_ == name);
        let ready = condition("Ready").filter(|c| c.status == "True");
        let label = |name: &str| object.metadata.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
        let init = status.init_container_statuses.iter().flatten().map(|s| container(s, true));
        let main = status.container_statuses.iter().flatten().map(|s| container(s, false));
        Some(Self {
            uid: object.metadata.uid.clone()?,
            name: object.metadata.name.clone()?,
            owner,
            phase: status.phase.clone().unwrap_or_else(|| "Pending".to_owned()),
            terminating: object.metadata.deletion_timestamp.is_some(),
            ready: ready.is_some(),
            ready_since: ready.and_then(|c| time(c.last_transition_time.as_ref())),
            reason: status.reason.clone(),
            unschedulable: condition("PodScheduled")
                .filter(|c| c.status == "False" && c.reason.as_deref() == Some("Unschedulable"))
                .map(|c| redact::line(c.message.as_deref().unwrap_or("no node fits"), MESSAGE)),
            node: object.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|n| !n.is_empty()),
            revision: label(REVISION_HASH),
            template_generation: label("pod-template-generation"),
            annotations: object.metadata.annotations.clone().unwrap_or_default(),
            containers: init.chain(main).collect(),
        })
    }

    /// Whether it counts: it runs, or may yet. Pods that were evicted or have ended for good do not, but
    /// a pod that is being deleted counts until it is gone.
    pub fn is_live(&self) -> bool {
        self.terminating || !matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// The sum of its containers' restarts.
    pub fn restarts(&self) -> i32 {
        self.containers.iter().map(|c| c.restarts).fold(0, i32::saturating_add)
    }
}

fn container(status: &ContainerStatus, init: bool) -> Container {
    let state = status.state.clone().unwrap_or_default();
    let last = status.last_state.clone().unwrap_or_default();
    let ended = state.terminated.or(last.terminated);
    Container {
        name: status.name.clone(),
        init,
        ready: status.ready,
        restarts: status.restart_count,
        message: state
            .waiting
            .as_ref()
            .and_then(|w| w.message.as_deref())
            .map(|message| redact::line(message, MESSAGE)),
        waiting: state.waiting.and_then(|w| w.reason),
        ended: ended.map(|t| Ended { exit_code: t.exit_code, reason: t.reason.unwrap_or_default() }),
        running: state.running.is_some(),
    }
}

/// An event; where nothing else is said, a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The event's own name.
    pub name: String,
    /// The id of the object that it speaks of.
    pub object: String,
    /// That object, as people write it: `pod/webapp-1`.
    pub about: String,
    /// The machine's reason: `FailedScheduling`, `BackOff`, …
    pub reason: String,
    /// The message, made safe.
    pub message: String,
    /// How often.
    pub count: i32,
    /// When it was seen first.
    pub first_seen: Option<Timestamp>,
    /// When it was seen last.
    pub last_seen: Option<Timestamp>,
}

impl Warning {
    /// The view of an event.
    pub fn of(object: &Event) -> Option<Self> {
        let involved = &object.involved_object;
        let series = object.series.as_ref();
        let begun = object
            .event_time
            .as_ref()
            .map(|t| t.0)
            .or_else(|| time(object.metadata.creation_timestamp.as_ref()));
        let last_seen = series
            .and_then(|s| s.last_observed_time.as_ref().map(|t| t.0))
            .or_else(|| time(object.last_timestamp.as_ref()))
            .or(begun);
        Some(Self {
            name: object.metadata.name.clone()?,
            object: involved.uid.clone()?,
            about: redact::line(
                &format!(
                    "{}/{}",
                    involved.kind.as_deref().unwrap_or("object").to_lowercase(),
                    involved.name.as_deref().unwrap_or_default()
                ),
                MESSAGE,
            ),
            reason: redact::line(object.reason.as_deref().unwrap_or_default(), 64),
            message: redact::line(object.message.as_deref().unwrap_or_default(), MESSAGE),
            count: series.and_then(|s| s.count).or(object.count).unwrap_or(1),
            first_seen: time(object.first_timestamp.as_ref()).or(begun),
            last_seen,
        })
    }
}

/// A workload with everything that belongs to it, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Family {
    /// Its `ReplicaSets`.
    pub replica_sets: Vec<std::sync::Arc<Replicas>>,
    /// A DaemonSet's templates.
    pub revisions: Vec<std::sync::Arc<Revision>>,
    /// Its pods, by name.
    pub pods: Vec<std::sync::Arc<PodView>>,
    /// The warnings on it, its `ReplicaSets` and its pods, newest first.
    pub warnings: Vec<std::sync::Arc<Warning>>,
}

impl Family {
    /// Whether the pod is of the workload's newest template.
    ///
    /// A Deployment's pods are as new as their `ReplicaSet`. The others carry the template's annotations, and
    /// beside them the newest revision's name (`StatefulSet`), or the count of templates or the hash of a revision
    /// with that template (`DaemonSet`: one that goes back to an earlier template keeps the pods that have it).
    pub fn is_new(&self, workload: &Workload, pod: &PodView) -> bool {
        let marked = |name| pod.annotations.get(name) == workload.template_annotations.get(name);
        let annotated = || {
            marked(RUN)
                && marked(RESTARTED_AT)
                && workload.template_annotations.iter().all(|(k, v)| pod.annotations.get(k) == Some(v))
        };
        match workload.kind {
            Kind::Deployment => self
                .replica_sets
                .iter()
                .any(|replicas| replicas.uid == pod.owner && replicas.template == workload.template),
            Kind::StatefulSet => pod.revision.is_some() && pod.revision == workload.revision && annotated(),
            Kind::DaemonSet => {
                let counted = match (&workload.template_generation, &pod.template_generation) {
                    (Some(wanted), Some(has)) => wanted == has || self.is_kept(workload, pod),
                    _ => true,
                };
                counted && annotated()
            }
            Kind::Workload | Kind::Pod | Kind::Namespace => false,
        }
    }

    /// Whether a DaemonSet's pod was made from a revision with the present template.
    fn is_kept(&self, workload: &Workload, pod: &PodView) -> bool {
        let has = |revision: &Revision| pod.revision.as_deref() == Some(&revision.hash);
        self.revisions.iter().any(|revision| revision.template == workload.template && has(revision))
    }
}

fn controller(meta: &ObjectMeta) -> Option<String> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)).map(|o| o.uid.clone())
}

fn annotation(meta: &ObjectMeta, name: &str) -> Option<String> {
    meta.annotations.as_ref().and_then(|annotations| annotations.get(name)).cloned()
}

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

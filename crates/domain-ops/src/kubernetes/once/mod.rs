//! One change of an object, once: a merge patch with the mark of its run, bound to one version of the object.
//!
//! | module | what it holds |
//! |---|---|
//! | `find` | pure: what became of a patch whose reply is not known, from the object as it is |
//! | `attempt` | sends that patch, and no other, until it is known what became of it |
//!
//! The mark is the object's own annotation `astradesk.dev/run`, unless the task says otherwise.

mod attempt;
pub(super) mod find;

pub(crate) use find::Sent;

use super::RUN;
use super::cluster::{Cluster, operation};
use super::errors::{Failure, Operation};
use super::workload::Workload;
use astradesk_core::name::Namespace;
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error};
use astradesk_runtime::port::{Fault, Progress, StepContext};
use attempt::Attempt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// The first and the longest pause between attempts to settle an unclear change.
pub(crate) const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// How long the last look at the object may take after the time limit.
pub(crate) const LAST_LOOK: Duration = Duration::from_secs(3);

/// The object as it was when a change was decided. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    /// The object's id.
    pub(crate) uid: String,
    /// The object's version: the API server lets the patch in for no other.
    pub(crate) resource_version: String,
    /// The object's generation, which every change of its specification raises by one.
    pub(crate) generation: i64,
}

impl Bound {
    /// Binds to the workload as it is.
    pub(crate) fn to(workload: &Workload) -> Self {
        Self {
            uid: workload.uid.clone(),
            resource_version: workload.resource_version.clone(),
            generation: workload.generation,
        }
    }

    /// A merge patch of the specification, for that version only, which leaves the mark.
    pub(crate) fn patch(&self, mark: &str, spec: &Value) -> Value {
        json!({
            "metadata": {"resourceVersion": self.resource_version, "annotations": {RUN: mark}},
            "spec": spec,
        })
    }
}

/// What marks an object as changed by this step: the run's id, with the step unless it is the first.
pub(crate) fn mark(step: &StepContext) -> String {
    if step.step == 0 { step.run.to_string() } else { format!("{}/{}", step.run, step.step) }
}

/// What a step is to change, and within which time.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) target: String,
    pub(crate) kind: Kind,
    pub(crate) namespace: Namespace,
    pub(crate) name: String,
    /// What marks the object as changed by this step.
    pub(crate) mark: String,
    /// Whether it undoes another step.
    pub(crate) is_undo: bool,
    /// Whether an earlier process may have performed this step already.
    pub(crate) repeated: bool,
    pub(crate) deadline: Instant,
    pub(crate) progress: Progress,
}

impl Job {
    pub(crate) fn what(&self) -> String {
        format!("{}/{} in namespace `{}`", self.kind, self.name, self.namespace)
    }

    /// The command that does it by hand: `scale`, `--replicas=2`.
    pub(crate) fn by_kubectl(&self, verb: &str, more: &str) -> String {
        let Self { namespace, kind, name, .. } = self;
        format!("kubectl -n {namespace} {verb} {kind}/{name} {more}").trim_end().to_owned()
    }
}

/// What is to be changed once: where it is, by which mark, and within which time.
pub(crate) trait Task: Sync {
    /// The object, as it is seen.
    type Object: Send + Sync;
    /// What is known of the change once it is known to be made.
    type Made: Send;

    /// The object, as a sentence names it.
    fn what(&self) -> String;
    /// What marks the object as changed by this step.
    fn mark(&self) -> &str;
    /// The annotation that has the mark, and where it is.
    fn place(&self) -> (&'static str, &'static str) {
        (RUN, "among its own annotations")
    }
    /// Whether an earlier process may have performed this step already.
    fn repeated(&self) -> bool;
    fn deadline(&self) -> Instant;
    /// The command that shows the object.
    fn command(&self) -> String;
    /// What else of it tells whether the change was made.
    fn tells(&self) -> String {
        "what was asked for".to_owned()
    }
    fn operation(&self, verb: &'static str) -> Operation;
    fn get(&self, cluster: &Cluster) -> impl Future<Output = Result<Self::Object, Failure>> + Send;
    /// Sends one merge patch, once, if its turn comes before `until`. Without that it is a dry run.
    fn patch(
        &self,
        cluster: &Cluster,
        patch: &Value,
        until: Option<Instant>,
    ) -> impl Future<Output = Result<Self::Object, Failure>> + Send;
    /// The object as a change can be bound to it.
    fn bound(object: &Self::Object) -> Bound;
    /// The mark that the object carries.
    fn marked<'a>(&self, object: &'a Self::Object) -> Option<&'a str>;
    /// What the object, which carries the mark, tells of the change.
    fn made(&self, cluster: &Cluster, object: Self::Object) -> Self::Made;
    /// Looks for the change in what is kept of the object's past; an error is why that cannot tell.
    fn dig(
        &self,
        _cluster: &Cluster,
        _object: &Self::Object,
    ) -> impl Future<Output = Result<Result<Self::Made, Error>, Failure>> + Send {
        let message = "it was changed since, and the mark is not among its annotations";
        async move { Ok(Err(Error::new(Code::KubernetesConflict, message))) }
    }
    /// How the object was changed since a change was bound to it.
    fn moved(&self, _bound: &Bound, _object: &Self::Object) -> String {
        "it was changed".to_owned()
    }
    /// Adds what an operator needs to judge for themselves.
    fn seen(object: &Self::Object, error: Error) -> Error;
}

impl Task for Job {
    type Object = Workload;
    type Made = Workload;

    fn what(&self) -> String {
        self.what()
    }

    fn mark(&self) -> &str {
        &self.mark
    }

    fn repeated(&self) -> bool {
        self.repeated
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn command(&self) -> String {
        self.by_kubectl("get", "-o yaml")
    }

    fn operation(&self, verb: &'static str) -> Operation {
        operation(verb, self.kind, &self.namespace, &self.name)
    }

    async fn get(&self, cluster: &Cluster) -> Result<Workload, Failure> {
        cluster.get(self.kind, &self.namespace, &self.name).await
    }

    async fn patch(
        &self,
        cluster: &Cluster,
        patch: &Value,
        until: Option<Instant>,
    ) -> Result<Workload, Failure> {
        cluster.patch(self.kind, &self.namespace, &self.name, patch, until).await
    }

    fn bound(workload: &Workload) -> Bound {
        Bound::to(workload)
    }

    fn marked<'a>(&self, workload: &'a Workload) -> Option<&'a str> {
        workload.own_run.as_deref()
    }

    fn made(&self, _: &Cluster, workload: Workload) -> Workload {
        workload
    }

    fn seen(workload: &Workload, error: Error) -> Error {
        error
            .with_detail("replicas_now", workload.wanted)
            .with_detail("revision_now", workload.revision.clone())
    }
}

/// One change.
pub(crate) struct Change<'a, T: Task> {
    pub(crate) task: &'a T,
    pub(crate) bound: &'a Bound,
    /// What becomes of the object: `scaled`.
    pub(crate) done: &'static str,
    /// The patch; or why there is none any more, when only the mark can tell whether there was.
    pub(crate) patch: Result<Value, Error>,
    /// Whether what it changes is as it was before.
    pub(crate) unchanged: &'a (dyn Fn(&T::Object) -> bool + Sync),
}

impl<T: Task> Change<'_, T> {
    fn is_marked(&self, object: &T::Object) -> bool {
        self.task.marked(object) == Some(self.task.mark())
    }
}

/// Makes the change, unless it is found to be made already.
pub(crate) async fn perform<T: Task>(cluster: &Cluster, change: &Change<'_, T>) -> Result<T::Made, Fault> {
    Attempt::new(cluster, change).until_known().await
}

/// A patch that is only tried, and so is bound to no version: a status that changes in between is no reason to refuse it.
pub(crate) fn unbound(patch: &Value) -> Value {
    let mut patch = patch.clone();
    if let Some(metadata) = patch.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    patch
}

/// Has the API server check a patch as it would be sent, and apply nothing.
pub(crate) async fn try_out(
    cluster: &Cluster,
    kind: Kind,
    namespace: &Namespace,
    name: &str,
    patch: &Value,
) -> Result<(), Error> {
    match cluster.patch(kind, namespace, name, &unbound(patch), None).await {
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.into_error(&operation("patch", kind, namespace, name))),
    }
}

//! One change of an object, once: a merge patch with the mark of its run, bound to one version of the object.
//!
//! The mark is the object's own annotation `astradesk.dev/run`. What became of a patch whose reply is not known is found
//! out by reading, as for a restart (`restart::settle` has the reasons):
//!
//! 1. The mark is there: it was applied.
//! 2. The version is the same: it was not applied yet. It may be sent again, as only one of the two can be let in.
//! 3. Another version: from now on the patch is refused. Was it applied before, and somebody took the mark away? With the
//!    generation of the intent it was not: it would have raised it. With that and one, and what it changes as it was
//!    before, it was not either: the one change that there was is another one. Else nobody can tell.
//!
//! A node has no generation, and an autoscaler has none in most versions of Kubernetes. What is changed of them is a state
//! that they are brought to, which harms nobody a second time.

use super::RUN;
use super::cluster::{Cluster, operation};
use super::errors::{Applied, Failure, Operation};
use super::restart::{LAST_LOOK, PAUSE, Sent};
use super::workload::Workload;
use astradesk_core::name::Namespace;
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error};
use astradesk_runtime::port::{Fault, Progress, StepContext};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

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

    /// The object, as a sentence names it.
    fn what(&self) -> String;
    /// What marks the object as changed by this step.
    fn mark(&self) -> &str;
    /// Whether an earlier process may have performed this step already.
    fn repeated(&self) -> bool;
    fn deadline(&self) -> Instant;
    /// The command that shows the object.
    fn command(&self) -> String;
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
    fn marked(object: &Self::Object) -> Option<&str>;
    /// Adds what an operator needs to judge for themselves.
    fn seen(object: &Self::Object, error: Error) -> Error;
}

impl Task for Job {
    type Object = Workload;

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

    fn marked(workload: &Workload) -> Option<&str> {
        workload.own_run.as_deref()
    }

    fn seen(workload: &Workload, error: Error) -> Error {
        error
            .with_detail("replicas_now", workload.wanted)
            .with_detail("revision_now", workload.revision.clone())
    }
}

/// One change.
pub(crate) struct Change<'a, T: Task> {
    pub(crate) job: &'a T,
    pub(crate) bound: &'a Bound,
    /// What becomes of the object: `scaled`.
    pub(crate) done: &'static str,
    /// The patch; or why there is none any more, when only the mark can tell whether there was.
    pub(crate) patch: Result<Value, Error>,
    /// Whether what it changes is as it was before.
    pub(crate) unchanged: &'a (dyn Fn(&T::Object) -> bool + Sync),
}

/// What became of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// It was applied.
    Applied,
    /// It was not applied yet: nothing has changed.
    Open,
    /// It was not applied, and never will be.
    Never,
    /// The object that it was for is gone.
    Gone,
    /// Nobody can tell.
    Unclear,
}

impl<T: Task> Change<'_, T> {
    fn is_marked(&self, object: &T::Object) -> bool {
        T::marked(object) == Some(self.job.mark())
    }

    /// What became of the patch, from the object as it is.
    fn find(&self, sent: Sent, object: &T::Object) -> Finding {
        let now = T::bound(object);
        if now.uid != self.bound.uid {
            return Finding::Gone;
        }
        if self.is_marked(object) {
            return Finding::Applied;
        }
        if now.resource_version == self.bound.resource_version {
            return Finding::Open;
        }
        // Before it was sent, or once the API server has refused it, there is no doubt.
        if sent < Sent::Maybe {
            return Finding::Never;
        }
        match now.generation - self.bound.generation {
            0 => Finding::Never,
            1 if (self.unchanged)(object) => Finding::Never,
            _ => Finding::Unclear,
        }
    }
}

/// Makes the change, unless it is found to be made already; gives the object that carries the mark.
pub(crate) async fn perform<T: Task>(cluster: &Cluster, change: &Change<'_, T>) -> Result<T::Object, Fault> {
    let sent = if change.job.repeated() { Sent::Maybe } else { Sent::Nothing };
    Attempt { cluster, change, sent, pause: PAUSE.0 }.until_known().await
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

/// One patch, and what is known of it so far.
struct Attempt<'a, T: Task> {
    cluster: &'a Cluster,
    change: &'a Change<'a, T>,
    sent: Sent,
    pause: Duration,
}

impl<T: Task> Attempt<'_, T> {
    async fn until_known(&mut self) -> Result<T::Object, Fault> {
        // The intent has just looked, unless it is an earlier process's.
        let mut looked = !self.change.job.repeated();
        loop {
            if !looked && let Some(object) = self.settle().await? {
                return Ok(object);
            }
            looked = false;
            let patch = self.change.patch.as_ref().map_err(|error| self.given_up(error.clone()))?;
            if Instant::now() >= self.change.job.deadline() {
                let done = self.change.done;
                let message =
                    format!("the time limit passed before {} could be {done}", self.change.job.what());
                return Err(self.given_up(Error::new(Code::ToolTimedOut, message)));
            }
            match self.send(patch).await {
                Ok(changed) if self.change.is_marked(&changed) => return Ok(changed),
                Ok(_) => return Err(self.unknown(&unmarked())),
                Err(failure) => match failure.applied() {
                    Applied::No if failure.is_transient() => self.rest().await,
                    Applied::No => {
                        return Err(self.given_up(failure.into_error(&self.change.job.operation("patch"))));
                    }
                    Applied::Conflict => {
                        if self.sent > Sent::Nothing {
                            self.rest().await;
                        }
                        self.sent = self.sent.max(Sent::Refused);
                    }
                    Applied::Maybe => {
                        let mark = self.change.job.mark();
                        tracing::info!(mark, ?failure, "the reply to the patch is unclear; looking");
                        self.sent = Sent::Maybe;
                        self.rest().await;
                    }
                },
            }
        }
    }

    /// Finds out what became of the patch. `None`: it was not applied yet, and may be sent again.
    async fn settle(&mut self) -> Result<Option<T::Object>, Fault> {
        let object = self.look().await?;
        match self.change.find(self.sent, &object) {
            Finding::Applied => Ok(Some(object)),
            Finding::Open => Ok(None),
            Finding::Never => {
                let (what, done) = (self.change.job.what(), self.change.done);
                let message = format!("{what} was not {done}, because it was changed in between");
                Err(Fault::Moved(self.seen(Error::new(Code::KubernetesConflict, message), &object)))
            }
            Finding::Gone => Err(self.gone("was deleted and made again")),
            Finding::Unclear => {
                let message = "it was changed since, and the mark is not among its annotations";
                let error = self.seen(Error::new(Code::KubernetesConflict, message), &object);
                Err(self.unknown(&error))
            }
        }
    }

    /// The object as it is, asked for until it can be read, and not much longer than the time limit allows.
    async fn look(&mut self) -> Result<T::Object, Fault> {
        loop {
            let deadline = self.change.job.deadline();
            let may_pass = |failure: &Failure| {
                failure.is_transient() || (self.sent == Sent::Maybe && !failure.is_not_found())
            };
            match self.in_time(self.change.job.get(self.cluster)).await {
                Ok(object) => return Ok(object),
                Err(failure) if may_pass(&failure) && Instant::now() < deadline => self.rest().await,
                Err(failure) if failure.is_not_found() => return Err(self.gone("was deleted")),
                Err(failure) => {
                    return Err(self.given_up(failure.into_error(&self.change.job.operation("get"))));
                }
            }
        }
    }

    async fn send(&self, patch: &Value) -> Result<T::Object, Failure> {
        let until = self.change.job.deadline().max(Instant::now()) + LAST_LOOK;
        self.in_time(self.change.job.patch(self.cluster, patch, Some(until))).await
    }

    async fn in_time<A>(&self, request: impl Future<Output = Result<A, Failure>>) -> Result<A, Failure> {
        let until = self.change.job.deadline().max(Instant::now()) + LAST_LOOK;
        timeout_at(until, request).await.unwrap_or(Err(Failure::TimedOut))
    }

    async fn rest(&mut self) {
        sleep_until(self.change.job.deadline().min(Instant::now() + self.pause)).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    fn gone(&self, how: &str) -> Fault {
        self.given_up(Error::new(Code::KubernetesNotFound, format!("{} {how}", self.change.job.what())))
    }

    /// An end is certain only when no patch may have been applied.
    fn given_up(&self, error: Error) -> Fault {
        if self.sent == Sent::Maybe { self.unknown(&error) } else { Fault::Failed(error) }
    }

    fn unknown(&self, seen: &Error) -> Fault {
        let Change { job, done, .. } = self.change;
        let (what, mark) = (job.what(), job.mark());
        let message = format!("whether {what} was {done} could not be established: {}", seen.message);
        let mut error = Error::new(Code::RunOutcomeUnknown, message)
            .with_remedy(format!(
                "look whether `{}` shows the annotation `{RUN}: {mark}` among its own, and what was asked for",
                job.command()
            ))
            .with_detail("seen", seen.code.as_str())
            .with_detail("mark", mark);
        error.details.extend(seen.details.clone());
        Fault::Unknown(error)
    }

    /// What an operator needs to judge for themselves.
    fn seen(&self, error: Error, object: &T::Object) -> Error {
        let error = error
            .with_detail("generation_before", self.change.bound.generation)
            .with_detail("generation_now", T::bound(object).generation);
        T::seen(object, error)
    }
}

/// The API server accepted the patch and answered with an object that lacks the mark.
fn unmarked() -> Error {
    let message = format!("the cluster accepted the change, but took the annotation `{RUN}` away");
    Error::new(Code::KubernetesRejected, message)
        .with_remedy("let no admission webhook remove annotations that begin with `astradesk.dev/`")
}

#[cfg(test)]
mod tests {
    use super::super::rollout::tests::{Shape, workload};
    use super::*;

    type Edit = fn(&mut Workload);

    #[test]
    fn each_sight_of_the_object_has_its_meaning() {
        let before = workload(&Shape::default());
        let (bound, wanted) = (Bound::to(&before), before.wanted);
        let job = Job {
            target: String::new(),
            kind: Kind::Deployment,
            namespace: Namespace::parse("default").unwrap(),
            name: "webapp".to_owned(),
            mark: "run-1".to_owned(),
            is_undo: false,
            repeated: true,
            deadline: Instant::now(),
            progress: Progress::default(),
        };
        let change = Change {
            job: &job,
            bound: &bound,
            done: "scaled",
            patch: Ok(Value::Null),
            unchanged: &move |workload| workload.wanted == wanted,
        };
        let cases: Vec<(&str, Edit, Sent, Finding)> = vec![
            ("as it was", |_| {}, Sent::Maybe, Finding::Open),
            ("marked", |w| w.own_run = Some("run-1".into()), Sent::Maybe, Finding::Applied),
            ("another run's mark", |w| w.own_run = Some("run-2".into()), Sent::Maybe, Finding::Open),
            ("another object", |w| w.uid = "other".into(), Sent::Maybe, Finding::Gone),
            ("not sent", |w| w.resource_version = "999".into(), Sent::Nothing, Finding::Never),
            ("its status changed", |w| w.resource_version = "999".into(), Sent::Maybe, Finding::Never),
            ("something else changed", |w| later(w, 1), Sent::Maybe, Finding::Never),
            (
                "changed so, by whom is not to be seen",
                |w| {
                    later(w, 1);
                    w.wanted += 2;
                },
                Sent::Maybe,
                Finding::Unclear,
            ),
            ("changed twice", |w| later(w, 2), Sent::Maybe, Finding::Unclear),
            ("changed twice, and refused", |w| later(w, 2), Sent::Refused, Finding::Never),
        ];
        for (name, edit, sent, expected) in cases {
            let mut now = before.clone();
            edit(&mut now);
            assert_eq!(change.find(sent, &now), expected, "{name}");
        }
    }

    fn later(workload: &mut Workload, generations: i64) {
        workload.resource_version = "999".into();
        workload.generation += generations;
    }
}

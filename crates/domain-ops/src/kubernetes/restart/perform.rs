//! Sends the patch that an intent stands for, and no other, until it is known what became of it.

use super::super::cluster::{Cluster, operation};
use super::super::errors::{Applied, Failure, Operation};
use super::super::history::History;
use super::super::rollout::{Marks, Receipt, changed_by};
use super::super::workload::Workload;
use super::settle::{Finding, Sent, dig, find};
use super::{Intent, Job, LAST_LOOK};
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The first and the longest pause between attempts to settle an unclear patch.
pub(crate) const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Performs what the intent is bound to, unless it is found to be there already.
///
/// Without an intent (a step that a version before this one began) nothing is sent: only the mark can tell.
pub(crate) async fn perform(cluster: &Cluster, job: &Job, intent: Option<&Intent>) -> Result<Receipt, Fault> {
    let mut attempt = Attempt {
        cluster,
        job,
        pause: PAUSE.0,
        sent: if job.repeated { Sent::Maybe } else { Sent::Nothing },
    };
    match intent {
        Some(intent) => attempt.perform(intent).await,
        None => attempt.find_mark().await,
    }
}

/// One patch, and what is known of it so far.
struct Attempt<'a> {
    cluster: &'a Cluster,
    job: &'a Job,
    pause: Duration,
    sent: Sent,
}

impl Attempt<'_> {
    async fn perform(&mut self, intent: &Intent) -> Result<Receipt, Fault> {
        let patch = intent.patch(self.job);
        // The intent has just looked, unless it is an earlier process's.
        let mut looked = !self.job.repeated;
        loop {
            if !looked && let Some(receipt) = self.settle(intent).await? {
                return Ok(receipt);
            }
            looked = false;
            if self.is_late() {
                return Err(self.given_up(late(self.job)));
            }
            match self.send(&patch).await {
                Ok(changed) if self.job.is_marked(&changed) => {
                    return Ok(intent.receipt(self.job, &changed, self.cluster.now()));
                }
                Ok(_) => return Err(self.unknown(&unmarked(self.job))),
                Err(failure) => match failure.applied() {
                    Applied::No if failure.is_transient() => self.rest().await,
                    Applied::No => {
                        return Err(self.given_up(failure.into_error(&self.operation("patch"))));
                    }
                    Applied::Conflict => {
                        if self.sent > Sent::Nothing {
                            self.rest().await;
                        }
                        self.sent = self.sent.max(Sent::Refused);
                    }
                    Applied::Maybe => {
                        tracing::info!(
                            mark = self.job.mark,
                            ?failure,
                            "the reply to the patch is unclear; looking"
                        );
                        self.sent = Sent::Maybe;
                        self.rest().await;
                    }
                },
            }
        }
    }

    /// Finds out what became of the patch. `None`: it was not applied yet, and may be sent again.
    async fn settle(&mut self, intent: &Intent) -> Result<Option<Receipt>, Fault> {
        let workload = self.look().await?;
        match find(self.job, intent, self.sent, &workload) {
            Finding::Applied => Ok(Some(intent.receipt(self.job, &workload, self.cluster.now()))),
            Finding::Open => Ok(None),
            Finding::Never => Err(Fault::Moved(moved(self.job, intent, &workload))),
            Finding::Gone => Err(self.gone("was deleted and made again")),
            Finding::Buried => self.dig(intent, &workload).await.map(Some),
        }
    }

    /// Looks for the mark among the templates that the workload had.
    async fn dig(&mut self, intent: &Intent, workload: &Workload) -> Result<Receipt, Fault> {
        let history = loop {
            match self.in_time(self.cluster.history(workload)).await {
                Ok(history) => break history,
                Err(failure) if self.may_pass(&failure) && !self.is_late() => self.rest().await,
                Err(failure) => {
                    let resource = "the templates that it had";
                    let error = failure.into_error(&self.operation("list"));
                    let error =
                        Error::new(error.code, format!("{resource} cannot be read: {}", error.message));
                    return Err(self.unknown(&seen(error, intent, workload, None)));
                }
            }
        };
        if let Some(receipt) = dig(self.job, intent, &history, self.cluster.now()) {
            return Ok(receipt);
        }
        if self.sent < Sent::Maybe {
            return Err(Fault::Moved(moved(self.job, intent, workload)));
        }
        let raised = workload.generation - intent.generation;
        let message = format!(
            "it was changed {raised} times since{}, and its mark is neither {} nor in the {} templates that it had",
            changed_by(workload),
            self.job.place().1,
            history.revisions.len(),
        );
        let error = Error::new(Code::KubernetesConflict, message);
        Err(self.unknown(&seen(error, intent, workload, Some(&history))))
    }

    /// For a step that was begun without an intent: without the mark nobody knows.
    async fn find_mark(&mut self) -> Result<Receipt, Fault> {
        self.sent = Sent::Maybe;
        let workload = self.look().await?;
        if !self.job.is_marked(&workload) {
            let message = "an earlier version of AstraDesk may have changed it, and its mark is not on the object: \
                           either it was never set, or somebody undid or replaced it since";
            return Err(self.unknown(&Error::new(Code::KubernetesConflict, message)));
        }
        let intent = Intent {
            uid: workload.uid.clone(),
            resource_version: workload.resource_version.clone(),
            generation: workload.generation,
            revision: None,
            rest: workload.rest,
            sets: Marks::of(&workload.template_annotations),
            before: Marks::default(),
        };
        let receipt = intent.receipt(self.job, &workload, self.cluster.now());
        Ok(Receipt { before: None, ..receipt })
    }

    /// The object as it is, asked for until it can be read, and not much longer than the time limit allows.
    async fn look(&mut self) -> Result<Workload, Fault> {
        loop {
            let (namespace, name) = (&self.job.namespace, &self.job.name);
            match self.in_time(self.cluster.get(self.job.kind, namespace, name)).await {
                Ok(workload) => return Ok(workload),
                Err(failure) if self.may_pass(&failure) && !self.is_late() => self.rest().await,
                Err(failure) if failure.is_not_found() => return Err(self.gone("was deleted")),
                Err(failure) => return Err(self.given_up(failure.into_error(&self.operation("get")))),
            }
        }
    }

    async fn send(&self, patch: &Value) -> Result<Workload, Failure> {
        let (kind, namespace, name) = (self.job.kind, &self.job.namespace, &self.job.name);
        let until = self.job.deadline.max(Instant::now()) + LAST_LOOK;
        self.in_time(self.cluster.patch(kind, namespace, name, patch, Some(until))).await
    }

    async fn in_time<T>(&self, request: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let until = self.job.deadline.max(Instant::now()) + LAST_LOOK;
        timeout_at(until, request).await.unwrap_or(Err(Failure::TimedOut))
    }

    async fn rest(&mut self) {
        sleep_until(self.job.deadline.min(Instant::now() + self.pause)).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    /// Whether asking again may help. When a patch may have been applied, whatever an API server that is starting, or
    /// whose permissions are being changed, may say for a while is no reason to give up.
    fn may_pass(&self, failure: &Failure) -> bool {
        failure.is_transient() || (self.sent == Sent::Maybe && !failure.is_not_found())
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.job.deadline
    }

    fn operation(&self, verb: &'static str) -> Operation {
        operation(verb, self.job.kind, &self.job.namespace, &self.job.name)
    }

    /// The object that the intent was for is not there any more.
    fn gone(&self, how: &str) -> Fault {
        let error = Error::new(Code::KubernetesNotFound, format!("{} {how}", self.job.what()));
        self.given_up(error)
    }

    /// An end is certain only when no patch may have been applied.
    fn given_up(&self, error: Error) -> Fault {
        if self.sent == Sent::Maybe { self.unknown(&error) } else { Fault::Failed(error) }
    }

    fn unknown(&self, seen: &Error) -> Fault {
        let job = self.job;
        let (annotation, place) = job.place();
        let message =
            format!("whether {} was {} could not be established: {}", job.what(), job.done(), seen.message);
        let mut error = Error::new(Code::RunOutcomeUnknown, message)
            .with_remedy(format!(
                "look whether `kubectl -n {} get {}/{} -o yaml` shows the annotation `{annotation}: {}` {place}, and \
                 what `kubectl -n {} rollout history {}/{}` tells",
                job.namespace, job.kind, job.name, job.mark, job.namespace, job.kind, job.name
            ))
            .with_detail("seen", seen.code.as_str())
            .with_detail("mark", job.mark.clone());
        error.details.extend(seen.details.clone());
        Fault::Unknown(error)
    }
}

fn late(job: &Job) -> Error {
    let message = format!("the time limit passed before {} could be {}", job.what(), job.done());
    Error::new(Code::ToolTimedOut, message)
}

fn moved(job: &Job, intent: &Intent, workload: &Workload) -> Error {
    let how = if workload.generation == intent.generation {
        "its status or its labels changed".to_owned()
    } else {
        format!("its specification was changed{}", changed_by(workload))
    };
    let message = format!("{} was not {}, because {how} in between", job.what(), job.done());
    seen(Error::new(Code::KubernetesConflict, message), intent, workload, None)
}

/// The API server accepted the patch and answered with an object that lacks the mark.
fn unmarked(job: &Job) -> Error {
    let (annotation, place) = job.place();
    let message = format!(
        "the cluster accepted the change, but took the annotation `{annotation}` away, which is to be {place}"
    );
    Error::new(Code::KubernetesRejected, message)
        .with_remedy("let no admission webhook remove annotations that begin with `astradesk.dev/`")
}

/// What an operator needs to judge for themselves.
fn seen(error: Error, intent: &Intent, workload: &Workload, history: Option<&History>) -> Error {
    let by = workload.changed_by.as_ref().map(|change| change.manager.clone());
    let mut error = error
        .with_detail("generation_before", intent.generation)
        .with_detail("generation_now", workload.generation)
        .with_detail("changed_by", by);
    if let Some(history) = history {
        error = error
            .with_detail("templates_read", history.revisions.len())
            .with_detail("templates_left_out", history.truncated);
    }
    error
}

//! Sends the patch that an intent stands for, and no other, until it is known what became of it.

use super::super::SCALE;
use super::super::cluster::{Cluster, operation};
use super::super::errors::{Applied, Failure, Operation};
use super::super::restart::{LAST_LOOK, PAUSE, Sent};
use super::super::workload::Workload;
use super::settle::{Finding, find};
use super::{Intent, Job, Receipt};
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Performs what the intent is bound to, unless it is found to be there already. A number that is there already needs no
/// patch.
pub(crate) async fn perform(cluster: &Cluster, job: &Job, intent: &Intent) -> Result<Receipt, Fault> {
    let sent = if job.repeated { Sent::Maybe } else { Sent::Nothing };
    let mut attempt = Attempt { cluster, job, intent, sent, pause: PAUSE.0 };
    if intent.replicas == intent.before {
        attempt.sent = Sent::Nothing;
        let workload = attempt.look().await?;
        return Ok(intent.receipt(job, &workload, cluster.now()));
    }
    attempt.until_known().await
}

/// One patch, and what is known of it so far.
struct Attempt<'a> {
    cluster: &'a Cluster,
    job: &'a Job,
    intent: &'a Intent,
    sent: Sent,
    pause: Duration,
}

impl Attempt<'_> {
    async fn until_known(&mut self) -> Result<Receipt, Fault> {
        // The intent has just looked, unless it is an earlier process's.
        let mut looked = !self.job.repeated;
        loop {
            if !looked && let Some(receipt) = self.settle().await? {
                return Ok(receipt);
            }
            looked = false;
            if Instant::now() >= self.job.deadline {
                let message = format!("the time limit passed before {} could be scaled", self.job.what());
                return Err(self.given_up(Error::new(Code::ToolTimedOut, message)));
            }
            match self.send().await {
                Ok(changed) if self.job.is_marked(&changed) => {
                    return Ok(self.intent.receipt(self.job, &changed, self.cluster.now()));
                }
                Ok(_) => return Err(self.unknown(&unmarked())),
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
                        let mark = &self.job.mark;
                        tracing::info!(mark, ?failure, "the reply to the patch is unclear; looking");
                        self.sent = Sent::Maybe;
                        self.rest().await;
                    }
                },
            }
        }
    }

    /// Finds out what became of the patch. `None`: it was not applied yet, and may be sent again.
    async fn settle(&mut self) -> Result<Option<Receipt>, Fault> {
        let workload = self.look().await?;
        match find(self.job, self.intent, self.sent, &workload) {
            Finding::Applied => Ok(Some(self.intent.receipt(self.job, &workload, self.cluster.now()))),
            Finding::Open => Ok(None),
            Finding::Never => {
                let message =
                    format!("{} was not scaled, because it was changed in between", self.job.what());
                Err(Fault::Moved(self.seen(Error::new(Code::KubernetesConflict, message), &workload)))
            }
            Finding::Gone => Err(self.gone("was deleted and made again")),
            Finding::Unclear => {
                let message = "it was changed since, and the mark is not among its annotations";
                let error = self.seen(Error::new(Code::KubernetesConflict, message), &workload);
                Err(self.unknown(&error))
            }
        }
    }

    /// The object as it is, asked for until it can be read, and not much longer than the time limit allows.
    async fn look(&mut self) -> Result<Workload, Fault> {
        loop {
            let (namespace, name) = (&self.job.namespace, &self.job.name);
            let may_pass = |failure: &Failure| {
                failure.is_transient() || (self.sent == Sent::Maybe && !failure.is_not_found())
            };
            match self.in_time(self.cluster.get(self.job.kind, namespace, name)).await {
                Ok(workload) => return Ok(workload),
                Err(failure) if may_pass(&failure) && Instant::now() < self.job.deadline => self.rest().await,
                Err(failure) if failure.is_not_found() => return Err(self.gone("was deleted")),
                Err(failure) => return Err(self.given_up(failure.into_error(&self.operation("get")))),
            }
        }
    }

    async fn send(&self) -> Result<Workload, Failure> {
        let Job { kind, namespace, name, mark, .. } = self.job;
        let patch = self.intent.patch(mark);
        let until = self.job.deadline.max(Instant::now()) + LAST_LOOK;
        self.in_time(self.cluster.patch(*kind, namespace, name, &patch, Some(until))).await
    }

    async fn in_time<T>(&self, request: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let until = self.job.deadline.max(Instant::now()) + LAST_LOOK;
        timeout_at(until, request).await.unwrap_or(Err(Failure::TimedOut))
    }

    async fn rest(&mut self) {
        sleep_until(self.job.deadline.min(Instant::now() + self.pause)).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    fn operation(&self, verb: &'static str) -> Operation {
        operation(verb, self.job.kind, &self.job.namespace, &self.job.name)
    }

    fn gone(&self, how: &str) -> Fault {
        self.given_up(Error::new(Code::KubernetesNotFound, format!("{} {how}", self.job.what())))
    }

    /// An end is certain only when no patch may have been applied.
    fn given_up(&self, error: Error) -> Fault {
        if self.sent == Sent::Maybe { self.unknown(&error) } else { Fault::Failed(error) }
    }

    fn unknown(&self, seen: &Error) -> Fault {
        let Job { namespace, kind, name, mark, .. } = self.job;
        let message =
            format!("whether {} was scaled could not be established: {}", self.job.what(), seen.message);
        let mut error = Error::new(Code::RunOutcomeUnknown, message)
            .with_remedy(format!(
                "look whether `kubectl -n {namespace} get {kind}/{name} -o yaml` shows `replicas: {}` and the annotation \
                 `{SCALE}: {mark}`",
                self.intent.replicas
            ))
            .with_detail("seen", seen.code.as_str())
            .with_detail("mark", mark.clone());
        error.details.extend(seen.details.clone());
        Fault::Unknown(error)
    }

    /// What an operator needs to judge for themselves.
    fn seen(&self, error: Error, workload: &Workload) -> Error {
        error
            .with_detail("generation_before", self.intent.generation)
            .with_detail("generation_now", workload.generation)
            .with_detail("replicas_before", self.intent.before)
            .with_detail("replicas_now", workload.wanted)
    }
}

/// The API server accepted the patch and answered with an object that lacks the mark.
fn unmarked() -> Error {
    let message = format!("the cluster accepted the change, but took the annotation `{SCALE}` away");
    Error::new(Code::KubernetesRejected, message)
}

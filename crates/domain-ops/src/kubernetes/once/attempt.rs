//! Sends one patch, and no other, until it is known what became of it.

use super::super::cluster::Cluster;
use super::super::errors::{Applied, Failure};
use super::find::{Finding, Sent};
use super::{Change, LAST_LOOK, PAUSE, Task};
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// One patch, and what is known of it so far.
pub(super) struct Attempt<'a, T: Task> {
    cluster: &'a Cluster,
    change: &'a Change<'a, T>,
    task: &'a T,
    sent: Sent,
    pause: Duration,
}

impl<'a, T: Task> Attempt<'a, T> {
    pub(super) fn new(cluster: &'a Cluster, change: &'a Change<'a, T>) -> Self {
        let task = change.task;
        let sent = if task.repeated() { Sent::Maybe } else { Sent::Nothing };
        Self { cluster, change, task, sent, pause: PAUSE.0 }
    }

    pub(super) async fn until_known(&mut self) -> Result<T::Made, Fault> {
        // The intent has just looked, unless it is an earlier process's.
        let mut looked = !self.task.repeated();
        loop {
            if !looked && let Some(made) = self.settle().await? {
                return Ok(made);
            }
            looked = false;
            let patch = self.change.patch.as_ref().map_err(|error| self.given_up(error.clone()))?;
            if self.is_late() {
                let (what, done) = (self.task.what(), self.change.done);
                let message = format!("the time limit passed before {what} could be {done}");
                return Err(self.given_up(Error::new(Code::ToolTimedOut, message)));
            }
            match self.send(patch).await {
                Ok(changed) if self.change.is_marked(&changed) => {
                    return Ok(self.task.made(self.cluster, changed));
                }
                Ok(_) => return Err(self.unknown(&self.unmarked())),
                Err(failure) => match failure.applied() {
                    Applied::No if failure.is_transient() => self.rest().await,
                    Applied::No => {
                        return Err(self.given_up(failure.into_error(&self.task.operation("patch"))));
                    }
                    Applied::Conflict => {
                        if self.sent > Sent::Nothing {
                            self.rest().await;
                        }
                        self.sent = self.sent.max(Sent::Refused);
                    }
                    Applied::Maybe => {
                        let mark = self.task.mark();
                        tracing::info!(mark, ?failure, "the reply to the patch is unclear; looking");
                        self.sent = Sent::Maybe;
                        self.rest().await;
                    }
                },
            }
        }
    }

    /// Finds out what became of the patch. `None`: it was not applied yet, and may be sent again.
    async fn settle(&mut self) -> Result<Option<T::Made>, Fault> {
        let object = self.look().await?;
        match self.change.find(self.sent, &object) {
            Finding::Applied => Ok(Some(self.task.made(self.cluster, object))),
            Finding::Open => Ok(None),
            Finding::Never => Err(self.moved(&object)),
            Finding::Gone => Err(self.gone("was deleted and made again")),
            Finding::Buried => self.dig(&object).await.map(Some),
        }
    }

    /// The object as it is, asked for until it can be read, and not much longer than the time limit allows.
    async fn look(&mut self) -> Result<T::Object, Fault> {
        loop {
            match self.in_time(self.task.get(self.cluster)).await {
                Ok(object) => return Ok(object),
                Err(failure) if self.may_pass(&failure) && !self.is_late() => self.rest().await,
                Err(failure) if failure.is_not_found() => return Err(self.gone("was deleted")),
                Err(failure) => return Err(self.given_up(failure.into_error(&self.task.operation("get")))),
            }
        }
    }

    /// Looks for the mark in the object's past.
    async fn dig(&mut self, object: &T::Object) -> Result<T::Made, Fault> {
        loop {
            match self.in_time(self.task.dig(self.cluster, object)).await {
                Ok(Ok(made)) => return Ok(made),
                Ok(Err(_)) if self.sent < Sent::Maybe => return Err(self.moved(object)),
                Ok(Err(error)) => return Err(self.unknown(&self.seen(error, object))),
                Err(failure) if self.may_pass(&failure) && !self.is_late() => self.rest().await,
                Err(failure) => {
                    let mut error = failure.into_error(&self.task.operation("list"));
                    error.message = format!("the templates that it had cannot be read: {}", error.message);
                    return Err(self.unknown(&self.seen(error, object)));
                }
            }
        }
    }

    async fn send(&self, patch: &Value) -> Result<T::Object, Failure> {
        self.in_time(self.task.patch(self.cluster, patch, Some(self.last_look()))).await
    }

    async fn in_time<A>(&self, request: impl Future<Output = Result<A, Failure>>) -> Result<A, Failure> {
        timeout_at(self.last_look(), request).await.unwrap_or(Err(Failure::TimedOut))
    }

    fn last_look(&self) -> Instant {
        self.task.deadline().max(Instant::now()) + LAST_LOOK
    }

    async fn rest(&mut self) {
        sleep_until(self.task.deadline().min(Instant::now() + self.pause)).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    /// Whether asking again may help. When a patch may have been applied, whatever an API server that is starting, or
    /// whose permissions are being changed, may say for a while is no reason to give up.
    fn may_pass(&self, failure: &Failure) -> bool {
        failure.is_transient() || (self.sent == Sent::Maybe && !failure.is_not_found())
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.task.deadline()
    }

    /// The object that the patch was for is not there any more.
    fn gone(&self, how: &str) -> Fault {
        self.given_up(Error::new(Code::KubernetesNotFound, format!("{} {how}", self.task.what())))
    }

    /// An end is certain only when no patch may have been applied.
    fn given_up(&self, error: Error) -> Fault {
        if self.sent == Sent::Maybe { self.unknown(&error) } else { Fault::Failed(error) }
    }

    fn moved(&self, object: &T::Object) -> Fault {
        let (what, done, how) =
            (self.task.what(), self.change.done, self.task.moved(self.change.bound, object));
        let message = format!("{what} was not {done}, because {how} in between");
        Fault::Moved(self.seen(Error::new(Code::KubernetesConflict, message), object))
    }

    fn unknown(&self, seen: &Error) -> Fault {
        let (what, mark, done) = (self.task.what(), self.task.mark(), self.change.done);
        let (annotation, place) = self.task.place();
        let message = format!("whether {what} was {done} could not be established: {}", seen.message);
        let mut error = Error::new(Code::RunOutcomeUnknown, message)
            .with_remedy(format!(
                "look whether `{}` shows the annotation `{annotation}: {mark}` {place}, and {}",
                self.task.command(),
                self.task.tells()
            ))
            .with_detail("seen", seen.code.as_str())
            .with_detail("mark", mark);
        error.details.extend(seen.details.clone());
        Fault::Unknown(error)
    }

    /// The API server accepted the patch and answered with an object that lacks the mark.
    fn unmarked(&self) -> Error {
        let (annotation, place) = self.task.place();
        let message = format!(
            "the cluster accepted the change, but took the annotation `{annotation}` away, which is to be {place}"
        );
        Error::new(Code::KubernetesRejected, message)
            .with_remedy("let no admission webhook remove annotations that begin with `astradesk.dev/`")
    }

    /// What an operator needs to judge for themselves.
    fn seen(&self, error: Error, object: &T::Object) -> Error {
        let error = error
            .with_detail("generation_before", self.change.bound.generation)
            .with_detail("generation_now", T::bound(object).generation);
        T::seen(object, error)
    }
}

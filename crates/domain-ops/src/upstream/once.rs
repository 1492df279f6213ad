//! One change of a system that has no request which makes it only if it is not there yet, made once all the same.
//!
//! Where the reply to a request is not known, or an earlier process may have sent it, what it leaves is looked for, until it
//! is found, or has not come for [`SETTLE`]; only then it is sent (again).

use super::{Applied, Failure};
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::{Fault, Progress, StepContext};
use async_trait::async_trait;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The pause before something is looked at again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// How long a request may still take when the time limit has passed: to find out what became of an effect.
const LAST_LOOK: Duration = Duration::from_secs(3);
/// How long a request of which nothing is known is looked for: it may be on its way, or in another replica of the system
/// that has not told the others yet.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);

/// A step that changes something.
pub(crate) struct Job {
    /// What marks something as made by this step.
    pub(crate) mark: String,
    /// Whether an earlier process may have performed it already.
    pub(crate) repeated: bool,
    pub(crate) deadline: Instant,
    pub(crate) progress: Progress,
}

impl Job {
    pub(crate) fn of(step: &StepContext) -> Self {
        Self {
            mark: format!("{}={}/{}", crate::kubernetes::RUN, step.run, step.step),
            repeated: step.repeated,
            deadline: step.deadline,
            progress: step.progress.clone(),
        }
    }

    pub(crate) fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Until when something may be looked at that tells what became of an effect.
    pub(crate) fn last_look(&self) -> Instant {
        self.deadline.max(Instant::now()) + LAST_LOOK
    }
}

/// Pauses that grow.
pub(crate) struct Pauses {
    next: Duration,
    most: Duration,
}

impl Pauses {
    pub(crate) const fn new() -> Self {
        Self { next: PAUSE.0, most: PAUSE.1 }
    }

    /// Those of something that takes minutes.
    #[cfg(feature = "aws")]
    pub(crate) const fn long() -> Self {
        Self { next: PAUSE.0, most: Duration::from_secs(5) }
    }

    /// Waits, not beyond `deadline`.
    pub(crate) async fn rest(&mut self, deadline: Instant) {
        sleep_until(deadline.min(Instant::now() + self.next)).await;
        self.next = (self.next * 2).min(self.most);
    }
}

/// One change.
#[async_trait]
pub(crate) trait Change: Sync {
    /// What it leaves.
    type Done: Send;

    /// Why it must not be sent any more, if that is so.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// What it left, if it is there. What cannot be told apart from what somebody else did is a failure.
    async fn find(&self, until: Instant) -> Result<Option<Self::Done>, Failure>;

    /// Sends the request, once.
    async fn send(&self, until: Instant) -> Result<Self::Done, Failure>;

    /// What it is, as the middle of a sentence, and what to look at if nobody knows what became of it.
    fn told(&self) -> (String, String);
}

/// Makes the change, unless it is found to be made already.
pub(crate) async fn perform<C: Change>(job: &Job, change: &C) -> Result<C::Done, Fault> {
    let mut applied = if job.repeated { Applied::Maybe } else { Applied::No };
    let mut pauses = Pauses::new();
    loop {
        if applied == Applied::Maybe
            && let Some(found) = find(job, change).await?
        {
            return Ok(found);
        }
        change.check().map_err(Fault::Failed)?;
        if job.is_late() {
            let message = format!("the time limit passed before {}", change.told().0);
            return Err(given_up(job, change, applied, Error::new(Code::ToolTimedOut, message)));
        }
        match change.send(job.last_look()).await {
            Ok(done) => return Ok(done),
            Err(failure) if failure.applied == Applied::No && !failure.is_transient => {
                return Err(given_up(job, change, applied, failure.error));
            }
            Err(failure) => {
                tracing::info!(mark = job.mark, error = %failure.error, "a change was not confirmed; looking");
                if failure.applied == Applied::Maybe {
                    applied = Applied::Maybe;
                }
                pauses.rest(job.deadline).await;
            }
        }
    }
}

/// Looks for what the change leaves, until it is found, or surely will not come.
async fn find<C: Change>(job: &Job, change: &C) -> Result<Option<C::Done>, Fault> {
    let mut pauses = Pauses::new();
    let until = Instant::now() + SETTLE;
    loop {
        let last = Instant::now() >= until;
        match change.find(job.last_look()).await {
            Ok(found) if found.is_some() || last => return Ok(found),
            Err(failure) if job.is_late() || !failure.is_transient => {
                return Err(given_up(job, change, Applied::Maybe, failure.error));
            }
            Ok(_) | Err(_) => {}
        }
        pauses.rest(Instant::now() + PAUSE.1).await;
    }
}

/// An end is certain only when no request may have arrived.
fn given_up(job: &Job, change: &impl Change, applied: Applied, error: Error) -> Fault {
    if applied == Applied::No {
        return Fault::Failed(error);
    }
    let (what, look) = change.told();
    let message = format!("it could not be established whether {what}: {}", error.message);
    let unknown = Error::new(Code::RunOutcomeUnknown, message)
        .with_remedy(look)
        .with_detail("seen", error.code.as_str())
        .with_detail("mark", job.mark.as_str());
    Fault::Unknown(unknown)
}

//! An instance refresh of an Auto Scaling group, begun once, watched until it is complete, cancelled when its run is.
//!
//! AWS has no mark and no token for it, and lets one group have one refresh at a time. So the intent has the ids of those
//! that there were: one besides is what this step began.

use super::Aws;
use super::autoscaling::{Refresh, State};
use crate::upstream::once::{self, Change, Job, Pauses};
use crate::upstream::{Applied, Failure};
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::Fault;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The group as it was when the refresh was decided. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The refreshes that there were.
    pub(crate) refreshes: Vec<String>,
    /// The share of instances that must stay healthy meanwhile, in percent; none: the group's own.
    pub(crate) min_healthy: Option<i32>,
}

/// The refresh that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) refresh: String,
}

/// The refreshes that there are, if none is in progress.
pub(crate) async fn sane(aws: &Aws, group: &str, until: Instant) -> Result<Vec<Refresh>> {
    if aws.group_size(group, until).await? == 0 {
        let message = format!("the Auto Scaling group `{group}` is to have no instance");
        return Err(Error::new(Code::GuardScaledToZero, message));
    }
    let refreshes = aws.refreshes(group, None, until).await?;
    match refreshes.iter().find(|refresh| refresh.state == State::Going) {
        None => Ok(refreshes),
        Some(Refresh { id, status, .. }) => {
            let message = format!("the instance refresh {id} of `{group}` is in progress ({status})");
            Err(Error::new(Code::GuardRolloutInProgress, message))
        }
    }
}

struct Begin<'a> {
    aws: &'a Aws,
    group: &'a str,
    intent: &'a Intent,
}

#[async_trait]
impl Change for Begin<'_> {
    type Done = Receipt;

    async fn find(&self, until: Instant) -> Result<Option<Receipt>, Failure> {
        let now = self.aws.refreshes(self.group, None, until).await?;
        let new: Vec<&Refresh> = now.iter().filter(|one| !self.intent.refreshes.contains(&one.id)).collect();
        match new.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(Receipt { refresh: one.id.clone() })),
            _ => {
                let message = "somebody else has begun an instance refresh meanwhile";
                let error = Error::new(Code::UpstreamConflict, message);
                Err(Failure { error, applied: Applied::Maybe, is_transient: false })
            }
        }
    }

    async fn send(&self, until: Instant) -> Result<Receipt, Failure> {
        let id = self.aws.start_refresh(self.group, self.intent.min_healthy, until).await?;
        Ok(Receipt { refresh: id })
    }

    fn told(&self) -> (String, String) {
        let group = self.group;
        let look = format!(
            "look at the refreshes: `aws autoscaling describe-instance-refreshes --auto-scaling-group-name {group}`"
        );
        (format!("an instance refresh of `{group}` was begun"), look)
    }
}

/// Begins the refresh, unless it is found to be begun already.
pub(crate) async fn perform(aws: &Aws, job: &Job, group: &str, intent: &Intent) -> Result<Receipt, Fault> {
    once::perform(job, &Begin { aws, group, intent }).await
}

/// Watches until the refresh is complete.
pub(crate) async fn verify(aws: &Aws, job: &Job, group: &str, receipt: &Receipt) -> Result<Value, Fault> {
    let id = &receipt.refresh;
    let mut pauses = Pauses::long();
    let mut told = String::new();
    loop {
        let fault = match look(aws, job, group, id).await {
            Ok(refresh) => {
                let Refresh { state, status, reason, percentage, .. } = refresh;
                let message = format!("{status}, {percentage} % done");
                match state {
                    State::Successful => {
                        let summary =
                            format!("the instances of `{group}` were replaced by instance refresh {id}");
                        return Ok(json!({"summary": summary, "refresh": id, "group": group}));
                    }
                    State::Ended => {
                        let message = format!(
                            "the instance refresh {id} ended as {status} at {percentage} %: {reason}"
                        );
                        return Err(Fault::Failed(Error::new(Code::UpstreamNotVerified, message)));
                    }
                    State::Going => {}
                }
                if message != told {
                    job.progress.report(message.clone(), json!({"refresh": id, "percentage": percentage}));
                    told.clone_from(&message);
                }
                let message = format!("the instance refresh {id} is not complete: {message} {reason}");
                Fault::Failed(Error::new(Code::RolloutTimedOut, message.trim().to_owned()).with_remedy(format!(
                    "it goes on; cancel it by `aws autoscaling cancel-instance-refresh --auto-scaling-group-name {group}`"
                )))
            }
            Err(failure) => {
                let message = format!(
                    "the instance refresh {id} was begun, and what came of it could not be seen: {}",
                    failure.error.message
                );
                Fault::Unknown(Error::new(Code::RunOutcomeUnknown, message))
            }
        };
        if job.is_late() {
            return Err(fault);
        }
        pauses.rest(job.deadline).await;
    }
}

async fn look(aws: &Aws, job: &Job, group: &str, id: &str) -> Result<Refresh, Failure> {
    let found = aws.refreshes(group, Some(id), job.last_look()).await?;
    found.into_iter().find(|refresh| refresh.id == id).ok_or_else(|| {
        let error =
            Error::new(Code::UpstreamAnswerInvalid, format!("AWS does not list the instance refresh {id}"));
        Failure { error, applied: Applied::Maybe, is_transient: true }
    })
}

/// Cancels the refresh, if it is this step's own that is in progress, and says what had been done by then. It is waited
/// for until it has ended.
pub(crate) async fn stop(aws: &Aws, job: &Job, group: &str, receipt: &Receipt) -> Result<String, Error> {
    let id = &receipt.refresh;
    let mut pauses = Pauses::long();
    let mut asked = false;
    loop {
        let error = match look(aws, job, group, id).await {
            Ok(refresh) if refresh.state != State::Going => {
                let Refresh { status, percentage, .. } = refresh;
                return Ok(format!(
                    "the instance refresh {id} of `{group}` ended as {status} at {percentage} %; instances that were replaced stay so"
                ));
            }
            Ok(_) if !asked => match aws.cancel_refresh(group, job.last_look()).await {
                Ok(()) => {
                    asked = true;
                    None
                }
                Err(failure) => Some(failure.error),
            },
            Ok(refresh) => {
                let message = format!("the instance refresh {id} is being cancelled: {}", refresh.status);
                Some(Error::new(Code::UpstreamNotVerified, message))
            }
            Err(failure) => Some(failure.error),
        };
        if let Some(error) = error.filter(|_| job.is_late()) {
            return Err(error);
        }
        pauses.rest(job.deadline).await;
    }
}

#[cfg(test)]
#[path = "refresh_tests.rs"]
mod tests;

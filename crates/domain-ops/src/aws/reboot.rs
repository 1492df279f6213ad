//! A reboot of an EC2 instance, asked for once, and watched.
//!
//! EC2 leaves no trace by which a reboot could be found again, and has no token that makes a request count once. So it is asked
//! for once: if its reply is lost, or an earlier process may have asked, it is never asked for again, and the outcome is unknown.
//! That the instance was rebooted, EC2 does not say either. What can be seen is AWS's two checks, once a minute: that they fail
//! and come back is the sign of it; that they stay well for a while after the request was accepted is the least that is asked.

use super::Aws;
use super::ec2::{Checks, Instance, Status, agent};
use crate::upstream::once::{Job, Pauses};
use crate::upstream::{Applied, Failure};
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// The instance as it was when the reboot was decided. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) instance: String,
    pub(crate) state: String,
    pub(crate) launched: String,
    pub(crate) checks: Checks,
}

/// The reboot that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) instance: String,
    /// AWS's checks before it.
    pub(crate) checks: Checks,
    /// What `CloudTrail` has as the `userAgent` of the request.
    pub(crate) user_agent: String,
}

/// The instance and its checks, if it can be rebooted now.
pub(crate) async fn sane(aws: &Aws, id: &str, until: Instant) -> Result<(Instance, Checks)> {
    let instance = aws.instance(id, until).await?;
    if instance.state != "running" {
        let message = format!(
            "the instance `{id}` is {}, and only one that is running can be rebooted",
            instance.state
        );
        return Err(
            Error::new(Code::UpstreamConflict, message).with_remedy("start it in AWS, if it is to run")
        );
    }
    let Status { checks, .. } = aws.instance_status(id, until).await?;
    Ok((instance, checks))
}

/// Asks for the reboot, once.
pub(crate) async fn perform(aws: &Aws, job: &Job, intent: &Intent) -> Result<Receipt, Fault> {
    if job.repeated {
        return Err(unknown(job, intent, "an earlier process may have asked for it"));
    }
    let mut pauses = Pauses::new();
    loop {
        match aws.reboot(&intent.instance, &job.mark, job.last_look()).await {
            Ok(()) => {
                return Ok(Receipt {
                    instance: intent.instance.clone(),
                    checks: intent.checks.clone(),
                    user_agent: agent(&job.mark),
                });
            }
            Err(Failure { error, applied: Applied::Maybe, .. }) => {
                return Err(unknown(job, intent, &error.message));
            }
            Err(Failure { error, is_transient, .. }) if !is_transient || job.is_late() => {
                return Err(Fault::Failed(error));
            }
            Err(failure) => {
                tracing::info!(mark = job.mark, error = %failure.error, "a reboot was not taken; asking again");
                pauses.rest(job.deadline).await;
            }
        }
    }
}

fn unknown(job: &Job, intent: &Intent, why: &str) -> Fault {
    let id = &intent.instance;
    let message = format!("it could not be established whether `{id}` was rebooted: {why}");
    let look = format!(
        "look for the event RebootInstances with userAgent `{}`: `aws cloudtrail lookup-events --lookup-attributes \
         AttributeKey=ResourceName,AttributeValue={id}`, up to 15 minutes later; and at the uptime of the instance",
        agent(&job.mark)
    );
    Fault::Unknown(
        Error::new(Code::RunOutcomeUnknown, message).with_remedy(look).with_detail("mark", job.mark.as_str()),
    )
}

/// Where it stands.
enum Stage {
    /// It runs, and its checks are well.
    Well,
    Going(Code, String),
    Ended(Code, String),
}

fn stage(status: &Status) -> Stage {
    let Status { state, checks } = status;
    match state.as_str() {
        "running" if checks.are_ok() => Stage::Well,
        "running" => {
            let is_failing = [&checks.system, &checks.instance].iter().any(|check| *check == "impaired");
            let code = if is_failing { Code::UpstreamNotVerified } else { Code::RolloutTimedOut };
            Stage::Going(code, format!("AWS's checks: {checks}"))
        }
        "shutting-down" | "terminated" => {
            Stage::Ended(Code::RolloutWorkloadDeleted, format!("the instance is {state} by now"))
        }
        "stopping" | "stopped" => {
            let message = format!("somebody has stopped the instance meanwhile: it is {state}");
            Stage::Ended(Code::RolloutSuperseded, message)
        }
        other => Stage::Going(Code::RolloutTimedOut, format!("the instance is {other}")),
    }
}

/// Watches until the checks are well again, or have been for `watch`.
pub(crate) async fn verify(aws: &Aws, job: &Job, watch: Duration, receipt: &Receipt) -> Result<Value, Fault> {
    let id = receipt.instance.as_str();
    let begun = Instant::now();
    let mut sign = (!receipt.checks.are_ok()).then(|| format!("before it: {}", receipt.checks));
    let (mut pauses, mut told) = (Pauses::long(), String::new());
    loop {
        let fault = match aws.instance_status(id, job.last_look()).await {
            Ok(status) => {
                let (code, message) = match stage(&status) {
                    Stage::Well if sign.is_some() || begun.elapsed() >= watch => {
                        return Ok(output(receipt, &status, sign.as_deref(), begun.elapsed()));
                    }
                    Stage::Well => {
                        let seconds = watch.as_secs();
                        let message = format!("AWS's checks are ok; they are watched for {seconds} s");
                        (Code::RolloutTimedOut, message)
                    }
                    Stage::Going(code, message) => {
                        sign = Some(format!("meanwhile: {}", status.checks));
                        (code, message)
                    }
                    Stage::Ended(code, message) => return Err(Fault::Failed(Error::new(code, message))),
                };
                if message != told {
                    job.progress.report(message.clone(), json!({"instance": id, "checks": status.checks}));
                    told.clone_from(&message);
                }
                Fault::Failed(
                    Error::new(
                        code,
                        format!(
                            "the reboot of `{id}` was accepted, and not seen to come out well: {message}"
                        ),
                    )
                    .with_remedy(format!(
                        "look at the console: `aws ec2 get-console-output --instance-id {id}`"
                    ))
                    .with_detail("checks", json!(status.checks)),
                )
            }
            Err(failure) if failure.error.code == Code::UpstreamNotFound => {
                return Err(Fault::Failed(Error::new(Code::RolloutWorkloadDeleted, failure.error.message)));
            }
            Err(failure) => {
                let message = format!(
                    "the reboot of `{id}` was accepted, and what came of it could not be seen: {}",
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

fn output(receipt: &Receipt, status: &Status, sign: Option<&str>, watched: Duration) -> Value {
    let Receipt { instance: id, user_agent, .. } = receipt;
    let seconds = watched.as_secs();
    let summary = match sign {
        Some(sign) => format!("AWS accepted the reboot of `{id}`, and its checks are ok again ({sign})"),
        None => format!(
            "AWS accepted the reboot of `{id}`, and its checks were ok for {seconds} s; no other sign of it was seen"
        ),
    };
    json!({
        "summary": summary,
        "instance": id,
        "checks": status.checks,
        "seen": sign,
        "watched_seconds": seconds,
        "user_agent": user_agent,
    })
}

#[cfg(test)]
#[path = "reboot_tests.rs"]
mod tests;

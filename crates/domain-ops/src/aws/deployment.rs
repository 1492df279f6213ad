//! A new deployment of an ECS service, begun once, watched until it is complete.
//!
//! ECS has no mark and no token for it. So the intent has the ids of the deployments that there were: what is there
//! besides, of the same task definition, is what this step began. If there is more than one, or one of another task
//! definition, somebody else has deployed meanwhile, and nobody can tell.

use super::Aws;
use super::ecs::{Deployment, State};
pub(crate) use super::ecs::{Place, Service};
use crate::upstream::once::{self, Change, Job, Pauses};
use crate::upstream::{Applied, Failure};
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::Fault;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The service as it was when the deployment was decided. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) arn: String,
    pub(crate) task_definition: String,
    /// The deployments that there were.
    pub(crate) deployments: Vec<String>,
}

/// The deployment that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) deployment: String,
}

impl Intent {
    pub(crate) fn of(service: &Service) -> Self {
        Self {
            arn: service.arn.clone(),
            task_definition: service.task_definition.clone(),
            deployments: service.deployments.iter().map(|deployment| deployment.id.clone()).collect(),
        }
    }

    /// The deployment that this step began, if it is there.
    fn begun(&self, service: &Service) -> Result<Option<Receipt>, Failure> {
        let new: Vec<&Deployment> =
            service.deployments.iter().filter(|one| !self.deployments.contains(&one.id)).collect();
        match new.as_slice() {
            [] => Ok(None),
            [one] if one.task_definition == self.task_definition => {
                Ok(Some(Receipt { deployment: one.id.clone() }))
            }
            _ => {
                let message = "somebody else has deployed the service meanwhile";
                let error = Error::new(Code::UpstreamConflict, message);
                Err(Failure { error, applied: Applied::Maybe, is_transient: false })
            }
        }
    }
}

/// Whether the service can be restarted now.
pub(crate) fn sane(service: &Service, accept_downtime: bool) -> Result<()> {
    let Service { controller, desired, minimum_healthy, .. } = service;
    let refuse = |code, message: String| Err(Error::new(code, message));
    if service.status != "ACTIVE" {
        return refuse(Code::UpstreamConflict, format!("the service is {}", service.status));
    }
    if controller != "ECS" {
        let message = format!("tasks of the service are replaced by {controller}, not by ECS itself");
        return Err(Error::new(Code::UpstreamConflict, message).with_remedy("begin a deployment there"));
    }
    if *desired == 0 {
        return refuse(Code::GuardScaledToZero, "no task of the service is wanted".to_owned());
    }
    if service.deployments.len() > 1 || service.deployments.iter().any(|one| one.state == State::InProgress) {
        return refuse(Code::GuardRolloutInProgress, "a deployment of the service is in progress".to_owned());
    }
    // How many tasks stay while they are replaced, as ECS rounds it.
    let stay = (i64::from(*desired) * i64::from(*minimum_healthy) + 99) / 100;
    if stay == 0 && !accept_downtime {
        let message = format!("all {desired} tasks may be stopped at once: `minimumHealthyPercent` is 0");
        return refuse(Code::GuardDowntime, message);
    }
    Ok(())
}

struct Begin<'a> {
    aws: &'a Aws,
    place: &'a Place,
    intent: &'a Intent,
}

#[async_trait]
impl Change for Begin<'_> {
    type Done = Receipt;

    async fn find(&self, until: Instant) -> Result<Option<Receipt>, Failure> {
        self.intent.begun(&self.aws.ecs_service(self.place, until).await?)
    }

    async fn send(&self, until: Instant) -> Result<Receipt, Failure> {
        let service = self.aws.force_deployment(self.place, until).await?;
        // The newest one is the primary one, whatever else was begun meanwhile.
        let ours = service.primary().filter(|primary| !self.intent.deployments.contains(&primary.id));
        ours.map(|primary| Receipt { deployment: primary.id.clone() }).ok_or_else(|| {
            let message = "AWS accepted the deployment, and does not list it";
            let error = Error::new(Code::UpstreamAnswerInvalid, message);
            Failure { error, applied: Applied::Maybe, is_transient: true }
        })
    }

    fn told(&self) -> (String, String) {
        let Place { cluster, service } = self.place;
        let look = format!(
            "look at the deployments: `aws ecs describe-services --cluster {cluster} --services {service}`; there were {}",
            self.intent.deployments.join(", ")
        );
        (format!("a deployment of `{service}` was begun"), look)
    }
}

/// Begins the deployment, unless it is found to be begun already.
pub(crate) async fn perform(aws: &Aws, job: &Job, place: &Place, intent: &Intent) -> Result<Receipt, Fault> {
    once::perform(job, &Begin { aws, place, intent }).await
}

/// Where it stands.
enum Stage {
    Done,
    Going(String),
    Ended(Code, String),
}

/// Where a deployment stands, from the service as it is.
fn stage(service: &Service, receipt: &Receipt) -> Stage {
    let id = &receipt.deployment;
    if service.status != "ACTIVE" {
        return Stage::Ended(
            Code::RolloutWorkloadDeleted,
            format!("the service is {} by now", service.status),
        );
    }
    let ours = service.deployments.iter().find(|deployment| deployment.id == *id);
    // Once it has rolled back, ECS may list the failed one no more.
    let said_failed =
        service.events.iter().any(|event| event.contains(id.as_str()) && event.contains("failed"));
    match ours {
        Some(ours) if ours.state == State::Failed => {
            Stage::Ended(Code::UpstreamNotVerified, format!("the deployment {id} failed: {}", ours.reason))
        }
        None if said_failed => Stage::Ended(Code::UpstreamNotVerified, format!("the deployment {id} failed")),
        Some(ours) if !ours.is_primary => superseded(service, id),
        None => superseded(service, id),
        Some(ours) => {
            let steady = service.running >= service.desired && service.pending == 0;
            if ours.state == State::Completed && service.deployments.len() == 1 && steady {
                return Stage::Done;
            }
            let old: i32 =
                service.deployments.iter().filter(|one| one.id != *id).map(|one| one.running).sum();
            let failed =
                if ours.failed_tasks > 0 { format!(", {} failed", ours.failed_tasks) } else { String::new() };
            Stage::Going(format!(
                "{} of {} new tasks run, {old} old left{failed}",
                ours.running, ours.desired
            ))
        }
    }
}

fn superseded(service: &Service, id: &str) -> Stage {
    let by = service.primary().map(|primary| primary.id.clone()).unwrap_or_default();
    Stage::Ended(Code::RolloutSuperseded, format!("the deployment {id} was replaced by {by}"))
}

/// Watches until the deployment is complete: its tasks run, and no other ones are left.
pub(crate) async fn verify(aws: &Aws, job: &Job, place: &Place, receipt: &Receipt) -> Result<Value, Fault> {
    let mut pauses = Pauses::long();
    let mut told = String::new();
    loop {
        let fault = match aws.ecs_service(place, job.last_look()).await {
            Ok(service) => match stage(&service, receipt) {
                Stage::Done => return Ok(output(place, &service, receipt)),
                Stage::Ended(code, message) => {
                    return Err(Fault::Failed(
                        why(aws, job, place, (code, message), &service, receipt).await,
                    ));
                }
                Stage::Going(message) => {
                    if message != told {
                        job.progress.report(message.clone(), json!({"deployment": receipt.deployment}));
                        told.clone_from(&message);
                    }
                    if job.is_late() {
                        let late =
                            (Code::RolloutTimedOut, format!("the deployment is not complete: {message}"));
                        return Err(Fault::Failed(why(aws, job, place, late, &service, receipt).await));
                    }
                    None
                }
            },
            Err(failure) if failure.error.code == Code::UpstreamNotFound => {
                return Err(Fault::Failed(Error::new(Code::RolloutWorkloadDeleted, failure.error.message)));
            }
            Err(failure) => Some(unseen(receipt, &failure.error)),
        };
        if let Some(fault) = fault.filter(|_| job.is_late()) {
            return Err(fault);
        }
        pauses.rest(job.deadline).await;
    }
}

/// What is wrong, with what ECS says of it and why tasks stopped.
async fn why(
    aws: &Aws,
    job: &Job,
    place: &Place,
    (code, message): (Code, String),
    service: &Service,
    receipt: &Receipt,
) -> Error {
    let tasks = aws.stopped_tasks(place, &receipt.deployment, job.last_look()).await.unwrap_or_default();
    let first = tasks.first().map(|task| format!("; a task stopped: {task}")).unwrap_or_default();
    Error::new(code, format!("{message}{first}"))
        .with_remedy(
            "correct the cause, or deploy an earlier task definition: what was begun is ECS's to end",
        )
        .with_detail("stopped_tasks", tasks)
        .with_detail("events", service.events.clone())
        .with_detail("deployment", receipt.deployment.as_str())
}

fn unseen(receipt: &Receipt, error: &Error) -> Fault {
    let id = &receipt.deployment;
    let message =
        format!("the deployment {id} was begun, and what came of it could not be seen: {}", error.message);
    Fault::Unknown(Error::new(Code::RunOutcomeUnknown, message).with_detail("seen", error.code.as_str()))
}

fn output(place: &Place, service: &Service, receipt: &Receipt) -> Value {
    let Place { cluster, service: name } = place;
    let (running, id) = (service.running, &receipt.deployment);
    json!({
        "summary": format!(
            "service `{name}` in cluster `{cluster}` was restarted: {running} tasks of deployment {id} run, and no other one is left"
        ),
        "deployment": id,
        "running": running,
        "arn": service.arn,
    })
}

#[cfg(test)]
#[path = "deployment_tests.rs"]
mod tests;

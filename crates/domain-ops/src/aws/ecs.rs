//! ECS: requests, and views of services, deployments and stopped tasks.

use super::Aws;
use super::failure::failure;
use crate::upstream::{Applied, Failure};
use astradesk_core::{Code, Error, redact};
use aws_sdk_ecs::types::{self, DeploymentRolloutState, DesiredStatus};
use tokio::time::{Instant, timeout_at};

/// The most events and stopped tasks that are told.
const MOST: usize = 5;
/// The most characters of a sentence of AWS.
const TEXT: usize = 300;

/// Which service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) cluster: String,
    pub(crate) service: String,
}

/// A service, as far as a deployment is concerned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Service {
    pub(crate) arn: String,
    /// `ACTIVE`, `DRAINING` or `INACTIVE`.
    pub(crate) status: String,
    /// Who replaces tasks: `ECS`, `CODE_DEPLOY`, `EXTERNAL`.
    pub(crate) controller: String,
    pub(crate) task_definition: String,
    pub(crate) desired: i32,
    pub(crate) running: i32,
    pub(crate) pending: i32,
    /// The share of tasks that must stay healthy meanwhile, in percent.
    pub(crate) minimum_healthy: i32,
    pub(crate) deployments: Vec<Deployment>,
    /// What ECS says, the newest first.
    pub(crate) events: Vec<String>,
}

/// One deployment of a service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Deployment {
    pub(crate) id: String,
    pub(crate) is_primary: bool,
    pub(crate) state: State,
    pub(crate) reason: String,
    pub(crate) task_definition: String,
    pub(crate) desired: i32,
    pub(crate) running: i32,
    pub(crate) failed_tasks: i32,
}

/// Where a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    InProgress,
    Completed,
    Failed,
}

impl Service {
    fn of(service: &types::Service) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let configured = service
            .deployment_configuration()
            .and_then(types::DeploymentConfiguration::minimum_healthy_percent);
        let controller =
            service.deployment_controller().map_or("ECS", |controller| controller.r#type().as_str());
        Self {
            arn: text(service.service_arn()),
            status: text(service.status()),
            controller: controller.to_owned(),
            task_definition: text(service.task_definition()),
            desired: service.desired_count(),
            running: service.running_count(),
            pending: service.pending_count(),
            minimum_healthy: configured.unwrap_or(100),
            deployments: service.deployments().iter().map(Deployment::of).collect(),
            events: service
                .events()
                .iter()
                .take(MOST)
                .map(|event| redact::line(event.message().unwrap_or_default(), TEXT))
                .collect(),
        }
    }

    pub(crate) fn primary(&self) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.is_primary)
    }
}

impl Deployment {
    fn of(deployment: &types::Deployment) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Self {
            id: text(deployment.id()),
            is_primary: deployment.status() == Some("PRIMARY"),
            state: match deployment.rollout_state() {
                Some(DeploymentRolloutState::Completed) => State::Completed,
                Some(DeploymentRolloutState::Failed) => State::Failed,
                _ => State::InProgress,
            },
            reason: redact::line(deployment.rollout_state_reason().unwrap_or_default(), TEXT),
            task_definition: text(deployment.task_definition()),
            desired: deployment.desired_count(),
            running: deployment.running_count(),
            failed_tasks: deployment.failed_tasks,
        }
    }
}

impl Aws {
    /// How many clusters there are, at most 100.
    pub(super) async fn ecs_clusters(&self, deadline: Instant) -> Result<usize, Failure> {
        let client = &self.clients().await.ecs;
        let asked = self.read(deadline, || async { client.list_clusters().send().await.map_err(failure) });
        Ok(asked.await?.cluster_arns().len())
    }

    /// The service as it is.
    pub(crate) async fn ecs_service(&self, place: &Place, deadline: Instant) -> Result<Service, Failure> {
        let client = &self.clients().await.ecs;
        let ask = || async {
            let request = client.describe_services().cluster(&place.cluster).services(&place.service);
            request.send().await.map_err(failure)
        };
        let answer = self.read(deadline, ask).await?;
        answer.services().first().map(Service::of).ok_or_else(|| {
            let Place { cluster, service } = place;
            let message = format!("there is no ECS service `{service}` in the cluster `{cluster}`");
            let error = Error::new(Code::UpstreamNotFound, message);
            Failure { error, applied: Applied::No, is_transient: false }
        })
    }

    /// Begins a new deployment of the service as it is; gives the service after it.
    pub(super) async fn force_deployment(&self, place: &Place, until: Instant) -> Result<Service, Failure> {
        let client = &self.clients().await.ecs;
        let request = client.update_service().cluster(&place.cluster).service(&place.service);
        let sent = timeout_at(until, request.force_new_deployment(true).send()).await;
        let answer = sent.map_err(|_| super::failure::late())?.map_err(failure)?;
        answer.service().map(Service::of).ok_or_else(|| {
            let message = "AWS accepted the deployment, and did not say which one it is";
            let error = Error::new(Code::UpstreamAnswerInvalid, message);
            Failure { error, applied: Applied::Maybe, is_transient: true }
        })
    }

    /// Why tasks of a deployment stopped, as far as ECS remembers (an hour).
    pub(super) async fn stopped_tasks(
        &self,
        place: &Place,
        deployment: &str,
        deadline: Instant,
    ) -> Result<Vec<String>, Failure> {
        let client = &self.clients().await.ecs;
        let list = || async {
            let request = client.list_tasks().cluster(&place.cluster).service_name(&place.service);
            request.desired_status(DesiredStatus::Stopped).max_results(50).send().await.map_err(failure)
        };
        let arns = self.read(deadline, list).await?.task_arns().to_vec();
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let describe = || async {
            let request = client.describe_tasks().cluster(&place.cluster).set_tasks(Some(arns.clone()));
            request.send().await.map_err(failure)
        };
        let answer = self.read(deadline, describe).await?;
        let of = answer.tasks().iter().filter(|task| task.started_by() == Some(deployment));
        let mut told: Vec<String> = of.map(why_stopped).collect();
        told.sort();
        told.dedup();
        told.truncate(MOST);
        Ok(told)
    }
}

/// Why a task stopped, and what its containers ended with.
fn why_stopped(task: &types::Task) -> String {
    let containers = task.containers().iter().filter_map(|container| {
        let name = container.name().unwrap_or_default();
        match (container.exit_code(), container.reason()) {
            (None, None) => None,
            (Some(code), None) => Some(format!("`{name}` ended with exit code {code}")),
            (Some(code), Some(why)) => Some(format!("`{name}` ended with exit code {code}: {why}")),
            (None, Some(why)) => Some(format!("`{name}`: {why}")),
        }
    });
    let reason = task.stopped_reason().unwrap_or("no reason was given").to_owned();
    let all: Vec<String> = std::iter::once(reason).chain(containers).collect();
    redact::line(&all.join("; "), TEXT)
}

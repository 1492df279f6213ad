//! `restart_ecs_service`: a new deployment of the service as it is, begun once, verified until its tasks are the only ones.

use super::{LOOK, keep, kept, name_schema, named, target, timeout};
use crate::aws::Aws;
use crate::aws::deployment::{self, Intent, Place, Receipt, Service};
use crate::tools::kubernetes::{accepts_downtime, timeout_schema};
use crate::tools::words::{accept_downtime_slot, list, slot, timeout_slot, value};
use crate::upstream::once::Job;
use astradesk_core::tool::{Grammar, Measure, Slot};
use astradesk_core::{Arguments, Effect, Facts, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long it may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The tool `restart_ecs_service`.
pub struct RestartEcsService {
    aws: Aws,
    spec: Arc<ToolSpec>,
}

impl RestartEcsService {
    /// The tool on a region.
    pub fn new(aws: Aws) -> Result<Self> {
        let name = "^[A-Za-z0-9][A-Za-z0-9_-]*$";
        let spec = ToolSpec {
            name: ToolName::parse("restart_ecs_service")?,
            version: "1".to_owned(),
            description: format!(
                "replaces all tasks of an ECS service in {} by a new deployment of the same task definition, and succeeds once \
                 they run and no other ones are left",
                aws.region()
            ),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["cluster", "service"],
                "properties": {
                    "cluster": name_schema("the name of the ECS cluster", 100, name),
                    "service": name_schema("the name of the ECS service", 100, name),
                    "accept_downtime": {
                        "type": "boolean",
                        "description": "whether all tasks may be stopped at once (`minimumHealthyPercent` 0)",
                    },
                    "timeout": timeout_schema("it"),
                },
            }),
            timeout: TIMEOUT,
            grammar: grammar(),
        };
        Ok(Self { aws, spec: Arc::new(spec) })
    }

    /// The service as it is, if it can be restarted now.
    async fn sane(&self, call: &FrozenCall, until: Instant) -> Result<Service> {
        let service = self.aws.ecs_service(&place(call)?, until).await?;
        deployment::sane(&service, accepts_downtime(&call.arguments))?;
        Ok(service)
    }
}

fn place(call: &FrozenCall) -> Result<Place> {
    let argument = |name| named(&call.arguments, name).map(str::to_owned);
    Ok(Place { cluster: argument("cluster")?, service: argument("service")? })
}

fn grammar() -> Grammar {
    let service = value(Measure::Word, "service, usługę, usługi, serwis", "");
    let cluster = value(Measure::Word, "in cluster, in the cluster, cluster, w klastrze, klaster", "");
    Grammar {
        phrases: list(
            "restart ecs, restart the ecs, redeploy ecs, redeploy the ecs, zrestartuj ecs, zrestartuj w ecs, wdróż ponownie ecs",
        ),
        nouns: Vec::new(),
        slots: vec![
            Slot { required: true, ..slot("service", service) },
            Slot { required: true, ..slot("cluster", cluster) },
            accept_downtime_slot(),
            timeout_slot(),
        ],
        fillers: Vec::new(),
    }
}

#[async_trait]
impl Tool for RestartEcsService {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        let (cluster, service) = (named(arguments, "cluster")?, named(arguments, "service")?);
        Ok(vec![target(&self.aws, "ecs-service", &format!("{cluster}:{service}"))?])
    }

    fn timeout(&self, arguments: &Arguments) -> Duration {
        timeout(arguments, TIMEOUT)
    }

    async fn facts(&self, call: &FrozenCall, _now: bool) -> Result<Vec<Facts>> {
        Ok(vec![Facts { downtime_expected: accepts_downtime(&call.arguments), ..Facts::default() }])
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.sane(call, Instant::now() + LOOK).await.map(drop)
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let service = self.sane(call, Instant::now() + LOOK).await?;
        let Place { cluster, service: name } = place(call)?;
        let (desired, minimum) = (service.desired, service.minimum_healthy);
        Ok(json!({
            "summary": format!(
                "would replace all {desired} tasks of service `{name}` in cluster `{cluster}`; at least {minimum} % stay healthy meanwhile"
            ),
            "arn": service.arn,
            "task_definition": service.task_definition,
            "running": service.running,
        }))
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        Ok(keep(&Intent::of(&self.sane(&step.call, step.deadline).await?))?)
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let intent: Intent = kept("intent", &step.intent)?;
        let done = deployment::perform(&self.aws, &Job::of(step), &place(&step.call)?, &intent).await?;
        Ok(keep(&done)?)
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        let receipt: Receipt = kept("receipt", receipt)?;
        deployment::verify(&self.aws, &Job::of(step), &place(&step.call)?, &receipt).await
    }
}

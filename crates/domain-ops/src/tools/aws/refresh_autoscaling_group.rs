//! `refresh_autoscaling_group`: every instance of a group replaced, by one instance refresh, cancelled with its run.

use super::{LOOK, keep, kept, name_schema, named, target, timeout};
use crate::aws::Aws;
use crate::aws::refresh::{self, Intent, Receipt};
use crate::tools::words::{list, slot, timeout_slot, value};
use crate::upstream::once::Job;
use astradesk_core::tool::{Grammar, Measure, Slot};
use astradesk_core::{Arguments, Code, Effect, Error, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long it may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_hours(1);

/// The tool `refresh_autoscaling_group`.
pub struct RefreshAutoscalingGroup {
    aws: Aws,
    spec: Arc<ToolSpec>,
}

impl RefreshAutoscalingGroup {
    /// The tool on a region.
    pub fn new(aws: Aws) -> Result<Self> {
        let spec = ToolSpec {
            name: ToolName::parse("refresh_autoscaling_group")?,
            version: "1".to_owned(),
            description: format!(
                "replaces the instances of an Auto Scaling group in {} by an instance refresh, and succeeds once it is \
                 successful; it is cancelled with its run",
                aws.region()
            ),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["group"],
                "properties": {
                    "group": name_schema("the name of the Auto Scaling group", 200, "^[A-Za-z0-9][A-Za-z0-9_.+=@-]*$"),
                    "min_healthy": {
                        "type": "integer",
                        "description": "the share of instances that must stay healthy meanwhile, in percent; the group's own \
                                        unless it is given",
                        "minimum": 0,
                        "maximum": 100,
                    },
                    "timeout": {
                        "type": "string",
                        "description": "how long it may take: `30m`; `1h` unless it is given, and at most",
                        "maxLength": 5,
                        "pattern": "^(([1-9]|[1-5][0-9]|60)m|1h)$",
                    },
                },
            }),
            timeout: TIMEOUT,
            grammar: grammar(),
        };
        Ok(Self { aws, spec: Arc::new(spec) })
    }

    async fn intent(&self, call: &FrozenCall, until: Instant) -> Result<Intent> {
        let refreshes = refresh::sane(&self.aws, group(call)?, until).await?;
        let min_healthy = call.arguments.get("min_healthy").and_then(Value::as_i64);
        Ok(Intent {
            refreshes: refreshes.into_iter().map(|refresh| refresh.id).collect(),
            min_healthy: min_healthy.and_then(|percent| i32::try_from(percent).ok()),
        })
    }
}

fn group(call: &FrozenCall) -> Result<&str> {
    named(&call.arguments, "group")
}

fn grammar() -> Grammar {
    let group = value(Measure::Word, "group, asg, grupę, grupy", "");
    let min_healthy = value(Measure::Percentage, "keep, keeping, zachowaj", "healthy, zdrowych");
    Grammar {
        phrases: list(
            "refresh autoscaling, refresh auto scaling, refresh the autoscaling, replace instances of, odśwież autoscaling, wymień \
             instancje",
        ),
        nouns: Vec::new(),
        slots: vec![
            Slot { required: true, ..slot("group", group) },
            slot("min_healthy", min_healthy),
            timeout_slot(),
        ],
        fillers: list("autoscaling, auto scaling"),
    }
}

#[async_trait]
impl Tool for RefreshAutoscalingGroup {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        Ok(vec![target(&self.aws, "autoscaling-group", named(arguments, "group")?)?])
    }

    fn timeout(&self, arguments: &Arguments) -> Duration {
        timeout(arguments, TIMEOUT)
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        refresh::sane(&self.aws, group(call)?, Instant::now() + LOOK).await.map(drop)
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let until = Instant::now() + LOOK;
        refresh::sane(&self.aws, group(call)?, until).await?;
        let (group, size) = (group(call)?, self.aws.group_size(group(call)?, until).await?);
        let summary = format!("would replace all {size} instances of the Auto Scaling group `{group}`");
        Ok(json!({"summary": summary, "instances": size}))
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        Ok(keep(&self.intent(&step.call, step.deadline).await?)?)
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let intent: Intent = kept("intent", &step.intent)?;
        let done = refresh::perform(&self.aws, &Job::of(step), group(&step.call)?, &intent).await?;
        Ok(keep(&done)?)
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        let receipt: Receipt = kept("receipt", receipt)?;
        refresh::verify(&self.aws, &Job::of(step), group(&step.call)?, &receipt).await
    }

    async fn stop(&self, _permit: &Permit, step: &StepContext, receipt: &Value) -> Option<Error> {
        let receipt: Receipt = kept("receipt", receipt).ok()?;
        let stopped = refresh::stop(&self.aws, &Job::of(step), group(&step.call).ok()?, &receipt).await;
        Some(match stopped {
            Ok(what) => Error::new(Code::RunCancelled, format!("cancelled while it was verified: {what}")),
            Err(error) => {
                let message = format!("cancelled, and it could not be seen that it ended: {}", error.message);
                Error::new(Code::RunOutcomeUnknown, message)
            }
        })
    }
}

//! `reboot_instance`: an EC2 instance rebooted, asked for once, verified by AWS's checks of it.

use super::{LOOK, keep, kept, named, target, timeout};
use crate::aws::Aws;
use crate::aws::ec2::Instance;
use crate::aws::reboot::{self, Intent, Receipt};
use crate::kubernetes::facts::{OWNER, TIER};
use crate::tools::kubernetes::{duration, text, timeout_schema};
use crate::tools::words::{list, slot, timeout_slot, value};
use crate::upstream::once::Job;
use astradesk_core::tool::{Grammar, Measure, Slot};
use astradesk_core::{Arguments, Code, Effect, Error, Facts, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long it may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);
/// How long the checks must be well unless the call says otherwise: AWS checks once a minute.
const WATCH: Duration = Duration::from_mins(2);
/// The tag that says to which Auto Scaling group an instance belongs.
const GROUP: &str = "aws:autoscaling:groupName";

/// The tool `reboot_instance`.
pub struct RebootInstance {
    aws: Aws,
    spec: Arc<ToolSpec>,
}

impl RebootInstance {
    /// The tool on a region.
    pub fn new(aws: Aws) -> Result<Self> {
        let spec = ToolSpec {
            name: ToolName::parse("reboot_instance")?,
            version: "1".to_owned(),
            description: format!(
                "reboots an EC2 instance in {}, asked for once; succeeds once it runs and AWS's checks of it are ok",
                aws.region()
            ),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["instance"],
                "properties": {
                    "instance": {
                        "type": "string",
                        "description": "the instance's id: `i-0123456789abcdef0`",
                        "maxLength": 19,
                        "pattern": "^i-([0-9a-f]{8}|[0-9a-f]{17})$",
                    },
                    "region": {
                        "type": "string",
                        "description": "the region, to be sure of it: the tool acts in this one only",
                        "enum": [aws.region()],
                    },
                    "watch": {
                        "type": "string",
                        "description": "how long the checks must be ok after it was asked for, unless they are seen to fail and \
                                        come back: `1s` to `10m`; `2m` unless it is given",
                        "maxLength": 4,
                        "pattern": "^(([1-9]|[1-9][0-9]|[1-5][0-9]{2}|600)s|([1-9]|10)m)$",
                    },
                    "timeout": timeout_schema("it"),
                },
            }),
            timeout: TIMEOUT,
            grammar: grammar(),
        };
        Ok(Self { aws, spec: Arc::new(spec) })
    }

    /// The instance as it is, if it can be rebooted now.
    async fn intent(&self, call: &FrozenCall, until: Instant) -> Result<(Instance, Intent)> {
        let (watch, limit) = (watch(&call.arguments), timeout(&call.arguments, TIMEOUT));
        if watch >= limit {
            let message = format!(
                "checks that are watched for {} s are not done within a `timeout` of {} s",
                watch.as_secs(),
                limit.as_secs()
            );
            return Err(Error::new(Code::ToolArgumentsInvalid, message)
                .with_remedy("let `watch` be shorter, or `timeout` longer"));
        }
        let (instance, checks) = reboot::sane(&self.aws, id(call)?, until).await?;
        let Instance { id, state, launched, .. } = instance.clone();
        Ok((instance, Intent { instance: id, state, launched, checks }))
    }
}

fn id(call: &FrozenCall) -> Result<&str> {
    named(&call.arguments, "instance")
}

fn watch(arguments: &Arguments) -> Duration {
    text(arguments, "watch").and_then(duration).unwrap_or(WATCH)
}

fn grammar() -> Grammar {
    let instance = value(Measure::Word, "instance, instancję, instancji, instancja", "");
    let region = value(Measure::Word, "in region, in the region, region, w regionie", "");
    let watch = value(Measure::Duration, "watch for, watching for, obserwuj przez", "");
    Grammar {
        phrases: list(
            "reboot ec2, reboot the ec2, reboot an ec2, zrebootuj ec2, zrestartuj ec2, uruchom ponownie ec2, ponownie uruchom ec2",
        ),
        nouns: Vec::new(),
        slots: vec![
            Slot { required: true, ..slot("instance", instance) },
            slot("region", region),
            slot("watch", watch),
            timeout_slot(),
        ],
        fillers: Vec::new(),
    }
}

#[async_trait]
impl Tool for RebootInstance {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        Ok(vec![target(&self.aws, "ec2-instance", named(arguments, "instance")?)?])
    }

    fn timeout(&self, arguments: &Arguments) -> Duration {
        timeout(arguments, TIMEOUT)
    }

    async fn facts(&self, call: &FrozenCall, _now: bool) -> Result<Vec<Facts>> {
        let labels = match self.aws.instance(id(call)?, Instant::now() + LOOK).await {
            Ok(instance) => instance.tags,
            Err(failure) if failure.error.code == Code::UpstreamNotFound => BTreeMap::new(),
            Err(failure) => return Err(failure.error),
        };
        let (owner, tier) = (labels.get(OWNER).cloned(), labels.get(TIER).cloned());
        Ok(vec![Facts { labels, owner, tier, downtime_expected: true, ..Facts::default() }])
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.intent(call, Instant::now() + LOOK).await.map(drop)
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let until = Instant::now() + LOOK;
        let (instance, Intent { checks, .. }) = self.intent(call, until).await?;
        let Instance { id, kind, launched, tags, .. } = &instance;
        self.aws.may_reboot(id, until).await?;
        let name = tags.get("Name").map(|name| format!(" ({name}, {kind})")).unwrap_or_default();
        let replaced = tags.get(GROUP).map(|group| {
            format!("; the Auto Scaling group `{group}`, to which it belongs, may replace it meanwhile")
        });
        let replaced = replaced.unwrap_or_default();
        Ok(json!({
            "summary": format!("would reboot `{id}`{name}; AWS's checks now: {checks}{replaced}"),
            "type": kind,
            "launched": launched,
            "autoscaling_group": tags.get(GROUP),
            "checked": "AWS was asked for a dry run, and would permit it",
        }))
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        Ok(keep(&self.intent(&step.call, step.deadline).await?.1)?)
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let intent: Intent = kept("intent", &step.intent)?;
        let done = reboot::perform(&self.aws, &Job::of(step), &intent).await?;
        Ok(keep(&done)?)
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        let receipt: Receipt = kept("receipt", receipt)?;
        reboot::verify(&self.aws, &Job::of(step), watch(&step.call.arguments), &receipt).await
    }
}

//! The tools of AWS, and what they have in common: what they act on.

mod reboot_instance;
mod refresh_autoscaling_group;
mod restart_ecs_service;

pub use reboot_instance::RebootInstance;
pub use refresh_autoscaling_group::RefreshAutoscalingGroup;
pub use restart_ecs_service::RestartEcsService;

use super::kubernetes::{duration, text};
use super::{external, keep, kept};
use crate::aws::Aws;
use astradesk_core::name::ExternalName;
use astradesk_core::{Arguments, Error, Result, Target};
use astradesk_runtime::port::Tool;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The system, as targets call it.
const SYSTEM: &str = "aws";
/// How long a dry run or a guard may ask.
const LOOK: Duration = Duration::from_secs(20);

/// The tools on one region.
pub fn tools(aws: &Aws) -> Result<Vec<Arc<dyn Tool>>> {
    Ok(vec![
        Arc::new(RestartEcsService::new(aws.clone())?),
        Arc::new(RefreshAutoscalingGroup::new(aws.clone())?),
        Arc::new(RebootInstance::new(aws.clone())?),
    ])
}

/// A thing in the region: `external/aws/KIND/REGION:NAME`.
fn target(aws: &Aws, kind: &str, name: &str) -> Result<Target> {
    external(SYSTEM, kind, ExternalName::parse(format!("{}:{name}", aws.region()))?)
}

fn named<'a>(arguments: &'a Arguments, argument: &str) -> Result<&'a str> {
    text(arguments, argument).ok_or_else(|| Error::internal(format!("`{argument}` is not in the arguments")))
}

/// The schema of a name.
fn name_schema(of: &str, longest: usize, pattern: &str) -> Value {
    json!({"type": "string", "description": of, "minLength": 1, "maxLength": longest, "pattern": pattern})
}

fn timeout(arguments: &Arguments, default: Duration) -> Duration {
    text(arguments, "timeout").and_then(duration).unwrap_or(default)
}

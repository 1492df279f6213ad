//! A tool that changes a workload, with a check after it.

use super::Checks;
use crate::kubernetes::Cluster;
use astradesk_core::run::OnFailure;
use astradesk_core::{Arguments, Error, Facts, FrozenCall, Result, Target, Timestamp, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The tool, and what measures whether it has done good.
struct Checked {
    tool: Arc<dyn Tool>,
    cluster: Cluster,
    checks: Checks,
    spec: Arc<ToolSpec>,
}

impl Checks {
    /// The same tool with the argument `check`; without anything that measures, the tool itself.
    pub(crate) fn on(&self, cluster: &Cluster, tool: Arc<dyn Tool>) -> Arc<dyn Tool> {
        if self.0.is_none() {
            return tool;
        }
        let mut spec = ToolSpec::clone(tool.spec());
        self.offer(&mut spec);
        Arc::new(Checked { tool, cluster: cluster.clone(), checks: self.clone(), spec: Arc::new(spec) })
    }
}

/// When the change was seen, as each of the receipts has it.
fn seen(receipt: &Value) -> Option<Timestamp> {
    let places = ["/at", "/rollout/undone_at", "/restarted_at"];
    places.iter().find_map(|place| receipt.pointer(place)?.as_str()?.parse().ok())
}

// A method that is not passed on would answer for every tool.
#[warn(clippy::missing_trait_methods)]
#[async_trait]
impl Tool for Checked {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        self.checks.examine(arguments)?;
        self.tool.targets(arguments).await
    }

    async fn candidates(&self, argument: &str) -> Result<Vec<String>> {
        self.tool.candidates(argument).await
    }

    fn timeout(&self, arguments: &Arguments) -> Duration {
        self.tool.timeout(arguments) + self.checks.room(arguments)
    }

    async fn facts(&self, call: &FrozenCall, now: bool) -> Result<Vec<Facts>> {
        self.tool.facts(call, now).await
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.tool.guard(call).await?;
        self.checks.ready(call).await
    }

    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        self.tool.on_failure(arguments)
    }

    fn can_undo(&self) -> bool {
        self.tool.can_undo()
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        if step.undoes.is_none() {
            self.checks.ready(&step.call).await?;
        }
        self.tool.intend(step).await
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let plan = self.tool.preview(call).await?;
        self.checks.preview(call, plan).await
    }

    async fn perform(&self, permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        self.tool.perform(permit, &self.checks.before(step)).await
    }

    async fn carry_on(&self, permit: &Permit, step: &StepContext, receipt: &Value) -> Result<(), Fault> {
        self.tool.carry_on(permit, &self.checks.before(step), receipt).await
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        let output = self.tool.verify(&self.checks.before(step), receipt).await?;
        let done = seen(receipt).unwrap_or_else(|| self.cluster.now());
        self.checks.confirm(&self.cluster, step, done, output).await
    }

    async fn stop(&self, permit: &Permit, step: &StepContext, receipt: &Value) -> Option<Error> {
        self.tool.stop(permit, step, receipt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_receipt_tells_when_the_change_was_seen() {
        for receipt in [
            json!({"at": "2026-01-02T03:04:05.678Z", "before": 3}),
            json!({"restarted_at": "2026-01-02T03:04:05Z"}),
            json!({"to": {}, "rollout": {"restarted_at": "", "undone_at": "2026-01-02T03:04:05.5Z"}}),
        ] {
            assert_eq!(seen(&receipt).unwrap().as_second(), 1_767_323_045, "{receipt}");
        }
        assert_eq!(seen(&json!({"restarted_at": "soon"})), None);
    }
}

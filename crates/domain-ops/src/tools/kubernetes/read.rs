//! A tool that reads something of a cluster: what is its own, and what all of them do alike.

use super::{Subject, at_rest, candidates, unresolved, workload_target};
use crate::kubernetes::Cluster;
use astradesk_core::target::Kind;
use astradesk_core::{Arguments, Facts, FrozenCall, Result, Target, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;

/// What a tool that reads does itself. It reads of the workload that `service`, `namespace` and `kind` name, unless it says
/// otherwise.
#[async_trait]
pub(crate) trait Read: Send + Sync + 'static {
    /// What a call is about, as [`Tool::targets`].
    async fn target(&self, cluster: &Cluster, arguments: &Arguments) -> Result<Target> {
        workload_target(cluster, arguments).await
    }

    /// What a dry run says: `would read the status of deployment/webapp`.
    fn told(&self, subject: &Subject) -> String;

    /// Reads it. The kind of a workload is known.
    async fn read(
        &self,
        cluster: &Cluster,
        call: &FrozenCall,
        subject: &Subject,
        deadline: Instant,
    ) -> Result<Value>;
}

/// The tool on a cluster.
pub(crate) struct Reading<R> {
    tool: R,
    cluster: Cluster,
    spec: Arc<ToolSpec>,
}

impl<R: Read> Reading<R> {
    pub(crate) fn new(tool: R, cluster: Cluster, spec: ToolSpec) -> Self {
        Self { tool, cluster, spec: Arc::new(spec) }
    }

    pub(crate) async fn read(&self, call: &FrozenCall, deadline: Instant) -> Result<Value> {
        let subject = Subject::of(call)?;
        if subject.kind == Kind::Workload {
            return Err(unresolved(&self.cluster, &subject).await);
        }
        self.tool.read(&self.cluster, call, &subject, deadline).await
    }
}

#[async_trait]
impl<R: Read> Tool for Reading<R> {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        Ok(vec![self.tool.target(&self.cluster, arguments).await?])
    }

    async fn candidates(&self, argument: &str) -> Result<Vec<String>> {
        candidates(&self.cluster, argument).await
    }

    /// What is read is not disrupted: its disruption budgets are not asked for.
    async fn facts(&self, call: &FrozenCall, now: bool) -> Result<Vec<Facts>> {
        Ok(vec![at_rest(&self.cluster, call, now).await?])
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        Ok(json!({"summary": self.tool.told(&Subject::of(call)?)}))
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        Ok(self.read(&step.call, step.deadline).await?)
    }
}

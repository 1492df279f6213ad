//! A tool that changes something in a cluster: what is its own, and what all of them do alike.

use super::{at_rest, duration, on_failure, text, workload_target};
use crate::kubernetes::Cluster;
use crate::tools::{keep, kept};
use astradesk_core::run::OnFailure;
use astradesk_core::{Arguments, Error, Facts, FrozenCall, Result, Target, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Where a step is taken, and the step.
pub(crate) type At<'a> = (&'a Cluster, &'a StepContext);

/// What a tool that changes something does itself. It acts on the workload that `service`, `namespace` and `kind` name,
/// unless it says otherwise; its calls may have a `timeout`, and an `on_failure` if it can undo.
#[async_trait]
pub(crate) trait Write: Send + Sync + 'static {
    /// What is to be changed, as it is before.
    type Seen: Send;
    /// What the change is bound to: durable before it is performed, and in the evidence.
    type Intent: Serialize + DeserializeOwned + Send + Sync;
    /// What was done.
    type Receipt: Serialize + DeserializeOwned + Send + Sync;
    /// Whether it can be undone.
    const UNDOES: bool = false;

    /// What a call acts on, as [`Tool::targets`].
    async fn target(&self, cluster: &Cluster, arguments: &Arguments) -> Result<Target> {
        workload_target(cluster, arguments).await
    }

    /// As [`Tool::candidates`].
    async fn candidates(&self, cluster: &Cluster, argument: &str) -> Result<Vec<String>> {
        super::candidates(cluster, argument).await
    }

    /// As [`Tool::facts`].
    async fn facts(&self, cluster: &Cluster, call: &FrozenCall, now: bool) -> Result<Facts> {
        at_rest(cluster, call, now).await
    }

    /// What becomes of a change that does not come out well, when the call does not say.
    fn on_failure(&self) -> OnFailure {
        OnFailure::Leave
    }

    /// What is to be changed, as it is now, if this is a sane moment: as [`Tool::guard`].
    async fn sane(&self, cluster: &Cluster, call: &FrozenCall) -> Result<Self::Seen>;

    /// As [`Tool::preview`].
    async fn preview(&self, cluster: &Cluster, call: &FrozenCall, seen: Self::Seen) -> Result<Value>;

    /// Binds the change to what is seen: as [`Tool::intend`].
    async fn intend(&self, at: At<'_>, seen: Self::Seen) -> Result<Self::Intent>;

    /// Binds the undo of what the receipt tells of, if it can be undone still.
    async fn undo(&self, at: At<'_>, done: Self::Receipt) -> Result<Self::Intent> {
        let _ = (at, done);
        Err(Error::internal("it cannot be undone"))
    }

    /// As [`Tool::perform`].
    async fn perform(
        &self,
        at: At<'_>,
        permit: &Permit,
        intent: Self::Intent,
    ) -> Result<Self::Receipt, Fault>;

    /// As [`Tool::carry_on`].
    async fn carry_on(&self, at: At<'_>, permit: &Permit, done: Self::Receipt) -> Result<(), Fault> {
        let _ = (at, permit, done);
        Ok(())
    }

    /// As [`Tool::verify`].
    async fn verify(&self, at: At<'_>, done: Self::Receipt) -> Result<Value, Fault>;

    /// As [`Tool::stop`].
    async fn stop(&self, at: At<'_>, permit: &Permit, done: Self::Receipt) -> Option<Error> {
        let _ = (at, permit, done);
        None
    }
}

/// The tool on a cluster.
pub(crate) struct Writing<W> {
    tool: W,
    cluster: Cluster,
    spec: Arc<ToolSpec>,
}

impl<W: Write> Writing<W> {
    pub(crate) fn new(tool: W, cluster: Cluster, spec: ToolSpec) -> Self {
        Self { tool, cluster, spec: Arc::new(spec) }
    }
}

#[warn(clippy::missing_trait_methods)]
#[async_trait]
impl<W: Write> Tool for Writing<W> {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        Ok(vec![self.tool.target(&self.cluster, arguments).await?])
    }

    async fn candidates(&self, argument: &str) -> Result<Vec<String>> {
        self.tool.candidates(&self.cluster, argument).await
    }

    fn timeout(&self, arguments: &Arguments) -> Duration {
        text(arguments, "timeout").and_then(duration).unwrap_or(self.spec.timeout)
    }

    async fn facts(&self, call: &FrozenCall, now: bool) -> Result<Vec<Facts>> {
        Ok(vec![self.tool.facts(&self.cluster, call, now).await?])
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.tool.sane(&self.cluster, call).await.map(drop)
    }

    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        on_failure(arguments, self.tool.on_failure())
    }

    fn can_undo(&self) -> bool {
        W::UNDOES
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        let at = (&self.cluster, step);
        let intent = match &step.undoes {
            None => {
                let seen = self.tool.sane(&self.cluster, &step.call).await?;
                self.tool.intend(at, seen).await?
            }
            Some(done) => self.tool.undo(at, kept("receipt", done)?).await?,
        };
        Ok(keep(&intent)?)
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let seen = self.tool.sane(&self.cluster, call).await?;
        self.tool.preview(&self.cluster, call, seen).await
    }

    async fn perform(&self, permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let intent = kept("intent", &step.intent)?;
        let done = self.tool.perform((&self.cluster, step), permit, intent).await?;
        Ok(keep(&done)?)
    }

    async fn carry_on(&self, permit: &Permit, step: &StepContext, receipt: &Value) -> Result<(), Fault> {
        let done = kept("receipt", receipt)?;
        self.tool.carry_on((&self.cluster, step), permit, done).await
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        let done = kept("receipt", receipt)?;
        self.tool.verify((&self.cluster, step), done).await
    }

    async fn stop(&self, permit: &Permit, step: &StepContext, receipt: &Value) -> Option<Error> {
        self.tool.stop((&self.cluster, step), permit, kept("receipt", receipt).ok()?).await
    }
}

//! `pause_rollout` and `resume_rollout`: a Deployment's rollout is held, or let go on. Each is the other's undo.

use super::words::{fillers, kind_slot, list, namespace_slot, on_failure_slot, service_slot, timeout_slot};
use super::{
    Subject, described, duration, job, kept, kind_schema, namespace_schema, on_failure_schema, service_names,
    service_schema, text, timeout_schema, workload, workload_target,
};
use crate::kubernetes::pause::{self, Intent, Receipt, done};
use crate::kubernetes::workload::Workload;
use crate::kubernetes::{Cluster, gitops, once};
use astradesk_core::run::OnFailure;
use astradesk_core::tool::Grammar;
use astradesk_core::{Arguments, Effect, Error, Facts, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long it may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The tool `pause_rollout`, or `resume_rollout`.
pub struct PauseRollout {
    cluster: Cluster,
    paused: bool,
    spec: Arc<ToolSpec>,
}

impl PauseRollout {
    /// The tool `pause_rollout` on a cluster.
    pub fn pause(cluster: Cluster) -> Result<Self> {
        let description =
            "pauses the rollout of a Deployment: changes of its pod template start none until it is resumed";
        Self::new(cluster, true, "pause_rollout", description)
    }

    /// The tool `resume_rollout` on a cluster.
    pub fn resume(cluster: Cluster) -> Result<Self> {
        let description =
            "resumes the rollout of a Deployment that was paused; it succeeds once the rollout goes on";
        Self::new(cluster, false, "resume_rollout", description)
    }

    fn new(cluster: Cluster, paused: bool, name: &str, description: &str) -> Result<Self> {
        let spec = ToolSpec {
            name: ToolName::parse(name)?,
            version: "1".to_owned(),
            description: description.to_owned(),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["service"],
                "properties": {
                    "service": service_schema(),
                    "namespace": namespace_schema(&cluster),
                    "kind": kind_schema(),
                    "on_failure": on_failure_schema("a change that fails", OnFailure::Leave),
                    "timeout": timeout_schema("it"),
                },
            }),
            timeout: TIMEOUT,
            grammar: grammar(paused),
        };
        Ok(Self { cluster, paused, spec: Arc::new(spec) })
    }

    /// The workload as it is now, if it can be paused at all.
    async fn sane(&self, call: &FrozenCall) -> Result<Workload> {
        let workload = workload(&self.cluster, call).await?;
        pause::sane(&workload)?;
        Ok(workload)
    }
}

fn grammar(paused: bool) -> Grammar {
    let phrases = if paused {
        "pause rollout, pause the rollout of, pause rollout of, pause the rollout for, hold the rollout of, wstrzymaj wdrożenie, \
         wstrzymaj rollout, zatrzymaj rollout, wstrzymać rollout, wstrzymać wdrożenie"
    } else {
        "resume rollout, resume the rollout of, resume rollout of, resume the rollout for, continue the rollout of, wznów \
         wdrożenie, wznów rollout, wznowić rollout, wznowić wdrożenie"
    };
    Grammar {
        phrases: list(phrases),
        nouns: Vec::new(),
        slots: vec![service_slot(), namespace_slot(), kind_slot(), timeout_slot(), on_failure_slot()],
        fillers: fillers(""),
    }
}

#[async_trait]
impl Tool for PauseRollout {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        Ok(vec![workload_target(&self.cluster, arguments).await?])
    }

    async fn candidates(&self, argument: &str) -> Result<Vec<String>> {
        if argument == "service" { service_names(&self.cluster).await } else { Ok(Vec::new()) }
    }

    fn timeout(&self, arguments: &Arguments) -> Duration {
        text(arguments, "timeout").and_then(duration).unwrap_or(TIMEOUT)
    }

    async fn facts(&self, call: &FrozenCall, now: bool) -> Result<Vec<Facts>> {
        let described = described(&self.cluster, &Subject::of(call)?, now).await?;
        Ok(vec![described.map(|described| described.at_rest()).unwrap_or_default()])
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.sane(call).await.map(drop)
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let workload = self.sane(call).await?;
        let Subject { namespace, kind, name } = Subject::of(call)?;
        let body = Intent::of(&workload, self.paused).patch("RUN");
        once::try_out(&self.cluster, kind, &namespace, name.as_str(), &body).await?;
        Ok(plan(&workload, self.paused, &body))
    }

    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        if text(arguments, "on_failure") == Some("undo") { OnFailure::Undo } else { OnFailure::Leave }
    }

    fn can_undo(&self) -> bool {
        true
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        let intent = match &step.undoes {
            None => Intent::of(&self.sane(&step.call).await?, self.paused),
            Some(undoes) => {
                let (workload, receipt) =
                    (workload(&self.cluster, &step.call).await?, kept::<Receipt>("receipt", undoes)?);
                pause::undo_sane(&workload, &receipt)?;
                Intent::of(&workload, receipt.before)
            }
        };
        serde_json::to_value(intent).map_err(|error| Error::internal(error.to_string()))
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let intent: Intent = kept("intent", &step.intent).map_err(Fault::Unknown)?;
        let receipt = pause::perform(&self.cluster, &job(step)?, &intent).await?;
        serde_json::to_value(receipt).map_err(|error| Fault::Unknown(Error::internal(error.to_string())))
    }

    async fn verify(&self, step: &StepContext, value: &Value) -> Result<Value, Fault> {
        let receipt: Receipt = kept("receipt", value).map_err(Fault::Unknown)?;
        pause::verify(&self.cluster, &job(step)?, &receipt).await
    }
}

/// What it would do.
fn plan(workload: &Workload, paused: bool, patch: &Value) -> Value {
    let what = workload.title();
    let summary = match (paused == workload.paused, paused) {
        (true, true) => format!("the rollout of {what} is paused already: nothing would be changed"),
        (true, false) => format!("the rollout of {what} is not paused: nothing would be changed"),
        (false, true) => format!("would pause the rollout of {what}"),
        (false, false) => {
            format!("would resume the rollout of {what}: what changed meanwhile would be rolled out")
        }
    };
    let mut plan = json!({
        "summary": summary,
        "object": what,
        "namespace": workload.namespace,
        "after": done(paused),
        "patch": patch,
        "checked": "the API server accepted the same patch as a dry run",
    });
    if let (Some(warning), Some(fields)) = (gitops::warning(workload), plan.as_object_mut()) {
        fields.insert("warning".to_owned(), warning.into());
    }
    plan
}

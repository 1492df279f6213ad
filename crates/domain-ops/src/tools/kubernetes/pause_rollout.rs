//! `pause_rollout` and `resume_rollout`: a Deployment's rollout is held, or let go on. Each is the other's undo.

use super::words::{fillers, kind_slot, list, namespace_slot, on_failure_slot, service_slot, timeout_slot};
use super::write::{At, Write, Writing};
use super::{
    job, kind_schema, namespace_schema, on_failure_schema, service_schema, timeout_schema, try_out, warned,
    workload,
};
use crate::kubernetes::Cluster;
use crate::kubernetes::pause::{self, Intent, Receipt, done};
use crate::kubernetes::workload::Workload;
use astradesk_core::run::OnFailure;
use astradesk_core::tool::Grammar;
use astradesk_core::{Effect, FrozenCall, Result, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::Fault;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;

/// How long it may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The tool `pause_rollout`, or `resume_rollout`.
pub(super) struct PauseRollout {
    paused: bool,
}

impl PauseRollout {
    /// The tool `pause_rollout` on a cluster.
    pub(super) fn pause(cluster: Cluster) -> Result<Writing<Self>> {
        let description =
            "pauses the rollout of a Deployment: changes of its pod template start none until it is resumed";
        Self::new(cluster, true, "pause_rollout", description)
    }

    /// The tool `resume_rollout` on a cluster.
    pub(super) fn resume(cluster: Cluster) -> Result<Writing<Self>> {
        let description =
            "resumes the rollout of a Deployment that was paused; it succeeds once the rollout goes on";
        Self::new(cluster, false, "resume_rollout", description)
    }

    fn new(cluster: Cluster, paused: bool, name: &str, description: &str) -> Result<Writing<Self>> {
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
        Ok(Writing::new(Self { paused }, cluster, spec))
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
impl Write for PauseRollout {
    type Seen = Workload;
    type Intent = Intent;
    type Receipt = Receipt;
    const UNDOES: bool = true;

    async fn sane(&self, cluster: &Cluster, call: &FrozenCall) -> Result<Workload> {
        let workload = workload(cluster, call).await?;
        pause::sane(&workload)?;
        Ok(workload)
    }

    async fn preview(&self, cluster: &Cluster, call: &FrozenCall, workload: Workload) -> Result<Value> {
        let body = Intent::of(&workload, self.paused).patch("RUN");
        try_out(cluster, call, &body).await?;
        Ok(plan(&workload, self.paused, &body))
    }

    async fn intend(&self, _: At<'_>, workload: Workload) -> Result<Intent> {
        Ok(Intent::of(&workload, self.paused))
    }

    async fn undo(&self, (cluster, step): At<'_>, done: Receipt) -> Result<Intent> {
        let workload = workload(cluster, &step.call).await?;
        pause::undo_sane(&workload, &done)?;
        Ok(Intent::of(&workload, done.before))
    }

    async fn perform(&self, (cluster, step): At<'_>, _: &Permit, intent: Intent) -> Result<Receipt, Fault> {
        pause::perform(cluster, &job(step)?, &intent).await
    }

    async fn verify(&self, (cluster, step): At<'_>, done: Receipt) -> Result<Value, Fault> {
        pause::verify(cluster, &job(step)?, &done).await
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
    let plan = json!({
        "summary": summary,
        "object": what,
        "namespace": workload.namespace,
        "after": done(paused),
        "patch": patch,
        "checked": "the API server accepted the same patch as a dry run",
    });
    warned(plan, workload)
}

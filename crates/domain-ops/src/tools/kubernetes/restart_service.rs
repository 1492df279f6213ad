//! `restart_service`: a rollout restart, performed once, verified until the new pods are available and the
//! old are gone.

use super::words::{
    accept_downtime_slot, fillers, kind_slot, list, namespace_slot, on_failure_slot, service_slot,
    timeout_slot,
};
use super::write::{At, Write, Writing};
use super::{
    accepts_downtime, job, kind_schema, namespace_schema, on_failure, on_failure_schema, rolled_out,
    service_schema, timeout_schema, try_out, warned, word, workload,
};
use crate::kubernetes::restart::{self, Intent, Job};
use crate::kubernetes::rollout::Receipt;
use crate::kubernetes::workload::Workload;
use crate::kubernetes::{Cluster, guard};
use crate::tools::{NotKept, kept};
use astradesk_core::run::OnFailure;
use astradesk_core::target::Kind;
use astradesk_core::tool::Grammar;
use astradesk_core::{Effect, Facts, FrozenCall, Result, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a restart may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The tool `restart_service`.
pub(super) struct RestartService {
    on_failure: OnFailure,
}

impl RestartService {
    /// The tool on a cluster, and what becomes of a failed restart when the call does not say.
    pub(super) fn new(cluster: Cluster, on_failure: OnFailure) -> Result<Writing<Self>> {
        let spec = ToolSpec {
            name: ToolName::parse("restart_service")?,
            version: "1".to_owned(),
            description:
                "restarts a Deployment, StatefulSet or DaemonSet by a rolling restart, and succeeds \
                          once every pod is new and available and no old one is left"
                    .to_owned(),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["service"],
                "properties": {
                    "service": service_schema(),
                    "namespace": namespace_schema(&cluster),
                    "kind": kind_schema(),
                    "accept_downtime": {
                        "type": "boolean",
                        "description": "whether to restart although nothing may serve meanwhile: a single \
                                        replica, or the strategy `Recreate`",
                    },
                    "on_failure": on_failure_schema("a restart whose rollout fails", on_failure),
                    "timeout": timeout_schema("the restart"),
                },
            }),
            timeout: TIMEOUT,
            grammar: grammar(),
        };
        Ok(Writing::new(Self { on_failure }, cluster, spec))
    }

    /// The restart of this step, or the undo of one.
    fn job(step: &StepContext, undoes: Option<Receipt>) -> Result<Job> {
        let (once, accept_downtime) = (job(step)?, accepts_downtime(&step.call.arguments));
        Ok(Job { once, accept_downtime, undoes, back_to: None })
    }
}

/// The restart that this step undoes.
fn undone(step: &StepContext) -> Result<Option<Receipt>, NotKept> {
    step.undoes.as_ref().map(|receipt| kept("receipt", receipt)).transpose()
}

fn grammar() -> Grammar {
    Grammar {
        phrases: list(
            "restart, rollout restart, bounce, reboot, uruchom ponownie, ponownie uruchom, uruchomić ponownie, ponownie \
             uruchomić, ponowne uruchomienie, restartuj, restartować, zrestartuj, zrestartujcie, zrestartować, zrestartowanie, rolling restart, dokonaj restartu",
        ),
        nouns: list(
            "restart, rollout restart, rolling restart, bounce, reboot, ponowne uruchomienie, zrestartowanie",
        ),
        slots: vec![
            service_slot(),
            namespace_slot(),
            kind_slot(),
            timeout_slot(),
            accept_downtime_slot(),
            on_failure_slot(),
        ],
        fillers: fillers(""),
    }
}

#[async_trait]
impl Write for RestartService {
    type Seen = Workload;
    type Intent = Intent;
    type Receipt = Receipt;
    const UNDOES: bool = true;

    async fn facts(&self, cluster: &Cluster, call: &FrozenCall, now: bool) -> Result<Facts> {
        rolled_out(cluster, call, now).await
    }

    fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    async fn sane(&self, cluster: &Cluster, call: &FrozenCall) -> Result<Workload> {
        let workload = workload(cluster, call).await?;
        guard::restart(&workload, accepts_downtime(&call.arguments))?;
        Ok(workload)
    }

    async fn preview(&self, cluster: &Cluster, call: &FrozenCall, workload: Workload) -> Result<Value> {
        let body = restart::restart_patch(&workload, cluster.now(), "RUN");
        try_out(cluster, call, &body).await?;
        Ok(plan(&workload, &body, on_failure(&call.arguments, self.on_failure)))
    }

    async fn intend(&self, (cluster, step): At<'_>, workload: Workload) -> Result<Intent> {
        Intent::of(&Self::job(step, None)?, &workload, cluster.now())
    }

    async fn undo(&self, (cluster, step): At<'_>, done: Receipt) -> Result<Intent> {
        let workload = workload(cluster, &step.call).await?;
        Intent::of(&Self::job(step, Some(done))?, &workload, cluster.now())
    }

    async fn perform(&self, (cluster, step): At<'_>, _: &Permit, intent: Intent) -> Result<Receipt, Fault> {
        restart::perform(cluster, &Self::job(step, undone(step)?)?, &intent).await
    }

    async fn verify(&self, (cluster, step): At<'_>, done: Receipt) -> Result<Value, Fault> {
        restart::verify(cluster, &Self::job(step, undone(step)?)?, &done).await
    }
}

/// What a restart would do.
fn plan(workload: &Workload, patch: &Value, on_failure: OnFailure) -> Value {
    use crate::kubernetes::workload::Strategy;
    let (order, most_extra) = match workload.strategy {
        Strategy::Recreate => ("every pod is stopped, then the new ones start", 0),
        Strategy::OnDelete => ("no pod is replaced", 0),
        Strategy::RollingUpdate { max_unavailable, max_surge, .. } => {
            let order = match workload.kind {
                Kind::StatefulSet => "one after the other, from the highest number down",
                Kind::DaemonSet => "node by node",
                _ if max_unavailable == 0 => "each new pod becomes ready before an old one is stopped",
                _ => "some old pods are stopped while new ones start",
            };
            (order, max_surge)
        }
    };
    let plan = json!({
        "summary": format!(
            "would replace {} of {}: {order}; {}",
            pods(workload.wanted),
            workload.title(),
            if_it_fails(workload, on_failure),
        ),
        "object": workload.title(),
        "namespace": workload.namespace,
        "pods": workload.wanted,
        "strategy": workload.strategy.as_str(),
        "order": order,
        "at_most_unavailable": workload.at_most_unavailable(),
        "at_most_in_addition": most_extra,
        "revision": workload.revision,
        "restarted_at": workload.restarted_at(),
        "on_failure": word(on_failure),
        "patch": patch,
        "checked": "the API server accepted the same patch as a dry run",
    });
    warned(plan, workload)
}

fn if_it_fails(workload: &Workload, on_failure: OnFailure) -> String {
    match (on_failure, &workload.revision) {
        (OnFailure::Leave, _) => "a rollout that fails would be left as it is".to_owned(),
        (OnFailure::Undo, Some(revision)) if workload.kind != Kind::DaemonSet => {
            format!("a rollout that fails would be undone, back to revision {revision}")
        }
        (OnFailure::Undo, _) => "a rollout that fails would be undone".to_owned(),
    }
}

fn pods(count: i32) -> String {
    if count == 1 { "the one pod".to_owned() } else { format!("all {count} pods") }
}

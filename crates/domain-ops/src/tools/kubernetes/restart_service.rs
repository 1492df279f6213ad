//! `restart_service`: a rollout restart, performed once, verified until the new pods are available and the
//! old are gone.

use super::words::{
    accept_downtime_slot, fillers, kind_slot, list, namespace_slot, on_failure_slot, service_slot,
    timeout_slot,
};
use super::{
    Subject, accepts_downtime, described, duration, job, kept, kind_schema, namespace_schema,
    on_failure_schema, service_names, service_schema, text, timeout_schema, word, workload, workload_target,
};
use crate::kubernetes::once;
use crate::kubernetes::restart::{self, Intent, Job};
use crate::kubernetes::rollout::Receipt;
use crate::kubernetes::workload::Workload;
use crate::kubernetes::{Cluster, gitops, guard};
use astradesk_core::run::OnFailure;
use astradesk_core::target::Kind;
use astradesk_core::tool::Grammar;
use astradesk_core::{Arguments, Effect, Error, Facts, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a restart may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The tool `restart_service`.
pub struct RestartService {
    cluster: Cluster,
    on_failure: OnFailure,
    spec: Arc<ToolSpec>,
}

impl RestartService {
    /// The tool on a cluster, and what becomes of a failed restart when the call does not say.
    pub fn new(cluster: Cluster, on_failure: OnFailure) -> Result<Self> {
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
        Ok(Self { cluster, on_failure, spec: Arc::new(spec) })
    }

    fn job(step: &StepContext) -> Result<Job> {
        let undoes = step.undoes.as_ref().map(|receipt| kept("receipt", receipt)).transpose()?;
        Ok(Job { undoes, ..Job::new(job(step)?, accepts_downtime(&step.call.arguments)) })
    }

    /// The workload as it is now, if this is a sane moment to restart it.
    async fn sane(&self, call: &FrozenCall) -> Result<Workload> {
        let workload = workload(&self.cluster, call).await?;
        guard::restart(&workload, accepts_downtime(&call.arguments))?;
        Ok(workload)
    }
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
impl Tool for RestartService {
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
        let subject = Subject::of(call)?;
        let Some(described) = described(&self.cluster, &subject, now).await? else {
            return Ok(vec![Facts::default()]);
        };
        let facts = described.rolled_out();
        let taken = facts.availability.map_or(1, |pods| pods.at_most_unavailable);
        let (namespace, pods) = (&subject.namespace, &described.pod_labels);
        let disruption_budgets = self.cluster.disruption_budgets(namespace, pods, taken).await?;
        Ok(vec![Facts { disruption_budgets, ..facts }])
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.sane(call).await.map(drop)
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let workload = self.sane(call).await?;
        let Subject { namespace, kind, name } = Subject::of(call)?;
        let body = restart::restart_patch(&workload, self.cluster.now(), "RUN");
        once::try_out(&self.cluster, kind, &namespace, name.as_str(), &body).await?;
        Ok(plan(&workload, &body, self.on_failure(&call.arguments)))
    }

    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        match text(arguments, "on_failure") {
            Some("undo") => OnFailure::Undo,
            Some(_) => OnFailure::Leave,
            None => self.on_failure,
        }
    }

    fn can_undo(&self) -> bool {
        true
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        let job = Self::job(step)?;
        let workload = workload(&self.cluster, &step.call).await?;
        let intent = Intent::of(&job, &workload, self.cluster.now())?;
        serde_json::to_value(intent).map_err(|error| Error::internal(error.to_string()))
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let intent: Option<Intent> = kept("intent", &step.intent).map_err(Fault::Unknown)?;
        let receipt = restart::perform(&self.cluster, &Self::job(step)?, intent.as_ref()).await?;
        serde_json::to_value(receipt).map_err(|error| Fault::Unknown(Error::internal(error.to_string())))
    }

    async fn verify(&self, step: &StepContext, value: &Value) -> Result<Value, Fault> {
        let receipt: Receipt = kept("receipt", value).map_err(Fault::Unknown)?;
        restart::verify(&self.cluster, &Self::job(step)?, &receipt).await
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
    let mut plan = json!({
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
    if let (Some(warning), Some(fields)) = (gitops::warning(workload), plan.as_object_mut()) {
        fields.insert("warning".to_owned(), warning.into());
    }
    plan
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

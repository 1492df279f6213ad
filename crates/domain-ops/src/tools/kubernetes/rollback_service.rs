//! `rollback_service`: back to the previous revision or a named one, with the difference shown first, performed once,
//! verified until every pod is of that revision and available and none of another one is left.

use super::words::{
    accept_downtime_slot, fillers, kind_slot, list, namespace_slot, on_failure_slot, service_slot, slot,
    timeout_slot, value,
};
use super::{
    Subject, accepts_downtime, described, duration, job, kept, kind_schema, namespace_schema, not_found,
    on_failure_schema, service_names, service_schema, text, timeout_schema, unresolved, workload_target,
};
use crate::kubernetes::once::{self, Bound};
use crate::kubernetes::restart::{self, Job};
use crate::kubernetes::rollback::{self, Intent, Past, Point, Receipt};
use crate::kubernetes::workload::Workload;
use crate::kubernetes::{Cluster, gitops, guard};
use astradesk_core::run::OnFailure;
use astradesk_core::target::Kind;
use astradesk_core::tool::{Grammar, Measure};
use astradesk_core::{Arguments, Code, Effect, Error, Facts, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a rollback may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The tool `rollback_service`.
pub struct RollbackService {
    cluster: Cluster,
    spec: Arc<ToolSpec>,
}

impl RollbackService {
    /// The tool on a cluster.
    pub fn new(cluster: Cluster) -> Result<Self> {
        let spec = ToolSpec {
            name: ToolName::parse("rollback_service")?,
            version: "1".to_owned(),
            description: "rolls a Deployment, StatefulSet or DaemonSet back to an earlier revision of its pod template, and \
                          succeeds once every pod is of it and available and no other one is left; a dry run shows the \
                          difference"
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
                    "revision": {
                        "type": "integer",
                        "description": "the revision to go back to, as `kubectl rollout history` numbers them; the one \
                                        before the current one unless it is given",
                        "minimum": 1,
                        "maximum": 1_000_000_000,
                    },
                    "accept_downtime": {
                        "type": "boolean",
                        "description": "whether to roll back although nothing may serve meanwhile: a single replica, \
                                        or the strategy `Recreate`",
                    },
                    "on_failure": on_failure_schema("a rollback whose rollout fails", OnFailure::Leave),
                    "timeout": timeout_schema("the rollback"),
                },
            }),
            timeout: TIMEOUT,
            grammar: grammar(),
        };
        Ok(Self { cluster, spec: Arc::new(spec) })
    }

    fn job(step: &StepContext, to: Point) -> Result<Job> {
        let back_to = Some(to.to_string());
        Ok(Job { back_to, ..Job::new(job(step)?, accepts_downtime(&step.call.arguments)) })
    }

    /// The workload as it is now, with the templates that it had.
    async fn past(&self, call: &FrozenCall) -> Result<Past> {
        let subject = Subject::of(call)?;
        let Subject { namespace, kind, name } = &subject;
        if *kind == Kind::Workload {
            return Err(unresolved(&self.cluster, &subject).await);
        }
        match Past::read(&self.cluster, *kind, namespace, name.as_str()).await {
            Err(error) if error.code == Code::KubernetesNotFound => {
                Err(not_found(&self.cluster, &subject).await)
            }
            known => known,
        }
    }

    /// What is gone back to, if there is such a revision and this is a sane moment.
    async fn sane(&self, call: &FrozenCall) -> Result<(Past, Point)> {
        let past = self.past(call).await?;
        guard::rollback(&past.workload, accepts_downtime(&call.arguments))?;
        let wanted = call.arguments.get("revision").and_then(Value::as_i64);
        let to = Point::of(rollback::choose(&past.workload, &past.history, wanted)?);
        Ok((past, to))
    }

    /// What an undo goes back to, if the rollback is there still.
    async fn undo(&self, step: &StepContext, undoes: &Value) -> Result<(Past, Point)> {
        let (past, done) = (self.past(&step.call).await?, kept::<Receipt>("receipt", undoes)?);
        refuse_undone(&past.workload, &done)?;
        guard::rollback(&past.workload, true)?;
        let to = Point::of(past.find(done.from.template)?);
        Ok((past, to))
    }
}

fn grammar() -> Grammar {
    let revision = "to revision, revision, do rewizji, na rewizję, rewizji, do revision";
    Grammar {
        phrases: list(
            "roll back, rollback, revert, undo the last rollout of, wycofaj, cofnij, przywróć, przywrócić, zrollbackuj, wycofać, \
             cofnąć, wycofanie",
        ),
        nouns: list("rollback, wycofanie"),
        slots: vec![
            service_slot(),
            namespace_slot(),
            kind_slot(),
            slot("revision", value(Measure::Number, revision, "")),
            timeout_slot(),
            accept_downtime_slot(),
            on_failure_slot(),
        ],
        fillers: fillers(
            "to the previous revision, previous revision, do poprzedniej rewizji, poprzedniej rewizji",
        ),
    }
}

/// Refuses an undo that is not one any more.
fn refuse_undone(workload: &Workload, done: &Receipt) -> Result<()> {
    let what = format!("{} in namespace `{}`", workload.title(), workload.namespace);
    if workload.uid != done.rollout.uid || workload.deleting {
        let message = format!("{what} was deleted, so its rollback cannot be undone");
        return Err(Error::new(Code::RolloutWorkloadDeleted, message));
    }
    if workload.template != done.to.template {
        let message = format!("the rollback of {what} is not undone: its pod template was changed since");
        return Err(Error::new(Code::RolloutSuperseded, message));
    }
    Ok(())
}

#[async_trait]
impl Tool for RollbackService {
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
        let (past, to) = self.sane(call).await?;
        let Subject { namespace, kind, name } = Subject::of(call)?;
        let revision = past.find(to.template)?;
        let body = Bound::to(&past.workload).patch("RUN", &past.spec_patch(revision));
        once::try_out(&self.cluster, kind, &namespace, name.as_str(), &body).await?;
        Ok(plan(&past, to, past.difference(revision)))
    }

    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        if text(arguments, "on_failure") == Some("undo") { OnFailure::Undo } else { OnFailure::Leave }
    }

    fn can_undo(&self) -> bool {
        true
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        let (past, to) = match &step.undoes {
            None => self.sane(&step.call).await?,
            Some(undoes) => self.undo(step, undoes).await?,
        };
        let from = rollback::current(&past.workload, &past.history);
        let intent = Intent { bound: Bound::to(&past.workload), from, to };
        serde_json::to_value(intent).map_err(|error| Error::internal(error.to_string()))
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let intent: Intent = kept("intent", &step.intent).map_err(Fault::Unknown)?;
        let receipt = rollback::perform(&self.cluster, &Self::job(step, intent.to)?, &intent).await?;
        serde_json::to_value(receipt).map_err(|error| Fault::Unknown(Error::internal(error.to_string())))
    }

    async fn verify(&self, step: &StepContext, value: &Value) -> Result<Value, Fault> {
        let receipt: Receipt = kept("receipt", value).map_err(Fault::Unknown)?;
        let job = Self::job(step, receipt.to)?;
        let mut output = restart::verify(&self.cluster, &job, &receipt.rollout).await?;
        if let Some(fields) = output.as_object_mut() {
            fields.retain(|name, _| !matches!(name.as_str(), "restarted_at" | "run"));
            fields.insert("rolled_back_to".to_owned(), json!(receipt.to.number));
        }
        Ok(output)
    }
}

/// What a rollback would do.
fn plan(past: &Past, to: Point, (difference, count): (Vec<Value>, usize)) -> Value {
    let workload = &past.workload;
    let from = rollback::current(workload, &past.history);
    let differences = if count == 1 { "1 difference".to_owned() } else { format!("{count} differences") };
    let mut plan = json!({
        "summary": format!(
            "would roll {} back from {from} to {to}: {differences} of its pod template, {} pods replaced",
            workload.title(),
            workload.wanted,
        ),
        "object": workload.title(),
        "namespace": workload.namespace,
        "from": from.number,
        "to": to.number,
        "difference": difference,
        "pods": workload.wanted,
        "strategy": workload.strategy.as_str(),
        "at_most_unavailable": workload.at_most_unavailable(),
        "checked": "the API server accepted the same patch as a dry run",
    });
    if let (Some(warning), Some(fields)) = (gitops::warning(workload), plan.as_object_mut()) {
        fields.insert("warning".to_owned(), warning.into());
    }
    plan
}

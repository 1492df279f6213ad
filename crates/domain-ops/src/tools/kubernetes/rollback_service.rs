//! `rollback_service`: back to the previous revision or a named one, with the difference shown first, performed once,
//! verified until every pod is of that revision and available and none of another one is left.

use super::words::{
    accept_downtime_slot, fillers, kind_slot, list, namespace_slot, on_failure_slot, service_slot, slot,
    timeout_slot, value,
};
use super::write::{At, Write, Writing};
use super::{
    Subject, accepts_downtime, job, kind_schema, namespace_schema, not_found, on_failure_schema, rolled_out,
    service_schema, timeout_schema, try_out, unresolved, warned,
};
use crate::kubernetes::once::Bound;
use crate::kubernetes::restart::{self, Job};
use crate::kubernetes::rollback::{self, Intent, Past, Point, Receipt};
use crate::kubernetes::workload::Workload;
use crate::kubernetes::{Cluster, guard};
use astradesk_core::run::OnFailure;
use astradesk_core::target::Kind;
use astradesk_core::tool::{Grammar, Measure};
use astradesk_core::{Code, Effect, Error, Facts, FrozenCall, Result, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a rollback may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The tool `rollback_service`.
pub(super) struct RollbackService;

impl RollbackService {
    /// The tool on a cluster.
    pub(super) fn new(cluster: Cluster) -> Result<Writing<Self>> {
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
        Ok(Writing::new(Self, cluster, spec))
    }

    fn job(step: &StepContext, to: Point) -> Result<Job> {
        let (once, accept_downtime) = (job(step)?, accepts_downtime(&step.call.arguments));
        Ok(Job { once, accept_downtime, undoes: None, back_to: Some(to.to_string()) })
    }
}

/// The workload as it is now, with the templates that it had.
async fn past(cluster: &Cluster, call: &FrozenCall) -> Result<Past> {
    let subject = Subject::of(call)?;
    let Subject { namespace, kind, name } = &subject;
    if *kind == Kind::Workload {
        return Err(unresolved(cluster, &subject).await);
    }
    match Past::read(cluster, *kind, namespace, name.as_str()).await {
        Err(error) if error.code == Code::KubernetesNotFound => Err(not_found(cluster, &subject).await),
        known => known,
    }
}

/// Binds a rollback.
fn bind(past: &Past, to: Point) -> Intent {
    let from = rollback::current(&past.workload, &past.history);
    Intent { bound: Bound::to(&past.workload), from, to }
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
impl Write for RollbackService {
    /// And what is gone back to.
    type Seen = (Past, Point);
    type Intent = Intent;
    type Receipt = Receipt;
    const UNDOES: bool = true;

    async fn facts(&self, cluster: &Cluster, call: &FrozenCall, now: bool) -> Result<Facts> {
        rolled_out(cluster, call, now).await
    }

    async fn sane(&self, cluster: &Cluster, call: &FrozenCall) -> Result<(Past, Point)> {
        let past = past(cluster, call).await?;
        guard::rollback(&past.workload, accepts_downtime(&call.arguments))?;
        let wanted = call.arguments.get("revision").and_then(Value::as_i64);
        let to = Point::of(rollback::choose(&past.workload, &past.history, wanted)?);
        Ok((past, to))
    }

    async fn preview(
        &self,
        cluster: &Cluster,
        call: &FrozenCall,
        (past, to): (Past, Point),
    ) -> Result<Value> {
        let revision = past.find(to.template)?;
        let body = Bound::to(&past.workload).patch("RUN", &past.spec_patch(revision));
        try_out(cluster, call, &body).await?;
        Ok(plan(&past, to, past.difference(revision)))
    }

    async fn intend(&self, _: At<'_>, (past, to): (Past, Point)) -> Result<Intent> {
        Ok(bind(&past, to))
    }

    async fn undo(&self, (cluster, step): At<'_>, done: Receipt) -> Result<Intent> {
        let past = past(cluster, &step.call).await?;
        refuse_undone(&past.workload, &done)?;
        guard::rollback(&past.workload, true)?;
        Ok(bind(&past, Point::of(past.find(done.from.template)?)))
    }

    async fn perform(&self, (cluster, step): At<'_>, _: &Permit, intent: Intent) -> Result<Receipt, Fault> {
        rollback::perform(cluster, &Self::job(step, intent.to)?, &intent).await
    }

    async fn verify(&self, (cluster, step): At<'_>, done: Receipt) -> Result<Value, Fault> {
        let mut output = restart::verify(cluster, &Self::job(step, done.to)?, &done.rollout).await?;
        if let Some(fields) = output.as_object_mut() {
            fields.retain(|name, _| !matches!(name.as_str(), "restarted_at" | "run"));
            fields.insert("rolled_back_to".to_owned(), json!(done.to.number));
        }
        Ok(output)
    }
}

/// What a rollback would do.
fn plan(past: &Past, to: Point, (difference, count): (Vec<Value>, usize)) -> Value {
    let workload = &past.workload;
    let from = rollback::current(workload, &past.history);
    let differences = if count == 1 { "1 difference".to_owned() } else { format!("{count} differences") };
    let plan = json!({
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
    warned(plan, workload)
}

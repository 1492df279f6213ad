//! `scale_service`: so many replicas, within configured bounds, set once, verified until as many pods are available
//! and no other one is left.

use super::words::{
    accept_downtime_slot, fillers, kind_slot, list, namespace_slot, on_failure_slot, service_slot, slot,
    value,
};
use super::{
    Subject, accepts_downtime, described, duration, job, kept, kind_schema, namespace_schema,
    on_failure_schema, service_names, service_schema, text, timeout_schema, workload, workload_target,
};
use crate::kubernetes::autoscalers::{self, Autoscaler};
use crate::kubernetes::once;
use crate::kubernetes::scale::{self, Bounds, Intent, Receipt, Wish};
use crate::kubernetes::workload::Workload;
use crate::kubernetes::{Cluster, gitops};
use astradesk_core::run::OnFailure;
use astradesk_core::tool::{Grammar, Measure, Slot};
use astradesk_core::{Arguments, Effect, Error, Facts, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long scaling may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);
/// No configuration permits more replicas.
pub const MOST_REPLICAS: u32 = 10_000;

/// The tool `scale_service`.
pub struct ScaleService {
    cluster: Cluster,
    bounds: Bounds,
    spec: Arc<ToolSpec>,
}

impl ScaleService {
    /// The tool on a cluster, with how many replicas a service may be given.
    pub fn new(cluster: Cluster, bounds: Bounds) -> Result<Self> {
        let Bounds { min, max } = bounds;
        let spec = ToolSpec {
            name: ToolName::parse("scale_service")?,
            version: "1".to_owned(),
            description:
                "sets how many replicas a Deployment or StatefulSet has, and succeeds once as many pods are \
                          available and no other one is left"
                    .to_owned(),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["service", "replicas"],
                "properties": {
                    "service": service_schema(),
                    "namespace": namespace_schema(&cluster),
                    "kind": kind_schema(),
                    "replicas": {
                        "type": "integer",
                        "description": format!(
                            "how many replicas; {min} to {max}, and 0 with `accept_downtime`"
                        ),
                        "minimum": 0,
                        "maximum": MOST_REPLICAS,
                    },
                    "accept_downtime": {
                        "type": "boolean",
                        "description": "whether 0 replicas are meant, of which nothing serves",
                    },
                    "on_failure": on_failure_schema("a scaling that fails", OnFailure::Leave),
                    "timeout": timeout_schema("it"),
                },
            }),
            timeout: TIMEOUT,
            grammar: grammar(),
        };
        Ok(Self { cluster, bounds, spec: Arc::new(spec) })
    }

    /// The workload as it is now, if this number of replicas is a sane one for it.
    async fn sane(&self, call: &FrozenCall) -> Result<Workload> {
        let workload = workload(&self.cluster, call).await?;
        let autoscaler: Option<Autoscaler> = autoscalers::of(self.cluster.requests(), &workload).await?;
        scale::sane(&workload, wish(&call.arguments)?, self.bounds, autoscaler.as_ref())?;
        Ok(workload)
    }
}

fn grammar() -> Grammar {
    let units =
        "replicas, replica, replik, repliki, instances, instance, instancji, instancje, pods, pody, podów";
    let replicas = value(Measure::Number, "to, do, na, replicas, replicas to", units);
    Grammar {
        phrases: list(
            "scale, set, przeskaluj, skaluj, wyskaluj, zeskaluj, przeskalować, skalować, przeskalowanie, ustaw",
        ),
        nouns: list("scale, set, przeskalowanie"),
        slots: vec![
            service_slot(),
            namespace_slot(),
            kind_slot(),
            Slot { required: true, ..slot("replicas", replicas) },
            accept_downtime_slot(),
            on_failure_slot(),
        ],
        fillers: fillers("replicas of, the number of replicas of, number of replicas of, liczbę replik"),
    }
}

fn wish(arguments: &Arguments) -> Result<Wish> {
    let replicas = arguments.get("replicas").and_then(Value::as_i64);
    let replicas = replicas.and_then(|replicas| i32::try_from(replicas).ok());
    let replicas =
        replicas.ok_or_else(|| Error::internal("the number of replicas is not in the arguments"))?;
    Ok(Wish { replicas, accept_downtime: accepts_downtime(arguments) })
}

#[async_trait]
impl Tool for ScaleService {
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

    /// Disruption budgets do not hold for scaling: Kubernetes does not ask them either.
    async fn facts(&self, call: &FrozenCall, now: bool) -> Result<Vec<Facts>> {
        let none = wish(&call.arguments)?.replicas == 0;
        let described = described(&self.cluster, &Subject::of(call)?, now).await?;
        let facts = described.map(|described| Facts {
            downtime_expected: none && described.workload.wanted > 0,
            ..described.at_rest()
        });
        Ok(vec![facts.unwrap_or_default()])
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.sane(call).await.map(drop)
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let workload = self.sane(call).await?;
        let Subject { namespace, kind, name } = Subject::of(call)?;
        let intent = Intent::of(&workload, wish(&call.arguments)?.replicas);
        let body = intent.patch("RUN");
        once::try_out(&self.cluster, kind, &namespace, name.as_str(), &body).await?;
        Ok(plan(&workload, &intent, &body))
    }

    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        if text(arguments, "on_failure") == Some("undo") { OnFailure::Undo } else { OnFailure::Leave }
    }

    fn can_undo(&self) -> bool {
        true
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        let intent = match &step.undoes {
            None => Intent::of(&self.sane(&step.call).await?, wish(&step.call.arguments)?.replicas),
            Some(undoes) => {
                let (workload, receipt) =
                    (workload(&self.cluster, &step.call).await?, kept::<Receipt>("receipt", undoes)?);
                scale::undo_sane(&workload, &receipt)?;
                Intent::of(&workload, receipt.before)
            }
        };
        serde_json::to_value(intent).map_err(|error| Error::internal(error.to_string()))
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let intent: Intent = kept("intent", &step.intent).map_err(Fault::Unknown)?;
        let receipt = scale::perform(&self.cluster, &job(step)?, &intent).await?;
        serde_json::to_value(receipt).map_err(|error| Fault::Unknown(Error::internal(error.to_string())))
    }

    async fn verify(&self, step: &StepContext, value: &Value) -> Result<Value, Fault> {
        let receipt: Receipt = kept("receipt", value).map_err(Fault::Unknown)?;
        scale::verify(&self.cluster, &job(step)?, &receipt).await
    }
}

/// What scaling would do.
fn plan(workload: &Workload, intent: &Intent, patch: &Value) -> Value {
    let Intent { before, replicas, .. } = *intent;
    let what = workload.title();
    let pods = |count: i32| if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") };
    let summary = match replicas - before {
        0 => format!("{what} has {before} replicas already: nothing would be changed"),
        more @ 1.. => format!("would scale {what} from {before} to {replicas}: {} would start", pods(more)),
        less => format!("would scale {what} from {before} to {replicas}: {} would stop", pods(-less)),
    };
    let mut plan = json!({
        "summary": summary,
        "object": what,
        "namespace": workload.namespace,
        "before": before,
        "after": replicas,
        "available": workload.available,
        "patch": patch,
        "checked": "the API server accepted the same patch as a dry run",
    });
    if let (Some(warning), Some(fields)) = (gitops::warning(workload), plan.as_object_mut()) {
        fields.insert("warning".to_owned(), warning.into());
    }
    plan
}

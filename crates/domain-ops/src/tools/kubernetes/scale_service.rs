//! `scale_service`: so many replicas, within configured bounds, set once, verified until as many pods are available
//! and no other one is left; or so many as the minimum of its autoscaler, until at least as many are available.

use super::words::{
    accept_downtime_slot, fillers, kind_slot, list, namespace_slot, on_failure_slot, service_slot, slot,
    value,
};
use super::{
    Subject, accepts_downtime, described, duration, flag, job, kept, kind_schema, namespace_schema,
    on_failure_schema, service_names, service_schema, text, timeout_schema, workload, workload_target,
};
use crate::kubernetes::autoscalers::{self, Autoscaler};
use crate::kubernetes::scale::{self, Bounds, Changed, Intent, Receipt, Wish};
use crate::kubernetes::workload::Workload;
use crate::kubernetes::{Cluster, gitops};
use astradesk_core::run::OnFailure;
use astradesk_core::tool::{Form, Grammar, Measure, Slot};
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
                          available and no other one is left; or sets the minimum of its autoscaler"
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
                    "autoscaler_minimum": {
                        "type": "boolean",
                        "description": "whether `replicas` is to be the minimum of the HorizontalPodAutoscaler that \
                                        scales the service; without it, an autoscaled service is refused",
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

    /// The workload as it is now, if this number of replicas is a sane one for it; and its autoscaler, if that one's minimum
    /// is meant.
    async fn sane(&self, call: &FrozenCall) -> Result<(Workload, Option<Autoscaler>)> {
        let workload = workload(&self.cluster, call).await?;
        let autoscalers = autoscalers::of(self.cluster.requests(), &workload).await?;
        let autoscaler = scale::sane(&workload, wish(&call.arguments)?, self.bounds, &autoscalers)?.cloned();
        Ok((workload, autoscaler))
    }

    /// What the undo of an earlier step is bound to.
    async fn undoing(&self, call: &FrozenCall, receipt: &Receipt) -> Result<Intent> {
        let workload = workload(&self.cluster, call).await?;
        let Some(Changed { name, uid }) = &receipt.autoscaler else {
            scale::undo_sane(&workload, receipt)?;
            return Ok(Intent::of(&workload, receipt.before));
        };
        let read = self.cluster.autoscaler(&Subject::of(call)?.namespace, name).await;
        let operation = autoscalers::operation("get", &workload.namespace, name);
        let autoscaler = read.map_err(|failure| failure.into_error(&operation))?;
        scale::undo_minimum_sane(&autoscaler, uid, receipt)?;
        Ok(Intent::of_minimum(&workload, &autoscaler, receipt.before))
    }
}

/// What a call is bound to.
fn intent(workload: &Workload, autoscaler: Option<&Autoscaler>, wish: Wish) -> Intent {
    match autoscaler {
        None => Intent::of(workload, wish.replicas),
        Some(autoscaler) => Intent::of_minimum(workload, autoscaler, wish.replicas),
    }
}

fn grammar() -> Grammar {
    let units =
        "replicas, replica, replik, repliki, instances, instance, instancji, instancje, pods, pody, podów";
    // A number may stand behind these, and then it is one of at least so many.
    let at_least = "to at least, at least, to a minimum of, a minimum of, minimum, minimum to, do co najmniej, na co najmniej, \
                    co najmniej, do minimum, na minimum";
    let minimum = format!(
        "{at_least}, the minimum, minimum of, the minimum of, minimum replicas of, the minimum replicas of, minreplicas, \
         minreplicas of, minimum replik"
    );
    let replicas = value(Measure::Number, &format!("to, do, na, replicas, replicas to, {at_least}"), units);
    Grammar {
        phrases: list(
            "scale, set, raise, lower, przeskaluj, skaluj, wyskaluj, zeskaluj, przeskalować, skalować, przeskalowanie, ustaw, podnieś, \
             obniż",
        ),
        nouns: list("scale, set, przeskalowanie"),
        slots: vec![
            service_slot(),
            namespace_slot(),
            kind_slot(),
            Slot { required: true, ..slot("replicas", replicas) },
            accept_downtime_slot(),
            slot("autoscaler_minimum", Form::Flag(list(&minimum))),
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
    let autoscaler_minimum = flag(arguments, "autoscaler_minimum");
    Ok(Wish { replicas, accept_downtime: accepts_downtime(arguments), autoscaler_minimum })
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

    /// Disruption budgets do not hold for scaling: Kubernetes does not ask them either. Who manages the autoscaler that is
    /// changed manages what is done as much as who manages the workload.
    async fn facts(&self, call: &FrozenCall, now: bool) -> Result<Vec<Facts>> {
        let wish = wish(&call.arguments)?;
        let Some(described) = described(&self.cluster, &Subject::of(call)?, now).await? else {
            return Ok(vec![Facts::default()]);
        };
        let downtime_expected = wish.replicas == 0 && described.workload.wanted > 0;
        let mut facts = Facts { downtime_expected, ..described.at_rest() };
        if wish.autoscaler_minimum && facts.gitops.is_none() {
            let autoscalers = autoscalers::of(self.cluster.requests(), &described.workload).await?;
            facts.gitops = autoscalers.into_iter().find_map(|found| found.gitops);
        }
        Ok(vec![facts])
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.sane(call).await.map(drop)
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let (workload, autoscaler) = self.sane(call).await?;
        let intent = intent(&workload, autoscaler.as_ref(), wish(&call.arguments)?);
        let body = intent.patch("RUN");
        intent.try_out(&self.cluster, &workload, &body).await?;
        Ok(plan(&workload, autoscaler.as_ref(), &intent, &body))
    }

    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        if text(arguments, "on_failure") == Some("undo") { OnFailure::Undo } else { OnFailure::Leave }
    }

    fn can_undo(&self) -> bool {
        true
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        let intent = match &step.undoes {
            None => {
                let (workload, autoscaler) = self.sane(&step.call).await?;
                intent(&workload, autoscaler.as_ref(), wish(&step.call.arguments)?)
            }
            Some(undoes) => self.undoing(&step.call, &kept("receipt", undoes)?).await?,
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
fn plan(workload: &Workload, autoscaler: Option<&Autoscaler>, intent: &Intent, patch: &Value) -> Value {
    let Intent { before, replicas, .. } = *intent;
    let what = workload.title();
    let mut plan = json!({
        "summary": match autoscaler {
            None => replicas_in_words(&what, before, replicas),
            Some(autoscaler) => minimum_in_words(workload, autoscaler, replicas),
        },
        "object": what,
        "namespace": workload.namespace,
        "before": before,
        "after": replicas,
        "available": workload.available,
        "patch": patch,
        "checked": "the API server accepted the same patch as a dry run",
    });
    let of_autoscaler = || autoscaler?.gitops.as_ref().map(gitops::may_revert);
    let warning = gitops::warning(workload).or_else(of_autoscaler).map(Value::from);
    if let Some(fields) = plan.as_object_mut() {
        let more = [("autoscaler", autoscaler.map(Autoscaler::to_json)), ("warning", warning)];
        let more = more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        fields.extend(more);
    }
    plan
}

fn replicas_in_words(what: &str, before: i32, after: i32) -> String {
    match after - before {
        0 => format!("{what} has {before} replicas already: nothing would be changed"),
        more @ 1.. => format!("would scale {what} from {before} to {after}: {} would start", pods(more)),
        less => format!("would scale {what} from {before} to {after}: {} would stop", pods(-less)),
    }
}

fn minimum_in_words(workload: &Workload, autoscaler: &Autoscaler, after: i32) -> String {
    let Autoscaler { name, min, .. } = autoscaler;
    let what = format!("the minimum of {} (HorizontalPodAutoscaler `{name}`)", workload.title());
    let missing = after - workload.wanted;
    if after == *min {
        return format!("{what} is {after} already: nothing would be changed");
    }
    let follows = match missing {
        1.. => format!("{} would start", pods(missing)),
        _ if after > *min => format!("no pod would start, as it has {}", pods(workload.wanted)),
        _ => "the autoscaler may stop pods, down to that".to_owned(),
    };
    format!("would change {what} from {min} to {after}: {follows}")
}

fn pods(count: i32) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
}

//! `scale_service`: so many replicas, within configured bounds, set once, verified until as many pods are available
//! and no other one is left; or so many as the minimum of its autoscaler, until at least as many are available.

use super::words::{
    accept_downtime_slot, fillers, kind_slot, list, namespace_slot, on_failure_slot, service_slot, slot,
    value,
};
use super::write::{At, Write, Writing};
use super::{
    Subject, accepts_downtime, described, flag, job, kind_schema, namespace_schema, on_failure_schema,
    service_schema, timeout_schema, workload,
};
use crate::kubernetes::autoscalers::{self, Autoscaler};
use crate::kubernetes::scale::{self, Bounds, Changed, Intent, Receipt, Wish};
use crate::kubernetes::workload::Workload;
use crate::kubernetes::{Cluster, gitops};
use astradesk_core::run::OnFailure;
use astradesk_core::tool::{Form, Grammar, Measure, Slot};
use astradesk_core::{Arguments, Effect, Error, Facts, FrozenCall, Result, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::Fault;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;

/// How long scaling may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);
/// No configuration permits more replicas.
pub const MOST_REPLICAS: u32 = 10_000;

/// The tool `scale_service`.
pub(crate) struct ScaleService {
    bounds: Bounds,
}

impl ScaleService {
    /// The tool on a cluster, with how many replicas a service may be given.
    pub(crate) fn new(cluster: Cluster, bounds: Bounds) -> Result<Writing<Self>> {
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
        Ok(Writing::new(Self { bounds }, cluster, spec))
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
impl Write for ScaleService {
    /// With the autoscaler, if that one's minimum is meant.
    type Seen = (Workload, Option<Autoscaler>);
    type Intent = Intent;
    type Receipt = Receipt;
    const UNDOES: bool = true;

    /// Disruption budgets do not hold for scaling: Kubernetes does not ask them either. Who manages the autoscaler that is
    /// changed manages what is done as much as who manages the workload.
    async fn facts(&self, cluster: &Cluster, call: &FrozenCall, now: bool) -> Result<Facts> {
        let wish = wish(&call.arguments)?;
        let Some(described) = described(cluster, &Subject::of(call)?, now).await? else {
            return Ok(Facts::default());
        };
        let downtime_expected = wish.replicas == 0 && described.workload.wanted > 0;
        let mut facts = Facts { downtime_expected, ..described.at_rest() };
        if wish.autoscaler_minimum && facts.gitops.is_none() {
            let autoscalers = autoscalers::of(cluster.requests(), &described.workload).await?;
            facts.gitops = autoscalers.into_iter().find_map(|found| found.gitops);
        }
        Ok(facts)
    }

    async fn sane(&self, cluster: &Cluster, call: &FrozenCall) -> Result<Self::Seen> {
        let workload = workload(cluster, call).await?;
        let autoscalers = autoscalers::of(cluster.requests(), &workload).await?;
        let autoscaler = scale::sane(&workload, wish(&call.arguments)?, self.bounds, &autoscalers)?.cloned();
        Ok((workload, autoscaler))
    }

    async fn preview(&self, cluster: &Cluster, call: &FrozenCall, seen: Self::Seen) -> Result<Value> {
        let (workload, autoscaler) = seen;
        let intent = intent(&workload, autoscaler.as_ref(), wish(&call.arguments)?);
        let body = intent.patch("RUN");
        intent.try_out(cluster, &workload, &body).await?;
        Ok(plan(&workload, autoscaler.as_ref(), &intent, &body))
    }

    async fn intend(&self, (_, step): At<'_>, seen: Self::Seen) -> Result<Intent> {
        let (workload, autoscaler) = seen;
        Ok(intent(&workload, autoscaler.as_ref(), wish(&step.call.arguments)?))
    }

    async fn undo(&self, (cluster, step): At<'_>, done: Receipt) -> Result<Intent> {
        let workload = workload(cluster, &step.call).await?;
        let Some(Changed { name, uid }) = &done.autoscaler else {
            scale::undo_sane(&workload, &done)?;
            return Ok(Intent::of(&workload, done.before));
        };
        let read = cluster.autoscaler(&Subject::of(&step.call)?.namespace, name).await;
        let operation = autoscalers::operation("get", &workload.namespace, name);
        let autoscaler = read.map_err(|failure| failure.into_error(&operation))?;
        scale::undo_minimum_sane(&autoscaler, uid, &done)?;
        Ok(Intent::of_minimum(&workload, &autoscaler, done.before))
    }

    async fn perform(&self, (cluster, step): At<'_>, _: &Permit, intent: Intent) -> Result<Receipt, Fault> {
        scale::perform(cluster, &job(step)?, &intent).await
    }

    async fn verify(&self, (cluster, step): At<'_>, done: Receipt) -> Result<Value, Fault> {
        scale::verify(cluster, &job(step)?, &done).await
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

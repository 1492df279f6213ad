//! Checks: what must be so of a metric for a while after a change, before it counts as a success.
//!
//! A tool that changes a workload is wrapped by `checked`: it has one more argument, `check`; it makes room for the check in
//! its time, makes sure before it does anything that there is something to measure, and, once it has verified what it did,
//! succeeds only if the check holds.
//!
//! | module | what it holds |
//! |---|---|
//! | `checked` | the tool around another tool |
//! | `condition` | pure: `error_rate < 1% for 2m`, read strictly |
//! | `verdict` | pure: what became of it, from what was measured |
//! | `watch` | measures until that is known |
//!
//! Nothing is remembered between two measurements: each asks for everything since the beginning, which is found out from
//! the receipt and the pods. So another process goes on where one was killed.

mod checked;
mod condition;
#[cfg(test)]
mod tests;
mod verdict;
mod watch;

use crate::kubernetes::{Cluster, rollout};
use crate::prometheus::Prometheus;
use crate::prometheus::queries::number;
use crate::prometheus::template::Place;
use astradesk_core::{Arguments, Code, Error, FrozenCall, Result, Target, Timestamp, ToolSpec};
use astradesk_runtime::port::{Fault, StepContext};
use condition::{Condition, EXAMPLE};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use watch::Watch;

/// The argument.
const ARGUMENT: &str = "check";
/// How much longer than the condition lasts it may take until that is known.
const MARGIN: Duration = Duration::from_secs(30);
/// How long a measurement before anything is done may take.
const READY: Duration = Duration::from_secs(10);

/// What measures. Without it nothing can be checked, and the argument is not there.
#[derive(Clone, Default)]
pub struct Checks(Option<Prometheus>);

impl From<Option<Prometheus>> for Checks {
    fn from(prometheus: Option<Prometheus>) -> Self {
        Self(prometheus)
    }
}

impl Checks {
    /// Adds the argument to a tool.
    fn offer(&self, spec: &mut ToolSpec) {
        let Some(prometheus) = &self.0 else { return };
        let names = prometheus.queries().names().join(", ");
        let argument = json!({
            "type": "string",
            "description": format!(
                "what must be so of a metric for a while after it, else it has failed: `{EXAMPLE}`; of {names}"
            ),
            "maxLength": 120,
        });
        if let Some(properties) = spec.input_schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert(ARGUMENT.to_owned(), argument);
        }
    }

    /// Refuses a condition that cannot be checked.
    fn examine(&self, arguments: &Arguments) -> Result<()> {
        self.of(arguments).map(drop)
    }

    /// How much more time a call with these arguments needs.
    fn room(&self, arguments: &Arguments) -> Duration {
        match self.of(arguments) {
            Ok(Some((condition, _))) => condition.lasting + MARGIN,
            Ok(None) | Err(_) => Duration::ZERO,
        }
    }

    /// The step as it is before the check, for which its time must be enough. An undo has no check.
    fn before(&self, step: &StepContext) -> StepContext {
        let room = if step.undoes.is_some() { Duration::ZERO } else { self.room(&step.call.arguments) };
        let deadline = step.deadline.checked_sub(room).unwrap_or(step.deadline);
        StepContext { deadline, ..step.clone() }
    }

    /// Measures once, before anything is done, whether there is something to measure.
    ///
    /// # Errors
    /// [`Code::MetricsNoData`], or why it cannot be measured.
    async fn ready(&self, call: &FrozenCall) -> Result<()> {
        self.measured(call).await.map(drop)
    }

    /// What would be checked, beside what else a call would do.
    async fn preview(&self, call: &FrozenCall, mut plan: Value) -> Result<Value> {
        if let (Some((condition, value)), Some(fields)) = (self.measured(call).await?, plan.as_object_mut()) {
            let now = condition.unit.tell(value);
            fields.insert(
                ARGUMENT.to_owned(),
                json!({"condition": condition.to_string(), "now": now, "value": number(value)}),
            );
            if let Some(Value::String(summary)) = fields.get_mut("summary") {
                *summary = format!("{summary}; then `{condition}` must hold ({now} now)");
            }
        }
        Ok(plan)
    }

    /// Watches until it is known whether what must be so is so. `done` is when the change was seen, `output` what was
    /// verified.
    ///
    /// # Errors
    /// [`Code::MetricsCheckFailed`]: it is not so. [`Code::MetricsNotMeasured`]: nobody knows.
    async fn confirm(
        &self,
        cluster: &Cluster,
        step: &StepContext,
        done: Timestamp,
        mut output: Value,
    ) -> Result<Value, Fault> {
        if step.undoes.is_some() {
            return Ok(output);
        }
        let Some((condition, prometheus)) = self.of(&step.call.arguments).map_err(Fault::Unknown)? else {
            return Ok(output);
        };
        let query =
            query(prometheus, &condition)?.template.fill(&Place::of(&step.call)?, prometheus.check_range());
        let from = settled(cluster, &step.call, done).min(prometheus.now());
        let watch = Watch { prometheus, condition: &condition, query, from, step };
        let (summary, measured) = watch.until_known().await?;
        if let Some(fields) = output.as_object_mut() {
            if let Some(Value::String(told)) = fields.get_mut("summary") {
                *told = format!("{told}; {summary}");
            }
            fields.insert(ARGUMENT.to_owned(), measured);
        }
        Ok(output)
    }

    fn of(&self, arguments: &Arguments) -> Result<Option<(Condition, &Prometheus)>> {
        let (Some(prometheus), Some(text)) = (&self.0, arguments.get(ARGUMENT).and_then(Value::as_str))
        else {
            return Ok(None);
        };
        let condition = Condition::parse(text, prometheus.queries(), prometheus.check_range())?;
        Ok(Some((condition, prometheus)))
    }

    /// The condition of a call, and what is measured now.
    async fn measured(&self, call: &FrozenCall) -> Result<Option<(Condition, f64)>> {
        let Some((condition, prometheus)) = self.of(&call.arguments)? else { return Ok(None) };
        let (place, range) = (Place::of(call)?, prometheus.check_range());
        let query = query(prometheus, &condition)?;
        let deadline = Instant::now() + READY;
        if let Some(value) = prometheus.measure(query, &place, range, prometheus.now(), deadline).await? {
            return Ok(Some((condition, value)));
        }
        let message =
            format!("`{}` finds no series, so that `{condition}` cannot be checked", condition.metric);
        Err(Error::new(Code::MetricsNoData, message).with_detail("query", query.template.fill(&place, range)))
    }
}

/// From when on a change counts: when it was seen, or when the newest pod has become ready.
fn settled(cluster: &Cluster, call: &FrozenCall, done: Timestamp) -> Timestamp {
    let [Target::Kubernetes { namespace, kind, name, .. }] = call.targets.as_slice() else { return done };
    let known = cluster.scope(namespace).family(*kind, name.as_str());
    known.map_or(done, |(_, family)| rollout::settled(&family, done))
}

fn query<'a>(prometheus: &'a Prometheus, condition: &Condition) -> Result<&'a crate::prometheus::Query> {
    let known = prometheus.queries().get(&condition.metric);
    known.ok_or_else(|| Error::internal("a condition names a metric that there is not"))
}

//! `get_metrics`: how a service is, by the named queries: rate, errors, latency, CPU, memory, restarts, saturation.

use super::{TIME, time};
use crate::kubernetes::Cluster;
use crate::prometheus::queries::number;
use crate::prometheus::template::Place;
use crate::prometheus::{Prometheus, Query};
use crate::tools::kubernetes::{
    Read, Reading, Subject, described, kind_schema, namespace_schema, not_found, service_schema, text,
};
use crate::tools::words::{fillers, kind_slot, list, namespace_slot, service_slot, slot, value};
use astradesk_core::tool::{Form, Grammar, Measure};
use astradesk_core::{Arguments, Effect, Error, FrozenCall, Result, Timestamp, ToolName, ToolSpec};
use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How far back it looks unless the call says otherwise.
const WINDOW: Duration = Duration::from_mins(5);
/// How many queries are asked at the same time.
const AT_ONCE: usize = 4;

/// The tool `get_metrics`.
pub(super) struct GetMetrics {
    prometheus: Prometheus,
}

/// What every query is asked about.
struct Ask<'a> {
    prometheus: &'a Prometheus,
    place: Place,
    window: Duration,
    at: Timestamp,
    deadline: Instant,
}

impl Ask<'_> {
    async fn one<'q>(&self, query: &'q Query) -> Measured<'q> {
        let Self { prometheus, place, window, at, deadline } = self;
        (query, prometheus.measure(query, place, *window, *at, *deadline).await)
    }
}

/// What came of one query.
type Measured<'a> = (&'a Query, Result<Option<f64>>);

impl GetMetrics {
    /// The tool, for the workloads of a cluster.
    pub(super) fn new(prometheus: Prometheus, cluster: Cluster) -> Result<Reading<Self>> {
        let names = prometheus.queries().names().join(", ");
        let spec = ToolSpec {
            name: ToolName::parse("get_metrics")?,
            version: "1".to_owned(),
            description: format!("gives the metrics of a Deployment, StatefulSet or DaemonSet: {names}"),
            effect: Some(Effect::Read),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["service"],
                "properties": {
                    "service": service_schema(),
                    "namespace": namespace_schema(&cluster),
                    "kind": kind_schema(),
                    "window": {
                        "type": "string",
                        "description": "over the last so long: `5m` unless it is given; `30s`, `1h`, `2d`; at most 99 days",
                        "maxLength": 6,
                        "pattern": TIME,
                    },
                },
            }),
            timeout: Duration::from_secs(30),
            grammar: grammar(),
        };
        Ok(Reading::new(Self { prometheus }, cluster, spec))
    }
}

fn grammar() -> Grammar {
    let window = "last, the last, for the last, over the last, from the last, past, over the past, z ostatnich, za ostatnie, \
                  ostatnie, ostatnich, z ostatniej, over, since";
    let hour = "from the last hour, for the last hour, over the last hour, last hour, z ostatniej godziny, za ostatnią godzinę";
    let hour = Form::OneOf(list(hour).into_iter().map(|phrase| (phrase, json!("1h"))).collect());
    let phrases = "metrics, metrics of, metrics for, what are the metrics of, metryki, metryk, jakie są metryki, jakie metryki ma";
    Grammar {
        phrases: list(phrases),
        nouns: Vec::new(),
        slots: vec![
            service_slot(),
            namespace_slot(),
            kind_slot(),
            slot("window", value(Measure::Duration, window, "")),
            slot("window", hour),
        ],
        fillers: fillers("from, z"),
    }
}

fn window(arguments: &Arguments) -> Duration {
    text(arguments, "window").and_then(time).unwrap_or(WINDOW)
}

/// Why nothing could be measured at all, if that is so.
fn failed(measured: &[Measured<'_>]) -> Option<Error> {
    let first = measured.iter().find_map(|(_, value)| value.as_ref().err());
    first.filter(|_| measured.iter().all(|(_, value)| value.is_err())).cloned()
}

/// Whether there is a number: a query can find nothing, or nothing that could be divided.
fn known(value: &Result<Option<f64>>) -> Option<f64> {
    value.as_ref().ok().copied().flatten().filter(|value| !value.is_nan())
}

fn summary(subject: &Subject, window: &str, measured: &[Measured<'_>]) -> String {
    let names = |of: &dyn Fn(&Result<Option<f64>>) -> bool| -> Vec<&str> {
        measured.iter().filter(|(_, value)| of(value)).map(|(query, _)| query.name.as_str()).collect()
    };
    let told: Vec<String> = measured
        .iter()
        .filter_map(|(query, value)| Some(format!("{} {}", query.name, query.unit.tell(known(value)?))))
        .collect();
    let told = if told.is_empty() { "nothing is measured".to_owned() } else { told.join(", ") };
    let mut summary = format!("{subject}, the last {window}: {told}");
    for (what, names) in [
        ("none", names(&|value| value.is_ok() && known(value).is_none())),
        ("not read", names(&|value| value.is_err())),
    ] {
        if !names.is_empty() {
            summary = format!("{summary}; {what}: {}", names.join(", "));
        }
    }
    summary
}

fn row((query, value): &Measured<'_>) -> Value {
    let note = match value {
        Err(error) => Some(error.message.clone()),
        Ok(None) => Some("there is no such series".to_owned()),
        Ok(Some(value)) if value.is_nan() => Some("nothing was counted".to_owned()),
        Ok(Some(_)) => None,
    };
    json!({
        "name": query.name,
        "unit": query.unit.as_str(),
        "value": known(value).map(number),
        "told": known(value).map_or_else(|| "none".to_owned(), |value| query.unit.tell(value)),
        "note": note,
        "code": value.as_ref().err().map(|error| error.code),
    })
}

#[async_trait]
impl Read for GetMetrics {
    fn told(&self, subject: &Subject) -> String {
        format!("would ask {} queries about {subject}", self.prometheus.queries().all().len())
    }

    async fn read(
        &self,
        cluster: &Cluster,
        call: &FrozenCall,
        subject: &Subject,
        deadline: Instant,
    ) -> Result<Value> {
        if described(cluster, subject, false).await?.is_none() {
            return Err(not_found(cluster, subject).await);
        }
        let (place, window) = (Place::of(call)?, window(&call.arguments));
        // All of them at one moment.
        let at = cluster.now();
        let ask = Ask { prometheus: &self.prometheus, place, window, at, deadline };
        let mut asked = Vec::new();
        for query in self.prometheus.queries().all() {
            asked.push(ask.one(query));
        }
        let measured: Vec<Measured<'_>> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        if let Some(error) = failed(&measured) {
            return Err(error);
        }
        let left_out: Vec<String> = measured
            .iter()
            .filter_map(|(query, value)| Some(format!("{}: {}", query.name, value.as_ref().err()?.message)))
            .collect();
        let said = text(&call.arguments, "window").unwrap_or("5m");
        Ok(json!({
            "summary": summary(subject, said, &measured),
            "window": said,
            "metrics": measured.iter().map(row).collect::<Value>(),
            "left_out": left_out,
            "observed_at": at.to_string(),
        }))
    }
}

//! `query_metrics`: any query of PromQL, within limits: at this moment, or over a time.

use super::{TIME, time};
use crate::prometheus::{Answer, MOST_POINTS, Prometheus, Range, Sample, Series, chart, seconds};
use crate::tools::kubernetes::text;
use crate::tools::words::{list, slot, value};
use astradesk_core::name::SystemName;
use astradesk_core::text::shown;
use astradesk_core::tool::{Grammar, Measure, Slot};
use astradesk_core::{Arguments, Code, Effect, Error, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The longest query, in characters: it is a part of an address.
const LONGEST: u64 = 2000;
/// Into how many parts a time is divided unless the call says otherwise.
const PARTS: u64 = 60;
/// The most numbers in one output, all series together; of more, fewer series are given.
const NUMBERS: usize = 10_000;

/// The tool `query_metrics`.
pub struct QueryMetrics {
    prometheus: Prometheus,
    spec: Arc<ToolSpec>,
}

/// What is asked for.
struct Wanted<'a> {
    query: &'a str,
    /// The last so long, every so long; none: this moment.
    over: Option<(Duration, Duration)>,
    chart: bool,
}

impl QueryMetrics {
    /// The tool.
    pub fn new(prometheus: Prometheus) -> Result<Self> {
        let a_time = |description: &str| json!({"type": "string", "description": description, "maxLength": 6, "pattern": TIME});
        let spec = ToolSpec {
            name: ToolName::parse("query_metrics")?,
            version: "1".to_owned(),
            description:
                "asks Prometheus a query of PromQL, at this moment or over the last so long; it only reads"
                    .to_owned(),
            effect: Some(Effect::Read),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["promql"],
                "properties": {
                    "promql": {
                        "type": "string",
                        "description": "the query, such as `sum by (pod) (rate(http_requests_total[5m]))`",
                        "minLength": 1,
                        "maxLength": LONGEST,
                    },
                    "window": a_time("over the last so long: `30m`, `6h`, `2d`; this moment unless it is given"),
                    "step": a_time("how far numbers are apart; a sixtieth of `window` unless it is given"),
                    "chart": {
                        "type": "boolean",
                        "description": "whether to draw the series as well, as an SVG document in `content`; with `window` only",
                    },
                },
            }),
            timeout: Duration::from_secs(30),
            grammar: grammar(),
        };
        Ok(Self { prometheus, spec: Arc::new(spec) })
    }

    pub(super) async fn query(&self, call: &FrozenCall, deadline: Instant) -> Result<Value> {
        let Wanted { query, over, chart } = wanted(&call.arguments)?;
        let now = self.prometheus.now();
        let mut answer = match over {
            None => self.prometheus.instant(query, now, deadline).await?,
            Some((window, step)) => {
                let end = seconds(now);
                let range = Range { start: end - window.as_secs_f64(), end, step: step.as_secs_f64() };
                self.prometheus.range(query, range, deadline).await?
            }
        };
        let left_out = limit(&mut answer);
        let Answer { series, warnings, .. } = &answer;
        let mut output = json!({
            "summary": summary(series, over.is_some(), &left_out),
            "promql": query,
            "series": series.iter().map(row).collect::<Value>(),
            "left_out": left_out,
            "said": warnings,
            "observed_at": now.to_string(),
        });
        let drawn = if chart { chart::svg(series, &shown(query, 80)) } else { None };
        if let (Some(svg), Some(fields)) = (drawn, output.as_object_mut()) {
            let resource = json!({"uri": "astradesk:chart.svg", "mimeType": "image/svg+xml", "text": svg});
            fields.insert("content".to_owned(), json!([{"type": "resource", "resource": resource}]));
        }
        Ok(output)
    }
}

fn grammar() -> Grammar {
    let window =
        "last, the last, for the last, over the last, from the last, z ostatnich, za ostatnie, ostatnie";
    Grammar {
        phrases: list("query prometheus, promql, zapytaj prometheusa, zapytaj prometheus"),
        nouns: Vec::new(),
        slots: vec![
            Slot { required: true, ..slot("promql", value(Measure::Word, "for, query, o, zapytanie", "")) },
            slot("window", value(Measure::Duration, window, "")),
            slot("step", value(Measure::Duration, "every, step, in steps of, co, krok", "")),
        ],
        fillers: Vec::new(),
    }
}

fn wanted(arguments: &Arguments) -> Result<Wanted<'_>> {
    let invalid = |why: String| Error::new(Code::ToolArgumentsInvalid, why);
    let query = text(arguments, "promql").unwrap_or_default();
    let (window, step) = (text(arguments, "window").and_then(time), text(arguments, "step").and_then(time));
    let chart = arguments.get("chart").and_then(Value::as_bool).unwrap_or(false);
    let over = match (window, step) {
        (None, None) if !chart => None,
        (None, _) => {
            return Err(invalid("`step` and `chart` mean something with `window` only".to_owned()));
        }
        (Some(window), step) => {
            let step = step.unwrap_or_else(|| Duration::from_secs(window.as_secs().div_ceil(PARTS)));
            let points = window.as_secs() / step.as_secs().max(1) + 1;
            if points > MOST_POINTS {
                let least = window.as_secs().div_ceil(MOST_POINTS - 1);
                let why =
                    format!("that would be {points} numbers of each series, and there may be {MOST_POINTS}");
                return Err(invalid(why)
                    .with_remedy(format!("ask for a `step` of at least {least}s, or for less time")));
            }
            Some((window, step))
        }
    };
    Ok(Wanted { query, over, chart })
}

/// Keeps what an output may have of an answer, and says what it has not.
fn limit(answer: &mut Answer) -> Vec<String> {
    let mut numbers = 0;
    let kept = answer.series.iter().take_while(|series| {
        numbers += series.samples.len();
        numbers <= NUMBERS
    });
    let kept = kept.count();
    let gone = answer.series.len() - kept + answer.left_out;
    answer.series.truncate(kept);
    match gone {
        0 => Vec::new(),
        // Prometheus was asked for one more than are wanted.
        _ if answer.left_out > 0 => vec![format!("all series but the first {kept}")],
        1 => vec!["1 series".to_owned()],
        gone => vec![format!("{gone} series")],
    }
}

fn summary(series: &[Series], over_time: bool, left_out: &[String]) -> String {
    let numbers: usize = series.iter().map(|series| series.samples.len()).sum();
    let what = match series {
        [] => "the query finds no series".to_owned(),
        [one] if !over_time => match one.samples.as_slice() {
            [only] => format!("{} {}", chart::label(one), only.value),
            _ => "1 series".to_owned(),
        },
        [_] => format!("1 series with {numbers} numbers"),
        several if over_time => format!("{} series with {numbers} numbers", several.len()),
        several => format!("{} series", several.len()),
    };
    if left_out.is_empty() { what } else { format!("{what}; left out: {}", left_out.join(", ")) }
}

fn row(series: &Series) -> Value {
    json!({
        "labels": series.labels,
        "told": chart::label(series),
        "points": series.samples.iter().copied().map(Sample::to_json).collect::<Value>(),
    })
}

#[async_trait]
impl Tool for QueryMetrics {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        wanted(arguments)?;
        let (system, kind) = (SystemName::parse("prometheus")?, SystemName::parse("server")?);
        Ok(vec![Target::External { system, kind, name: self.prometheus.name().clone() }])
    }

    async fn preview(&self, _call: &FrozenCall) -> Result<Value> {
        Ok(json!({"summary": format!("would ask Prometheus at `{}`", self.prometheus.url())}))
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        Ok(self.query(&step.call, step.deadline).await?)
    }
}

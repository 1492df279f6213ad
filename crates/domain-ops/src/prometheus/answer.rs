//! What Prometheus answers, read strictly and within limits.

use super::queries::number;
use astradesk_core::{Code, Error, Result, redact};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most characters of a label that are shown, and of a warning.
const SHOWN: usize = 120;
/// The most labels of a series that are shown.
const LABELS: usize = 16;
/// The most warnings that are shown.
const WARNINGS: usize = 5;

/// A measurement: when, in seconds since 1970, and what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When.
    pub at: f64,
    /// What was measured; what is no number was not.
    pub value: f64,
}

impl Sample {
    /// As outputs have it.
    pub(crate) fn to_json(self) -> Value {
        json!([self.at, number(self.value)])
    }
}

/// Measurements of one thing, in the order of their time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What it is of, made safe.
    pub labels: BTreeMap<String, String>,
    /// The measurements.
    pub samples: Vec<Sample>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The series.
    pub series: Vec<Series>,
    /// How many more there were.
    pub left_out: usize,
    /// What Prometheus warns of, made safe.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    data: Option<Data>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Item>),
    Matrix(Vec<Item>),
    Scalar(Point),
    String(IgnoredAny),
}

#[derive(Deserialize)]
struct Item {
    metric: BTreeMap<String, String>,
    value: Option<Point>,
    #[serde(default)]
    values: Vec<Point>,
    /// A native histogram is no number.
    histogram: Option<IgnoredAny>,
    histograms: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Point(f64, String);

impl Answer {
    /// Reads an answer, of which at most so many series are kept.
    ///
    /// # Errors
    /// [`Code::UpstreamAnswerInvalid`], [`Code::UpstreamRejected`].
    pub(crate) fn read(answer: Value, most: usize) -> Result<Self> {
        let invalid = |why: &str| {
            Error::new(Code::UpstreamAnswerInvalid, format!("Prometheus {why}"))
                .with_remedy("check that `prometheus.base_url` is the address of a Prometheus")
        };
        let envelope: Envelope = serde_json::from_value(answer).map_err(|error| {
            invalid(&format!("does not answer as its API does: {}", shown(&error.to_string())))
        })?;
        if envelope.status != "success" {
            let message = format!("Prometheus did not answer the query: {}", shown(&envelope.error));
            return Err(Error::new(Code::UpstreamRejected, message));
        }
        let items = match envelope.data {
            Some(Data::Vector(items) | Data::Matrix(items)) => items,
            Some(Data::Scalar(point)) => vec![Item {
                metric: BTreeMap::new(),
                value: Some(point),
                values: Vec::new(),
                histogram: None,
                histograms: None,
            }],
            Some(Data::String(_)) => return Err(no_numbers("text")),
            None => return Err(invalid("answers without data")),
        };
        let left_out = items.len().saturating_sub(most);
        let series = items.into_iter().take(most).map(series).collect::<Result<_>>()?;
        let warnings = envelope.warnings.iter().take(WARNINGS).map(|warning| shown(warning)).collect();
        Ok(Self { series, left_out, warnings })
    }

    /// The one number of an answer at one moment; none if there is no series.
    ///
    /// # Errors
    /// [`Code::UpstreamAnswerInvalid`]: there are several.
    pub(crate) fn one(&self) -> Result<Option<&Series>> {
        match self.series.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only)),
            several => {
                let count = several.len() + self.left_out;
                let message = format!("the query gives {count} series, and must give one");
                Err(Error::new(Code::UpstreamAnswerInvalid, message)
                    .with_remedy("make one of them in `prometheus.queries`, by `sum(…)` or `max(…)`"))
            }
        }
    }
}

fn series(item: Item) -> Result<Series> {
    let Item { metric, value, values, histogram, histograms } = item;
    if histogram.is_some() || histograms.is_some() {
        return Err(no_numbers("native histograms"));
    }
    let read = |Point(at, text): Point| match text.parse::<f64>() {
        Ok(value) if at.is_finite() => Ok(Sample { at, value }),
        _ => {
            Err(Error::new(Code::UpstreamAnswerInvalid, "Prometheus answers with a value that is no number"))
        }
    };
    let labels = metric.iter().take(LABELS).map(|(name, value)| (shown(name), shown(value))).collect();
    let samples = value.into_iter().chain(values).map(read).collect::<Result<_>>()?;
    Ok(Series { labels, samples })
}

fn no_numbers(what: &str) -> Error {
    let message = format!("the query gives {what}, and must give numbers");
    Error::new(Code::UpstreamAnswerInvalid, message)
        .with_remedy("ask for a number: of a native histogram, by `histogram_quantile(…)`")
}

fn shown(text: &str) -> String {
    redact::line(text, SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &Value) -> Result<Answer> {
        Answer::read(json!({"status": "success", "data": data, "warnings": ["slow\u{1b}[8m"]}), 2)
    }

    #[test]
    fn what_prometheus_answers_is_read_whole() {
        let vector = json!({"resultType": "vector", "result": [
            {"metric": {"job": "a", "token": "x"}, "value": [1.5, "0.25"]},
            {"metric": {"job": "b\n"}, "value": [1.5, "NaN"]},
            {"metric": {"job": "c"}, "value": [1.5, "+Inf"]},
        ]});
        let answer = read(&vector).unwrap();
        assert_eq!((answer.series.len(), answer.left_out), (2, 1));
        assert_eq!(answer.series[0].samples, [Sample { at: 1.5, value: 0.25 }]);
        assert!(answer.series[1].samples[0].value.is_nan() && !answer.series[1].labels["job"].contains('\n'));
        assert!(!answer.warnings[0].contains('\u{1b}'), "{:?}", answer.warnings);
        assert!(answer.one().unwrap_err().message.contains("3 series"));

        let matrix =
            json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "1"], [2, "-Inf"]]}]});
        let answer = read(&matrix).unwrap();
        let samples = &answer.one().unwrap().unwrap().samples;
        assert_eq!((samples.len(), samples[1].to_json()), (2, json!([2.0, "-Inf"])));
        let scalar = read(&json!({"resultType": "scalar", "result": [7, "3"]})).unwrap();
        assert_eq!(scalar.series[0].samples, [Sample { at: 7.0, value: 3.0 }]);
        assert_eq!(read(&json!({"resultType": "vector", "result": []})).unwrap().one().unwrap(), None);
    }

    #[test]
    fn what_is_no_answer_of_prometheus_is_refused() {
        let code = |answer: Value| Answer::read(answer, 2).unwrap_err().code;
        let of = |data: Value| code(json!({"status": "success", "data": data}));
        for data in [
            json!(null),
            json!({"resultType": "string", "result": [1, "x"]}),
            json!({"resultType": "other", "result": []}),
            json!({"resultType": "vector", "result": [{"metric": {}, "value": [1, "x"]}]}),
            json!({"resultType": "vector", "result": [{"metric": {}, "value": ["1", "1"]}]}),
            json!({"resultType": "vector", "result": [{"metric": {}, "histogram": [1, {}]}]}),
        ] {
            assert_eq!(of(data.clone()), Code::UpstreamAnswerInvalid, "{data}");
        }
        assert_eq!(code(json!([])), Code::UpstreamAnswerInvalid);
        let refused = json!({"status": "error", "errorType": "bad_data", "error": "parse error"});
        let error = Answer::read(refused, 2).unwrap_err();
        assert!(error.code == Code::UpstreamRejected && error.message.contains("parse error"));
    }
}

//! A Prometheus that answers as a test says.

use super::{Prometheus, Queries, Settings};
use crate::upstream::testing::{Answer, Asked, Scripted};
use astradesk_core::name::ExternalName;
use astradesk_runtime::port::SystemClock;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The server, and a client that looks back two seconds in a check.
pub(crate) async fn scripted(
    script: impl FnMut(&Asked) -> Answer + Send + 'static,
) -> (Scripted, Prometheus) {
    let server = Scripted::start(script).await;
    let upstream =
        crate::upstream::Settings { timeout: Duration::from_secs(1), ..server.settings("Prometheus") };
    let settings = Settings {
        name: ExternalName::parse("main").unwrap(),
        upstream,
        queries: Queries::new(Vec::new(), None).unwrap(),
        check_range: Duration::from_secs(2),
        max_series: 2,
    };
    (server, Prometheus::new(settings, Arc::new(SystemClock)).unwrap())
}

/// A value of a query string.
pub(crate) fn asked_for(asked: &Asked, name: &str) -> String {
    let pairs = reqwest::Url::parse(&format!("http://x/?{}", asked.query)).unwrap();
    let found = pairs.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    found.unwrap_or_else(|| panic!("there is no `{name}` in {asked:?}"))
}

pub(crate) fn success(data: &Value) -> Answer {
    Answer::Json(200, json!({"status": "success", "data": data}))
}

/// One number, now.
pub(crate) fn number(value: &str) -> Answer {
    success(&json!({"resultType": "vector", "result": [{"metric": {}, "value": [1, value]}]}))
}

/// No series.
pub(crate) fn nothing() -> Answer {
    success(&json!({"resultType": "vector", "result": []}))
}

/// One series over the time that was asked for, whose numbers are as said of each moment, or are missing.
pub(crate) fn series(asked: &Asked, value: impl Fn(f64) -> Option<f64>) -> Answer {
    let [start, end, step] =
        ["start", "end", "step"].map(|name| asked_for(asked, name).parse::<f64>().unwrap());
    let mut points = Vec::new();
    let mut at = start;
    while at <= end + 0.0001 {
        points.extend(value(at).map(|value| json!([at, value.to_string()])));
        at += step;
    }
    success(&json!({"resultType": "matrix", "result": [{"metric": {}, "values": points}]}))
}

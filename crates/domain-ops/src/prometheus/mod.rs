//! What the Prometheus tools and the checks of other tools share. Everything here only reads.
//!
//! | module | what it holds |
//! |---|---|
//! | [`template`] | pure: queries with places for values, escaped |
//! | [`queries`] | pure: the named queries, built in and configured, and their units |
//! | [`answer`] | pure: what Prometheus answers, within limits |
//! | [`chart`] | pure: series as a picture |

pub mod answer;
pub mod chart;
pub mod queries;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;

pub use answer::{Answer, Sample, Series};
pub use queries::{Configured, Queries, Query, Unit};

use crate::upstream::{self, Upstream};
use astradesk_core::name::ExternalName;
use astradesk_core::{Code, Error, Result, Timestamp};
use astradesk_runtime::port::Clock;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use template::Place;
use tokio::time::Instant;

/// The most numbers of one series in an answer: Prometheus itself gives 11000.
pub const MOST_POINTS: u64 = 1000;

/// Where Prometheus is, and how it is asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What it is called in targets: `external/prometheus/server/NAME`.
    pub name: ExternalName,
    /// Where it is.
    pub upstream: upstream::Settings,
    /// The named queries.
    pub queries: Queries,
    /// How far each measurement of a check looks back: a few times as long as the interval of scraping.
    pub check_range: Duration,
    /// The most series of an answer.
    pub max_series: usize,
}

/// A Prometheus, or what speaks its API. Cheap to clone.
#[derive(Clone)]
pub struct Prometheus(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    name: ExternalName,
    upstream: Upstream,
    queries: Queries,
    check_range: Duration,
    max_series: usize,
    timeout: Duration,
}

impl Prometheus {
    /// The one that these settings lead to. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`].
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        let Settings { name, upstream, queries, check_range, max_series } = settings;
        let timeout = upstream.timeout;
        let upstream = Upstream::new(upstream)?;
        Ok(Self(Arc::new(Inner { clock, name, upstream, queries, check_range, max_series, timeout })))
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// What it is called in targets.
    pub fn name(&self) -> &ExternalName {
        &self.0.name
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.0.upstream.url()
    }

    /// The named queries.
    pub fn queries(&self) -> &Queries {
        &self.0.queries
    }

    /// How far each measurement of a check looks back.
    pub(crate) fn check_range(&self) -> Duration {
        self.0.check_range
    }

    /// The version that it says it is.
    ///
    /// # Errors
    /// It does not answer, or is none.
    pub async fn version(&self) -> Result<String> {
        let deadline = Instant::now() + self.0.timeout;
        let answer = self.0.upstream.get("api/v1/status/buildinfo", &[], deadline).await?;
        let version = answer.pointer("/data/version").and_then(Value::as_str);
        let version = version.map(|version| astradesk_core::redact::line(version, 40));
        version.ok_or_else(|| {
            Error::new(Code::UpstreamAnswerInvalid, format!("`{}` does not say what it is", self.url()))
                .with_remedy("check that `prometheus.base_url` is the address of a Prometheus")
        })
    }

    /// What a query gives at one moment.
    pub(crate) async fn instant(&self, query: &str, at: Timestamp, deadline: Instant) -> Result<Answer> {
        let at = [("time", format!("{:.3}", seconds(at)))];
        self.ask("api/v1/query", query, &at, deadline).await
    }

    /// What a query gives between two moments, of which each is in seconds since 1970.
    pub(crate) async fn range(&self, query: &str, range: Range, deadline: Instant) -> Result<Answer> {
        let number = |value: f64| format!("{value:.3}");
        let range =
            [("start", number(range.start)), ("end", number(range.end)), ("step", number(range.step))];
        self.ask("api/v1/query_range", query, &range, deadline).await
    }

    /// The one number that a named query gives now; none if there is no such series.
    pub(crate) async fn measure(
        &self,
        query: &Query,
        place: &Place,
        window: Duration,
        at: Timestamp,
        deadline: Instant,
    ) -> Result<Option<f64>> {
        let answer = self.instant(&query.template.fill(place, window), at, deadline).await?;
        Ok(answer.one()?.and_then(|series| series.samples.last()).map(|sample| sample.value))
    }

    /// Asks within the limits, which Prometheus is told as well: it need not go on with what nobody waits for.
    async fn ask(
        &self,
        path: &str,
        query: &str,
        more: &[(&str, String)],
        deadline: Instant,
    ) -> Result<Answer> {
        let left = deadline.saturating_duration_since(Instant::now()).min(self.0.timeout);
        let mut asked = vec![
            ("query", query.to_owned()),
            ("timeout", format!("{}ms", left.as_millis().max(1))),
            ("limit", (self.0.max_series + 1).to_string()),
        ];
        asked.extend(more.iter().map(|(name, value)| (*name, value.clone())));
        let answer = self.0.upstream.get(path, &asked, deadline).await.map_err(|failure| {
            let error = Error::from(failure);
            match error.code {
                Code::UpstreamRejected => error.with_remedy("correct the query"),
                _ => error,
            }
        })?;
        Answer::read(answer, self.0.max_series)
    }
}

/// Between two moments, in seconds since 1970, every so many seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) step: f64,
}

/// Seconds since 1970.
pub(crate) fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

//! Measures until it is known what became of a condition.

use super::condition::Condition;
use super::verdict::{Schedule, Verdict, verdict};
use crate::prometheus::queries::number;
use crate::prometheus::{Prometheus, Sample, seconds};
use astradesk_core::{Code, Error, Result, Timestamp};
use astradesk_runtime::port::{Fault, StepContext};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long after the end the last measurement may take to be there.
const LATE: Duration = Duration::from_secs(20);
/// The most that one measurement may take.
const ONE: Duration = Duration::from_secs(10);
/// The most measurements that are told.
const TOLD: usize = 60;

/// A condition that is watched.
pub(super) struct Watch<'a> {
    pub(super) prometheus: &'a Prometheus,
    pub(super) condition: &'a Condition,
    pub(super) query: String,
    /// From when on it must be so.
    pub(super) from: Timestamp,
    pub(super) step: &'a StepContext,
}

impl Watch<'_> {
    /// Watches until it is known; gives that in words, and what was measured.
    pub(super) async fn until_known(&self) -> Result<(String, Value), Fault> {
        let range = self.prometheus.check_range();
        let schedule = Schedule::new(seconds(self.from), self.condition.lasting, range);
        loop {
            let now = seconds(self.prometheus.now());
            let asked = match schedule.by(now) {
                Some(range) => self.samples(range).await,
                None => Ok(Vec::new()),
            };
            if let Ok(samples) = &asked {
                match verdict(self.condition, &schedule, samples) {
                    Verdict::Broken(sample) => return Err(self.broken(sample, samples)),
                    Verdict::Held => return Ok(self.held(samples)),
                    Verdict::Open { .. } => self.tell(now, samples),
                }
            }
            let over = now >= schedule.last + LATE.as_secs_f64() || Instant::now() >= self.step.deadline;
            if over {
                return Err(self.not_measured(&schedule, asked));
            }
            // The first one is waited for as long as it takes.
            let pause = Duration::from_secs_f64((schedule.first - now).max(schedule.step).clamp(0.1, 60.0));
            sleep_until((Instant::now() + pause).min(self.step.deadline)).await;
        }
    }

    async fn samples(&self, range: crate::prometheus::Range) -> Result<Vec<Sample>> {
        // At the very end, a last look is taken as well.
        let deadline = self.step.deadline.max(Instant::now() + ONE / 2).min(Instant::now() + ONE);
        let answer = self.prometheus.range(&self.query, range, deadline).await?;
        Ok(answer.one()?.map(|series| series.samples.clone()).unwrap_or_default())
    }

    fn tell(&self, now: f64, samples: &[Sample]) {
        let last = samples.last();
        let after = (now - seconds(self.from)).max(0.0) as u64;
        let value =
            last.map_or_else(|| "nothing measured yet".to_owned(), |s| self.condition.unit.tell(s.value));
        let message = format!("`{}`: {value} after {after} s", self.condition);
        self.step
            .progress
            .report(message, json!({"measured": samples.len(), "last": last.map(|s| number(s.value))}));
    }

    fn held(&self, samples: &[Sample]) -> (String, Value) {
        let values = samples.iter().map(|sample| sample.value).filter(|value| !value.is_nan());
        let worst = values.reduce(|one, other| self.condition.worse(one, other)).unwrap_or(f64::NAN);
        let unit = self.condition.unit;
        let mut measured = self.measured(samples);
        if let Some(fields) = measured.as_object_mut() {
            fields.insert("worst".to_owned(), number(worst));
        }
        (format!("`{}` held: {} at worst", self.condition, unit.tell(worst)), measured)
    }

    fn broken(&self, sample: Sample, samples: &[Sample]) -> Fault {
        let (tool, condition) = (&self.step.call.tool, self.condition);
        let after = (sample.at - seconds(self.from)).max(0.0) as u64;
        let value = condition.unit.tell(sample.value);
        let message =
            format!("`{tool}` came out well, but `{condition}` does not hold: {value} after {after} s");
        Fault::Failed(
            Error::new(Code::MetricsCheckFailed, message).with_detail("check", self.measured(samples)),
        )
    }

    fn not_measured(&self, schedule: &Schedule, asked: Result<Vec<Sample>>) -> Fault {
        let (tool, condition) = (&self.step.call.tool, self.condition);
        let (why, samples, seen) = match asked {
            Err(error) => (error.message, Vec::new(), Some(error.code)),
            Ok(samples) => match verdict(condition, schedule, &samples) {
                Verdict::Open { measured: 0, .. } => ("there is no measurement".to_owned(), samples, None),
                Verdict::Open { measured, of } => {
                    (format!("there are {measured} of {of} measurements"), samples, None)
                }
                // Neither comes here.
                Verdict::Held | Verdict::Broken(_) => ("it took too long".to_owned(), samples, None),
            },
        };
        let message =
            format!("`{tool}` came out well, but whether `{condition}` holds could not be measured: {why}");
        let error =
            Error::new(Code::MetricsNotMeasured, message).with_detail("check", self.measured(&samples));
        Fault::Unknown(match seen {
            Some(code) => error.with_detail("seen", code.as_str()),
            None => error,
        })
    }

    /// What was measured, evenly thinned out if it is much.
    fn measured(&self, samples: &[Sample]) -> Value {
        let every = samples.len().div_ceil(TOLD).max(1);
        json!({
            "condition": self.condition.to_string(),
            "metric": self.condition.metric,
            "unit": self.condition.unit.as_str(),
            "query": self.query,
            "from": self.from.to_string(),
            "points": samples.iter().rev().step_by(every).rev().map(|sample| sample.to_json()).collect::<Value>(),
        })
    }
}

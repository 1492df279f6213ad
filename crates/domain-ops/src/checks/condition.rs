//! What is asked of a metric after a change, as somebody writes it: `error_rate < 1% for 2m`. Pure.

use crate::prometheus::{Queries, Unit};
use astradesk_core::text::{near, shown};
use astradesk_core::{Code, Error, Result};
use std::fmt;
use std::time::Duration;

/// The longest that a metric is watched.
pub(super) const LONGEST: Duration = Duration::from_hours(1);
/// What a condition looks like.
pub(super) const EXAMPLE: &str = "error_rate < 1% for 2m";

/// What must be so, of which metric, for how long.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    /// The named query.
    pub(crate) metric: String,
    pub(crate) unit: Unit,
    comparison: Comparison,
    /// In the unit of the query.
    bound: f64,
    /// How long it must be so.
    pub(crate) lasting: Duration,
    /// As it was written, with single spaces.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Condition {
    /// Reads `METRIC < NUMBER for TIME`. Each measurement looks back as far as `range`, so it takes no less time.
    ///
    /// # Errors
    /// [`Code::ToolArgumentsInvalid`]: what is wrong with it.
    pub(crate) fn parse(text: &str, queries: &Queries, range: Duration) -> Result<Self> {
        let words = words(text);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let [metric, comparison, number, unit @ .., "for", time] = words.as_slice() else {
            return Err(invalid("it is not written as one"));
        };
        let Some(query) = queries.get(metric) else {
            let names = queries.names();
            let near = near(metric, &names);
            let error = invalid(&format!("there is no metric `{}`", shown(metric, 40)));
            return Err(error.with_candidates(if near.is_empty() { names } else { near }));
        };
        let comparison = match *comparison {
            "<" => Comparison::Less,
            "<=" => Comparison::AtMost,
            ">" => Comparison::More,
            ">=" => Comparison::AtLeast,
            other => return Err(invalid(&format!("`{}` is none of <, <=, >, >=", shown(other, 8)))),
        };
        Ok(Self {
            metric: query.name.clone(),
            unit: query.unit,
            comparison,
            bound: bound(number, unit, query.unit, metric)?,
            lasting: lasting(time, range)?,
            text: words.join(" ").replace(" %", "%").replace(" / ", "/"),
        })
    }

    /// Whether a measurement is as it must be.
    pub(crate) fn is_met(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Less => value < self.bound,
            Comparison::AtMost => value <= self.bound,
            Comparison::More => value > self.bound,
            Comparison::AtLeast => value >= self.bound,
        }
    }

    /// The worse of two measurements.
    pub(crate) fn worse(&self, one: f64, other: f64) -> f64 {
        match self.comparison {
            Comparison::Less | Comparison::AtMost => one.max(other),
            Comparison::More | Comparison::AtLeast => one.min(other),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Its words: names, comparisons, numbers and units, whether there is a space between them or not.
fn words(text: &str) -> Vec<String> {
    #[derive(PartialEq)]
    enum Class {
        Word,
        Sign,
        Other,
    }
    let class = |c: char| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') => Class::Word,
        '<' | '>' | '=' => Class::Sign,
        _ => Class::Other,
    };
    let mut words: Vec<String> = Vec::new();
    let mut before = None;
    for c in text.chars() {
        if c == ' ' {
            before = None;
            continue;
        }
        let class = class(c);
        match words.last_mut() {
            Some(word) if before.as_ref() == Some(&class) => word.push(c),
            _ => words.push(c.to_string()),
        }
        before = Some(class);
    }
    words
}

/// The number, in the unit of the query.
fn bound(number: &str, unit: &[&str], of: Unit, metric: &str) -> Result<f64> {
    // `300ms` is one word, `1%` are two, `5/s` three.
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    let (digits, attached) = number.split_at(end);
    let unit = format!("{attached}{}", unit.concat());
    let plain = digits.split('.').all(|part| !part.is_empty()) && digits.matches('.').count() <= 1;
    let value = digits.parse::<f64>().ok().filter(|_| plain && digits.len() <= 15);
    let value = value.ok_or_else(|| invalid(&format!("`{}` is no number", shown(number, 20))))?;
    let (known, wanted): (Option<f64>, &str) = match of {
        Unit::Ratio => ((unit == "%").then_some(0.01), "`%`"),
        Unit::Seconds => (
            match unit.as_str() {
                "ms" => Some(0.001),
                "s" => Some(1.0),
                _ => None,
            },
            "`ms` or `s`",
        ),
        Unit::Bytes => (
            match unit.as_str() {
                "KiB" => Some(1024.0),
                "MiB" => Some(1024.0 * 1024.0),
                "GiB" => Some(1024.0 * 1024.0 * 1024.0),
                _ => None,
            },
            "`KiB`, `MiB` or `GiB`",
        ),
        Unit::PerSecond => (matches!(unit.as_str(), "" | "/s").then_some(1.0), "`/s`, or nothing"),
        Unit::Cores | Unit::None => (unit.is_empty().then_some(1.0), "nothing"),
    };
    let factor = known.ok_or_else(|| {
        let unit = if unit.is_empty() { "nothing".to_owned() } else { format!("`{}`", shown(&unit, 12)) };
        invalid(&format!("the number of `{metric}` is followed by {unit}, and must be by {wanted}"))
    })?;
    Ok(value * factor)
}

fn lasting(text: &str, range: Duration) -> Result<Duration> {
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).unwrap_or_default();
    let unit = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let digits = !number.is_empty() && number.len() <= 5 && number.bytes().all(|b| b.is_ascii_digit());
    let seconds = unit.filter(|_| digits).and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit));
    let lasting = seconds.map(Duration::from_secs);
    let lasting = lasting
        .ok_or_else(|| invalid(&format!("`{}` is no time such as `90s`, `2m` or `1h`", shown(text, 20))))?;
    if (range..=LONGEST).contains(&lasting) {
        return Ok(lasting);
    }
    let (least, most) = (range.as_secs(), LONGEST.as_secs() / 3600);
    Err(invalid(&format!("it must be for {least}s (`prometheus.check_seconds`) to {most}h")))
}

fn invalid(why: &str) -> Error {
    Error::new(Code::ToolArgumentsInvalid, format!("`check` is no condition that can be checked: {why}"))
        .with_remedy(format!("write it as `{EXAMPLE}`; `get_metrics` has the metrics that there are"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn parse(text: &str) -> Result<Condition> {
        Condition::parse(text, &Queries::new(Vec::new(), None).unwrap(), Duration::from_mins(1))
    }

    #[test]
    fn a_condition_reads_as_it_is_meant() {
        for (text, bound, seconds, told) in [
            ("error_rate < 1% for 2m", 0.01, 120, "error_rate < 1% for 2m"),
            ("error_rate<0.5 %for 90s", 0.005, 90, "error_rate < 0.5% for 90s"),
            ("p99 <= 300ms for 1h", 0.3, 3600, "p99 <= 300ms for 1h"),
            ("p99 <= 1.5 s for 1m", 1.5, 60, "p99 <= 1.5 s for 1m"),
            ("memory < 512MiB for 5m", 536_870_912.0, 300, "memory < 512MiB for 5m"),
            ("rate > 5/s for 60s", 5.0, 60, "rate > 5/s for 60s"),
            ("restarts <= 0 for 10m", 0.0, 600, "restarts <= 0 for 10m"),
        ] {
            let condition = parse(text).unwrap();
            assert!((condition.bound - bound).abs() < 1e-9, "{text}: {condition:?}");
            assert_eq!(
                (condition.lasting.as_secs(), condition.to_string().as_str()),
                (seconds, told),
                "{text}"
            );
        }
        for (text, met, unmet) in [
            ("restarts < 2 for 1m", 1.0, 2.0),
            ("restarts <= 2 for 1m", 2.0, 3.0),
            ("rate > 2 for 1m", 3.0, 2.0),
            ("rate >= 2 for 1m", 2.0, 1.0),
        ] {
            let condition = parse(text).unwrap();
            assert!(condition.is_met(met) && !condition.is_met(unmet), "{text}");
            assert!(!condition.is_met(f64::NAN), "{text}");
            assert!((condition.worse(met, unmet) - unmet).abs() < 1e-9, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_why() {
        for (text, why) in [
            ("", "not written"),
            ("error_rate < 1%", "not written"),
            ("error_rate < 1% for 2m and p99 < 1s for 2m", "must be by `%`"),
            ("error_rate for 2m", "not written"),
            ("errorrate < 1% for 2m", "no metric `errorrate`"),
            ("error_rate = 1% for 2m", "is none of"),
            ("error_rate =< 1% for 2m", "is none of"),
            ("error_rate < 1 for 2m", "followed by nothing, and must be by `%`"),
            ("error_rate < 1ms for 2m", "followed by `ms`"),
            ("p99 < 1% for 2m", "must be by `ms` or `s`"),
            ("memory < 5MB for 2m", "`KiB`, `MiB` or `GiB`"),
            ("restarts < 1% for 2m", "must be by nothing"),
            ("restarts < -1 for 2m", "is no number"),
            ("restarts < 1.2.3 for 2m", "is no number"),
            ("restarts < . for 2m", "is no number"),
            ("restarts < 1e3 for 2m", "followed by `e3`"),
            ("restarts < NaN for 2m", "is no number"),
            ("restarts < 1 for 2", "is no time"),
            ("restarts < 1 for 2d", "is no time"),
            ("restarts < 1 for m", "is no time"),
            ("restarts < 1 for 59s", "60s (`prometheus.check_seconds`) to 1h"),
            ("restarts < 1 for 61m", "to 1h"),
            ("restarts\n< 1 for 2m", "is none of"),
            ("restarts < 1 for ż", "is no time"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code, Code::ToolArgumentsInvalid, "{text}");
            assert!(error.message.contains(why), "{text}: {}", error.message);
        }
        let error = parse("error_rte < 1% for 2m").unwrap_err();
        assert_eq!(error.details["candidates"], serde_json::json!(["error_rate"]));
    }
}

//! Guardrails as they are configured.

use super::{Freeze, Guardrail, Recurrence, Rule, TargetPattern};
use crate::text::shown;
use crate::{Code, Error, Result, Timestamp, ToolName};
use jiff::SignedDuration;
use serde::Deserialize;

/// A table of the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    #[serde(default)]
    tools: Vec<ToolName>,
    #[serde(default)]
    targets: Vec<String>,
    freeze: Option<Times>,
    cool_down: Option<String>,
    budget: Option<Budget>,
    max_unavailable: Option<String>,
    disruption_budgets: Option<Regard>,
    gitops: Option<Permission>,
}

/// `{ cron = "0 16 * * FRI", lasts = "64h", time_zone = "Europe/Warsaw" }` or `{ from = "…", until = "…" }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Times {
    cron: Option<String>,
    lasts: Option<String>,
    time_zone: Option<String>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    runs: u32,
    per: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Regard {
    Respect,
    Ignore,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Permission {
    Allow,
    Refuse,
}

impl<'de> Deserialize<'de> for Guardrail {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Table::deserialize(deserializer)?.read().map_err(|error| serde::de::Error::custom(error.message))
    }
}

impl Table {
    fn read(self) -> Result<Guardrail> {
        let wrong =
            |what: &str| Error::new(Code::ConfigInvalid, format!("guardrail `{}`: {what}", self.name));
        if self.name.is_empty()
            || self.name.len() > 64
            || self.name.contains(|c: char| c.is_control() || c == '|')
        {
            return Err(wrong("its name must have 1 to 64 characters, and no `|`"));
        }
        let mut rules = Vec::new();
        rules.extend(self.freeze.as_ref().map(|times| times.read().map_err(|error| wrong(&error))));
        rules.extend(
            self.cool_down
                .as_deref()
                .map(|text| period("cool_down", text).map(Rule::CoolDown).map_err(|error| wrong(&error))),
        );
        rules.extend(self.budget.as_ref().map(|budget| budget.read().map_err(|error| wrong(&error))));
        rules.extend(self.max_unavailable.as_deref().map(|text| {
            let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
            let percent = percent.filter(|percent| *percent <= 100);
            percent.map(Rule::MaxUnavailable).ok_or_else(|| wrong("`max_unavailable` must be `0%` to `100%`"))
        }));
        rules.extend(
            self.disruption_budgets
                .as_ref()
                .map(|regard| Ok(Rule::DisruptionBudgets(matches!(regard, Regard::Respect)))),
        );
        rules.extend(self.gitops.as_ref().map(|may| Ok(Rule::GitOps(matches!(may, Permission::Refuse)))));
        let targets = self.targets.iter().map(|text| TargetPattern::parse(text)).collect::<Result<_>>();
        let targets = targets.map_err(|error| wrong(&error.message))?;
        match (rules.pop(), rules.is_empty()) {
            (Some(rule), true) => Ok(Guardrail { rule: rule?, name: self.name, tools: self.tools, targets }),
            _ => Err(wrong(
                "it must have exactly one of `freeze`, `cool_down`, `budget`, `max_unavailable`, \
                 `disruption_budgets` and `gitops`",
            )),
        }
    }
}

impl Times {
    fn read(&self) -> Result<Rule, String> {
        match self {
            Self { cron: Some(cron), lasts: Some(lasts), time_zone, from: None, until: None } => {
                let zone = time_zone.as_deref().unwrap_or("UTC");
                let lasts = period("freeze.lasts", lasts)?;
                let times = Recurrence::parse(cron, zone, lasts)?;
                Ok(Rule::Freeze(Freeze::Recurring(Box::new(times))))
            }
            Self { cron: None, lasts: None, time_zone: None, from: Some(from), until: Some(until) } => {
                if from >= until {
                    return Err("`freeze.until` must be after `freeze.from`".to_owned());
                }
                Ok(Rule::Freeze(Freeze::Once { from: *from, until: *until }))
            }
            _ => Err("`freeze` must have `cron` and `lasts`, with a `time_zone` unless it is UTC, or `from` and `until`"
                .to_owned()),
        }
    }
}

impl Budget {
    fn read(&self) -> Result<Rule, String> {
        if self.runs == 0 {
            return Err("`budget.runs` must be at least 1; a freeze allows none".to_owned());
        }
        Ok(Rule::Budget { runs: self.runs, per: period("budget.per", &self.per)? })
    }
}

/// A time such as `10m` or `64h`, up to a year.
fn period(key: &str, text: &str) -> Result<SignedDuration, String> {
    let period: SignedDuration =
        text.parse().map_err(|_| format!("`{key}` is `{}`, and no time such as `10m`", shown(text, 40)))?;
    if period >= SignedDuration::from_secs(1) && period <= SignedDuration::from_hours(24 * 366) {
        return Ok(period);
    }
    Err(format!("`{key}` is `{}`, and must be between a second and 366 days", shown(text, 40)))
}

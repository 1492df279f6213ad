//! `silence_alert`: alerts by name, by service or by labels, silent for a while, by one silence.

use super::{alert_target, facts_of, keep, kept, service_of};
use crate::alertmanager::alerts::{self, Service, count};
use crate::alertmanager::expire::{self, Ending};
use crate::alertmanager::matcher::{ALERT_NAME, MAX_VALUE, Matcher, check_value, told};
use crate::alertmanager::silence::{self, Intent, Receipt};
use crate::alertmanager::{Alert, Alertmanager, Job};
use crate::kubernetes::Cluster;
use crate::tools::kubernetes::{Subject, candidates, kind_schema, namespace_schema, service_schema, text};
use crate::tools::words::{fillers, kind_slot, list, namespace_slot, service_slot, slot, value};
use astradesk_core::text::{is_hidden, shown};
use astradesk_core::tool::{Grammar, Measure, Slot};
use astradesk_core::{
    Arguments, Code, Effect, Error, Facts, FrozenCall, Principal, Result, Target, ToolName, ToolSpec,
};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long it may take.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How long a dry run may ask.
const LOOK: Duration = Duration::from_secs(20);
/// The most matchers of a call.
const MOST_MATCHERS: usize = 10;

/// The tool `silence_alert`.
pub struct SilenceAlert {
    cluster: Cluster,
    alertmanager: Alertmanager,
    spec: Arc<ToolSpec>,
}

/// What a step is bound to: a silence as it is to be, or for an undo the one that is to end.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    Silence(Intent),
    End(Ending),
}

/// What a step has done.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Done {
    Silenced(Receipt),
    Ended(Ending),
}

/// What a call asks for.
#[derive(Debug)]
struct Wanted {
    alert: Option<String>,
    matchers: Vec<Matcher>,
    duration: Duration,
    comment: Option<String>,
}

impl SilenceAlert {
    /// The tool on an Alertmanager, which knows the services of a cluster.
    pub fn new(cluster: Cluster, alertmanager: Alertmanager) -> Result<Self> {
        let longest = alertmanager.max_silence().as_secs() / 60;
        let spec = ToolSpec {
            name: ToolName::parse("silence_alert")?,
            version: "1".to_owned(),
            description: "silences alerts for a while: those of a service, of a name, with certain labels, or all of that at \
                          once; succeeds once the silence is in force and suppresses them"
                .to_owned(),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["duration"],
                "properties": {
                    "service": service_schema(),
                    "namespace": namespace_schema(&cluster),
                    "kind": kind_schema(),
                    "alert": {
                        "type": "string",
                        "description": "the name of the alert",
                        "minLength": 1,
                        "maxLength": MAX_VALUE,
                    },
                    "matchers": {
                        "type": "array",
                        "description": "further conditions, each `label=value`, `label!=value`, or with an expression \
                                        (RE2, of the whole value) `label=~expression`, `label!~expression`",
                        "items": {"type": "string", "minLength": 3, "maxLength": 450},
                        "minItems": 1,
                        "maxItems": MOST_MATCHERS,
                    },
                    "duration": {
                        "type": "string",
                        "description": format!("for how long: `30m`, `2h`; `1m` to {longest} minutes"),
                        "maxLength": 6,
                        "pattern": "^[1-9][0-9]{0,4}[mhd]$",
                    },
                    "comment": {
                        "type": "string",
                        "description": "why, for whoever finds the silence",
                        "minLength": 1,
                        "maxLength": 500,
                    },
                },
                "dependentRequired": {"namespace": ["service"], "kind": ["service"]},
            }),
            timeout: TIMEOUT,
            grammar: grammar(),
        };
        Ok(Self { cluster, alertmanager, spec: Arc::new(spec) })
    }

    /// The matchers of a call. Which labels mean the service is seen from what fires now; the likeliest, if nothing does.
    async fn matchers(
        &self,
        wanted: &Wanted,
        service: Option<&Subject>,
        until: Instant,
    ) -> Result<Vec<Matcher>> {
        let mut matchers = wanted.matchers.clone();
        matchers.extend(wanted.alert.iter().map(|alert| Matcher::equal(ALERT_NAME, alert)));
        if let Some(Subject { namespace, name, .. }) = service {
            let firing = self.alertmanager.alerts(&matchers, until).await?;
            let ways = self.alertmanager.service_labels();
            let (namespace, name) = (namespace.as_str(), name.as_str());
            let fires = |way: &&crate::alertmanager::matcher::ServiceLabels| {
                firing.iter().any(|alert| way.mean(&alert.labels, namespace, name))
            };
            if let Some(way) = ways.iter().find(fires).or_else(|| ways.first()) {
                matchers.extend(way.matchers(namespace, name));
            }
        }
        matchers.sort();
        matchers.dedup();
        Ok(matchers)
    }

    /// The alerts of the service that fire and would not be silenced.
    async fn missed(
        &self,
        service: Option<&Subject>,
        silenced: &[Alert],
        until: Instant,
    ) -> Result<Vec<String>> {
        let Some(Subject { namespace, name, .. }) = service else { return Ok(Vec::new()) };
        let labels = self.alertmanager.service_labels();
        let service = Service { labels, namespace: namespace.as_str(), name: name.as_str() };
        let firing = self.alertmanager.alerts(&[], until).await?;
        let is_silenced = |alert: &Alert| silenced.iter().any(|other| other.fingerprint == alert.fingerprint);
        let missed =
            firing.iter().filter(|alert| service.has(alert) && !alert.is_suppressed() && !is_silenced(alert));
        Ok(alerts::names(missed))
    }

    /// The silence that a call asks for, as of now.
    async fn intent(&self, call: &FrozenCall, principal: &Principal, until: Instant) -> Result<Intent> {
        let wanted = wanted(&call.arguments)?;
        self.check_duration(&wanted)?;
        let service = service_of(&self.cluster, call).await?;
        let matchers = self.matchers(&wanted, service.as_ref(), until).await?;
        let ends_at = self.alertmanager.now().checked_add(wanted.duration);
        let ends_at = ends_at.map_err(|_| Error::internal("the clock has no such time"))?;
        let by = match &principal.actor {
            Some(actor) => format!("{} by {actor} (astradesk)", principal.subject),
            None => format!("{} (astradesk)", principal.subject),
        };
        Ok(Intent {
            matchers,
            ends_at,
            created_by: shown(&by, 200),
            comment: wanted.comment.unwrap_or_else(|| "silenced by AstraDesk".to_owned()),
        })
    }

    fn check_duration(&self, wanted: &Wanted) -> Result<()> {
        let longest = self.alertmanager.max_silence();
        if wanted.duration <= longest {
            return Ok(());
        }
        let minutes = |duration: Duration| duration.as_secs() / 60;
        let (asked, longest) = (minutes(wanted.duration), minutes(longest));
        let message =
            format!("a silence of {asked} minutes is longer than the {longest} minutes that it may last");
        Err(Error::new(Code::ToolArgumentsInvalid, message).with_remedy(
            "ask for less, or let `alertmanager.max_silence_minutes` in the configuration be changed",
        ))
    }

    async fn plan(&self, call: &FrozenCall) -> Result<Value> {
        let until = Instant::now() + LOOK;
        let wanted = wanted(&call.arguments)?;
        self.check_duration(&wanted)?;
        let service = service_of(&self.cluster, call).await?;
        let matchers = self.matchers(&wanted, service.as_ref(), until).await?;
        let fire = self.alertmanager.alerts(&matchers, until).await?;
        let missed = self.missed(service.as_ref(), &fire, until).await?;
        let now = match fire.len() {
            0 => "no alert that fires now".to_owned(),
            some => format!("{} now: {}", count(some), alerts::names(&fire).join(", ")),
        };
        let duration = text(&call.arguments, "duration").unwrap_or_default();
        Ok(json!({
            "summary": format!("would silence {} for {duration}: {now}{}", told(&matchers), also(&missed)),
            "matchers": matchers.iter().map(ToString::to_string).collect::<Value>(),
            "silences": alerts::names(&fire),
            "stay_loud": missed,
            "checked": "the Alertmanager was asked which alerts these matchers match",
        }))
    }
}

/// An alert cannot be named in a sentence: words lose their case there, and the names of alerts have one.
fn grammar() -> Grammar {
    let duration = value(Measure::Duration, "for, for the next, for another, na, przez, na czas", "");
    Grammar {
        phrases: list(
            "silence, mute, silence alerts, silence alerts of, silence alerts for, silence alerts on, silence the alerts, silence all \
             alerts of, silence all alerts for, mute alerts, mute alerts of, mute alerts for, mute the alerts, wycisz, wyciszyć, wycisz \
             alerty, wycisz alerty usługi, wyciszyć alerty, wyciszenie alertów",
        ),
        nouns: list("silence, mute"),
        slots: vec![
            Slot { required: false, ..service_slot() },
            namespace_slot(),
            kind_slot(),
            Slot { required: true, ..slot("duration", duration) },
        ],
        fillers: fillers("of, on, the, dla, od, w"),
    }
}

/// What of the service is heard still.
fn also(missed: &[String]) -> String {
    if missed.is_empty() {
        return String::new();
    }
    format!("; not silenced, with other labels: {}", missed.join(", "))
}

/// What the arguments ask for.
fn wanted(arguments: &Arguments) -> Result<Wanted> {
    let wrong = |why: String| Error::new(Code::ToolArgumentsInvalid, why);
    let alert = text(arguments, "alert").map(str::to_owned);
    if let Some(alert) = &alert {
        check_value(alert).map_err(|why| wrong(format!("the name of the alert {why}")))?;
    }
    let listed = arguments.get("matchers").and_then(Value::as_array);
    let listed = listed.into_iter().flatten().filter_map(Value::as_str);
    let matchers = listed.map(Matcher::parse).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let is_definite =
        alert.is_some() || arguments.contains_key("service") || matchers.iter().any(Matcher::is_definite);
    if !is_definite {
        let why = "nothing says which alerts are to be silent: a silence needs a service, the name of an alert, or a matcher \
                   `label=value`";
        return Err(wrong(why.to_owned()).with_remedy("say which; `check_alerts` tells what fires"));
    }
    let duration = text(arguments, "duration").and_then(duration);
    let duration = duration.ok_or_else(|| wrong("the duration is none".to_owned()))?;
    let comment = text(arguments, "comment").map(str::to_owned);
    if comment.as_deref().is_some_and(|comment| comment.chars().any(is_hidden)) {
        return Err(wrong("the comment has a character that nobody sees".to_owned()));
    }
    Ok(Wanted { alert, matchers, duration, comment })
}

/// A time as the schema lets it in: a number and `m`, `h` or `d`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).map(Duration::from_secs)
}

#[async_trait]
impl Tool for SilenceAlert {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        let wanted = wanted(arguments)?;
        Ok(vec![alert_target(&self.cluster, arguments, wanted.alert.as_deref()).await?])
    }

    async fn candidates(&self, argument: &str) -> Result<Vec<String>> {
        candidates(&self.cluster, argument).await
    }

    async fn facts(&self, call: &FrozenCall, now: bool) -> Result<Vec<Facts>> {
        facts_of(&self.cluster, call, now).await
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.check_duration(&wanted(&call.arguments)?)?;
        service_of(&self.cluster, call).await.map(drop)
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        self.plan(call).await
    }

    fn can_undo(&self) -> bool {
        true
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        let bound = match &step.undoes {
            None => Bound::Silence(self.intent(&step.call, &step.principal, step.deadline).await?),
            Some(undoes) => {
                let Ok(Done::Silenced(receipt)) = kept("receipt", undoes) else {
                    return Err(Error::internal("there is no silence that could be undone"));
                };
                Bound::End(Ending::of(&self.alertmanager.silence(&receipt.silence, step.deadline).await?))
            }
        };
        Ok(keep(&bound)?)
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let (alertmanager, job) = (&self.alertmanager, Job::of(step));
        let done = match kept("intent", &step.intent)? {
            Bound::Silence(intent) => Done::Silenced(silence::perform(alertmanager, &job, &intent).await?),
            Bound::End(ending) => Done::Ended(expire::perform(alertmanager, &job, &ending).await?),
        };
        Ok(keep(&done)?)
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        let (alertmanager, job) = (&self.alertmanager, Job::of(step));
        let receipt = match kept("receipt", receipt)? {
            Done::Silenced(receipt) => receipt,
            Done::Ended(ending) => return expire::verify(alertmanager, &job, &ending).await,
        };
        let mut output = silence::verify(alertmanager, &job, &receipt).await?;
        // What else of the service fires is good to know, and no part of the outcome.
        let service = Subject::of(&step.call).ok();
        let missed = self.missed(service.as_ref(), &[], step.deadline).await.unwrap_or_default();
        if let (Some(fields), false) = (output.as_object_mut(), missed.is_empty()) {
            let summary = fields.get("summary").and_then(Value::as_str).unwrap_or_default();
            let summary = format!("{summary}{}", also(&missed));
            fields.insert("summary".to_owned(), summary.into());
            fields.insert("stay_loud".to_owned(), missed.into());
        }
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &Value) -> Result<Wanted> {
        wanted(arguments.as_object().unwrap())
    }

    #[test]
    fn a_silence_says_which_alerts_it_is_for() {
        for arguments in [
            json!({"duration": "2h", "alert": "Down"}),
            json!({"duration": "2h", "service": "webapp"}),
            json!({"duration": "30m", "matchers": ["team=a", "severity=~warning|info"]}),
        ] {
            assert!(read(&arguments).is_ok(), "{arguments}");
        }
        for arguments in [
            json!({"duration": "2h"}),
            json!({"duration": "2h", "matchers": ["alertname=~.+"]}),
            json!({"duration": "2h", "matchers": ["alertname!=Watchdog"]}),
            json!({"duration": "2h", "matchers": ["alertname"]}),
            json!({"duration": "2h", "matchers": ["alertname="]}),
            json!({"duration": "2h", "alert": " "}),
            json!({"duration": "2h", "alert": "Do\u{202e}wn"}),
            json!({"duration": "2x", "alert": "Down"}),
            json!({"duration": "2h", "alert": "Down", "comment": "a\u{200b}b"}),
        ] {
            let error = read(&arguments).unwrap_err();
            assert_eq!(error.code, Code::ToolArgumentsInvalid, "{arguments}");
        }
        assert_eq!(
            read(&json!({"duration": "90m", "alert": "Down"})).unwrap().duration,
            Duration::from_mins(90)
        );
    }
}

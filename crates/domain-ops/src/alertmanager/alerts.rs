//! Which alerts fire, told within limits. What alerts and silences say of themselves is made safe.

use super::matcher::{self, ServiceLabels};
use super::{Alert, Group, Silence};
use astradesk_core::redact;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The most alerts that are told.
pub(crate) const MOST_ALERTS: usize = 100;
/// The most labels of an alert that are told.
const MOST_LABELS: usize = 20;
/// The most silences of an alert that are told.
const MOST_SILENCES: usize = 5;
/// The most characters of a label's value, and of a sentence.
const TEXT: usize = 200;

/// What a call asks for.
pub(crate) struct Service<'a> {
    pub(crate) labels: &'a [ServiceLabels],
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Service<'_> {
    /// Whether the alert is one of the service.
    pub(crate) fn has(&self, alert: &Alert) -> bool {
        self.labels.iter().any(|labels| labels.mean(&alert.labels, self.namespace, self.name))
    }
}

/// The groups with their alerts, those that somebody is notified of first.
pub(crate) fn report(groups: &[Group], service: Option<&Service<'_>>, silences: &[Silence]) -> Value {
    let wanted = |alert: &&Alert| service.is_none_or(|service| service.has(alert));
    let mut seen: BTreeMap<&str, &Alert> = BTreeMap::new();
    let mut rows = Vec::new();
    let mut shown = 0;
    for group in groups {
        let mut alerts: Vec<&Alert> = group.alerts.iter().filter(wanted).collect();
        seen.extend(alerts.iter().map(|alert| (alert.fingerprint.as_str(), *alert)));
        alerts.sort_by_key(|alert| (alert.is_suppressed(), alert.starts_at));
        alerts.truncate(MOST_ALERTS - shown);
        shown += alerts.len();
        if !alerts.is_empty() {
            rows.push(json!({
                "labels": labels(&group.labels),
                "receiver": redact::line(&group.receiver.name, TEXT),
                "alerts": alerts.iter().map(|alert| row(alert, silences)).collect::<Value>(),
            }));
        }
    }
    let all: usize = groups.iter().map(|group| group.alerts.iter().filter(wanted).count()).sum();
    let of = |suppressed: fn(&Alert) -> bool| seen.values().filter(|alert| suppressed(alert)).count();
    json!({
        "groups": rows,
        "firing": seen.len(),
        "silenced": of(|alert| !alert.status.silenced_by.is_empty()),
        "inhibited": of(|alert| !alert.status.inhibited_by.is_empty()),
        "left_out": all - shown,
    })
}

fn row(alert: &Alert, silences: &[Silence]) -> Value {
    let by = alert.status.silenced_by.iter().take(MOST_SILENCES).map(|id| {
        let silence = silences.iter().find(|silence| silence.id == *id);
        json!({
            "id": redact::line(id, 40),
            "by": silence.map(Silence::by),
            "comment": silence.map(|silence| redact::line(&silence.comment, TEXT)),
            "until": silence.map(|silence| silence.ends_at.to_string()),
        })
    });
    let said = ["summary", "description", "message"].iter().find_map(|name| alert.annotations.get(*name));
    json!({
        "alert": redact::line(alert.name(), TEXT),
        "state": redact::line(&alert.status.state, 20),
        "since": alert.starts_at.to_string(),
        "labels": labels(&alert.labels),
        "says": said.map(|said| redact::line(said, TEXT)),
        "silenced_by": by.collect::<Value>(),
        "inhibited_by": alert.status.inhibited_by.len(),
    })
}

fn labels(labels: &BTreeMap<String, String>) -> Value {
    let shown = labels.iter().filter(|(name, _)| *name != matcher::ALERT_NAME).take(MOST_LABELS);
    shown.map(|(name, value)| (redact::line(name, TEXT), Value::from(redact::line(value, TEXT)))).collect()
}

/// The alerts' names, each once with how many there are, safe to show.
pub(crate) fn names<'a>(alerts: impl IntoIterator<Item = &'a Alert>) -> Vec<String> {
    const MOST: usize = 20;
    let mut counted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for alert in alerts {
        counted.entry(alert.name()).or_default().insert(&alert.fingerprint);
    }
    let more = counted.len().saturating_sub(MOST);
    let told = counted.iter().take(MOST).map(|(name, alerts)| {
        let name = redact::line(name, TEXT);
        if alerts.len() == 1 { name } else { format!("{name} ({})", alerts.len()) }
    });
    told.chain((more > 0).then(|| format!("{more} more"))).collect()
}

/// `1 alert`, `2 alerts`.
pub(crate) fn count(alerts: usize) -> String {
    if alerts == 1 { "1 alert".to_owned() } else { format!("{alerts} alerts") }
}

#[cfg(test)]
mod tests {
    use super::super::testing::alert;
    use super::*;
    use crate::alertmanager::api::Receiver;

    fn group(alerts: Vec<Alert>) -> Group {
        Group { labels: BTreeMap::new(), receiver: Receiver { name: "team".to_owned() }, alerts }
    }

    #[test]
    fn alerts_of_a_service_are_told_and_others_are_not() {
        let labels = matcher::service_labels(&[
            "namespace={namespace},service={service}".to_owned(),
            "namespace={namespace},deployment={service}".to_owned(),
        ])
        .unwrap();
        let service = Service { labels: &labels, namespace: "default", name: "webapp" };
        let mut silenced = alert("Slow", &[("namespace", "default"), ("deployment", "webapp")]);
        silenced.status.state = "suppressed".to_owned();
        silenced.status.silenced_by = vec!["s-1".to_owned()];
        let groups = [
            group(vec![
                silenced.clone(),
                alert("Down", &[("namespace", "default"), ("service", "webapp")]),
                alert("Down", &[("namespace", "default"), ("service", "webapp-admin")]),
            ]),
            // The same alert, for another receiver.
            group(vec![silenced]),
            group(vec![alert("Down", &[("namespace", "shop"), ("service", "webapp")])]),
        ];
        let report = report(&groups, Some(&service), &[]);
        assert_eq!(
            (&report["firing"], &report["silenced"], &report["left_out"]),
            (&json!(2), &json!(1), &json!(0))
        );
        let names = report["groups"].as_array().unwrap().iter().map(|group| {
            let alerts = group["alerts"].as_array().unwrap();
            alerts.iter().map(|alert| alert["alert"].as_str().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(names.collect::<Vec<_>>(), [vec!["Down", "Slow"], vec!["Slow"]]);
    }

    #[test]
    fn what_is_told_is_bounded_and_safe() {
        let mut hostile = alert("Down\u{1b}[31m", &[("token", "abc"), ("url", "http://u:hunter2@x/")]);
        hostile.annotations.insert("summary".to_owned(), format!("password=hunter2\n{}", "x".repeat(5000)));
        let many: Vec<Alert> = (0..150).map(|n| alert("Many", &[("n", &n.to_string())])).collect();
        let report = report(&[group(vec![hostile]), group(many)], None, &[]);
        assert_eq!((&report["firing"], &report["left_out"]), (&json!(151), &json!(51)));
        let text = report.to_string();
        assert!(!text.contains("hunter2") && !text.contains("\\u001b"), "{text}");
        assert!(text.len() < 40_000, "{}", text.len());
    }
}

//! `check_alerts`: which alerts fire, of one service or of all, and what becomes of them.

use super::{alert_target, facts_of, service_of};
use crate::alertmanager::alerts::{self, Service, count};
use crate::alertmanager::{Alert, Alertmanager, Silence};
use crate::kubernetes::Cluster;
use crate::tools::kubernetes::{candidates, kind_schema, namespace_schema, service_schema};
use crate::tools::words::{fillers, kind_slot, list, namespace_slot, service_slot};
use astradesk_core::tool::{Grammar, Slot};
use astradesk_core::{Arguments, Effect, Facts, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The tool `check_alerts`.
pub struct CheckAlerts {
    cluster: Cluster,
    alertmanager: Alertmanager,
    spec: Arc<ToolSpec>,
}

impl CheckAlerts {
    /// The tool on an Alertmanager, which knows the services of a cluster.
    pub fn new(cluster: Cluster, alertmanager: Alertmanager) -> Result<Self> {
        let spec = ToolSpec {
            name: ToolName::parse("check_alerts")?,
            version: "1".to_owned(),
            description: "gives the alerts that fire, of a service or of all, in the groups in which they are notified, \
                          since when, and by whose silence they are not"
                .to_owned(),
            effect: Some(Effect::Read),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "service": service_schema(),
                    "namespace": namespace_schema(&cluster),
                    "kind": kind_schema(),
                },
                "dependentRequired": {"namespace": ["service"], "kind": ["service"]},
            }),
            timeout: Duration::from_secs(30),
            grammar: grammar(),
        };
        Ok(Self { cluster, alertmanager, spec: Arc::new(spec) })
    }

    async fn report(&self, call: &FrozenCall, deadline: Instant) -> Result<Value> {
        let subject = service_of(&self.cluster, call).await?;
        let groups = self.alertmanager.groups(deadline).await?;
        let service = subject.as_ref().map(|subject| Service {
            labels: self.alertmanager.service_labels(),
            namespace: subject.namespace.as_str(),
            name: subject.name.as_str(),
        });
        let mut alerts = groups.iter().flat_map(|group| &group.alerts);
        let is_silenced = |alert: &Alert| {
            !alert.status.silenced_by.is_empty() && service.as_ref().is_none_or(|service| service.has(alert))
        };
        let silences: Vec<Silence> =
            if alerts.any(is_silenced) { self.alertmanager.silences(deadline).await? } else { Vec::new() };
        let mut report = alerts::report(&groups, service.as_ref(), &silences);
        let of = subject.map_or_else(String::new, |subject| {
            format!(" of {}/{} in namespace `{}`", subject.kind, subject.name, subject.namespace)
        });
        let summary = summary(&report, &of);
        if let Some(fields) = report.as_object_mut() {
            fields.insert("summary".to_owned(), summary.into());
            fields.insert("observed_at".to_owned(), self.alertmanager.now().to_string().into());
        }
        Ok(report)
    }
}

fn summary(report: &Value, of: &str) -> String {
    let number = |key: &str| report.get(key).and_then(Value::as_u64).unwrap_or_default() as usize;
    let firing = number("firing");
    let fires = match firing {
        0 => return format!("no alert{of} fires"),
        1 => "fires",
        _ => "fire",
    };
    let more = [("silenced", "silenced"), ("inhibited", "inhibited"), ("left_out", "left out")];
    let more = more.iter().filter_map(|(key, word)| match number(key) {
        0 => None,
        some => Some(format!(", {some} {word}")),
    });
    format!("{}{of} {fires}{}", count(firing), more.collect::<String>())
}

fn grammar() -> Grammar {
    Grammar {
        phrases: list(
            "alerts, alerts of, alerts for, check alerts, check alerts of, check alerts for, check the alerts, firing alerts, which alerts \
             fire, which alerts are firing, what alerts are firing, what is alerting, alerty, alertów, alarmy, sprawdź alerty, \
             jakie alerty, jakie są alerty, jakie alerty ma",
        ),
        nouns: Vec::new(),
        slots: vec![Slot { required: false, ..service_slot() }, namespace_slot(), kind_slot()],
        fillers: fillers("of, for, on, dla, w, all, the, firing, current, aktywne, wszystkie"),
    }
}

#[async_trait]
impl Tool for CheckAlerts {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        Ok(vec![alert_target(&self.cluster, arguments, None).await?])
    }

    async fn candidates(&self, argument: &str) -> Result<Vec<String>> {
        candidates(&self.cluster, argument).await
    }

    async fn facts(&self, call: &FrozenCall, now: bool) -> Result<Vec<Facts>> {
        facts_of(&self.cluster, call, now).await
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let of: Vec<String> = call.targets.iter().map(ToString::to_string).collect();
        Ok(json!({"summary": format!("would look which alerts of {} fire", of.join(", "))}))
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        Ok(self.report(&step.call, step.deadline).await?)
    }
}

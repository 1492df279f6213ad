//! `get_service_status`: how a service is, the way an SRE would put it.
//!
//! The answer comes from the shared watches, and is derived again only after something in the namespace has
//! changed; only the logs of sick pods are fetched, and those of crashed containers once.

use super::read::{Read, Reading};
use super::words::{fillers, kind_slot, list, namespace_slot, service_slot};
use super::{Subject, kind_schema, namespace_schema, not_found, service_schema};
use crate::kubernetes::diagnosis::{self, Sick};
use crate::kubernetes::rollout::{Counts, Stage, stage};
use crate::kubernetes::scope::PATIENCE;
use crate::kubernetes::workload::{Family, Workload};
use crate::kubernetes::{Cluster, redact};
use astradesk_core::tool::Grammar;
use astradesk_core::{Effect, FrozenCall, Result, ToolName, ToolSpec};
use async_trait::async_trait;
use futures::future::join_all;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// The most sick pods, logs and warnings that are shown.
const SHOWN: (usize, usize, usize) = (20, 3, 10);

/// The tool `get_service_status`.
pub(super) struct GetServiceStatus;

/// What is derived from the watches.
struct Status {
    facts: Map<String, Value>,
    sick: Vec<Sick>,
}

impl GetServiceStatus {
    /// The tool on a cluster.
    pub(super) fn new(cluster: Cluster) -> Result<Reading<Self>> {
        let spec = ToolSpec {
            name: ToolName::parse("get_service_status")?,
            version: "1".to_owned(),
            description: "tells how a Deployment, StatefulSet or DaemonSet is: its replicas and rollout, its sick \
                          pods with their causes and last log lines, recent warnings, and who restarted it last"
                .to_owned(),
            effect: Some(Effect::Read),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["service"],
                "properties": {
                    "service": service_schema(),
                    "namespace": namespace_schema(&cluster),
                    "kind": kind_schema(),
                },
            }),
            timeout: Duration::from_secs(15),
            grammar: grammar(),
        };
        Ok(Reading::new(Self, cluster, spec))
    }
}

async fn with_logs(cluster: &Cluster, subject: &Subject, sick: &[Sick]) -> Value {
    let namespace = subject.namespace.as_str();
    let logs = join_all(sick.iter().take(SHOWN.1).map(|sick| cluster.log(namespace, sick))).await;
    let log = |index: usize| logs.get(index).map_or(&[][..], |log| log.as_slice());
    sick.iter().take(SHOWN.0).enumerate().map(|(index, sick)| sick.to_json(log(index))).collect()
}

fn grammar() -> Grammar {
    Grammar {
        phrases: list(
            "status, state, health, check, check on, how is, how's, how are, what is the status of, what's the status of, what \
             is the state of, what's the state of, stan, stanu, statusu, sprawdź, sprawdzić, sprawdźcie, co z, jak się ma, jak \
             tam, jaki jest stan, jaki jest status, jaki stan ma, jaki status ma, w jakim stanie jest",
        ),
        nouns: Vec::new(),
        slots: vec![service_slot(), namespace_slot(), kind_slot()],
        fillers: fillers("doing, current, aktualny, obecny, bieżący"),
    }
}

fn derive(workload: &Workload, family: &Family) -> Status {
    let sick = diagnosis::sick_pods(workload, family, false);
    let stage = stage(workload);
    let counts = Counts::of(workload, family);
    let restart = workload.restarted_at().map(|at| {
        let run = workload.restarting_run().map(|run| redact::line(run, 80));
        json!({
            "at": redact::line(at, 64),
            "run": run,
            "by": workload.restarted_by.as_ref().map(|change| change.manager.clone()),
        })
    });
    let facts = json!({
        "summary": summary(workload, &stage, &sick),
        "name": workload.name,
        "namespace": workload.namespace,
        "kind": workload.kind,
        "replicas": {
            "wanted": workload.wanted,
            "updated": workload.updated,
            "ready": workload.ready,
            "available": workload.available,
            "old": counts.old,
        },
        "rollout": stage.to_json(),
        "generation": workload.generation,
        "observed_generation": workload.observed_generation,
        "strategy": workload.strategy.as_str(),
        "revision": workload.revision,
        "images": workload.images,
        "sick_pods": [],
        "warnings": diagnosis::aggregate(&family.warnings, SHOWN.2),
        "last_restart": restart,
        "last_template_change": workload.changed_by.as_ref().map(|change| json!({
            "by": change.manager,
            "at": change.at.map(|at| at.to_string()),
        })),
    });
    let facts = match facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    };
    Status { facts, sick }
}

/// The one line that an SRE would write.
fn summary(workload: &Workload, stage: &Stage, sick: &[Sick]) -> String {
    let what = format!("{} in namespace `{}`", workload.title(), workload.namespace);
    let ready = format!("{} of {} pods available", workload.available, workload.wanted);
    let ill = match sick {
        [] => String::new(),
        [only] => format!("; pod `{}` {}", only.pod, only.clause),
        [first, others @ ..] => {
            format!("; pod `{}` {}, and {} more are not well", first.pod, first.clause, others.len())
        }
    };
    match stage {
        Stage::Complete if workload.wanted == 0 => format!("{what} is scaled to 0"),
        Stage::Complete if sick.is_empty() => format!("{what} is healthy: {ready}"),
        Stage::Complete => format!("{what} serves, but not every pod is well: {ready}{ill}"),
        Stage::Unavailable { available: 0, .. } => format!("{what} is down: {ready}{ill}"),
        Stage::Unavailable { .. } => format!("{what} is degraded: {ready}{ill}"),
        Stage::Unobserved => format!("{what} has just been changed: {ready}{ill}"),
        Stage::Paused => format!("the rollout of {what} is paused: {ready}{ill}"),
        Stage::InProgress { updated, of } => {
            format!("a rollout of {what} is in progress: {updated} of {of} pods updated, {ready}{ill}")
        }
        Stage::Stalled { reason } => {
            let reason = if sick.is_empty() { format!("; {reason}") } else { String::new() };
            format!("a rollout of {what} has stalled: {ready}{ill}{reason}")
        }
    }
}

#[async_trait]
impl Read for GetServiceStatus {
    fn told(&self, subject: &Subject) -> String {
        format!("would read the status of {subject}")
    }

    async fn read(&self, cluster: &Cluster, _: &FrozenCall, subject: &Subject, _: Instant) -> Result<Value> {
        let scope = cluster.scope(&subject.namespace);
        scope.ready(PATIENCE).await?;
        let Some(status) = scope.derived(subject.kind, subject.name.as_str(), derive) else {
            return Err(not_found(cluster, subject).await);
        };
        let mut facts = status.facts.clone();
        if !status.sick.is_empty() {
            facts.insert("sick_pods".to_owned(), with_logs(cluster, subject, &status.sick).await);
        }
        if let Some(error) = scope.without_warnings() {
            facts.insert("warnings_unavailable".to_owned(), error.message.into());
        }
        facts.insert("observed_at".to_owned(), cluster.now().to_string().into());
        Ok(Value::Object(facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::rollout::tests::{Shape, family, pod, workload};
    use crate::kubernetes::workload::{Container, Ended};

    #[test]
    fn a_status_says_what_an_sre_would() {
        let pods = |ready| (0..3).map(|i| pod(&format!("n{i}"), "new-rs", ready)).collect::<Vec<_>>();
        let healthy = derive(&workload(&Shape::default()), &family(pods(true)));
        assert_eq!(
            healthy.facts["summary"],
            "deployment/webapp in namespace `default` is healthy: 3 of 3 pods available"
        );
        assert_eq!(healthy.facts["last_restart"]["run"], "run-1/0");
        assert_eq!(healthy.facts["last_restart"]["by"], "astradesk");
        assert!(healthy.sick.is_empty());

        let mut subject = workload(&Shape::default());
        (subject.ready, subject.available) = (2, 2);
        let mut pods = pods(true);
        pods[1].ready = false;
        pods[1].containers = vec![Container {
            name: "app".into(),
            init: false,
            ready: false,
            restarts: 14,
            waiting: Some("CrashLoopBackOff".into()),
            message: None,
            ended: Some(Ended { exit_code: 137, reason: "OOMKilled".into() }),
            running: false,
        }];
        let degraded = derive(&subject, &family(pods));
        assert_eq!(
            degraded.facts["summary"],
            "deployment/webapp in namespace `default` is degraded: 2 of 3 pods available; pod `n1` crashes again \
             and again (14 restarts): container `app` ends with exit code 137 (OOMKilled)"
        );
        assert_eq!(degraded.sick[0].to_json(&["boom".into()])["log"][0], "boom");
    }
}

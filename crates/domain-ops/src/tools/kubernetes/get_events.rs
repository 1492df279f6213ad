//! `get_events`: what the cluster says has happened to a service and what belongs to it, or in a namespace.

use super::read::{Read, Reading};
use super::words::{fillers, kind_slot, list, namespace_slot, service_slot, since_slots, slot, value};
use super::{
    Subject, kind_schema, namespace_schema, namespace_target, not_found, seconds, service_schema,
    since_schema, text, workload_target,
};
use crate::kubernetes::Cluster;
use crate::kubernetes::events::{self, Found, Type, Wanted};
use crate::kubernetes::scope::PATIENCE;
use astradesk_core::target::Kind;
use astradesk_core::tool::{Form, Grammar, Measure, Slot};
use astradesk_core::{Arguments, Effect, FrozenCall, Result, Target, Timestamp, ToolName, ToolSpec};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// How many groups of events are given unless the call says otherwise, and at most.
const LIMIT: (usize, usize) = (50, 500);

/// The tool `get_events`.
pub(super) struct GetEvents;

impl GetEvents {
    /// The tool on a cluster.
    pub(super) fn new(cluster: Cluster) -> Result<Reading<Self>> {
        let spec = ToolSpec {
            name: ToolName::parse("get_events")?,
            version: "1".to_owned(),
            description: "gives the events of a Deployment, StatefulSet or DaemonSet, its ReplicaSets and its pods, or without a \
                          service the warnings of a namespace; the newest first, those that say the same together"
                .to_owned(),
            effect: Some(Effect::Read),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "service": service_schema(),
                    "namespace": namespace_schema(&cluster),
                    "kind": kind_schema(),
                    "since": since_schema("events"),
                    "type": {
                        "type": "string",
                        "description": "which events: `warning`, `normal` or `all`; unless it is given, `all` of a service, and \
                                        of a namespace each `warning`",
                        "enum": ["warning", "normal", "all"],
                    },
                    "limit": {
                        "type": "integer",
                        "description": format!(
                            "how many groups of events that say the same, the newest; {} unless it is given",
                            LIMIT.0,
                        ),
                        "minimum": 1,
                        "maximum": LIMIT.1,
                    },
                },
            }),
            timeout: Duration::from_secs(30),
            grammar: grammar(),
        };
        Ok(Reading::new(Self, cluster, spec))
    }
}

/// The ids of the service and of what belongs to it; none for a whole namespace.
async fn objects(cluster: &Cluster, subject: &Subject) -> Result<Option<HashSet<String>>> {
    if subject.kind == Kind::Namespace {
        return Ok(None);
    }
    let scope = cluster.scope(&subject.namespace);
    scope.ready(PATIENCE).await?;
    let Some((workload, family)) = scope.family(subject.kind, subject.name.as_str()) else {
        return Err(not_found(cluster, subject).await);
    };
    let sets = family.replica_sets.iter().map(|replicas| replicas.uid.clone());
    let pods = family.pods.iter().map(|pod| pod.uid.clone());
    Ok(Some(sets.chain(pods).chain([workload.uid.clone()]).collect()))
}

fn grammar() -> Grammar {
    let limit = value(Measure::Number, "last, the last, newest, ostatnie, ostatnich", "events of, events");
    let only = [
        ("only warnings", "warning"),
        ("warnings only", "warning"),
        ("tylko ostrzeżenia", "warning"),
        ("of every type", "all"),
        ("wszystkich typów", "all"),
    ];
    let only = Form::OneOf(only.iter().map(|(phrase, means)| ((*phrase).to_owned(), json!(means))).collect());
    let service = Slot { required: false, ..service_slot() };
    let slots = vec![service, namespace_slot(), kind_slot(), slot("limit", limit), slot("type", only)];
    Grammar {
        phrases: list(
            "events of, events for, events on, events in, events from, events since, show events, show the events, get events, \
             get the events, list events, list the events, zdarzenia, zdarzeń",
        ),
        nouns: Vec::new(),
        slots: [slots, since_slots()].concat(),
        fillers: fillers("from, z, dla, w, of, for, on, dawaj"),
    }
}

/// Which events a call asks for.
fn wanted(arguments: &Arguments, subject: &Subject, now: Timestamp) -> Wanted {
    let since = text(arguments, "since").and_then(seconds);
    let back = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
    let limit = arguments.get("limit").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    Wanted {
        since: since.and_then(|seconds| u64::try_from(seconds).ok()).map(back),
        only: match (text(arguments, "type"), subject.kind) {
            (Some("warning"), _) | (None, Kind::Namespace) => Some(Type::Warning),
            (Some("normal"), _) => Some(Type::Normal),
            (Some(_) | None, _) => None,
        },
        limit: limit.unwrap_or(LIMIT.0),
    }
}

/// What is not there, in plain words.
fn left_out(found: &Found) -> Vec<String> {
    let mut words = Vec::new();
    let older = found.all - found.groups.len();
    if older > 0 {
        words.push(format!("{older} older ones"));
    }
    if found.is_cut {
        words.push("some of the namespace's events: it has more than are looked at".to_owned());
    }
    words
}

fn place(subject: &Subject) -> String {
    match subject.kind {
        Kind::Namespace => format!("in namespace `{}`", subject.namespace),
        _ => format!("of {subject}"),
    }
}

fn summary(arguments: &Arguments, subject: &Subject, wanted: &Wanted, found: &Found) -> String {
    let place = place(subject);
    let what = |count: usize| {
        let one = count == 1;
        match wanted.only {
            Some(Type::Warning) => if one { "warning" } else { "warnings" }.to_owned(),
            Some(Type::Normal) => if one { "normal event" } else { "normal events" }.to_owned(),
            None => if one { "event" } else { "events" }.to_owned(),
        }
    };
    let back = text(arguments, "since").map_or_else(String::new, |since| format!(" of the last {since}"));
    let among = match (wanted.only, found.warnings) {
        (Some(_), _) | (None, 0) => String::new(),
        (None, 1) => ", 1 of them a warning".to_owned(),
        (None, n) => format!(", {n} of them warnings"),
    };
    let left_out = left_out(found);
    let rest =
        if left_out.is_empty() { String::new() } else { format!("; left out: {}", left_out.join(", ")) };
    match found.all {
        0 => format!("no {} {place}{back}{rest}", what(0)),
        n => format!("{n} different {} {place}{back}{among}{rest}", what(n)),
    }
}

#[async_trait]
impl Read for GetEvents {
    async fn target(&self, cluster: &Cluster, arguments: &Arguments) -> Result<Target> {
        if arguments.contains_key("service") {
            workload_target(cluster, arguments).await
        } else {
            namespace_target(cluster, arguments)
        }
    }

    fn told(&self, subject: &Subject) -> String {
        format!("would read the events {}", place(subject))
    }

    async fn read(
        &self,
        cluster: &Cluster,
        call: &FrozenCall,
        subject: &Subject,
        _: Instant,
    ) -> Result<Value> {
        let objects = objects(cluster, subject).await?;
        let now = cluster.now();
        let wanted = wanted(&call.arguments, subject, now);
        let found = events::read(cluster, &subject.namespace, &wanted, objects.as_ref()).await?;
        Ok(json!({
            "summary": summary(&call.arguments, subject, &wanted, &found),
            "events": found.groups,
            "total": found.all,
            "warnings_among_them": found.warnings,
            "left_out": left_out(&found),
            "observed_at": now.to_string(),
        }))
    }
}

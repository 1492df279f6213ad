//! The `Table` that kubectl prints: the columns of the kinds that people look at, name and age for the rest.

use crate::json::{Value, json};
use jiff::Timestamp;

use crate::object::{flag, int, is_deleting, list, name, pod_ready, text};
use crate::resource::Resource;

type Column = (&'static str, fn(&Value) -> String);

/// Objects of a kind as a table, with this list metadata. Each row carries its object's metadata, or (as kubectl
/// asks when it sorts) the whole of it.
pub(crate) fn of<'a>(
    resource: &Resource,
    objects: impl Iterator<Item = &'a Value>,
    metadata: &Value,
    whole: bool,
) -> Value {
    let columns = columns(resource);
    let definitions: Vec<Value> = columns
        .iter()
        .map(|(name, _)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({ "name": name, "type": "string", "format": format, "description": "", "priority": 0 })
        })
        .collect();
    let rows: Vec<Value> = objects
        .map(|object| {
            let cells: Vec<String> = columns.iter().map(|(_, cell)| cell(object)).collect();
            let partial = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata"),
            });
            json!({ "cells": cells, "object": if whole { object } else { &partial } })
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions, "rows": rows,
    })
}

fn columns(resource: &Resource) -> Vec<Column> {
    let mut columns: Vec<Column> = vec![("Name", |o| name(o).to_owned())];
    columns.extend::<Vec<Column>>(match resource.kind {
        "Pod" => vec![
            ("Ready", |o| {
                let statuses = list(o, "/status/containerStatuses");
                let ready = statuses.iter().filter(|c| flag(c, "/ready")).count();
                format!("{ready}/{}", list(o, "/spec/containers").len())
            }),
            ("Status", pod_status),
            ("Restarts", |o| {
                let statuses = list(o, "/status/containerStatuses");
                statuses.iter().map(|c| int(c, "/restartCount", 0)).sum::<i64>().to_string()
            }),
        ],
        "Deployment" => vec![
            ("Ready", |o| format!("{}/{}", number(o, "/status/readyReplicas"), number(o, "/spec/replicas"))),
            ("Up-to-date", |o| number(o, "/status/updatedReplicas")),
            ("Available", |o| number(o, "/status/availableReplicas")),
        ],
        "ReplicaSet" => vec![
            ("Desired", |o| number(o, "/spec/replicas")),
            ("Current", |o| number(o, "/status/replicas")),
            ("Ready", |o| number(o, "/status/readyReplicas")),
        ],
        "StatefulSet" => vec![("Ready", |o| {
            format!("{}/{}", number(o, "/status/readyReplicas"), number(o, "/spec/replicas"))
        })],
        "DaemonSet" => vec![
            ("Desired", |o| number(o, "/status/desiredNumberScheduled")),
            ("Current", |o| number(o, "/status/currentNumberScheduled")),
            ("Ready", |o| number(o, "/status/numberReady")),
            ("Up-to-date", |o| number(o, "/status/updatedNumberScheduled")),
            ("Available", |o| number(o, "/status/numberAvailable")),
        ],
        "PodDisruptionBudget" => vec![
            ("Min available", |o| limit(o, "/spec/minAvailable")),
            ("Max unavailable", |o| limit(o, "/spec/maxUnavailable")),
            ("Allowed disruptions", |o| number(o, "/status/disruptionsAllowed")),
        ],
        "Node" => vec![("Status", |o| {
            let ready = if pod_ready(o) { "Ready" } else { "NotReady" };
            let cordoned = if flag(o, "/spec/unschedulable") { ",SchedulingDisabled" } else { "" };
            format!("{ready}{cordoned}")
        })],
        "Namespace" => vec![("Status", |o| text(o, "/status/phase").to_owned())],
        "Event" => vec![
            ("Type", |o| text(o, "/type").to_owned()),
            ("Reason", |o| text(o, "/reason").to_owned()),
            ("Object", |o| {
                let kind = text(o, "/involvedObject/kind").to_lowercase();
                format!("{kind}/{}", text(o, "/involvedObject/name"))
            }),
            ("Message", |o| text(o, "/message").to_owned()),
        ],
        _ => vec![],
    });
    columns.push(("Age", |o| age(text(o, "/metadata/creationTimestamp"))));
    columns
}

fn number(object: &Value, pointer: &str) -> String {
    int(object, pointer, 0).to_string()
}

fn limit(budget: &Value, pointer: &str) -> String {
    match budget.pointer(pointer) {
        Some(Value::String(percent)) => percent.to_string(),
        Some(number) => number.to_string(),
        None => "N/A".into(),
    }
}

fn pod_status(pod: &Value) -> String {
    if is_deleting(pod) {
        return "Terminating".into();
    }
    let reason = list(pod, "/status/containerStatuses").iter().find_map(|c| {
        let waiting = text(c, "/state/waiting/reason");
        let reason = if waiting.is_empty() { text(c, "/state/terminated/reason") } else { waiting };
        (!reason.is_empty()).then_some(reason)
    });
    reason.unwrap_or_else(|| text(pod, "/status/phase")).to_owned()
}

fn age(since: &str) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return "<unknown>".into() };
    match Timestamp::now().duration_since(since).as_secs().max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

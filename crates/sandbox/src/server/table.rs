//! The `Table` that kubectl prints, cell by cell as the real server's (`pkg/printers/internalversion/printers.go` of
//! Kubernetes): the columns of the kinds that people look at, name and age for the rest.

mod access;
mod ingresses;
mod pods;
mod quotas;
mod words;

use crate::json::{Map, Value, json};

use crate::object::{condition, condition_true, controller, flag, int, list, name, strings, text};
use crate::resource::Resource;
use words::{age, images, labels, names, or_none, selector};

/// A column, and what of an object it shows.
struct Column {
    name: &'static str,
    kind: &'static str,
    /// Shown only when more is asked for (`-o wide`).
    wide: bool,
    cell: fn(&Value) -> Value,
}

impl Column {
    const fn text(name: &'static str, cell: fn(&Value) -> Value) -> Column {
        Column { name, kind: "string", wide: false, cell }
    }

    const fn number(name: &'static str, cell: fn(&Value) -> Value) -> Column {
        Column { name, kind: "integer", wide: false, cell }
    }

    const fn wide(name: &'static str, cell: fn(&Value) -> Value) -> Column {
        Column { name, kind: "string", wide: true, cell }
    }

    fn definition(&self) -> Value {
        let format = if self.name == "Name" { "name" } else { "" };
        json!({
            "name": self.name, "type": self.kind, "format": format, "description": "",
            "priority": i32::from(self.wide),
        })
    }
}

/// Objects of a kind as a table, with this list metadata. Each row carries its object's metadata, or (as kubectl
/// asks when it sorts) the whole of it.
pub(crate) fn of<'a>(
    resource: &Resource,
    objects: impl Iterator<Item = &'a Value>,
    metadata: &Value,
    whole: bool,
) -> Value {
    let columns = columns(resource);
    let definitions: Vec<Value> = columns.iter().map(Column::definition).collect();
    let rows: Vec<Value> = objects
        .map(|object| {
            let cells: Vec<Value> = columns.iter().map(|column| (column.cell)(object)).collect();
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

const NAME: Column = Column::text("Name", |o| name(o).into());
const AGE: Column = Column::text("Age", |o| age(o, "/metadata/creationTimestamp").into());
const CONTAINERS: Column = Column::wide("Containers", |o| names(o).into());
const IMAGES: Column = Column::wide("Images", |o| images(o).into());
const SELECTOR: Column = Column::wide("Selector", |o| or_none(&selector(o.pointer("/spec/selector"))).into());
const READY_OF_WANTED: Column = Column::text("Ready", |o| {
    format!("{}/{}", int(o, "/status/readyReplicas", 0), int(o, "/spec/replicas", 0)).into()
});

fn columns(resource: &Resource) -> Vec<Column> {
    match resource.kind {
        "Pod" => pods::columns(),
        "Deployment" => vec![
            NAME,
            READY_OF_WANTED,
            Column::number("Up-to-date", |o| count(o, "/status/updatedReplicas")),
            Column::number("Available", |o| count(o, "/status/availableReplicas")),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        "ReplicaSet" => vec![
            NAME,
            Column::number("Desired", |o| count(o, "/spec/replicas")),
            Column::number("Current", |o| count(o, "/status/replicas")),
            Column::number("Ready", |o| count(o, "/status/readyReplicas")),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        "StatefulSet" => vec![NAME, READY_OF_WANTED, AGE, CONTAINERS, IMAGES],
        "DaemonSet" => vec![
            NAME,
            Column::number("Desired", |o| count(o, "/status/desiredNumberScheduled")),
            Column::number("Current", |o| count(o, "/status/currentNumberScheduled")),
            Column::number("Ready", |o| count(o, "/status/numberReady")),
            Column::number("Up-to-date", |o| count(o, "/status/updatedNumberScheduled")),
            Column::number("Available", |o| count(o, "/status/numberAvailable")),
            Column::text("Node Selector", |o| labels(&strings(o, "/spec/template/spec/nodeSelector")).into()),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        "ControllerRevision" => vec![
            NAME,
            Column::text("Controller", controller_name),
            Column::text("Revision", |o| count(o, "/revision")),
            AGE,
        ],
        "PodDisruptionBudget" => vec![
            NAME,
            Column::text("Min Available", |o| limit(o, "/spec/minAvailable")),
            Column::text("Max Unavailable", |o| limit(o, "/spec/maxUnavailable")),
            Column::number("Allowed Disruptions", |o| count(o, "/status/disruptionsAllowed")),
            AGE,
        ],
        "HorizontalPodAutoscaler" => vec![
            NAME,
            Column::text("Reference", |o| {
                let at = |field: &str| text(o, &format!("/spec/scaleTargetRef/{field}"));
                format!("{}/{}", at("kind"), at("name")).into()
            }),
            Column::text("Targets", |o| match int(o, "/spec/targetCPUUtilizationPercentage", 0) {
                0 => "<none>".into(),
                share => format!("<unknown>/{share}%").into(),
            }),
            Column::text("MinPods", |o| int(o, "/spec/minReplicas", 1).to_string().into()),
            Column::number("MaxPods", |o| count(o, "/spec/maxReplicas")),
            Column::number("Replicas", |o| count(o, "/status/currentReplicas")),
            AGE,
        ],
        "Node" => node(),
        "Namespace" => vec![NAME, Column::text("Status", |o| text(o, "/status/phase").into()), AGE],
        "Service" => vec![
            NAME,
            Column::text("Type", |o| text(o, "/spec/type").into()),
            Column::text("Cluster-IP", |o| or_none(text(o, "/spec/clusterIP")).into()),
            Column::text("External-IP", external_address),
            Column::text("Port(s)", ports),
            AGE,
            Column::wide("Selector", |o| labels(&strings(o, "/spec/selector")).into()),
        ],
        "ConfigMap" => vec![NAME, Column::text("Data", entries), AGE],
        "Event" => event(),
        "Ingress" => ingresses::columns(),
        "ResourceQuota" => quotas::columns(),
        "Role" | "ClusterRole" => access::roles(),
        "RoleBinding" | "ClusterRoleBinding" => access::bindings(),
        "ServiceAccount" => access::service_accounts(),
        _ => vec![NAME, AGE],
    }
}

fn node() -> Vec<Column> {
    vec![
        NAME,
        Column::text("Status", |o| {
            let ready = match condition(o, "Ready") {
                Some(_) if condition_true(o, "Ready") => "Ready",
                Some(_) => "NotReady",
                None => "Unknown",
            };
            let cordoned = if flag(o, "/spec/unschedulable") { ",SchedulingDisabled" } else { "" };
            format!("{ready}{cordoned}").into()
        }),
        Column::text("Roles", |o| {
            let labels = strings(o, "/metadata/labels");
            let roles = labels.keys().filter_map(|key| key.strip_prefix("node-role.kubernetes.io/"));
            or_none(&roles.collect::<Vec<_>>().join(",")).into()
        }),
        AGE,
        Column::text("Version", |o| text(o, "/status/nodeInfo/kubeletVersion").into()),
        Column::wide("Internal-IP", |o| node_address(o, "InternalIP")),
        Column::wide("External-IP", |o| node_address(o, "ExternalIP")),
        Column::wide("OS-Image", |o| or_unknown(text(o, "/status/nodeInfo/osImage"))),
        Column::wide("Kernel-Version", |o| or_unknown(text(o, "/status/nodeInfo/kernelVersion"))),
        Column::wide("Container-Runtime", |o| {
            or_unknown(text(o, "/status/nodeInfo/containerRuntimeVersion"))
        }),
    ]
}

fn event() -> Vec<Column> {
    vec![
        Column::text("Last Seen", |o| age(o, "/lastTimestamp").into()),
        Column::text("Type", |o| text(o, "/type").into()),
        Column::text("Reason", |o| text(o, "/reason").into()),
        Column::text("Object", |o| {
            let kind = text(o, "/involvedObject/kind").to_lowercase();
            format!("{kind}/{}", text(o, "/involvedObject/name")).into()
        }),
        Column::wide("Subobject", |o| text(o, "/involvedObject/fieldPath").into()),
        Column::wide("Source", |o| match (text(o, "/source/component"), text(o, "/source/host")) {
            (component, "") => component.into(),
            (component, host) => format!("{component}, {host}").into(),
        }),
        Column::text("Message", |o| text(o, "/message").trim().into()),
        Column::wide("First Seen", |o| age(o, "/firstTimestamp").into()),
        Column::wide("Count", |o| int(o, "/count", 1).into()),
        Column { wide: true, ..NAME },
    ]
}

fn count(object: &Value, pointer: &str) -> Value {
    int(object, pointer, 0).into()
}

fn limit(budget: &Value, pointer: &str) -> Value {
    let limit = budget.pointer(pointer);
    limit.map_or("N/A".into(), |limit| limit.as_i64().map_or(limit.clone(), |count| count.to_string().into()))
}

fn or_unknown(text: &str) -> Value {
    if text.is_empty() { "<unknown>".into() } else { text.into() }
}

/// `statefulset.apps/ledger`
fn controller_name(object: &Value) -> Value {
    let Some(owner) = controller(object) else { return "<none>".into() };
    let kind = text(owner, "/kind").to_lowercase();
    let group = text(owner, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{}", text(owner, "/name")).into()
}

fn node_address(node: &Value, kind: &str) -> Value {
    let address = list(node, "/status/addresses").iter().find(|address| text(address, "/type") == kind);
    or_none(address.map_or("", |address| text(address, "/address"))).into()
}

fn external_address(service: &Value) -> Value {
    let given: Vec<&str> = list(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").into(),
        "LoadBalancer" if given.is_empty() => "<pending>".into(),
        _ => or_none(&given.join(",")).into(),
    }
}

/// `80/TCP,443:30443/TCP`
fn ports(service: &Value) -> Value {
    let ports = list(service, "/spec/ports").iter().map(|port| {
        let (number, protocol) = (int(port, "/port", 0), text(port, "/protocol"));
        match int(port, "/nodePort", 0) {
            0 => format!("{number}/{protocol}"),
            node => format!("{number}:{node}/{protocol}"),
        }
    });
    or_none(&ports.collect::<Vec<_>>().join(",")).into()
}

fn entries(map: &Value) -> Value {
    let of = |field: &str| map.get(field).and_then(Value::as_object).map_or(0, Map::len);
    (of("data") + of("binaryData")).into()
}

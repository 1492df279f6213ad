//! What the server says about itself.

use crate::json::{Value, json};
use axum::Json;

use super::reviews::Review;
use super::status::Status;
use crate::resource;

const GROUPS: [&str; 7] = [
    "apps",
    "autoscaling",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "authorization.k8s.io",
    "authentication.k8s.io",
];
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

pub(crate) fn version() -> Json<Value> {
    Json(json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.0+astradesk-sandbox", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }))
}

pub(crate) fn versions() -> Json<Value> {
    Json(json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }))
}

pub(crate) fn groups() -> Json<Value> {
    let groups: Vec<Value> = GROUPS.into_iter().map(describe_group).collect();
    Json(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
}

pub(crate) fn group(name: &str) -> Result<Json<Value>, Status> {
    if !GROUPS.contains(&name) {
        return Err(Status::unknown_path());
    }
    let mut group = describe_group(name);
    crate::object::set(&mut group, &["kind"], "APIGroup");
    crate::object::set(&mut group, &["apiVersion"], "v1");
    Ok(Json(group))
}

fn describe_group(name: &str) -> Value {
    let older = resource::ALL.into_iter().filter(|resource| resource.group == name).find_map(|r| r.older);
    let versions: Vec<Value> = std::iter::once("v1")
        .chain(older)
        .map(|version| json!({ "groupVersion": format!("{name}/{version}"), "version": version }))
        .collect();
    json!({ "name": name, "versions": versions, "preferredVersion": versions.first() })
}

fn serves(group: &str, version: &str) -> bool {
    let of_a_kind = |resource: &&resource::Resource| {
        resource.group == group && resource.versions().any(|served| served == version)
    };
    resource::ALL.iter().any(of_a_kind) || (GROUPS.contains(&group) && version == "v1")
}

pub(crate) fn resources(group: &str, version: &str) -> Result<Json<Value>, Status> {
    if !serves(group, version) {
        return Err(Status::unknown_path());
    }
    let mut served = Vec::new();
    for resource in resource::ALL.into_iter().filter(|resource| resource.group == group) {
        let entry = |name: String, kind: &str, verbs: &[&str]| {
            json!({
                "name": name, "singularName": "", "namespaced": resource.namespaced, "kind": kind, "verbs": verbs,
            })
        };
        let mut main = entry(resource.plural.into(), resource.kind, &VERBS);
        crate::object::set(&mut main, &["singularName"], resource.kind.to_lowercase());
        if !resource.short_names.is_empty() {
            crate::object::set(&mut main, &["shortNames"], resource.short_names.to_vec());
        }
        if matches!(
            resource.kind,
            "Pod" | "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Service"
        ) {
            crate::object::set(&mut main, &["categories"], vec!["all"]);
        }
        served.push(main);
        if resource.status {
            served.push(entry(
                format!("{}/status", resource.plural),
                resource.kind,
                &["get", "patch", "update"],
            ));
        }
        if resource.scale {
            let mut scale = entry(format!("{}/scale", resource.plural), "Scale", &["get", "patch", "update"]);
            crate::object::set(&mut scale, &["group"], "autoscaling");
            crate::object::set(&mut scale, &["version"], "v1");
            served.push(scale);
        }
        if resource.kind == "Pod" {
            let mut eviction = entry("pods/eviction".into(), "Eviction", &["create"]);
            crate::object::set(&mut eviction, &["group"], "policy");
            crate::object::set(&mut eviction, &["version"], "v1");
            served.push(eviction);
            served.push(entry("pods/log".into(), "Pod", &["get"]));
        }
        if resource.kind == "ServiceAccount" {
            served.push(entry("serviceaccounts/token".into(), "TokenRequest", &["create"]));
        }
    }
    served.extend(Review::describe(group));
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(Json(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": served,
    })))
}

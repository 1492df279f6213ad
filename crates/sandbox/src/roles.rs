//! The roles that every cluster begins with, as far as the kinds go that are served here, and who is bound to them.

use crate::json::{Value, json};
use crate::server::{ADMINISTRATORS, AUTHENTICATED, UNAUTHENTICATED};

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];
const ALL: [&str; 1] = ["*"];

/// What `view` reads: all that is in a namespace, except who may do what.
const CONTENT: [(&str, &[&str]); 5] = [
    (
        "",
        &[
            "configmaps",
            "events",
            "namespaces",
            "namespaces/status",
            "pods",
            "pods/log",
            "pods/status",
            "serviceaccounts",
            "services",
            "services/status",
        ],
    ),
    (
        "apps",
        &[
            "controllerrevisions",
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ],
    ),
    ("networking.k8s.io", &["ingresses", "ingresses/status"]),
    ("autoscaling", &["horizontalpodautoscalers", "horizontalpodautoscalers/status"]),
    ("policy", &["poddisruptionbudgets", "poddisruptionbudgets/status"]),
];

/// What `edit` also writes.
const EDITED: [(&str, &[&str]); 5] = [
    (
        "",
        &[
            "configmaps",
            "events",
            "pods",
            "pods/eviction",
            "serviceaccounts",
            "serviceaccounts/token",
            "services",
        ],
    ),
    (
        "apps",
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
    ),
    ("networking.k8s.io", &["ingresses"]),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("policy", &["poddisruptionbudgets"]),
];

/// The roles and their bindings.
pub(crate) fn defaults() -> Vec<Value> {
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let urls = |urls: &[&str], verbs: &[&str]| json!({ "nonResourceURLs": urls, "verbs": verbs });
    let view: Vec<Value> = CONTENT.iter().map(|(group, all)| rule(group, all, &READ)).collect();
    let edit: Vec<Value> = EDITED.iter().map(|(group, some)| rule(group, some, &WRITE)).collect();
    let edit = [view.clone(), edit, vec![rule("", &["serviceaccounts"], &["impersonate"])]].concat();
    let governed = [
        rule("rbac.authorization.k8s.io", &["rolebindings", "roles"], &[&READ[..], &WRITE[..]].concat()),
        rule("authorization.k8s.io", &["localsubjectaccessreviews"], &["create"]),
    ];
    let admin = [edit.clone(), governed.to_vec()].concat();
    let asks = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    let basic = [
        rule("authorization.k8s.io", &asks, &["create"]),
        rule("authentication.k8s.io", &["selfsubjectreviews"], &["create"]),
    ];
    let public = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let told = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"];
    let administrator = [rule("*", &ALL, &ALL), urls(&ALL, &ALL)];
    vec![
        role("cluster-admin", &administrator),
        role("admin", &admin),
        role("edit", &edit),
        role("view", &view),
        role("system:basic-user", &basic),
        role("system:discovery", &[urls(&[&told[..], &public[..]].concat(), &["get"])]),
        role("system:public-info-viewer", &[urls(&public, &["get"])]),
        binding("cluster-admin", &[ADMINISTRATORS]),
        binding("system:basic-user", &[AUTHENTICATED]),
        binding("system:discovery", &[AUTHENTICATED]),
        binding("system:public-info-viewer", &[AUTHENTICATED, UNAUTHENTICATED]),
    ]
}

fn role(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata(name),
        "rules": rules,
    })
}

fn binding(role: &str, groups: &[&str]) -> Value {
    let api_group = "rbac.authorization.k8s.io";
    let subject = |name: &&str| json!({ "apiGroup": api_group, "kind": "Group", "name": name });
    let subjects: Vec<Value> = groups.iter().map(subject).collect();
    json!({
        "apiVersion": format!("{api_group}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata(role),
        "roleRef": { "apiGroup": api_group, "kind": "ClusterRole", "name": role },
        "subjects": subjects,
    })
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" } })
}

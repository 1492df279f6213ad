//! What the API server does to an object on its way in: defaults, and the basic checks.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::json::{Value, json};

use crate::object::{default, int, list, name, namespace, set, strings, text};
use crate::resource::{RBAC_GROUP, Resource};

/// What is wrong: the field's path, and the words of the real server.
pub(crate) type Causes = Vec<(String, String)>;

/// Fills in the defaults that clients and controllers rely on.
pub(crate) fn apply_defaults(resource: &Resource, object: &mut Value) {
    match resource.kind {
        "Pod" => {
            pod_defaults(object, &["spec"]);
            default(object, &["status", "phase"], "Pending");
            default(object, &["status", "qosClass"], qos_class(object));
        }
        "Service" => service_defaults(object),
        "Namespace" => {
            let name = text(object, "/metadata/name").to_owned();
            set(object, &["metadata", "labels", "kubernetes.io/metadata.name"], name);
            default(object, &["spec", "finalizers"], vec!["kubernetes"]);
            default(object, &["status", "phase"], "Active");
        }
        "Deployment" => {
            default(object, &["spec", "replicas"], 1);
            default(object, &["spec", "revisionHistoryLimit"], 10);
            default(object, &["spec", "progressDeadlineSeconds"], 600);
            default(object, &["spec", "strategy", "type"], "RollingUpdate");
            if text(object, "/spec/strategy/type") == "RollingUpdate" {
                default(object, &["spec", "strategy", "rollingUpdate", "maxSurge"], "25%");
                default(object, &["spec", "strategy", "rollingUpdate", "maxUnavailable"], "25%");
            }
            pod_defaults(object, &["spec", "template", "spec"]);
        }
        "ReplicaSet" => {
            default(object, &["spec", "replicas"], 1);
            pod_defaults(object, &["spec", "template", "spec"]);
        }
        "StatefulSet" => {
            default(object, &["spec", "replicas"], 1);
            default(object, &["spec", "revisionHistoryLimit"], 10);
            default(object, &["spec", "podManagementPolicy"], "OrderedReady");
            default(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
            if text(object, "/spec/updateStrategy/type") == "RollingUpdate" {
                default(object, &["spec", "updateStrategy", "rollingUpdate", "partition"], 0);
            }
            pod_defaults(object, &["spec", "template", "spec"]);
        }
        "DaemonSet" => {
            default(object, &["spec", "revisionHistoryLimit"], 10);
            default(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
            if text(object, "/spec/updateStrategy/type") == "RollingUpdate" {
                default(object, &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"], 1);
                default(object, &["spec", "updateStrategy", "rollingUpdate", "maxSurge"], 0);
            }
            pod_defaults(object, &["spec", "template", "spec"]);
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            default(object, &["roleRef", "apiGroup"], RBAC_GROUP);
            for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
                if matches!(text(subject, "/kind"), "User" | "Group") {
                    default(subject, &["apiGroup"], RBAC_GROUP);
                }
            }
        }
        _ => {}
    }
}

/// A service has an address from the start; nothing answers there.
fn service_defaults(service: &mut Value) {
    default(service, &["spec", "type"], "ClusterIP");
    default(service, &["spec", "sessionAffinity"], "None");
    if text(service, "/spec/type") != "ExternalName" {
        let mut hasher = DefaultHasher::new();
        (namespace(service), name(service)).hash(&mut hasher);
        let number = hasher.finish();
        let address = format!("10.96.{}.{}", number % 256, number / 256 % 254 + 1);
        default(service, &["spec", "clusterIP"], address);
        default(service, &["spec", "clusterIPs"], vec![text(service, "/spec/clusterIP").to_owned()]);
    }
    for port in service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        default(port, &["protocol"], "TCP");
        default(port, &["targetPort"], int(port, "/port", 0));
    }
}

fn pod_defaults(object: &mut Value, path: &[&str]) {
    let at = |field: &'static str| -> Vec<&str> { path.iter().copied().chain([field]).collect() };
    default(object, &at("restartPolicy"), "Always");
    default(object, &at("terminationGracePeriodSeconds"), 30);
    default(object, &at("dnsPolicy"), "ClusterFirst");
    default(object, &at("schedulerName"), "default-scheduler");
    default(object, &at("securityContext"), json!({}));
    let pointer: String = path.iter().flat_map(|key| ["/", key]).collect();
    for containers in ["containers", "initContainers"] {
        let containers = object.pointer_mut(&format!("{pointer}/{containers}"));
        for container in containers.and_then(Value::as_array_mut).into_iter().flatten() {
            let image = text(container, "/image");
            let tag = image.rsplit('/').next().unwrap_or(image);
            let latest = !tag.contains(':') || tag.ends_with(":latest");
            default(container, &["imagePullPolicy"], if latest { "Always" } else { "IfNotPresent" });
            default(container, &["terminationMessagePath"], "/dev/termination-log");
            default(container, &["terminationMessagePolicy"], "File");
            default(container, &["resources"], json!({}));
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                default(port, &["protocol"], "TCP");
            }
        }
    }
}

fn qos_class(pod: &Value) -> &'static str {
    let containers = list(pod, "/spec/containers");
    let has = |container: &Value, kind: &str| {
        container
            .pointer(&format!("/resources/{kind}"))
            .and_then(Value::as_object)
            .is_some_and(|m| !m.is_empty())
    };
    if containers
        .iter()
        .all(|c| has(c, "limits") && c.pointer("/resources/limits") == c.pointer("/resources/requests"))
    {
        "Guaranteed"
    } else if containers.iter().any(|c| has(c, "limits") || has(c, "requests")) {
        "Burstable"
    } else {
        "BestEffort"
    }
}

/// Checks an object that is about to be stored, against the one that it replaces if there is one.
pub(crate) fn validate(resource: &Resource, before: Option<&Value>, object: &Value) -> Causes {
    let mut causes = Causes::new();
    let name = text(object, "/metadata/name");
    if name.is_empty() {
        causes.push(("metadata.name".into(), "Required value: name or generateName is required".into()));
    } else if let Some(why) = if resource.group == RBAC_GROUP { bad_segment(name) } else { bad_name(name) } {
        causes.push(("metadata.name".into(), format!("Invalid value: \"{name}\": {why}")));
    }
    match resource.kind {
        "Pod" => {
            containers(object, "/spec", "spec", &mut causes);
            if let Some(before) = before
                && without_images(before) != without_images(object)
            {
                let why = "Forbidden: pod updates may not change fields other than \
                           `spec.containers[*].image`,`spec.initContainers[*].image`,\
                           `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
                           tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it \
                           was previously negative)";
                causes.push(("spec".into(), why.into()));
            }
        }
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => workload(before, object, &mut causes),
        "PodDisruptionBudget" => disruption_budget(object, &mut causes),
        "RoleBinding" | "ClusterRoleBinding" => binding(before, object, &mut causes),
        _ => {}
    }
    causes
}

fn disruption_budget(object: &Value, causes: &mut Causes) {
    let limits =
        ["minAvailable", "maxUnavailable"].map(|field| (field, object.pointer(&format!("/spec/{field}"))));
    if limits.iter().all(|(_, limit)| limit.is_some()) {
        let why = "Invalid value: minAvailable and maxUnavailable cannot be both set";
        causes.push(("spec".into(), why.into()));
    }
    for (field, limit) in limits {
        let fits = match limit {
            Some(Value::String(text)) => {
                let percent = text.strip_suffix('%').and_then(|number| number.parse::<u32>().ok());
                percent.is_some_and(|percent| percent <= 100)
            }
            number => number.is_none_or(|number| number.as_i64().is_some_and(|number| number >= 0)),
        };
        if !fits {
            let shown = limit.cloned().unwrap_or_default();
            let why = format!("Invalid value: {shown}: must be at least 0, or a percentage of at most 100%");
            causes.push((format!("spec.{field}"), why));
        }
    }
}

fn binding(before: Option<&Value>, object: &Value, causes: &mut Causes) {
    let kind = text(object, "/roleRef/kind");
    if !matches!((kind, text(object, "/kind")), ("ClusterRole", _) | ("Role", "RoleBinding")) {
        let known = if text(object, "/kind") == "RoleBinding" {
            "\"ClusterRole\", \"Role\""
        } else {
            "\"ClusterRole\""
        };
        let why = format!("Unsupported value: \"{kind}\": supported values: {known}");
        causes.push(("roleRef.kind".into(), why));
    }
    if text(object, "/roleRef/name").is_empty() {
        causes.push(("roleRef.name".into(), "Required value".into()));
    }
    if before.is_some_and(|before| before.get("roleRef") != object.get("roleRef")) {
        let at = |field: &str| text(object, &format!("/roleRef/{field}"));
        let (group, kind, name) = (at("apiGroup"), at("kind"), at("name"));
        let shown = format!("rbac.RoleRef{{APIGroup:{group:?}, Kind:{kind:?}, Name:{name:?}}}");
        causes.push(("roleRef".into(), format!("Invalid value: {shown}: cannot change roleRef")));
    }
}

fn workload(before: Option<&Value>, object: &Value, causes: &mut Causes) {
    let replicas = int(object, "/spec/replicas", 0);
    if replicas < 0 {
        let why = format!("Invalid value: {replicas}: must be greater than or equal to 0");
        causes.push(("spec.replicas".into(), why));
    }
    let selector = strings(object, "/spec/selector/matchLabels");
    let labels = strings(object, "/spec/template/metadata/labels");
    if selector.is_empty() && list(object, "/spec/selector/matchExpressions").is_empty() {
        causes.push(("spec.selector".into(), "Required value".into()));
    }
    if selector.iter().any(|(key, value)| labels.get(key) != Some(value)) {
        let shown = serde_json::to_string(&labels).unwrap_or_default();
        let why = format!("Invalid value: {shown}: `selector` does not match template `labels`");
        causes.push(("spec.template.metadata.labels".into(), why));
    }
    if before.is_some_and(|before| before.pointer("/spec/selector") != object.pointer("/spec/selector")) {
        let shown = object.pointer("/spec/selector").cloned().unwrap_or_default();
        causes.push(("spec.selector".into(), format!("Invalid value: {shown}: field is immutable")));
    }
    containers(object, "/spec/template/spec", "spec.template.spec", causes);
}

fn containers(object: &Value, pointer: &str, field: &str, causes: &mut Causes) {
    let found = list(object, &format!("{pointer}/containers"));
    if found.is_empty() {
        causes.push((format!("{field}.containers"), "Required value".into()));
    }
    let mut names = Vec::new();
    for (index, container) in found.iter().enumerate() {
        let field = format!("{field}.containers[{index}]");
        let name = text(container, "/name");
        if name.is_empty() {
            causes.push((format!("{field}.name"), "Required value".into()));
        } else if names.contains(&name) {
            causes.push((format!("{field}.name"), format!("Duplicate value: \"{name}\"")));
        }
        names.push(name);
        if text(container, "/image").is_empty() {
            causes.push((format!("{field}.image"), "Required value".into()));
        }
    }
}

/// A pod's specification without what may change, and without what only the scheduler fills in.
fn without_images(pod: &Value) -> Value {
    let mut spec = pod.get("spec").cloned().unwrap_or_default();
    for containers in ["containers", "initContainers"] {
        for container in spec.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(fields) = container.as_object_mut() {
                fields.remove("image");
                fields.remove("imagePullPolicy");
            }
        }
    }
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("tolerations");
        fields.remove("activeDeadlineSeconds");
    }
    spec
}

/// Roles and their bindings may have any name that fits into an address.
fn bad_segment(name: &str) -> Option<&'static str> {
    match name {
        "." => Some("may not be '.'"),
        ".." => Some("may not be '..'"),
        name if name.contains('/') => Some("may not contain '/'"),
        name if name.contains('%') => Some("may not contain '%'"),
        _ => None,
    }
}

fn bad_name(name: &str) -> Option<&'static str> {
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    (name.len() > 253 || !name.split('.').all(label)).then_some(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
         must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    )
}

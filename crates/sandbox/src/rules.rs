//! What the API server does to an object on its way in: defaults, and the basic checks.

mod meta;
mod pod;
mod workload;

use meta::{annotations, labels};
pub(crate) use meta::{bad_key, bad_value};

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::json::{Map, Value, json};

use crate::object::{self, default, int, list, name, namespace, set, text};
use crate::resource::{RBAC_GROUP, Resource};

/// How many templates a DaemonSet has had.
pub(crate) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The annotation in which `autoscaling/v1` has all metrics but the CPU.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";

const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
     'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// What is wrong: the field's path, and the words of the real server.
pub(crate) type Causes = Vec<(String, String)>;

/// Fills in the defaults that clients and controllers rely on.
pub(crate) fn apply_defaults(resource: &Resource, object: &mut Value) {
    match resource.kind {
        "Pod" => {
            pod_defaults(object, &["spec"]);
            pod_admission(object);
            default(object, &["status", "phase"], "Pending");
            default(object, &["status", "qosClass"], qos_class(object));
        }
        "Service" => service_defaults(object),
        "Event" => {
            default(object, &["reportingComponent"], "");
            default(object, &["reportingInstance"], "");
        }
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
            if !object::flag(object, "/spec/paused") {
                object::child(object, "spec").remove("paused");
            }
        }
        "ReplicaSet" => {
            default(object, &["spec", "replicas"], 1);
            pod_defaults(object, &["spec", "template", "spec"]);
        }
        "StatefulSet" => {
            default(object, &["spec", "replicas"], 1);
            default(object, &["spec", "revisionHistoryLimit"], 10);
            default(object, &["spec", "podManagementPolicy"], "OrderedReady");
            let rolling = "/spec/updateStrategy/rollingUpdate";
            if text(object, "/spec/updateStrategy/type").is_empty() || object.pointer(rolling).is_some() {
                default(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
                if text(object, "/spec/updateStrategy/type") == "RollingUpdate" {
                    default(object, &["spec", "updateStrategy", "rollingUpdate", "partition"], 0);
                }
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
        "HorizontalPodAutoscaler" => {
            default(object, &["spec", "minReplicas"], 1);
            if object::annotation(object, METRICS).is_none() {
                default(object, &["spec", "targetCPUUtilizationPercentage"], 80);
            }
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

/// What the API server's standard admission gives every pod: a priority, and time on a node that is in trouble.
fn pod_admission(pod: &mut Value) {
    default(pod, &["spec", "enableServiceLinks"], true);
    default(pod, &["spec", "priority"], 0);
    default(pod, &["spec", "preemptionPolicy"], "PreemptLowerPriority");
    let mut tolerations = list(pod, "/spec/tolerations").to_vec();
    for trouble in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !tolerations.iter().any(|toleration| [trouble, ""].contains(&text(toleration, "/key"))) {
            tolerations.push(json!({
                "key": trouble, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
    set(pod, &["spec", "tolerations"], tolerations);
}

fn pod_defaults(object: &mut Value, path: &[&str]) {
    let at = |field: &'static str| -> Vec<&str> { path.iter().copied().chain([field]).collect() };
    default(object, &at("restartPolicy"), "Always");
    default(object, &at("terminationGracePeriodSeconds"), 30);
    default(object, &at("dnsPolicy"), "ClusterFirst");
    default(object, &at("schedulerName"), "default-scheduler");
    default(object, &at("securityContext"), json!({}));
    let pointer: String = path.iter().flat_map(|key| ["/", key]).collect();
    let volumes = object.pointer_mut(&format!("{pointer}/volumes"));
    for volume in volumes.and_then(Value::as_array_mut).into_iter().flatten() {
        if volume.as_object().is_some_and(|volume| volume.len() == 1) {
            set(volume, &["emptyDir"], json!({}));
        }
        for (source, field, value) in [
            ("hostPath", "type", Value::from("")),
            ("configMap", "defaultMode", Value::from(420)),
            ("secret", "defaultMode", Value::from(420)),
        ] {
            if volume.get(source).is_some() {
                default(volume, &[source, field], value);
            }
        }
    }
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
            container_defaults(container);
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                default(port, &["protocol"], "TCP");
            }
        }
    }
}

/// Probes, references and resources of a container.
fn container_defaults(container: &mut Value) {
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container.get(probe).is_none() {
            continue;
        }
        let numbers =
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)];
        for (field, value) in numbers {
            default(container, &[probe, field], value);
        }
        if container.pointer(&format!("/{probe}/httpGet")).is_some() {
            default(container, &[probe, "httpGet", "path"], "/");
            default(container, &[probe, "httpGet", "scheme"], "HTTP");
        }
    }
    for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        if variable.pointer("/valueFrom/fieldRef").is_some() {
            default(variable, &["valueFrom", "fieldRef", "apiVersion"], "v1");
        }
    }
    let limits = container.pointer("/resources/limits").and_then(Value::as_object).cloned();
    for (resource, amount) in limits.iter().flat_map(Map::iter) {
        default(container, &["resources", "requests", resource], amount.clone());
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

/// The status with which an object of this kind begins.
pub(crate) fn begin_status(resource: &Resource, object: &mut Value) {
    let status = match resource.kind {
        "Deployment" => json!({}),
        "ReplicaSet" => json!({ "replicas": 0 }),
        "StatefulSet" => json!({ "replicas": 0, "availableReplicas": 0 }),
        "DaemonSet" => json!({
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
        }),
        "PodDisruptionBudget" => {
            json!({ "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0 })
        }
        "HorizontalPodAutoscaler" => json!({ "currentReplicas": 0, "desiredReplicas": 0 }),
        "Service" | "Ingress" => json!({ "loadBalancer": {} }),
        _ => return,
    };
    default(object, &["status"], status);
}

/// A DaemonSet counts its templates in an annotation, from a time before revisions.
pub(crate) fn count_templates(resource: &Resource, before: Option<&Value>, object: &mut Value) {
    if resource.kind != "DaemonSet" {
        return;
    }
    let former =
        before.and_then(|before| object::annotation(before, TEMPLATE_GENERATION)?.parse::<i64>().ok());
    let same = |before: &Value| before.pointer("/spec/template") == object.pointer("/spec/template");
    let count = former.unwrap_or(0) + i64::from(!before.is_some_and(same));
    set(object, &["metadata", "annotations", TEMPLATE_GENERATION], count.to_string());
}

/// Checks an object that is about to be stored, against the one that it replaces if there is one.
pub(crate) fn validate(resource: &Resource, before: Option<&Value>, object: &Value) -> Causes {
    let mut causes = Causes::new();
    meta::check(resource, before, object, &mut causes);
    match resource.kind {
        "Pod" => {
            pod::check(object, "/spec", "spec", &mut causes);
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
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => {
            workload::check(resource, before, object, &mut causes);
        }
        "Service" => service(object, &mut causes),
        "ConfigMap" => config_map(object, &mut causes),
        "ControllerRevision" => {
            at_least(object, "/revision", "revision", 0, &mut causes);
            if object.get("data").is_none() {
                causes.push(("data".into(), "Required value: data is mandatory".into()));
            }
        }
        "PodDisruptionBudget" => disruption_budget(object, &mut causes),
        "HorizontalPodAutoscaler" => autoscaler(object, &mut causes),
        "RoleBinding" | "ClusterRoleBinding" => binding(before, object, &mut causes),
        _ => {}
    }
    causes
}

fn disruption_budget(object: &Value, causes: &mut Causes) {
    let limits = ["minAvailable", "maxUnavailable"];
    if limits.iter().all(|field| object.pointer(&format!("/spec/{field}")).is_some()) {
        let why = "Invalid value: minAvailable and maxUnavailable cannot be both set";
        causes.push(("spec".into(), why.into()));
    }
    for field in limits {
        workload::check_share(object, &format!("/spec/{field}"), &format!("spec.{field}"), Some(100), causes);
    }
    workload::selector(object, causes);
}

fn autoscaler(object: &Value, causes: &mut Causes) {
    at_least(object, "/spec/minReplicas", "spec.minReplicas", 1, causes);
    let (min, max) = (int(object, "/spec/minReplicas", 1), int(object, "/spec/maxReplicas", 0));
    if max < 1 {
        causes.push(("spec.maxReplicas".into(), format!("Invalid value: {max}: must be greater than 0")));
    }
    if max < min {
        let why = format!("Invalid value: {max}: must be greater than or equal to `minReplicas`");
        causes.push(("spec.maxReplicas".into(), why));
    }
    for field in ["kind", "name"] {
        if text(object, &format!("/spec/scaleTargetRef/{field}")).is_empty() {
            causes.push((format!("spec.scaleTargetRef.{field}"), "Required value".into()));
        }
    }
}

fn service(object: &Value, causes: &mut Causes) {
    let ports = list(object, "/spec/ports");
    let needs_none =
        text(object, "/spec/clusterIP") == "None" || text(object, "/spec/type") == "ExternalName";
    if ports.is_empty() && !needs_none {
        causes.push(("spec.ports".into(), "Required value".into()));
    }
    for (index, port) in ports.iter().enumerate() {
        let at = |field: &str| format!("spec.ports[{index}].{field}");
        if ports.len() > 1 && text(port, "/name").is_empty() {
            causes.push((at("name"), "Required value".into()));
        }
        for field in ["port", "targetPort"] {
            let number = port.get(field).and_then(Value::as_i64);
            if let Some(number) = number.filter(|number| !(1..=65_535).contains(number)) {
                causes.push((
                    at(field),
                    format!("Invalid value: {number}: must be between 1 and 65535, inclusive"),
                ));
            }
        }
        one_of(port, "/protocol", &at("protocol"), &["SCTP", "TCP", "UDP"], causes);
    }
    labels(object.pointer("/spec/selector"), "spec.selector", causes);
    one_of(object, "/spec/sessionAffinity", "spec.sessionAffinity", &["ClientIP", "None"], causes);
    let types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    one_of(object, "/spec/type", "spec.type", &types, causes);
}

fn config_map(object: &Value, causes: &mut Causes) {
    for field in ["data", "binaryData"] {
        for (key, _) in object.get(field).and_then(Value::as_object).into_iter().flat_map(Map::iter) {
            if !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) || key.len() > 253 {
                causes.push((format!("{field}[{key}]"), format!("Invalid value: \"{key}\": {CONFIG_KEY}")));
            }
            if field == "data" && object.get("binaryData").is_some_and(|binary| binary.get(key).is_some()) {
                let why = format!("Invalid value: \"{key}\": duplicate of key present in binaryData");
                causes.push((format!("data[{key}]"), why));
            }
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

/// A number must not be below a bound, where it is given.
fn at_least(object: &Value, pointer: &str, field: &str, least: i64, causes: &mut Causes) {
    if let Some(number) = object.pointer(pointer).and_then(Value::as_i64).filter(|number| *number < least) {
        causes.push((
            field.into(),
            format!("Invalid value: {number}: must be greater than or equal to {least}"),
        ));
    }
}

/// A text must be one of those that are known, where it is given.
fn one_of(object: &Value, pointer: &str, field: &str, known: &[&str], causes: &mut Causes) {
    let given = text(object, pointer);
    if !given.is_empty() && !known.contains(&given) {
        let known: Vec<String> = known.iter().map(|known| format!("\"{known}\"")).collect();
        let why = format!("Unsupported value: \"{given}\": supported values: {}", known.join(", "));
        causes.push((field.into(), why));
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
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

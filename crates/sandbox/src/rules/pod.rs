//! What a pod's specification may say, in a pod and in a template.

use super::{Causes, at_least, bad_key, labels, meta, one_of};
use crate::json::{Map, Value, json};
use crate::object::{list, quantity, text};

const VARIABLE: &str = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not \
     start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is \
     '[-._a-zA-Z][-._a-zA-Z0-9]*')";

/// Checks the specification at this pointer; messages name it as `field`.
pub(super) fn check(object: &Value, pointer: &str, field: &str, causes: &mut Causes) {
    let empty = json!({});
    let spec = object.pointer(pointer).unwrap_or(&empty);
    let at = |name: &str| format!("{field}.{name}");
    let mut volumes = Vec::new();
    for (index, volume) in list(spec, "/volumes").iter().enumerate() {
        let name = text(volume, "/name");
        if volumes.contains(&name) {
            causes.push((at(&format!("volumes[{index}].name")), format!("Duplicate value: \"{name}\"")));
        }
        volumes.push(name);
    }
    containers(spec, field, &volumes, causes);
    for (index, container) in list(spec, "/containers").iter().enumerate().filter(|_| pointer == "/spec") {
        let image = text(container, "/image");
        if image.trim() != image {
            let why = format!("Invalid value: \"{image}\": must not have leading or trailing whitespace");
            causes.push((at(&format!("containers[{index}].image")), why));
        }
    }
    one_of(spec, "/restartPolicy", &at("restartPolicy"), &["Always", "OnFailure", "Never"], causes);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(spec, "/dnsPolicy", &at("dnsPolicy"), &policies, causes);
    labels(spec.pointer("/nodeSelector"), &at("nodeSelector"), causes);
    let node = text(spec, "/nodeName");
    if !node.is_empty() && !meta::is_subdomain(node) {
        causes.push((at("nodeName"), format!("Invalid value: \"{node}\": {}", meta::SUBDOMAIN)));
    }
    if let Some(deadline) = spec.pointer("/activeDeadlineSeconds").and_then(Value::as_i64).filter(|d| *d < 1)
    {
        let why = format!("Invalid value: {deadline}: must be between 1 and 2147483647, inclusive");
        causes.push((at("activeDeadlineSeconds"), why));
    }
    for (index, toleration) in list(spec, "/tolerations").iter().enumerate() {
        let key = text(toleration, "/key");
        if let Some(why) = bad_key(key).filter(|_| !key.is_empty()) {
            causes
                .push((at(&format!("tolerations[{index}].key")), format!("Invalid value: \"{key}\": {why}")));
        }
        let operator = at(&format!("tolerations[{index}].operator"));
        one_of(toleration, "/operator", &operator, &["Equal", "Exists"], causes);
    }
}

fn containers(spec: &Value, field: &str, volumes: &[&str], causes: &mut Causes) {
    if list(spec, "/containers").is_empty() {
        causes.push((format!("{field}.containers"), "Required value".into()));
    }
    let mut names = Vec::new();
    for kind in ["containers", "initContainers"] {
        for (index, one) in list(spec, &format!("/{kind}")).iter().enumerate() {
            let field = format!("{field}.{kind}[{index}]");
            let name = text(one, "/name");
            if name.is_empty() {
                causes.push((format!("{field}.name"), "Required value".into()));
            } else if !meta::is_label(name) {
                causes.push((format!("{field}.name"), format!("Invalid value: \"{name}\": {}", meta::LABEL)));
            } else if names.contains(&name) {
                causes.push((format!("{field}.name"), format!("Duplicate value: \"{name}\"")));
            }
            names.push(name);
            container(one, &field, volumes, causes);
        }
    }
}

fn container(container: &Value, field: &str, volumes: &[&str], causes: &mut Causes) {
    let image = text(container, "/image");
    if image.is_empty() {
        causes.push((format!("{field}.image"), "Required value".into()));
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(asked) = container.get(probe) else { continue };
        let field = format!("{field}.{probe}");
        if !["exec", "httpGet", "tcpSocket", "grpc"].iter().any(|handler| asked.get(handler).is_some()) {
            causes.push((field.clone(), "Required value: must specify a handler type".into()));
        }
        for number in
            ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            at_least(asked, &format!("/{number}"), &format!("{field}.{number}"), 0, causes);
        }
    }
    ports(container, field, causes);
    for (index, variable) in list(container, "/env").iter().enumerate() {
        let (field, name) = (format!("{field}.env[{index}].name"), text(variable, "/name"));
        let inner = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if name.is_empty() {
            causes.push((field, "Required value".into()));
        } else if !name.chars().all(inner) || name.starts_with(|c: char| c.is_ascii_digit()) {
            causes.push((field, format!("Invalid value: \"{name}\": {VARIABLE}")));
        }
    }
    for (index, mount) in list(container, "/volumeMounts").iter().enumerate() {
        let name = text(mount, "/name");
        if !volumes.contains(&name) {
            causes.push((format!("{field}.volumeMounts[{index}].name"), format!("Not found: \"{name}\"")));
        }
    }
    let pull = format!("{field}.imagePullPolicy");
    one_of(container, "/imagePullPolicy", &pull, &["Always", "IfNotPresent", "Never"], causes);
    resources(container, &format!("{field}.resources"), causes);
}

fn ports(container: &Value, field: &str, causes: &mut Causes) {
    for (index, port) in list(container, "/ports").iter().enumerate() {
        let number = crate::object::int(port, "/containerPort", 0);
        let at = format!("{field}.ports[{index}].containerPort");
        if number == 0 {
            causes.push((at, "Required value".into()));
        } else if !(1..=65_535).contains(&number) {
            causes.push((at, format!("Invalid value: {number}: must be between 1 and 65535, inclusive")));
        }
        one_of(
            port,
            "/protocol",
            &format!("{field}.ports[{index}].protocol"),
            &["SCTP", "TCP", "UDP"],
            causes,
        );
    }
}

fn resources(container: &Value, field: &str, causes: &mut Causes) {
    let requests = container.pointer("/resources/requests").and_then(Value::as_object);
    for (resource, amount) in requests.into_iter().flat_map(Map::iter) {
        let shown = amount.as_str().unwrap_or_default();
        if quantity(Some(amount)) < 0.0 {
            let why = format!("Invalid value: \"{shown}\": must be greater than or equal to 0");
            causes.push((format!("{field}.requests[{resource}]"), why));
        }
        let limit = container.pointer("/resources/limits").and_then(|limits| limits.get(resource));
        if limit.is_some() && quantity(Some(amount)) > quantity(limit) {
            let why = format!("Invalid value: \"{shown}\": must be less than or equal to {resource} limit");
            causes.push((format!("{field}.requests"), why));
        }
    }
}

//! Label and field selectors of lists and watches.

use crate::json::Value;

use super::status::Status;
use crate::object;
use crate::resource::Resource;
use crate::rules;

/// What a list or a watch is about, within its kind and namespace.
#[derive(Debug, Default, Clone)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug, Clone)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Greater(String, i64),
    Less(String, i64),
}

impl Selector {
    pub(crate) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Selector, Status> {
        Ok(Selector { labels: parse_labels(labels)?, fields: parse_fields(resource, fields)? })
    }

    /// The label selector that is part of an object. `None`: it has none, or one that cannot be read.
    pub(crate) fn of(selector: Option<&Value>) -> Option<Selector> {
        let selector = selector.filter(|selector| selector.is_object())?;
        let equal = object::strings(selector, "/matchLabels").into_iter();
        let mut labels: Vec<Requirement> =
            equal.map(|(key, value)| Requirement::In(key, vec![value])).collect();
        for expression in object::list(selector, "/matchExpressions") {
            let key = object::text(expression, "/key").to_owned();
            let values = object::list(expression, "/values").iter();
            let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
            labels.push(match object::text(expression, "/operator") {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Missing(key),
                _ => return None,
            });
        }
        Some(Selector { labels, fields: Vec::new() })
    }

    /// Whether it chooses everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, value: &Value) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(value))
            && self.fields.iter().all(|(field, wanted, text)| (field_of(value, field) == text) == *wanted)
    }
}

impl Requirement {
    fn matches(&self, value: &Value) -> bool {
        let label = |key: &str| value.pointer("/metadata/labels")?.get(key)?.as_str();
        let number = |key: &str| label(key)?.parse::<i64>().ok();
        match self {
            Requirement::In(key, values) => label(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Requirement::NotIn(key, values) => label(key).is_none_or(|v| values.iter().all(|w| w != v)),
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Missing(key) => label(key).is_none(),
            Requirement::Greater(key, than) => number(key).is_some_and(|number| number > *than),
            Requirement::Less(key, than) => number(key).is_some_and(|number| number < *than),
        }
    }
}

/// `a=b,c!=d,e in (f,g),h notin (i),j,!k`
fn parse_labels(selector: &str) -> Result<Vec<Requirement>, Status> {
    split_outside_parentheses(selector)
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty() || !selector.trim().is_empty())
        .map(|part| {
            parse_requirement(part)
                .ok_or_else(|| Status::bad_request(format!("unable to parse requirement: {part}")))
        })
        .collect()
}

fn parse_requirement(part: &str) -> Option<Requirement> {
    let key = |text: &str| Some(text.trim().to_owned()).filter(|text| rules::bad_key(text).is_none());
    let value = |text: &str| Some(text.trim().to_owned()).filter(|text| rules::bad_value(text).is_none());
    let set = |text: &str| -> Option<Vec<String>> {
        let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        inner.split(',').map(value).collect()
    };
    if let Some((left, right)) = part.split_once(" notin ") {
        return Some(Requirement::NotIn(key(left)?, set(right)?));
    }
    if let Some((left, right)) = part.split_once(" in ") {
        return Some(Requirement::In(key(left)?, set(right)?));
    }
    if let Some((left, right)) = part.split_once("!=") {
        return Some(Requirement::NotIn(key(left)?, vec![value(right)?]));
    }
    if let Some((left, right)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(key(left)?, vec![value(right)?]));
    }
    if let Some((left, right)) = part.split_once('>') {
        return Some(Requirement::Greater(key(left)?, right.trim().parse().ok()?));
    }
    if let Some((left, right)) = part.split_once('<') {
        return Some(Requirement::Less(key(left)?, right.trim().parse().ok()?));
    }
    match part.strip_prefix('!') {
        Some(rest) => Some(Requirement::Missing(key(rest)?)),
        None => Some(Requirement::Exists(key(part)?)),
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn parse_fields(resource: &Resource, selector: &str) -> Result<Vec<(String, bool, String)>, Status> {
    let mut fields = Vec::new();
    for part in selector.split(',').filter(|part| !part.is_empty()) {
        let (field, wanted, value) = if let Some((field, value)) = part.split_once("!=") {
            (field, false, value)
        } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            (field, true, value)
        } else {
            return Err(Status::bad_request(format!(
                "invalid selector: '{part}'; can't understand '{part}'"
            )));
        };
        if !supports(resource, field) {
            let by_table = matches!(resource.kind, "Pod" | "Event" | "Node" | "Namespace");
            return Err(Status::bad_request(if by_table {
                format!("field label not supported: {field}")
            } else {
                let known = "\"metadata.name\", \"metadata.namespace\"";
                format!("\"{field}\" is not a known field selector: only {known}")
            }));
        }
        fields.push((field.to_owned(), wanted, value.to_owned()));
    }
    Ok(fields)
}

fn supports(resource: &Resource, field: &str) -> bool {
    match field {
        "metadata.name" | "metadata.namespace" => true,
        "status.phase" => matches!(resource.kind, "Pod" | "Namespace"),
        "spec.nodeName"
        | "spec.restartPolicy"
        | "spec.schedulerName"
        | "spec.serviceAccountName"
        | "status.podIP"
        | "status.nominatedNodeName" => resource.kind == "Pod",
        "spec.unschedulable" => resource.kind == "Node",
        "type" | "reason" | "source" | "reportingComponent" => resource.kind == "Event",
        other => {
            let involved = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];
            resource.kind == "Event"
                && other.strip_prefix("involvedObject.").is_some_and(|field| involved.contains(&field))
        }
    }
}

fn field_of<'a>(value: &'a Value, field: &str) -> &'a str {
    match field {
        "source" => object::text(value, "/source/component"),
        "spec.unschedulable" => {
            if object::flag(value, "/spec/unschedulable") {
                "true"
            } else {
                "false"
            }
        }
        _ => object::text(value, &format!("/{}", field.replace('.', "/"))),
    }
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;
    use crate::resource::{EVENTS, PODS};

    #[test]
    fn label_selectors() {
        let pod =
            json!({ "metadata": { "labels": { "app": "web", "tier": "front", "example.com/x": "1" } } });
        let table = [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app=web,tier!=front", false),
            ("app in (api, web)", true),
            ("app in (api,db),tier", false),
            ("app notin (api,db),tier", true),
            ("nothing!=x", true),
            ("!nothing", true),
            ("!app", false),
            ("example.com/x=1", true),
        ];
        for (selector, expected) in table {
            let parsed = Selector::parse(&PODS, selector, "").unwrap();
            assert_eq!(parsed.matches(&pod), expected, "{selector}");
        }
        for bad in ["app in web", "=x", "a b", "app in (x"] {
            assert!(Selector::parse(&PODS, bad, "").is_err(), "{bad}");
        }
    }

    #[test]
    fn label_selectors_in_objects() {
        let pod = json!({ "metadata": { "labels": { "app": "web", "tier": "front" } } });
        let expression = |key: &str, operator: &str, values: &[&str]| {
            let one = json!({ "key": key, "operator": operator, "values": values });
            json!({ "matchLabels": { "app": "web" }, "matchExpressions": [one] })
        };
        for (selector, expected) in [
            (json!({}), true),
            (json!({ "matchLabels": { "app": "api" } }), false),
            (expression("tier", "In", &["front", "back"]), true),
            (expression("tier", "NotIn", &["front"]), false),
            (expression("zone", "NotIn", &["a"]), true),
            (expression("tier", "Exists", &[]), true),
            (expression("tier", "DoesNotExist", &[]), false),
        ] {
            assert_eq!(Selector::of(Some(&selector)).unwrap().matches(&pod), expected, "{selector}");
        }
        assert!(Selector::of(None).is_none() && Selector::of(Some(&Value::Null)).is_none());
        assert!(Selector::of(Some(&expression("tier", "Equals", &[]))).is_none());
    }

    #[test]
    fn field_selectors() {
        let event = json!({
            "metadata": { "name": "e", "namespace": "default" }, "type": "Warning", "reason": "BackOff",
            "involvedObject": { "kind": "Pod", "name": "web-1" },
        });
        let table = [
            ("type=Warning", true),
            ("type!=Normal,involvedObject.name=web-1", true),
            ("involvedObject.kind=Node", false),
            ("metadata.name=e,metadata.namespace=default,reason==BackOff", true),
        ];
        for (selector, expected) in table {
            let parsed = Selector::parse(&EVENTS, "", selector).unwrap();
            assert_eq!(parsed.matches(&event), expected, "{selector}");
        }
        assert!(Selector::parse(&PODS, "", "type=Warning").is_err());
        assert!(Selector::parse(&PODS, "", "metadata.name").is_err());
    }
}

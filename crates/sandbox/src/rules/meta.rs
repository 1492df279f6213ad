//! Metadata that is the same for every kind: names, labels, annotations, finalizers, owners.

use super::Causes;
use crate::json::{Map, Value};
use crate::object::{flag, int, is_deleting, list, text};
use crate::resource::{RBAC_GROUP, Resource};

pub(super) const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
     start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
pub(super) const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
     end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const OLD_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
     character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation \
     is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
     and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
     validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Checks the metadata of an object, against the one that it replaces if there is one.
pub(super) fn check(resource: &Resource, before: Option<&Value>, object: &Value, causes: &mut Causes) {
    check_name(resource, text(object, "/metadata/name"), causes);
    labels(object.pointer("/metadata/labels"), "metadata.labels", causes);
    annotations(object.pointer("/metadata/annotations"), "metadata.annotations", causes);
    owners(object, causes);
    for (index, finalizer) in list(object, "/metadata/finalizers").iter().enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        let field = format!("metadata.finalizers[{index}]");
        if let Some(why) = bad_key(finalizer) {
            causes.push(("metadata.finalizers".into(), format!("Invalid value: \"{finalizer}\": {why}")));
        }
        if !finalizer.contains('/') && !matches!(finalizer, "orphan" | "foregroundDeletion" | "kubernetes") {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push((field, format!("Invalid value: \"{finalizer}\": {why}")));
        }
    }
    let Some(before) = before else { return };
    let new: Vec<String> = list(object, "/metadata/finalizers")
        .iter()
        .filter(|finalizer| !list(before, "/metadata/finalizers").contains(finalizer))
        .map(ToString::to_string)
        .collect();
    if is_deleting(before) && !new.is_empty() {
        let why = format!(
            "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            new.join(", ")
        );
        causes.push(("metadata.finalizers".into(), why));
    }
    if text(object, "/metadata/uid") != text(before, "/metadata/uid") {
        let uid = text(object, "/metadata/uid");
        causes.push(("metadata.uid".into(), format!("Invalid value: \"{uid}\": field is immutable")));
    }
    if int(object, "/metadata/generation", 0) < 0 {
        causes
            .push(("metadata.generation".into(), "Invalid value: must be greater than or equal to 0".into()));
    }
}

fn check_name(resource: &Resource, name: &str, causes: &mut Causes) {
    let mut note = |why: &str| {
        causes.push(("metadata.name".into(), format!("Invalid value: \"{name}\": {why}")));
    };
    if name.is_empty() {
        causes.push(("metadata.name".into(), "Required value: name or generateName is required".into()));
        return;
    }
    if resource.group == RBAC_GROUP {
        if let Some(why) = bad_segment(name) {
            note(&why);
        }
        return;
    }
    match resource.kind {
        "Namespace" => {
            if name.len() > 63 {
                note("must be no more than 63 characters");
            }
            if !is_label(name) {
                note(LABEL);
            }
        }
        "Service" => {
            if name.len() > 63 {
                note("must be no more than 63 characters");
            }
            if !is_label(name) || name.starts_with(|c: char| c.is_ascii_digit()) {
                note(OLD_LABEL);
            }
        }
        // Its pods' names become host names.
        "StatefulSet" if name.len() <= 253 => {
            if !is_label(name) {
                note(LABEL);
            }
        }
        _ => {
            if name.len() > 253 {
                note("must be no more than 253 characters");
            }
            if !is_subdomain(name) {
                note(SUBDOMAIN);
            }
        }
    }
}

/// Roles and their bindings may have any name that fits into an address.
fn bad_segment(name: &str) -> Option<String> {
    if matches!(name, "." | "..") {
        return Some(format!("may not be '{name}'"));
    }
    let wrong = ['/', '%'].into_iter().find(|wrong| name.contains(*wrong))?;
    Some(format!("may not contain '{wrong}'"))
}

/// Whether a text is a label of a host name.
pub(super) fn is_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// Whether a text is a host name.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_label)
}

/// Letters, digits, and inside also `-`, `_` and `.`.
fn is_qualified(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last())
}

/// What is wrong with the key of a label or an annotation.
pub(crate) fn bad_key(key: &str) -> Option<String> {
    let name = match key.split_once('/') {
        None => key,
        Some((_, name)) if name.contains('/') => {
            return Some(
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                 with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                 validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix \
                 and '/' (e.g. 'example.com/MyName')"
                    .into(),
            );
        }
        Some(("", _)) => return Some("prefix part must be non-empty".into()),
        Some((prefix, _)) if !prefix.split('.').all(is_label) => {
            return Some(format!("prefix part {SUBDOMAIN}"));
        }
        Some((_, name)) => name,
    };
    if name.is_empty() {
        return Some(format!("name part must be non-empty; {NAME_PART}"));
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 characters".into());
    }
    (!is_qualified(name)).then(|| NAME_PART.to_owned())
}

/// What is wrong with the value of a label.
pub(crate) fn bad_value(value: &str) -> Option<&'static str> {
    if value.len() > 63 {
        return Some("must be no more than 63 characters");
    }
    (!value.is_empty() && !is_qualified(value)).then_some(LABEL_VALUE)
}

fn entries(map: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    let entries = map.and_then(Value::as_object).into_iter().flat_map(Map::iter);
    entries.map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

/// Checks a mapping of labels, at the field of this name.
pub(super) fn labels(map: Option<&Value>, field: &str, causes: &mut Causes) {
    for (key, value) in entries(map) {
        if let Some(why) = bad_key(key) {
            causes.push((field.into(), format!("Invalid value: \"{key}\": {why}")));
        }
        if let Some(why) = bad_value(value) {
            causes.push((field.into(), format!("Invalid value: \"{value}\": {why}")));
        }
    }
}

/// Checks a mapping of annotations, at the field of this name.
pub(super) fn annotations(map: Option<&Value>, field: &str, causes: &mut Causes) {
    for (key, _) in entries(map) {
        if let Some(why) = bad_key(&key.to_lowercase()) {
            causes.push((field.into(), format!("Invalid value: \"{key}\": {why}")));
        }
    }
}

fn owners(object: &Value, causes: &mut Causes) {
    let owners = list(object, "/metadata/ownerReferences");
    for owner in owners {
        for (field, what) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "kind must not be empty"),
            ("name", "name must not be empty"),
            ("uid", "uid must not be empty"),
        ] {
            if text(owner, &format!("/{field}")).is_empty() {
                let field = format!("metadata.ownerReferences.{field}");
                causes.push((field, format!("Invalid value: \"\": {what}")));
            }
        }
    }
    let managers: Vec<&Value> = owners.iter().filter(|owner| flag(owner, "/controller")).collect();
    if let [first, second, ..] = managers.as_slice() {
        let shown = |owner: &Value| {
            format!("{}/{}/{}", text(owner, "/kind"), text(owner, "/name"), text(owner, "/uid"))
        };
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            shown(first),
            shown(second)
        );
        causes.push(("metadata.ownerReferences".into(), format!("Invalid value: {why}")));
    }
}

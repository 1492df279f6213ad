//! The four patch languages, as functions from an object and a patch to the patched object.

use std::collections::HashMap;

use json_patch::PatchOperation;

use crate::json::{Map, Value, json};

use super::status::Status;

/// How often a patch may copy, which is looked at each time.
const COPIES: usize = 100;

/// How the body of a PATCH is to be read; its content type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Language {
    pub(crate) fn of(content_type: &str) -> Result<Language, Status> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Language::Json),
            "application/merge-patch+json" => Ok(Language::Merge),
            "application/strategic-merge-patch+json" => Ok(Language::Strategic),
            "application/apply-patch+yaml" => Ok(Language::Apply),
            _ => Err(Status::no_such_patch()),
        }
    }
}

/// The object after the patch. An applied configuration is merged as a strategic patch is: what the manager
/// applied before and leaves out now stays (this is where the sandbox is simpler than the real server).
pub(crate) fn apply(language: Language, object: &Value, patch: &Value) -> Result<Value, Status> {
    let mut patched = object.clone();
    match language {
        Language::Json => {
            let undecodable = |_| match patch {
                Value::Array(_) => Status::unprocessable(),
                _ => {
                    Status::bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
                }
            };
            let operations =
                serde_json::to_value(patch).and_then(serde_json::from_value::<json_patch::Patch>);
            let operations = operations.map_err(undecodable)?;
            let mut plain = serde_json::to_value(object).map_err(undecodable)?;
            let copies = operations.iter().filter(|one| matches!(one, PatchOperation::Copy(_))).count();
            if copies > COPIES {
                return Err(Status::too_large(super::BODY_LIMIT));
            }
            for operation in operations.iter() {
                json_patch::patch(&mut plain, std::slice::from_ref(operation))
                    .map_err(|_| Status::unprocessable())?;
                // Each copy can double what is there.
                if matches!(operation, PatchOperation::Copy(_)) && plain.to_string().len() > super::BODY_LIMIT
                {
                    return Err(Status::too_large(super::BODY_LIMIT));
                }
            }
            patched = plain.into();
        }
        Language::Merge => {
            expect_mapping(patch)?;
            patched.merge(patch);
        }
        Language::Strategic | Language::Apply => {
            expect_mapping(patch)?;
            merge(&mut patched, patch, "")?;
        }
    }
    Ok(patched)
}

fn expect_mapping(patch: &Value) -> Result<(), Status> {
    if patch.is_object() {
        return Ok(());
    }
    Err(Status::bad_patch(&patch.to_string(), "the patch must be a JSON object"))
}

/// The field by which the entries of a list are told apart; `None` for lists that are replaced whole.
fn merge_key(field: &str, entries: &[Value]) -> Option<&'static str> {
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "secrets" => Some("name"),
        "ports" if entries.iter().any(|port| port.get("containerPort").is_some()) => Some("containerPort"),
        "ports" => Some("port"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "conditions" | "addresses" => Some("type"),
        "ownerReferences" => Some("uid"),
        "hostAliases" => Some("ip"),
        "topologySpreadConstraints" => Some("topologyKey"),
        _ => None,
    }
}

fn merge(target: &mut Value, patch: &Value, field: &str) -> Result<(), Status> {
    match patch {
        Value::Object(patch) => merge_mapping(target, patch),
        Value::Array(entries) => merge_list(target, entries, field, None),
        other => {
            *target = other.clone();
            Ok(())
        }
    }
}

fn merge_mapping(target: &mut Value, patch: &Map) -> Result<(), Status> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("delete") => {
            *target = Value::Null;
            return Ok(());
        }
        Some("replace") => {
            *target = Value::Object(without_directives(patch));
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(Status::bad_request(format!("unknown patch type found: {other}"))),
    }
    if !target.is_object() {
        *target = Value::Object(Map::default());
    }
    let Some(fields) = target.as_object_mut() else { return Ok(()) };
    if let Some(keep) = patch.get("$retainKeys").and_then(Value::as_array) {
        fields.retain(|key, _| keep.iter().any(|kept| *kept == *key));
    }
    for (key, value) in patch.iter() {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().map_or(&[][..], Vec::as_slice);
            if let Some(present) = fields.get_mut(list).and_then(Value::as_array_mut) {
                present.retain(|entry| !gone.contains(entry));
            }
        } else if let Some(list) = key.strip_prefix("$setElementOrder/") {
            if patch.get(list).is_none() && fields.get(list).is_some() {
                merge_list(fields.slot(list), &[], list, value.as_array().map(Vec::as_slice))?;
            }
        } else if key.starts_with('$') {
            // The other directives were seen to above.
        } else if value.is_null() {
            fields.remove(key);
        } else {
            let slot = fields.slot(key);
            let order = patch.get(&format!("$setElementOrder/{key}"));
            match value {
                Value::Array(entries) => {
                    merge_list(slot, entries, key, order.and_then(Value::as_array).map(Vec::as_slice))?;
                }
                other => merge(slot, other, key)?,
            }
            if slot.is_null() {
                fields.remove(key);
            }
        }
    }
    Ok(())
}

/// Merges the entries of a list; the order is that of the patch where it speaks of them.
fn merge_list(
    target: &mut Value,
    entries: &[Value],
    field: &str,
    order: Option<&[Value]>,
) -> Result<(), Status> {
    if !target.is_array() {
        *target = json!([]);
    }
    let Some(present) = target.as_array_mut() else { return Ok(()) };
    let live = present.clone();
    if field == "finalizers" {
        present.extend(entries.iter().filter(|entry| !live.contains(entry)).cloned());
        put_in_order(present, &live, order.unwrap_or(entries), None);
        return Ok(());
    }
    let whole = entries.iter().any(|entry| directive(entry) == Some("replace") && is_bare(entry));
    let Some(key) = merge_key(field, entries).filter(|_| !whole) else {
        let plain = entries.iter().filter(|entry| directive(entry).is_none());
        *present = plain.cloned().collect();
        return Ok(());
    };
    for entry in entries {
        let Some(id) = entry.get(key) else {
            return Err(Status::bad_request(format!(
                "map: {entry} does not contain declared merge key: {key}"
            )));
        };
        let place = present.iter().position(|candidate| candidate.get(key) == Some(id));
        match (place.and_then(|place| present.get_mut(place)), directive(entry)) {
            (Some(_), Some("delete")) => present.retain(|candidate| candidate.get(key) != Some(id)),
            (None, Some("delete")) => {}
            (Some(slot), _) => merge(slot, entry, "")?,
            (None, _) => {
                let mut added = Value::Object(Map::default());
                merge(&mut added, entry, "")?;
                present.push(added);
            }
        }
    }
    put_in_order(present, &live, order.unwrap_or(entries), Some(key));
    Ok(())
}

/// What the order names comes in that order, and around it what was there, as far as that goes in the order in which
/// it was there; what is new comes first (`mergeSortedSlice` of the real server).
fn put_in_order(merged: &mut Vec<Value>, live: &[Value], order: &[Value], key: Option<&str>) {
    let id = |entry: &Value| key.and_then(|key| entry.get(key)).unwrap_or(entry).to_string();
    // The first of two alike counts.
    let places = |list: &[Value]| -> HashMap<String, usize> {
        list.iter().enumerate().rev().map(|(place, entry)| (id(entry), place)).collect()
    };
    let (ordered, lived) = (places(order), places(live));
    let place = |places: &HashMap<String, usize>, entry: &Value| places.get(&id(entry)).copied();
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        std::mem::take(merged).into_iter().partition(|entry| place(&ordered, entry).is_some());
    named.sort_by_cached_key(|entry| place(&ordered, entry));
    let mut named = named.into_iter().peekable();
    for other in others {
        let goes_first = |next: &Value| {
            place(&lived, &other).zip(place(&lived, next)).is_none_or(|(other, next)| next < other)
        };
        while let Some(next) = named.next_if(goes_first) {
            merged.push(next);
        }
        merged.push(other);
    }
    merged.extend(named);
}

fn directive(entry: &Value) -> Option<&str> {
    entry.get("$patch")?.as_str()
}

fn is_bare(entry: &Value) -> bool {
    entry.as_object().is_some_and(|fields| fields.len() == 1)
}

fn without_directives(patch: &Map) -> Map {
    let mut kept = patch.clone();
    kept.retain(|key, _| !key.starts_with('$'));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object;

    fn base() -> Value {
        json!({
            "metadata": { "name": "web", "annotations": { "a": "1" }, "finalizers": ["x"] },
            "spec": {
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } },
                "containers": [
                    { "name": "app", "image": "app:1", "env": [{ "name": "A", "value": "1" }], "args": ["a", "b"] },
                    { "name": "side", "image": "side:1" },
                ],
            },
        })
    }

    #[test]
    fn every_language() {
        let table: Vec<(Language, Value, &str, Value)> = vec![
            (
                Language::Merge,
                json!({ "metadata": { "annotations": { "b": "2" } } }),
                "/metadata/annotations",
                json!({ "a": "1", "b": "2" }),
            ),
            (
                Language::Merge,
                json!({ "metadata": { "annotations": null } }),
                "/metadata",
                json!({ "name": "web", "finalizers": ["x"] }),
            ),
            (Language::Merge, json!({ "spec": { "containers": [] } }), "/spec/containers", json!([])),
            (
                Language::Json,
                json!([{ "op": "replace", "path": "/spec/containers/0/image", "value": "app:2" }]),
                "/spec/containers/0/image",
                json!("app:2"),
            ),
            (
                Language::Json,
                json!([{ "op": "add", "path": "/metadata/annotations/x~1y", "value": "z" }]),
                "/metadata/annotations",
                json!({ "a": "1", "x/y": "z" }),
            ),
            (
                Language::Strategic,
                json!({ "spec": { "containers": [{ "name": "side", "image": "side:2" }] } }),
                "/spec/containers/1",
                json!({ "name": "side", "image": "side:2" }),
            ),
            (
                Language::Strategic,
                json!({ "spec": { "$setElementOrder/containers": [{ "name": "app" }], "containers": [{ "name": "app", "env": [{ "name": "B", "value": "2" }] }] } }),
                "/spec/containers/0/env",
                json!([{ "name": "B", "value": "2" }, { "name": "A", "value": "1" }]),
            ),
            (
                Language::Strategic,
                json!({ "spec": { "containers": [{ "name": "side", "$patch": "delete" }] } }),
                "/spec/containers/1",
                Value::Null,
            ),
            (
                Language::Strategic,
                json!({ "spec": { "containers": [{ "name": "app", "args": ["c"] }] } }),
                "/spec/containers/0/args",
                json!(["c"]),
            ),
            (
                Language::Strategic,
                json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } }),
                "/spec/strategy",
                json!({ "type": "Recreate" }),
            ),
            (
                Language::Strategic,
                json!({ "spec": { "strategy": { "$patch": "replace", "type": "Recreate" } } }),
                "/spec/strategy",
                json!({ "type": "Recreate" }),
            ),
            (
                Language::Strategic,
                json!({ "metadata": { "finalizers": ["y"] } }),
                "/metadata/finalizers",
                json!(["y", "x"]),
            ),
            (
                Language::Strategic,
                json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["x"] } }),
                "/metadata/finalizers",
                json!([]),
            ),
            (
                Language::Apply,
                json!({ "spec": { "containers": [{ "name": "app", "image": "app:3" }] } }),
                "/spec/containers/0/image",
                json!("app:3"),
            ),
        ];
        for (language, patch, pointer, expected) in table {
            let patched = apply(language, &base(), &patch).unwrap();
            let found = patched.pointer(pointer).cloned().unwrap_or(Value::Null);
            assert_eq!(found, expected, "{language:?} {patch}");
        }
    }

    #[test]
    fn patches_that_cannot_be_applied() {
        let table = [
            (Language::Merge, json!([]), 422),
            (Language::Json, json!({}), 400),
            (Language::Json, json!([{ "op": "test", "path": "/metadata/name", "value": "other" }]), 422),
            (Language::Json, json!([{ "op": "remove", "path": "/nothing" }]), 422),
            (Language::Strategic, json!({ "spec": { "containers": [{ "image": "x" }] } }), 400),
            (Language::Strategic, json!({ "spec": { "$patch": "explode" } }), 400),
        ];
        for (language, patch, code) in table {
            let status = apply(language, &base(), &patch).unwrap_err().to_value();
            assert_eq!(object::int(&status, "/code", 0), code, "{language:?} {patch}");
        }
        assert!(Language::of("text/plain").is_err());
    }
}

//! Small readers and writers over objects, which are kept as JSON.

use std::collections::BTreeMap;

use crate::json::{Map, Value, json};
use jiff::Timestamp;

use crate::resource::Resource;

/// The moment, to the second, as the API writes it.
pub(crate) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The seconds since the time at this pointer; `None` when there is none.
pub(crate) fn seconds_since(object: &Value, pointer: &str) -> Option<f64> {
    let then: Timestamp = object.pointer(pointer)?.as_str()?.parse().ok()?;
    Some(Timestamp::now().duration_since(then).as_secs_f64())
}

/// The text at this pointer, or the empty string.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at this pointer, or the default.
pub(crate) fn int(object: &Value, pointer: &str, default: i64) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(default)
}

/// The flag at this pointer, or false.
pub(crate) fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// The list at this pointer, or an empty one.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The string map at this pointer (labels, annotations, a selector).
pub(crate) fn strings(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let map = object.pointer(pointer).and_then(Value::as_object);
    map.into_iter()
        .flat_map(Map::iter)
        .filter_map(|(k, v)| Some((k.to_owned(), v.as_str()?.to_owned())))
        .collect()
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

pub(crate) fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    object.pointer("/metadata/labels").and_then(|l| l.get(key)).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a delete was asked for, and is being carried out.
pub(crate) fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// The mapping under a key, made when it is missing or is something else.
pub(crate) fn child<'a>(object: &'a mut Value, key: &str) -> &'a mut Map {
    if !object.is_object() {
        *object = json!({});
    }
    let slot = match object {
        Value::Object(map) => map.slot(key),
        other => other,
    };
    if !slot.is_object() {
        *slot = json!({});
    }
    match slot {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// Sets a value, making the mappings on the way to it.
pub(crate) fn set(object: &mut Value, path: &[&str], value: impl Into<Value>) {
    match path {
        [] => *object = value.into(),
        [key] => {
            if !object.is_object() {
                *object = json!({});
            }
            if let Some(map) = object.as_object_mut() {
                map.insert(key, value);
            }
        }
        [key, rest @ ..] => {
            let map = child(object, key);
            let mut inner = Value::Object(std::mem::take(map));
            set(&mut inner, rest, value);
            if let Value::Object(inner) = inner {
                *map = inner;
            }
        }
    }
}

/// Sets a value where there is none (or null): how the API server's defaults work.
pub(crate) fn default(object: &mut Value, path: &[&str], value: impl Into<Value>) {
    let pointer: String = path.iter().flat_map(|key| ["/", key]).collect();
    if object.pointer(&pointer).is_none_or(Value::is_null) {
        set(object, path, value);
    }
}

/// The owner that manages this object, if any.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    list(object, "/metadata/ownerReferences").iter().find(|owner| flag(owner, "/controller"))
}

/// A reference for `metadata.ownerReferences` that says `owner` manages the object.
pub(crate) fn owner_reference(resource: &Resource, owner: &Value) -> Value {
    json!({
        "apiVersion": resource.api_version(), "kind": resource.kind, "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// The condition of this type, if it is there.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").iter().find(|c| text(c, "/type") == kind)
}

/// Whether the condition of this type is there and true.
pub(crate) fn condition_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|c| text(c, "/status") == "True")
}

/// Whether a pod serves: it is ready, and is not going away.
pub(crate) fn pod_ready(pod: &Value) -> bool {
    condition_true(pod, "Ready")
}

/// Whether a pod has been ready for as long as its workload asks (whole seconds, as the real rule).
pub(crate) fn pod_available(pod: &Value, min_ready_seconds: i64) -> bool {
    let ready = condition(pod, "Ready").filter(|c| text(c, "/status") == "True");
    ready.is_some_and(|ready| {
        min_ready_seconds == 0
            || seconds_since(ready, "/lastTransitionTime").is_some_and(|s| s > min_ready_seconds as f64)
    })
}

/// Whether a pod still counts as a replica: not finished, and not going away.
pub(crate) fn pod_active(pod: &Value) -> bool {
    !is_deleting(pod) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// `maxSurge` and `maxUnavailable`: a number, or a percentage of the total rounded up or down.
pub(crate) fn int_or_percent(value: Option<&Value>, total: i64, round_up: bool) -> i64 {
    match value {
        Some(Value::String(percent)) => {
            let percent: i64 = percent.trim_end_matches('%').parse().unwrap_or(0);
            let scaled = percent.saturating_mul(total);
            let scaled = if round_up { scaled.saturating_add(99) / 100 } else { scaled / 100 };
            scaled.clamp(0, i64::from(i32::MAX))
        }
        Some(number) => number.as_i64().unwrap_or(0),
        None => 0,
    }
}

/// A `cpu` in thousandths of a core or a `memory` in bytes, times a thousand: comparable with its like only.
pub(crate) fn quantity(value: Option<&Value>) -> f64 {
    let text = match value {
        Some(Value::String(text)) => text.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return 0.0,
    };
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let factor = match suffix {
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => 1.0,
    };
    number.parse::<f64>().unwrap_or(0.0) * factor * 1000.0
}

/// What a pod's containers request of `cpu` or `memory` together, as [`quantity`] counts it.
pub(crate) fn requests(pod: &Value, what: &str) -> f64 {
    let of = |container: &Value, kind: &str| container.pointer(&format!("/resources/{kind}/{what}")).cloned();
    list(pod, "/spec/containers")
        .iter()
        .map(|container| quantity(of(container, "requests").or_else(|| of(container, "limits")).as_ref()))
        .sum()
}

/// A short stable name for a content, in the alphabet that Kubernetes uses (no vowels, no look-alikes).
pub(crate) fn hash(content: &Value) -> String {
    let bytes = content.to_string();
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in bytes.bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    encode(state, 10)
}

/// `length` characters of the safe alphabet, taken from a number.
pub(crate) fn encode(mut number: u64, length: usize) -> String {
    const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..length)
        .map(|_| {
            let index = (number % SAFE.len() as u64) as usize;
            number /= SAFE.len() as u64;
            SAFE.get(index).copied().map_or('x', char::from)
        })
        .collect()
}

//! `metadata.managedFields`: who set what, and when. An entry for each manager and operation, which owns the
//! fields that its requests changed. Unlike the real server, another's entry does not lose what is taken over.

use serde_json::{Map, Value, json};

use crate::object::{self, set};

/// Writes down that a manager changed `before` into `after`. Nothing is written when nothing changed.
pub(crate) fn record(
    before: Option<&Value>,
    after: &mut Value,
    manager: &str,
    operation: &str,
    subresource: Option<&str>,
) {
    let empty = Value::Null;
    let mut changed = changed_fields(before.unwrap_or(&empty), after);
    changed.retain(|field, _| field != "f:apiVersion" && field != "f:kind");
    if let Some(metadata) = changed.get_mut("f:metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| matches!(field.as_str(), "f:annotations" | "f:labels" | "f:finalizers"));
    }
    changed.retain(|field, value| field != "f:metadata" || value.as_object().is_some_and(|m| !m.is_empty()));
    let mut entries = object::list(before.unwrap_or(&empty), "/metadata/managedFields").to_vec();
    if !changed.is_empty() {
        let same = |entry: &Value| {
            object::text(entry, "/manager") == manager
                && object::text(entry, "/operation") == operation
                && entry.get("subresource").and_then(Value::as_str) == subresource
        };
        let mut entry = match entries.iter().position(same) {
            Some(place) => entries.remove(place),
            None => json!({ "manager": manager, "operation": operation, "fieldsV1": {} }),
        };
        set(&mut entry, &["apiVersion"], object::text(after, "/apiVersion"));
        set(&mut entry, &["fieldsType"], "FieldsV1");
        set(&mut entry, &["time"], object::now());
        if let Some(subresource) = subresource {
            set(&mut entry, &["subresource"], subresource);
        }
        json_patch::merge(entry.get_mut("fieldsV1").unwrap_or(&mut Value::Null), &Value::Object(changed));
        entries.push(entry);
    }
    if entries.is_empty() {
        object::child(after, "metadata").remove("managedFields");
    } else {
        set(after, &["metadata", "managedFields"], entries);
    }
}

/// The leaves of `after` that are new or different; a list counts as one leaf.
fn changed_fields(before: &Value, after: &Value) -> Map<String, Value> {
    let mut fields = Map::new();
    for (key, value) in after.as_object().into_iter().flatten() {
        let old = before.get(key).unwrap_or(&Value::Null);
        if old == value {
            continue;
        }
        let inner = match value {
            Value::Object(_) => Value::Object(changed_fields(old, value)),
            _ => json!({}),
        };
        fields.insert(format!("f:{key}"), inner);
    }
    fields
}

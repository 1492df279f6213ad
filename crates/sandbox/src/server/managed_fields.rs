//! `metadata.managedFields`: who set what, and when. An entry for each manager and operation, which owns the
//! fields that its requests changed. Unlike the real server, another's entry does not lose what is taken over.

use crate::json::{Map, Value, json};

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
        metadata.retain(|field, _| matches!(field, "f:annotations" | "f:labels" | "f:finalizers"));
    }
    changed.retain(|field, value| field != "f:metadata" || value.as_object().is_some_and(|m| !m.is_empty()));
    let mut entries = object::list(before.unwrap_or(&empty), "/metadata/managedFields").to_vec();
    if !changed.is_empty() {
        let same = |entry: &Value| {
            object::text(entry, "/manager") == manager
                && object::text(entry, "/operation") == operation
                && entry.get("subresource").and_then(Value::as_str) == subresource
        };
        let fresh = || json!({ "manager": manager, "operation": operation, "fieldsV1": {} });
        let known = entries.iter().position(same);
        let mut entry = known.map_or_else(fresh, |place| entries.remove(place));
        set(&mut entry, &["apiVersion"], object::text(after, "/apiVersion"));
        set(&mut entry, &["fieldsType"], "FieldsV1");
        set(&mut entry, &["time"], object::now());
        if let Some(subresource) = subresource {
            set(&mut entry, &["subresource"], subresource);
        }
        entry.merge(&json!({ "fieldsV1": Value::Object(changed) }));
        entries.push(entry);
    }
    if entries.is_empty() {
        object::child(after, "metadata").remove("managedFields");
    } else {
        set(after, &["metadata", "managedFields"], entries);
    }
}

/// The leaves of `after` that are new or different; a list counts as one leaf.
fn changed_fields(before: &Value, after: &Value) -> Map {
    let mut fields = Map::default();
    for (key, value) in after.as_object().into_iter().flat_map(Map::iter) {
        let old = before.get(key).unwrap_or(&Value::Null);
        if old == value {
            continue;
        }
        let inner = match value {
            Value::Object(_) => Value::Object(changed_fields(old, value)),
            _ => json!({}),
        };
        fields.insert(&format!("f:{key}"), inner);
    }
    fields
}

//! The rows of quotas: what is spent of what there is.

use super::words::age;
use super::{Column, NAME};
use crate::json::{Map, Value};

pub(super) fn columns() -> Vec<Column> {
    vec![
        NAME,
        Column::text("Age", |o| age(o, "/metadata/creationTimestamp").into()),
        Column::text("Request", |o| spent(o, false)),
        Column::text("Limit", |o| spent(o, true)),
    ]
}

/// `pods: 2/10, requests.cpu: 1/4`, of the limits or of all the rest.
fn spent(quota: &Value, limits: bool) -> Value {
    let hard = quota.pointer("/status/hard").and_then(Value::as_object);
    let of_its_side =
        hard.into_iter().flat_map(Map::iter).filter(|(name, _)| name.starts_with("limits.") == limits);
    let parts = of_its_side.map(|(name, hard)| {
        let used = quota.pointer("/status/used").and_then(|used| used.get(name));
        let (used, hard) = (used.and_then(Value::as_str).unwrap_or("0"), hard.as_str().unwrap_or_default());
        format!("{name}: {used}/{hard}")
    });
    parts.collect::<Vec<_>>().join(", ").into()
}

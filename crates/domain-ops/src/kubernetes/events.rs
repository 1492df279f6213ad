//! The events of a namespace, or of some of its objects: read anew, bounded, made safe, and those that say the same
//! counted together.

use super::cluster::Cluster;
use super::diagnosis::groups;
use super::errors::{Failure, Operation};
use super::workload::Warning;
use astradesk_core::name::Namespace;
use astradesk_core::{Result, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// How many are asked for at a time, and how often.
const PAGE: u32 = 500;
const PAGES: usize = 10;

/// Which events are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Only those that were seen since then.
    pub(crate) since: Option<Timestamp>,
    /// Only warnings, or only what is normal.
    pub(crate) only: Option<Type>,
    /// So many groups that say the same.
    pub(crate) limit: usize,
}

/// The two types of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Normal,
    Warning,
}

impl Type {
    /// As the API writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// Groups of events that say the same, the newest first.
    pub(crate) groups: Vec<Value>,
    /// How many such groups there are.
    pub(crate) all: usize,
    /// How many of them are warnings.
    pub(crate) warnings: usize,
    /// Whether the namespace has more events than are looked at.
    pub(crate) is_cut: bool,
}

/// Reads the events of a namespace; only those on `objects`, by their ids, if there are any given.
pub(crate) async fn read(
    cluster: &Cluster,
    namespace: &Namespace,
    wanted: &Wanted,
    objects: Option<&HashSet<String>>,
) -> Result<Found> {
    let (events, is_cut) = list(cluster, namespace, wanted.only)
        .await
        .map_err(|failure| failure.into_error(&Operation::new("list", "events", namespace.as_str(), "")))?;
    Ok(Found { is_cut, ..choose(&events, wanted, objects) })
}

/// All of them, and whether there are more.
async fn list(
    cluster: &Cluster,
    namespace: &Namespace,
    only: Option<Type>,
) -> Result<(Vec<Event>, bool), Failure> {
    let requests = cluster.requests();
    let api: Api<Event> = requests.api(namespace.as_str());
    let operation = Operation::new("list", "events", namespace.as_str(), "");
    let mut params = ListParams::default().limit(PAGE);
    if let Some(only) = only {
        params = params.fields(&format!("type={}", only.as_str()));
    }
    let mut events = Vec::new();
    for _ in 0..PAGES {
        let page = requests.read(&operation, || api.list(&params)).await?;
        events.extend(page.items);
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok((events, false)),
        }
    }
    Ok((events, true))
}

/// Those that are wanted, the ones that say the same together.
fn choose(events: &[Event], wanted: &Wanted, objects: Option<&HashSet<String>>) -> Found {
    let of = |kind: Type| -> Vec<Arc<Warning>> {
        events
            .iter()
            .filter(|event| {
                (event.type_.as_deref() == Some(Type::Warning.as_str())) == (kind == Type::Warning)
            })
            .filter_map(Warning::of)
            .filter(|event| objects.is_none_or(|objects| objects.contains(&event.object)))
            .filter(|event| {
                wanted.since.is_none_or(|since| event.last_seen.is_some_and(|seen| seen >= since))
            })
            .map(Arc::new)
            .collect()
    };
    let (warnings, normal) = (of(Type::Warning), of(Type::Normal));
    let told = |kind: Type, events: &[Arc<Warning>]| -> Vec<(Option<Timestamp>, Value)> {
        let groups = groups(events).into_iter();
        groups.map(|group| (group.last_seen(), tagged(kind, group.into_json()))).collect()
    };
    let warnings = told(Type::Warning, &warnings);
    let count = warnings.len();
    let mut all = [warnings, told(Type::Normal, &normal)].concat();
    all.sort_by_key(|(seen, _)| std::cmp::Reverse(*seen));
    Found {
        all: all.len(),
        warnings: count,
        groups: all.into_iter().take(wanted.limit).map(|(_, group)| group).collect(),
        is_cut: false,
    }
}

fn tagged(kind: Type, mut group: Value) -> Value {
    if let Some(fields) = group.as_object_mut() {
        fields.insert("type".to_owned(), json!(kind.as_str()));
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(uid: &str, kind: &str, reason: &str, message: &str, seen: &str, count: i32) -> Event {
        serde_json::from_value(json!({
            "metadata": {"name": format!("{uid}.{reason}.{seen}"), "namespace": "shop"},
            "involvedObject": {"kind": "Pod", "name": format!("pod-{uid}"), "uid": uid},
            "type": kind, "reason": reason, "message": message, "count": count,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": seen,
        }))
        .unwrap()
    }

    #[test]
    fn those_that_say_the_same_are_one_and_the_newest_come_first() {
        let events = [
            event("a", "Warning", "BackOff", "back-off", "2026-01-01T10:00:00Z", 4),
            event("b", "Warning", "BackOff", "back-off", "2026-01-01T12:00:00Z", 3),
            event("a", "Normal", "Pulled", "token=abc123 pulled\u{1b}[8m", "2026-01-01T11:00:00Z", 1),
            event("c", "Warning", "Failed", "no", "2026-01-01T09:00:00Z", 1),
        ];
        let wanted = Wanted { since: None, only: None, limit: 10 };
        let found = choose(&events, &wanted, None);
        assert_eq!((found.all, found.warnings), (3, 2));
        let first = &found.groups[0];
        assert_eq!(
            (&first["reason"], &first["count"], &first["other_objects"], &first["object"], &first["type"]),
            (&json!("BackOff"), &json!(7), &json!(1), &json!("pod/pod-b"), &json!("Warning"))
        );
        assert_eq!(first["first_seen"], "2026-01-01T00:00:00Z");
        assert_eq!(found.groups[1]["message"], "token=[redacted] pulled");

        let since = Some("2026-01-01T11:00:00Z".parse().unwrap());
        assert_eq!(choose(&events, &Wanted { since, ..wanted.clone() }, None).all, 2);
        let one = choose(&events, &Wanted { limit: 1, ..wanted.clone() }, None);
        assert_eq!((one.groups.len(), one.all), (1, 3), "what is left out is counted");
        let of_c = HashSet::from(["c".to_owned()]);
        assert_eq!(choose(&events, &wanted, Some(&of_c)).groups[0]["reason"], "Failed");
        assert_eq!(choose(&events, &wanted, Some(&HashSet::new())), Found::default());
    }
}

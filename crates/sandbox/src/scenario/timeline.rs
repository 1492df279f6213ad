//! What happens by itself: at a time after the start, or once something has happened to an object.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use serde::Deserialize;
use serde_saphyr::Spanned;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::behaviour::{BEHAVIOUR, Behaviour, RESTARTED_AT};
use crate::json::{Value, json};
use crate::object::{set, text};
use crate::resource::{self, NODES, PODS, Resource};
use crate::server::{self, Shared, faults};
use crate::storage::{Change, Key, Storage};
use crate::yaml::{self, Error, Many, Span};

/// How much may happen.
const ENTRIES: usize = 1_000;
/// What is not in a file, and may be named in it.
const MADE_BY_CONTROLLERS: [&str; 4] = ["ControllerRevision", "Event", "Pod", "ReplicaSet"];

/// What happens to a cluster after its start, by [`super::read`].
#[derive(Debug, Clone, Default)]
pub struct Timeline(Vec<Event>);

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    at: Option<Span>,
    when: Option<When>,
    after: Option<Span>,
    apply: Option<serde_json::Value>,
    patch: Option<Patch>,
    delete: Option<String>,
    behave: Option<Behave>,
    node: Option<Node>,
    faults: Option<Vec<Spanned<faults::Rule>>>,
    heal: Option<Many<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    object: String,
    event: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    object: String,
    with: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Behave {
    object: String,
    #[serde(rename = "as")]
    behaviour: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    name: String,
    is: Power,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Power {
    Up,
    Down,
}

/// Something that happens.
#[derive(Debug, Clone)]
struct Event {
    trigger: Trigger,
    action: Action,
    /// For people.
    title: String,
}

#[derive(Debug, Clone)]
enum Trigger {
    /// So long after the start.
    At(Duration),
    /// So long after something has happened to an object.
    Once { what: Seen, object: Pattern, then: Duration },
}

/// What can be seen of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Created,
    Deleted,
    Restarted,
    /// An event about it, by its reason.
    Reason(String),
}

/// One object, or with a `*` at its end those whose names begin so.
#[derive(Debug, Clone)]
struct Pattern(Key);

#[derive(Debug, Clone)]
enum Action {
    /// Makes an object, or merges into the one that is there.
    Apply(Key, Value),
    Merge(Key, Value),
    Delete(Key),
    AddFaults(Vec<faults::Rule>),
    /// Removes the faults of these names; all of them, where there is none.
    Heal(Vec<String>),
}

impl Timeline {
    /// Checks every entry on a rehearsal.
    pub(super) fn read(entries: Vec<Spanned<Entry>>, rehearsal: &Rehearsal) -> Result<Timeline, Error> {
        let mut events = Vec::new();
        for entry in entries {
            let line = entry.referenced.line();
            let wrong = |what| Error { line, what };
            if events.len() == ENTRIES {
                return Err(wrong(format!("more than {ENTRIES} entries")));
            }
            let event = Event::read(entry.value).map_err(|problem| match problem {
                Problem::Here(what) => wrong(what),
                Problem::Inside(error) => error,
            })?;
            rehearsal.perform(&event.action).map_err(wrong)?;
            events.push(event);
        }
        Ok(Timeline(events))
    }

    /// How many things happen.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing happens.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is wrong with an entry, or with what has a line of its own in it.
enum Problem {
    Here(String),
    Inside(Error),
}

impl From<String> for Problem {
    fn from(what: String) -> Problem {
        Problem::Here(what)
    }
}

impl Event {
    fn read(entry: Entry) -> Result<Event, Problem> {
        let Entry { at, when, after, apply, patch, delete, behave, node, faults, heal } = entry;
        let trigger = match (at, when, after) {
            (Some(at), None, None) => Trigger::At(at.0),
            (None, Some(when), then) => Trigger::read(&when, then.map_or(Duration::ZERO, |then| then.0))?,
            _ => return Err("an entry has either `at`, or `when` and perhaps `after`".to_owned().into()),
        };
        let (title, action) = match (apply, patch, delete, behave, node, faults, heal) {
            (Some(object), None, None, None, None, None, None) => apply_of(object.into())?,
            (None, Some(patch), None, None, None, None, None) => {
                let key = locate(&patch.object)?;
                (format!("patch {}", patch.object), Action::Merge(key, patch.with.into()))
            }
            (None, None, Some(object), None, None, None, None) => {
                (format!("delete {object}"), Action::Delete(locate(&object)?))
            }
            (None, None, None, Some(behave), None, None, None) => behave_of(&behave)?,
            (None, None, None, None, Some(node), None, None) => node_of(&node),
            (None, None, None, None, None, Some(rules), None) => {
                let rules = faults::settle(rules).map_err(Problem::Inside)?;
                let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
                (format!("faults {}", names.join(", ")), Action::AddFaults(rules))
            }
            (None, None, None, None, None, None, Some(names)) => {
                let shown = names.0.join(", ");
                let all = names.0 == ["all"];
                (format!("heal {shown}"), Action::Heal(if all { Vec::new() } else { names.0 }))
            }
            _ => {
                let known = "`apply`, `patch`, `delete`, `behave`, `node`, `faults` or `heal`";
                return Err(format!("an entry does one thing: {known}").into());
            }
        };
        Ok(Event { trigger, action, title })
    }
}

fn apply_of(object: Value) -> Result<(String, Action), String> {
    let (version, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
    let resource =
        Resource::of(&object).ok_or_else(|| format!("no kind `{kind}` in version `{version}` is served"))?;
    let mut key = Key::of(resource, &object);
    if key.namespace.is_empty() && resource.namespaced {
        key.namespace = "default".into();
    }
    Ok((format!("apply {}/{}", kind.to_lowercase(), key.name), Action::Apply(key, object)))
}

fn behave_of(behave: &Behave) -> Result<(String, Action), String> {
    let Behave { object, behaviour } = behave;
    let key = locate(object)?;
    if *key.resource != NODES && Behaviour::parse(behaviour).is_none() {
        return Err(format!("unknown behaviour `{behaviour}`"));
    }
    let own = [&NODES, &PODS].contains(&key.resource);
    let metadata: &[&str] = if own { &["metadata"] } else { &["spec", "template", "metadata"] };
    let mut patch = json!({});
    set(&mut patch, &[metadata, &["annotations", BEHAVIOUR]].concat(), behaviour.as_str());
    Ok((format!("{object} behaves as {behaviour}"), Action::Merge(key, patch)))
}

fn node_of(node: &Node) -> (String, Action) {
    let (word, behaviour) = match node.is {
        Power::Down => ("down", Value::from("down")),
        Power::Up => ("up", Value::Null),
    };
    let patch = json!({ "metadata": { "annotations": { BEHAVIOUR: behaviour } } });
    (format!("node {} is {word}", node.name), Action::Merge(Key::new(&NODES, "", &node.name), patch))
}

/// `deployment/webapp`, in the namespace `default`, or `shop/deployment/webapp`.
fn locate(reference: &str) -> Result<Key, String> {
    let parts: Vec<&str> = reference.split('/').collect();
    let (namespace, kind, name) = match parts.as_slice() {
        [kind, name] => ("default", *kind, *name),
        [namespace, kind, name] => (*namespace, *kind, *name),
        _ => {
            return Err(format!(
                "`{reference}` is no object: write it as `deployment/webapp` or `shop/deployment/webapp`"
            ));
        }
    };
    let lower = kind.to_lowercase();
    let is_meant = |resource: &&&Resource| {
        resource.kind.to_lowercase() == lower
            || resource.plural == lower
            || resource.short_names.contains(&lower.as_str())
    };
    let Some(resource) = resource::ALL.iter().find(is_meant) else {
        let known: Vec<String> = resource::ALL.iter().map(|resource| resource.kind.to_lowercase()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        return Err(yaml::unknown("kind", kind, &known));
    };
    Ok(Key::new(resource, if resource.namespaced { namespace } else { "" }, name))
}

impl Action {
    fn perform(&self, shared: &Arc<Shared>) -> Result<(), String> {
        match self {
            Action::Apply(key, object) => {
                server::ask(shared, Method::PATCH, key, "application/apply-patch+yaml", object)
            }
            Action::Merge(key, patch) => {
                server::ask(shared, Method::PATCH, key, "application/merge-patch+json", patch)
            }
            Action::Delete(key) => server::ask(shared, Method::DELETE, key, "application/json", &Value::Null),
            Action::AddFaults(rules) => rules.iter().try_for_each(|rule| shared.faults.add(rule.clone())),
            Action::Heal(names) if names.is_empty() => {
                shared.faults.clear();
                Ok(())
            }
            Action::Heal(names) => names.iter().try_for_each(|name| shared.faults.remove(name)),
        }
    }
}

/// A cluster without a life, on which everything is tried before it is done.
pub(super) struct Rehearsal(Arc<Shared>);

impl Rehearsal {
    /// With so many nodes, and these faults.
    pub(super) fn new(nodes: u32, faults: Vec<faults::Rule>) -> Result<Rehearsal, String> {
        let shared = Shared {
            storage: Arc::new(Storage::new()),
            accounts: server::Accounts::default(),
            faults: faults::Faults::new(faults, 0),
            stop: CancellationToken::new(),
        };
        for object in crate::first_objects(nodes) {
            server::create_object(&shared.storage, object)?;
        }
        Ok(Rehearsal(Arc::new(shared)))
    }

    pub(super) fn create(&self, object: Value) -> Result<(), String> {
        server::create_object(&self.0.storage, object).map(drop)
    }

    /// Does it, unless it is about what only a living cluster has.
    fn perform(&self, action: &Action) -> Result<(), String> {
        match action {
            Action::Merge(key, _) | Action::Delete(key)
                if MADE_BY_CONTROLLERS.contains(&key.resource.kind) && self.0.storage.get(key).is_none() =>
            {
                Ok(())
            }
            other => other.perform(&self.0),
        }
    }
}

impl Trigger {
    fn read(when: &When, then: Duration) -> Result<Trigger, String> {
        let what = match when.event.as_str() {
            "created" => Seen::Created,
            "deleted" => Seen::Deleted,
            "restarted" => Seen::Restarted,
            reason if reason.starts_with(|first: char| first.is_ascii_uppercase()) => {
                Seen::Reason(reason.into())
            }
            other => {
                let known = ["created", "deleted", "restarted"];
                let hint = "or the reason of an event, such as `BackOff`";
                return Err(format!("{}, {hint}", yaml::unknown("event", other, &known)));
            }
        };
        Ok(Trigger::Once { what, object: Pattern(locate(&when.object)?), then })
    }

    /// How long after this change it happens, if this is what it waits for.
    fn after(&self, change: &Change) -> Option<Duration> {
        let Trigger::Once { what, object, then } = self else { return None };
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        let restarted_at = |object: Option<&Value>| {
            object?.pointer("/spec/template/metadata/annotations")?.get(RESTARTED_AT).cloned()
        };
        let seen = match what {
            Seen::Created => object.fits(&change.key) && before.is_none(),
            Seen::Deleted => object.fits(&change.key) && after.is_none(),
            Seen::Restarted => {
                object.fits(&change.key) && after.is_some() && restarted_at(before) != restarted_at(after)
            }
            Seen::Reason(reason) => {
                after.is_some_and(|event| text(event, "/reason") == reason && object.is_regarded(event))
            }
        };
        seen.then_some(*then)
    }
}

impl Pattern {
    fn fits(&self, key: &Key) -> bool {
        self.0.resource == key.resource && self.0.namespace == key.namespace && self.has_name(&key.name)
    }

    fn is_regarded(&self, event: &Value) -> bool {
        self.0.resource.kind == text(event, "/involvedObject/kind")
            && *self.0.namespace == *text(event, "/involvedObject/namespace")
            && self.has_name(text(event, "/involvedObject/name"))
    }

    fn has_name(&self, name: &str) -> bool {
        match self.0.name.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => *name == *self.0.name,
        }
    }
}

/// Lets everything happen, and tells it. Ends when nothing is to happen any more.
pub(crate) async fn run(
    timeline: Timeline,
    shared: Arc<Shared>,
    told: broadcast::Sender<String>,
    stop: CancellationToken,
) {
    let start = Instant::now();
    let mut latest = shared.storage.subscribe();
    let mut cursor = shared.storage.version();
    let mut waiting = Vec::new();
    // By time, and at the same time in the order of the file.
    let mut due: BTreeMap<(Instant, usize), Event> = BTreeMap::new();
    for (number, event) in timeline.0.into_iter().enumerate() {
        match event.trigger {
            Trigger::At(after) => _ = due.insert((start + after, number), event),
            Trigger::Once { .. } => waiting.push((number, event)),
        }
    }
    while !(waiting.is_empty() && due.is_empty()) {
        latest.borrow_and_update();
        let current = shared.storage.version();
        let changes = match shared.storage.changes_since(cursor) {
            Ok(changes) if !waiting.is_empty() => changes,
            Ok(_) => Vec::new(),
            Err(_) => {
                tracing::warn!("the timeline fell behind, and what it waits for may have passed it by");
                Vec::new()
            }
        };
        cursor = changes.last().map_or(current, |change| change.version);
        for change in &changes {
            for (number, event) in waiting.extract_if(.., |(_, event)| event.trigger.after(change).is_some())
            {
                let after = event.trigger.after(change).unwrap_or_default();
                due.insert((Instant::now() + after, number), event);
            }
        }
        let now = Instant::now();
        let rest = due.split_off(&(now, usize::MAX));
        for event in std::mem::replace(&mut due, rest).into_values() {
            let failed = event.action.perform(&shared).err();
            let failed = failed.map(|why| format!(": {why}")).unwrap_or_default();
            let seconds = start.elapsed().as_secs();
            // Nobody may be listening.
            _ = told.send(format!("{seconds}s {}{failed}", event.title));
        }
        let wake_at = due.keys().next().map(|(at, _)| *at);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            going_on = latest.changed(), if !waiting.is_empty() => if going_on.is_err() { return },
            () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
        }
    }
}

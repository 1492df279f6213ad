//! An entry of a timeline as it is written.

use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::action::Action;
use super::timeline::{Event, Pattern, Seen, Trigger};
use crate::behaviour::{BEHAVIOUR, Behaviour};
use crate::json::{Value, json};
use crate::object::{set, text};
use crate::resource::{self, NODES, PODS, Resource};
use crate::server::faults;
use crate::storage::Key;
use crate::yaml::{self, Error, Many, Span};

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

/// What is wrong with an entry, or with what has a line of its own in it.
pub(super) enum Problem {
    Here(String),
    Inside(Error),
}

impl From<String> for Problem {
    fn from(what: String) -> Problem {
        Problem::Here(what)
    }
}

impl Event {
    pub(super) fn read(entry: Entry) -> Result<Event, Problem> {
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
                if let Some(nameless) = rules.iter().find(|rule| rule.value.name.is_empty()) {
                    // A made-up name could be that of a fault from the start, which it would replace.
                    return Err(Problem::Inside(yaml::at(
                        nameless,
                        "a fault that begins later has a `name`",
                    )));
                }
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
}

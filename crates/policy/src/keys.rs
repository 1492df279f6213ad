//! For which requests a policy can matter at all, read from its scope and from how its conditions begin.
//!
//! A policy whose key does not fit a request is not satisfied by it and does not fail on it either, so it need not
//! be evaluated. Only what Cedar evaluates first, and cannot fail to evaluate, counts: the scope, then the leading
//! `&&` parts of the leading `when` clauses while they are comparisons of what every request has with what is
//! written out.

use crate::scan::{Scan, attribute, literal_entity, text};
use astradesk_core::Effect;
use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use serde_json::Value;

/// The most principals or roles, written out in one condition, that are told apart.
const MOST: usize = 64;

/// The keys of a policy; it can matter only for a request that fits one of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) actions: Vec<ActionKey>,
    pub(crate) principals: Vec<PrincipalKey>,
    pub(crate) resource: ResourceKey,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ActionKey {
    Any,
    /// Every tool of an effect.
    Group(Effect),
    /// A tool, or [`BREAK_GLASS`](crate::schema::BREAK_GLASS).
    Action(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalKey {
    Any,
    Role(String),
    Principal(String),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ResourceKey {
    Any,
    Namespace(String),
    Name(String),
    Target(String),
}

/// What a leading part of a condition says.
enum Part {
    Principals(Vec<PrincipalKey>),
    Resource(ResourceKey),
    /// Something that cannot fail and is no key.
    Other,
}

impl Keys {
    /// The keys of a policy.
    pub(crate) fn of(policy: &Policy, scan: &Scan) -> Self {
        let mut keys = Self {
            actions: actions(&policy.action_constraint()),
            principals: vec![principal(&policy.principal_constraint())],
            resource: resource(&policy.resource_constraint()),
        };
        for condition in &scan.leading {
            if !keys.lead(condition) {
                break;
            }
        }
        keys
    }

    /// Takes in the leading parts of a condition. Whether it has no other ones, so that what follows leads too.
    fn lead(&mut self, condition: &Value) -> bool {
        if let Some(both) = condition.get("&&") {
            let [left, right] = ["left", "right"].map(|side| both.get(side));
            return [left, right].into_iter().all(|side| side.is_some_and(|side| self.lead(side)));
        }
        match part(condition) {
            Some(Part::Principals(principals)) if self.principals == [PrincipalKey::Any] => {
                self.principals = principals;
            }
            // The narrowest one tells most policies apart.
            Some(Part::Resource(key)) if key > self.resource => self.resource = key,
            Some(_) => {}
            None => return false,
        }
        true
    }
}

fn actions(constraint: &ActionConstraint) -> Vec<ActionKey> {
    match constraint {
        ActionConstraint::Any => vec![ActionKey::Any],
        ActionConstraint::Eq(uid) => vec![ActionKey::Action(id(uid))],
        ActionConstraint::In(uids) => uids.iter().map(|uid| action(id(uid))).collect(),
    }
}

fn action(id: String) -> ActionKey {
    let group = [Effect::Read, Effect::Write, Effect::Execute].into_iter().find(|group| group.as_str() == id);
    group.map_or(ActionKey::Action(id), ActionKey::Group)
}

fn principal(constraint: &PrincipalConstraint) -> PrincipalKey {
    match constraint {
        PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => {
            principal_key((uid.type_name().to_string(), id(uid))).unwrap_or(PrincipalKey::Any)
        }
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => PrincipalKey::Any,
    }
}

fn principal_key((entity_type, id): (String, String)) -> Option<PrincipalKey> {
    match entity_type.as_str() {
        "Role" => Some(PrincipalKey::Role(id)),
        "Principal" => Some(PrincipalKey::Principal(id)),
        _ => None,
    }
}

fn resource(constraint: &ResourceConstraint) -> ResourceKey {
    match constraint {
        ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid)
            if uid.type_name().to_string() == "Target" =>
        {
            ResourceKey::Target(id(uid))
        }
        _ => ResourceKey::Any,
    }
}

/// What part of a condition says that cannot fail on any request; `None` for anything else.
fn part(expression: &Value) -> Option<Part> {
    if let Some(sides) = expression.get("in") {
        let (left, right) = (sides.get("left")?, sides.get("right")?);
        return (left.get("Var")? == "principal").then(|| within(right)).flatten();
    }
    let sides = expression.get("==")?;
    let (left, right) = (sides.get("left")?, sides.get("right")?);
    equal(left, right).or_else(|| equal(right, left))
}

/// `principal in` an entity, or a set of them, that are written out.
fn within(right: &Value) -> Option<Part> {
    let entities: Vec<(String, String)> = match right.get("Set").and_then(Value::as_array) {
        Some(items) => items.iter().map(literal_entity).collect::<Option<_>>()?,
        None => vec![literal_entity(right)?],
    };
    let keys: Option<Vec<PrincipalKey>> = entities.into_iter().map(principal_key).collect();
    Some(keys.filter(|keys| keys.len() <= MOST).map_or(Part::Other, Part::Principals))
}

/// A comparison of what every request has with what is written out.
fn equal(left: &Value, right: &Value) -> Option<Part> {
    if let Some((variable, attribute)) = attribute(left) {
        let text = text(right)?.to_owned();
        return match (variable, attribute) {
            ("resource", "namespace") => Some(Part::Resource(ResourceKey::Namespace(text))),
            ("resource", "name") => Some(Part::Resource(ResourceKey::Name(text))),
            ("resource", "system" | "cluster" | "kind") | ("context", "tool" | "source" | "planner") => {
                Some(Part::Other)
            }
            _ => None,
        };
    }
    let (entity_type, id) = literal_entity(right)?;
    match (left.get("Var")?.as_str()?, entity_type.as_str()) {
        ("principal", "Principal") => Some(Part::Principals(vec![PrincipalKey::Principal(id)])),
        ("resource", "Target") => Some(Part::Resource(ResourceKey::Target(id))),
        _ => None,
    }
}

fn id(uid: &EntityUid) -> String {
    uid.id().unescaped().to_owned()
}

//! What a policy says, found in Cedar's own JSON form of it, without evaluating anything.

use crate::needs::Needs;
use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use serde_json::Value;
use std::collections::BTreeSet;

/// What a policy speaks of.
#[derive(Debug, Default, Clone)]
pub(crate) struct Scan {
    /// What it asks about a request.
    pub(crate) needs: Needs,
    /// The entities that it names, as `(type, id)`.
    pub(crate) entities: BTreeSet<(String, String)>,
    /// The roles of which it counts approvals.
    pub(crate) approvers: BTreeSet<String>,
    /// Whether it counts approvals of a role that it does not name.
    pub(crate) computes_approvers: bool,
    /// The namespaces that it compares a target's with.
    pub(crate) namespaces: BTreeSet<String>,
    /// The tools that it compares the call's with.
    pub(crate) tools: BTreeSet<String>,
    /// The expressions of its leading `when` clauses, in order.
    pub(crate) leading: Vec<Value>,
}

/// Looks through a policy. `None`: Cedar does not give its JSON form.
pub(crate) fn scan(policy: &Policy) -> Option<Scan> {
    let json = policy.to_json().ok()?;
    let mut scan = Scan::default();
    scan.scope(policy);
    let mut leads = true;
    for condition in json.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let body = condition.get("body")?;
        scan.expression(body);
        leads = leads && condition.get("kind").and_then(Value::as_str) == Some("when");
        if leads {
            scan.leading.push(body.clone());
        }
    }
    Some(scan)
}

impl Scan {
    /// The ids of the entities of this type that it names.
    pub(crate) fn named(&self, entity_type: &str) -> impl Iterator<Item = &str> {
        self.entities.iter().filter(move |(of, _)| of == entity_type).map(|(_, id)| id.as_str())
    }

    fn scope(&mut self, policy: &Policy) {
        match policy.principal_constraint() {
            PrincipalConstraint::In(uid)
            | PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::IsIn(_, uid) => {
                self.entity(&uid);
            }
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => {}
        }
        match policy.action_constraint() {
            ActionConstraint::In(uids) => uids.iter().for_each(|uid| self.entity(uid)),
            ActionConstraint::Eq(uid) => self.entity(&uid),
            ActionConstraint::Any => {}
        }
        match policy.resource_constraint() {
            ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => {
                self.entity(&uid);
            }
            ResourceConstraint::Any | ResourceConstraint::Is(_) => {}
        }
    }

    fn entity(&mut self, uid: &EntityUid) {
        self.entities.insert((uid.type_name().to_string(), uid.id().unescaped().to_owned()));
    }

    fn expression(&mut self, expression: &Value) {
        let (operator, operand) = match expression {
            Value::Object(object) => match object.iter().next() {
                Some((operator, operand)) if object.len() == 1 => (operator.as_str(), operand),
                _ => return object.values().for_each(|value| self.expression(value)),
            },
            Value::Array(items) => return items.iter().for_each(|item| self.expression(item)),
            _ => return,
        };
        match operator {
            "Value" => self.literal(operand),
            "Var" if operand == "context" => self.needs.add(Needs::ALL),
            "Var" => {}
            "Record" => {
                for (_, value) in operand.as_object().into_iter().flatten() {
                    self.expression(value);
                }
            }
            "." | "has" => self.attribute(operand),
            "hasTag" | "getTag" => self.tag(operand),
            "==" | "contains" | "containsAll" | "containsAny" => {
                self.comparison(operand);
                self.expression(operand);
            }
            _ => self.expression(operand),
        }
    }

    fn literal(&mut self, value: &Value) {
        match value {
            Value::Object(object) => match object.get("__entity").map(entity) {
                Some(Some(entity)) => {
                    self.entities.insert(entity);
                }
                _ => object.values().for_each(|value| self.literal(value)),
            },
            Value::Array(items) => items.iter().for_each(|item| self.literal(item)),
            _ => {}
        }
    }

    fn attribute(&mut self, operand: &Value) {
        match operand.get("attr") {
            Some(Value::String(name)) => self.needs.add(Needs::of(name)),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).for_each(|name| self.needs.add(Needs::of(name)));
            }
            _ => {}
        }
        match operand.get("left") {
            Some(left) if left.get("Var").is_some() => {}
            Some(left) => self.expression(left),
            None => {}
        }
    }

    fn tag(&mut self, operand: &Value) {
        let [left, right] = ["left", "right"].map(|side| operand.get(side));
        if left.and_then(attribute).is_some_and(|path| path == ("context", "approvals")) {
            match right.and_then(text) {
                Some(role) => drop(self.approvers.insert(role.to_owned())),
                None => self.computes_approvers = true,
            }
        } else {
            // Tags of the target; or, in a way that cannot be told from here, of the approvals.
            self.needs.add(Needs::LABELS);
            self.computes_approvers |= self.needs.any(Needs::APPROVALS);
        }
        left.into_iter().chain(right).for_each(|side| self.expression(side));
    }

    /// Notes which names a target's namespace and the call's tool are compared with.
    fn comparison(&mut self, operand: &Value) {
        let [left, right] = ["left", "right"].map(|side| operand.get(side));
        for (one, other) in [(left, right), (right, left)] {
            let (Some(one), Some(other)) = (one, other) else { continue };
            match attribute(one) {
                Some(("resource", "namespace")) => self.namespaces.extend(texts(other)),
                Some(("context", "tool")) => self.tools.extend(texts(other)),
                _ => {}
            }
        }
    }
}

/// The variable and the attribute of `resource.namespace`.
pub(crate) fn attribute(expression: &Value) -> Option<(&str, &str)> {
    let access = expression.get(".")?;
    Some((access.get("left")?.get("Var")?.as_str()?, access.get("attr")?.as_str()?))
}

/// A text that is written out.
pub(crate) fn text(expression: &Value) -> Option<&str> {
    expression.get("Value")?.as_str()
}

/// An entity that is written out, as `(type, id)`.
pub(crate) fn literal_entity(expression: &Value) -> Option<(String, String)> {
    entity(expression.get("Value")?.get("__entity")?)
}

fn entity(value: &Value) -> Option<(String, String)> {
    Some((value.get("type")?.as_str()?.to_owned(), value.get("id")?.as_str()?.to_owned()))
}

/// A text, or the texts of a set, that are written out.
fn texts(expression: &Value) -> Vec<String> {
    let items = expression.get("Set").and_then(Value::as_array);
    let literal = text(expression).into_iter();
    literal.chain(items.into_iter().flatten().filter_map(text)).map(str::to_owned).collect()
}

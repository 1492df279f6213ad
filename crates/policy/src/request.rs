//! From a call and one of its targets to a request of Cedar.

use crate::needs::Needs;
use crate::schema::{Argument, ArgumentKind, BREAK_GLASS, Tool};
use crate::tally::Tally;
use astradesk_core::{Facts, Principal, RoleName, Target};
use astradesk_runtime::port::PolicyRequest;
use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, ParseErrors, Request,
    RestrictedExpression, Schema,
};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The types of entities.
#[derive(Debug)]
pub(crate) struct Types {
    principal: EntityTypeName,
    pub(crate) role: EntityTypeName,
    target: EntityTypeName,
    approvals: EntityTypeName,
    action: EntityTypeName,
}

/// What is asked of Cedar.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) entities: Entities,
}

/// A request cannot be made from the call: an argument is not of its type.
#[derive(Debug)]
pub(crate) struct Unaskable;

/// What a request is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// The call and its circumstances.
    pub(crate) request: &'a PolicyRequest<'a>,
    /// `issuer#subject`.
    pub(crate) principal: &'a str,
    /// The tool; `None` to ask whether guardrails may be overridden.
    pub(crate) tool: Option<&'a Tool>,
    /// The target.
    pub(crate) target: &'a Target,
    /// The target, as it is written.
    pub(crate) id: &'a str,
    /// What is known of the target.
    pub(crate) facts: &'a Facts,
    /// Who has agreed.
    pub(crate) tally: &'a Tally,
}

impl Types {
    pub(crate) fn new() -> Result<Self, ParseErrors> {
        Ok(Self {
            principal: "Principal".parse()?,
            role: "Role".parse()?,
            target: "Target".parse()?,
            approvals: "Approvals".parse()?,
            action: "Action".parse()?,
        })
    }

    /// The request, with as much in it as `needs` says.
    pub(crate) fn ask(
        &self,
        question: &Question<'_>,
        needs: Needs,
        schema: Option<&Schema>,
    ) -> Result<Asked, Unaskable> {
        let approvals = uid(&self.approvals, "given");
        let (action, entity) = self.action(question);
        let mut entities = Vec::with_capacity(4);
        entities.push(entity);
        let principal = uid(&self.principal, question.principal);
        entities.push(self.principal(principal.clone(), question.request.principal, needs)?);
        let resource = uid(&self.target, question.id);
        entities.push(target(resource.clone(), question, needs)?);
        if needs.any(Needs::APPROVALS) {
            entities.push(tally(approvals.clone(), question.tally)?);
        }
        let context = Context::from_pairs(context(question, &approvals, needs)?).map_err(|_| Unaskable)?;
        let request = Request::new(principal, action, resource, context, schema).map_err(|_| Unaskable)?;
        let entities = Entities::from_entities(entities, None).map_err(|_| Unaskable)?;
        Ok(Asked { request, entities })
    }

    fn action(&self, question: &Question<'_>) -> (EntityUid, Entity) {
        let (id, group) = match question.tool {
            Some(tool) => (question.request.call.tool.as_str(), Some(tool.effect.as_str())),
            None => (BREAK_GLASS, None),
        };
        let action = uid(&self.action, id);
        let parents = group.map(|group| uid(&self.action, group)).into_iter().collect();
        (action.clone(), Entity::new_no_attrs(action, parents))
    }

    fn principal(&self, id: EntityUid, principal: &Principal, needs: Needs) -> Result<Entity, Unaskable> {
        let roles = principal.roles.iter().map(|role: &RoleName| uid(&self.role, role.as_str())).collect();
        let mut attributes = HashMap::new();
        let mut add = |need: Needs, name: &str, value: Option<&str>| {
            if let Some(value) = value.filter(|_| needs.any(need)) {
                attributes.insert(name.to_owned(), string(value));
            }
        };
        add(Needs::SUBJECT, "subject", Some(&principal.subject));
        add(Needs::ISSUER, "issuer", Some(&principal.issuer));
        add(Needs::ACTOR, "actor", principal.actor.as_deref());
        Entity::new(id, attributes, roles).map_err(|_| Unaskable)
    }
}

fn target(id: EntityUid, question: &Question<'_>, needs: Needs) -> Result<Entity, Unaskable> {
    let (target, facts) = (question.target, question.facts);
    let mut attributes = HashMap::new();
    let mut add = |need: Needs, name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|_| needs.any(need)) {
            attributes.insert(name.to_owned(), string(value));
        }
    };
    add(Needs::SYSTEM, "system", Some(target.system()));
    add(Needs::CLUSTER, "cluster", Some(target.cluster()));
    add(Needs::NAMESPACE, "namespace", Some(target.namespace()));
    add(Needs::KIND, "kind", Some(target.kind()));
    add(Needs::NAME, "name", Some(target.name()));
    add(Needs::OWNER, "owner", facts.owner.as_deref());
    add(Needs::TIER, "tier", facts.tier.as_deref());
    add(Needs::GITOPS, "gitops", controller(facts));
    let labels = needs.any(Needs::LABELS).then_some(&facts.labels).into_iter().flatten();
    let labels = labels.map(|(key, value)| (key.clone(), string(value)));
    Entity::new_with_tags(id, attributes, HashSet::new(), labels).map_err(|_| Unaskable)
}

fn tally(id: EntityUid, tally: &Tally) -> Result<Entity, Unaskable> {
    let count = [("count".to_owned(), RestrictedExpression::new_long(tally.count.into()))];
    // A role that nobody has who agreed is not there, rather than there with 0.
    let roles = tally.roles.iter().filter(|(_, count)| **count > 0);
    let roles = roles.map(|(role, count)| (role.clone(), RestrictedExpression::new_long(i64::from(*count))));
    Entity::new_with_tags(id, count, HashSet::new(), roles).map_err(|_| Unaskable)
}

fn context(
    question: &Question<'_>,
    approvals: &EntityUid,
    needs: Needs,
) -> Result<Vec<(String, RestrictedExpression)>, Unaskable> {
    let PolicyRequest { source, planner, call, break_glass, dry_run, now, .. } = question.request;
    let mut pairs = Vec::new();
    let mut add = |need: Needs, name: &str, value: &dyn Fn() -> RestrictedExpression| {
        if needs.any(need) {
            pairs.push((name.to_owned(), value()));
        }
    };
    add(Needs::TOOL, "tool", &|| string(call.tool.as_str()));
    add(Needs::APPROVALS, "approvals", &|| RestrictedExpression::new_entity_uid(approvals.clone()));
    add(Needs::SOURCE, "source", &|| string(source.as_str()));
    add(Needs::PLANNER, "planner", &|| string(planner));
    add(Needs::DRY_RUN, "dry_run", &|| RestrictedExpression::new_bool(*dry_run));
    add(Needs::BREAK_GLASS, "break_glass", &|| RestrictedExpression::new_bool(*break_glass));
    add(Needs::TIME, "time", &|| RestrictedExpression::new_long(now.as_second()));
    add(Needs::NOW, "now", &|| RestrictedExpression::new_datetime(format!("{now:.3}")));
    let downtime = question.facts.downtime_expected;
    add(Needs::DOWNTIME, "downtime_expected", &|| RestrictedExpression::new_bool(downtime));
    if let Some(controller) = controller(question.facts) {
        add(Needs::GITOPS, "gitops", &|| string(controller));
    }
    if needs.any(Needs::ARGUMENTS) {
        pairs.push(("arguments".to_owned(), arguments(question)?));
    }
    Ok(pairs)
}

/// The arguments that the tool's action has a type for.
fn arguments(question: &Question<'_>) -> Result<RestrictedExpression, Unaskable> {
    let known = question.tool.map_or(&[][..], |tool| &tool.arguments);
    let given = known.iter().filter_map(|argument| {
        let value = question.request.call.arguments.get(&argument.name)?;
        Some(typed(argument, value).map(|value| (argument.name.clone(), value)))
    });
    let given = given.collect::<Result<Vec<_>, Unaskable>>()?;
    RestrictedExpression::new_record(given).map_err(|_| Unaskable)
}

/// An argument of its type. One that is not, such as a number that Cedar cannot hold, makes the request
/// impossible: to leave it out could make a policy that forbids it miss it.
fn typed(Argument { kind, .. }: &Argument, value: &Value) -> Result<RestrictedExpression, Unaskable> {
    let typed = match kind {
        ArgumentKind::Text => value.as_str().map(string),
        ArgumentKind::Flag => value.as_bool().map(RestrictedExpression::new_bool),
        ArgumentKind::Integer => integer(value).map(RestrictedExpression::new_long),
        ArgumentKind::Texts => value.as_array().and_then(|items| {
            let texts = items.iter().map(|item| item.as_str().map(string));
            texts.collect::<Option<Vec<_>>>().map(RestrictedExpression::new_set)
        }),
    };
    typed.ok_or(Unaskable)
}

/// An integer, which JSON Schema takes `1.0` for as well.
fn integer(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = |number: &f64| number.fract() == 0.0 && number.abs() <= EXACT;
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(|_| !value.is_u64()).filter(whole).map(|number| number as i64))
}

fn controller(facts: &Facts) -> Option<&str> {
    facts.gitops.as_ref().map(|gitops| gitops.controller.as_str())
}

/// An entity's name.
pub(crate) fn uid(of: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id))
}

fn string(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

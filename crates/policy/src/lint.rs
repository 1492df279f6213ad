//! Doubts about a set that is valid: what can never match, what asks for something nobody can tell.

use crate::parse::Parsed;
use crate::scan::Scan;
use crate::schema::{BREAK_GLASS, RESERVED, Tools};
use crate::source::PolicySources;
use astradesk_core::text::shown;
use astradesk_core::{RoleName, Target, ToolSpec};
use cedar_policy::{ActionConstraint, Effect, Policy};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The actions that the policy names and that are no tool.
pub(crate) fn unknown_actions(scan: &Scan, tools: &Tools) -> BTreeSet<String> {
    let known = |name: &&str| tools.get(name).is_some() || RESERVED.contains(name);
    scan.named("Action").filter(|name| !known(name)).map(str::to_owned).collect()
}

/// The group that the policy takes for a tool: a `forbid` of this kind would look like one and be none.
pub(crate) fn equal_to_group(policy: &Policy) -> Option<String> {
    match policy.action_constraint() {
        ActionConstraint::Eq(uid) => {
            let id = uid.id().unescaped();
            (id != BREAK_GLASS && RESERVED.contains(&id)).then(|| id.to_owned())
        }
        ActionConstraint::Any | ActionConstraint::In(_) => None,
    }
}

/// A role of which the policy counts approvals, and which is no role name: its approvals could never be given.
pub(crate) fn impossible_approver(scan: &Scan) -> Option<&str> {
    scan.approvers.iter().map(String::as_str).find(|role| RoleName::parse(*role).is_err())
}

/// What is doubtful, each with the place of the policy.
pub(crate) fn warnings(
    sources: &PolicySources,
    tools: &Tools,
    specs: &[Arc<ToolSpec>],
    scanned: &[(Parsed, Scan)],
) -> Vec<String> {
    let mut warnings = Vec::new();
    for spec in specs.iter().filter(|spec| RESERVED.contains(&spec.name.as_str())) {
        let name = &spec.name;
        warnings.push(format!("the tool `{name}` has the name of a group of actions, and cannot be called"));
    }
    for (parsed, scan) in scanned {
        let doubts = never(sources, tools, scan).into_iter().chain(strange(parsed, scan));
        warnings.extend(doubts.map(|doubt| format!("{}: {doubt}", parsed.place)));
    }
    warnings
}

/// Names of things that there are not.
fn never(sources: &PolicySources, tools: &Tools, scan: &Scan) -> Vec<String> {
    let mut doubts = Vec::new();
    for name in unknown_actions(scan, tools) {
        doubts.push(format!("there is no tool `{}`", shown(&name, 64)));
    }
    for name in scan.tools.iter().filter(|name| tools.get(name).is_none()) {
        doubts.push(format!("there is no tool `{}`", shown(name, 64)));
    }
    let named = scan.named("Role").chain(scan.approvers.iter().map(String::as_str));
    for role in named.filter(|role| is_unknown(sources, role)) {
        doubts.push(format!("nobody has the role `{}`, as far as is configured", shown(role, 64)));
    }
    let managed = sources.settings.namespace.as_str();
    let targets = scan.named("Target").map(|target| match target.parse::<Target>() {
        // What is in no namespace is not bound to the one that is managed.
        Ok(Target::External { .. } | Target::Node { .. }) => Ok(managed.to_owned()),
        Ok(Target::Kubernetes { namespace, .. } | Target::Object { namespace, .. }) => {
            Ok(namespace.to_string())
        }
        Err(_) => Err(format!("`{}` is not a target, so nothing is ever equal to it", shown(target, 96))),
    });
    let namespaces = scan.namespaces.iter().cloned().map(Ok);
    for namespace in namespaces.chain(targets) {
        match namespace {
            // A node, and what is outside of clusters, is in none.
            Ok(namespace) if namespace == managed || namespace.is_empty() => {}
            Ok(namespace) => doubts.push(format!(
                "the namespace `{}` is not managed here, only `{managed}` is",
                shown(&namespace, 64)
            )),
            Err(doubt) => doubts.push(doubt),
        }
    }
    doubts
}

fn is_unknown(sources: &PolicySources, role: &str) -> bool {
    let mut known = sources.known_roles.iter().chain(sources.settings.reading_roles());
    !sources.known_roles.is_empty() && !known.any(|known| known.as_str() == role)
}

/// What is valid and hardly meant.
fn strange(parsed: &Parsed, scan: &Scan) -> Vec<String> {
    let mut doubts = Vec::new();
    let policy = &parsed.policy;
    if policy.effect() == Effect::Permit && policy.action_constraint() == ActionConstraint::Any {
        doubts.push("the policy names no action, so it permits to break the glass as well".to_owned());
    }
    if scan.computes_approvers {
        doubts.push(
            "the policy counts approvals of a role that it does not name, so what it asks for cannot be told"
                .to_owned(),
        );
    }
    doubts
}

//! The policies of a set, where those that can matter for a request are found without looking at the others.

use crate::keys::{ActionKey, Keys, PrincipalKey, ResourceKey};
use crate::needs::Needs;
use crate::scan::Scan;
use cedar_policy::{Effect as Verb, Policy, PolicySet, PolicySetError};
use std::collections::{BTreeSet, HashMap};

/// What the index asks about a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe<'a> {
    /// The tool, or `break_glass`.
    pub(crate) action: &'a str,
    /// The group of the action, if it is a tool.
    pub(crate) effect: Option<astradesk_core::Effect>,
    /// `issuer#subject`.
    pub(crate) principal: &'a str,
    /// Their roles.
    pub(crate) roles: &'a BTreeSet<astradesk_core::RoleName>,
    /// What is acted on; without it, policies about any target are found.
    pub(crate) target: Option<Place<'a>>,
}

/// What is acted on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) id: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// Policies with the same keys. Those that permit and those that forbid are kept apart, because Cedar tells only
/// the latter when both apply.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) permits: PolicySet,
    pub(crate) forbids: PolicySet,
    /// What its policies ask about a request.
    pub(crate) needs: Needs,
    /// The roles of which its policies count approvals.
    pub(crate) approvers: BTreeSet<String>,
}

/// Every policy, by its keys.
#[derive(Debug, Default)]
pub(crate) struct Index {
    any: ByPrincipal,
    groups: HashMap<&'static str, ByPrincipal>,
    actions: HashMap<String, ByPrincipal>,
}

#[derive(Debug, Default)]
struct ByPrincipal {
    any: ByResource,
    roles: HashMap<String, ByResource>,
    principals: HashMap<String, ByResource>,
}

#[derive(Debug, Default)]
struct ByResource {
    any: Option<Box<Bucket>>,
    namespaces: HashMap<String, Bucket>,
    names: HashMap<String, Bucket>,
    targets: HashMap<String, Bucket>,
}

impl Index {
    /// Adds a policy under all of its keys.
    pub(crate) fn add(&mut self, policy: &Policy, scan: &Scan) -> Result<(), Box<PolicySetError>> {
        let keys = Keys::of(policy, scan);
        for action in &keys.actions {
            let by_principal = match action {
                ActionKey::Any => &mut self.any,
                ActionKey::Group(effect) => self.groups.entry(effect.as_str()).or_default(),
                ActionKey::Action(id) => self.actions.entry(id.clone()).or_default(),
            };
            for principal in &keys.principals {
                let by_resource = match principal {
                    PrincipalKey::Any => &mut by_principal.any,
                    PrincipalKey::Role(id) => by_principal.roles.entry(id.clone()).or_default(),
                    PrincipalKey::Principal(id) => by_principal.principals.entry(id.clone()).or_default(),
                };
                by_resource.bucket(&keys.resource).add(policy, scan)?;
            }
        }
        Ok(())
    }

    /// The policies that can matter for a request. One policy may be found more than once.
    pub(crate) fn find(&self, probe: &Probe<'_>) -> Vec<&Bucket> {
        let mut found = Vec::with_capacity(4);
        let group = probe.effect.and_then(|effect| self.groups.get(effect.as_str()));
        let action = self.actions.get(probe.action);
        for by_principal in std::iter::once(&self.any).chain(group).chain(action) {
            by_principal.any.find(probe, &mut found);
            if !by_principal.roles.is_empty() {
                let roles = probe.roles.iter().filter_map(|role| by_principal.roles.get(role.as_str()));
                roles.for_each(|by_resource| by_resource.find(probe, &mut found));
            }
            if let Some(by_resource) = by_principal.principals.get(probe.principal) {
                by_resource.find(probe, &mut found);
            }
        }
        found
    }
}

impl ByResource {
    fn bucket(&mut self, key: &ResourceKey) -> &mut Bucket {
        match key {
            ResourceKey::Any => self.any.get_or_insert_default(),
            ResourceKey::Namespace(id) => self.namespaces.entry(id.clone()).or_default(),
            ResourceKey::Name(id) => self.names.entry(id.clone()).or_default(),
            ResourceKey::Target(id) => self.targets.entry(id.clone()).or_default(),
        }
    }

    fn find<'a>(&'a self, probe: &Probe<'_>, found: &mut Vec<&'a Bucket>) {
        found.extend(self.any.as_deref());
        match probe.target {
            Some(place) => {
                found.extend(self.namespaces.get(place.namespace));
                found.extend(self.names.get(place.name));
                found.extend(self.targets.get(place.id));
            }
            None => {
                found
                    .extend(self.namespaces.values().chain(self.names.values()).chain(self.targets.values()));
            }
        }
    }
}

impl Bucket {
    fn add(&mut self, policy: &Policy, scan: &Scan) -> Result<(), Box<PolicySetError>> {
        let set = match policy.effect() {
            Verb::Permit => &mut self.permits,
            Verb::Forbid => &mut self.forbids,
        };
        // A role that a policy names twice gives it the same key twice.
        if set.policy(policy.id()).is_none() {
            set.add(policy.clone())?;
        }
        self.needs.add(scan.needs);
        self.approvers.extend(scan.approvers.iter().cloned());
        Ok(())
    }
}

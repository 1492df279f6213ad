//! Why a decision fell as it did, and what would have changed it.

use crate::parse::Place;
use crate::set::Set;
use crate::verdict::{Outcome, Verdict};
use astradesk_core::text::shown;
use astradesk_core::{Code, Decision, Principal, RoleName};
use astradesk_runtime::port::{Considered, Explanation, PolicyRequest};

/// The most roles that are tried.
const MAX_ROLES: usize = 256;
/// The most names that a sentence lists.
const LISTED: usize = 8;

impl Set {
    /// The decision, who took part in it, and what would have changed it.
    pub(crate) fn explain(&self, request: &PolicyRequest<'_>, known_roles: &[RoleName]) -> Explanation {
        let decision = self.decide(request);
        let mut policies = Vec::new();
        for (target, outcome) in request.call.targets.iter().zip(self.outcomes(request).unwrap_or_default()) {
            let (verdict, asking) = match outcome {
                Outcome::Permitted(verdict) | Outcome::Denied(verdict) => (verdict, Vec::new()),
                Outcome::Asks(sought) => (sought.now, sought.policies),
            };
            let Verdict { permits, forbids, failed, .. } = verdict;
            let mut names: Vec<String> = [permits, forbids, failed, asking].concat();
            names.sort_unstable();
            names.dedup();
            policies.extend(names.into_iter().map(|name| self.considered(name, target.to_string())));
        }
        let otherwise = self.otherwise(request, &decision, known_roles);
        Explanation { decision, policies, otherwise, set: self.digest }
    }

    fn considered(&self, policy: String, target: String) -> Considered {
        let effect =
            self.policies.policy(&cedar_policy::PolicyId::new(&policy)).map(cedar_policy::Policy::effect);
        let file = match self.places.get(&policy) {
            Some(place @ Place::File(..)) => Some(place.to_string()),
            Some(Place::BuiltIn) | None => None,
        };
        let effect = effect.map(|effect| effect.to_string()).unwrap_or_default();
        Considered { policy, effect, file, target }
    }

    fn otherwise(
        &self,
        request: &PolicyRequest<'_>,
        decision: &Decision,
        known_roles: &[RoleName],
    ) -> Vec<String> {
        let error = match decision {
            Decision::Permit { .. } => return Vec::new(),
            Decision::NeedsApproval { required, .. } => {
                return vec![format!("it would be permitted with {required}")];
            }
            Decision::Deny { error, .. } => error,
        };
        if error.code == Code::PolicyEvaluationFailed {
            return vec!["nothing, until the policy that fails is corrected".to_owned()];
        }
        let mut sentences = self.with_a_role(request, known_roles);
        sentences.extend(self.in_person(request));
        sentences.extend(self.unbroken(request));
        if error.code == Code::PolicyTargetNotAllowed {
            let allowed: Vec<_> =
                self.settings.allowed_services.iter().map(|name| format!("`{name}`")).collect();
            sentences.extend(listed(&allowed).map(|names| format!("it would be permitted on {names}")));
        }
        for forbidding in self.forbidding(request) {
            let place = self.places.get(&forbidding).map(|place| format!(" ({place})")).unwrap_or_default();
            sentences.push(format!("it is forbidden as long as the policy `{forbidding}`{place} applies"));
        }
        if sentences.is_empty() {
            sentences.push("no role that is known here and no approval would permit it".to_owned());
        }
        sentences
    }

    /// The roles with which it would be permitted, at once or with approvals.
    fn with_a_role(&self, request: &PolicyRequest<'_>, known_roles: &[RoleName]) -> Vec<String> {
        let mut roles = self.roles.clone();
        roles.extend(known_roles.iter().cloned());
        let (mut at_once, mut asked) = (Vec::new(), Vec::new());
        for role in roles.into_iter().filter(|role| !request.principal.has_role(role)).take(MAX_ROLES) {
            let mut principal = request.principal.clone();
            principal.roles.insert(role.clone());
            match self.decide_for(request, &principal) {
                Decision::Permit { .. } => at_once.push(format!("`{role}`")),
                Decision::NeedsApproval { required, .. } => {
                    asked.push(format!("with the role `{role}` and {required} it would be permitted"));
                }
                Decision::Deny { .. } => {}
            }
        }
        let at_once = listed(&at_once).map(|roles| format!("with the role {roles} it would be permitted"));
        asked.truncate(LISTED);
        at_once.into_iter().chain(asked).collect()
    }

    /// Whether it would be otherwise if no agent asked for it.
    fn in_person(&self, request: &PolicyRequest<'_>) -> Option<String> {
        let actor = request.principal.actor.as_ref()?;
        let principal = Principal { actor: None, ..request.principal.clone() };
        let then = would(&self.decide_for(request, &principal))?;
        let (actor, subject) = (shown(actor, 64), shown(&principal.subject, 64));
        Some(format!("if `{subject}` asked for it in person, and not `{actor}` for them, {then}"))
    }

    /// Whether it would be otherwise if guardrails were not to be overridden.
    fn unbroken(&self, request: &PolicyRequest<'_>) -> Option<String> {
        let then =
            request.break_glass.then(|| self.decide(&PolicyRequest { break_glass: false, ..*request }))?;
        would(&then).map(|then| format!("without breaking the glass {then}"))
    }

    fn forbidding(&self, request: &PolicyRequest<'_>) -> Vec<String> {
        let outcomes = self.outcomes(request).unwrap_or_default();
        let denied = outcomes.into_iter().filter_map(|outcome| match outcome {
            Outcome::Denied(verdict) => Some(verdict.forbids),
            Outcome::Permitted(_) | Outcome::Asks(_) => None,
        });
        let mut names: Vec<String> = denied.flatten().collect();
        names.sort_unstable();
        names.dedup();
        names.truncate(LISTED);
        names
    }

    fn decide_for(&self, request: &PolicyRequest<'_>, principal: &Principal) -> Decision {
        self.decide(&PolicyRequest { principal, ..*request })
    }
}

fn would(decision: &Decision) -> Option<String> {
    match decision {
        Decision::Permit { .. } => Some("it would be permitted".to_owned()),
        Decision::NeedsApproval { required, .. } => Some(format!("it would be permitted with {required}")),
        Decision::Deny { .. } => None,
    }
}

/// `a`, `b` or `c`; nothing for none.
fn listed(names: &[String]) -> Option<String> {
    let (last, others) = names.get(..names.len().min(LISTED))?.split_last()?;
    Some(if others.is_empty() { last.clone() } else { format!("{} or {last}", others.join(", ")) })
}

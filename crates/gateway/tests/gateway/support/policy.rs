//! A policy by role, and by the name of the service.

use astradesk_core::canonical::Digest;
use astradesk_core::decision::Reason;
use astradesk_core::{
    Code, Decision, Effect, Error, Principal, Requirement, Result, RoleName, Timestamp, ToolSpec,
};
use astradesk_runtime::port::{Considered, Explanation, Policy, PolicyRequest, PolicyStatus};
use std::sync::Mutex;

/// `viewer` reads, `sre` also writes, `auditor` reads the evidence and everybody's runs, `breaker` breaks the
/// glass. What is called `lead-…` needs the approval of a `lead`, `quorum-…` of two people, a `lead` among them,
/// and `peer-…` of anybody who may do it themselves.
#[derive(Default)]
pub struct RolePolicy {
    /// Why the files are not in force, and whether nothing else is.
    pub problem: Mutex<Option<(Error, bool)>>,
}

fn has(principal: &Principal, role: &str) -> bool {
    principal.has_role(&RoleName::parse(role).unwrap())
}

fn reasons() -> Vec<Reason> {
    vec![Reason { policy: "test".into(), text: "by role".into() }]
}

/// Who else must agree.
fn required(request: &PolicyRequest<'_>) -> Requirement {
    let service = request.call.arguments.get("service").and_then(|name| name.as_str()).unwrap_or("");
    let lead = || [(RoleName::parse("lead").unwrap(), 1)].into();
    match service.split('-').next() {
        Some("lead") => Requirement { count: 1, roles: lead() },
        Some("quorum") => Requirement { count: 2, roles: lead() },
        Some("peer") => Requirement { count: 1, ..Requirement::default() },
        _ => Requirement::default(),
    }
}

fn may(principal: &Principal, effect: Effect) -> bool {
    has(principal, "sre") || (effect == Effect::Read && has(principal, "viewer"))
}

impl Policy for RolePolicy {
    fn decide(&self, request: &PolicyRequest<'_>) -> Decision {
        if !may(request.principal, request.call.effect) {
            let error = Error::new(Code::PolicyRoleRequired, "the role is missing");
            return Decision::Deny { error, reasons: vec![] };
        }
        let required = required(request);
        if required.is_met(request.approvals) {
            return Decision::Permit { reasons: reasons() };
        }
        Decision::NeedsApproval { required, reasons: reasons() }
    }

    fn may_break_glass(&self, request: &PolicyRequest<'_>) -> Result<Vec<Reason>, Error> {
        if has(request.principal, "breaker") {
            return Ok(reasons());
        }
        Err(Error::new(Code::PolicyBreakGlassDenied, "the role is missing"))
    }

    fn may_approve(&self, principal: &Principal, request: &PolicyRequest<'_>) -> bool {
        may(principal, request.call.effect)
    }

    fn explain(&self, request: &PolicyRequest<'_>) -> Explanation {
        let target = request.call.targets[0].to_string();
        let considered = Considered { policy: "test".into(), effect: "permit".into(), file: None, target };
        Explanation {
            decision: self.decide(request),
            policies: vec![considered],
            otherwise: vec!["another role would have permitted it".into()],
            set: Digest::ZERO,
        }
    }

    fn needs_facts(&self) -> bool {
        false
    }

    fn status(&self) -> PolicyStatus {
        let problem = self.problem.lock().unwrap().clone();
        let nothing = problem.as_ref().is_some_and(|(_, nothing)| *nothing);
        PolicyStatus {
            digest: Digest::ZERO,
            policies: if nothing { 0 } else { 3 },
            loaded_at: Timestamp::UNIX_EPOCH,
            problem: problem.map(|(error, _)| error),
            warnings: vec!["`x` can never match".into()],
        }
    }

    fn reload(&self) -> Result<bool, Error> {
        Ok(false)
    }

    fn may_use(&self, principal: &Principal, tool: &ToolSpec) -> bool {
        tool.effect.is_some_and(|effect| may(principal, effect))
    }

    fn may_see_runs_of_others(&self, principal: &Principal) -> bool {
        has(principal, "auditor")
    }

    fn may_read_evidence(&self, principal: &Principal) -> bool {
        has(principal, "auditor")
    }
}

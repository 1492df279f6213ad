//! A policy that can be switched, and asks for what it is told to ask for.

use astradesk_core::canonical::Digest;
use astradesk_core::decision::Reason;
use astradesk_core::{Code, Decision, Error, Principal, Requirement, RoleName, Timestamp, ToolSpec};
use astradesk_runtime::port::{Explanation, Policy, PolicyRequest, PolicyStatus};
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Permits everything while it is on, to those who have the role that it asks for and with the approvals that it
/// asks for.
pub(crate) struct Switch {
    pub(crate) on: AtomicBool,
    /// Whether deciding goes wrong.
    pub(crate) broken: AtomicBool,
    /// Whether nobody may use any tool.
    pub(crate) hidden: AtomicBool,
    /// Whether it asks for facts.
    pub(crate) facts: AtomicBool,
    /// Whether it permits anybody to break the glass.
    pub(crate) glass: AtomicBool,
    /// The role that who asks must have.
    pub(crate) role: Mutex<Option<&'static str>>,
    /// What it asks for.
    pub(crate) needs: Mutex<Requirement>,
    /// Why the next set cannot be loaded, and what came of the last that was.
    pub(crate) next: Mutex<Option<Error>>,
    problem: Mutex<Option<Error>>,
}

impl Default for Switch {
    fn default() -> Self {
        Self {
            on: AtomicBool::new(true),
            broken: AtomicBool::default(),
            hidden: AtomicBool::default(),
            facts: AtomicBool::default(),
            glass: AtomicBool::default(),
            role: Mutex::default(),
            needs: Mutex::default(),
            next: Mutex::default(),
            problem: Mutex::default(),
        }
    }
}

impl Switch {
    /// From now on so many people must agree, with this role.
    pub(crate) fn ask(&self, count: u32, role: &str) {
        *self.needs.lock().unwrap() =
            Requirement { count, roles: [(RoleName::parse(role).unwrap(), count)].into() };
    }

    /// From now on so many people must agree.
    pub(crate) fn ask_anybody(&self, count: u32) {
        *self.needs.lock().unwrap() = Requirement { count, roles: [].into() };
    }

    /// Why the request is denied, if it is.
    fn denial(&self, request: &PolicyRequest<'_>) -> Option<Error> {
        let denied = |what: &str| Some(Error::new(Code::PolicyDenied, what));
        if self.broken.load(Ordering::SeqCst) {
            return Some(Error::new(Code::PolicyEvaluationFailed, "a policy could not be evaluated"));
        }
        if !self.on.load(Ordering::SeqCst) || request.principal.subject == "eve" {
            return denied("no");
        }
        if self.facts.load(Ordering::SeqCst) && request.facts.len() != request.call.targets.len() {
            return denied("the facts that it asks for are missing");
        }
        let role = (*self.role.lock().unwrap())?;
        if request.principal.has_role(&RoleName::parse(role).unwrap()) {
            None
        } else {
            denied("the role is missing")
        }
    }

    fn reason(policy: &str) -> Vec<Reason> {
        vec![Reason { policy: policy.to_owned(), text: format!("`{policy}` says so") }]
    }
}

impl Policy for Switch {
    fn decide(&self, request: &PolicyRequest<'_>) -> Decision {
        if let Some(error) = self.denial(request) {
            return Decision::Deny { error, reasons: Self::reason("test.forbid") };
        }
        let required = self.needs.lock().unwrap().clone();
        if required.is_met(request.approvals) {
            return Decision::Permit { reasons: Self::reason("test.permit") };
        }
        Decision::NeedsApproval { required, reasons: Self::reason("test.ask") }
    }

    fn may_break_glass(&self, request: &PolicyRequest<'_>) -> Result<Vec<Reason>, Error> {
        match self.denial(request) {
            None if self.glass.load(Ordering::SeqCst) => Ok(Self::reason("test.glass")),
            _ => Err(Error::new(Code::PolicyBreakGlassDenied, "the glass may not be broken")),
        }
    }

    fn may_approve(&self, principal: &Principal, request: &PolicyRequest<'_>) -> bool {
        self.denial(&PolicyRequest { principal, ..*request }).is_none()
    }

    fn explain(&self, request: &PolicyRequest<'_>) -> Explanation {
        let set = self.status().digest;
        Explanation { decision: self.decide(request), policies: Vec::new(), otherwise: Vec::new(), set }
    }

    fn needs_facts(&self) -> bool {
        self.facts.load(Ordering::SeqCst)
    }

    fn status(&self) -> PolicyStatus {
        let set = json!({
            "on": self.on.load(Ordering::SeqCst),
            "broken": self.broken.load(Ordering::SeqCst),
            "facts": self.facts.load(Ordering::SeqCst),
            "role": *self.role.lock().unwrap(),
            "needs": *self.needs.lock().unwrap(),
        });
        PolicyStatus {
            digest: Digest::of_value(&set),
            policies: 1,
            loaded_at: Timestamp::UNIX_EPOCH,
            problem: self.problem.lock().unwrap().clone(),
            warnings: Vec::new(),
        }
    }

    fn reload(&self) -> Result<bool, Error> {
        let problem = self.next.lock().unwrap().clone();
        self.problem.lock().unwrap().clone_from(&problem);
        problem.map_or(Ok(false), Err)
    }

    fn may_use(&self, _: &Principal, _: &ToolSpec) -> bool {
        !self.hidden.load(Ordering::SeqCst)
    }

    fn may_see_runs_of_others(&self, principal: &Principal) -> bool {
        principal.subject == "aud"
    }

    fn may_read_evidence(&self, principal: &Principal) -> bool {
        principal.subject == "ada"
    }
}

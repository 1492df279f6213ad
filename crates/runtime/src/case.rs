//! Policy cases: who calls what on what under which circumstances, and what policy should say to it. One format,
//! in JSON or YAML, for the library, the command line and the HTTP API.

use crate::port::{Explanation, Policy, PolicyRequest};
use crate::registry::ToolRegistry;
use astradesk_core::{
    Approval, Arguments, Call, Code, Decision, Facts, FrozenCall, Principal, Requirement, Result, RoleName,
    Source, Target, Timestamp, ToolName,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows, in a few words.
    pub name: String,
    /// Who asks.
    pub principal: Person,
    /// What is to be done, to what.
    pub call: CaseCall,
    /// Under which circumstances.
    #[serde(default)]
    pub context: Circumstances,
    /// What policy should say; without it the case only asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expectation>,
}

/// Somebody, in a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The subject.
    pub subject: String,
    /// Who vouches for them.
    #[serde(default = "issuer")]
    pub issuer: String,
    /// Their roles.
    #[serde(default)]
    pub roles: BTreeSet<RoleName>,
    /// Who acts on their behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

fn issuer() -> String {
    "case".to_owned()
}

/// A call, in a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseCall {
    /// The tool.
    pub tool: ToolName,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Arguments,
    /// What it acts on.
    pub targets: Vec<Target>,
}

/// The circumstances of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Circumstances {
    /// By which door.
    pub source: Source,
    /// Who planned it.
    pub planner: String,
    /// What is known of each target, in their order; nothing special unless it is given.
    pub facts: Vec<Facts>,
    /// Who has agreed.
    pub approvals: Vec<Person>,
    /// Whether guardrails are to be overridden.
    pub break_glass: bool,
    /// Whether it is only a preview.
    pub dry_run: bool,
    /// When; 1970 unless it is given.
    pub now: Timestamp,
}

impl Default for Circumstances {
    fn default() -> Self {
        Self {
            source: Source::Http,
            planner: "direct".to_owned(),
            facts: Vec::new(),
            approvals: Vec::new(),
            break_glass: false,
            dry_run: false,
            now: Timestamp::UNIX_EPOCH,
        }
    }
}

/// What policy should say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The decision.
    pub decision: Verdict,
    /// The code of a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Policies that must be among those that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// What it must ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Requirement>,
}

/// A decision in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may be done.
    Permit,
    /// It may not.
    Deny,
    /// Somebody else must agree.
    NeedsApproval,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseOutcome {
    /// The case.
    pub name: String,
    /// Whether policy says what it should; absent if nothing is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    /// What is not as it should be: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// What policy says, and why; absent if the case could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

impl From<&Person> for Principal {
    fn from(person: &Person) -> Self {
        let Person { subject, issuer, roles, actor } = person.clone();
        Self { subject, issuer, roles, actor }
    }
}

impl Case {
    /// Asks the policy, and compares what it says with what it should say.
    pub fn judge(&self, policy: &dyn Policy, registry: &ToolRegistry) -> CaseOutcome {
        let name = self.name.clone();
        match self.ask(policy, registry) {
            Ok(explanation) => {
                let faults = self.expect.as_ref().map(|expect| expect.faults(&explanation));
                let passed = faults.as_ref().map(Vec::is_empty);
                let faults = faults.unwrap_or_default();
                CaseOutcome { name, passed, faults, explanation: Some(explanation) }
            }
            Err(error) => {
                CaseOutcome { name, passed: Some(false), faults: vec![error.message], explanation: None }
            }
        }
    }

    fn ask(&self, policy: &dyn Policy, registry: &ToolRegistry) -> Result<Explanation> {
        let tool = registry.tool(self.call.tool.as_str())?;
        tool.check(&self.call.arguments)?;
        let call = Call { tool: self.call.tool.clone(), arguments: self.call.arguments.clone() };
        let version = tool.spec().version.clone();
        let call = FrozenCall::new(call, version, tool.effect, self.call.targets.clone());
        let context = &self.context;
        let approval = |by: &Person| Approval {
            by: by.into(),
            at: context.now,
            digest: call.digest,
            reason: self.name.clone(),
        };
        let approvals: Vec<Approval> = context.approvals.iter().map(approval).collect();
        // A case that tells nothing of a target means one of which nothing special is known.
        let mut facts = context.facts.clone();
        facts.resize(call.targets.len().max(facts.len()), Facts::default());
        Ok(policy.explain(&PolicyRequest {
            principal: &(&self.principal).into(),
            source: context.source,
            planner: &context.planner,
            call: &call,
            facts: &facts,
            approvals: &approvals,
            break_glass: context.break_glass,
            dry_run: context.dry_run,
            now: context.now,
        }))
    }
}

impl Expectation {
    fn faults(&self, explanation: &Explanation) -> Vec<String> {
        let (verdict, code, reasons, required) = match &explanation.decision {
            Decision::Permit { reasons } => (Verdict::Permit, None, reasons, None),
            Decision::Deny { error, reasons } => (Verdict::Deny, Some(error), reasons, None),
            Decision::NeedsApproval { required, reasons } => {
                (Verdict::NeedsApproval, None, reasons, Some(required))
            }
        };
        let mut faults = Vec::new();
        if verdict != self.decision {
            let why = code.map(|error| format!(": {}", error.message)).unwrap_or_default();
            faults.push(format!(
                "policy says {}, and should say {}{why}",
                verdict.as_str(),
                self.decision.as_str()
            ));
        }
        if let Some(wanted) = self.code
            && code.map(|error| error.code) != Some(wanted)
        {
            let found = code.map_or_else(|| "no code".to_owned(), |error| format!("`{}`", error.code));
            faults.push(format!("the code should be `{wanted}`, and it is {found}"));
        }
        for wanted in &self.policies {
            if !reasons.iter().any(|reason| reason.policy == *wanted) {
                faults.push(format!("the policy `{wanted}` should have decided, and did not"));
            }
        }
        if let Some(wanted) = &self.approvals
            && required != Some(wanted)
        {
            let found = required.map_or_else(|| "none".to_owned(), ToString::to_string);
            faults.push(format!("it should ask for {wanted}, and it asks for {found}"));
        }
        faults
    }
}

impl Verdict {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::NeedsApproval => "needs_approval",
        }
    }
}
